"""The rest of a knapsack after its prices: the few units whose level they leave open, by dynamic programming.

At the price p of the budget, level k of unit u falls short of the unit's best by a *loss*. The losses of a
choice add up to no more than the dual bound less what it is worth, so a level whose loss exceeds the gap
between bound and a choice at hand is in no better choice (Dembo and Hammer's reduction; Pisinger, "A minimal
algorithm for the multiple-choice knapsack problem", European Journal of Operational Research 83, 1995).
What is left, the *core*, is small.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..rounding import HALF_ULP, upper_sum
from ..types import BoolArray, Float64Array

Integers = npt.NDArray[np.int64]

_MOST = 1 << 28
"""Sums that the dynamic programme may compute: about a second."""

_MOST_HELD = 1 << 26
"""Bytes in which it may write down its choices."""


class Core(NamedTuple):
    """Best levels of all units, and a bound on what any better choice than the one at hand is worth."""

    level: npt.NDArray[np.intp]
    bound: float


def solve_core(
    cost: Integers, value: Float64Array, bound: Float64Array, budget: int, price: float, slack: float
) -> Core | None:
    """Find the best choice among those that the losses leave; None if they leave too many.

    Parameters
    ----------
    cost, value, bound : ndarray, shape (units, levels)
        As in `Levels`; finite.
    budget : int
    price : float
    slack : float
        The dual bound at the price, less the value of the choice at hand.
    """
    reduced = bound - price * cost
    best = reduced.max(axis=1, keepdims=True)
    sizes = np.abs(bound).max(axis=1, keepdims=True) + price * cost[:, -1:]
    alive = best - reduced <= slack * (1 + 1e-9) + 16 * HALF_ULP * sizes
    lowest = np.where(alive, cost, np.iinfo(np.int64).max).min(axis=1, keepdims=True)
    extra = np.where(alive, cost - lowest, 0)
    common = int(np.gcd.reduce(extra, axis=None)) or 1
    room = min(budget - int(lowest.sum()), int(extra.max(axis=1).sum())) // common
    core = np.flatnonzero(alive.sum(axis=1) > 1)
    if room < 0 or (room + 1) * int(alive[core].sum()) > _MOST or (room + 1) * len(core) > _MOST_HELD:
        return None
    level = alive.argmax(axis=1)
    small, open_ = extra[core] // common, alive[core]
    level[core], _ = _programme(small, value[core], open_, room)
    fixed = np.delete(np.arange(len(level)), core)
    _, most = _programme(small, bound[core], open_, room)
    terms = [most, *bound[fixed, level[fixed]].tolist()]
    rounding = (len(core) + 2) * HALF_ULP * float(np.abs(bound[core]).max(axis=1, initial=0.0).sum())
    return Core(level, upper_sum([*terms, rounding]))


def _programme(
    cost: Integers, value: Float64Array, alive: BoolArray, room: int
) -> tuple[npt.NDArray[np.intp], float]:
    """Best levels of the core's units with costs of at most ``room`` together, and what they are worth."""
    best = np.zeros(room + 1)
    chosen = np.zeros((len(cost), room + 1), np.uint8)
    for unit in range(len(cost)):
        found = np.full(room + 1, -math.inf)
        for k in np.flatnonzero(alive[unit]).tolist():
            first = int(cost[unit, k])
            if first > room:
                continue
            candidate = best[: room + 1 - first] + value[unit, k]
            better = candidate > found[first:]
            found[first:][better] = candidate[better]
            chosen[unit, first:][better] = k
        best = found
    level, at = np.zeros(len(cost), np.intp), room
    for unit in reversed(range(len(cost))):
        level[unit] = chosen[unit, at]
        at -= int(cost[unit, level[unit]])
    return level, float(best[room])
