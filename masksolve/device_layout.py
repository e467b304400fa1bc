"""Tiles of arrays on a device, cut out by reshaping and joined again."""

from __future__ import annotations

import math
from typing import Any

from .frameworks import framework_of
from .device import DeviceBlock, DeviceProblem, grouped
from .tiles import Prices, Segment, bounds, keeps_prices, segments, tails, tiles_along


class DeviceLayout:
    """A `DeviceProblem` cut into blocks; what `masksolve.tiles.Layout` is for host arrays."""

    def __init__(self, problem: DeviceProblem, *, store_prices: bool | None, start: Prices | None) -> None:
        pattern, xp = problem.pattern, problem.xp
        scores = grouped(xp, problem.scores, pattern)
        self._problem, self._lead = problem, tuple(scores.shape[:-2])
        self._sides = (pattern.m if pattern.transposable else 1, pattern.m)
        self._down = segments(scores.shape[-2], self._sides[0], pattern)
        self._across = segments(scores.shape[-1], self._sides[1], pattern)
        self._grid = (*self._lead, tiles_along(self._down), tiles_along(self._across))
        itemsize = 8 if problem.double else 4
        self._keeps_prices = keeps_prices(pattern, self._grid, itemsize, store_prices)
        self.tails = tails(scores, pattern)
        forced = (None if x is None else grouped(xp, x, pattern) for x in (problem.keep, problem.drop))
        arrays = [scores, *forced]
        places = [(row, column) for row in self._down for column in self._across]
        self.blocks: list[Any] = [self._block(*place, arrays, start) for place in places]

    def tail_sums(self) -> list[float]:
        """Sum of the scores of each tail."""
        xp = self._problem.xp
        with self._problem.framework.double_precision():
            return [float(xp.sum(xp.astype(tail, xp.float64))) for tail in self.tails]

    @property
    def mask(self) -> Any:
        """The whole mask, in the shape of the scores."""
        xp, pattern = self._problem.xp, self._problem.pattern
        mask = self._join([self._answers(block, 0) for block in self.blocks])
        if self.tails:
            bottom, right = (xp.ones_like(tail, dtype=xp.bool) for tail in self.tails)
            mask = xp.concat([xp.concat([mask, right], axis=-1), bottom], axis=-2)
        if pattern.transposable:
            return mask
        return xp.moveaxis(mask[..., 0, :], -1, pattern.axis)

    @property
    def prices(self) -> Prices | None:
        """Dual prices, (tiles, m) each, or None if they are not kept."""
        if not self._keeps_prices:
            return None
        with self._problem.framework.double_precision():
            rows = self._joined_prices(1, self._sides[0])
            columns = self._joined_prices(2, self._sides[1]) if self._problem.pattern.transposable else None
        return Prices(rows, columns)

    def _block(self, row: Segment, column: Segment, arrays: list[Any], start: Prices | None) -> DeviceBlock:
        xp, pattern = self._problem.xp, self._problem.pattern
        scores, keep, drop = (None if x is None else _cut(xp, x, row, column) for x in arrays)
        row_bounds, column_bounds = bounds(pattern, row, column)
        return DeviceBlock(
            problem=self._problem,
            scores=scores,
            keep=keep,
            drop=drop,
            start=None if start is None else self._cut_prices(start, row, column),
            row_bounds=row_bounds,
            column_bounds=column_bounds,
            grid=(*self._lead, row.runs, column.runs),
            corner=(0,) * len(self._lead) + (row.tile, column.tile),
            whole_grid=self._grid,
        )

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
        xp, remaining = self._problem.xp, iter(parts)
        rows = []
        for row in self._down:
            line = [_uncut(xp, next(remaining), self._lead, row.runs, column.runs) for column in self._across]
            rows.append(xp.concat(line, axis=-1))
        return xp.concat(rows, axis=-2)

    def _joined_prices(self, which: int, side: int) -> Any:
        """Prices (tiles, m) of the whole array, zero beyond the lines of a tile that is cut short."""
        xp, parts = self._problem.xp, []
        for block in self.blocks:
            prices = self._answers(block, which)
            missing = [xp.zeros_like(prices[:, :1])] * (side - prices.shape[1])
            parts.append(xp.concat([prices, *missing], axis=1)[:, None, :])
        return xp.reshape(self._join(parts), (-1, side))

    def _cut_prices(self, prices: Prices, row: Segment, column: Segment) -> Prices:
        """Take a block's prices (tiles, r) and (tiles, c) out of the whole array's (tiles, m)."""
        xp, framework = self._problem.xp, self._problem.framework
        parts: list[Any] = []
        for values, side, length in zip(prices, self._sides, (row.length, column.length), strict=True):
            if values is None:
                parts.append(None)
                continue
            sent: Any = values
            if framework_of(values) is None:
                sent = framework.from_numpy(values, self._problem.scores)
            flat = xp.reshape(sent, (*self._grid[:-1], self._grid[-1] * side))
            across = Segment(column.tile * side, column.runs, side, 0)
            parts.append(_cut(xp, flat, Segment(row.tile, row.runs, 1, 0), across)[:, 0, :length])
        return Prices(*parts)


def _cut(xp: Any, array: Any, row: Segment, column: Segment) -> Any:
    """Tiles (tiles, r, c) of a block of a grouped array, in row-major order."""
    down = slice(row.start, row.start + row.runs * row.length)
    across = slice(column.start, column.start + column.runs * column.length)
    lead = math.prod(array.shape[:-2])
    part = xp.reshape(array[..., down, across], (lead, row.runs, row.length, column.runs, column.length))
    part = xp.permute_dims(part, (0, 1, 3, 2, 4))
    return xp.reshape(part, (lead * row.runs * column.runs, row.length, column.length))


def _uncut(xp: Any, tiles: Any, lead: tuple[int, ...], down: int, across: int) -> Any:
    """Undo `_cut`: ``down`` by ``across`` tiles to an array (*lead, R, C)."""
    height, width = tiles.shape[1:]
    whole = xp.reshape(tiles, (math.prod(lead), down, across, height, width))
    return xp.reshape(xp.permute_dims(whole, (0, 1, 3, 2, 4)), (*lead, down * height, across * width))
