"""What the masks cost a training run, as in the paper's Table A.3: ``python -m benchmarks.overhead``.

A small ResNet is trained on images of handwritten digits. Every few steps each solver finds transposable
masks for the weights as they then are; medians of both times give the overhead over regular (dense)
training when masks are refreshed every step and every 40 steps. Solvers too slow for all the tiles run on
the first ones, as many as fit ``--budget`` seconds, and their time is scaled by the number of tiles. One
thread for the training and for the solvers.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import platform
import statistics
import time
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from threadpoolctl import threadpool_limits

import masksolve as ms
from masksolve.backends import load

from .compare import Contestant, judge, part
from .instances import Array
from .quality import timed_part
from .resnet import convolutions, digits, resnet, stacked_scores

if TYPE_CHECKING:
    import torch

PATTERNS = ("2:4-T", "4:8-T")
REFRESHES = (1, 40)
WARM_UP = 3


@dataclass(frozen=True)
class Method:
    """A way to find masks, and the paper's figure for 2:4-T where it has one."""

    name: str
    backend: str
    constraint: str = "exact"
    options: tuple[tuple[str, Any], ...] = ()
    paper: float | None = None


METHODS = (
    Method("integer programme (HiGHS)", "highs", options=(("method", "milp"),), paper=160.0),
    Method("min-cost flow (networkx)", "networkx", paper=65.0),
    Method("min-cost flow (OR-tools)", "ortools", paper=65.0),
    Method("entropic transport", "entropic"),
    Method("2-approximation (cover)", "cover", "at_most", paper=13.0),
    Method("greedy", "greedy", "at_most"),
    Method("exact", "exact"),
)
ORDER = (
    "integer programme (HiGHS)",
    "min-cost flow (OR-tools)",
    "2-approximation (cover)",
    "exact",
)


@dataclass(frozen=True)
class Row:
    """Times in seconds for one refresh of all masks; ``retained``: of the certified optimum."""

    name: str
    seconds: float
    share_timed: float
    overhead_percent: dict[int, float]
    paper_percent: float | None
    retained: float | None


# Measurement


def field(pattern: ms.Pattern) -> list[tuple[Method, Contestant]]:
    """Every installed method as something to run on a matrix of scores."""
    here = {info.name for info in ms.backends() if info.unavailable is None}
    return [
        (
            method,
            Contestant(method.name, partial(_find, pattern, method), False, method.constraint == "exact"),
        )
        for method in METHODS
        if method.backend in here
    ]


def _find(pattern: ms.Pattern, method: Method, scores: Array) -> ms.MaskResult:
    wanted = ms.Pattern(pattern.n, pattern.m, transposable=True, constraint=method.constraint)  # type: ignore[arg-type]
    return ms.solve(scores, wanted, backend=method.backend, **dict(method.options))


