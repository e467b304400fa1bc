"""OR-tools' minimum-cost flow (cost-scaling push-relabel)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..problem import BoolArray
from ..tiles import Chunk
from . import flow
from .base import ChunkBackend
from .feasibility import failure


@dataclass(frozen=True)
class Ortools(ChunkBackend):
    """`SimpleMinCostFlow` on the tiles' networks, one or many in a graph.

    Costs are 64-bit integers. The solver multiplies them by the number of nodes in the graph, and
    its potentials may grow by another factor of the nodes that hang together, so the bits left for
    a score are 59 less the binary digits of both counts: 49 for one 8-by-8 tile, 43 with 64 of
    them in a graph, never less than 39 at the default batch or 35 at any. ``flow`` states what rounding can
    cost: at most K * 2**(1 - bits) * (largest magnitude) of a tile that keeps K entries.

    Parameters
    ----------
    batch : int
        Tiles in a graph, at most: 1 makes one call a tile; more spare overhead for some precision.
        A graph never holds more tiles than a chunk does (65536 entries).

    References
    ----------
    Goldberg. An efficient implementation of a scaling minimum-cost flow algorithm. Journal of
    Algorithms 22, 1997.
    """

    batch: int = 64

    name: ClassVar[str] = "ortools"
    exact: ClassVar[bool] = True
    guarantee: ClassVar[str] = "optimal for scores rounded to integers of 35 bits or more"
    requires: ClassVar[str] = "ortools"
    extra: ClassVar[str] = "ortools"

    def __post_init__(self) -> None:
        if isinstance(self.batch, bool) or not isinstance(self.batch, int):
            raise TypeError(f"batch must be an integer (tiles in a graph), got {self.batch!r}")
        if self.batch < 1:
            raise ValueError(f"batch must be at least 1 (tiles in a graph), got {self.batch}")

    def solve_chunk(self, chunk: Chunk) -> BoolArray:
        """Optimal masks for the rounded scores; InfeasibleError if forced choices leave none."""
        tiles, height, width = chunk.scores.shape
        batch = min(self.batch, tiles)
        network = flow.build(chunk, _bits(height + width + 1, batch))
        if (network.capacities < 0).any():
            raise failure(self.name, chunk, "a capacity is negative")
        flows = np.zeros_like(network.capacities)
        for first in range(0, tiles, batch):
            part = slice(first, first + batch)
            status = _solve(network, part, flows)
            if status != "OPTIMAL":
                raise failure(self.name, chunk, f"SimpleMinCostFlow ended with status {status}")
        return flow.masks(chunk, flows)


def _bits(nodes: int, batch: int) -> int:
    """Bits of a cost such that neither scaled costs nor potentials overflow."""
    return 59 - nodes.bit_length() - (nodes * batch).bit_length()


def _solve(network: flow.Network, part: slice, flows: flow.IntArray) -> str:
    """Solve some of the tiles in one graph, write their flows, and name the status."""
    from ortools.graph.python.min_cost_flow import SimpleMinCostFlow

    supplies = network.supplies[part]
    tiles, nodes = supplies.shape
    first_node = nodes * np.arange(tiles)[:, np.newaxis]
    used = network.capacities[part] > 0
    graph = SimpleMinCostFlow()
    arcs = graph.add_arcs_with_capacity_and_unit_cost(
        (first_node + network.tails)[used],
        (first_node + network.heads)[used],
        network.capacities[part][used],
        network.costs[part][used],
    )
    graph.set_nodes_supplies(np.arange(supplies.size), supplies.ravel())
    status = graph.solve()
    if status == SimpleMinCostFlow.Status.OPTIMAL:
        flows[part][used] = graph.flows(arcs)
    return str(status.name)
