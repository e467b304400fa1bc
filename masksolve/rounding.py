"""Sums that err on the safe side."""

from __future__ import annotations

import math
from collections.abc import Iterable

HALF_ULP = 2.0**-53 * (1 + 2.0**-20)
"""Relative error of one operation in float64, and a little for products of such errors."""


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
