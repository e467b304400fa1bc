"""What masks of V:N:M tiles can keep at most, found in NumPy and without the solver.

Up to 16 columns every set of four is evaluated. Beyond, the bound is that of monotone submodular functions:
no four columns keep more than those of the mask, plus the four largest gains of single further columns.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from ..amounts import COLUMNS
from ..rounding import HALF_ULP
from ..types import BoolArray, Float64Array

_EVERY = 16


def uses_few_columns(mask: BoolArray) -> BoolArray:
    """Per tile (r, c), whether the rows of a mask use no more than four columns together."""
    few: BoolArray = mask.any(axis=1).sum(axis=1) <= COLUMNS
    return few


def bound_columns(scores: Float64Array, mask: BoolArray, *, exact: bool) -> Float64Array:
    """Bound what any mask of each tile can keep, rounding included.

    Parameters
    ----------
    scores : ndarray of float64, shape (tiles, r, c)
    mask : ndarray of bool, same shape
        Follows the pattern; only looked at beyond 16 columns.
    exact : bool
        Whether each row keeps two entries, or at most two.

    Returns
    -------
    ndarray of float64, shape (tiles,)
    """
    values = np.moveaxis(scores if exact else np.maximum(scores, 0.0), 2, 0)  # (c, tiles, r)
    if len(values) < COLUMNS:
        return _worth(*_first_two(values))
    if len(values) > _EVERY:
        return _by_gains(values, mask)
    pairs = {
        (i, j): (np.maximum(values[i], values[j]), np.minimum(values[i], values[j]))
        for i, j in itertools.combinations(range(len(values)), 2)
    }
    best = np.full(scores.shape[0], -np.inf)
    for i, j, k, last in itertools.combinations(range(len(values)), COLUMNS):
        (top, low), (other, under) = pairs[i, j], pairs[k, last]
        second = np.maximum(np.minimum(top, other), np.maximum(low, under))
        np.maximum(best, _worth(np.maximum(top, other), second), out=best)
    return best


def _first_two(values: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Largest and second largest along the first axis; zeros where there is no second."""
    ordered = np.sort(values, axis=0)
    return ordered[-1], ordered[-2] if len(values) > 1 else np.zeros_like(ordered[-1])


def _worth(first: Float64Array, second: Float64Array) -> Float64Array:
    """Sum over the rows, with what rounding can have lost on top."""
    sizes = np.abs(first).sum(axis=1) + np.abs(second).sum(axis=1)
    worth: Float64Array = (first + second).sum(axis=1) + (first.shape[1] + 8) * HALF_ULP * sizes
    return worth


def _by_gains(values: Float64Array, mask: BoolArray) -> Float64Array:
    used = mask.any(axis=1)
    # Fewer than four used columns are filled up, by the leftmost unused ones.
    order: Any = np.argsort(~used, axis=1, kind="stable")[:, :COLUMNS]
    tiles = np.arange(values.shape[1])
    held = np.stack([values[order[:, k], tiles] for k in range(COLUMNS)])
    first, second = _first_two(held)
    gains = np.maximum(values - second, 0.0).sum(axis=2)  # (c, tiles)
    sizes = (np.abs(values) + np.abs(second)).sum(axis=2)
    gains += (values.shape[2] + 8) * HALF_ULP * sizes
    gains[order.T, tiles] = 0.0
    total: Float64Array = _worth(first, second) + np.sort(gains, axis=0)[-COLUMNS:].sum(axis=0) * (
        1 + 2.0**-50
    )
    return total