class Stopwatch:
    """Times of training steps and of solvers, taken in turn during one training run."""

    def __init__(self, patterns: list[ms.Pattern], budget: float, width: int) -> None:
        self.budget, self.width = budget, width
        self.steps: list[float] = []
        self.stacking: dict[ms.Pattern, list[float]] = {pattern: [] for pattern in patterns}
        self.solves: dict[tuple[ms.Pattern, str], list[float]] = {}
        self.sizes: dict[tuple[ms.Pattern, str], int] = {}

    def refresh(self, weights: list[torch.Tensor]) -> None:
        """Let every solver find the masks for these weights once."""
        for pattern, taken in self.stacking.items():
            begun = time.perf_counter()
            scores = stacked_scores(weights, self.width)
            taken.append(time.perf_counter() - begun)
            for method, contestant in field(pattern):
                key = pattern, contestant.name
                if key not in self.sizes:
                    chunk = load(method.backend)(**dict(method.options)).chunk_entries
                    fitting = timed_part(contestant, scores, pattern.m, budget=self.budget, chunk=chunk)
                    self.sizes[key] = fitting.size
                mine = part(scores, self.sizes[key] // pattern.m**2, pattern.m)
                begun = time.perf_counter()
                contestant.run(mine)
                seconds = (time.perf_counter() - begun) * scores.size / mine.size
                self.solves.setdefault(key, []).append(seconds)

    def rows(self, pattern: ms.Pattern, weights: list[torch.Tensor]) -> list[Row]:
        """Medians, and the quality of the masks for the weights at the end."""
        scores = stacked_scores(weights, self.width)
        optimum = ms.solve(scores, pattern, backend="exact")
        if optimum.status is not ms.Status.OPTIMAL:
            raise RuntimeError(f"no certified optimum to compare with: {optimum!r}")
        step = statistics.median(self.steps)
        rows = []
        for method, contestant in field(pattern):
            size = self.sizes[pattern, method.name]
            seconds = statistics.median(self.solves[pattern, method.name])
            seconds += statistics.median(self.stacking[pattern])
            mine = part(scores, size // pattern.m**2, pattern.m)
            rows.append(
                Row(
                    name=method.name,
                    seconds=seconds,
                    share_timed=size / scores.size,
                    overhead_percent={every: 100 * seconds / (every * step) for every in REFRESHES},
                    paper_percent=method.paper if str(pattern) == "2:4-T" else None,
                    retained=judge(contestant, mine, pattern, optimum)[0],
                )
            )
        return rows


def train(model: torch.nn.Module, watch: Stopwatch, arguments: argparse.Namespace) -> tuple[str, list[float]]:
    """Train for real; the data's name, and the losses."""
    import torch
    from torch import nn

    images, labels, source = digits(arguments.data)
    x, y = torch.from_numpy(images), torch.from_numpy(np.asarray(labels, dtype=np.int64))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    losses = []
    for step in range(WARM_UP + arguments.steps):
        batch = torch.randint(len(x), (arguments.batch,))
        begun = time.perf_counter()
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x[batch]), y[batch])
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.item())
        if step >= WARM_UP:
            watch.steps.append(time.perf_counter() - begun)
            if (step - WARM_UP) % arguments.every == 0:
                watch.refresh(convolutions(model))
    return source, losses


# Output


def show(pattern: str, rows: list[Row]) -> str:
    """A Markdown table."""
    cells = [
        (
            row.name,
            f"{'~' if row.share_timed < 1 else ''}{1e3 * row.seconds:.4g}",
            *(_percent(row.overhead_percent[every]) for every in REFRESHES),
            "" if row.paper_percent is None else f"{row.paper_percent:g}",
            "" if row.retained is None else f"{row.retained:.5f}",
        )
        for row in rows
    ]
    titles = (
        pattern,
        "ms a refresh",
        *(f"% at every {k}" for k in REFRESHES),
        "% in the paper",
        "of optimum",
    )
    table = [titles, *cells]
    widths = [max(len(line[k]) for line in table) for k in range(len(titles))]
    lines = [
        "| " + " | ".join(f"{cell:{'<' if k == 0 else '>'}{widths[k]}}" for k, cell in enumerate(line)) + " |"
        for line in table
    ]
    rule = "|" + "|".join("-" * (w + 1) + ("-" if k == 0 else ":") for k, w in enumerate(widths)) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])


def _percent(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def order(rows: list[Row]) -> str:
    """Whether the paper's order is found again, and exact below it all."""
    seconds = {row.name: row.seconds for row in rows}
    shown = [name for name in ORDER if name in seconds]
    times = [seconds[name] for name in shown]
    verdict = "holds" if times == sorted(times, reverse=True) else "does NOT hold"
    return f"order {' > '.join(shown)}: {verdict}"


def plot(results: dict[str, list[Row]], title: str, file: Path) -> None:
    """Overheads as bars, logarithmic; the paper's figures as marks."""
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams["svg.hashsalt"] = "masksolve"
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, len(results), figsize=(10, 3.9), sharey=True, sharex=True, squeeze=False)
    for axis, (pattern, rows) in zip(axes[0], results.items(), strict=True):
        shown = rows[::-1]
        places = np.arange(len(shown))
        for offset, every, colour in zip((0.2, -0.2), REFRESHES, ("tab:blue", "tab:green"), strict=True):
            label = "masks every step" if every == 1 else f"masks every {every} steps"
            widths = [row.overhead_percent[every] for row in shown]
            axis.barh(places + offset, widths, 0.38, color=colour, label=label)
            for place, width in zip(places + offset, widths, strict=True):
                axis.text(width * 1.15, place, _percent(width), va="center", fontsize=7)
        paper = [
            (row.paper_percent, place) for row, place in zip(shown, places, strict=True) if row.paper_percent
        ]
        if paper:
            axis.scatter(
                *zip(*paper, strict=True), marker="D", color="tab:red", zorder=3, label="paper's Table A.3"
            )
        axis.axvline(100, color="grey", linewidth=0.8, linestyle=":")
        axis.set(xscale="log", title=pattern, xlabel="% of a training step")
        axis.set_yticks(places, [row.name for row in shown])
        axis.set_xlim(right=8 * max(row.overhead_percent[1] for row in shown))
    axes[0][0].legend(fontsize=8, loc="lower right")
    figure.suptitle(title, fontsize=9)
    figure.tight_layout()
    figure.savefig(file, dpi=150, metadata={"Date": None} if file.suffix == ".svg" else None)


