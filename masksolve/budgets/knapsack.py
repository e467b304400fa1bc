"""A level for every unit within one budget: the multiple-choice knapsack, with its dual bound.

Unit u at level k costs c_uk and is worth v_uk; one level of each unit is chosen, and the costs together
must not exceed the budget B. For any price p >= 0 of the budget, no choice is worth more than

    p B + sum_u max_k (v_uk - p c_uk),

the dual of the linear relaxation (Sinha and Zoltners, "The multiple-choice knapsack problem", Operations
Research 27, 1979). The relaxation is solved by steps along the upper concave hull of every unit's levels,
the steepest first: at the first step that no longer fits, p is its slope, and all that the choice can miss is
a part of this one step. Where all steps cost the same, as for layers of one size, none is cut, and the choice
is optimal. For others, `core` finds the best choice among those that the price leaves open.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..rounding import upper_sum
from ..types import Float64Array
from .core import Integers, solve_core

_ROUNDING = 4 * 2.0**-53
"""Relative error of the few operations behind each term of the bound."""

_CLOSED = 1e-9
"""A choice this near to its bound, relatively, is not looked at again."""


class Levels(NamedTuple):
    """What every unit costs, and what it is worth, at every level.

    Attributes
    ----------
    cost : ndarray of int64, shape (units, levels)
        Entries that may be kept, or whatever is budgeted; it never falls from one level to the next.
    value : ndarray of float64, shape (units, levels)
        Sums that masks keep.
    bound : ndarray of float64, shape (units, levels)
        Proven upper bounds on what masks can keep.
    """

    cost: Integers
    value: Float64Array
    bound: Float64Array


class Choice(NamedTuple):
    """Levels that were chosen.

    Attributes
    ----------
    level : ndarray of int, shape (units,)
    cost : int
    objective : float
        What the chosen levels are worth.
    bound : float
        No choice within the budget is worth more.
    price : float
        What one more unit of the budget can be worth at most.
    """

    level: npt.NDArray[np.intp]
    cost: int
    objective: float
    bound: float
    price: float


def choose(levels: Levels, budget: int) -> Choice:
    """Choose a level for every unit.

    Raises
    ------
    ValueError
        If the budget does not suffice for the lowest levels.
    """
    least = int(levels.cost[:, 0].sum())
    if budget < least:
        raise ValueError(f"the budget must be at least {least}, which the lowest levels take, got {budget}")
    steps = _steps(levels)
    steps = steps.some(steps.gain > 0)
    steps = steps.some(
        np.argsort(-_slope(steps.cost, steps.gain), kind="stable")
    )  # a unit's keep their order
    taken, price = _fill(steps, _reachable(levels, budget) - least)
    level = np.zeros(len(levels.cost), np.intp)
    np.maximum.at(level, taken.unit, taken.last)
    bound = bound_at(levels, budget, price)
    level, bound = _improved(levels, level, _reachable(levels, budget), bound, price)
    chosen = np.arange(len(level)), level
    objective = math.fsum(levels.value[chosen].tolist())
    return Choice(level, int(levels.cost[chosen].sum()), objective, max(objective, bound), price)


def _improved(
    levels: Levels, level: npt.NDArray[np.intp], budget: int, bound: float, price: float
) -> tuple[npt.NDArray[np.intp], float]:
    """Close the gap between a choice and its bound by the core, if there is one that is small enough."""
    known = levels
    if bound == math.inf:  # which says nothing of the masks, but leaves the choice among their values
        known = Levels(levels.cost, levels.value, levels.value)
    worth = math.fsum(levels.value[np.arange(len(level)), level].tolist())
    slack = bound_at(known, budget, price) - worth
    if not _CLOSED * abs(worth) < slack < math.inf:
        return level, bound
    core = solve_core(*known, budget, price, slack)
    if core is None:
        return level, bound
    best = math.fsum(levels.value[np.arange(len(level)), core.level].tolist())
    if best > worth:
        level, worth = core.level, best
    return level, min(bound, max(worth, core.bound)) if bound < math.inf else bound


def bound_at(levels: Levels, budget: int, price: float) -> float:
    """Bound what any choice within the budget is worth, by a price of the budget; rounded upwards."""
    budget = _reachable(levels, budget)
    best = (levels.bound - price * levels.cost).max(axis=1, initial=-math.inf)
    if not np.isfinite(best).all():
        return math.inf
    sizes = np.abs(levels.bound).max(axis=1) + price * levels.cost[:, -1]
    return upper_sum(
        [*best.tolist(), price * budget, *(_ROUNDING * sizes).tolist(), _ROUNDING * price * budget]
    )


def _reachable(levels: Levels, budget: int) -> int:
    """Lower the budget to what costs can add up to: the lowest levels', and multiples of a common divisor."""
    least = int(levels.cost[:, 0].sum())
    common = int(np.gcd.reduce(levels.cost - levels.cost[:, :1], axis=None))
    return least + (budget - least) // common * common if common else least


