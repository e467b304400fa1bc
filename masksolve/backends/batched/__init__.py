"""Exact masks for a batch of equal tiles, in plain array operations of any namespace and device.

::

    tiles -> pricing -> augmenting, pass by pass -> answer

Dual prices come first: rows and columns in turn take the price that is best while the others stand
still, an order statistic. The rows then keep their best entries, which is optimal but for columns
that keep too many and others that keep too few; the units too many go along shortest augmenting
paths, found for all tiles at once by Bellman-Ford. Arrays hold the tiles along their last axis, so
that an operation runs over neighbouring numbers, and choose by minima and maxima: ``where`` on a
random condition costs many times as much.
"""

from .frame import Tiles
from .solving import Answer, solve_tiles

__all__ = ["Answer", "Tiles", "solve_tiles"]
