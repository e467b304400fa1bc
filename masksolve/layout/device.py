"""Arrays that stay where they are, on an accelerator, in their framework's namespace.

Not every namespace can write through views, so a block collects its answers chunk by chunk, and the
layout joins them at the end.
"""

from __future__ import annotations

import functools
import math
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..frameworks import framework_of
from ..problem import MaskProblem
from ..tiling import Region, Segment
from ..types import BoolArray, Bounds, Prices
from . import SMALL_SUMS, Chunk, TileNumbers, equal_runs, keeps
from .host import tile_numbers, worth


@dataclass(eq=False)
class DeviceBlock:
    """Equal tiles on a device; see `masksolve.layout.Block`.

    ``scores``, ``keep`` and ``drop`` are (tiles, r, c), made when they are asked for; ``start`` is (tiles,
    r) and (tiles, c), in row-major order of the region's grid. ``answers`` holds, by the first tile of
    every run that was written, masks, row prices, column prices; ``sums`` objectives and bounds.
    """

    problem: MaskProblem
    start: Prices | None
    region: Region
    answers: dict[int, tuple[Any, Any, Any]] = field(default_factory=dict)
    sums: dict[int, tuple[Any, Any]] = field(default_factory=dict)

    @functools.cached_property
    def scores(self) -> Any:
        """Scores (tiles, r, c) as the caller gave them; a copy, as a rule."""
        return self._cut(self.problem.scores)

    @functools.cached_property
    def keep(self) -> Any | None:
        """Entries (tiles, r, c) that must be kept."""
        return None if self.problem.keep is None else self._cut(self.problem.keep)

    @functools.cached_property
    def drop(self) -> Any | None:
        """Entries (tiles, r, c) that must not be kept."""
        return None if self.problem.drop is None else self._cut(self.problem.drop)

    @property
    def row_bounds(self) -> Bounds:
        """Least and most kept entries of each row."""
        return self.region.row_bounds

    @property
    def column_bounds(self) -> Bounds:
        """Least and most kept entries of each column."""
        return self.region.column_bounds

    @property
    def tile_shape(self) -> tuple[int, int]:
        """Rows and columns of a tile."""
        return self.region.tile_shape

    @property
    def tiles(self) -> int:
        """Number of tiles."""
        return math.prod(self.problem.tiling.region_grid(self.region))

    @property
    def forced(self) -> bool:
        """Whether there are forced choices."""
        return self.problem.forced

    def arithmetic(self) -> AbstractContextManager[object]:
        """Open a context in which float64 arrays can be made."""
        framework = self.problem.framework
        assert framework is not None
        return framework.double_precision()

    def runs(self, step: int) -> list[tuple[int, int]]:
        """Cut the block's tiles into runs of up to ``step`` tiles."""
        return equal_runs(self.tiles, step)

    def ready(self, first: int, last: int) -> AbstractContextManager[tuple[Any, int, int]]:
        """Give the block itself: its scores can be read."""
        return nullcontext((self, first, last))

    def number(self, tile: int) -> int:
        """Row-major number, in the whole array, of the block's ``tile``-th tile."""
        tiling = self.problem.tiling
        place = np.unravel_index(tile, tiling.region_grid(self.region))
        return int(tile_numbers(tiling, self.region, place))

    def chunk(self, first: int, last: int) -> Chunk:
        """Tiles where they are, in float64 if float32 does not hold their scores."""
        xp, framework = self.problem.xp, self.problem.framework
        assert framework is not None
        double = self.problem.double or self.problem.score == "square"  # which float32 would round
        scores = xp.astype(self.scores[first:last, ...], xp.float64 if double else xp.float32)
        if self.problem.score == "magnitude":
            scores = xp.abs(scores)
        elif self.problem.score == "square":
            scores = scores * scores
        keep, drop = (None if x is None else x[first:last, ...] for x in (self.keep, self.drop))
        start = (
            None
            if self.start is None
            else Prices(*(x if x is None else x[first:last, ...] for x in self.start))
        )
        numbers, compiler = TileNumbers(self.number, first, last), framework.compiler()
        return Chunk(scores, keep, drop, self.row_bounds, self.column_bounds, numbers, start, xp, compiler)

    def on_host(self, first: int, last: int) -> Chunk:
        """Copy tiles to the host, in float64: for error messages, and for tiles that are finished there."""
        scores = np.asarray(self.read(self.scores[first:last, ...]), dtype=np.float64)
        scores = worth(np.array(scores), self.problem.score)
        keep, drop = (None if x is None else self.read(x[first:last, ...]) for x in (self.keep, self.drop))
        numbers = TileNumbers(self.number, first, last)
        return Chunk(scores, keep, drop, self.row_bounds, self.column_bounds, numbers)

    def read(self, array: Any) -> Any:
        """Bring an array to the host, in NumPy."""
        assert self.problem.framework is not None
        return self.problem.framework.to_numpy("scores", array)

    def mask_of(self, first: int, last: int) -> BoolArray:
        """Masks of a run of tiles that was written as a whole, on the host."""
        return np.asarray(self.read(self.answers[first][0]))[: last - first]

    def write(self, first: int, last: int, mask: Any, prices: Prices | None) -> Prices | None:
        """Take masks and prices, from the device or from the host; return the prices as they are kept."""
        xp = self.problem.xp
        dtype = xp.float64 if self.problem.double else xp.float32
        height, width = self.tile_shape
        rows, columns = (None, None) if prices is None else prices
        zeros = Prices(np.zeros((last - first, height)), np.zeros((last - first, width)))
        if columns is None or not self.problem.tiling.lines[1]:
            columns = zeros.columns  # results of one-directional patterns have no prices of columns
        parts = [zeros.rows if rows is None else rows, columns]
        kept = [xp.astype(self._send(part), dtype) for part in parts]
        self.answers[first] = (self._send(mask), kept[0], kept[1])
        return None if prices is None else Prices(kept[0], kept[1])

    def amend(self, tile: int, mask: BoolArray, prices: Prices) -> None:
        """Replace the mask and the prices of one tile."""
        first = max(start for start in self.answers if start <= tile)
        xp, place = self.problem.xp, tile - first
        replaced = []
        for old, new in zip(self.answers[first], (mask, prices.rows, prices.columns), strict=True):
            line = xp.astype(self._send(np.asarray(new)[np.newaxis]), old.dtype)
            replaced.append(xp.concat([old[:place, ...], line, old[place + 1 :, ...]], axis=0))
        self.answers[first] = (replaced[0], replaced[1], replaced[2])

    def record(self, first: int, last: int, objective: Any, bound: Any) -> None:
        """Note the objectives and bounds of a run of tiles."""
        self.sums[first] = (self._send(objective), self._send(bound))

    def _cut(self, array: Any) -> Any:
        xp, region = self.problem.xp, self.region
        return _cut(xp, self.problem.tiling.grouped(xp, array), region.down, region.across)

    def _send(self, array: Any) -> Any:
        if framework_of(array) is not None:
            return array
        assert self.problem.framework is not None
        with self.arithmetic():
            return self.problem.framework.from_numpy(np.ascontiguousarray(array), self.scores)


