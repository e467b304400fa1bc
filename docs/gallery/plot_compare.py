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
print(f"optimal keeps {best.retained(weights):.2%} of the magnitude, greedy {greedy.retained(weights):.2%}")
ms.plot.compare(best, greedy)
