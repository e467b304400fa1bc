"""Shortest augmenting paths in a batch of equal tiles, one path a tile and pass.

An excess column gives up a kept entry, whose row keeps another one instead, in a column that may
give up one in turn, until a column with room is reached. Reduced costs ``score - row - column`` are
not negative on kept entries nor positive on others, so shortest paths keep the prices a proof.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from .frame import Batch, Frame


class _Search(NamedTuple):
    """Distances from the excess columns, step by step, and the arcs' costs."""

    dropping: Any
    adding: Any  # negative or zero
    columns: list[Any]
    rows: list[Any]
    nearest: Any
    settled: Any


def augment(frame: Frame, batch: Batch, *, most_steps: int) -> tuple[Batch, int]:
    """Move one unit of each tile from an excess column to the nearest column with room.

    Tiles that need more than ``most_steps`` steps stay as they are. Returns the batch, with tiles found
    hopeless marked, and the number of steps.
    """
    xp = frame.xp
    search = _search(frame, batch, most_steps)
    found = search.settled & (search.nearest < frame.unreachable)
    reach = xp.minimum(search.nearest, frame.cost(found))  # the others keep their prices
    add, drop, ends = _trace(frame, batch, search, found)
    return (
        batch._replace(
            amounts=_flipped(frame, batch.amounts, add, drop),
            rows=batch.rows + xp.minimum(search.rows[-1], reach),
            columns=batch.columns - xp.minimum(search.columns[-1], reach),
            excess=batch.excess + ends,
            hopeless=batch.hopeless | (search.settled & ~found),
        ),
        len(search.rows),
    )


def _search(frame: Frame, batch: Batch, most_steps: int) -> _Search:
    """Bellman-Ford on all tiles until nothing improves that is as near as the nearest room.

    What improves afterwards is farther, so a tile's answer does not depend on its neighbours'.
    """
    xp = frame.xp
    dropping, adding = _costs(frame, batch)
    columns, rows = [frame.cost(batch.excess <= 0)], []
    occupied = frame.cost(batch.excess >= 0)
    while True:
        before = columns[-1]
        rows.append(xp.min(dropping + before[None, :, :], axis=1))
        columns.append(xp.minimum(before, xp.min(rows[-1][:, None, :] - adding, axis=0)))
        nearest = xp.min(columns[-1] + occupied, axis=0)
        nearest = xp.minimum(nearest, frame.number(frame.unreachable))
        settled = ~xp.any((columns[-1] < before) & (columns[-1] <= nearest), axis=0)
        if len(rows) == most_steps or (frame.compiler is None and bool(xp.all(settled))):
            return _Search(dropping, adding, columns, rows, nearest, settled)


def _costs(frame: Frame, batch: Batch) -> tuple[Any, Any]:
    """Costs of dropping and negative costs of adding; rounding leaves none of the wrong sign."""
    xp = frame.xp
    reduced = batch.scores - batch.rows[:, None, :] - batch.columns[None, :, :]
    if frame.slack:
        empty, full = batch.amounts <= 0, batch.amounts >= _capacities(frame)
        if batch.rows.shape[0] > frame.height:
            corner = _corner(frame)
            empty, full = empty & ~corner, full & ~corner
        return xp.maximum(reduced, frame.cost(empty)), xp.minimum(reduced, -frame.cost(full))
    kept = frame.cost(batch.amounts)
    return xp.maximum(reduced, frame.unreachable - kept), xp.minimum(reduced, -kept)


def _capacities(frame: Frame) -> Any:
    """Most that entries may hold, (r + 1, c + 1, 1): 1, or a line's slack in the last row and column."""
    xp = frame.xp
    (row_least, row_most), (column_least, column_most) = frame.row_bounds, frame.column_bounds
    last_row = frame.counting(frame.height + 1)[:, None, None] == frame.height
    last_column = frame.counting(frame.width + 1)[None, :, None] == frame.width
    slack = xp.astype(last_row, frame.small) * (column_most - column_least - 1)
    return slack + xp.astype(last_column, frame.small) * (row_most - row_least - 1) + 1


