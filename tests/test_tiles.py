"""Tiles: every entry in exactly one tile, seen in place, numbered row-major."""

import itertools
import math
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from masksolve.tiles import Prices, lay_out, price_dtype

from masksolve import Pattern
from masksolve.problem import MaskProblem


@st.composite
def any_problem(draw: st.DrawFn) -> MaskProblem:
    """Scores that count up from 0, under any pattern."""
    m = draw(st.integers(1, 5))
    transposable = draw(st.booleans())
    ndim = draw(st.integers(2 if transposable else 1, 4))
    pattern = Pattern(
        draw(st.integers(1, m)),
        m,
        transposable=transposable,
        constraint=draw(st.sampled_from(["exact", "at_most"])),
        axis=-1 if transposable else draw(st.integers(-ndim, ndim - 1)),
        remainder=draw(st.sampled_from(["error", "pad", "dense"])),
    )
    shape = [draw(st.integers(0, 3)) for _ in range(ndim)]
    for axis in (-2, -1) if transposable else (pattern.axis,):
        whole = m * draw(st.integers(0, 3))
        shape[axis] = whole if pattern.remainder == "error" else whole + draw(st.integers(0, m - 1))
    return MaskProblem.check(np.arange(math.prod(shape)).reshape(shape), pattern)


def tile_numbers(shape: tuple[int, ...], pattern: Pattern) -> dict[tuple[int, ...], int]:
    """The number of the tile of each index, by the definition; entries in a dense tail are left out."""
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


@given(any_problem())
def test_every_entry_is_in_one_tile_or_tail(problem: MaskProblem) -> None:
    layout = lay_out(problem)
    parts = [block.scores.ravel() for block in layout.blocks] + [tail.ravel() for tail in layout.tails]
    assert sorted(np.concatenate(parts).tolist()) == list(range(problem.scores.size))


@given(any_problem())
def test_blocks_are_views(problem: MaskProblem) -> None:
    layout = lay_out(problem, store_prices=True)
    assert layout.prices is not None
    for block in layout.blocks:
        if block.tiles:
            assert np.shares_memory(block.scores, problem.scores)
            assert np.shares_memory(block.mask, layout.mask)
            assert block.prices is not None
            assert np.shares_memory(block.prices.rows, layout.prices.rows)


@given(any_problem())
def test_tiles_are_numbered_row_major(problem: MaskProblem) -> None:
    expected = tile_numbers(problem.scores.shape, problem.pattern)
    indices = list(np.ndindex(problem.scores.shape))  # scores count up: entry -> index
    seen = 0
    for block in lay_out(problem).blocks:
        for tile, place in enumerate(np.ndindex(block.grid)):
            numbers = {expected[indices[entry]] for entry in block.scores[place].ravel()}
            assert numbers == {block.number(tile)}
            seen += block.scores[place].size
    assert seen == len(expected)


@given(any_problem(), st.integers(1, 7), st.randoms(use_true_random=False))
def test_scatter_is_the_inverse_of_gather(problem: MaskProblem, step: int, random: Any) -> None:
    rng = np.random.default_rng(random.randrange(1 << 32))
    wanted = rng.random(problem.scores.shape) < 0.5
    source = lay_out(MaskProblem(wanted, problem.pattern, None, None, 1.0))
    layout = lay_out(problem, store_prices=True)
    assert layout.prices is not None
    for block, answer in zip(layout.blocks, source.blocks, strict=True):
        for first in range(0, block.tiles, step):
            last = min(first + step, block.tiles)
            chunk = block.gather(first, last)
            assert chunk.scores.dtype == np.float64
            assert chunk.scores.flags.c_contiguous
            assert chunk.numbers == [block.number(tile) for tile in range(first, last)]
            height, width = block.tile_shape
            numbers = np.reshape(chunk.numbers, (-1, 1))
            rows = numbers * 100.0 + np.arange(height)
            columns = numbers * 100.0 - np.arange(width)
            mask = answer.gather(first, last).scores.astype(bool)
            block.scatter(first, last, mask, Prices(rows, columns))
            assert np.array_equal(layout.prices.rows[chunk.numbers, :height], rows)
            if layout.prices.columns is not None:
                assert np.array_equal(layout.prices.columns[chunk.numbers, :width], columns)
    for tail in source.tails:
        tail[...] = True
    assert np.array_equal(layout.mask, wanted)


@given(any_problem())
def test_prices_have_one_row_for_each_tile(problem: MaskProblem) -> None:
    layout = lay_out(problem, store_prices=True)
    tiles, m = sum(block.tiles for block in layout.blocks), problem.pattern.m
    assert layout.prices is not None
    rows, columns = layout.prices
    if problem.pattern.transposable:
        assert columns is not None
        assert (rows.shape, columns.shape) == ((tiles, m), (tiles, m))
    else:
        assert (rows.shape, columns) == ((tiles, 1), None)
    again = lay_out(problem, start=layout.prices)
    assert [block.start is None for block in again.blocks] == [False] * len(again.blocks)


