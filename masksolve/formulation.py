"""The optimisation problem as an object, for those who study it or bring a solver of their own.

Everything is about one vector: variable ``x[k]`` is the k-th entry of the array in row-major order, 1 if it
is kept. Lines are the rows and columns of the tiles (for one-directional patterns the groups), tile by tile.
The linear programme has integral vertices (its matrix is the incidence matrix of a bipartite graph, hence
totally unimodular), so a vertex solution of the relaxation is a mask.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from . import checks
from .errors import BackendUnavailableError
from .layout.host import cut_tiles, worth
from .pattern import Pattern
from .problem import MaskProblem
from .tiling import Tiling
from .types import BoolArray, Float64Array, Score

IntArray = npt.NDArray[np.int64]

_MOST_BITS = 52


class LinearProgramme(NamedTuple):
    """Minimise ``costs @ x`` with ``least <= matrix @ x <= most`` and ``lower <= x <= upper``.

    Attributes
    ----------
    costs : ndarray of float64, shape (entries,)
        Minus the scores: solvers minimise.
    matrix : scipy.sparse.csr_array, shape (lines, entries)
        1 where an entry is in a line.
    least, most : ndarray of float64, shape (lines,)
        How many entries a line keeps; equal for ``constraint="exact"``.
    lower, upper : ndarray of float64, shape (entries,)
        0 and 1; forced entries have both 1, forbidden ones both 0, and so on.
    """

    costs: Float64Array
    matrix: Any
    least: Float64Array
    most: Float64Array
    lower: Float64Array
    upper: Float64Array


@dataclass(frozen=True, eq=False)
class FlowNetwork:
    """A minimum-cost flow problem; no arc has a lower bound, and supplies add up to 0.

    Nodes are the lines of the linear programme, then the *hub*. Arcs are the entries that may be kept or
    dropped, from their row to their column, then those between the hub and lines that have a choice: a line
    that keeps between lo and hi entries supplies (or demands) lo units itself and exchanges up to hi - lo
    more with the hub. A forced entry is no arc: its unit is placed beforehand.

    Attributes
    ----------
    tails, heads : ndarray of int64, shape (arcs,)
    capacities : ndarray of int64, shape (arcs,)
    costs : ndarray of int64 or float64, shape (arcs,)
        Minus the scores, times ``scale``.
    supplies : ndarray of int64, shape (nodes,)
        Units that enter at a node; negative: leave.
    scale : float
        A power of two; costs are integers if the scores are, or if bits were asked for.
    entries : ndarray of int64
        Which entry each of the first arcs is.
    forced : ndarray of bool, shape of the array
        Entries that are kept without an arc.
    """

    tails: IntArray
    heads: IntArray
    capacities: IntArray
    costs: npt.NDArray[Any]
    supplies: IntArray
    scale: float
    entries: IntArray
    forced: BoolArray

    def mask(self, flows: npt.ArrayLike | Mapping[int, Any]) -> BoolArray:
        """Read the mask off a flow, arc by arc, or in the nested dictionaries that networkx returns."""
        if isinstance(flows, Mapping):
            ends = enumerate(zip(self.tails.tolist(), self.heads.tolist(), strict=True))
            flows = [flows[tail][head][arc] for arc, (tail, head) in ends]
        flow = np.asarray(flows)
        if flow.shape != self.tails.shape:
            raise ValueError(f"flows must have one number an arc, {self.tails.shape}, got {flow.shape}")
        mask = self.forced.copy()
        mask.reshape(-1)[self.entries[flow[: len(self.entries)] > 0]] = True
        return mask

    def networkx(self) -> Any:
        """Make a ``networkx.MultiDiGraph``, for ``networkx.network_simplex``, which minimises cost.

        Nodes have ``demand`` (minus the supply), arcs ``capacity`` and ``weight``, and their number as a
        key. Ask `Formulation.network` for ``bits``: float weights are unsafe there.
        """
        try:
            import networkx as nx
        except ImportError as error:
            raise BackendUnavailableError.needing("networkx()", "networkx", "networkx") from error
        graph = nx.MultiDiGraph()
        graph.add_nodes_from(
            (node, {"demand": -supply}) for node, supply in enumerate(self.supplies.tolist())
        )
        graph.add_edges_from(
            (tail, head, arc, {"capacity": capacity, "weight": cost})
            for arc, (tail, head, capacity, cost) in enumerate(self._arcs())
        )
        return graph

    def dimacs(self) -> str:
        """Write the network as text in the DIMACS format for minimum-cost flow (nodes count from 1)."""
        lines = [f"p min {len(self.supplies)} {len(self.tails)}"]
        lines += [f"n {node} {supply}" for node, supply in enumerate(self.supplies.tolist(), 1) if supply]
        lines += [
            f"a {tail + 1} {head + 1} 0 {capacity} {cost}" for tail, head, capacity, cost in self._arcs()
        ]
        return "\n".join(lines) + "\n"

    def _arcs(self) -> Iterator[tuple[Any, ...]]:
        return zip(
            *(part.tolist() for part in (self.tails, self.heads, self.capacities, self.costs)), strict=True
        )


@dataclass(frozen=True, eq=False)
class Formulation:
    """What `formulation` returns: the problem, to be had in several forms.

    Attributes
    ----------
    scores : ndarray of float64
        What each entry is worth, in the shape of the array.
    pattern : Pattern
    line : ndarray of int64, shape (2, entries) or (1, entries)
        The row line and the column line of each entry, or its group; -1 in tails, which are kept whole.
    least, most : ndarray of int64, shape (lines,)
    keep, drop : ndarray of bool or None
        Forced choices; tails are in ``keep``.
    """

    scores: Float64Array
    pattern: Pattern
    line: IntArray
    least: IntArray
    most: IntArray
    keep: BoolArray
    drop: BoolArray

    def lp(self) -> LinearProgramme:
        """Give the linear programme; needs SciPy.

        Examples
        --------
        >>> from scipy.optimize import linprog
        >>> import numpy as np, masksolve as ms
        >>> scores = np.array([[3., 1.], [2., 5.]])
        >>> lp = ms.formulation(scores, "1:2-T").lp()
        >>> x = linprog(lp.costs, A_eq=lp.matrix, b_eq=lp.most, bounds=np.stack([lp.lower, lp.upper], 1)).x
        >>> x.reshape(2, 2) > 0.5
        array([[ True, False],
               [False,  True]])
        """
        try:
            from scipy import sparse
        except ImportError as error:
            raise BackendUnavailableError.needing("lp()", "SciPy", "highs") from error
        side, entry = np.nonzero(self.line >= 0)
        shape = (len(self.least), self.scores.size)
        matrix = sparse.csr_array((np.ones(len(side)), (self.line[side, entry], entry)), shape=shape)
        return LinearProgramme(
            costs=-self.scores.reshape(-1),
            matrix=matrix,
            least=self.least.astype(np.float64),
            most=self.most.astype(np.float64),
            lower=self.keep.reshape(-1).astype(np.float64),
            upper=(~self.drop).reshape(-1).astype(np.float64),
        )

    def network(self, bits: int | None = None) -> FlowNetwork:
        """Give the flow network, in arrays.

        Parameters
        ----------
        bits : int or None
            Round costs to integers of so many bits (1 to 52), as most flow solvers need; scores are scaled by
            a power of two for it. An optimum of the rounded costs keeps at most K * 2**(1 - bits) times the
            largest score less than the true one, where masks keep K entries. None: costs are floats.
        """
        scale, costs = 1.0, -self.scores.reshape(-1)
        if bits is not None:
            checks.integer("bits", bits, least=1, most=_MOST_BITS)
            scale = float(np.ldexp(1.0, bits - int(np.frexp(np.abs(costs).max(initial=0.0))[1])))
            costs = np.rint(costs * scale).astype(np.int64)
        hub, is_row = len(self.least), self._is_row()
        entries = np.flatnonzero(~(self.keep | self.drop))
        placed = np.zeros(hub, np.int64)
        for side in self.line:
            np.add.at(placed, side[self.keep.reshape(-1) & (side >= 0)], 1)
        due = np.maximum(self.least - placed, 0)
        spare = self.most - placed - due
        if (spare < 0).any():
            raise ValueError("keep must leave every line a choice; a line keeps more than it may")
        free = np.flatnonzero(spare)
        ends = self.line if len(self.line) == 2 else np.stack([self.line[0], np.full_like(self.line[0], hub)])
        supplies = np.where(is_row, due, -due)
        return FlowNetwork(
            tails=np.concatenate([ends[0, entries], np.where(is_row[free], hub, free)]),
            heads=np.concatenate([ends[1, entries], np.where(is_row[free], free, hub)]),
            capacities=np.concatenate([np.ones(len(entries), np.int64), spare[free]]),
            costs=np.concatenate([costs[entries], np.zeros(len(free), costs.dtype)]),
            supplies=np.append(supplies, -supplies.sum()),
            scale=scale,
            entries=entries,
            forced=self.keep,
        )

    def mps(self) -> str:
        """Write the linear programme as free MPS text, to be minimised: ``x0``, ``x1``, ... in ``L0``, ...

        Numbers are written so that they are read back exactly.
        """
        kinds = np.where(self.least == self.most, "E", "L")
        ranges = np.flatnonzero((self.least < self.most) & (self.least > 0))
        text = ["NAME masksolve", "ROWS", " N kept"]
        text += [f" {kind} L{line}" for line, kind in enumerate(kinds)]
        text += ["COLUMNS"]
        for entry, (score, lines) in enumerate(
            zip(self.scores.reshape(-1).tolist(), self.line.T.tolist(), strict=True)
        ):
            text += [f" x{entry} kept {-score!r}", *(f" x{entry} L{line} 1" for line in lines if line >= 0)]
        text += ["RHS", *(f" rhs L{line} {most}" for line, most in enumerate(self.most.tolist()) if most)]
        if len(ranges):
            text += ["RANGES", *(f" range L{line} {self.most[line] - self.least[line]}" for line in ranges)]
        text += ["BOUNDS"]
        for entry, (keep, drop) in enumerate(zip(self.keep.flat, self.drop.flat, strict=True)):
            text.append(f" FX bound x{entry} {int(keep)}" if keep or drop else f" UP bound x{entry} 1")
        return "\n".join([*text, "ENDATA"]) + "\n"

    def mask(self, x: npt.ArrayLike) -> BoolArray:
        """Read the mask off a vertex solution of the linear programme (entries above 0.5 are kept)."""
        values = np.asarray(x, dtype=np.float64)
        if values.size != self.scores.size:
            raise ValueError(f"x must have {self.scores.size} entries, got {values.size}")
        return values.reshape(self.scores.shape) > 0.5

    def _is_row(self) -> BoolArray:
        """Mark the lines that units leave: rows of tiles, and groups."""
        rows = np.zeros(len(self.least), np.bool_)
        rows[self.line[0][self.line[0] >= 0]] = True
        return rows

    def __repr__(self) -> str:
        return (
            f"Formulation('{self.pattern}', shape={self.scores.shape}, variables={self.scores.size}, "
            f"lines={len(self.least)})"
        )


def formulation(
    scores: npt.ArrayLike,
    pattern: Pattern | str | tuple[int, int],
    *,
    keep: npt.ArrayLike | None = None,
    drop: npt.ArrayLike | None = None,
    score: Score = "value",
) -> Formulation:
    """Write down the optimisation problem that `solve` solves.

    Parameters
    ----------
    scores, pattern, keep, drop, score
        As for `masksolve.solve`.

    Returns
    -------
    Formulation
        ``lp()``: sparse matrix and bounds. ``network(bits=...)``: minimum-cost flow in arrays, with
        ``networkx()`` and ``dimacs()``. ``mps()``: text for any LP solver. ``mask(x)``: back again.

    Raises
    ------
    TypeError, ValueError
        As `masksolve.solve`.

    References
    ----------
    Hubara et al. 2021, section 4. The DIMACS format: First DIMACS International Algorithm Implementation
    Challenge, 1991.

    Examples
    --------
    >>> import numpy as np, masksolve as ms
    >>> problem = ms.formulation(np.array([[3, 1], [2, 5]]), "1:2-T")
    >>> problem
    Formulation('1:2-T', shape=(2, 2), variables=4, lines=4)
    >>> print(problem.network(bits=3).dimacs(), end="")
    p min 5 4
    n 1 1
    n 2 1
    n 3 -1
    n 4 -1
    a 1 3 0 1 -3
    a 1 4 0 1 -1
    a 2 3 0 1 -2
    a 2 4 0 1 -5
    """
    problem = MaskProblem.of(scores, pattern, keep, drop, score=score).read()
    if problem.entries is not None:
        raise ValueError(
            f"pattern must not be one of pairs, which are no flow network, got '{problem.asked.pattern}'; "
            f"formulate '{problem.pattern}' on sums of pairs"
        )
    if problem.pattern.vector is not None:
        raise ValueError(f"pattern must be a flow network, which V:N:M is not, got '{problem.pattern}'")
    values = worth(np.array(problem.scores, dtype=np.float64), problem.score)
    line, least, most = _lines(problem.tiling)
    kept = np.zeros(values.shape, np.bool_) if problem.keep is None else problem.keep.copy()
    dropped = np.zeros(values.shape, np.bool_) if problem.drop is None else problem.drop.copy()
    kept.reshape(-1)[line[0] < 0] = True
    return Formulation(values, problem.pattern, line, least, most, kept, dropped)


def _lines(tiling: Tiling) -> tuple[IntArray, IntArray, IntArray]:
    """Lines of every entry, and how many entries each line keeps at least and at most."""
    pattern, places = tiling.pattern, np.arange(int(np.prod(tiling.shape, dtype=np.int64)))
    places = places.reshape(tiling.shape)
    sides = 2 if pattern.transposable else 1
    line = np.full((sides, places.size), -1, np.int64)
    least: list[IntArray] = []
    most: list[IntArray] = []
    lines = 0
    for cut in tiling.numbered_cuts:
        tiles, region = cut_tiles(tiling, places, cut), cut.region
        *grid, height, width = tiles.shape
        count = int(np.prod(grid, dtype=np.int64))
        if not count:
            continue
        first = lines + np.arange(count).reshape(*grid, 1, 1) * (height + width if sides == 2 else 1)
        line[0][tiles] = first + np.arange(height)[:, np.newaxis]
        bounds = [region.row_bounds] * height
        if sides == 2:
            line[1][tiles] = first + height + np.arange(width)
            bounds += [region.column_bounds] * width
        low, high = np.tile(np.array(bounds, np.int64), (count, 1)).T
        least.append(low)
        most.append(high)
        lines += len(low)
    nothing = np.zeros(0, np.int64)
    return line, np.concatenate([nothing, *least]), np.concatenate([nothing, *most])
