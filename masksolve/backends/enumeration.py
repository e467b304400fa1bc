"""Every mask of a tile tried at once: one matrix product of the scores with all the masks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np

from ..layout import Chunk
from ..pattern import Pattern
from ..types import BoolArray, Bounds, Float64Array
from .base import ChunkBackend
from .feasibility import failure

LARGEST_M = 4
_VALUES = 1 << 21
"""Sums held at a time: 16 MiB."""


@dataclass(frozen=True)
class Enumerate(ChunkBackend):
    """Exhaustive search, for m <= 4: as plain as an oracle can be.

    A tile of 2:4-T has 90 masks, one of 4:4-T at_most 65536, so time varies with the pattern.
    Of equal sums the mask wins that keeps the earlier entries, row by row; sums are float64, so
    sums that differ by rounding are not equal.
    """

    name: ClassVar[str] = "enumerate"
    exact: ClassVar[bool] = True
    runs: ClassVar[str] = f"m <= {LARGEST_M}, exact or at_most, keep= and drop="
    guarantee: ClassVar[str] = "optimal: every mask is tried (m <= 4)"

    def refuses(self, pattern: Pattern, *, forced: bool) -> str | None:
        """Refuse groups whose masks are too many to try."""
        m = max(pattern.tile_shape)
        if m > LARGEST_M:
            return f"needs m <= {LARGEST_M}, got m={m}; use backend='exact'"
        return None

    def solve_chunk(self, chunk: Chunk) -> BoolArray:
        """Try all masks on each tile; raises InfeasibleError if the forced choices leave none."""
        tiles, height, width = chunk.scores.shape
        candidates = all_masks(height, width, chunk.row_bounds, chunk.column_bounds)
        best = np.empty(tiles, np.intp)
        step = max(1, _VALUES // len(candidates))
        for first in range(0, tiles, step):
            part = slice(first, first + step)
            sums = _flat(chunk.scores[part]) @ candidates.T
            if chunk.keep is not None:
                sums[_flat(chunk.keep[part]) @ (1 - candidates).T > 0] = -np.inf
            if chunk.drop is not None:
                sums[_flat(chunk.drop[part]) @ candidates.T > 0] = -np.inf
            best[part] = sums.argmax(axis=1)
            if np.isneginf(sums.max(axis=1)).any():
                raise failure(self.name, chunk, "no mask meets the forced choices")
        return candidates[best].reshape(chunk.scores.shape) > 0


@lru_cache(maxsize=32)
def all_masks(height: int, width: int, row_bounds: Bounds, column_bounds: Bounds) -> Float64Array:
    """Every mask of a tile as a row of zeros and ones, shape (masks, height * width)."""
    entries = height * width
    bits = np.arange(1 << entries)[::-1, np.newaxis] >> np.arange(entries)[::-1] & 1
    tiles = bits.reshape(-1, height, width)
    good = np.ones(len(tiles), dtype=np.bool_)
    for axis, (least, most) in ((2, row_bounds), (1, column_bounds)):
        counts = tiles.sum(axis=axis)
        good &= ((counts >= least) & (counts <= most)).all(axis=1)
    return bits[good].astype(np.float64)


def _flat(tiles: np.ndarray) -> Float64Array:
    return tiles.reshape(len(tiles), -1).astype(np.float64, copy=False)
