"""A ready-made mask for tiles that a solve did not reach."""

from __future__ import annotations

import math

import numpy as np

from ._ext.greedy import fill_circulant
from .backends.base import Report
from .certificate import prove
from .layout import Block
from .layout.host import HostBlock
from .rounding import upper_sum
from .types import Prices


def fill(block: Block, first: int, last: int) -> Report:
    """Give tiles ``first`` to ``last`` - 1 a circulant mask and the prices zero.

    The circulant repeats after the longer side, so a whole tile keeps exactly n in every line and
    a line that the edge cuts keeps at most that, and never more than it may.
    """
    if isinstance(block, HostBlock):
        objective, bound = fill_circulant(block, first, last)  # its prices are 0 as the layout made them
        return Report(objective, bound, {"unreached": last - first}, open=last - first)
    chunk = block.on_host(first, last)
    height, width = block.tile_shape
    most = max(block.row_bounds[1], block.column_bounds[1])
    rows, columns = np.ogrid[:height, :width]
    mask = np.broadcast_to((columns - rows) % max(height, width) < most, chunk.scores.shape)
    prices = Prices(np.zeros((last - first, height)), np.zeros((last - first, width)))
    block.write(first, last, mask, prices)
    proofs = prove(np, chunk, mask, prices)
    block.record(first, last, proofs.objective, proofs.bound)
    objective, bound = math.fsum(proofs.objective.tolist()), upper_sum(proofs.bound.tolist())
    return Report(objective, bound, {"unreached": last - first}, open=last - first)
