"""Ours and every installed peer on the same scores in one run: ``python -m benchmarks.compare``.

Calls are interleaved (every contestant once a round) and medians are taken over the rounds.
Contestants too slow for the whole matrix run on its first tiles, as many as fit ``--budget``
seconds, and their time is scaled by the number of tiles. One thread, unless ``--workers`` says
otherwise for ours.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

import masksolve as ms

from . import instances, peers
from .instances import Array

OURS = ("exact", "greedy", "cover")
FLOOR = "np.abs(w, out=buf)"
PACKAGES = ("masksolve", "numpy", "scipy", "ortools", "networkx")


@dataclass(frozen=True)
class Contestant:
    """Something to time: ``run(scores)`` gives a mask, a MaskResult, or None (the floor)."""

    name: str
    run: Callable[[Array], Any]
    whole: bool
    exact: bool = False


@dataclass(frozen=True)
class Row:
    """What was measured of one contestant; times are for the whole matrix."""

    name: str
    seconds: float
    ns_per_element: float
    over_floor: float
    over_exact: float | None
    share_timed: float
    objective_over_optimum: float | None
    certified_gap: float | None


def contestants(pattern: ms.Pattern, workers: int, only: list[str]) -> list[Contestant]:
    """The floor, our backends, and the peers that are installed and can run the pattern."""
    everyone = [
        Contestant(f"masksolve {name}", partial(_ours, pattern, name, workers), whole=True)
        for name in OURS
        if next(info for info in ms.backends() if info.name == name).unavailable is None
    ]
    for peer in peers.PEERS:
        installed = importlib.util.find_spec(peer.module) is not None
        fits = not peer.patterns or (pattern.n, pattern.m) in peer.patterns
        if pattern.constraint == "exact" and peer.transposable == pattern.transposable and installed and fits:
            run = partial(_peer, peer, pattern)
            everyone.append(Contestant(peer.name, run, whole=False, exact=peer.exact))
    chosen = [c for c in everyone if not only or any(word in c.name for word in only)]
    buffer: dict[tuple[int, ...], Array] = {}
    return [Contestant(FLOOR, partial(_floor, buffer), whole=True), *chosen]


def _ours(pattern: ms.Pattern, backend: str, workers: int, scores: Array) -> ms.MaskResult:
    return ms.solve(scores, pattern, backend=backend, workers=workers)


def _peer(peer: peers.Peer, pattern: ms.Pattern, scores: Array) -> Array:
    return peer.solve(scores, pattern.n, pattern.m)


def _floor(buffer: dict[tuple[int, ...], Array], scores: Array) -> None:
    np.abs(scores, out=buffer.setdefault(scores.shape, np.empty_like(scores)))


def part(scores: Array, tiles: int, m: int) -> Array:
    """The first tiles of a matrix: whole rows of tiles, or a run from the first row."""
    across = scores.shape[1] // m
    if tiles < across:
        return scores[:m, : m * tiles]
    return scores[: m * (tiles // across)]


def fitting_part(contestant: Contestant, scores: Array, m: int, budget: float) -> Array:
    """As much of the matrix as the contestant does in about ``budget`` seconds; warms it up too."""
    if contestant.whole:
        contestant.run(scores)
        return scores
    total = scores.size // m**2
    tiles, elapsed = 4, 0.0
    while elapsed < budget / 4 and tiles < total:
        tiles = min(4 * tiles, total)
        elapsed = _seconds(contestant, part(scores, tiles, m))
    fitting = part(scores, min(total, max(1, int(tiles * budget / max(elapsed, 1e-9)))), m)
    contestant.run(fitting)
    return fitting


def _seconds(contestant: Contestant, scores: Array) -> float:
    begun = time.perf_counter()
    contestant.run(scores)
    return time.perf_counter() - begun


def measure(
    pattern: ms.Pattern, scores: Array, field: list[Contestant], repeats: int, budget: float
) -> list[Row]:
    """Time everyone, interleaved, and judge the masks against the certified optimum."""
    parts = [fitting_part(c, scores, pattern.m, budget) for c in field]
    times: list[list[float]] = [[] for _ in field]
    for _ in range(repeats):
        for c, mine, taken in zip(field, parts, times, strict=True):
            taken.append(_seconds(c, mine) * scores.size / mine.size)
    medians = [statistics.median(taken) for taken in times]
    exact = next((t for c, t in zip(field, medians, strict=True) if c.name == "masksolve exact"), None)
    optimum = ms.solve(scores, pattern, backend="exact")
    if optimum.status is not ms.Status.OPTIMAL:
        raise RuntimeError(f"no certified optimum to compare with: {optimum!r}")
    rows = []
    for c, mine, seconds in zip(field, parts, medians, strict=True):
        quality, gap = judge(c, mine, pattern, optimum)
        rows.append(
            Row(
                name=c.name,
                seconds=seconds,
                ns_per_element=seconds / scores.size * 1e9,
                over_floor=seconds / medians[0],
                over_exact=None if exact is None else seconds / exact,
                share_timed=mine.size / scores.size,
                objective_over_optimum=quality,
                certified_gap=gap,
            )
        )
    return rows


def judge(
    contestant: Contestant, scores: Array, pattern: ms.Pattern, optimum: ms.MaskResult
) -> tuple[float | None, float | None]:
    """Kept sum relative to the optimum's on the same tiles, and the gap that ours certify.

    A mask that keeps too many is an error; one that claims to be exact must also keep enough.
    """
    answer = contestant.run(scores)
    if answer is None:
        return None, None
    mask = answer.mask if isinstance(answer, ms.MaskResult) else answer
    constraint = "exact" if contestant.exact else "at_most"
    check = ms.verify(
        mask, ms.Pattern(pattern.n, pattern.m, transposable=pattern.transposable, constraint=constraint)
    )
    if not check.ok:
        raise RuntimeError(f"{contestant.name}: {check}")
    kept, best = (
        float(np.sum(scores, where=m, dtype=np.float64))
        for m in (mask, optimum.mask[: scores.shape[0], : scores.shape[1]])
    )
    proven = isinstance(answer, ms.MaskResult) and np.isfinite(answer.gap)
    return kept / best if best else 1.0, answer.gap if proven else None


def show(pattern: ms.Pattern, rows: list[Row]) -> str:
    """A Markdown table."""
    head = (str(pattern), "ms", "/ floor", "ns/element", "exact is faster by", "of optimum", "certified gap")
    table = [head, *(_cells(row) for row in rows)]
    widths = [max(len(line[k]) for line in table) for k in range(len(head))]
    lines = [
        "| " + " | ".join(f"{cell:{'<' if k == 0 else '>'}{widths[k]}}" for k, cell in enumerate(line)) + " |"
        for line in table
    ]
    rule = "|" + "|".join("-" * (w + 1) + ("-" if k == 0 else ":") for k, w in enumerate(widths)) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])


def _cells(row: Row) -> tuple[str, ...]:
    scaled = "~" if row.share_timed < 1 else ""
    return (
        row.name,
        f"{scaled}{1e3 * row.seconds:.4g}",
        f"{row.over_floor:.3g}",
        f"{row.ns_per_element:.3g}",
        "" if row.over_exact is None else f"{row.over_exact:.3g}",
        "" if row.objective_over_optimum is None else f"{row.objective_over_optimum:.6f}",
        "" if row.certified_gap is None else f"{row.certified_gap:.1e}",
    )


def plot(results: dict[str, list[Row]], title: str, file: Path) -> None:
    """Time over the floor (bars, logarithmic) and what is lost to the optimum, a row a pattern."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    heights = [len(rows) - 1 for rows in results.values()]
    figure, axes = plt.subplots(
        len(results),
        2,
        squeeze=False,
        figsize=(11, 1.2 + 0.45 * sum(heights) + 0.5 * len(heights)),
        height_ratios=heights,
        sharex="col",
        layout="constrained",
    )
    for (time_axis, loss_axis), (pattern, rows) in zip(axes, results.items(), strict=True):
        shown = rows[:0:-1]
        names = [row.name for row in shown]
        colours = [
            "tab:green"
            if name == "masksolve exact"
            else "tab:blue"
            if name.startswith("masksolve")
            else "tab:grey"
            for name in names
        ]
        time_axis.barh(names, [row.over_floor for row in shown], color=colours)
        time_axis.set(xscale="log", xlim=(0.8, None), title=pattern)
        losses = [100 * (1 - (row.objective_over_optimum or 0.0)) for row in shown]
        loss_axis.barh(names, np.maximum(losses, 0.0), color=colours)
        loss_axis.set(yticks=[], title=pattern)
    axes[-1][0].set_xlabel(f"time / {FLOOR}")
    axes[-1][1].set_xlabel("% of the optimum lost")
    figure.suptitle(title)
    figure.savefig(file, dpi=150, bbox_inches="tight")


