"""The oracles agree with each other and with values worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import oracles
import pytest
from strategies import FAMILIES

import masksolve as ms

BOUNDS = [
    ((3, 3), (1, 1), (1, 1)),
    ((3, 3), (2, 2), (2, 2)),
    ((3, 3), (0, 2), (0, 2)),
    ((3, 2), (0, 2), (2, 2)),
    ((2, 4), (2, 2), (0, 1)),
    ((1, 5), (2, 2), (0, 1)),
    ((1, 5), (0, 3), (0, 1)),
    ((2, 2), (1, 2), (0, 1)),
]


def agree(scores, bounds, keep=None, drop=None):
    """Assert that both general oracles find masks of equal value, or both none."""
    row_bounds, column_bounds = bounds
    by_force = oracles.brute_force(scores, row_bounds, column_bounds, keep, drop)
    by_programme = oracles.linear_programme(scores, row_bounds, column_bounds, keep, drop)
    if by_force is None:
        assert by_programme is None
        return None
    best, other = (oracles.value(scores, mask) for mask in (by_force, by_programme))
    assert best >= other
    assert math.isclose(best, other, rel_tol=1e-9, abs_tol=1e-9 * float(np.abs(scores).max()))
    return best


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("bounds", BOUNDS, ids=str)
def test_brute_force_and_linear_programme_agree(family, bounds):
    rng = np.random.default_rng(len(family))
    shape, *line_bounds = bounds
    scores = FAMILIES[family](rng, shape).astype(np.float64)
    best = agree(scores, line_bounds)
    assert best is not None
    if shape[0] == 1:
        assert oracles.value(scores, oracles.sorting(scores, *line_bounds)) == best


@pytest.mark.parametrize("seed", range(40))
def test_they_agree_on_forced_entries(seed):
    rng = np.random.default_rng(seed)
    shape, *line_bounds = BOUNDS[seed % len(BOUNDS)]
    scores = rng.standard_normal(shape)
    keep = rng.random(shape) < 0.2
    drop = (rng.random(shape) < 0.3) & ~keep
    best = agree(scores, line_bounds, keep, drop)
    if shape[0] == 1:
        mask = oracles.sorting(scores, *line_bounds, keep, drop)
        assert (mask is None) == (best is None)
        assert mask is None or math.isclose(oracles.value(scores, mask), best)


def test_forced_entries_can_leave_nothing():
    scores = np.ones((2, 2))
    keep = np.array([[True, True], [False, False]])
    for oracle in (oracles.brute_force, oracles.linear_programme):
        assert oracle(scores, (1, 1), (1, 1), keep) is None
    assert oracles.sorting(scores[:1], (1, 1), (0, 1), keep[:1]) is None
    assert oracles.solve(scores, ms.Pattern(1, 2, transposable=True), keep=keep) is None


def test_values_by_hand():
    scores = np.array([[5.0, 4.0], [4.0, 0.0]])
    assert oracles.value(scores, oracles.brute_force(scores, (1, 1), (1, 1))) == 8.0
    assert oracles.value(scores, oracles.linear_programme(scores, (1, 1), (1, 1))) == 8.0
    assert oracles.value(-scores, oracles.brute_force(-scores, (1, 1), (1, 1))) == -5.0
    assert oracles.value(-scores, oracles.brute_force(-scores, (0, 1), (0, 1))) == 0.0
    assert oracles.sorting(scores[:1], (1, 1), (0, 1)).tolist() == [[True, False]]


def test_whole_arrays_follow_the_remainder_policy():
    scores = np.array([[5.0, 4.0, 1.0], [4.0, 0.0, -1.0], [2.0, 3.0, 7.0]])
    pad = oracles.solve(scores, ms.Pattern(1, 2, transposable=True, remainder="pad"))
    assert pad.tolist() == [[False, True, True], [True, False, False], [False, True, True]]
    dense = oracles.solve(scores, ms.Pattern(1, 2, transposable=True, remainder="dense"))
    assert dense.tolist() == [[False, True, True], [True, False, True], [True, True, True]]
    along_rows = oracles.solve(scores, ms.Pattern(1, 2, axis=0, remainder="pad"))
    assert along_rows.tolist() == [[True, True, True], [False, False, False], [True, True, True]]


def test_tiles_come_in_row_major_order():
    pattern = ms.Pattern(1, 2, transposable=True)
    places = [tile.place for tile in oracles.tiles((2, 2, 4), pattern)]
    assert places == [(b, slice(0, 2), slice(c, c + 2)) for b in (0, 1) for c in (0, 2)]
    places = [tile.place for tile in oracles.tiles((4, 2), ms.Pattern(1, 2, axis=0))]
    assert places == [(slice(r, r + 2), c) for c in (0, 1) for r in (0, 2)]
