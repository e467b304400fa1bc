"""Retained score against time, every backend, a picture a pattern: ``python -m benchmarks.quality``.

Scores are Gaussian magnitudes and, if the package with them is installed, real weights. What a mask retains
is its kept sum over that of the certified optimum of the exact pattern on the same tiles, whatever the mask's
own constraint. Calls are interleaved and medians are taken; who is too slow for the whole matrix runs on its
first tiles, as many as fit ``--budget`` seconds. One thread.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import time
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

import masksolve as ms
from masksolve.backends import load

from . import instances
from .compare import Contestant, fitting_part, judge, part
from .instances import Array

PATTERNS = ("2:4-T", "4:8-T", "8:16-T", "16:32-T")
FAMILIES = ("gaussian", "real")
_FLAWLESS = 1e-3
"""Losses in per cent up to which the axis is linear, so that 0 is on it."""


@dataclass(frozen=True)
class Entry:
    """A backend with its options, and how it is drawn: colour, marker; hollow if groups may be short."""

    name: str
    backend: str
    colour: str
    marker: str
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    constraint: str = "exact"


ENTRIES = (
    Entry("exact", "exact", "tab:green", "*"),
    Entry("greedy or cover, completed", "greedy", "tab:blue", "D"),
    Entry("greedy, textbook (at most n)", "greedy", "tab:blue", "D", constraint="at_most"),
    Entry("cover = Algorithm 1, textbook (at most n)", "cover", "tab:purple", "s", constraint="at_most"),
    *(
        Entry(
            f"entropic, τ {tau}, {count} iterations",
            "entropic",
            "tab:orange",
            "o",
            {"tau": tau, "iterations": count},
        )
        for tau, count in ((20, 30), (40, 100), (140, 300), (300, 1000))
    ),
    Entry("entropic, default: τ 200, 300 iterations", "entropic", "tab:pink", "p"),
    Entry(
        "entropic, default, not swapped (at most n)", "entropic", "tab:pink", "p", {"swaps": False}, "at_most"
    ),
    Entry("enumerate", "enumerate", "tab:olive", "P"),
    Entry("ortools, flow", "ortools", "tab:red", "^"),
    Entry("ortools, CP-SAT", "ortools", "tab:red", "v", {"method": "cp_sat"}),
    Entry("highs, linear programme", "highs", "tab:brown", "<"),
    Entry("highs, integer programme", "highs", "tab:brown", ">", {"method": "milp"}),
    Entry("networkx, network simplex", "networkx", "tab:grey", "X"),
)


@dataclass(frozen=True)
class Point:
    """What one contestant was measured to retain, and at what price."""

    name: str
    ns_per_element: float
    retained: float
    entries_timed: int


def contestants(pattern: ms.Pattern) -> list[tuple[Contestant, int]]:
    """Every backend that is installed and runs the pattern, and how many entries it takes at a time."""
    ready = {info.name for info in ms.backends() if info.unavailable is None}
    field = []
    for entry in ENTRIES:
        if entry.backend in ready:
            backend = load(entry.backend)(**entry.options)
            exact = entry.constraint == "exact"
            if backend.refuses(pattern, forced=False) is None:
                contestant = Contestant(entry.name, partial(_solve, pattern, entry), False, exact)
                field.append((contestant, backend.chunk_entries))
    return field


def _solve(pattern: ms.Pattern, entry: Entry, scores: Array) -> ms.MaskResult:
    words = "" if entry.constraint == "exact" else " at_most"
    return ms.solve(scores, f"{pattern}{words}", backend=entry.backend, **entry.options)


def timed_part(contestant: Contestant, scores: Array, m: int, *, budget: float, chunk: int) -> Array:
    """What fits the budget, but no less than the backend's chunk: smaller parts would not do it justice."""
    fitting = fitting_part(contestant, scores, m, budget)
    return max(fitting, part(scores, chunk // m**2, m), key=np.size)


def measure(pattern: ms.Pattern, scores: Array, repeats: int, budget: float) -> list[Point]:
    """Time everyone, interleaved, and compare with the certified optimum."""
    field = contestants(pattern)
    everyone = [c for c, _ in field]
    parts = [timed_part(c, scores, pattern.m, budget=budget, chunk=chunk) for c, chunk in field]
    times: list[list[float]] = [[] for _ in everyone]
    for _ in range(repeats):
        for c, mine, taken in zip(everyone, parts, times, strict=True):
            begun = time.perf_counter()
            c.run(mine)
            taken.append(time.perf_counter() - begun)
    optimum = ms.solve(scores, pattern, backend="exact")
    if optimum.status is not ms.Status.OPTIMAL:
        raise RuntimeError(f"no certified optimum to compare with: {optimum!r}")
    return [
        Point(
            name=c.name,
            ns_per_element=statistics.median(taken) / mine.size * 1e9,
            retained=judge(c, mine, pattern, optimum)[0] or 0.0,
            entries_timed=mine.size,
        )
        for c, mine, taken in zip(everyone, parts, times, strict=True)
    ]


def show(pattern: str, family: str, points: list[Point]) -> str:
    """A Markdown table."""
    width = max(len(point.name) for point in points)
    lines = [
        f"| {point.name:<{width}} | {point.ns_per_element:>10.4g} | {point.retained:>10.6f} |"
        for point in points
    ]
    head = f"| {f'{pattern}, {family}':<{width}} | ns/element | of optimum |"
    return "\n".join([head, f"|{'-' * (width + 2)}|-----------:|-----------:|", *lines])


def plot(pattern: str, results: dict[str, list[Point]], file: Path) -> None:
    """Time across (logarithmic), retained score up (logarithmic towards 100 %), a panel a family."""
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams["svg.hashsalt"] = "masksolve"
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(
        1, len(results), figsize=(1.2 + 3.8 * len(results), 5.2), sharex=True, sharey=True, squeeze=False
    )
    for axis, (family, points) in zip(axes[0], results.items(), strict=True):
        _draw(axis, {point.name: point for point in points})
        axis.set(title=f"{pattern}, {TITLES.get(family, family)}", xlabel="ns per element")
    axes[0][0].set_ylabel("retained, of the certified optimum")
    handles, labels = axes[0][0].get_legend_handles_labels()
    # Below the panels, so that the words are as large as the page's where the picture is as wide as a page.
    figure.legend(
        handles, labels, loc="upper center", bbox_to_anchor=(0.5, 0.0), ncols=2, fontsize=10.5, frameon=False
    )
    figure.tight_layout()
    metadata = {"Date": None} if file.suffix == ".svg" else None
    figure.savefig(file, dpi=150, metadata=metadata, bbox_inches="tight")
    plt.close(figure)


TITLES = {"gaussian": "Gaussian weights", "real": "weights of a sentence encoder"}


def _draw(axis: Any, points: dict[str, Point]) -> None:
    losses = {name: max(100 * (1 - point.retained), 0.0) for name, point in points.items()}
    curve = [name for name in points if name.startswith("entropic, τ")]
    axis.plot(
        [points[name].ns_per_element for name in curve],
        [losses[name] for name in curve],
        color="tab:orange",
        linewidth=0.8,
        zorder=1,
    )
    for entry in ENTRIES:
        if entry.name in points:
            axis.scatter(
                points[entry.name].ns_per_element,
                losses[entry.name],
                s=160 if entry.marker == "*" else 45,
                marker=entry.marker,
                edgecolors=entry.colour,
                facecolors=entry.colour if entry.constraint == "exact" else "none",
                label=entry.name,
                clip_on=False,
                zorder=3,
            )
    axis.set_xscale("log")
    axis.set_yscale("symlog", linthresh=_FLAWLESS)
    axis.set_ylim(25, 0)
    ticks = [0, 0.001, 0.01, 0.1, 1, 10]
    axis.set_yticks(ticks, [f"{100 - tick:g} %" for tick in ticks])
    axis.yaxis.set_minor_locator(_no_ticks())
    axis.grid(linewidth=0.4, alpha=0.6)


def _no_ticks() -> Any:
    from matplotlib.ticker import NullLocator

    return NullLocator()


def parse(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality", description=__doc__)
    parser.add_argument("--pattern", action="append", help=f"repeatable; default {PATTERNS}")
    parser.add_argument("--family", action="append", choices=list(instances.FAMILIES), help="repeatable")
    parser.add_argument("--size", type=int, default=1536, help="side of the square matrix")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--budget", type=float, default=0.5, help="seconds a call of a slow backend")
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--plot", type=Path, help="folder for quality_N_M.svg, one a pattern")
    return parser.parse_args(words)


def main() -> None:
    arguments = parse()
    matrices = {}
    for family in arguments.family or FAMILIES:
        try:
            matrices[family] = instances.scores(family, (arguments.size, arguments.size))
        except instances.MissingWeightsError as error:
            print(f"without {family} weights: {error}")
    print(f"{arguments.size} x {arguments.size} float32, medians of {arguments.repeats}, one thread")
    results: dict[str, dict[str, list[Point]]] = {}
    with threadpool_limits(1):
        for text in arguments.pattern or PATTERNS:
            pattern = ms.Pattern.parse(text)
            results[text] = {}
            for family, scores in matrices.items():
                points = measure(pattern, scores, arguments.repeats, arguments.budget)
                results[text][family] = points
                print(f"\n{show(text, family, points)}", flush=True)
            if arguments.plot:
                plot(text, results[text], arguments.plot / f"quality_{pattern.n}_{pattern.m}.svg")
    if arguments.json:
        figures = {
            text: {family: [asdict(point) for point in points] for family, points in families.items()}
            for text, families in results.items()
        }
        arguments.json.write_text(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
