"""Arrays on the host, cut into blocks without copying them.

A block's arrays are strided views of the caller's scores and of the mask, so whatever is written
into a block stands in the mask at once.
"""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from ..problem import MaskProblem
from ..tiling import Cut, Region, Tiling
from ..types import BoolArray, Bounds, Float64Array, Prices, Score
from . import SMALL_SUMS, Chunk, Ready, TileNumbers, equal_runs, keeps

Scalar = TypeVar("Scalar", bound=np.generic)
Index = Any  # of tiles in a block's grid

_SINGLE, _DOUBLE = np.dtype(np.float32), np.dtype(np.float64)


@dataclass(eq=False)
class HostBlock:
    """Equal tiles of arrays on the host; see `masksolve.layout.Block`.

    Attributes
    ----------
    scores : ndarray, shape ``(*grid, r, c)``
        View of the caller's array, any real dtype; ``grid`` runs over batch, tile row and tile column
        (one-directional patterns: the other axes, one row, groups), in the order of ``cut.axes``.
    score : {"value", "magnitude", "square"}
        What an entry of ``scores`` is worth.
    mask : ndarray of bool, shape ``(*grid, r, c)``
        Output: view of the mask; True = kept.
    prices : Prices or None
        Output: views of the dual prices, ``(*grid, r)`` and ``(*grid, c)``. None: do not keep them.
    tile_objective, tile_bound : ndarray of float64, shape ``grid``, or None
        Output: every tile's kept sum and proven bound.
    keep, drop : ndarray of bool, shape ``(*grid, r, c)``, or None
        Forced choices.
    start : Prices or None
        Prices of an earlier solve, shaped like ``prices``.
    largest : float
        No entry of the whole array is larger in absolute value.
    price_dtype : dtype
        float32 or float64: of the prices, and of the engine's arithmetic.
    cut, tiling
        Where the tiles lie in the whole array.
    """

    scores: npt.NDArray[Any]
    score: Score
    mask: BoolArray
    prices: Prices | None
    tile_objective: Float64Array | None
    tile_bound: Float64Array | None
    keep: BoolArray | None
    drop: BoolArray | None
    start: Prices | None
    largest: float
    price_dtype: np.dtype[Any]
    cut: Cut
    tiling: Tiling

    @property
    def region(self) -> Region:
        """The region that the tiles are of."""
        return self.cut.region

    @property
    def row_bounds(self) -> Bounds:
        """Least and most kept entries of each row."""
        return self.cut.region.row_bounds

    @property
    def column_bounds(self) -> Bounds:
        """Least and most kept entries of each column."""
        return self.cut.region.column_bounds

    @property
    def groups_in_columns(self) -> bool:
        """Whether groups lie in columns, so that neighbours in the grid are groups of different columns.

        For tiles of several rows: whether neighbours in the grid are tiles of different rows of tiles.
        """
        axes = self.cut.axes
        return axes is not None and axes[-1] != len(axes) - 1

    @property
    def grid(self) -> tuple[int, ...]:
        """Shape of the grid of tiles."""
        return self.scores.shape[:-2]

    @property
    def tile_shape(self) -> tuple[int, int]:
        """Rows and columns of a tile."""
        return self.cut.region.tile_shape

    @property
    def tiles(self) -> int:
        """Number of tiles."""
        return math.prod(self.grid)

    @property
    def forced(self) -> bool:
        """Whether there are forced choices."""
        return self.keep is not None or self.drop is not None

    def arithmetic(self) -> AbstractContextManager[object]:
        """Open an empty context: NumPy always has float64."""
        return nullcontext()

    def runs(self, step: int) -> list[tuple[int, int]]:
        """Cut the block's tiles into runs of up to ``step`` tiles."""
        return equal_runs(self.tiles, step)

    def ready(self, first: int, last: int) -> AbstractContextManager[Ready]:
        """Give the block itself: its scores can be read."""
        return nullcontext((self, first, last))

    def number(self, tile: int) -> int:
        """Row-major number, in the whole array, of the block's ``tile``-th tile."""
        return int(tile_numbers(self.tiling, self.region, np.unravel_index(tile, self.grid), self.cut.axes))

    def chunk(self, first: int, last: int) -> Chunk:
        """Copy tiles for a backend that works on plain arrays."""
        index = self._index(first, last)
        return Chunk(
            scores=worth(np.ascontiguousarray(self.scores[index], dtype=np.float64), self.score),
            keep=None if self.keep is None else self.keep[index],
            drop=None if self.drop is None else self.drop[index],
            row_bounds=self.row_bounds,
            column_bounds=self.column_bounds,
            numbers=TileNumbers(self.number, first, last),
            start=None if self.start is None else Prices(*(x if x is None else x[index] for x in self.start)),
        )

    on_host = chunk

    def read(self, array: Any) -> Any:
        """Give the array: it is on the host."""
        return array

    def mask_of(self, first: int, last: int) -> BoolArray:
        """Masks (tiles, r, c) as they were written."""
        return self.mask[self._index(first, last)]

    def prices_of(self, first: int, last: int) -> Prices | None:
        """Prices as they were written, or None if they are not kept."""
        if self.prices is None:
            return None
        index = self._index(first, last)
        return Prices(*(part if part is None else part[index] for part in self.prices))

    def write(self, first: int, last: int, mask: BoolArray, prices: Prices | None) -> Prices | None:
        """Write masks and prices of a run of tiles; return the prices as they are kept."""
        index = self._index(first, last)
        self.mask[index] = mask
        if prices is None:
            return None
        if not self.tiling.lines[1]:  # results of one-directional patterns have no prices of columns
            prices = Prices(prices.rows, None)
        kept = prices.rounded(self.price_dtype)
        self._write_prices(index, kept)
        return kept

    def amend(self, tile: int, mask: BoolArray, prices: Prices) -> None:
        """Replace the mask and the prices of one tile."""
        index = np.unravel_index(tile, self.grid)
        self.mask[index] = mask
        self._write_prices(index, prices.rounded(self.price_dtype))

    def record(self, first: int, last: int, objective: Float64Array, bound: Float64Array) -> None:
        """Note the objectives and bounds of a run of tiles, if they are asked for."""
        if self.tile_objective is not None and self.tile_bound is not None:
            index = self._index(first, last)
            self.tile_objective[index] = objective
            self.tile_bound[index] = bound

    def _index(self, first: int, last: int) -> Index:
        return np.unravel_index(np.arange(first, last), self.grid)

    def _write_prices(self, index: Index, kept: Prices) -> None:
        if self.prices is not None:
            self.prices.rows[index] = kept.rows
            if self.prices.columns is not None:
                self.prices.columns[index] = 0.0 if kept.columns is None else kept.columns


