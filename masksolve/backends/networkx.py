"""NetworkX' network simplex: pure Python, slow, and an oracle that shares no code with the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..layout import Chunk
from ..types import BoolArray
from . import flow
from .base import ChunkBackend
from .feasibility import failure

_BITS = 61


@dataclass(frozen=True)
class Networkx(ChunkBackend):
    """`networkx.network_simplex` on one tile's network at a time.

    Float weights are unsafe there: a pivot is chosen by the sign of a reduced cost that is updated
    incrementally, so rounding makes it cycle, stop early, or call a feasible network infeasible.
    Scores are therefore scaled to integers of 61 bits, which Python adds without overflow;
    ``flow`` states what that rounding can cost: at most K * 2**-60 * (largest magnitude) of a tile
    that keeps K entries, which is below the rounding of a float64 sum.

    References
    ----------
    Király, Kovács. Efficient implementations of minimum-cost flow algorithms. Acta Universitatis
    Sapientiae, Informatica 4, 2012.
    """

    name: ClassVar[str] = "networkx"
    exact: ClassVar[bool] = True
    guarantee: ClassVar[str] = "optimal for scores rounded to integers of 61 bits"
    requires: ClassVar[str] = "networkx"
    extra: ClassVar[str] = "networkx"
    chunk_entries: ClassVar[int] = 1 << 12

    def solve_chunk(self, chunk: Chunk) -> BoolArray:
        """Optimal masks for the rounded scores; InfeasibleError if forced choices leave none."""
        import networkx as nx

        network = flow.build(chunk, _BITS)
        if (network.capacities < 0).any():
            raise failure(self.name, chunk, "a capacity is negative")
        flows = np.zeros_like(network.capacities)
        for tile in range(len(flows)):
            try:
                flows[tile] = _tile_flow(network, tile)
            except nx.NetworkXException as error:
                raise failure(self.name, chunk, f"network_simplex: {error}") from error
        return flow.masks(chunk, flows)


def _tile_flow(network: flow.Network, tile: int) -> list[int]:
    """Solve one tile; its flow, arc by arc."""
    import networkx as nx

    graph = nx.DiGraph()
    for node, supply in enumerate(network.supplies[tile].tolist()):
        graph.add_node(node, demand=-supply)
    tails, heads = network.tails.tolist(), network.heads.tolist()
    capacities, costs = network.capacities[tile].tolist(), network.costs[tile].tolist()
    for tail, head, capacity, cost in zip(tails, heads, capacities, costs, strict=True):
        graph.add_edge(tail, head, capacity=capacity, weight=cost)
    _, amounts = nx.network_simplex(graph)
    return [amounts[tail][head] for tail, head in zip(tails, heads, strict=True)]
