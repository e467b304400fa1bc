"""The compiled engine: forced choices, obeyed or called infeasible."""

import numpy as np
import pytest
from assertions import assert_optimal
from engine import (
    RUNNING,
    WAYS,
    assert_certified,
    gaussian,
    shape_for,
)

import masksolve as ms


@pytest.mark.parametrize("pattern", WAYS)
def test_forced_choices_against_another_solver(pattern):
    rng = np.random.default_rng(9)
    scores = gaussian(shape_for(pattern, entries=1 << 11), np.float64)
    free = ms.solve(scores, pattern)
    for share in (0.02, 0.1, 0.3):
        mask = ms.solve(rng.standard_normal(scores.shape), pattern).mask  # some feasible mask
        keep = mask & (rng.random(scores.shape) < share)
        drop = ~mask & (rng.random(scores.shape) < share)
        result = ms.solve(scores, pattern, keep=keep, drop=drop, duals=True)
        best = ms.solve(scores, pattern, backend="highs", keep=keep, drop=drop)
        assert_optimal(result, scores, keep=keep, drop=drop, best=best.mask)
        assert_certified(result, scores, keep=keep, drop=drop)
        assert result.objective < free.objective


@pytest.mark.parametrize("instruction_set", RUNNING)
@pytest.mark.parametrize(
    ("pattern", "tile", "axis", "index"),
    [("2:4-T", 7, "row", 1), ("2:4-T", 23, "column", 3), ("4:8-T", 11, "row", 7), ("4:8-T", 5, "column", 0),
     ("3:7-T", 3, "column", 6), ("2:4 axis=-1", 35, "row", 0), ("4:8-T at_most", 9, "row", 2)],
)  # fmt: skip
@pytest.mark.parametrize("later", [False, True])
def test_infeasible_choices_name_the_first_tile_and_line(pattern, tile, axis, index, later, instruction_set):
    p = ms.Pattern.parse(pattern)
    tiles = np.zeros((2, 2, 12, p.m if p.transposable else 1, p.m), np.bool_)
    numbered = tiles.reshape(-1, *tiles.shape[3:])
    for number in [tile, *([tile + 1, len(numbered) - 1] if later else [])]:
        line = numbered[number] if axis == "row" else numbered[number].T
        line[index, : p.n + 1] = True
    keep = tiles.swapaxes(2, 3).reshape(2, -1, 12 * p.m)
    with pytest.raises(ms.InfeasibleError, match=rf"tile {tile}\b.* {axis} {index} ") as caught:
        ms.solve(gaussian(keep.shape), pattern, backend="exact", keep=keep, instruction_set=instruction_set)
    assert (caught.value.tile, caught.value.axis, caught.value.index) == (tile, axis, index)


def _outcome(backend, scores, demand):
    """The first tile that has no mask, or "optimal"."""
    try:
        result = ms.solve(scores, "3:8-T", backend=backend, **demand)
    except ms.InfeasibleError as error:
        return error.tile
    assert_optimal(result, scores, **demand)
    return "optimal"


def test_what_is_infeasible_is_so_for_another_solver():
    """Random demands, so tight that many cannot be met."""
    outcomes = set()
    for seed in range(40):
        rng = np.random.default_rng(seed)
        scores = gaussian((8, 24), seed=seed)
        free = rng.random(scores.shape) < 0.35
        chance = rng.random(scores.shape)
        demand = {"drop": ~free & (chance < 0.6), "keep": free & (chance < 0.05)}
        outcome = _outcome("highs", scores, demand)
        assert _outcome("exact", scores, demand) == outcome
        outcomes.add(outcome)
    assert outcomes >= {"optimal", 0, 1, 2}