def describe(network: str, watch: Stopwatch, losses: list[float]) -> str:
    """Network, machine, training step and scaling in a line each."""
    versions = [f"{name} {importlib.metadata.version(name)}" for name in ("masksolve", "numpy", "torch")]
    stacking = statistics.median(t for taken in watch.stacking.values() for t in taken)
    return (
        f"{network}\n"
        f"{platform.machine()}, Python {platform.python_version()}, {', '.join(versions)}; one thread\n"
        f"training step {1e3 * statistics.median(watch.steps):.1f} ms (median of {len(watch.steps)}), loss "
        f"{losses[0]:.2f} -> {statistics.fmean(losses[-5:]):.2f}; gathering the scores "
        f"{1e3 * stacking:.2f} ms a refresh (included)\n"
        f"~ : timed on the first tiles for about {watch.budget:g} s, scaled by the number of tiles"
    )


def parse(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overhead", description=__doc__)
    parser.add_argument("--pattern", action="append", help=f"transposable; repeatable; default {PATTERNS}")
    parser.add_argument("--data", choices=["auto", "mnist", "digits"], default="auto")
    parser.add_argument("--width", type=int, default=16, help="channels of the first stage, a multiple of 8")
    parser.add_argument("--blocks", type=int, default=2, help="blocks in each of the three stages")
    parser.add_argument("--batch", type=int, default=128, help="images a step")
    parser.add_argument("--steps", type=int, default=80, help="training steps timed")
    parser.add_argument("--every", type=int, default=16, help="steps between two timings of the solvers")
    parser.add_argument("--budget", type=float, default=0.5, help="seconds a call of a slow solver")
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--plot", type=Path, help="draw them here")
    return parser.parse_args(words)


def main() -> None:
    arguments = parse()
    if importlib.util.find_spec("torch") is None:
        raise SystemExit('needs torch: pip install "masksolve[torch]"')
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(0)
    patterns = [ms.Pattern.parse(text) for text in arguments.pattern or PATTERNS]
    for pattern in patterns:
        if not pattern.transposable or arguments.width % pattern.m:
            raise SystemExit(
                f"--pattern needs n:m-T whose m divides --width {arguments.width}, got '{pattern}'"
            )
    watch = Stopwatch(patterns, arguments.budget, arguments.width)
    model = resnet(arguments.width, arguments.blocks)
    with threadpool_limits(1):
        source, losses = train(model, watch, arguments)
        weights = convolutions(model)
        results = {str(pattern): watch.rows(pattern, weights) for pattern in patterns}
    total, masked = (sum(w.numel() for w in group) for group in (model.parameters(), weights))
    network = f"ResNet with {total} parameters, {masked} of them masked; {source}, {arguments.batch} a step"
    header = describe(network, watch, losses)
    print(header)
    for pattern, rows in results.items():
        print(f"\n{show(pattern, rows)}\n\n{order(rows)}")
    if arguments.json:
        figures = {pattern: [asdict(row) for row in rows] for pattern, rows in results.items()}
        arguments.json.write_text(json.dumps({"run": header.splitlines(), "results": figures}, indent=2))
    if arguments.plot:
        plot(results, network, arguments.plot)


if __name__ == "__main__":
    main()
