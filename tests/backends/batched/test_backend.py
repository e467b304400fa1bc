"""Backend `batched` on host arrays: what the tests that run over every backend do not ask."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from assertions import assert_optimal

import masksolve as ms
from masksolve.testing import FAMILIES


def solve(scores, pattern, **options):
    return ms.solve(scores, pattern, backend="batched", **options)


@pytest.mark.parametrize("rounds", [0, 3])
@pytest.mark.parametrize("pattern", ["8:16-T", "4:8-T at_most", "3:7-T pad", "2:4"])
def test_many_tiles_and_passes(pattern, rounds):
    """Against the compiled engine, which shares the idea and no code."""
    scores = np.random.default_rng(0).standard_normal((112, 160), dtype=np.float32)
    if "pad" in pattern:
        scores = scores[:-5, :-1]
    best = ms.solve(scores, pattern, backend="exact").mask
    result = solve(scores, pattern, rounds=rounds)
    assert_optimal(result, scores, best=best)
    assert result.status is ms.Status.OPTIMAL


def test_rounds_are_an_option_that_shows():
    """Without rounds other prices prove the same optimum."""
    scores = np.random.default_rng(1).standard_normal((64, 64))
    one, other = (solve(scores, "8:16-T", rounds=rounds) for rounds in (0, 3))
    assert one.objective == pytest.approx(other.objective, rel=1e-13)
    assert not np.array_equal(one.duals.rows, other.duals.rows)


@pytest.mark.parametrize("family", ["nearly_equal", "huge_float64", "denormal", "one_dominating"])
def test_prices_are_double(family):
    """The engine's float64 proofs hold to rounding on scores that float32 would confuse."""
    scores = FAMILIES[family](np.random.default_rng(2), (24, 24))
    result = solve(scores, "4:8-T")
    kept = np.abs(scores[result.mask]).sum()
    assert result.bound - result.objective <= 1e-12 * kept + scores.size * 5e-324


def test_infeasible_choices_name_the_line():
    keep = np.zeros((8, 8), bool)
    keep[4:7, 6] = True
    with pytest.raises(
        ms.InfeasibleError, match=r"tile 3 .* column 2 is forced to keep 3, at most 2"
    ) as caught:
        solve(np.ones((8, 8)), "2:4-T", keep=keep)
    assert (caught.value.tile, caught.value.axis, caught.value.index) == (3, "column", 2)


@pytest.mark.parametrize(
    ("rounds", "error", "message"),
    [
        (-1, ValueError, "rounds must be at least 0, got -1"),
        (1.5, TypeError, "rounds must be an integer, got 1.5"),
        (True, TypeError, "rounds must be an integer, got True"),
    ],
)
def test_bad_rounds(rounds, error, message):
    with pytest.raises(error, match=message):
        solve(np.ones((4, 4)), "2:4-T", rounds=rounds)


def test_it_says_what_it_needs(monkeypatch):
    monkeypatch.setitem(sys.modules, "array_api_compat", None)
    with pytest.raises(
        ms.BackendUnavailableError, match=r'needs array_api_compat: .*pip install ".*\[arrays\]"'
    ):
        solve(np.ones((4, 4)), "2:4-T")
