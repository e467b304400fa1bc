"""
How far from the optimum, tile by tile
======================================

Every tile has a bound, whoever solved it. Dual prices show that greedy masks lose up to several per cent
in a tile, and that no tile of the exact mask loses anything.
"""

import numpy as np

import masksolve as ms

weights = np.random.default_rng(6).standard_normal((256, 256))
best = ms.solve(weights, "4:8-T", score="magnitude", tiles=True)
options = {"backend": "greedy", "bound": True, "tiles": True}
greedy = ms.solve(weights, "4:8-T", score="magnitude", **options)
ms.plot.gaps(best, greedy)
