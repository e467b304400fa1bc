"""Adam towards the least-squares optimum of a mask: the way of the paper, for comparison."""

from __future__ import annotations

import math
from typing import Any

from .layer_problem import LayerProblem

_LEARNING_RATE = 0.03
"""Relative to the root mean square of the kept weights; it falls to 0 as a cosine."""

_DECAY, _SQUARE_DECAY, _TINY = 0.9, 0.999, 1e-8


def adam(layer: LayerProblem, kept: Any, steps: int) -> Any:
    """Approach the optimum of a layer for the mask ``kept``; weights in scaled coordinates.

    The gradient is that over all samples, which the Gram matrix holds, not over a batch of them.
    Steps are taken in the caller's coordinates, as Adam depends on them.

    References
    ----------
    Kingma, Ba. Adam: a method for stochastic optimization. ICLR 2015, algorithm 1.
    """
    xp, on = layer.space.xp, layer.space.xp.astype(kept, layer.weights.dtype)
    root = layer.root[None, :]
    target = layer.weights / root
    gram = layer.gram * (layer.root[:, None] * root)
    gram = gram / xp.mean(xp.linalg.diagonal(gram))
    weight = target * on
    entries = max(int(xp.sum(xp.astype(kept, xp.int64))), 1)
    rate = _LEARNING_RATE * (float(xp.sum(weight**2)) / entries) ** 0.5
    first, second = xp.zeros_like(weight), xp.zeros_like(weight)
    for step in range(1, steps + 1):
        slope = ((weight - target) @ gram) * on
        first = _DECAY * first + (1 - _DECAY) * slope
        second = _SQUARE_DECAY * second + (1 - _SQUARE_DECAY) * slope**2
        spread = xp.sqrt(second / (1 - _SQUARE_DECAY**step)) + _TINY
        now = rate * (1 + math.cos(math.pi * (step - 1) / steps)) / 2
        weight = weight - now * (first / (1 - _DECAY**step)) / spread
    return weight * on * root
