"""
A mask with its tiles
=====================

Kept entries are filled. The numbers count what each row and column of a tile keeps: 2 of 4, both ways.
"""

import numpy as np

import masksolve as ms

weights = np.random.default_rng(3).standard_normal((12, 16))
ms.plot.mask(ms.solve(weights, "2:4-T", score="magnitude"))
