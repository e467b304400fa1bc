"""OR-tools: minimum-cost flow (cost-scaling push-relabel), or the integer programme by CP-SAT."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..checks import choice
from ..layout import Chunk
from ..types import BoolArray
from . import flow
from .base import ChunkBackend
from .feasibility import failure

_PROGRAMME_BITS = 48


@dataclass(frozen=True)
class Ortools(ChunkBackend):
    """`SimpleMinCostFlow` on the tiles' networks (``"flow"``), or CP-SAT tile by tile (``"cp_sat"``).

    Costs are 64-bit integers. The flow solver multiplies them by the number of nodes in the graph, and
    its potentials may grow by another factor of the nodes that hang together, so the bits left for
    a score are 59 less the binary digits of both counts: 49 for one 8-by-8 tile, 43 with 64 of
    them in a graph, never less than 39 at the default batch or 35 at any. ``flow`` states what rounding can
    cost: at most K * 2**(1 - bits) * (largest magnitude) of a tile that keeps K entries.

    CP-SAT has no use for the network structure: it is given the integer programme, one binary
    variable an entry, with scores of 48 bits, so that sums of 64-by-64 tiles fit 64 bits. One worker
    and a fixed seed make it repeatable; it proves optimality before it stops. Far slower than the
    flow, and an opinion of its own.

    Parameters
    ----------
    method : {"flow", "cp_sat"}
    batch : int
        Tiles in a graph of ``"flow"``, at most: 1 makes one call a tile; more spare overhead for some
        precision. A graph never holds more tiles than a chunk does (65536 entries).

    References
    ----------
    Goldberg. An efficient implementation of a scaling minimum-cost flow algorithm. Journal of
    Algorithms 22, 1997.
    """

    method: str = "flow"
    batch: int = 64

    name: ClassVar[str] = "ortools"
    exact: ClassVar[bool] = True
    guarantee: ClassVar[str] = "optimal for scores rounded to integers of 35 bits or more"
    requires: ClassVar[str] = "ortools"
    extra: ClassVar[str] = "ortools"

    def __post_init__(self) -> None:
        choice("method", self.method, ("flow", "cp_sat"))
        if self.method == "cp_sat":  # milliseconds a tile: look at the clock more often
            object.__setattr__(self, "chunk_entries", 1 << 12)
        if isinstance(self.batch, bool) or not isinstance(self.batch, int):
            raise TypeError(f"batch must be an integer (tiles in a graph), got {self.batch!r}")
        if self.batch < 1:
            raise ValueError(f"batch must be at least 1 (tiles in a graph), got {self.batch}")

    def solve_chunk(self, chunk: Chunk) -> BoolArray:
        """Optimal masks for the rounded scores; InfeasibleError if forced choices leave none."""
        return self._flow(chunk) if self.method == "flow" else self._integer(chunk)

    def _flow(self, chunk: Chunk) -> BoolArray:
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

    def _integer(self, chunk: Chunk) -> BoolArray:
        lower = np.zeros_like(chunk.scores, dtype=np.bool_) if chunk.keep is None else chunk.keep
        upper = np.ones_like(lower) if chunk.drop is None else ~chunk.drop
        worth = flow.integers(chunk.scores, _PROGRAMME_BITS)
        masks = np.empty_like(lower)
        for tile in range(len(masks)):
            status = _programme(chunk, worth[tile], lower[tile], upper[tile], masks[tile])
            if status != "OPTIMAL":
                raise failure(self.name, chunk, f"CP-SAT ended with status {status}")
        return masks


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


def _programme(
    chunk: Chunk, worth: flow.IntArray, lower: BoolArray, upper: BoolArray, mask: BoolArray
) -> str:
    """Solve the integer programme of one tile, write its mask, and name the status."""
    from ortools.sat.python.cp_model import CpModel, CpSolver, LinearExpr

    model = CpModel()
    entries = np.empty(worth.shape, dtype=object)
    for place in np.ndindex(worth.shape):
        entries[place] = model.new_int_var(int(lower[place]), int(upper[place]), "")
    for lines, bounds in ((entries, chunk.row_bounds), (entries.T, chunk.column_bounds)):
        for line in lines.tolist():
            model.add_linear_constraint(LinearExpr.sum(line), *bounds)
    model.maximize(LinearExpr.weighted_sum(entries.ravel().tolist(), worth.ravel().tolist()))
    solver = CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = 0
    solver.parameters.absolute_gap_limit = 0.0  # the default would do for integers; this says so
    solver.parameters.catch_sigint_signal = False  # it would leave Ctrl-C to kill the process ever after
    status = solver.status_name(solver.solve(model))
    if status == "OPTIMAL":
        mask[...] = [[solver.value(entry) for entry in line] for line in entries.tolist()]
    return str(status)