class HostLayout:
    """A problem on the host, cut into blocks, with room for its answer.

    Attributes
    ----------
    mask : ndarray of bool, shape of the scores
    prices : Prices or None
        (tiles, r) and (tiles, c); ``columns`` None for one-directional patterns.
    tile_objective, tile_bound : ndarray of float64, shape of the grid, or None
    blocks : list of HostBlock
    """

    def __init__(
        self,
        problem: MaskProblem,
        *,
        mask: BoolArray | None = None,
        prices: bool | None = None,
        tiles: bool | None = None,
        start: Prices | None = None,
    ) -> None:
        tiling = problem.tiling
        self._problem, self._tiling = problem, tiling
        self._dtype = _DOUBLE if problem.double else _SINGLE
        self.mask = np.empty(problem.scores.shape, np.bool_) if mask is None else mask
        self._prices = self._start = None
        if self._keeps_prices(prices):
            self._prices = self._room_for_prices()
        self.tile_objective = self.tile_bound = None
        if keeps(tiles, tiling.tiles * 16, False, small=SMALL_SUMS):
            self.tile_objective, self.tile_bound = np.zeros(tiling.grid), np.zeros(tiling.grid)
        if start is not None:
            self._start = self._on_grid(start.rounded(self._dtype))
        self._mask = tiling.grouped(np, self.mask)
        for tail in tiling.tails(self._mask):
            tail[...] = True
        # With forced choices, tiles are visited in the order of their numbers, so that the first one
        # without a mask is found first.
        self.blocks = [self._block(cut) for cut in (tiling.numbered_cuts if problem.forced else tiling.cuts)]

    @property
    def prices(self) -> Prices | None:
        """Dual prices (tiles, r) and (tiles, c), or None if they are not kept."""
        if self._prices is None:
            return None
        rows, columns = self._prices
        return Prices(
            rows.reshape(-1, rows.shape[-1]),
            None if columns is None else columns.reshape(-1, columns.shape[-1]),
        )

    def _block(self, cut: Cut) -> HostBlock:
        problem = self._problem
        return HostBlock(
            scores=_cut(self._tiling.grouped(np, problem.scores), cut),
            score=problem.score,
            mask=_cut(self._mask, cut),
            prices=None if self._prices is None else _cut_prices(self._prices, cut),
            tile_objective=None if self.tile_objective is None else _cut_grid(self.tile_objective, cut),
            tile_bound=None if self.tile_bound is None else _cut_grid(self.tile_bound, cut),
            keep=None if problem.keep is None else _cut(self._tiling.grouped(np, problem.keep), cut),
            drop=None if problem.drop is None else _cut(self._tiling.grouped(np, problem.drop), cut),
            start=None if self._start is None else _cut_prices(self._start, cut),
            largest=problem.largest,
            price_dtype=self._dtype,
            cut=cut,
            tiling=self._tiling,
        )

    def _keeps_prices(self, asked: bool | None) -> bool:
        tiling = self._tiling
        size = sum(tiling.lines) * self._dtype.itemsize  # of the prices of a tile
        return size > 0 and keeps(asked, tiling.tiles * size, size <= tiling.price_share)

    def _room_for_prices(self) -> Prices:
        rows, columns = self._tiling.lines
        grid = self._tiling.grid
        return Prices(
            np.zeros((*grid, rows), self._dtype), np.zeros((*grid, columns), self._dtype) if columns else None
        )

    def _on_grid(self, prices: Prices) -> Prices:
        grid = self._tiling.grid
        return Prices(*(None if part is None else part.reshape(*grid, part.shape[-1]) for part in prices))


