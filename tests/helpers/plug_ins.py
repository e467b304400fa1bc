"""Backends for tests: a fixed mask, an honest solver, and what hostile ones derive from."""

from __future__ import annotations

from typing import Any, ClassVar

import exactly
import numpy as np

from masksolve.backends.base import Backend, Block, Chunk, ChunkBackend, Prices, Report
from masksolve.backends.enumeration import Enumerate


class Band(ChunkBackend):
    """Keeps the diagonal band of each tile; one tile a chunk."""

    name: ClassVar[str] = "fake"
    exact: ClassVar[bool] = True
    guarantee: ClassVar[str] = "none"
    chunk_entries: ClassVar[int] = 1

    def solve_chunk(self, chunk: Chunk):
        return band(chunk)


class Honest(Band):
    """Optimal masks by exhaustive search, m <= 4."""

    def solve_chunk(self, chunk: Chunk):
        return Enumerate().solve_chunk(chunk)


class InPlace(Backend):
    """Writes optimal masks into the block, as a compiled plug-in does, and reports the truth."""

    name: ClassVar[str] = "fake"
    exact: ClassVar[bool] = True
    guarantee: ClassVar[str] = "none"
    chunk_entries: ClassVar[int] = 1 << 10

    def solve(self, block: Block, first: int, last: int) -> Report:
        chunk = block.on_host(first, last)
        mask = Enumerate().solve_chunk(chunk)
        block.write(first, last, mask, None)
        kept = float(sum(exactly.worth(tile, part) for tile, part in zip(chunk.scores, mask, strict=True)))
        return Report(kept, kept)


def band(chunk: Chunk):
    """A mask of every tile that keeps what its lines may, whatever the scores."""
    height, width = chunk.scores.shape[1:]
    rows, columns = np.ogrid[:height, :width]
    most = max(chunk.row_bounds[1], chunk.column_bounds[1])
    return np.broadcast_to((columns - rows) % max(height, width) < most, chunk.scores.shape).copy()


def zeros(chunk: Chunk) -> Prices:
    tiles, height, width = chunk.scores.shape
    return Prices(np.zeros((tiles, height)), np.zeros((tiles, width)))


def answering(value: Any) -> type[Band]:
    """A backend that gives the same answer to whatever it is asked."""
    return type("Answering", (Band,), {"solve_chunk": lambda self, chunk: value(chunk)})


def reporting(objective: Any, bound: Any) -> type[InPlace]:
    """Optimal masks, and a report made of the true kept sum."""

    def solve(self: InPlace, block: Block, first: int, last: int) -> Report:
        kept = InPlace.solve(self, block, first, last).objective
        return Report(objective(kept), bound(kept))

    return type("Reporting", (InPlace,), {"solve": solve})
