"""Exact masks in plain array operations, for all tiles at once: on any device, in any namespace."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...device import DeviceBlock
from ...checks import integer
from ...problem import BoolArray
from ...tiles import Block, Chunk, Prices
from . import Tiles, solve_tiles
from ..base import ChunkBackend, Report
from ..feasibility import failure


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

    def __post_init__(self) -> None:
        if integer("rounds", self.rounds) < 0:
            raise ValueError(f"rounds must be at least 0, got {self.rounds}")

    def solve(self, block: Block, first: int, last: int) -> Report:
        """Solve where the arrays are: on their device, or on the host in NumPy."""
        if isinstance(block, DeviceBlock):
            return block.solve(first, last, self.rounds)
        return super().solve(block, first, last)

    def solve_chunk(self, chunk: Chunk) -> tuple[BoolArray, Prices]:
        """Solve in NumPy and float64."""
        tiles = Tiles(chunk.scores, chunk.row_bounds, chunk.column_bounds, chunk.keep, chunk.drop)
        answer = solve_tiles(np, tiles, rounds=self.rounds)
        if not answer.solved.all():
            raise failure(self.name, chunk, "it found no augmenting path")
        return answer.mask, Prices(answer.rows, answer.columns)
