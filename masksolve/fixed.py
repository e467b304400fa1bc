"""A ready-made mask for tiles that a solve did not reach."""

from __future__ import annotations

import math

import numpy as np

from ._ext.tiles import fill_tiles
from .backends.base import Report
from .backends.exact import Exact
from .certificate import prove
from .layout import Block
from .layout.host import HostBlock
from .problem import UnfitScoresError
from .rounding import upper_sum
from .types import Prices


def fill(block: Block, first: int, last: int) -> Report:
    """Give tiles ``first`` to ``last`` - 1 a circulant mask and the prices zero.

    The side with less room is filled: each of its lines keeps as many entries as it may, and goes on
    where the line before ended. So the lines of the other side keep equally many, to within one, which is
    exactly n in a whole tile and never more than they may.
    """
    with block.ready(first, last) as run:
        return _fill(*run)


def _fill(block: Block, first: int, last: int) -> Report:
    if isinstance(block, HostBlock) and block.tiling.pattern.vector is not None:
        return _leftmost(block, first, last)
    if isinstance(block, HostBlock):
        sums = fill_tiles(block, first, last, Exact().instruction_set)  # prices are 0 as the layout made them
        if sums is None:
            raise UnfitScoresError("a score is not finite or too large to be summed")
        return Report(*sums, {"unreached": last - first}, open=last - first)
    chunk = block.on_host(first, last)
    height, width = block.tile_shape
    (_, row_most), (_, column_most) = block.row_bounds, block.column_bounds
    rows, columns = np.ogrid[:height, :width]
    if height * row_most <= width * column_most:
        kept = (columns - row_most * rows) % width < row_most
    else:
        kept = (rows - column_most * columns) % height < column_most
    mask = np.broadcast_to(kept, chunk.scores.shape)
    prices = Prices(np.zeros((last - first, height)), np.zeros((last - first, width)))
    block.write(first, last, mask, prices)
    proofs = prove(np, chunk, mask, prices)
    block.record(first, last, proofs.objective, proofs.bound)
    objective, bound = math.fsum(proofs.objective.tolist()), upper_sum(proofs.bound.tolist())
    return Report(objective, bound, {"unreached": last - first}, open=last - first)


def _leftmost(block: HostBlock, first: int, last: int) -> Report:
    """Keep the leftmost columns of V:N:M tiles; no row can keep more than its largest entries."""
    scores = block.chunk(first, last).scores
    (least, most), width = block.row_bounds, scores.shape[2]
    mask = np.broadcast_to(np.arange(width) < most, scores.shape)
    largest = np.sort(scores, axis=2)[:, :, max(width - most, 0) :]
    if not least:
        largest = np.maximum(largest, 0.0)
    objective = np.where(mask, scores, 0.0).sum(axis=(1, 2))
    allowance = 2.0**-52 * math.prod(scores.shape[1:]) * np.abs(largest).sum(axis=(1, 2))
    bound = np.maximum(largest.sum(axis=(1, 2)) + allowance, objective)
    block.write(first, last, mask, None)
    block.record(first, last, objective, bound)
    sums = math.fsum(objective.tolist()), upper_sum(bound.tolist())
    return Report(*sums, {"unreached": last - first}, open=last - first)
