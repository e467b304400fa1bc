"""Optima in exact rational arithmetic, by code that shares nothing with masksolve and rounds nowhere.

Every finite float is an integer times a power of two, so the scores of a tile are integers over a common
denominator, and Python's integers have as many digits as they need. `optimum` finds a maximum-weight
b-matching of them by successive shortest paths: units of flow go from rows to columns, each along a path
that adds as much as any can, until no path adds anything.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import oracles


def worth(scores, mask) -> Fraction:
    """Kept sum."""
    return sum((Fraction(float(value)) for value in scores[mask].ravel()), Fraction(0))


def fractions(scores, score="value") -> np.ndarray:
    """What entries are worth, as fractions."""
    wide = np.vectorize(lambda value: Fraction(float(value)), otypes=[object])(scores)
    if score == "square":  # of what float64 holds of it: products round like everybody's
        return np.vectorize(lambda value: Fraction(float(value) * float(value)), otypes=[object])(wide)
    return np.abs(wide) if score == "magnitude" else wide


def optimum(scores, row_bounds, column_bounds, keep=None, drop=None) -> Fraction | None:
    """The most that a mask of a tile (r, c) keeps; None if there is no mask. Scores may be fractions."""
    exact = scores if scores.dtype == object else fractions(scores)
    denominator = max((value.denominator for value in exact.ravel()), default=1)
    weights = np.vectorize(lambda value: int(value * denominator), otypes=[object])(exact)
    none = np.zeros(scores.shape, bool)
    mask = _matching(
        weights,
        row_bounds,
        column_bounds,
        none if keep is None else keep,
        none if drop is None else drop,
    )
    return None if mask is None else Fraction(int(sum(weights[mask], start=0)), denominator)


def optima(scores, pattern, keep=None, drop=None, score="value") -> list[Fraction | None]:
    """The optimum of every tile, in row-major order."""
    exact = fractions(scores, score)
    none = np.zeros(scores.shape, bool)
    keep, drop = (
        none if choice is None else np.broadcast_to(choice, scores.shape) for choice in (keep, drop)
    )
    return [
        optimum(_tile(exact, place), rows, columns, _tile(keep, place), _tile(drop, place))
        for place, rows, columns in oracles.tiles(scores.shape, pattern)
    ]


def kept(scores, mask, pattern, score="value") -> list[Fraction]:
    """What every tile keeps, in row-major order."""
    exact = fractions(scores, score)
    return [
        sum(exact[place][mask[place]].ravel(), start=Fraction(0))
        for place, _, _ in oracles.tiles(scores.shape, pattern)
    ]


def tails(scores, pattern, score="value") -> Fraction:
    """Sum of what is in no tile."""
    outside = np.ones(scores.shape, bool)
    for place, _, _ in oracles.tiles(scores.shape, pattern):
        outside[place] = False
    return sum(fractions(scores, score)[outside].ravel(), start=Fraction(0))


def _tile(array, place):
    return np.atleast_2d(array[place])


def _matching(weights, row_bounds, column_bounds, keep, drop):
    """A mask of the largest weight; demands of lines and forced entries are prizes above everything else."""
    height, width = weights.shape
    total = int(sum(np.abs(weights).ravel(), start=0)) + 1
    line_prize = 2 * total  # a line that meets its least number outweighs any scores
    entry_prize = 4 * (height + width) * line_prize * max(height, width)
    infinity = 8 * (height * width + 1) * entry_prize
    cost = -(weights + keep.astype(object) * entry_prize)
    mask = np.zeros((height, width), bool)
    while True:
        path = _shortest(cost, mask, ~mask & ~drop, _entering(mask, 1, row_bounds, line_prize, infinity),
                         _entering(mask, 0, column_bounds, line_prize, infinity), infinity)  # fmt: skip
        if path is None:
            break
        for place in path:
            mask[place] ^= True
    counts = ((mask.sum(axis=1), row_bounds), (mask.sum(axis=0), column_bounds))
    good = all(((least <= lines) & (lines <= most)).all() for lines, (least, most) in counts)
    return mask if good and mask[keep].all() else None


def _entering(mask, axis, bounds, prize, infinity):
    """Cost of one more unit in each line: a prize if it is due, infinity if there is no room."""
    counts, (least, most) = mask.sum(axis=axis), bounds
    return np.array([-prize if n < least else 0 if n < most else infinity for n in counts.tolist()], object)


def _shortest(cost, mask, open_, rows, columns, infinity):
    """Entries to flip along a path of least cost from a row to a column, if that is negative."""
    height, width = cost.shape
    add = np.where(open_, cost, infinity)
    remove = np.where(mask, -cost, infinity)
    to_row, from_column = rows.copy(), [None] * height
    to_column, from_row = np.full(width, infinity, object), [None] * width
    changed = True
    while changed:
        changed = False
        reached = to_row[:, np.newaxis] + add
        best = reached.argmin(axis=0)
        for j in range(width):
            if reached[best[j], j] < to_column[j]:
                to_column[j], from_row[j], changed = reached[best[j], j], int(best[j]), True
        reached = to_column[np.newaxis, :] + remove
        best = reached.argmin(axis=1)
        for i in range(height):
            if reached[i, best[i]] < to_row[i]:
                to_row[i], from_column[i], changed = reached[i, best[i]], int(best[i]), True
    ends = to_column + columns
    j = int(ends.argmin())
    if not ends[j] < 0:
        return None
    path = []
    while j is not None:
        i = from_row[j]
        path.append((i, j))
        j = from_column[i]
        if j is not None:
            path.append((i, j))
    return path
