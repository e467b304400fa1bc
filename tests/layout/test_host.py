"""Arrays on the host: every entry in exactly one tile, seen in place, written in place."""

import math
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest
import strategies
from hypothesis import given
from hypothesis import strategies as st

from masksolve import Pattern
from masksolve.layout.host import HostLayout
from masksolve.problem import MaskProblem
from masksolve.types import Prices


@st.composite
def any_problem(draw: st.DrawFn) -> MaskProblem:
    """Scores that count up from 0, under any pattern."""
    pattern, shape = draw(strategies.laid_patterns())
    return MaskProblem.of(np.arange(math.prod(shape)).reshape(shape), pattern)


def kept_in_tails(problem: MaskProblem) -> float:
    return sum(kept for kept, _ in problem.tail_sums())


@given(any_problem())
def test_every_entry_is_in_one_tile_or_tail(problem: MaskProblem) -> None:
    layout = HostLayout(problem)
    tails = problem.tiling.tails(problem.tiling.grouped(np, problem.scores))
    parts = [block.scores.ravel() for block in layout.blocks] + [tail.ravel() for tail in tails]
    assert sorted(np.concatenate(parts).tolist()) == list(range(problem.scores.size))
    assert kept_in_tails(problem) == sum(float(tail.sum()) for tail in tails)


@given(any_problem())
def test_blocks_are_views(problem: MaskProblem) -> None:
    layout = HostLayout(problem, prices=True, tiles=True)
    assert layout.prices is not None
    for block in layout.blocks:
        if block.tiles:
            assert np.shares_memory(block.scores, problem.scores)
            assert np.shares_memory(block.mask, layout.mask)
            assert block.prices is not None
            assert np.shares_memory(block.prices.rows, layout.prices.rows)
            assert np.shares_memory(block.tile_bound, layout.tile_bound)


@given(any_problem(), st.integers(1, 7), st.integers(0, 99))
def test_what_is_written_can_be_read(problem: MaskProblem, step: int, seed: int) -> None:
    """Chunk by chunk, tiles of any mask are read as scores and written into another layout."""
    wanted = np.random.default_rng(seed).random(problem.scores.shape) < 0.5
    source = HostLayout(MaskProblem.of(wanted, problem.pattern))
    layout = HostLayout(problem, prices=True, tiles=True)
    for block, answer in zip(layout.blocks, source.blocks, strict=True):
        for first in range(0, block.tiles, step):
            last = min(first + step, block.tiles)
            chunk = block.chunk(first, last)
            assert chunk.scores.dtype == np.float64
            assert chunk.scores.flags.c_contiguous
            assert list(chunk.numbers) == [block.number(tile) for tile in range(first, last)]
            height, width = block.tile_shape
            numbers = np.reshape(list(chunk.numbers), (-1, 1))
            prices = Prices(numbers * 100.0 + np.arange(height), numbers * 100.0 - np.arange(width))
            mask = answer.chunk(first, last).scores.astype(bool)
            kept = block.write(first, last, mask, prices)
            block.record(first, last, numbers[:, 0] * 1.0, numbers[:, 0] + 0.5)
            assert kept is not None
            assert np.array_equal(kept.rows, prices.rows)
            assert np.array_equal(block.mask_of(first, last), mask)
            assert layout.prices is not None
            assert np.array_equal(layout.prices.rows[list(chunk.numbers), :height], prices.rows)
            if layout.prices.columns is not None:
                assert np.array_equal(layout.prices.columns[list(chunk.numbers), :width], prices.columns)
    tiles = problem.tiling.tiles
    assert layout.tile_objective is not None
    assert layout.tile_bound is not None
    assert layout.tile_objective.shape == problem.tiling.grid
    assert layout.tile_objective.ravel().tolist() == list(range(tiles))
    assert layout.tile_bound.ravel().tolist() == [tile + 0.5 for tile in range(tiles)]
    for tail in problem.tiling.tails(problem.tiling.grouped(np, wanted)):
        tail[...] = True
    assert np.array_equal(layout.mask, wanted)


@given(any_problem(), st.integers(0, 99))
def test_one_tile_can_be_amended(problem: MaskProblem, seed: int) -> None:
    rng = np.random.default_rng(seed)
    layout = HostLayout(problem, prices=True)
    layout.mask[...] = False
    for block in layout.blocks:
        if not block.tiles:
            continue
        tile, (height, width) = int(rng.integers(block.tiles)), block.tile_shape
        mask = np.ones((height, width), np.bool_)
        block.amend(tile, mask, Prices(np.full(height, 3.0), np.full(width, 4.0)))
        assert block.mask.sum() == height * width
        assert block.mask_of(tile, tile + 1).all()
        (number,) = block.chunk(tile, tile + 1).numbers
        assert layout.prices is not None
        assert layout.prices.rows[number, :height].tolist() == [3.0] * height


@given(any_problem())
def test_prices_have_one_row_for_each_tile(problem: MaskProblem) -> None:
    layout = HostLayout(problem, prices=True)
    tiles, m = sum(block.tiles for block in layout.blocks), problem.pattern.m
    assert layout.prices is not None
    rows, columns = layout.prices
    if problem.pattern.transposable:
        assert columns is not None
        assert (rows.shape, columns.shape) == ((tiles, m), (tiles, m))
    else:
        assert (rows.shape, columns) == ((tiles, 1), None)
    rows[...] = np.arange(tiles)[:, np.newaxis]
    again = HostLayout(problem, start=layout.prices)
    for block in again.blocks:
        for tile in range(block.tiles):
            start = block.chunk(tile, tile + 1).start
            assert start is not None
            assert (start.rows == block.number(tile)).all()


