"""One budget over many parts: which layer, rows or tiles keep how many entries.

::

    allocation.py, dense_tiles.py     exact values of every choice, from solve()
        │
    knapsack.py                       the choice among them, and the bound that certifies it
        │
    parts.py                          arrays by name, or one after the other
"""

from .allocation import Allocation, allocate
from .dense_tiles import DenseTiles, dense_tiles
from .knapsack import Levels

__all__ = ["Allocation", "DenseTiles", "Levels", "allocate", "dense_tiles"]
