"""Tiles: the array seen as blocks of equal tiles, without copying it.

A *block* is all the tiles of one shape. Its arrays are strided views of the caller's scores
and of the mask, so whatever a backend writes into a block stands in the mask at once. A whole
tile is m by m (transposable) or 1 by m (a one-directional group); with ``remainder="pad"`` the
tiles cut by the edge form up to three more blocks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from .pattern import Pattern
from .problem import LARGEST_SINGLE, BoolArray, MaskProblem

PriceArray = npt.NDArray[np.floating[Any]]
Bounds = tuple[int, int]
Scalar = TypeVar("Scalar", bound=np.generic)

_SMALL = 4 << 20
_TOGETHER = 16
"""As many tiles as the widest registers have lanes."""


class Prices(NamedTuple):
    """Dual prices: ``rows`` (..., r) and ``columns`` (..., c), None where columns are free."""

    rows: PriceArray
    columns: PriceArray | None

    def rounded(self, dtype: npt.DTypeLike) -> Prices:
        """Return the prices as ``dtype`` holds them, clipped to its range: any prices give a bound."""
        most = np.finfo(dtype).max
        rows = np.clip(self.rows, -most, most).astype(dtype)
        if self.columns is None:
            return Prices(rows, None)
        return Prices(rows, np.clip(self.columns, -most, most).astype(dtype))


@dataclass(frozen=True, eq=False)
class Block:
    """Equal tiles, their constraints, and where the answer goes.

    Attributes
    ----------
    scores : ndarray, shape ``(*grid, r, c)``
        View of the caller's array, any real dtype; ``grid`` runs over batch, tile row and tile column
        (one-directional patterns: the other axes, one row, groups), in the order of ``axes``.
    mask : ndarray of bool, shape ``(*grid, r, c)``
        Output: view of the mask; True = kept.
    prices : Prices or None
        Output: views of the dual prices, ``(*grid, r)`` and ``(*grid, c)``. None: do not keep them.
    keep, drop : ndarray of bool, shape ``(*grid, r, c)``, or None
        Forced choices.
    start : Prices or None
        Prices of an earlier solve, shaped like ``prices``.
    row_bounds, column_bounds : (int, int)
        Least and most kept entries of each row and of each column.
    largest : float
        No score of the whole array is larger in absolute value.
    corner, whole_grid : tuple of int
        Place of the block's first tile in the grid of the whole array, and that grid's shape. Tiles are
        numbered row-major in it, with the grouped axis last.
    axes : tuple of int or None
        Which axis of the whole array's grid each axis of ``grid`` is; None: the same. With forced choices
        it is the same, so that the first tile without a mask is found first.
    """

    scores: npt.NDArray[Any]
    mask: BoolArray
    prices: Prices | None
    keep: BoolArray | None
    drop: BoolArray | None
    start: Prices | None
    row_bounds: Bounds
    column_bounds: Bounds
    largest: float
    corner: tuple[int, ...]
    whole_grid: tuple[int, ...]
    axes: tuple[int, ...] | None = None
    score: str = "value"
    tile_objective: npt.NDArray[np.float64] | None = None
    tile_bound: npt.NDArray[np.float64] | None = None

    @property
    def upright(self) -> bool:
        """Whether neighbours in the grid are groups of different lines, or tiles of different columns."""
        return self.axes is not None and self.axes[-1] != len(self.axes) - 1

    @property
    def grid(self) -> tuple[int, ...]:
        """Shape of the grid of tiles."""
        return self.scores.shape[:-2]

    @property
    def tile_shape(self) -> tuple[int, int]:
        """Rows and columns of a tile."""
        return self.scores.shape[-2], self.scores.shape[-1]

    @property
    def tiles(self) -> int:
        """Number of tiles."""
        return math.prod(self.grid)

    def number(self, tile: int) -> int:
        """Row-major number, in the whole array, of the block's ``tile``-th tile."""
        return int(self.numbers(np.unravel_index(tile, self.grid)))

    def numbers(self, place: tuple[Any, ...]) -> npt.NDArray[np.intp]:
        """Row-major numbers, in the whole array, of the tiles at ``place`` in the block's grid."""
        axes = range(len(self.corner)) if self.axes is None else self.axes
        ordered = [along for _, along in sorted(zip(axes, place, strict=True), key=itemgetter(0))]
        whole = tuple(p + c for p, c in zip(ordered, self.corner, strict=True))
        return np.asarray(np.ravel_multi_index(whole, self.whole_grid))

    def gather(self, first: int, last: int) -> Chunk:
        """Copy tiles ``first`` to ``last`` - 1 for a backend that works on plain arrays."""
        index = np.unravel_index(np.arange(first, last), self.grid)
        return Chunk(
            scores=np.ascontiguousarray(self.scores[index], dtype=np.float64),
            keep=None if self.keep is None else self.keep[index],
            drop=None if self.drop is None else self.drop[index],
            row_bounds=self.row_bounds,
            column_bounds=self.column_bounds,
            numbers=self.numbers(index).tolist(),
        )

    def scatter(self, first: int, last: int, mask: BoolArray, prices: Prices) -> Prices:
        """Write the answer for tiles ``first`` to ``last`` - 1; return the prices as they are kept.

        Certify the returned prices, so that the bound is the one that the result's prices give.
        """
        index = np.unravel_index(np.arange(first, last), self.grid)
        self.mask[index] = mask
        kept = prices.rounded(price_dtype(self.scores.dtype, self.largest))
        if self.prices is not None:
            self.prices.rows[index] = kept.rows
            if self.prices.columns is not None:
                self.prices.columns[index] = 0.0 if kept.columns is None else kept.columns
        return kept


