"""Backend `ortools` with ``method="cp_sat"``: the integer programme against the oracles."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import oracles
import pytest
from assertions import assert_optimal
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import FAMILIES, problems

import masksolve as ms
from masksolve.backends import ortools


def solve(scores, pattern, **options):
    return ms.solve(scores, pattern, backend="ortools", method="cp_sat", **options)


@pytest.mark.parametrize("family", FAMILIES)
def test_families(family):
    for text in ("2:4-T", "1:4-T at_most", "3:5-T", "4:8-T", "2:4 axis=0", "3:7 at_most"):
        pattern = ms.Pattern.parse(text)
        scores = FAMILIES[family](np.random.default_rng(3), (2 * pattern.m, pattern.m))
        assert_optimal(solve(scores, pattern), scores)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(problem=problems(largest_m=5), seed=st.integers(0, 2**32 - 1))
def test_any_problem_with_forced_entries(problem, seed):
    pattern, scores = problem
    some_mask = oracles.solve(np.random.default_rng(seed).standard_normal(scores.shape), pattern)
    keep = some_mask & (np.random.default_rng(seed + 1).random(scores.shape) < 0.3)
    drop = ~some_mask & (np.random.default_rng(seed + 2).random(scores.shape) < 0.3)
    assert_optimal(solve(scores, pattern), scores)
    assert_optimal(solve(scores, pattern, keep=keep, drop=drop), scores, keep=keep, drop=drop)


def test_largest_tile():
    """Sums of 4096 scores of 48 bits fit 64 bits."""
    scores = np.abs(np.random.default_rng(0).standard_normal((64, 64))) + 20.0
    assert solve(scores, "64:64-T").mask.all()
    assert_optimal(solve(scores, "32:64-T"), scores)


def test_scores_that_differ_in_their_last_digits_are_told_apart():
    last_digits = np.random.default_rng(9).integers(0, 50, (6, 3, 3))
    for digits, mask in zip(last_digits, solve(1.0 + last_digits * 2.0**-47, "1:3-T").mask, strict=True):
        best = oracles.brute_force(digits, (1, 1), (1, 1))
        assert digits[mask].sum() == digits[best].sum()


def test_infeasible_choices_name_the_tile():
    keep = np.zeros((4, 12), bool)
    keep[1, 4:7] = True
    with pytest.raises(ms.InfeasibleError, match="tile 1") as caught:
        solve(np.ones((4, 12)), "2:4-T", keep=keep)
    assert (caught.value.axis, caught.value.index) == ("row", 1)


def test_failures_are_reported(monkeypatch):
    monkeypatch.setattr(ortools, "_programme", lambda *arguments: "UNKNOWN")
    with pytest.raises(ms.BackendFailedError, match="'ortools' failed: CP-SAT ended with status UNKNOWN"):
        solve(np.ones((4, 4)), "2:4-T")


def test_it_can_be_repeated():
    scores = np.random.default_rng(5).integers(0, 4, (16, 24))
    first, *others = (solve(scores, "2:4-T", workers=workers).mask for workers in (1, 1, 2))
    for other in others:
        np.testing.assert_array_equal(other, first)


def test_method_is_checked():
    with pytest.raises(
        ValueError, match="method must be one of 'flow', 'cp_sat'; got 'sat'; did you mean 'cp_sat'"
    ):
        ms.solve(np.ones((4, 4)), "2:4-T", backend="ortools", method="sat")


def test_ctrl_c_still_works_afterwards():
    """CP-SAT by itself puts back the handler that ends the process, not Python's."""
    code = """
import signal, numpy, masksolve
masksolve.solve(numpy.eye(4), "2:4-T", backend="ortools", method="cp_sat")
try:
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    print("caught")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "caught\n"
