"""What masks of V:N:M tiles can keep at most, found in NumPy and without the solver.

Up to 16 columns every set of four is evaluated. Beyond, the bound is that of monotone submodular functions:
no four columns keep more than those of the mask, plus the four largest gains of single further columns.
"""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..amounts import COLUMNS
from ..rounding import HALF_ULP
from ..types import BoolArray, Float64Array

_EVERY = 16


def uses_few_columns(mask: BoolArray) -> BoolArray:
    """Per tile (r, c), whether the rows of a mask use no more than four columns together."""
    few: BoolArray = mask.any(axis=1).sum(axis=1) <= COLUMNS
    return few


class _Rows(NamedTuple):
    """What the rows of tiles have to choose from.

    Attributes
    ----------
    free : ndarray of float64, shape (c, tiles, r)
        What an entry that is not forced is worth; 0 or, where rows keep two, -inf for one that is.
    forced : ndarray of float64, shape (tiles, r)
        What the entries are worth that must be kept.
    sizes : ndarray of float64, shape (tiles, r)
        The sum of their magnitudes.
    places : ndarray of int, shape (tiles, r)
        How many further entries a row keeps, or may keep.
    needed : ndarray of bool, shape (c, tiles)
        Columns with an entry that must be kept.
    """

    free: Float64Array
    forced: Float64Array
    sizes: Float64Array
    places: npt.NDArray[np.intp]
    needed: BoolArray


def bound_columns(
    scores: Float64Array,
    mask: BoolArray,
    *,
    exact: bool,
    keep: BoolArray | None = None,
    drop: BoolArray | None = None,
) -> Float64Array:
    """Bound what any mask of each tile can keep, rounding included.

    Parameters
    ----------
    scores : ndarray of float64, shape (tiles, r, c)
    mask : ndarray of bool, same shape
        Follows the pattern; only looked at beyond 16 columns.
    exact : bool
        Whether each row keeps two entries, or at most two.
    keep, drop : ndarray of bool, shape of ``scores``, or None
        Forced choices that some mask follows.

    Returns
    -------
    ndarray of float64, shape (tiles,)
    """
    rows = _rows(scores, exact, keep, drop)
    values = rows.free
    if len(values) < COLUMNS:
        return _worth(rows, *_first_two(values))
    if len(values) > _EVERY:
        return _by_gains(rows, mask)
    pairs = {
        (i, j): (np.maximum(values[i], values[j]), np.minimum(values[i], values[j]))
        for i, j in itertools.combinations(range(len(values)), 2)
    }
    best = np.full(scores.shape[0], -np.inf)
    needed = rows.needed.sum(axis=0)
    for i, j, k, last in itertools.combinations(range(len(values)), COLUMNS):
        (top, low), (other, under) = pairs[i, j], pairs[k, last]
        second = np.maximum(np.minimum(top, other), np.maximum(low, under))
        worth = _worth(rows, np.maximum(top, other), second)
        if keep is not None:
            worth = np.where(rows.needed[[i, j, k, last]].sum(axis=0) == needed, worth, -np.inf)
        np.maximum(best, worth, out=best)
    return best


def _rows(scores: Float64Array, exact: bool, keep: BoolArray | None, drop: BoolArray | None) -> _Rows:
    nothing = np.zeros(scores.shape, np.bool_)
    kept = nothing if keep is None else keep
    free = scores if exact else np.maximum(scores, 0.0)
    if keep is not None or drop is not None:
        free = np.where(kept | (nothing if drop is None else drop), -np.inf if exact else 0.0, free)
    forced = np.where(kept, scores, 0.0)
    needed: Any = kept.any(axis=1)
    return _Rows(
        np.moveaxis(free, 2, 0),
        forced.sum(axis=2),
        np.abs(forced).sum(axis=2),
        2 - kept.sum(axis=2),
        np.moveaxis(needed, 1, 0),
    )


def _first_two(values: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Largest and second largest along the first axis; zeros where there is no second."""
    ordered = np.sort(values, axis=0)
    return ordered[-1], ordered[-2] if len(values) > 1 else np.zeros_like(ordered[-1])


def _worth(rows: _Rows, first: Float64Array, second: Float64Array) -> Float64Array:
    """Sum over the rows, with what rounding can have lost on top; -inf if a row finds too few entries."""
    first, second = np.where(rows.places > 0, first, 0.0), np.where(rows.places > 1, second, 0.0)
    kept = (first + second + rows.forced).sum(axis=1)
    sizes = (np.abs(first) + np.abs(second) + rows.sizes).sum(axis=1)
    worth: Float64Array = kept + (first.shape[1] + 8) * HALF_ULP * np.where(np.isfinite(kept), sizes, 0.0)
    return worth


def _by_gains(rows: _Rows, mask: BoolArray) -> Float64Array:
    values = rows.free
    used = mask.any(axis=1)
    # Fewer than four used columns are filled up, by the leftmost unused ones.
    order: Any = np.argsort(~used, axis=1, kind="stable")[:, :COLUMNS]
    tiles = np.arange(values.shape[1])
    held = np.stack([values[order[:, k], tiles] for k in range(COLUMNS)])
    first, second = _first_two(held)
    # What a further entry takes the place of; nothing takes one in a row of which both entries are forced.
    least = np.where(rows.places > 1, second, first)
    better = (rows.places > 0) & (values > least)
    with np.errstate(invalid="ignore"):  # -inf, of entries that are forced, where they are not better
        gains = np.where(better, values - least, 0.0).sum(axis=2)  # (c, tiles)
        sizes = np.where(better, np.abs(values) + np.abs(least), 0.0).sum(axis=2)
    gains += (values.shape[2] + 8) * HALF_ULP * sizes
    gains[order.T, tiles] = 0.0
    total: Float64Array = _worth(rows, first, second) + np.sort(gains, axis=0)[-COLUMNS:].sum(axis=0) * (
        1 + 2.0**-50
    )
    return total
