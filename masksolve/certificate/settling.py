"""Tiles that their prices leave open: better prices in float64, and a decision in integers."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..layout import Chunk
from ..rounding import upper_sum
from ..types import BoolArray, Float64Array, Prices
from .bound import prove
from .prices import optimal

SINGLE_TOLERANCE, DOUBLE_TOLERANCE = 1e-6, 1e-12
"""Violation, relative to the tile's scale, up to which prices in float32 and in float64 prove a mask."""

_ROUNDING = 1e-9
"""A violation that is larger than this, relative to the numbers that it comes from, is no rounding error."""


_TINY = 1e-300
"""So is one that is smaller than this: denormal numbers are rounded by more than a relative error."""


class Settled(NamedTuple):
    """What was found of open tiles, (tiles,) each.

    ``open`` marks the masks that are not proven; ``gap`` is violation over scale; ``in_integers`` counts
    the tiles that integers decided.
    """

    objective: Float64Array
    bound: Float64Array
    gap: Float64Array
    open: BoolArray
    in_integers: int


def tolerance_of(price_dtype: npt.DTypeLike) -> float:
    """Tolerance for prices of this type."""
    return SINGLE_TOLERANCE if np.dtype(price_dtype) == np.float32 else DOUBLE_TOLERANCE


def settle(chunk: Chunk, mask: BoolArray, prices: Prices, price_dtype: npt.DTypeLike) -> Settled:
    """Prove masks of tiles on the host as well as can be.

    A tile is proven by its prices as ``price_dtype`` holds them, so that whoever is handed them finds the
    same bound; if they are too coarse, by the prices in float64; and if even these are, in integers.
    """
    coarse = prove(np, chunk, mask, prices.rounded(price_dtype))
    fine = prove(np, chunk, mask, prices)
    done = np.asarray(coarse.proven(tolerance_of(price_dtype)))
    refined = ~done & np.asarray(fine.proven(DOUBLE_TOLERANCE))
    objective, bound = coarse.objective.copy(), np.where(refined, fine.bound, coarse.bound)
    gap = np.where(refined, fine.gap(np), coarse.gap(np))
    open_: BoolArray = ~(done | refined)
    in_integers = 0
    explained = np.maximum(_ROUNDING * fine.magnitude, _TINY)
    for tile in np.flatnonzero(open_ & (fine.violation <= explained)):
        part = slice(tile, tile + 1)
        if optimal(chunk.some([tile]), mask[part]):
            kept = chunk.scores[tile][mask[tile]].tolist()
            objective[tile], bound[tile] = math.fsum(kept), upper_sum(kept)
            gap[tile], open_[tile] = 0.0, False
            in_integers += 1
    return Settled(objective, bound, gap, open_, in_integers)