def worth(values: Float64Array, score: Score) -> Float64Array:
    """Turn entries into what they are worth, in place."""
    if score == "magnitude":
        return np.abs(values, out=values)
    return np.square(values, out=values) if score == "square" else values


def tile_numbers(
    tiling: Tiling, region: Region, place: tuple[Any, ...], axes: tuple[int, ...] | None = None
) -> npt.NDArray[np.intp]:
    """Row-major numbers, in the whole array, of the tiles at ``place`` in a region's grid.

    ``axes`` says which axis of the whole grid each axis of ``place`` is; None: the same.
    """
    order = range(len(tiling.grid)) if axes is None else axes
    whole = [along for _, along in sorted(zip(order, place, strict=True), key=itemgetter(0))]
    whole[-2] = whole[-2] + region.down.tile
    whole[-1] = whole[-1] + region.across.tile
    return np.asarray(np.ravel_multi_index(tuple(whole), tiling.grid))


def cut_tiles(tiling: Tiling, array: npt.NDArray[Scalar], cut: Cut) -> npt.NDArray[Scalar]:
    """View a region's tiles of an array, shape ``(*grid, r, c)``; nothing is copied."""
    return _cut(tiling.grouped(np, array), cut)


def _cut(grouped: npt.NDArray[Scalar], cut: Cut) -> npt.NDArray[Scalar]:
    tiles: npt.NDArray[Scalar] = grouped[cut.entries].reshape(cut.shape, copy=False)
    return tiles.transpose(cut.order)


def _cut_grid(array: npt.NDArray[Scalar], cut: Cut) -> npt.NDArray[Scalar]:
    if cut.tiles is None:
        return array
    part: npt.NDArray[Scalar] = array[cut.tiles]
    return part if cut.axes is None else part.transpose(cut.axes)


def _cut_prices(prices: Prices, cut: Cut) -> Prices:
    def view(array: Any, lines: int) -> Any:
        if cut.tiles is None:
            return array
        part = array[(*cut.tiles, slice(lines))]
        return part if cut.axes is None else part.transpose(*cut.axes, -1)

    height, width = cut.region.tile_shape
    rows, columns = prices
    return Prices(view(rows, height), None if columns is None else view(columns, width))
