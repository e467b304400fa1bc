"""
Check and pack for hardware
===========================

Every violation by name, values and positions side by side, and metadata bit by bit. Needs nothing but
masksolve.
"""

# %%
# A mask that somebody else made, with a fault:
import json

import numpy as np

import masksolve as ms

weights = np.random.default_rng(1).standard_normal((16, 32)).astype(np.float16)
mask = ms.solve(weights, "2:4", score="magnitude").mask
mask[3, 4:8] = True
print(ms.verify(mask, "2:4"))

# %%
# For machines: places are those of the grid of tiles, here row and group.
print(json.dumps(ms.verify(mask, "2:4").to_dict(), indent=1))

# %%
# A sound mask can be packed: of each group the values, and where they stood. A transposable one is packed
# in both orientations.
mask = ms.solve(weights, "2:4-T", score="magnitude").mask
packed = ms.pack(weights, mask, "2:4-T")
print(packed)
print(packed.rows.values[0, :6], packed.rows.indices[0, :6])

# %%
# The positions as bits. In the encoding ``"positions"`` each takes ceil(log2 m) bits, the first in the
# lowest ones; for 2:4 that is what sparse tensor cores read. ``"bitmap"`` takes m bits a group, and
# ``"rank"`` the fewest possible.
for encoding in ("positions", "bitmap", "rank"):
    stream = ms.hardware.metadata(packed.rows, encoding)
    first = " ".join(f"{byte:08b}" for byte in stream.data[0, :3])
    print(f"{encoding:<10} {stream.field_bits} bits a group, first bytes: {first}")
assert (ms.hardware.positions(stream) == packed.rows.indices).all()

# %%
# Any n:m will do. What would a larger group cost in metadata and in multiplexers?
for pattern in ("2:4", "4:8", "8:16", "16:32"):
    kept = ms.solve(weights, pattern, score="magnitude").mask
    side = ms.pack(weights, kept, pattern).rows
    bits = [ms.hardware.metadata(side, encoding).field_bits / side.n for encoding in ("positions", "rank")]
    print(f"{pattern:>5}: {bits[0]:.2f} bits a value, {bits[1]:.2f} at least; {ms.hardware.cost(pattern)}")

# %%
# The layout in which CUTLASS stores the words of a 2:4 matrix in memory is there, too.
half = np.ones((32, 64), np.float16)
side = ms.pack(half, ms.solve(half, "2:4").mask, "2:4").rows
print(ms.hardware.cutlass_metadata(side).shape, ms.hardware.cutlass_metadata(side).dtype)
