"""The dual bound of a tile's mask and prices, written once for every array namespace.

For scores s, row prices u and column prices v, weak duality bounds what any mask can keep:

    D(u, v) = sum_i max(lo u_i, hi u_i) + sum_j max(lo v_j, hi v_j) + sum_ij max(0, s_ij - u_i - v_j)

where a row (column) keeps between lo and hi entries; an entry that is forced contributes
``s_ij - u_i - v_j`` itself, one that is forbidden nothing. For a feasible mask that keeps K, with the
reduced scores r_ij = s_ij - u_i - v_j, the difference is a sum of terms that are never negative:

    D(u, v) - K = sum_kept max(0, -r) + sum_dropped max(0, r) + sum_lines (max(lo p, hi p) - count p)

It is computed in this form. Summing D and subtracting K would cancel nearly everything, and one
huge score would hide what happens beside it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..layout import Chunk
from ..rounding import HALF_ULP
from ..types import Bounds, Prices


class Proofs(NamedTuple):
    r"""What the prices prove of every tile; arrays (tiles,) of float64.

    Attributes
    ----------
    objective
        Sum of the kept scores.
    bound
        No mask keeps more, rounding included.
    violation
        D(u, v) less the kept sum, and what the size of the prices lets rounding hide; 0 is a perfect proof.
    scale
        What the violation is to be compared with: the kept sum of \|scores\|, as if every column kept as
        little as the one that keeps least (columns that keep only zeros aside), so that one huge score
        cannot hide errors in other columns. Groups: their kept sum.
    magnitude
        Sum of the sizes of the numbers that a violation is computed from; rounding explains no more than a
        few units in the last place of it.
    """

    objective: Any
    bound: Any
    violation: Any
    scale: Any
    magnitude: Any

    def proven(self, tolerance: float) -> Any:
        """Per tile, whether the mask is optimal to ``tolerance``, relative to ``scale``."""
        return self.violation <= tolerance * self.scale

    def gap(self, xp: Any) -> Any:
        """Per tile, violation over scale: 0 where both are 0, infinite where only the scale is."""
        one = xp.ones_like(self.scale)
        with np.errstate(over="ignore"):  # a denormal scale
            ratio = self.violation / xp.where(self.scale > 0, self.scale, one)
        return xp.where((self.scale > 0) | (self.violation <= 0), ratio, one * float("inf"))


def prove(xp: Any, chunk: Chunk, mask: Any, prices: Prices) -> Proofs:
    """Objective and bound of every tile of a chunk, in float64.

    Parameters
    ----------
    xp : namespace of the Python array-API standard
        Of the chunk's arrays; it must have float64.
    chunk : Chunk
    mask : array of bool, shape (tiles, r, c)
        Feasible, as `feasible` says.
    prices : Prices
        Any; what is not finite gives the bound infinity.

    Returns
    -------
    Proofs
    """
    height, width = chunk.scores.shape[1:]
    scores = xp.astype(chunk.scores, xp.float64)
    finite, rows, columns = _finite(xp, prices, scores)
    zero = xp.zeros_like(scores)
    reduced = scores - rows[:, :, None] - columns[:, None, :]
    wrong_if_kept = xp.maximum(-reduced, zero)
    wrong_if_dropped = xp.maximum(reduced, zero)
    if chunk.keep is not None:
        wrong_if_kept = xp.where(chunk.keep, zero, wrong_if_kept)
    if chunk.drop is not None:
        wrong_if_dropped = xp.where(chunk.drop, zero, wrong_if_dropped)
    violation = _total(xp, xp.where(mask, wrong_if_kept, wrong_if_dropped))
    kept = xp.where(mask, scores, zero)
    objective = _total(xp, kept)
    counted = xp.astype(mask, xp.float64)
    violation = violation + _slack(xp, rows, chunk.row_bounds, xp.sum(counted, axis=2))
    if prices.columns is not None:  # also where columns may keep anything: any price but 0 has its cost there
        violation = violation + _slack(xp, columns, chunk.column_bounds, xp.sum(counted, axis=1))
    in_columns = xp.sum(xp.abs(kept), axis=1)
    in_all = xp.sum(in_columns, axis=1)
    # An entry of a violation is off by half a unit of itself and of the prices beside it; a score that is far
    # below them adds nothing. Prices too large for their tile's scores prove nothing, so this counts.
    beside = height * xp.sum(xp.abs(columns), axis=1) + width * xp.sum(xp.abs(rows), axis=1)
    violation = violation + 4 * HALF_ULP * beside
    # A sum of k numbers is off by at most k - 1 half units of its magnitudes' sum.
    allowance = HALF_ULP * (height + width + 8) * (in_all + violation)
    bound = objective + violation + allowance
    infinite = xp.full_like(bound, xp.inf)
    return Proofs(
        objective,
        xp.where(finite, bound, infinite),
        xp.where(finite, violation, infinite),
        in_all if chunk.column_bounds == (0, height) else _scale(xp, in_columns),
        in_all + beside,
    )


def feasible(xp: Any, chunk: Chunk, mask: Any) -> Any:
    """Per tile, whether ``mask`` keeps the right counts and respects the forced choices."""
    counted = xp.astype(mask, xp.int32)
    good = xp.ones_like(counted[:, 0, 0], dtype=xp.bool)
    for axis, (least, most) in ((2, chunk.row_bounds), (1, chunk.column_bounds)):
        counts = xp.sum(counted, axis=axis, dtype=xp.int32)
        good = good & xp.all((counts >= least) & (counts <= most), axis=1)
    if chunk.keep is not None:
        good = good & ~xp.any(chunk.keep & ~mask, axis=(1, 2))
    if chunk.drop is not None:
        good = good & ~xp.any(chunk.drop & mask, axis=(1, 2))
    return good


def _finite(xp: Any, prices: Prices, scores: Any) -> tuple[Any, Any, Any]:
    """Per tile, whether its prices are finite; rows' and columns' in float64, zeros in place of others."""
    rows = xp.astype(prices.rows, xp.float64)
    columns = (
        xp.zeros_like(scores[:, 0, :]) if prices.columns is None else xp.astype(prices.columns, xp.float64)
    )
    finite = xp.all(xp.isfinite(rows), axis=1) & xp.all(xp.isfinite(columns), axis=1)
    rows, columns = (xp.where(finite[:, None], part, xp.zeros_like(part)) for part in (rows, columns))
    return finite, rows, columns


def _slack(xp: Any, prices: Any, bounds: Bounds, counts: Any) -> Any:
    """Sum what lines lose by keeping other counts than their prices ask for; 0 where there is no choice."""
    least, most = bounds
    if least == most:
        return xp.zeros_like(prices[:, 0])
    zero = xp.zeros_like(prices)
    gained = (most - counts) * xp.maximum(prices, zero) + (counts - least) * xp.maximum(-prices, zero)
    return xp.sum(gained, axis=1)


def _total(xp: Any, values: Any) -> Any:
    """Sum of every tile, one axis after the other, so that rounding grows with r + c only."""
    return xp.sum(xp.sum(values, axis=2), axis=1)


def _scale(xp: Any, in_columns: Any) -> Any:
    some = in_columns > 0
    largest = xp.where(some, in_columns, xp.full_like(in_columns, xp.inf))
    least = xp.min(largest, axis=1)
    count = xp.sum(xp.astype(some, xp.float64), axis=1)
    return xp.where(count > 0, count * xp.where(count > 0, least, xp.zeros_like(least)), xp.zeros_like(least))