@pytest.mark.parametrize(
    ("shape", "pattern", "grid", "groups_in_columns"),
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
    shape: tuple[int, ...], pattern: str, grid: tuple[int, ...], groups_in_columns: bool
) -> None:
    """So that tiles fill the registers; groups side by side in memory are neighbours."""
    scores = np.zeros(shape)
    (block,) = HostLayout(MaskProblem.of(scores, pattern)).blocks
    assert (block.grid, block.groups_in_columns) == (grid, groups_in_columns)
    problem = MaskProblem.of(scores, pattern, keep=np.zeros(shape, bool))
    (forced,) = HostLayout(problem).blocks
    assert forced.grid == problem.tiling.grid
    assert not forced.groups_in_columns


def test_dense_tails_are_kept() -> None:
    problem = MaskProblem.of(np.ones((2, 6, 5)), "1:4-T dense")
    layout = HostLayout(problem)
    assert layout.mask[:, 4:].all()
    assert layout.mask[:, :, 4:].all()
    assert kept_in_tails(problem) == 2 * (6 * 5 - 16)


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
        layout = HostLayout(MaskProblem.of(array, pattern))
        for block in layout.blocks:
            assert np.shares_memory(block.scores, array)
            block.mask[...] = block.scores % 2 == 1
        assert np.array_equal(layout.mask, array % 2 == 1)


@pytest.mark.parametrize("score", ["value", "magnitude", "square"])
def test_chunks_hold_what_entries_are_worth(score: str) -> None:
    scores = np.array([[-3, 1, 0, 2]], np.int8)
    layout = HostLayout(MaskProblem.of(scores, "2:4", score=score))
    (block,) = layout.blocks
    expected = {"value": scores, "magnitude": abs(scores), "square": scores**2}[score]
    assert block.chunk(0, 1).scores.tolist() == [expected.tolist()]
    assert block.on_host(0, 1).scores.tolist() == [expected.tolist()]
    assert scores.tolist() == [[-3, 1, 0, 2]]
    assert kept_in_tails(MaskProblem.of(scores[:, :3], "1:2 dense", score=score)) == 0.0
    assert kept_in_tails(MaskProblem.of(scores, "1:3 dense", score=score)) == expected[0, 3]


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        *((dtype, np.float32) for dtype in (np.bool_, np.int8, np.uint16, np.float16, np.float32)),
        (ml_dtypes.bfloat16, np.float32),
        *((dtype, np.float64) for dtype in (np.int32, np.uint32, np.int64, np.uint64, np.float64)),
    ],
)
def test_prices_are_as_wide_as_the_engine(dtype: npt.DTypeLike, expected: type) -> None:
    layout = HostLayout(MaskProblem.of(np.ones((4, 4), dtype), "2:4-T").read(), prices=True)
    assert layout.prices is not None
    assert {part.dtype for part in layout.prices if part is not None} == {np.dtype(expected)}
    assert layout.blocks[0].price_dtype == expected


@pytest.mark.parametrize(("value", "score"), [(1e30, "value"), (-1e30, "magnitude"), (1e15, "square")])
def test_prices_of_huge_scores_are_double(value: float, score: str) -> None:
    problem = MaskProblem.of(np.full((4, 4), value, np.float32), "2:4-T", score=score).read()
    assert HostLayout(problem).blocks[0].price_dtype == np.float64


def test_prices_and_sums_are_kept_by_default_unless_they_outweigh_the_mask() -> None:
    large, one = (1 << 13, 1 << 13), np.float32(1)

    def kept(value: Any, shape: tuple[int, ...], pattern: str, **asked: bool) -> tuple[bool, bool]:
        layout = HostLayout(MaskProblem.of(np.broadcast_to(value, shape), pattern), **asked)
        return layout.prices is not None, layout.tile_bound is not None

    assert kept(one, large, "4:8-T") == (True, False)
    assert kept(np.float64(1), large, "4:8-T") == (False, False)
    assert kept(one, large, "2:4-T") == (False, False)
    assert kept(one, large, "4:8") == (False, False)
    assert kept(one, (8, 8), "4:8-T") == (True, True)
    assert kept(one, (8, 8), "4:8-T", prices=False, tiles=False) == (False, False)
    assert kept(one, large, "2:4", prices=True, tiles=True) == (True, True)


def test_prices_beyond_float32_are_clipped() -> None:
    largest = np.finfo(np.float32).max
    rounded = Prices(np.array([1e300, 0.1]), np.array([-1e300])).rounded(np.float32)
    assert rounded.rows.tolist() == [largest, np.float32(0.1)]
    assert rounded.columns is not None
    assert rounded.columns.tolist() == [-largest]
    assert rounded.rows.dtype == rounded.columns.dtype == np.float32


def test_patterns_of_one_axis() -> None:
    layout = HostLayout(MaskProblem.of(np.arange(8.0), Pattern(1, 4)))
    (block,) = layout.blocks
    assert block.chunk(1, 2).scores.tolist() == [[[4.0, 5.0, 6.0, 7.0]]]