def _corner(frame: Frame) -> Any:
    """Where the slack of rows meets that of columns: both are one node, so flow there is free."""
    last_row = frame.counting(frame.height + 1)[:, None, None] == frame.height
    return last_row & (frame.counting(frame.width + 1)[None, :, None] == frame.width)


def _trace(frame: Frame, batch: Batch, search: _Search, found: Any) -> tuple[Any, Any, Any]:
    """Follow the steps backwards from the nearest column with room.

    Each column's distance is that of an earlier step plus an arc, so the walk never comes back to a
    line. Returns, per row, the column whose entry it adds and the one whose entry it drops, counted
    from 1 (0: none), and per column what it gains.
    """
    xp = frame.xp
    height, width, tiles = search.dropping.shape
    picker = _Picker.of(frame, tiles)
    column = end = _first(frame, (batch.excess < 0) & (search.columns[-1] <= search.nearest))
    add = drop = xp.zeros((height, tiles), dtype=frame.small, device=frame.device)
    lines = frame.counting(height)[:, None]
    for step in range(len(search.rows) - 1, -1, -1):
        distance = picker.entries(search.columns[step + 1], column)
        moves = (distance < picker.entries(search.columns[step], column)) & found
        row = _first(frame, search.rows[step] - picker.columns(search.adding, column) == distance)
        distance = picker.entries(search.rows[step], row)
        origin = _first(frame, picker.rows(search.dropping, row) + search.columns[step] == distance)
        visited = xp.astype((lines == row) & moves, frame.small)
        add, drop = add + visited * (column + 1), drop + visited * (origin + 1)
        column = column + xp.astype(moves, frame.small) * (origin - column)
    lines = frame.counting(width)[:, None]
    gains = xp.astype((lines == end) & found, frame.small) - xp.astype((lines == column) & found, frame.small)
    return add, drop, gains


@dataclass(frozen=True)
class _Picker:
    """Reads an entry, a row or a column of every tile, each tile its own."""

    frame: Frame
    places: Any

    @classmethod
    def of(cls, frame: Frame, tiles: int) -> _Picker:
        return cls(frame, frame.xp.arange(tiles, device=frame.device))

    def entries(self, lines: Any, index: Any) -> Any:
        """``lines[index[t], t]`` for ``lines`` (k, T)."""
        return self._take(lines, self._offset(index, 1))

    def columns(self, array: Any, index: Any) -> Any:
        """``array[:, index[t], t]``, (r, T)."""
        height, width, tiles = array.shape
        rows = self.frame.xp.arange(height, device=self.frame.device)[:, None] * (width * tiles)
        return self._take(array, rows + self._offset(index, 1))

    def rows(self, array: Any, index: Any) -> Any:
        """``array[index[t], :, t]``, (c, T)."""
        _, width, tiles = array.shape
        columns = self.frame.xp.arange(width, device=self.frame.device)[:, None] * tiles
        return self._take(array, columns + self._offset(index, width))

    def _offset(self, index: Any, stride: int) -> Any:
        xp = self.frame.xp
        return xp.astype(index, self.places.dtype) * (stride * self.places.shape[0]) + self.places

    def _take(self, array: Any, index: Any) -> Any:
        xp = self.frame.xp
        flat = xp.take(xp.reshape(array, (-1,)), xp.reshape(index, (-1,)), axis=0)
        return xp.reshape(flat, index.shape)


def _first(frame: Frame, where: Any) -> Any:
    """Index of the first True along axis 0; the last index if there is none."""
    xp = frame.xp
    length = where.shape[0]
    index = frame.counting(length)[:, None] + xp.astype(~where, frame.small) * length
    return xp.minimum(xp.min(index, axis=0), frame.integer(length - 1))


def _flipped(frame: Frame, amounts: Any, add: Any, drop: Any) -> Any:
    number = frame.counting(amounts.shape[1])[None, :, None] + 1
    added, dropped = number == add[:, None, :], number == drop[:, None, :]
    if frame.slack:
        xp = frame.xp
        return amounts + xp.astype(added, frame.small) - xp.astype(dropped, frame.small)
    return amounts ^ added ^ dropped
