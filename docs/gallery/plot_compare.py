"""
Greedy against optimal
======================

The greedy mask takes the largest entry that fits, again and again. Where the two differ, the optimal mask
gave up a large entry for two that are worth more together.
"""

import numpy as np

import masksolve as ms

weights = np.random.default_rng(5).standard_normal((24, 32))
best = ms.solve(weights, "4:8-T", score="magnitude")
greedy = ms.solve(weights, "4:8-T", score="magnitude", backend="greedy")
for result in (best, greedy):
    print(f"{result.backend} keeps {result.retained(weights):.2%} of the magnitude")
ms.plot.compare(best, greedy)