def describe(arguments: argparse.Namespace) -> str:
    """Instance, machine and versions in a line each."""
    versions = []
    for package in PACKAGES:
        if importlib.util.find_spec(package) is not None:
            versions.append(f"{package} {importlib.metadata.version(package)}")
    return (
        f"{arguments.family} {arguments.size} x {arguments.size} {arguments.dtype}, medians of "
        f"{arguments.repeats}, {arguments.workers} worker(s)\n"
        f"{platform.machine()}, Python {platform.python_version()}, {', '.join(versions)}\n"
        f"~ : timed on the first tiles for about {arguments.budget:g} s, scaled by the number of tiles"
    )


def parse(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description=__doc__)
    parser.add_argument("--pattern", action="append", help=f"repeatable; default {instances.PATTERNS}")
    parser.add_argument("--size", type=int, default=4096, help="side of the square matrix")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--family", choices=list(instances.FAMILIES), default="gaussian")
    parser.add_argument("--only", action="append", default=[], help="part of a name; repeatable")
    parser.add_argument("--workers", type=int, default=1, help="threads of masksolve")
    parser.add_argument("--budget", type=float, default=0.5, help="seconds a call of a slow peer")
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--plot", type=Path, help="draw them here")
    return parser.parse_args(words)


def main() -> None:
    arguments = parse()
    patterns = [ms.Pattern.parse(text) for text in arguments.pattern or instances.PATTERNS]
    try:
        scores = instances.scores(arguments.family, (arguments.size, arguments.size), arguments.dtype)
    except instances.MissingWeightsError as error:
        raise SystemExit(f"{arguments.family}: {error}") from None
    header = describe(arguments)
    print(header)
    results: dict[str, list[Row]] = {}
    with threadpool_limits(1):
        for pattern in patterns:
            field = contestants(pattern, arguments.workers, arguments.only)
            results[str(pattern)] = measure(pattern, scores, field, arguments.repeats, arguments.budget)
            print(f"\n{show(pattern, results[str(pattern)])}", flush=True)
    if arguments.json:
        figures = {name: [asdict(row) for row in rows] for name, rows in results.items()}
        arguments.json.write_text(json.dumps({"run": header.splitlines(), "results": figures}, indent=2))
    if arguments.plot:
        plot(results, header.splitlines()[0], arguments.plot)


if __name__ == "__main__":
    main()
