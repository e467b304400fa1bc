"""Slow optima that share no code with masksolve: they know arrays and the words of a pattern, no more.

``brute_force`` tries every mask of a tiny tile, ``linear_programme`` asks HiGHS about one tile,
``sorting`` handles one line. All take scores (r, c), bounds (least, most) for rows and columns, and
forced entries, and return a best mask, or None if there is none.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from scipy import optimize

LARGEST_BRUTE_FORCE = 12


class Tile(NamedTuple):
    """One tile of an array: where it lies, and how many entries its rows and columns may keep."""

    place: tuple[int | slice, ...]
    row_bounds: tuple[int, int]
    column_bounds: tuple[int, int]


def value(scores, mask):
    """The kept sum, correctly rounded."""
    return math.fsum(scores.astype(np.float64)[mask].tolist())


def brute_force(scores, row_bounds, column_bounds, keep=None, drop=None):
    """Every combination of every row's choices."""
    height, width = scores.shape
    keep, drop = _forced(scores, keep, drop)
    sizes = range(row_bounds[0], min(row_bounds[1], width) + 1)
    choices = [
        [set(choice) for size in sizes for choice in itertools.combinations(range(width), size)]
        for _ in range(height)
    ]
    for row, options in enumerate(choices):
        must, must_not = set(np.flatnonzero(keep[row])), set(np.flatnonzero(drop[row]))
        choices[row] = [choice for choice in options if must <= choice and not must_not & choice]
    best, best_value = None, -math.inf
    for rows in itertools.product(*choices):
        counts = [sum(column in choice for choice in rows) for column in range(width)]
        if all(column_bounds[0] <= count <= column_bounds[1] for count in counts):
            total = math.fsum(float(scores[row, column]) for row in range(height) for column in rows[row])
            if total > best_value:
                best, best_value = rows, total
    if best is None:
        return None
    mask = np.zeros(scores.shape, bool)
    for row, choice in enumerate(best):
        mask[row, sorted(choice)] = True
    return mask


def linear_programme(scores, row_bounds, column_bounds, keep=None, drop=None):
    """A vertex of the linear relaxation, which is integral since the matrix is totally unimodular."""
    height, width = scores.shape
    keep, drop = _forced(scores, keep, drop)
    rows = np.kron(np.eye(height), np.ones(width))
    columns = np.kron(np.ones(height), np.eye(width))
    lines = np.concatenate([rows, columns])
    least, most = np.concatenate([np.tile(row_bounds, (height, 1)), np.tile(column_bounds, (width, 1))]).T
    _, exponent = np.frexp(np.abs(scores).max())
    solution = optimize.linprog(
        -np.ldexp(scores.astype(np.float64), -exponent).ravel(),
        A_ub=np.concatenate([lines, -lines]),
        b_ub=np.concatenate([most, -least]),
        bounds=np.stack([keep.ravel(), ~drop.ravel()], axis=1).astype(float),
        method="highs-ds",
        options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
    )
    if solution.status == 2:
        return None
    assert solution.status == 0, solution.message
    assert np.abs(solution.x - np.rint(solution.x)).max() < 1e-6, "the vertex is not integral"
    return solution.x.reshape(scores.shape) > 0.5


def sorting(scores, row_bounds, column_bounds, keep=None, drop=None):
    """A single row, best entries first; its columns must be free."""
    assert len(scores) == 1
    assert tuple(column_bounds) == (0, 1)
    keep, drop = _forced(scores, keep, drop)
    mask = keep.copy()
    ranked = [entry for entry in np.argsort(-scores[0].astype(np.float64)) if not (keep | drop)[0, entry]]
    least, most = row_bounds
    for entry in ranked:
        kept = mask.sum()
        if kept < least or (kept < most and scores[0, entry] > 0):
            mask[0, entry] = True
    return mask if least <= mask.sum() <= most else None


def best_mask(scores, row_bounds, column_bounds, keep=None, drop=None):
    """An optimal mask by whichever oracle is quickest."""
    oracle = linear_programme
    if len(scores) == 1 and tuple(column_bounds) == (0, 1):
        oracle = sorting
    elif scores.size <= LARGEST_BRUTE_FORCE:
        oracle = brute_force
    return oracle(scores, row_bounds, column_bounds, keep, drop)


def tiles(shape, pattern) -> Iterator[Tile]:
    """The tiles of an array in row-major order, one at a time; ``dense`` tails belong to none."""
    transposable, rows = pattern.transposable, (pattern.n, pattern.m)
    axes = (len(shape) - 2, len(shape) - 1) if transposable else (pattern.axis % len(shape),)
    # Groups along the last axis are rows; what the columns keep is told apart only where it differs.
    budgets = dict(zip(reversed(axes), (rows, pattern.columns or rows), strict=False))
    step = [budgets[axis][1] if axis in axes else 1 for axis in range(len(shape))]
    order = [axis for axis in range(len(shape)) if transposable or axis not in axes] + (
        [] if transposable else list(axes)
    )
    starts = [range(0, shape[axis], step[axis]) for axis in order]
    for start in itertools.product(*starts):
        corner = dict(zip(order, start, strict=True))
        lengths = {axis: min(step[axis], shape[axis] - corner[axis]) for axis in axes}
        if pattern.remainder == "dense" and any(length < step[axis] for axis, length in lengths.items()):
            continue
        place = tuple(
            slice(corner[axis], corner[axis] + lengths[axis]) if axis in axes else corner[axis]
            for axis in range(len(shape))
        )
        if transposable:
            row_bounds, column_bounds = (
                _bounds(pattern, budgets[axis], lengths[axis]) for axis in reversed(axes)
            )
        else:
            row_bounds, column_bounds = _bounds(pattern, rows, lengths[axes[0]]), (0, 1)
        yield Tile(place, row_bounds, column_bounds)


def solve(scores, pattern, keep=None, drop=None):
    """An optimal mask of a whole array."""
    keep, drop = _forced(scores, keep, drop)
    mask = np.ones(scores.shape, bool)
    for place, row_bounds, column_bounds in tiles(scores.shape, pattern):
        best = best_mask(
            np.atleast_2d(scores[place]),
            row_bounds,
            column_bounds,
            np.atleast_2d(keep[place]),
            np.atleast_2d(drop[place]),
        )
        if best is None:
            return None
        mask[place] = best.reshape(scores[place].shape)
    return mask


def _bounds(pattern, budget, length):
    n, m = budget
    whole = length == m and pattern.constraint == "exact"
    return (n if whole else 0), min(n, length)


def _forced(scores, keep, drop):
    shape = scores.shape
    return (
        np.zeros(shape, bool) if keep is None else np.broadcast_to(keep, shape),
        np.zeros(shape, bool) if drop is None else np.broadcast_to(drop, shape),
    )
