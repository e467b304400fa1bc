"""Dual prices that suit a mask, found from the mask alone.

Complementary slackness is a system of difference constraints in u and w = -v (kept: u_i - w_j <= s_ij,
dropped: w_j - u_i <= -s_ij; a line that could keep fewer or more ties its price to 0). Bellman-Ford
solves it just if the mask is optimal. In float64 that finds prices of nearly every optimal mask; in
integers of any size it decides the question, whatever the magnitudes.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from ..layout import Chunk
from ..types import BoolArray, Bounds, Float64Array, Prices

_DESCENTS = 4


def price(chunk: Chunk, mask: BoolArray) -> Prices:
    """Dual prices of a chunk on the host: exact ones if a mask is optimal, good ones otherwise.

    If a mask is not optimal, Bellman-Ford is cut off and coordinate descent on the dual improves what it
    left. Rows stand alone where columns may keep anything; then the descent finds the best prices at once.

    Parameters
    ----------
    chunk : Chunk
        float64, in NumPy.
    mask : ndarray of bool, shape (tiles, r, c)

    Returns
    -------
    Prices
        (tiles, r) and (tiles, c), float64.
    """
    tiles, height, width = chunk.scores.shape
    if chunk.column_bounds == (0, height):
        return Prices(_descend(_with_forced(chunk), chunk.row_bounds), np.zeros((tiles, width)))
    prices, settled = _bellman_ford(chunk.scores, mask, chunk, 0.0)
    if settled:
        return prices
    return _descended(chunk, prices)


def optimal(chunk: Chunk, mask: BoolArray) -> bool:
    """Decide in integers whether the mask of a chunk's only tile is optimal.

    Every finite float64 is an integer times a power of two, so a tile's scores are integers over a common
    exponent, and Python's integers have as many digits as it takes.

    Parameters
    ----------
    chunk : Chunk
        float64, in NumPy.
    mask : ndarray of bool, shape (1, r, c)
        Feasible.
    """
    _, settled = _bellman_ford(integers(chunk.scores), mask, chunk, 0)
    return settled


def integers(scores: Float64Array) -> npt.NDArray[Any]:
    """Scores as Python integers over a common power of two, in an array of objects."""
    mantissas, exponents = np.frexp(scores)
    some = scores != 0.0
    lowest = int(exponents[some].min()) if some.any() else 0
    whole = (mantissas * 2.0**53).astype(np.int64).astype(object)
    return np.asarray(whole * np.vectorize(lambda e: 1 << max(e - lowest, 0), otypes=[object])(exponents))


def _bellman_ford(scores: Any, mask: BoolArray, chunk: Chunk, zero: Any) -> tuple[Prices, bool]:
    """Solve for the largest prices that are not positive, before the hub's is brought to 0.

    Returns the prices, and whether they settled: with integers, just if every mask is optimal.
    """
    tiles, height, width = scores.shape
    u, w, z = (np.full((tiles, size), zero, scores.dtype) for size in (height, width, 1))
    may_drop = mask if chunk.keep is None else mask & ~chunk.keep
    may_add = ~mask if chunk.drop is None else ~mask & ~chunk.drop
    row_less, row_more = _slack(mask.sum(axis=2), chunk.row_bounds)
    column_less, column_more = _slack(mask.sum(axis=1), chunk.column_bounds)
    for _ in range(height + width + 2):
        before = u, w, z
        u = np.minimum(u, _least(scores + w[:, np.newaxis, :], may_drop, axis=2))
        u = np.minimum(u, np.where(row_more, z, np.inf))
        w = np.minimum(w, _least(u[:, :, np.newaxis] - scores, may_add, axis=1))
        w = np.minimum(w, np.where(column_less, z, np.inf))
        z = np.minimum(z, _least(u, row_less, axis=1)[:, np.newaxis])
        z = np.minimum(z, _least(w, column_more, axis=1)[:, np.newaxis])
        if all(np.array_equal(a, b) for a, b in zip(before, (u, w, z), strict=True)):
            return Prices(u - z, z - w), True
    return Prices(u - z, z - w), False


def _descended(chunk: Chunk, prices: Prices) -> Prices:
    """Prices after a few rounds of coordinate descent on the dual: all rows, then all columns."""
    scores = _with_forced(chunk)
    u, v = prices.rows, prices.columns
    assert v is not None
    for _ in range(_DESCENTS):
        u = _descend(scores - v[:, np.newaxis, :], chunk.row_bounds)
        v = _descend((scores - u[:, :, np.newaxis]).swapaxes(1, 2), chunk.column_bounds)
    return Prices(u, v)


def _with_forced(chunk: Chunk) -> Float64Array:
    """Scores with infinities where a choice is forced."""
    scores: Float64Array = chunk.scores
    if chunk.keep is not None:
        scores = np.where(chunk.keep, np.inf, scores)
    if chunk.drop is not None:
        scores = np.where(chunk.drop, -np.inf, scores)
    return scores


def _slack(counts: npt.NDArray[np.int64], bounds: Bounds) -> tuple[BoolArray, BoolArray]:
    """Which lines could keep fewer, and which could keep more."""
    least, most = bounds
    return counts > least, counts < most


def _least(values: Any, where: BoolArray, axis: int) -> Any:
    return np.asarray(np.min(values, axis=axis, where=where, initial=math.inf))


def _descend(values: Float64Array, bounds: Bounds) -> Float64Array:
    """Price of each line (last axis) that minimises the dual while the others stand still."""
    least, most = bounds
    ordered = -np.sort(-values, axis=-1)
    infinite = np.full(values.shape[:-1], np.inf)
    low = ordered[..., most] if most < values.shape[-1] else -infinite
    high = ordered[..., least - 1] if least else infinite
    if least < most:
        return np.asarray(np.clip(0.0, low, high))
    low = np.where(np.isfinite(low), low, high)
    low = np.where(np.isfinite(low), low, 0.0)  # a line without a choice may have any price
    high = np.where(np.isfinite(high), high, low)
    return 0.5 * low + 0.5 * high
