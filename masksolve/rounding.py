"""Sums that err on the safe side."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

HALF_ULP = 2.0**-53 * (1 + 2.0**-20)
"""Relative error of one operation in float64, and a little for products of such errors."""

_TOGETHER = 64
"""Numbers that are added one after another; longer sums are sums of sums, so that rounding stays small."""


def relative_gap(objective: float, bound: float) -> float:
    """``(bound - objective) / abs(bound)``; 0 is a perfect proof, inf none at all."""
    if bound == math.inf:
        return math.inf
    if bound == objective:
        return 0.0
    return (bound - objective) / abs(bound) if bound else math.copysign(math.inf, bound - objective)


def upper_sum(values: Iterable[float]) -> float:
    """Sum, rounded upwards: the smallest float that is not below the exact sum.

    ``math.fsum`` rounds to nearest; the sign of what it lost, which is found the same way, tells where to go.
    """
    terms = list(values)
    nearest = math.fsum(terms)
    if math.isfinite(nearest) and math.fsum([*terms, -nearest]) > 0:
        return math.nextafter(nearest, math.inf)
    return nearest


def total(xp: Any, values: Any) -> tuple[float, float]:
    """Sum of an array (n,) of float64 in its own library, and a bound that the exact sum does not exceed."""
    levels = 1 + math.ceil(math.log(max(values.shape[0], 2), _TOGETHER))
    nearest = _sum(xp, values)
    return nearest, nearest + levels * _TOGETHER * HALF_ULP * _sum(xp, xp.abs(values))


def _sum(xp: Any, values: Any) -> float:
    whole = values.shape[0] // _TOGETHER * _TOGETHER
    if whole <= _TOGETHER:
        return float(xp.sum(values))
    parts = xp.sum(xp.reshape(values[:whole], (-1, _TOGETHER)), axis=1)
    return _sum(xp, parts) + float(xp.sum(values[whole:]))