@dataclass(frozen=True, eq=False)
class Chunk:
    """Tiles copied out of a block: contiguous float64 arrays of shape (tiles, r, c).

    Attributes
    ----------
    scores : ndarray of float64
    keep, drop : ndarray of bool or None
    row_bounds, column_bounds : (int, int)
        Least and most kept entries of each row and of each column.
    numbers : list of int
        The tiles' numbers in the whole array, for error messages.
    """

    scores: npt.NDArray[np.float64]
    keep: BoolArray | None
    drop: BoolArray | None
    row_bounds: Bounds
    column_bounds: Bounds
    numbers: list[int]


class Layout(NamedTuple):
    """A problem laid out in tiles.

    ``mask`` has the shape of the scores; ``prices`` are (tiles, m) or None; ``tails`` are views
    of the scores that ``remainder="dense"`` keeps whole.
    """

    mask: BoolArray
    prices: Prices | None
    blocks: list[Block]
    tails: list[npt.NDArray[Any]]

    def tail_sums(self) -> list[float]:
        """Sum of the scores of each tail."""
        return [float(np.sum(tail, dtype=np.float64)) for tail in self.tails]


class Segment(NamedTuple):
    """``runs`` of ``length`` entries, the first at entry ``start`` and in tile ``tile``."""

    start: int
    runs: int
    length: int
    tile: int


def lay_out(problem: MaskProblem, *, store_prices: bool | None = None, start: Prices | None = None) -> Layout:
    """Cut the problem into blocks and allocate the mask and the prices.

    Parameters
    ----------
    problem : MaskProblem
    store_prices : bool or None
        Whether to allocate room for the prices; None: if they take at most 4 MiB or, for
        transposable patterns, no more memory than the mask.
    start : Prices or None
        Prices (tiles, m) of an earlier solve of the same shape and pattern.
    """
    pattern = problem.pattern
    scores = grouped(problem.scores, pattern)
    mask = np.empty(problem.scores.shape, dtype=np.bool_)
    grouped_mask = grouped(mask, pattern)
    lead, height, width = scores.shape[:-2], scores.shape[-2], scores.shape[-1]
    tile_height = pattern.m if pattern.transposable else 1
    down = segments(height, tile_height, pattern)
    across = segments(width, pattern.m, pattern)
    whole_grid = (*lead, tiles_along(down), tiles_along(across))

    prices = _allocate_prices(problem, whole_grid, tile_height, store_prices)
    keep = None if problem.keep is None else grouped(problem.keep, pattern)
    drop = None if problem.drop is None else grouped(problem.drop, pattern)
    start = None if start is None else _on_grid(start, whole_grid, tile_height, pattern)
    axes = None if keep is not None or drop is not None else _grid_axes(whole_grid, pattern)

    blocks = []
    for row in down:
        for column in across:
            row_bounds, column_bounds = bounds(pattern, row, column)
            blocks.append(
                Block(
                    scores=_cut(scores, row, column, axes),
                    mask=_cut(grouped_mask, row, column, axes),
                    prices=None if prices is None else _cut_prices(prices, row, column, axes),
                    keep=None if keep is None else _cut(keep, row, column, axes),
                    drop=None if drop is None else _cut(drop, row, column, axes),
                    start=None if start is None else _cut_prices(start, row, column, axes),
                    row_bounds=row_bounds,
                    column_bounds=column_bounds,
                    largest=problem.largest,
                    corner=(0,) * len(lead) + (row.tile, column.tile),
                    whole_grid=whole_grid,
                    axes=axes,
                )
            )
    for tail in tails(grouped_mask, pattern):
        tail[...] = True
    return Layout(mask, None if prices is None else _flat(prices), blocks, tails(scores, pattern))


def grouped(array: npt.NDArray[Scalar], pattern: Pattern) -> npt.NDArray[Scalar]:
    """View with the grouped axis last and at least two axes: (..., R, C) or (..., 1, L)."""
    if pattern.transposable:
        return array
    return np.moveaxis(array, pattern.axis, -1)[..., np.newaxis, :]


