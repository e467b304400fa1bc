"""
A first mask, and how to trust it
=================================

Weights, a pattern, a mask, a picture, a proof. Needs ``pip install "masksolve[plot]"``.
"""

# %%
# A layer's weights stand for any matrix here. The pattern ``4:8-T`` cuts it into tiles of 8 by 8, and keeps 4
# entries in every row and every column of every tile.
import numpy as np

import masksolve as ms

weights = np.random.default_rng(0).standard_normal((24, 32)).astype(np.float32)
result = ms.solve(weights, "4:8-T", score="magnitude")
result

# %%
# The mask with its tiles. The numbers count what each row and each column of a tile keeps.
ms.plot.mask(result)

# %%
# Half of the entries keep about three quarters of the magnitude, since the small ones went first.
share = result.retained(weights)
print(f"{result.density:.0%} of the entries keep {share:.1%} of the magnitude")
ms.plot.scores(weights, result)

# %%
# Is it the best mask? The solver says so, with a *price* for every row and column of every tile. Any
# prices bound what any mask can keep, and the bound takes a few lines of NumPy, for one tile:
tile, kept = np.abs(weights[:8, :8]).astype(float), result.mask[:8, :8]
rows, columns = result.duals.rows[0].astype(float), result.duals.columns[0].astype(float)
reduced = tile - rows[:, None] - columns[None, :]
bound = 4 * (rows.sum() + columns.sum()) + np.maximum(reduced, 0).sum()
print(f"the tile keeps {tile[kept].sum():.6f}, and no mask keeps more than {bound:.6f}")

# %%
# The same for all tiles, in one call that asks no solver:
proof = ms.recompute_certificate(weights, result.mask, "4:8-T", result.duals, score="magnitude")
print(proof)
print(ms.verify(result.mask, "4:8-T"))