@pytest.mark.parametrize(
    ("shape", "pattern", "grid", "upright"),
    [
        ((64, 160), "2:4-T", (16, 40), False),
        ((400, 8), "2:4-T", (2, 100), True),
        ((8, 400), "2:4-T", (2, 100), False),
        ((50, 16, 16), "2:4-T", (4, 4, 50), True),
        ((3, 16, 160), "2:4-T", (3, 4, 40), False),
        ((12, 8), "2:4-T", (2, 3), True),
        ((30, 160), "2:4", (1, 30, 40), False),
        ((160, 30), "2:4 axis=0", (1, 40, 30), True),
        ((32, 64, 3, 3), "2:4 axis=1", (1, 32, 3, 3, 16), False),
        ((32, 64, 7, 30), "2:4 axis=1", (1, 32, 16, 7, 30), True),
        ((400, 8), "2:4", (1, 2, 400), True),
        ((400,), "2:4 axis=0", (1, 100), False),
    ],
)
def test_the_last_axis_of_the_grid_is_long(
    shape: tuple[int, ...], pattern: str, grid: tuple[int, ...], upright: bool
) -> None:
    """So that tiles fill the registers; groups side by side in memory are neighbours."""
    scores = np.zeros(shape)
    (block,) = lay_out(MaskProblem.check(scores, pattern)).blocks
    assert (block.grid, block.upright) == (grid, upright)
    (forced,) = lay_out(MaskProblem.check(scores, pattern, keep=np.zeros(shape, bool))).blocks
    assert forced.grid == forced.whole_grid
    assert not forced.upright


def test_cut_tiles_keep_at_most_n() -> None:
    problem = MaskProblem.check(np.zeros((10, 9)), "2:4-T pad")
    bounds = {
        block.tile_shape: (block.grid, block.row_bounds, block.column_bounds)
        for block in lay_out(problem).blocks
    }
    assert bounds == {
        (4, 4): ((2, 2), (2, 2), (2, 2)),
        (4, 1): ((2, 1), (0, 1), (2, 2)),
        (2, 4): ((1, 2), (2, 2), (0, 2)),
        (2, 1): ((1, 1), (0, 1), (0, 2)),
    }


def test_at_most_has_no_least() -> None:
    (block,) = lay_out(MaskProblem.check(np.zeros((8, 8)), "3:4-T at_most")).blocks
    assert (block.row_bounds, block.column_bounds) == ((0, 3), (0, 3))


def test_one_directional_columns_are_free() -> None:
    (block,) = lay_out(MaskProblem.check(np.zeros((8, 8)), "3:4")).blocks
    assert (block.tile_shape, block.row_bounds, block.column_bounds) == ((1, 4), (3, 3), (0, 1))


def test_dense_tails_are_kept() -> None:
    layout = lay_out(MaskProblem.check(np.ones((2, 6, 5)), "1:4-T dense"))
    assert layout.mask[:, 4:].all()
    assert layout.mask[:, :, 4:].all()
    assert sum(tail.sum() for tail in layout.tails) == 2 * (6 * 5 - 16)


BASE = np.arange(16 * 16, dtype=np.float64).reshape(16, 16)
READ_ONLY = BASE.copy()
READ_ONLY.flags.writeable = False


@pytest.mark.parametrize(
    "array",
    [
        np.asfortranarray(BASE),
        BASE.T,
        BASE[::-1, ::-1],
        BASE[::2, ::-2],
        BASE.reshape(2, 8, 2, 8).swapaxes(1, 2),
        np.broadcast_to(BASE[0], (8, 16)),
        READ_ONLY,
    ],
    ids=["fortran", "transposed", "reversed", "stepped", "blocked", "broadcast", "read-only"],
)
def test_no_memory_order_is_copied(array: npt.NDArray[np.float64]) -> None:
    for pattern in ("2:4-T", "2:4", "2:4 axis=0" if array.shape[0] % 4 == 0 else "2:4"):
        layout = lay_out(MaskProblem.check(array, pattern))
        for block in layout.blocks:
            assert np.shares_memory(block.scores, array)
            block.mask[...] = block.scores % 2 == 1
        assert np.array_equal(layout.mask, array % 2 == 1)


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        (np.bool_, np.float32),
        (np.int8, np.float32),
        (np.uint16, np.float32),
        (np.float16, np.float32),
        (ml_dtypes.bfloat16, np.float32),
        (np.float32, np.float32),
        (np.int32, np.float64),
        (np.uint32, np.float64),
        (np.int64, np.float64),
        (np.uint64, np.float64),
        (np.float64, np.float64),
    ],
)
def test_prices_are_as_wide_as_the_engine(dtype: npt.DTypeLike, expected: type) -> None:
    assert price_dtype(np.dtype(dtype), 1.0) == expected
    assert price_dtype(np.dtype(dtype), 1e30) == np.float64
    layout = lay_out(MaskProblem.check(np.ones((4, 4), dtype), "2:4-T"), store_prices=True)
    assert layout.prices is not None
    assert {part.dtype for part in layout.prices if part is not None} == {np.dtype(expected)}


def test_prices_are_kept_by_default_unless_they_outweigh_the_mask() -> None:
    large = (1 << 13, 1 << 13)
    pattern = Pattern.parse("4:8-T")
    narrow = MaskProblem(np.broadcast_to(np.float32(1), large), pattern, None, None, 1.0)
    wide = MaskProblem(np.broadcast_to(np.float64(1), large), pattern, None, None, 1.0)
    small = MaskProblem(np.ones((8, 8)), pattern, None, None, 1.0)
    assert lay_out(narrow).prices is not None
    assert lay_out(wide).prices is None
    assert lay_out(small).prices is not None
    assert lay_out(small, store_prices=False).prices is None


def test_prices_beyond_float32_are_clipped() -> None:
    largest = np.finfo(np.float32).max
    rounded = Prices(np.array([1e300, 0.1]), np.array([-1e300])).rounded(np.float32)
    assert rounded.rows.tolist() == [largest, np.float32(0.1)]
    assert rounded.columns is not None
    assert rounded.columns.tolist() == [-largest]
    assert rounded.rows.dtype == rounded.columns.dtype == np.float32
