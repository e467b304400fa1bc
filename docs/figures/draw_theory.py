"""Draw the pictures of docs/theory.md: `python docs/figures/draw_theory.py`."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes

import masksolve as ms

HERE = Path(__file__).parent
INK, FAINT, KEPT, PRUNED, NEW = "#222222", "#c9c9c9", "#1f6fb4", "#c2562a", "#d62020"
RADIUS = 0.2

Place = tuple[int, int]


def main() -> None:
    """Write tile_graph.svg and figure_a1.svg, the same bytes every time."""
    mpl.rcParams.update({"svg.hashsalt": "masksolve", "font.size": 10, "axes.titlesize": 11})
    for name, figure in (("tile_graph", tile_graph()), ("figure_a1", figure_a1())):
        figure.savefig(HERE / f"{name}.svg", bbox_inches="tight", metadata={"Date": None})


def tile_graph() -> plt.Figure:
    """Draw a 4-by-4 tile, its optimal 2:4-T mask, and both as a flow from rows to columns."""
    scores = np.array([[7, 2, 5, 1], [3, 8, 2, 6], [6, 1, 9, 4], [2, 5, 3, 7]])
    mask = ms.solve(scores, "2:4-T").mask
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.8), width_ratios=[1, 1.9])
    draw_tile(left, scores, mask)
    left.set_title("tile; optimal 2:4-T mask shaded")

    rows, columns = nodes(1.6, 4), nodes(4.6, 4)
    source, sink = (0.0, 1.5), (6.2, 1.5)
    for i, j in np.ndindex(scores.shape):
        color, width, depth = (KEPT, 2.2, 2) if mask[i, j] else (FAINT, 0.8, 1)
        draw_edge(right, rows[i], columns[j], color=color, linewidth=width, zorder=depth)
    for row, column in zip(rows, columns, strict=True):
        draw_edge(right, source, row, color=INK, linewidth=1)
        draw_edge(right, column, sink, color=INK, linewidth=1)
    draw_nodes(right, rows, "u")
    draw_nodes(right, columns, "v")
    draw_node(right, source, "s")
    draw_node(right, sink, "t")
    for x, label in (
        (0.4, "capacity n = 2"), (3.1, "capacity 1, gain $s_{ij}$"), (5.8, "capacity n = 2")
    ):  # fmt: skip
        right.text(x, 3.75, label, ha="center", color=INK)
    right.set_title("the same as a flow of n·m = 8 units; used edges blue")
    frame(right, (-0.7, 6.9), (4.0, -0.6))
    return figure


def figure_a1() -> plt.Figure:
    """Draw Figure A.1 of the paper: the seven picks of Algorithm 1 for m = 4, and the optimum."""
    m = 4
    weights = np.full((m, m), 2)
    weights[0] = weights[: m - 1, 0] = 1
    np.fill_diagonal(weights, 1)
    pruned = ~ms.solve(weights, f"{m - 1}:{m}-T at_most", backend="cover").mask
    picks = sorted(map(tuple, np.argwhere(pruned).tolist()), key=lambda place: weights[place])
    diagonal = [(i, i) for i in range(m)]

    figure, panels = plt.subplots(3, 3, figsize=(9.5, 10))
    places = panels.ravel()
    draw_tile(places[0], weights, np.zeros((m, m), bool))
    places[0].set_title("weights")
    for step, (i, j) in enumerate(picks, start=1):
        draw_cover(places[step], m, picks[: step - 1], (i, j))
        total = f"; W(P) = {weights[pruned].sum()}" if step == len(picks) else ""
        places[step].set_title(f"pick {step}: $u_{i + 1} v_{j + 1}${total}")
    draw_cover(places[-1], m, diagonal, None)
    places[-1].set_title(f"lightest: W* = {np.trace(weights)}")
    return figure


def draw_tile(axes: Axes, values: npt.NDArray[np.int_], shaded: npt.NDArray[np.bool_]) -> None:
    """Write the entries of a tile as a table, some of them shaded."""
    size = len(values)
    for i, j in np.ndindex(values.shape):
        face = "#d5e6f5" if shaded[i, j] else "white"
        axes.add_patch(plt.Rectangle((j, i), 1, 1, facecolor=face, edgecolor=INK, linewidth=0.8))
        axes.text(j + 0.5, i + 0.5, str(values[i, j]), ha="center", va="center", color=INK)
    for i in range(size):
        axes.text(-0.35, i + 0.5, f"$u_{i + 1}$", ha="center", va="center")
        axes.text(i + 0.5, -0.3, f"$v_{i + 1}$", ha="center", va="center")
    frame(axes, (-0.7, size + 0.1), (size + 0.1, -0.6))


def draw_cover(axes: Axes, m: int, picked: list[Place], new: Place | None) -> None:
    """Show rows and columns as nodes, filled once covered; the new edge stands out."""
    rows, columns = nodes(0.0, m), nodes(2.4, m)
    for i, j in picked:
        draw_edge(axes, rows[i], columns[j], color=PRUNED, linewidth=1.6)
    every = [*picked]
    if new is not None:
        draw_edge(axes, rows[new[0]], columns[new[1]], color=NEW, linewidth=3)
        every.append(new)
    draw_nodes(axes, rows, "u", {i for i, _ in every})
    draw_nodes(axes, columns, "v", {j for _, j in every})
    frame(axes, (-0.5, 2.9), (m - 0.5, -0.5))


def nodes(x: float, count: int) -> list[tuple[float, float]]:
    """Lay out a column of nodes."""
    return [(x, float(y)) for y in range(count)]


def draw_nodes(
    axes: Axes, places: list[tuple[float, float]], letter: str, filled: set[int] | None = None
) -> None:
    """Draw nodes named letter_1, letter_2 ...; those in ``filled`` are shaded."""
    for index, place in enumerate(places):
        shaded = filled is not None and index in filled
        draw_node(axes, place, f"{letter}_{index + 1}", "#f6d9cb" if shaded else "white")


def draw_node(axes: Axes, place: tuple[float, float], name: str, face: str = "white") -> None:
    """Draw a circle with a name."""
    axes.add_patch(plt.Circle(place, RADIUS, facecolor=face, edgecolor=INK, linewidth=1, zorder=3))
    axes.text(*place, f"${name}$", ha="center", va="center", zorder=4, fontsize=10)


def draw_edge(axes: Axes, tail: tuple[float, float], head: tuple[float, float], **style: float | str) -> None:
    """Draw a straight line between two nodes; the nodes are drawn over its ends."""
    axes.plot([tail[0], head[0]], [tail[1], head[1]], **style)


def frame(axes: Axes, x: tuple[float, float], y: tuple[float, float]) -> None:
    """Fix the limits, keep circles round, hide the axes."""
    axes.set_xlim(*x)
    axes.set_ylim(*y)
    axes.set_aspect("equal")
    axes.set_axis_off()


if __name__ == "__main__":
    main()