def tails(array: Any, pattern: Pattern) -> list[Any]:
    """View what ``remainder="dense"`` keeps whole of a grouped array; none under the other policies."""
    if pattern.remainder != "dense":
        return []
    height, width = array.shape[-2:]
    bottom = height // pattern.m * pattern.m if pattern.transposable else height
    return [array[..., bottom:, :], array[..., :bottom, width // pattern.m * pattern.m :]]


def segments(extent: int, length: int, pattern: Pattern) -> list[Segment]:
    """Cut an axis into runs of whole tiles and, under ``remainder="pad"``, a shorter one at the edge."""
    count, rest = divmod(extent, length)
    parts = [Segment(0, count, length, 0)]
    if rest and pattern.remainder == "pad":
        parts.append(Segment(count * length, 1, rest, count))
    return parts


def tiles_along(parts: list[Segment]) -> int:
    """Tiles along an axis that was cut into segments."""
    return sum(part.runs for part in parts)


def bounds(pattern: Pattern, row: Segment, column: Segment) -> tuple[Bounds, Bounds]:
    """Bounds of a tile's rows and columns: a row is whole if its columns are, and vice versa."""
    row_bounds = _group_bounds(pattern, column.length)
    if pattern.transposable:
        return row_bounds, _group_bounds(pattern, row.length)
    return row_bounds, (0, 1)


def _group_bounds(pattern: Pattern, length: int) -> Bounds:
    exact = pattern.constraint == "exact" and length == pattern.m
    return (pattern.n if exact else 0), min(pattern.n, length)


def _grid_axes(grid: tuple[int, ...], pattern: Pattern) -> tuple[int, ...]:
    """Order of a block's grid, by its shape alone: tiles along its last axis are solved together.

    Groups stand where the grouped axis stands in the array, so that those that lie side by side in memory are
    neighbours. Last comes the innermost axis that is long enough, or else the longest.
    """
    axes = list(range(len(grid)))
    if not pattern.transposable:  # the other axes, one row, the groups
        *others, row, groups = axes
        place = pattern.axis % (len(grid) - 1)
        axes = [row, *others[:place], groups, *others[place:]]
    enough = [axis for axis in axes if grid[axis] >= _TOGETHER]
    along = enough[-1] if enough else max(reversed(axes), key=grid.__getitem__)
    axes.remove(along)
    return (*axes, along)


def _cut(
    array: npt.NDArray[Scalar], row: Segment, column: Segment, axes: tuple[int, ...] | None
) -> npt.NDArray[Scalar]:
    part = array[
        ...,
        row.start : row.start + row.runs * row.length,
        column.start : column.start + column.runs * column.length,
    ]
    shape = (*array.shape[:-2], row.runs, row.length, column.runs, column.length)
    tiles = np.reshape(part, shape, copy=False).swapaxes(-3, -2)
    return tiles if axes is None else tiles.transpose(*axes, -2, -1)


def _cut_prices(prices: Prices, row: Segment, column: Segment, axes: tuple[int, ...] | None) -> Prices:
    def cut(array: PriceArray, length: int) -> PriceArray:
        part = array[..., row.tile : row.tile + row.runs, column.tile : column.tile + column.runs, :length]
        return part if axes is None else part.transpose(*axes, -1)

    return Prices(
        cut(prices.rows, row.length),
        None if prices.columns is None else cut(prices.columns, column.length),
    )


def _allocate_prices(
    problem: MaskProblem, grid: tuple[int, ...], tile_height: int, store: bool | None
) -> Prices | None:
    dtype = price_dtype(problem.scores.dtype, problem.largest)
    columns = problem.pattern.m if problem.pattern.transposable else 0
    if not keeps_prices(problem.pattern, grid, dtype.itemsize, store):
        return None
    rows = np.zeros((*grid, tile_height), dtype)
    return Prices(rows, np.zeros((*grid, columns), dtype) if columns else None)


def keeps_prices(pattern: Pattern, grid: tuple[int, ...], itemsize: int, store: bool | None) -> bool:
    """Whether to keep the prices; None: if they take 4 MiB, or no more than the mask, if transposable."""
    if store is not None:
        return store
    lines, entries = (2 * pattern.m, pattern.m**2) if pattern.transposable else (1, 0)
    tiles = math.prod(grid)
    return tiles * lines * itemsize <= max(_SMALL, tiles * entries)


def price_dtype(scores: np.dtype[Any], largest: float) -> np.dtype[np.floating[Any]]:
    """Type of the prices, and of the engine's arithmetic (``Job::in_double``).

    float32 where it holds every score exactly and sums of them safely, else float64.
    """
    narrow = (scores.itemsize <= 2 or scores == np.float32) and largest <= LARGEST_SINGLE
    return np.dtype(np.float32 if narrow else np.float64)


def _on_grid(prices: Prices, grid: tuple[int, ...], tile_height: int, pattern: Pattern) -> Prices:
    tiles = math.prod(grid)
    expected = [(tiles, tile_height), (tiles, pattern.m) if pattern.transposable else None]
    shapes = [None if part is None else np.shape(part) for part in prices]
    if shapes != expected:
        raise ValueError(
            f"duals must be (rows, columns) of shapes {expected} for pattern '{pattern}', got {shapes}"
        )
    rows, columns = prices
    return Prices(
        rows.reshape(*grid, tile_height), None if columns is None else columns.reshape(*grid, pattern.m)
    )


def _flat(prices: Prices) -> Prices:
    columns = prices.columns
    return Prices(
        prices.rows.reshape(-1, prices.rows.shape[-1]),
        None if columns is None else columns.reshape(-1, columns.shape[-1]),
    )