class _Steps(NamedTuple):
    """Steps along the concave hulls: whose, the level that is reached, and what it costs and gains."""

    unit: npt.NDArray[np.intp]
    last: npt.NDArray[np.intp]
    cost: Integers
    gain: Float64Array

    def some(self, which: npt.NDArray[Any]) -> _Steps:
        return _Steps(*(column[which] for column in self))


def _steps(levels: Levels) -> _Steps:
    """Cut every unit's upper concave hull into steps, in the order of its levels."""
    units, count = levels.cost.shape
    cost, gain = np.diff(levels.cost, axis=1), np.diff(levels.value, axis=1)
    concave = np.full(units, True)
    if count > 2:
        slope = _slope(cost, gain)
        concave = np.all(slope[:, 1:] <= slope[:, :-1], axis=1)
    unit, last = np.divmod(np.arange(units * (count - 1)), max(count - 1, 1))
    every = _Steps(unit, last + 1, cost.ravel(), gain.ravel())
    if concave.all():
        return every
    hulls = [
        _hull(each, cost[each].tolist(), gain[each].tolist()) for each in np.flatnonzero(~concave).tolist()
    ]
    parts = [every.some(concave[unit]), *hulls]
    return _Steps(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _hull(unit: int, cost: list[int], gain: list[float]) -> _Steps:
    """Merge steps of one unit until their slopes fall."""
    merged: list[tuple[int, int, float]] = []
    for number, (c, g) in enumerate(zip(cost, gain, strict=True)):
        step = (number + 1, c, g)
        while merged and _slope(*step[1:]) > _slope(*merged[-1][1:]):
            _, before_cost, before_gain = merged.pop()
            step = (step[0], before_cost + step[1], before_gain + step[2])
        merged.append(step)
    last, costs, gains = zip(*merged, strict=True)
    return _Steps(
        np.full(len(merged), unit),
        np.array(last, np.intp),
        np.array(costs, np.int64),
        np.array(gains, np.float64),
    )


def _slope(cost: npt.ArrayLike, gain: npt.ArrayLike) -> Float64Array:
    """Gain by cost; what costs nothing is infinitely good, or bad."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        free = np.copysign(np.inf, gain)
        slope: Float64Array = np.where(np.greater(cost, 0), np.divide(gain, cost), free)
    return slope


def _fill(steps: _Steps, rest: int) -> tuple[_Steps, float]:
    """Take steps in their order while they fit; then those that still fit, without the units that do not.

    Returns
    -------
    taken : _Steps
    price : float
        Slope of the first step that did not fit; 0 if all did.
    """
    taken, price = [], 0.0
    while True:
        spent = np.cumsum(steps.cost)
        fitting = int(np.searchsorted(spent, rest, side="right"))
        taken.append(steps.some(np.arange(fitting)))
        if fitting == len(spent):
            return _Steps(*(np.concatenate(column) for column in zip(*taken, strict=True))), price
        if len(taken) == 1:
            price = float(_slope(steps.cost[fitting], steps.gain[fitting]))
        rest -= int(spent[fitting - 1]) if fitting else 0
        steps = steps.some(np.arange(fitting, len(spent)))
        # A unit's steps are in the order of its levels: none can be taken from one that is too large on.
        too_large = np.flatnonzero(steps.cost > rest)
        stop = np.full(int(steps.unit.max()) + 1, len(steps.unit))
        np.minimum.at(stop, steps.unit[too_large], too_large)
        steps = steps.some(np.arange(len(steps.unit)) < stop[steps.unit])
