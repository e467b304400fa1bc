"""Draw the picture of docs/engine.md: `python docs/figures/draw_engine.py`.

The steps of the exact engine on one tile, written out in plain NumPy: prices from order statistics, a start
that is right for the rows, one shortest augmenting path, and the certificate.
"""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes

HERE = Path(__file__).parent
INK, GREY, SHADE, ADD, DROP = "#222222", "#8a8a8a", "#d5e6f5", "#1f6fb4", "#d62020"
N, ROUNDS = 2, 3
SCORES = np.random.default_rng(1980).integers(1, 20, (5, 5)).astype(float)

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Entry = tuple[int, int]


class Augmentation(NamedTuple):
    """Entries to drop and to add, alternating, and the prices that make them cost nothing."""

    entries: list[Entry]
    length: float
    u: Array
    v: Array


def price(rest: Array) -> Array:
    """Middle between the n-th and the (n+1)-th largest of every row."""
    ordered = -np.sort(-rest, axis=1)
    return 0.5 * (ordered[:, N - 1] + ordered[:, N])


def start(scores: Array) -> tuple[Array, Array, Mask]:
    """Prices after the warm start, and the n best of every row at these prices."""
    v = np.zeros(len(scores))
    u = price(scores - v)
    for _ in range(ROUNDS):
        v = price((scores - u[:, np.newaxis]).T)
        u = price(scores - v)
    return u, v, scores - v > u[:, np.newaxis]


def shortest_path(scores: Array, u: Array, v: Array, mask: Mask) -> Augmentation:
    """Dijkstra from the columns that hold too many to the nearest that holds too few."""
    m = len(scores)
    held = mask.sum(axis=0)
    reduced = np.abs(scores - u[:, np.newaxis] - v)
    distance = {("column", j): 0.0 if held[j] > N else math.inf for j in range(m)}
    distance |= {("row", i): math.inf for i in range(m)}
    parent: dict[tuple[str, int], int] = {}
    open_nodes = set(distance)
    while True:
        kind, here = near = min(open_nodes, key=lambda node: (distance[node], node))
        open_nodes.remove(near)
        if kind == "column" and held[here] < N:
            break
        for there in range(m):
            i, j = (there, here) if kind == "column" else (here, there)
            other = ("row", i) if kind == "column" else ("column", j)
            through = distance[near] + reduced[i, j]
            if mask[i, j] == (kind == "column") and through < distance[other]:
                distance[other], parent[other] = through, here
    length = distance[near]
    fall = {node: max(length - d, 0.0) for node, d in distance.items()}
    new_u = u - np.array([fall["row", i] for i in range(m)])
    new_v = v + np.array([fall["column", j] for j in range(m)])
    entries, j = [], here
    while ("column", j) in parent:
        i = parent["column", j]
        entries.append((i, j))
        j = parent["row", i]
        entries.append((i, j))
    return Augmentation(entries[::-1], length, new_u, new_v)


def bound(scores: Array, u: Array, v: Array) -> float:
    """Evaluate the dual bound, which no mask exceeds."""
    gains = np.maximum(scores - u[:, np.newaxis] - v, 0.0)
    return float(N * (u.sum() + v.sum()) + gains.sum())


def main() -> None:
    """Write engine.svg and engine.png, the same bytes every time."""
    mpl.rcParams.update({"svg.hashsalt": "masksolve", "font.size": 10, "axes.titlesize": 11})
    u, v, first = start(SCORES)
    path = shortest_path(SCORES, u, v, first)
    final = first.copy()
    for entry in path.entries:
        final[entry] ^= True
    kept = SCORES[final].sum()
    if not ((final.sum(axis=0) == N).all() and math.isclose(kept, bound(SCORES, path.u, path.v))):
        raise RuntimeError("one path was not enough for this tile")

    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(13.5, 5.2))
    draw_tile(left, SCORES, first, u, v)
    left.set_title(f"1. prices; each row keeps its {N} best: {SCORES[first].sum():g}\nbut columns disagree")
    reduced = np.abs(SCORES - u[:, np.newaxis] - v)
    draw_tile(middle, reduced, first, u, v)
    draw_path(middle, path.entries)
    middle.set_title(f"2. reduced costs |s − u − v|, and the shortest path\nof length {path.length:.2f}")
    draw_tile(right, SCORES, final, path.u, path.v)
    proven = bound(SCORES, path.u, path.v)
    right.set_title(f"3. path flipped, prices moved: optimal\nkeeps {kept:g}, bound {proven:g}")
    for suffix, metadata in (("svg", {"Date": None}), ("png", {"Software": None})):
        figure.savefig(HERE / f"engine.{suffix}", bbox_inches="tight", dpi=110, metadata=metadata)


def draw_tile(axes: Axes, values: Array, mask: Mask, u: Array, v: Array) -> None:
    """Write a tile as a table, kept entries shaded; row prices left, column prices above, counts below."""
    size = len(values)
    for i, j in np.ndindex(values.shape):
        face = SHADE if mask[i, j] else "white"
        text = f"{values[i, j]:g}" if (values % 1 == 0).all() else f"{values[i, j]:.2f}"
        axes.add_patch(plt.Rectangle((j, i), 1, 1, facecolor=face, edgecolor=INK, linewidth=0.8))
        axes.text(j + 0.5, i + 0.5, text, ha="center", va="center", color=INK)
    for k in range(size):
        axes.text(-0.12, k + 0.5, f"$u_{k + 1}$ = {u[k]:.2f}", ha="right", va="center")
        axes.text(k + 0.5, -0.15, f"$v_{k + 1}$\n{v[k]:.2f}", ha="center", va="bottom")
        held = int(mask[:, k].sum())
        axes.text(
            k + 0.5, size + 0.32, f"{held}", ha="center", va="center", color=INK if held == N else DROP,
            fontweight="normal" if held == N else "bold",
        )  # fmt: skip
    axes.text(-0.12, size + 0.32, "kept in column", ha="right", va="center", color=GREY)
    axes.set_xlim(-1.7, size + 0.1)
    axes.set_ylim(size + 0.7, -1.0)
    axes.set_aspect("equal")
    axes.set_axis_off()


def draw_path(axes: Axes, entries: list[Entry]) -> None:
    """Frame the entries that are dropped and added, and join them in the path's order."""
    for step, (i, j) in enumerate(entries):
        color, word = (DROP, "drop") if step % 2 == 0 else (ADD, "add")
        axes.add_patch(
            plt.Rectangle((j + 0.05, i + 0.05), 0.9, 0.9, fill=False, edgecolor=color, linewidth=2)
        )
        axes.text(j + 0.5, i + 0.83, word, ha="center", va="center", color=color, fontsize=7)
    places = [np.array([j + 0.5, i + 0.5]) for i, j in entries]
    for tail, head in itertools.pairwise(places):
        bow = {"arrowstyle": "-|>", "color": INK, "linewidth": 1.4, "connectionstyle": "arc3,rad=-0.3"}
        unit = (head - tail) / np.linalg.norm(head - tail)
        across = 0.2 * np.array([unit[1], -unit[0]])
        axes.annotate("", xy=head - 0.24 * unit + across, xytext=tail + 0.24 * unit + across, arrowprops=bow)


if __name__ == "__main__":
    main()
