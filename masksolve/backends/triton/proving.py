"""The certificate of tiles in registers: `masksolve.certificate.bound.prove`, term by term, in float64."""

from __future__ import annotations

import triton
import triton.language as tl

from .reading import total

HALF_ULP: tl.constexpr = tl.constexpr(2.0**-53 * (1 + 2.0**-20))


@triton.jit
def lost_slack(prices, counts, N: tl.constexpr):
    """Sum up what lines of 0 to N entries lose by keeping other counts than their prices ask for."""
    gained = (N - counts) * tl.maximum(prices, 0.0) + counts * tl.maximum(-prices, 0.0)
    return tl.sum(gained, axis=1)


@triton.jit
def prove(
    scores,
    kept,
    inside,
    rows,
    columns,
    real,
    tolerance,
    M: tl.constexpr,
    N: tl.constexpr,
    AT_MOST: tl.constexpr,
):
    """Objective, bound, and whether it proves the mask, (tiles,) each.

    Parameters
    ----------
    scores : float64 (tiles, side, side)
    kept, inside : int1, the same shape
        The mask, and which entries belong to the tile.
    rows, columns : float64 (tiles, side)
        Prices, zero outside.
    real : int1 (tiles,)
        Tiles that exist; the others count as proven and keep nothing.
    tolerance : float
        What the violation may be, relative to the tile's scale.
    """
    reduced = scores - rows[:, :, None] - columns[:, None, :]
    wrong = tl.where(kept, tl.maximum(-reduced, 0.0), tl.maximum(reduced, 0.0))
    violation = total(tl.where(inside, wrong, 0.0))
    in_rows = tl.sum(kept.to(tl.int32), axis=2)
    in_columns = tl.sum(kept.to(tl.int32), axis=1)
    most = tl.maximum(tl.max(in_rows, axis=1), tl.max(in_columns, axis=1))
    feasible = most <= N
    if AT_MOST:
        violation += lost_slack(rows, in_rows, N) + lost_slack(columns, in_columns, N)
    else:
        feasible = feasible & (tl.sum(in_rows, axis=1) == N * M)
    worths = tl.where(kept, scores, 0.0)
    objective = total(worths)
    by_column = tl.sum(tl.abs(worths), axis=1)
    in_all = tl.sum(by_column, axis=1)
    least = tl.min(tl.where(by_column > 0.0, by_column, float("inf")), axis=1)
    some = tl.sum((by_column > 0.0).to(tl.float64), axis=1)
    scale = some * tl.where(some > 0.0, least, 0.0)
    beside = M * (tl.sum(tl.abs(rows), axis=1) + tl.sum(tl.abs(columns), axis=1))
    allowance = HALF_ULP * ((2 * M + 8) * (in_all + violation) + 4.0 * beside)
    # A price that is not finite makes the violation infinite or NaN, and the comparison false.
    proven = feasible & (violation <= tolerance * scale) & (beside < float("inf"))
    return objective, objective + violation + allowance, proven | ~real