class DeviceLayout:
    """A problem on a device, cut into blocks; what `masksolve.layout.host.HostLayout` is on the host."""

    def __init__(
        self,
        problem: MaskProblem,
        *,
        prices: bool | None = None,
        tiles: bool | None = None,
        start: Prices | None = None,
    ) -> None:
        self._problem, self._tiling = problem, problem.tiling
        tiling, xp, transposable = problem.tiling, problem.xp, problem.pattern.transposable
        lines, entries = sum(tiling.lines), math.prod(problem.pattern.tile_shape)
        size = lines * (8 if problem.double else 4)
        self._keeps_prices = keeps(prices, tiling.tiles * size, transposable and size <= entries)
        self._keeps_tiles = keeps(tiles, tiling.tiles * 16, False, small=SMALL_SUMS)
        self._tails = tiling.tails(tiling.grouped(xp, problem.scores))
        self.blocks = [
            DeviceBlock(problem, None if start is None else self._cut_prices(start, region), region)
            for region in tiling.regions
        ]

    @property
    def mask(self) -> Any:
        """The whole mask, in the shape of the scores."""
        xp = self._problem.xp
        mask = self._join([self._answers(block, 0) for block in self.blocks])
        if self._tails:
            bottom, right = (xp.ones_like(tail, dtype=xp.bool) for tail in self._tails)
            mask = xp.concat([xp.concat([mask, right], axis=-1), bottom], axis=-2)
        return self._tiling.ungrouped(xp, mask)

    @property
    def prices(self) -> Prices | None:
        """Dual prices, (tiles, r) and (tiles, c), or None if they are not kept."""
        if not self._keeps_prices:
            return None
        assert self._problem.framework is not None
        with self._problem.framework.double_precision():
            rows = self._joined_prices(1, self._tiling.lines[0])
            columns = (
                self._joined_prices(2, self._tiling.lines[1]) if self._problem.pattern.transposable else None
            )
        return Prices(rows, columns)

    @property
    def tile_objective(self) -> Any:
        """Kept sum of every tile, shape of the grid, or None."""
        return self._joined_sums(0)

    @property
    def tile_bound(self) -> Any:
        """Proven bound of every tile, shape of the grid, or None."""
        return self._joined_sums(1)

    def _answers(self, block: DeviceBlock, which: int) -> Any:
        """Masks, row prices or column prices of all the block's chunks."""
        xp = self._problem.xp
        if block.answers:
            return xp.concat([block.answers[first][which] for first in sorted(block.answers)], axis=0)
        if which == 0:
            return xp.zeros_like(block.scores, dtype=xp.bool)
        line = block.scores[:, :, 0] if which == 1 else block.scores[:, 0, :]
        return xp.zeros_like(line, dtype=xp.float64 if self._problem.double else xp.float32)

    def _join(self, parts: list[Any]) -> Any:
        """Put the blocks' tiles (tiles, r, c) back into one array (..., R, C)."""
        xp, lead = self._problem.xp, self._tiling.grid[:-2]
        rows: dict[Segment, list[Any]] = {}
        for region, part in zip(self._tiling.regions, parts, strict=True):
            whole = _uncut(xp, part, lead, region.down.runs, region.across.runs)
            rows.setdefault(region.down, []).append(whole)
        return xp.concat([xp.concat(line, axis=-1) for line in rows.values()], axis=-2)

    def _joined_prices(self, which: int, side: int) -> Any:
        """Prices (tiles, m) of the whole array, zero beyond the lines of a tile that is cut short."""
        xp, parts = self._problem.xp, []
        for block in self.blocks:
            prices = self._answers(block, which)
            missing = [xp.zeros_like(prices[:, :1])] * (side - prices.shape[1])
            parts.append(xp.concat([prices, *missing], axis=1)[:, None, :])
        return xp.reshape(self._join(parts), (-1, side))

    def _joined_sums(self, which: int) -> Any:
        if not self._keeps_tiles:
            return None
        xp, parts = self._problem.xp, []
        assert self._problem.framework is not None
        with self._problem.framework.double_precision():
            for block in self.blocks:
                line = block.scores[:, 0, 0]
                sums = [block.sums[first][which] for first in sorted(block.sums)] or [
                    xp.zeros_like(line, dtype=xp.float64)
                ]
                parts.append(xp.concat(sums, axis=0)[:, None, None])
            return xp.reshape(self._join(parts), self._tiling.grid)

    def _cut_prices(self, prices: Prices, region: Region) -> Prices:
        """Take a block's prices (tiles, r) and (tiles, c) out of the whole array's (tiles, m)."""
        xp, grid = self._problem.xp, self._tiling.grid
        framework = self._problem.framework
        assert framework is not None
        parts: list[Any] = []
        lines = zip(prices, self._tiling.lines, region.tile_shape, strict=True)
        for values, side, length in lines:
            if values is None:
                parts.append(None)
                continue
            sent: Any = values
            if framework_of(values) is None:
                sent = framework.from_numpy(np.ascontiguousarray(values), self._problem.scores)
            flat = xp.reshape(sent, (*grid[:-1], grid[-1] * side))
            across = Segment(region.across.tile * side, region.across.runs, side, 0)
            parts.append(
                _cut(xp, flat, Segment(region.down.tile, region.down.runs, 1, 0), across)[:, 0, :length]
            )
        return Prices(*parts)


def _cut(xp: Any, array: Any, down: Segment, across: Segment) -> Any:
    """Tiles (tiles, r, c) of a region of a grouped array, in row-major order."""
    lead = math.prod(array.shape[:-2])
    part = array[..., down.entries, across.entries]
    part = xp.reshape(part, (lead, down.runs, down.length, across.runs, across.length))
    part = xp.permute_dims(part, (0, 1, 3, 2, 4))
    return xp.reshape(part, (lead * down.runs * across.runs, down.length, across.length))


def _uncut(xp: Any, tiles: Any, lead: tuple[int, ...], down: int, across: int) -> Any:
    """Undo `_cut`: ``down`` by ``across`` tiles to an array (*lead, R, C)."""
    height, width = tiles.shape[1:]
    whole = xp.reshape(tiles, (math.prod(lead), down, across, height, width))
    return xp.reshape(xp.permute_dims(whole, (0, 1, 3, 2, 4)), (*lead, down * height, across * width))
