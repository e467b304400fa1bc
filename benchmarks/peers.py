"""Other ways to find the masks, each written straight against its library, as a user would.

Every function takes a score matrix (R, C) whose sides m divides and returns a boolean mask; cutting
into tiles, building the model, scaling costs, solving and gluing together are all inside the call.
What depends on n and m alone (a graph's arcs, the 90 patterns) is built once and kept.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]
Solve = Callable[[Array, int, int], Mask]

_COST_STEPS = 1 << 24
_GRAPH_TILES = 512  # from here on down are the sizes that were found to serve each peer best
_PRODUCT_TILES = 1 << 12
_LP_ENTRIES = 1 << 12


@dataclass(frozen=True)
class Peer:
    """A way to find transposable masks (or one-directional ones along the last axis).

    Attributes
    ----------
    name : str
    module : str
        What must be importable.
    solve : callable
        ``solve(scores, n, m)``.
    exact : bool
        Whether it finds optima (up to the rounding of scores to integer costs).
    transposable : bool
    patterns : tuple of (int, int)
        The (n, m) it can do; empty: all.
    """

    name: str
    module: str
    solve: Solve
    exact: bool
    transposable: bool = True
    patterns: tuple[tuple[int, int], ...] = ()


def cut(scores: Array, m: int) -> Array:
    """Tiles (T, m, m) of a matrix, row-major, copied."""
    rows, columns = scores.shape
    return scores.reshape(rows // m, m, columns // m, m).swapaxes(1, 2).reshape(-1, m, m)


def glue(tiles: Mask, shape: tuple[int, ...], m: int) -> Mask:
    """The matrix of `cut`'s tiles."""
    rows, columns = shape
    return tiles.reshape(rows // m, columns // m, m, m).swapaxes(1, 2).reshape(rows, columns)


def integer_costs(tiles: Array) -> npt.NDArray[np.int64]:
    """Negated scores as integers, the largest at 2**24: what a network-flow code wants."""
    largest = float(np.abs(tiles).max())
    return np.rint(tiles.astype(np.float64) * (-_COST_STEPS / (largest or 1.0))).astype(np.int64)


# Min-cost flow with OR-tools


@functools.cache
def _arcs(m: int, tiles: int) -> tuple[Array, Array, Array, Array]:
    """Tails, heads, capacities and nodes of ``tiles`` bipartite graphs of m rows and m columns."""
    first = 2 * m * np.arange(tiles, dtype=np.int32)[:, None, None]
    row, column = np.ogrid[:m, m : 2 * m]
    tails, heads = np.broadcast_arrays(first + row, first + column)
    return (
        tails.astype(np.int32).ravel(),
        heads.astype(np.int32).ravel(),
        np.ones(tails.size, np.int64),
        np.arange(2 * m * tiles, dtype=np.int32),
    )


def _flow(costs: Array, n: int, m: int) -> Mask:
    """Solve tiles (T, m, m) of integer costs in one graph."""
    from ortools.graph.python.min_cost_flow import SimpleMinCostFlow

    tails, heads, capacities, nodes = _arcs(m, len(costs))
    graph = SimpleMinCostFlow()
    arcs = graph.add_arcs_with_capacity_and_unit_cost(tails, heads, capacities, costs.ravel())
    graph.set_nodes_supplies(nodes, np.tile(np.repeat([n, -n], m), len(costs)))
    if graph.solve() != graph.OPTIMAL:
        raise RuntimeError("OR-tools found no optimal flow")
    return np.asarray(graph.flows(arcs), dtype=np.bool_).reshape(costs.shape)


def ortools_each(scores: Array, n: int, m: int) -> Mask:
    """One min-cost flow a tile."""
    costs = integer_costs(cut(scores, m))
    masks = np.concatenate([_flow(costs[t : t + 1], n, m) for t in range(len(costs))])
    return glue(masks, scores.shape, m)


def ortools_joint(scores: Array, n: int, m: int) -> Mask:
    """Up to 512 tiles in one graph."""
    costs = integer_costs(cut(scores, m))
    parts = [_flow(costs[t : t + _GRAPH_TILES], n, m) for t in range(0, len(costs), _GRAPH_TILES)]
    return glue(np.concatenate(parts), scores.shape, m)


# Linear programme with SciPy's HiGHS


@functools.cache
def _sums(m: int, tiles: int) -> Any:
    """Sparse matrix that takes tiles' entries to all row and column sums."""
    from scipy import sparse

    ones, eye = np.ones((1, m)), sparse.eye_array(m)
    return sparse.block_diag([sparse.vstack([sparse.kron(eye, ones), sparse.kron(ones, eye)])] * tiles, "csc")


def highs(scores: Array, n: int, m: int) -> Mask:
    """Linear programmes of several tiles each, which shares out the cost of a call."""
    from scipy.optimize import linprog

    tiles = cut(scores, m).astype(np.float64)
    step = max(1, _LP_ENTRIES // m**2)
    masks = []
    for first in range(0, len(tiles), step):
        costs = -tiles[first : first + step].ravel()
        sums = _sums(m, costs.size // m**2)
        answer = linprog(costs, A_eq=sums, b_eq=np.full(sums.shape[0], n), bounds=(0, 1), method="highs")
        if answer.status != 0:
            raise RuntimeError(f"HiGHS: {answer.message}")
        masks.append(answer.x.reshape(-1, m, m) > 0.5)
    return glue(np.concatenate(masks), scores.shape, m)


# Network simplex with networkx


def networkx_simplex(scores: Array, n: int, m: int) -> Mask:
    """One network simplex a tile."""
    import networkx as nx

    costs = integer_costs(cut(scores, m))
    masks = np.zeros(costs.shape, np.bool_)
    for tile, mask in zip(costs.tolist(), masks, strict=True):
        graph = nx.DiGraph()
        graph.add_nodes_from(range(m), demand=-n)
        graph.add_nodes_from(range(m, 2 * m), demand=n)
        graph.add_edges_from(
            (i, m + j, {"weight": tile[i][j], "capacity": 1}) for i in range(m) for j in range(m)
        )
        _, flow = nx.network_simplex(graph)
        for i in range(m):
            for j in range(m):
                mask[i, j] = flow[i][m + j]
    return glue(masks, scores.shape, m)


# Matrix product with every pattern


@functools.cache
def _all_patterns(n: int, m: int) -> Mask:
    """All m x m masks with n in each row and column: 90 for 2:4."""
    lines = [np.isin(np.arange(m), kept) for kept in itertools.combinations(range(m), n)]
    masks = np.array(list(itertools.product(lines, repeat=m)))
    return masks[(masks.sum(axis=1) == n).all(axis=1)]


def pattern_product(scores: Array, n: int, m: int) -> Mask:
    """Score all patterns of a tile by a matrix product and take the best."""
    patterns = _all_patterns(n, m)
    tiles = cut(scores, m).reshape(-1, m * m)
    table = patterns.reshape(-1, m * m).T.astype(np.result_type(tiles.dtype, np.float32))
    best = np.concatenate(
        [
            np.argmax(tiles[t : t + _PRODUCT_TILES].astype(table.dtype, copy=False) @ table, axis=1)
            for t in range(0, len(tiles), _PRODUCT_TILES)
        ]
    )
    return glue(patterns[best], scores.shape, m)


# Sorting with NumPy


def sorted_greedy(scores: Array, n: int, m: int) -> Mask:
    """Keep entries in descending order while row and column have room, all tiles at a time.

    Rows and columns may end with fewer than n.
    """
    tiles = cut(scores, m).reshape(-1, m * m)
    number = np.arange(len(tiles))
    order = np.argsort(-_signed(tiles), axis=1).T
    mask = np.zeros(tiles.shape, np.bool_)
    rows, columns = np.full((len(tiles), m), n, np.int8), np.full((len(tiles), m), n, np.int8)
    for entry in np.ascontiguousarray(order):
        i, j = np.divmod(entry, m)
        room = (rows[number, i] > 0) & (columns[number, j] > 0)
        mask[number, entry] = room
        rows[number, i] -= room
        columns[number, j] -= room
    return glue(mask, scores.shape, m)


def top_n(scores: Array, n: int, m: int) -> Mask:
    """One-directional: the n largest of each group by partial sorting."""
    groups = scores.reshape(-1, m)
    mask = np.zeros(groups.shape, np.bool_)
    if n == m:
        return ~mask.reshape(scores.shape)
    kept = np.argpartition(_signed(groups), m - n, axis=1)[:, m - n :]
    np.put_along_axis(mask, kept, True, axis=1)
    return mask.reshape(scores.shape)


def _signed(scores: Array) -> Array:
    """Scores that can be negated and sorted: small and unsigned types widened."""
    if scores.dtype.kind in "biu":
        return scores.astype(np.int64)
    return scores.astype(np.result_type(np.float32, scores.dtype), copy=False)


PEERS = (
    Peer("OR-tools flow, one call a tile", "ortools", ortools_each, exact=True),
    Peer("OR-tools flow, many tiles a graph", "ortools", ortools_joint, exact=True),
    Peer("HiGHS LP, many tiles a model", "scipy", highs, exact=True),
    Peer("networkx simplex, one call a tile", "networkx", networkx_simplex, exact=True),
    Peer("pattern product", "numpy", pattern_product, exact=True, patterns=((1, 4), (2, 4), (3, 4))),
    Peer("NumPy sorted greedy", "numpy", sorted_greedy, exact=False),
    Peer("NumPy partial sort", "numpy", top_n, exact=True, transposable=False),
)
