"""Draw the picture of README.md from figures of benchmarks.quality.

``python -m benchmarks.quality --size 512 --pattern 8:16-T --family gaussian --json quality.json``, then
``python docs/figures/draw_overview.py quality.json``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt

HERE = Path(__file__).parent
PATTERN = "8:16-T"
LEAST_LOSS = 1e-3
"""Per cent; smaller losses are drawn on this line, which is labelled as none."""

OURS, HEURISTIC, EXACT = "#1f5fa8", "#d9822b", "#6b7580"
POINTS = {
    "exact": ("masksolve, with proof", OURS, (12, -14), "left"),
    "greedy or cover, completed": ("greedy", HEURISTIC, (9, 0), "left"),
    "greedy, textbook (at most n)": ("greedy, as published", HEURISTIC, (9, -9), "left"),
    "cover = Algorithm 1, textbook (at most n)": ("Algorithm 1 of the paper", HEURISTIC, (9, 0), "left"),
    "entropic, default: τ 200, 300 iterations": ("entropic transport (TSENOR)", HEURISTIC, (9, 0), "left"),
    "ortools, flow": ("OR-tools, flow", EXACT, (0, -15), "center"),
    "highs, linear programme": ("HiGHS, LP", EXACT, (0, -15), "center"),
    "highs, integer programme": ("HiGHS, IP", EXACT, (0, 13), "center"),
    "ortools, CP-SAT": ("CP-SAT", EXACT, (0, -15), "center"),
}
"""Which points are drawn: their words, colour, and where the words stand (in points) from the mark."""


def main() -> None:
    """Read the figures; write overview.svg."""
    measured = json.loads(Path(sys.argv[1]).read_text())[PATTERN]["gaussian"]
    points = {point["name"]: point for point in measured}
    mpl.rcParams.update({"svg.hashsalt": "masksolve", "font.size": 11, "font.family": "sans-serif"})
    figure, ax = plt.subplots(figsize=(8.2, 4.3), layout="constrained")
    for name, (words, colour, offset, side) in POINTS.items():
        point = points[name]
        where = point["ns_per_element"], max(100 * (1 - point["retained"]), LEAST_LOSS)
        ours = name == "exact"
        ax.scatter(
            *where, s=320 if ours else 60, marker="*" if ours else "o", color=colour, zorder=3, clip_on=False
        )
        weight = "bold" if ours else "normal"
        ax.annotate(
            words,
            where,
            offset,
            textcoords="offset points",
            ha=side,
            va="center",
            color=colour,
            weight=weight,
        )
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_ylim(12, LEAST_LOSS)
    ax.set_xlim(1.5, 6e5)
    ax.set_yticks([10, 1, 0.1, 0.01, LEAST_LOSS], ["10 % lost", "1 %", "0.1 %", "0.01 %", "nothing lost"])
    ticks = [10, 1e3, 1e5]
    ax.set_xticks(ticks, ["10 ns", "1 µs", "100 µs"])
    ax.minorticks_off()
    ax.grid(linewidth=0.4, alpha=0.6)
    ax.spines[["top", "right"]].set_visible(False)
    ax.set_xlabel("time for each weight, one thread  (left is faster)")
    ax.set_title(
        f"What {PATTERN} masks lose against the optimum  (up is better)", loc="left", fontsize=12, pad=24
    )
    figure.savefig(HERE / "overview.svg", metadata={"Date": None}, facecolor="white")


if __name__ == "__main__":
    main()
