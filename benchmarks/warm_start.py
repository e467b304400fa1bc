"""What a warm start saves when scores have drifted a little: ``python -m benchmarks.warm_start``.

Gaussian weights W and noise E of the same kind; scores |W| are solved first, then |W + drift E| is solved
cold, and warm from the first result. Calls are interleaved and medians are taken over the rounds. *Cold*
keeps no prices, which is all that a single solve needs; a training run that wants warm starts pays for
keeping them too, so *warm* and *cold, duals kept* do. Steps are nodes taken up by the searches for
augmenting paths.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

import masksolve as ms

PATTERNS = ("4:8-T", "8:16-T", "16:32-T")
DRIFTS = (0.001, 0.01, 0.1)
HEAD = ("pattern", "drift", "cold ms", "cold, duals kept ms", "warm ms", "warm / cold", "steps a tile, cold",
        "warm", "gap")  # fmt: skip


@dataclass(frozen=True)
class Row:
    """Medians, in seconds, and steps a tile."""

    pattern: str
    drift: float
    cold: float
    kept: float
    warm: float
    cold_steps: float
    warm_steps: float
    gap: float

    def cells(self) -> tuple[str, ...]:
        return (
            self.pattern,
            f"{100 * self.drift:g} %",
            f"{1e3 * self.cold:.4g}",
            f"{1e3 * self.kept:.4g}",
            f"{1e3 * self.warm:.4g}",
            f"{self.warm / self.cold:.2f}",
            f"{self.cold_steps:.2f}",
            f"{self.warm_steps:.2f}",
            f"{self.gap:.1e}",
        )


def measure(pattern: str, drift: float, *, size: int, repeats: int, workers: int) -> Row:
    """One row; the warm solve must find the cold one's optimum."""
    rng = np.random.default_rng(20210216)
    weights, noise = (rng.standard_normal((size, size), dtype=np.float32) for _ in range(2))
    start = ms.solve(np.abs(weights), pattern, duals=True)
    solve = partial(ms.solve, np.abs(weights + np.float32(drift) * noise), pattern, workers=workers)
    calls: list[Callable[[], ms.MaskResult]] = [
        partial(solve, duals=False),
        partial(solve, duals=True),
        partial(solve, duals=True, warm_start=start),
    ]
    cold, _, warm = (call() for call in calls)
    if not abs(warm.objective - cold.objective) <= 1e-6 * cold.objective:
        raise RuntimeError(f"the warm start changed the optimum: {warm!r}, cold {cold!r}")
    times: list[list[float]] = [[] for _ in calls]
    for _ in range(repeats):
        for call, taken in zip(calls, times, strict=True):
            begun = time.perf_counter()
            call()
            taken.append(time.perf_counter() - begun)
    tiles = cold.stats["tiles"]
    steps = [result.stats["path_steps"] / tiles for result in (cold, warm)]
    return Row(pattern, drift, *map(statistics.median, times), *steps, gap=warm.gap)


def show(rows: list[Row]) -> str:
    """A Markdown table."""
    table = [HEAD, *(row.cells() for row in rows)]
    widths = [max(len(line[k]) for line in table) for k in range(len(HEAD))]
    lines = [
        "| " + " | ".join(f"{cell:>{w}}" for cell, w in zip(line, widths, strict=True)) + " |"
        for line in table
    ]
    rule = "|" + "|".join("-" * (w + 1) + ":" for w in widths) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", type=int, default=2048, help="rows and columns")
    parser.add_argument("--pattern", action="append", help="may be repeated")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--workers", type=int, default=1)
    chosen = parser.parse_args()
    rows = [
        measure(pattern, drift, size=chosen.size, repeats=chosen.repeats, workers=chosen.workers)
        for pattern in chosen.pattern or PATTERNS
        for drift in DRIFTS
    ]
    print(f"{chosen.size} x {chosen.size} float32, {chosen.workers} worker(s), median of {chosen.repeats}\n")
    print(show(rows))


if __name__ == "__main__":
    main()
