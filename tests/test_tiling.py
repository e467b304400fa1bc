"""Geometry without arrays: every entry in one tile or tail, tiles numbered row-major, bounds of lines."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from strategies import laid_patterns

from masksolve import Pattern
from masksolve.tiling import Tiling, tiling_of


def numbers_by_definition(shape: tuple[int, ...], pattern: Pattern) -> dict[tuple[int, ...], int]:
    """The number of the tile of each index; entries in a dense tail are left out."""
    axes = (len(shape) - 2, len(shape) - 1) if pattern.transposable else (pattern.axis % len(shape),)
    batch = [axis for axis in range(len(shape)) if axis not in axes]
    rounding = math.ceil if pattern.remainder == "pad" else math.floor
    grid = [shape[axis] for axis in batch] + [rounding(shape[axis] / pattern.m) for axis in axes]
    numbers = {}
    for index in itertools.product(*map(range, shape)):
        place = [index[axis] for axis in batch] + [index[axis] // pattern.m for axis in axes]
        if all(p < g for p, g in zip(place, grid, strict=True)):
            numbers[index] = int(np.ravel_multi_index(place, grid))
    return numbers


def painted(tiling: Tiling) -> np.ndarray:
    """The number of every entry's tile, by the regions; -1 in tails."""
    numbers = np.full(tiling.shape, -1)
    grouped = tiling.grouped(np, numbers)  # a view
    for region in tiling.regions:
        down, across = region.down, region.across
        for lead in np.ndindex(*tiling.grid[:-2]):
            for i, j in np.ndindex(down.runs, across.runs):
                top, left = down.start + i * down.length, across.start + j * across.length
                part = grouped[lead][top : top + down.length, left : left + across.length]
                assert (part == -1).all(), "an entry is in two tiles"
                place = (*lead, down.tile + i, across.tile + j)
                part[...] = np.ravel_multi_index(place, tiling.grid)
    return numbers


@given(laid_patterns())
def test_every_entry_is_in_the_tile_of_the_definition(case: tuple[Pattern, tuple[int, ...]]) -> None:
    pattern, shape = case
    tiling = tiling_of(pattern, shape)
    expected = numbers_by_definition(shape, pattern)
    found = painted(tiling)
    assert {index: int(found[index]) for index in np.ndindex(shape) if found[index] >= 0} == expected
    assert tiling.tiles == len(set(expected.values())) or not expected
    assert math.prod(tiling.grid) == tiling.tiles


@given(laid_patterns())
def test_tails_are_what_no_tile_holds(case: tuple[Pattern, tuple[int, ...]]) -> None:
    pattern, shape = case
    tiling = tiling_of(pattern, shape)
    counts = np.zeros(shape, int)
    for tail in tiling.tails(tiling.grouped(np, counts)):
        tail[...] += 1
    assert np.array_equal(counts, (painted(tiling) < 0).astype(int))


@given(laid_patterns())
def test_grouping_can_be_undone(case: tuple[Pattern, tuple[int, ...]]) -> None:
    pattern, shape = case
    array = np.arange(math.prod(shape)).reshape(shape)
    tiling = tiling_of(pattern, shape)
    grouped = tiling.grouped(np, array)
    assert grouped.ndim == max(len(shape), 2) + (0 if pattern.transposable or len(shape) < 2 else 1)
    assert np.array_equal(tiling.ungrouped(np, grouped), array)


@given(laid_patterns())
def test_the_axes_of_the_grid_are_a_permutation(case: tuple[Pattern, tuple[int, ...]]) -> None:
    pattern, shape = case
    tiling = tiling_of(pattern, shape)
    assert sorted(tiling.grid_axes) == list(range(len(tiling.grid)))


@given(laid_patterns())
def test_bounds_are_those_of_the_words(case: tuple[Pattern, tuple[int, ...]]) -> None:
    pattern, shape = case
    for region in tiling_of(pattern, shape).regions:
        height, width = region.tile_shape
        exact = pattern.constraint == "exact"
        least = pattern.n if exact and width == pattern.m else 0
        assert region.row_bounds == (least, min(pattern.n, width))
        if pattern.transposable:
            least = pattern.n if exact and height == pattern.m else 0
            assert region.column_bounds == (least, min(pattern.n, height))
        else:
            assert (height, region.column_bounds) == (1, (0, 1))


@given(laid_patterns())
def test_cuts_show_the_tiles_of_the_definition(case: tuple[Pattern, tuple[int, ...]]) -> None:
    """Every tile of a cut holds the entries of one number, in either order of the grid."""
    pattern, shape = case
    tiling = tiling_of(pattern, shape)
    entries = tiling.grouped(np, painted(tiling))
    whole = np.arange(tiling.tiles).reshape(tiling.grid)
    for cuts, axes in ((tiling.cuts, tiling.grid_axes), (tiling.numbered_cuts, tuple(range(whole.ndim)))):
        assert [cut.region for cut in cuts] == list(tiling.regions)
        for cut in cuts:
            tiles = entries[cut.entries].reshape(cut.shape, copy=False).transpose(cut.order)
            numbers = whole if cut.tiles is None else whole[cut.tiles]
            numbers = numbers.transpose(axes)
            assert tiles.shape == (*numbers.shape, *cut.region.tile_shape)
            assert (tiles == numbers[..., None, None]).all()


def test_cut_tiles_keep_at_most_n() -> None:
    tiling = tiling_of(Pattern.parse("2:4-T pad"), (10, 9))
    regions = {
        region.tile_shape: (tiling.region_grid(region), region.row_bounds, region.column_bounds)
        for region in tiling.regions
    }
    assert regions == {
        (4, 4): ((2, 2), (2, 2), (2, 2)),
        (4, 1): ((2, 1), (0, 1), (2, 2)),
        (2, 4): ((1, 2), (2, 2), (0, 2)),
        (2, 1): ((1, 1), (0, 1), (0, 2)),
    }


@pytest.mark.parametrize(
    ("pattern", "shape", "grid", "lines"),
    [
        ("2:4-T", (8, 12), (2, 3), (4, 4)),
        ("2:4-T", (5, 8, 12), (5, 2, 3), (4, 4)),
        ("2:4", (6, 8), (6, 1, 2), (1, 0)),
        ("2:4 axis=0", (8, 6), (6, 1, 2), (1, 0)),
        ("2:4 axis=1", (3, 8, 5), (3, 5, 1, 2), (1, 0)),
        ("2:4", (8,), (1, 2), (1, 0)),
        ("1:2-T", (1 << 40, 1 << 40), (1 << 39, 1 << 39), (2, 2)),
        ("2:4-T pad", (0, 9), (0, 3), (4, 4)),
    ],
)
def test_the_grid(
    pattern: str, shape: tuple[int, ...], grid: tuple[int, ...], lines: tuple[int, int]
) -> None:
    tiling = tiling_of(Pattern.parse(pattern), shape)
    assert (tiling.grid, tiling.lines, tiling.tiles) == (grid, lines, math.prod(grid))


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'2:4' cannot be laid on shape \(8, 6\): it has 6 entries along"):
        tiling_of(Pattern.parse("2:4"), (8, 6))
