"""Exact masks in plain array operations, for all tiles at once: on any device, in any namespace."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ...checks import integer
from ...frameworks import to_numpy
from ...layout import Chunk
from ...types import Prices
from ..base import ChunkBackend
from ..feasibility import failure
from . import Tiles, solve_tiles


@dataclass(frozen=True)
class Batched(ChunkBackend):
    """Dual warm start and shortest augmenting paths, vectorised over tiles (`masksolve.backends.batched`).

    Parameters
    ----------
    rounds : int
        Rounds of the dual warm start, at least 0.
    """

    rounds: int = 3

    name: ClassVar[str] = "batched"
    exact: ClassVar[bool] = True
    guarantee: ClassVar[str] = "optimal; the bound from its dual prices proves it"
    requires: ClassVar[str] = "array_api_compat"
    extra: ClassVar[str] = "arrays"
    chunk_entries: ClassVar[int] = 1 << 22
    in_namespace: ClassVar[bool] = True

    def __post_init__(self) -> None:
        integer("rounds", self.rounds, least=0)

    def solve_chunk(self, chunk: Chunk) -> tuple[Any, Prices, Mapping[str, int]]:
        """Solve where the arrays are: on their device, or on the host in NumPy."""
        xp = np if chunk.xp is None else chunk.xp
        tiles = Tiles(chunk.scores, chunk.row_bounds, chunk.column_bounds, chunk.keep, chunk.drop)
        answer = solve_tiles(xp, tiles, start=_start(xp, chunk), rounds=self.rounds, compiler=chunk.compiler)
        if not bool(xp.all(answer.solved)):
            place = int(xp.argmin(xp.astype(answer.solved, xp.int8)))
            raise failure(self.name, _one(chunk, place), "it found no augmenting path")
        counts = {"passes": answer.passes, "steps": answer.steps}
        return answer.mask, Prices(answer.rows, answer.columns), counts


def _start(xp: Any, chunk: Chunk) -> tuple[Any, Any] | None:
    """Prices to begin with; groups are ranked, without prices."""
    if chunk.start is None or chunk.start.columns is None:
        return None
    rows, columns = (xp.astype(part, chunk.scores.dtype) for part in chunk.start)
    return rows, columns


def _one(chunk: Chunk, tile: int) -> Chunk:
    """Copy one tile to the host."""
    scores, keep, drop = (
        None if array is None else to_numpy("scores", array[tile : tile + 1, ...])
        for array in (chunk.scores, chunk.keep, chunk.drop)
    )
    return Chunk(scores, keep, drop, chunk.row_bounds, chunk.column_bounds, [chunk.numbers[tile]])
