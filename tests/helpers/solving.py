"""What the tests of ``solve`` share."""

from __future__ import annotations

import math

import numpy as np
from assertions import assert_proven

import masksolve as ms


def gaussian(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def check(result, scores, *, gap=None, score="value", **forced):
    """The result is proven optimal, by an oracle that is not ours, and its own prices give its bound."""
    array = np.asarray(scores)
    assert result.mask.dtype == np.bool_
    assert_proven(result, array, tolerance=gap, score=score, **forced)
    worth = array.astype(np.float64)
    kept = worth[result.mask]
    total = math.fsum((np.abs(kept) if score != "square" else kept**2).tolist())
    again = ms.recompute_certificate(array, result.mask, result.pattern, result.duals, score=score, **forced)
    assert abs(result.bound - again.bound) <= 1e-13 * total + (gap or 1e-6) * total + 8 * array.size * 5e-324
