"""The assertions must fail on wrong input; otherwise the tests that use them prove nothing."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from assertions import allowance, assert_feasible, assert_optimal, assert_valid, epsilon

import masksolve as ms

PATTERN = ms.Pattern(1, 2, transposable=True)
SCORES = np.array([[4.0, 1.0, 5.0, 2.0], [1.0, 4.0, 2.0, 5.0]])
BEST = np.array([[True, False, True, False], [False, True, False, True]])
WORST = ~BEST


def result_of(mask, **changes):
    """A result for SCORES whose bound is the optimum, 18."""
    result = ms.MaskResult(
        mask=mask,
        objective=float(SCORES[mask].sum()),
        bound=18.0,
        status=ms.Status.OPTIMAL,
        backend="by hand",
        pattern=PATTERN,
    )
    return dataclasses.replace(result, **changes)


def test_right_input_passes():
    assert_feasible(BEST, PATTERN)
    assert_optimal(result_of(BEST), SCORES)
    assert_valid(result_of(WORST), SCORES)


def test_ties_pass():
    for mask in (BEST, WORST):
        result = result_of(mask, objective=4.0, bound=4.0)
        assert_optimal(result, np.ones_like(SCORES))


@pytest.mark.parametrize(
    ("pattern", "mask"),
    [
        (PATTERN, [[True, True], [False, False]]),
        (PATTERN, [[True, False], [True, False]]),
        (PATTERN, [[False, False], [False, False]]),
        (ms.Pattern(1, 2, transposable=True, constraint="at_most"), [[True, True], [False, False]]),
        (ms.Pattern(1, 2, transposable=True, constraint="at_most"), [[True, False], [True, False]]),
        (ms.Pattern(1, 2), [[True, False], [True, True]]),
        (ms.Pattern(1, 2), [[True, False], [False, False]]),
        (ms.Pattern(1, 2, axis=0), [[True, True], [True, False]]),
        (ms.Pattern(1, 2, remainder="pad"), [[True, False, True], [False, False, True]]),
        (ms.Pattern(1, 2, remainder="dense"), [[True, False, True], [False, True, False]]),
    ],
)
def test_infeasible_masks_fail(pattern, mask):
    with pytest.raises(AssertionError, match=r"keeps|tail"):
        assert_feasible(np.array(mask), pattern)


def test_wrong_dtype_fails():
    with pytest.raises(AssertionError, match="dtype"):
        assert_feasible(BEST.astype(int), PATTERN)


def test_disobeyed_forced_entries_fail():
    with pytest.raises(AssertionError, match="keep is not kept"):
        assert_feasible(BEST, PATTERN, keep=WORST)
    with pytest.raises(AssertionError, match="drop is kept"):
        assert_feasible(BEST, PATTERN, drop=BEST)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"objective": 18.1}, "not the kept sum"),
        ({"bound": 17.9}, "below the optimum"),
        ({"mask": BEST[:, :2]}, "shape"),
        ({"mask": ~np.zeros_like(BEST)}, "keeps"),
    ],
)
def test_wrong_results_are_not_valid(changes, message):
    with pytest.raises(AssertionError, match=message):
        assert_valid(dataclasses.replace(result_of(BEST), **changes), SCORES)


def test_suboptimal_mask_is_not_optimal():
    with pytest.raises(AssertionError, match="its optimum is"):
        assert_optimal(result_of(WORST), SCORES)


def test_a_loss_in_a_light_tile_is_seen_beside_a_heavy_one():
    scores = SCORES * np.array([1e9, 1e9, 1.0, 1.0])
    mask = np.hstack([BEST[:, :2], WORST[:, 2:]])
    result = result_of(mask, objective=8e9 + 4.0, bound=8e9 + 10.0)
    with pytest.raises(AssertionError, match="its optimum is"):
        assert_optimal(result, scores)


def test_loose_bound_is_not_optimal():
    loose = 18.0 + 2 * allowance(SCORES, PATTERN)
    with pytest.raises(AssertionError, match="leaves a gap"):
        assert_optimal(result_of(BEST, bound=loose), SCORES)


def test_allowance_is_small():
    assert epsilon(np.float64) < epsilon(np.float32) < 1e-6
    assert allowance(SCORES, PATTERN) < 1e-7
