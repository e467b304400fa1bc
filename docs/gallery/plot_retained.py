"""
Where a layer loses most
========================

The retained share of each tile. The bright band stands for input channels with a few very large weights,
which any mask keeps; the dark one for channels whose weights are all alike.
"""

import numpy as np

import masksolve as ms

rng = np.random.default_rng(7)
weights = rng.standard_normal((256, 256))
weights[:, 64:96] *= 1 + 8 * (rng.random((256, 32)) < 0.1)
weights[:, 160:192] = np.sign(weights[:, 160:192]) * (1 + 0.1 * rng.random((256, 32)))
ms.plot.retained(weights, ms.solve(weights, "4:8-T", score="magnitude"))
