"""A backend for masksolve: the best cyclic mask of each tile, improved by exchanging rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from masksolve import Pattern
from masksolve.backends.base import Chunk, ChunkBackend
from masksolve.types import BoolArray


@dataclass(frozen=True)
class RowSwap(ChunkBackend):
    """Exchanging two rows of a mask leaves its counts as they are: do so while the kept sum grows.

    Of the m cyclic masks the best one is the start; in a round each tile makes the exchange that
    gains most. Of equal gains the one of the earliest rows is made.

    Parameters
    ----------
    rounds : int
        Exchanges in a tile, at most.

    Raises
    ------
    ValueError
        If ``rounds`` is negative.
    """

    rounds: int = 64

    name: ClassVar[str] = "rowswap"
    exact: ClassVar[bool] = False
    guarantee: ClassVar[str] = "at least n/m of the sum of the scores"
    runs: ClassVar[str] = "transposable patterns on whole tiles; no keep= or drop="

    def __post_init__(self) -> None:
        if self.rounds < 0:
            raise ValueError(f"rounds must not be negative, got {self.rounds}")

    def refuses(self, pattern: Pattern, *, forced: bool) -> str | None:
        """Refuse what an exchange of rows would break."""
        if not pattern.is_square or pattern.remainder == "pad":
            return f"works on whole transposable tiles, got '{pattern}'; use backend='exact'"
        if forced:
            return "has no rule for forced entries (keep=, drop=); use backend='exact'"
        return None

    def solve_chunk(self, chunk: Chunk) -> BoolArray:
        """Find a mask for every tile, all at once."""
        tiles, m, n = len(chunk.scores), chunk.scores.shape[1], chunk.row_bounds[1]
        shift, row, column = np.ogrid[:m, :m, :m]
        cyclic = (column - row + shift) % m < n
        start = np.argmax(np.einsum("tij,sij->ts", chunk.scores, cyclic), axis=1)
        # worth[t, i, k]: what row i keeps in the place of row k; order[t, i]: the place of row i.
        worth = np.einsum("tij,tkj->tik", chunk.scores, cyclic[start])
        order = np.tile(np.arange(m), (tiles, 1))
        every = np.arange(tiles)
        for _ in range(self.rounds):
            placed = np.take_along_axis(worth, order[:, np.newaxis, :], axis=2)
            now = np.einsum("tii->ti", placed)
            gain = placed + placed.swapaxes(1, 2) - now[:, :, np.newaxis] - now[:, np.newaxis, :]
            best = np.argmax(gain.reshape(tiles, -1), axis=1)
            improves = gain.reshape(tiles, -1)[every, best] > 1e-12 * np.abs(now).max(axis=1)
            if not improves.any():
                break
            tile, (one, other) = every[improves], np.divmod(best[improves], m)
            order[tile, one], order[tile, other] = order[tile, other], order[tile, one]
        return np.take_along_axis(cyclic[start], order[:, :, np.newaxis], axis=1)
