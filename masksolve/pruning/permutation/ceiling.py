"""A kept sum that no order of the channels can pass."""

from __future__ import annotations

import math

import numpy as np

from ...pattern import Pattern
from ...types import Float64Array

_STEPS = 12


def ceiling_of(scores: Float64Array, pattern: Pattern, axes: tuple[int, ...]) -> float:
    """Bound what a matrix keeps under any order of its channels along ``axes``.

    Whatever the order, every row of a transposable mask keeps n of every m columns, so n C / m in all, and
    every column n R / m. (If only the columns move, that holds for the columns of every band of m rows.)
    Masks with these sums alone form one b-matching over the whole matrix, whose linear programme any
    prices bound from above; prices are improved by coordinate descent. One-directional groups leave only
    the row sums, for which the bound is the best n C / m entries of each row.

    Parameters
    ----------
    scores : ndarray of float64, shape (batch, R, C)
    pattern : Pattern
        Its axis is -1 or -2.
    axes : tuple of int
        Axes along which channels move, at least one of which the pattern groups.

    Returns
    -------
    float
        Rounded upwards: an upper bound in spite of floating-point arithmetic.
    """
    if pattern.transposable:
        if -1 not in axes:
            scores = scores.swapaxes(-1, -2)
        return _transposable(scores, pattern, both=len(axes) == 2)
    return _one_directional(scores if pattern.axis == -1 else scores.swapaxes(-1, -2), pattern)


def _one_directional(scores: Float64Array, pattern: Pattern) -> float:
    n, m = pattern.n, pattern.m
    length = scores.shape[-1]
    whole, tail = length // m * m, length % m
    if pattern.remainder == "dense" and tail:
        rest = float(scores[..., whole:].sum())
        return _above(rest + _one_directional(scores[..., :whole], _plain(pattern)), scores)
    entries = -np.sort(-scores, axis=-1)
    least = n * (whole // m) if pattern.constraint == "exact" else 0
    most = n * (whole // m) + min(n, tail)
    sure, possible = entries[..., :least].sum(), np.maximum(entries[..., least:most], 0).sum()
    return _above(float(sure + possible), scores)


def _transposable(scores: Float64Array, pattern: Pattern, *, both: bool) -> float:
    m = pattern.m
    batch, rows, columns = scores.shape
    down, across = rows // m * m, columns // m * m
    body = scores[:, :down, :across]
    total = 0.0
    for tail in (scores[:, down:], scores[:, :down, across:]):
        total += float(tail.sum() if pattern.remainder == "dense" else np.maximum(tail, 0).sum())
    if body.size:
        bands = body if both else body.reshape(batch * (down // m), m, across)
        budgets = pattern.n * across // m, pattern.n * bands.shape[1] // m
        step = max(1, (1 << 24) // bands[0].size)
        total += math.fsum(
            _budget_bound(bands[first : first + step], *budgets, exact=pattern.constraint == "exact")
            for first in range(0, len(bands), step)
        )
    return _above(total, scores)


def _budget_bound(scores: Float64Array, in_row: int, in_column: int, *, exact: bool) -> float:
    """Bound the best mask with ``in_row`` kept entries in every row and ``in_column`` in every column.

    For any prices u of rows and v of columns, not negative under "at most", the kept sum is at most
    ``in_row * sum(u) + in_column * sum(v) + sum(max(scores - u - v, 0))``.
    """
    rows = np.zeros((*scores.shape[:2], 1))
    columns = np.zeros((scores.shape[0], 1, scores.shape[2]))
    best = math.inf
    for _ in range(_STEPS):
        columns = _prices(scores - rows, in_column, axis=1, exact=exact)
        rows = _prices(scores - columns, in_row, axis=2, exact=exact)
        rest = scores - rows
        rest -= columns
        value = in_row * rows.sum() + in_column * columns.sum() + np.maximum(rest, 0, out=rest).sum()
        # The prices enter every entry's reduced score, so their rounding counts once for each entry.
        scale = scores.shape[2] * np.abs(rows).sum() + scores.shape[1] * np.abs(columns).sum()
        before, best = best, min(best, _above(float(value), scores, float(scale)))
        if before - best < 1e-6 * abs(best):
            break
    return best


def _prices(reduced: Float64Array, budget: int, *, axis: int, exact: bool) -> Float64Array:
    """Find the best prices of one axis for given prices of the other: where the budget's last entry ends.

    Every price between the last entry inside and the first outside is best; their mean leaves both sides
    something to gain, where one of the ends would stop coordinate descent early.
    """
    length = reduced.shape[axis]
    if budget >= length:
        price = reduced.min(axis=axis, keepdims=True) if exact else np.zeros(())
        return np.broadcast_to(price, reduced.min(axis=axis, keepdims=True).shape)
    ordered = np.partition(reduced, (length - budget - 1, length - budget), axis=axis)
    around = np.take(ordered, [length - budget - 1, length - budget], axis=axis)
    price = around.mean(axis=axis, keepdims=True)
    found: Float64Array = price if exact else np.maximum(price, 0)
    return found


def _plain(pattern: Pattern) -> Pattern:
    return Pattern(pattern.n, pattern.m, transposable=pattern.transposable, constraint=pattern.constraint)


def _above(value: float, scores: Float64Array, scale: float = 0.0) -> float:
    """Add what pairwise summation in float64 can have lost."""
    terms = max(scores.size, 2)
    loss = (math.log2(terms) + 16) * np.finfo(np.float64).eps
    return float(value + 4 * loss * (float(np.abs(scores).sum()) + scale + abs(value)))
