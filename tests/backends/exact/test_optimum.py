"""The compiled engine: optimal whatever the scores."""

import numpy as np
import pytest
from assertions import assert_feasible, assert_optimal
from engine import (
    DTYPES,
    GROUPS,
    TILES,
    WAYS,
    assert_certified,
    gaussian,
    shape_for,
)

import masksolve as ms
from masksolve.testing import FAMILIES


@pytest.mark.parametrize("constraint", ["", " at_most"])
@pytest.mark.parametrize("pattern", TILES)
def test_tiles_of_every_family_are_optimal(pattern, constraint):
    rng = np.random.default_rng(3)
    m = ms.Pattern.parse(pattern).m
    slow = m > 16  # the oracle is
    names = ["gaussian", "signed", "bfloat16_rounded"] if slow else list(FAMILIES)
    for name in names:
        scores = FAMILIES[name](rng, (m, m if slow else 2 * m))
        assert_optimal(ms.solve(scores, pattern + constraint), scores)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("pattern", ["1:2-T", "1:3-T", "2:3-T", "1:4-T", "2:4-T", "3:4-T"])
def test_at_most_loses_nothing_to_scores_of_other_magnitude(pattern, dtype):
    """Large negative scores, which are dropped, must not round small positive ones away; tile by tile."""
    m = ms.Pattern.parse(pattern).m
    rng = np.random.default_rng(13)
    signs = rng.choice([-1, 1], (40 * m, 40 * m))
    scores = (signs * np.exp(8 * rng.standard_normal(signs.shape))).astype(dtype)
    result = ms.solve(scores, pattern + " at_most", duals=True)
    best = ms.solve(scores, pattern + " at_most", backend="enumerate")
    kept, most = (
        np.where(mask, scores, 0).reshape(40, m, 40, m).sum(axis=(1, 3), dtype=np.float64)
        for mask in (result.mask, best.mask)
    )
    np.testing.assert_allclose(kept, most, rtol=1e-6)
    for part in result.duals:  # lines that keep fewer cost nothing
        assert part.min() >= -1e-12 * np.abs(scores).max()
    assert_feasible(result.mask, result.pattern)


@pytest.mark.parametrize("constraint", ["", " at_most"])
@pytest.mark.parametrize("axis", [-1, -2, 0])
@pytest.mark.parametrize("pattern", GROUPS)
def test_groups_of_every_family_are_optimal(pattern, axis, constraint):
    rng = np.random.default_rng(4)
    laid = ms.Pattern.parse(f"{pattern}{constraint} axis={axis}")
    shape = [2, 3, 5]
    shape[axis] = 2 * laid.m
    for family in FAMILIES.values():
        scores = family(rng, tuple(shape))
        assert_optimal(ms.solve(scores, laid), scores)


@pytest.mark.parametrize("axis", [-1, -2, 0])
@pytest.mark.parametrize("n_m", ["1:3", "2:4", "4:8", "3:10"])
def test_cut_groups_are_optimal(n_m, axis):
    pattern = ms.Pattern.parse(f"{n_m} pad axis={axis}")
    scores = gaussian((7, 11, 13))
    assert_optimal(ms.solve(scores, pattern), scores)


@pytest.mark.parametrize("pattern", ["1:2-T pad", "2:3-T pad", "2:4-T pad", "3:7-T at_most pad", "4:8-T pad"])
def test_cut_tiles_are_optimal(pattern):
    m = ms.Pattern.parse(pattern).m
    for height, width in [(2 * m - 1, m + 1), (m + 1, 2 * m), (m, m - 1), (1, 1)]:
        for family in ("signed", "small_integers", "mostly_zero"):
            scores = FAMILIES[family](np.random.default_rng(5), (height, width))
            assert_optimal(ms.solve(scores, pattern), scores)


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: np.dtype(dtype).name)
@pytest.mark.parametrize("pattern", WAYS)
def test_gaps_are_rounding(pattern, dtype):
    scores = gaussian(shape_for(pattern), dtype)
    result = ms.solve(scores, pattern, duals=True)
    assert result.status is ms.Status.OPTIMAL
    assert result.gap <= (1e-12 if np.dtype(dtype).itemsize == 8 else 1e-6)
    assert_certified(result, scores)
    assert_feasible(result.mask, result.pattern)


@pytest.mark.parametrize("pattern", WAYS)
def test_many_tiles_against_another_solver(pattern):
    scores = gaussian(shape_for(pattern, entries=1 << 12), np.float64)
    best = ms.solve(scores, pattern, backend="highs")
    result = ms.solve(scores, pattern)
    assert result.objective == pytest.approx(best.objective, rel=1e-9)
    assert_optimal(result, scores, best=best.mask)
