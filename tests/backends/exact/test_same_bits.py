"""The compiled engine: the same bits on every instruction set, in every layout, for any workers."""

import dataclasses

import numpy as np
import pytest
import soak
from assertions import assert_optimal
from engine import (
    DTYPES,
    GROUPS,
    RUNNING,
    TILES,
    WAYS,
    assert_certified,
    assert_same_bits,
    assert_same_everywhere,
    gaussian,
    shape_for,
)

import masksolve as ms
from masksolve.testing import FAMILIES


@pytest.mark.parametrize("constraint", ["", " at_most"])
@pytest.mark.parametrize("pattern", [*TILES, *GROUPS])
def test_instruction_sets_and_workers_agree_bit_by_bit(pattern, constraint):
    rng = np.random.default_rng(1)
    for family in FAMILIES.values():
        scores = family(rng, shape_for(pattern))
        assert_same_everywhere(scores, pattern + constraint)


@pytest.mark.parametrize(
    "pattern", ["3:7-T pad", "4:8-T pad", "2:4 pad", "16:32-T dense", "5:10 pad axis=-2"]
)
def test_cut_tiles_are_the_same_everywhere(pattern):
    for dtype in (np.float32, np.float64):
        assert_same_everywhere(gaussian(shape_for(pattern), dtype), pattern)


@pytest.mark.parametrize("pattern", WAYS)
def test_forced_choices_and_warm_starts_are_the_same_everywhere(pattern):
    scores = gaussian(shape_for(pattern))
    start = ms.solve(scores, pattern, duals=True)
    later = scores + np.float32(0.05) * gaussian(scores.shape, seed=1)
    assert_same_everywhere(later, pattern, warm_start=start)
    rng = np.random.default_rng(2)
    chosen = rng.random(scores.shape) < 0.05
    keep, drop = start.mask & chosen, ~start.mask & chosen
    assert_same_everywhere(later, pattern, keep=keep, drop=drop)


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: np.dtype(dtype).name)
@pytest.mark.parametrize("pattern", WAYS)
def test_memory_layout_changes_no_bit(pattern, dtype):
    scores = gaussian(shape_for(pattern), dtype)
    expected = ms.solve(scores, pattern, duals=True)
    for lay in soak.LAYOUTS.values():
        laid = lay(scores)
        before = laid.copy()
        for chosen in RUNNING:
            result = ms.solve(laid, pattern, instruction_set=chosen, backend="exact", duals=True)
            assert_same_bits(result, expected)
        assert np.array_equal(laid, before)


NARROW = [("2:4-T", (200, 8)), ("2:4-T", (80, 4)), ("1:2-T", (3, 40, 2)), ("2:3-T", (2, 60, 6)),
          ("4:8-T", (160, 8)), ("2:4", (99, 8)), ("2:4", (99, 4)), ("1:4", (1, 16, 4)), ("4:8", (67, 8)),
          ("3:10", (41, 10)), ("2:4 axis=0", (8, 3)), ("2:4 axis=1", (5, 12, 3, 3)),
          ("2:4-T at_most", (9, 8, 8)), ("2:4 axis=1", (2, 8, 3, 21))]  # fmt: skip


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int8], ids=lambda dtype: np.dtype(dtype).name)
@pytest.mark.parametrize(("pattern", "shape"), NARROW)
def test_narrow_arrays_are_optimal_and_the_same_everywhere(pattern, shape, dtype):
    """Tiles of several rows, or of several matrices, are solved together."""
    scores = gaussian(shape, dtype, seed=14)
    assert_same_everywhere(scores, pattern)
    result = ms.solve(scores, pattern, duals=True)
    assert_optimal(result, scores)
    assert_certified(result, scores)
    for lay in soak.LAYOUTS.values():
        assert_same_bits(ms.solve(lay(scores), pattern, duals=True), result)


@pytest.mark.parametrize(
    ("pattern", "shape"),
    [("2:4-T", (4, 80000)), ("2:4-T", (80000, 4)), ("2:4", (1, 300000)), ("2:4 axis=0", (4, 70000)),
     ("4:8-T", (8, 40000))],
)  # fmt: skip
def test_long_strips_are_solved_in_pieces(pattern, shape):
    scores = gaussian(shape)
    long = shape.index(max(shape))
    result = ms.solve(scores, pattern, duals=True)
    assert_certified(result, scores)
    parts = np.split(scores, 10, axis=long)
    masks = [ms.solve(part, pattern).mask for part in parts]
    assert np.array_equal(result.mask, np.concatenate(masks, axis=long))


@pytest.mark.parametrize("forced", [False, True])
@pytest.mark.parametrize("pattern", ["2:4", "4:8", "3:10 at_most", "2:4 pad"])
def test_groups_are_numbered_along_the_grouped_axis_wherever_it_lies(pattern, forced):
    p = ms.Pattern.parse(pattern)
    in_rows = gaussian((3, 29, 4 * p.m + (p.remainder == "pad")))
    drop = {"drop": np.random.default_rng(15).random(in_rows.shape) < 0.05} if forced else {}
    expected = ms.solve(in_rows, p, duals=True, **drop)
    for axis in (0, 1):
        along = dataclasses.replace(p, axis=axis)
        in_columns = np.ascontiguousarray(np.moveaxis(in_rows, -1, axis))
        moved = {name: np.moveaxis(choice, -1, axis) for name, choice in drop.items()}
        result = ms.solve(in_columns, along, duals=True, **moved)
        assert np.array_equal(np.moveaxis(result.mask, axis, -1), expected.mask)
        assert np.array_equal(result.duals.rows, expected.duals.rows)
        assert_certified(result, in_columns, **moved)


@pytest.mark.parametrize("axis", [0, 1])
def test_an_infeasible_group_of_any_axis_is_the_first_of_its_numbering(axis):
    keep = np.zeros((5, 20, 12), np.bool_)
    keep[2, 7, 4:8] = keep[3, 0, :4] = True
    number = int(np.ravel_multi_index((2, 7, 1), (5, 20, 3)))
    forced = np.ascontiguousarray(np.moveaxis(keep, -1, axis))
    with pytest.raises(ms.InfeasibleError, match=rf"tile {number}\b") as caught:
        ms.solve(gaussian(forced.shape), f"2:4 axis={axis}", keep=forced)
    assert caught.value.tile == number


@pytest.mark.parametrize("axis", [-1, -2])
@pytest.mark.parametrize("pattern", GROUPS)
def test_ties_in_groups_go_to_the_first_entries(pattern, axis):
    p = ms.Pattern.parse(f"{pattern} axis={axis}")
    scores = np.moveaxis(np.ones((5, p.m), np.float32), -1, axis)
    for name in RUNNING:
        mask = np.moveaxis(ms.solve(scores, p, backend="exact", instruction_set=name).mask, axis, -1)
        assert np.array_equal(mask, np.broadcast_to(np.arange(p.m) < p.n, mask.shape))


@pytest.mark.parametrize("pattern", TILES)
def test_constant_tiles_need_no_path(pattern):
    result = ms.solve(np.ones(shape_for(pattern), np.float32), pattern)
    assert result.stats["augmentations"] == 0
    assert result.gap <= 1e-13
