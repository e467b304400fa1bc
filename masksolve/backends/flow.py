"""Tiles as minimum-cost flows: what the network-flow backends share.

A unit of flow from row i to column j keeps entry (i, j). A row that keeps between lo and hi
entries supplies lo units itself and draws up to hi - lo more from a *hub*; a column likewise
demands lo and passes up to hi - lo on to the hub. So no arc has a lower bound, and the hub closes
the balance. A forced entry is a unit that is placed beforehand: its arc has capacity 0 and its
row and column have one unit less to give and to take.

Costs are integers: each tile's scores are multiplied by the power of two that brings its largest
magnitude just under 2**bits, and rounded to the nearest integer, which errs by half a unit,
``unit = 2**(e - bits)`` with ``largest < 2**e <= 2 * largest``, per entry at most. Two masks of at
most K entries differ in at most 2 K entries, hence **the mask found keeps at most K * unit, or
K * 2**(1 - bits) * largest, less than the optimum of its tile**. Scores whose binary digits all
lie within ``bits`` places of the tile's largest (integers below 2**bits, say) are not rounded.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..layout import Chunk
from ..types import BoolArray, Bounds

IntArray = npt.NDArray[np.int64]


class Network(NamedTuple):
    """One network a tile, all of the same layout.

    Nodes are the r rows, the c columns and the hub; arcs are the r * c entries in row-major order,
    then hub to rows, then columns to hub.

    Attributes
    ----------
    tails, heads : ndarray of int64, shape (arcs,)
    capacities, costs : ndarray of int64, shape (tiles, arcs)
        A negative capacity means that the forced choices cannot be met.
    supplies : ndarray of int64, shape (tiles, nodes)
        Negative: demands.
    """

    tails: IntArray
    heads: IntArray
    capacities: IntArray
    costs: IntArray
    supplies: IntArray


def build(chunk: Chunk, bits: int) -> Network:
    """Build the networks of a chunk's tiles, with costs of at most 2**``bits`` (``bits`` <= 62)."""
    tiles, height, width = chunk.scores.shape
    hub = height + width
    rows, columns = np.divmod(np.arange(height * width), width)
    supply, supply_slack = _units(chunk.keep, 2, chunk.row_bounds, (tiles, height))
    demand, demand_slack = _units(chunk.keep, 1, chunk.column_bounds, (tiles, width))
    hub_supply = demand.sum(axis=1, keepdims=True) - supply.sum(axis=1, keepdims=True)
    slack_costs = np.zeros((tiles, hub), np.int64)
    return Network(
        tails=np.concatenate([rows, np.full(height, hub), np.arange(height, hub)]),
        heads=np.concatenate([height + columns, np.arange(height), np.full(width, hub)]),
        capacities=np.hstack([free(chunk).reshape(tiles, -1).astype(np.int64), supply_slack, demand_slack]),
        costs=np.hstack([-integers(chunk.scores, bits).reshape(tiles, -1), slack_costs]),
        supplies=np.hstack([supply, -demand, hub_supply]),
    )


def integers(scores: npt.NDArray[np.float64], bits: int) -> IntArray:
    """Scores (tiles, r, c) scaled tile by tile to integers of magnitude at most 2**``bits``."""
    largest = np.abs(scores).max(axis=(1, 2), keepdims=True)
    _, exponent = np.frexp(largest)
    rounded: npt.NDArray[np.float64] = np.rint(np.ldexp(scores, bits - exponent))
    return rounded.astype(np.int64)


def free(chunk: Chunk) -> BoolArray:
    """Mark the entries (tiles, r, c) that are neither forced nor forbidden."""
    entries = np.ones(chunk.scores.shape, dtype=np.bool_)
    for forced in (chunk.keep, chunk.drop):
        if forced is not None:
            entries &= ~forced
    return entries


def masks(chunk: Chunk, flows: IntArray) -> BoolArray:
    """Read the masks (tiles, r, c) off the flows (tiles, arcs)."""
    shape = chunk.scores.shape
    kept = flows[:, : shape[1] * shape[2]].reshape(shape) > 0
    return kept if chunk.keep is None else kept | chunk.keep


def _units(
    keep: BoolArray | None, axis: int, bounds: Bounds, shape: tuple[int, int]
) -> tuple[IntArray, IntArray]:
    """Units that each line must still place, and how many more it may."""
    placed = np.zeros(shape, np.int64) if keep is None else keep.sum(axis=axis, dtype=np.int64)
    least, most = bounds
    due = np.maximum(least - placed, 0)
    return due, most - placed - due
