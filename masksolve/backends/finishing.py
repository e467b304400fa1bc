"""The compiled engine on single tiles on the host: for tiles that another exact backend leaves open."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import numpy as np

from .._ext import tiles as engine
from ..layout import Chunk
from ..types import BoolArray, Bounds, Float64Array, Prices


class Finished(NamedTuple):
    """An optimal mask (r, c) of a tile, its prices, what it keeps, a bound, and whether the proof is open."""

    mask: BoolArray
    prices: Prices
    objective: float
    bound: float
    open: bool


@dataclass(eq=False)
class _OneTile:
    """A single tile as the engine wants to see it."""

    scores: Float64Array
    keep: BoolArray | None
    drop: BoolArray | None
    mask: BoolArray
    prices: Prices
    row_bounds: Bounds
    column_bounds: Bounds
    largest: float
    tile_shape: tuple[int, int]
    score: str = "value"
    start: Prices | None = None
    groups_in_columns: bool = False
    tile_objective: Float64Array | None = None
    tile_bound: Float64Array | None = None


def solve_exactly(chunk: Chunk) -> Finished:
    """Solve the only tile of a chunk (float64, in NumPy) by the engine, in integers if need be."""
    scores = np.ascontiguousarray(chunk.scores)
    _, height, width = scores.shape
    block = _OneTile(
        scores=scores,
        keep=None if chunk.keep is None else np.ascontiguousarray(chunk.keep),
        drop=None if chunk.drop is None else np.ascontiguousarray(chunk.drop),
        mask=np.empty(scores.shape, np.bool_),
        prices=Prices(np.zeros((1, height)), np.zeros((1, width))),
        row_bounds=chunk.row_bounds,
        column_bounds=chunk.column_bounds,
        largest=float(np.abs(scores).max()),
        tile_shape=(height, width),
    )
    names = engine.instruction_sets()
    best = next(name for name, runs in names.items() if runs)
    outcome: Any = engine.solve_tiles(cast(Any, block), 0, 1, best)
    return Finished(block.mask[0], block.prices.tile(0), outcome.objective, outcome.bound, bool(outcome.open))
