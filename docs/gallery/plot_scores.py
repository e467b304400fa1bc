"""
What a mask keeps of the scores
===============================

The large scores stay, as far as the pattern allows.
"""

import numpy as np

import masksolve as ms

weights = np.random.default_rng(4).standard_t(4, (32, 32))
ms.plot.scores(weights, ms.solve(weights, "8:16-T", score="magnitude"))
