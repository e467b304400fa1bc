"""Which forced choices make a tile infeasible: the error behind a solver's bare "infeasible"."""

from __future__ import annotations

from collections import deque

import numpy as np

from ..amounts import COLUMNS
from ..errors import BackendFailedError, InfeasibleError, MaskSolveError
from ..layout import Chunk
from ..types import BoolArray, Bounds


def failure(name: str, chunk: Chunk, message: str) -> MaskSolveError:
    """Find what to raise when the solver of backend ``name`` gave no mask for a chunk.

    Returns
    -------
    InfeasibleError
        If a tile has no feasible mask; it names the first such tile and a row or column of it.
    BackendFailedError
        Otherwise: every tile has a feasible mask, so the solver itself failed.
    """
    keep = np.zeros_like(chunk.scores, dtype=np.bool_) if chunk.keep is None else chunk.keep
    drop = np.zeros_like(keep) if chunk.drop is None else chunk.drop
    for number, kept, dropped in zip(chunk.numbers, keep, drop, strict=True):
        found = _offender(kept, dropped, chunk.row_bounds, chunk.column_bounds)
        if found is not None:
            axis, index, reason = found
            return InfeasibleError(
                f"keep and drop leave tile {number} without a feasible mask: {axis} {index} {reason}",
                tile=number,
                axis=axis,
                index=index,
            )
    return BackendFailedError(f"backend '{name}' failed: {message}; use backend='exact'")


def no_columns(name: str, chunk: Chunk) -> MaskSolveError:
    """Find what to raise for V:N:M tiles of which the first has no mask beside the forced choices.

    It names a row that has none by itself, or else says why no four columns serve all rows.
    """
    error = failure(name, chunk, "it found no columns")
    if isinstance(error, InfeasibleError):
        return error
    used = 0 if chunk.keep is None else int(chunk.keep[0].any(axis=0).sum())
    reason = (
        f"entries to keep are in {used} columns, of which {COLUMNS} can be used"
        if used > COLUMNS
        else f"no {COLUMNS} columns hold what must be kept and leave every row {chunk.row_bounds[0]} entries"
    )
    return InfeasibleError(
        f"keep and drop leave tile {chunk.numbers[0]} without a feasible mask: {reason}",
        tile=chunk.numbers[0],
        axis="tile",
        index=0,
    )


def _offender(
    keep: BoolArray, drop: BoolArray, row_bounds: Bounds, column_bounds: Bounds
) -> tuple[str, int, str] | None:
    """Find a row or column of one tile that cannot keep what it must."""
    rows_first = ("row", keep, drop, row_bounds, column_bounds)
    columns_first = ("column", keep.T, drop.T, column_bounds, row_bounds)
    for axis, kept, dropped, (least, most), _ in (rows_first, columns_first):
        counts, room = kept.sum(axis=1), (~dropped).sum(axis=1)
        wrong = np.flatnonzero((counts > most) | (room < least))
        if len(wrong):
            line = int(wrong[0])
            if counts[line] > most:
                return axis, line, f"is forced to keep {counts[line]}, at most {most} are allowed"
            return axis, line, f"can keep {room[line]} at most, at least {least} are required"
    mask = keep.copy()
    for axis, kept, dropped, bounds, across in (rows_first, columns_first):
        short = _fill(mask if axis == "row" else mask.T, kept, dropped, bounds[0], across[1])
        if short is not None:
            return axis, short, f"cannot reach {bounds[0]} kept entries beside the other forced choices"
    return None


def _fill(mask: BoolArray, keep: BoolArray, drop: BoolArray, least: int, most: int) -> int | None:
    """Raise every row of ``mask``, in place, to ``least``; returns the first row that cannot be.

    No column exceeds ``most``. A row gains an entry along an alternating path, which takes nothing
    from a row or column that has no entry to spare, so raising the columns afterwards leaves the
    rows satisfied. A row without such a path has none at all: the lines it reaches form a cut.
    """
    for row in range(len(mask)):
        while mask[row].sum() < least:
            path = _path(mask, ~mask & ~drop, mask & ~keep, row, (least, most))
            if path is None:
                return row
            for place in path:
                mask[place] = ~mask[place]
    return None


def _path(
    mask: BoolArray, may_add: BoolArray, may_drop: BoolArray, start: int, bounds: Bounds
) -> list[tuple[int, int]] | None:
    """Find the entries to flip so that row ``start`` keeps one more, by breadth-first search."""
    least, most = bounds
    paths: dict[int, list[tuple[int, int]]] = {start: []}
    seen: set[int] = set()
    queue = deque([start])
    while queue:
        row = queue.popleft()
        for column in np.flatnonzero(may_add[row]).tolist():
            if column in seen:
                continue
            seen.add(column)
            path = [*paths[row], (row, column)]
            if mask[:, column].sum() < most:
                return path
            for other in np.flatnonzero(may_drop[:, column]).tolist():
                if other in paths:
                    continue
                paths[other] = [*path, (other, column)]
                if mask[other].sum() > least:
                    return paths[other]
                queue.append(other)
    return None
