"""Two threads, two processes: what the second processor brings, and where a threaded call spends its time.

    python -m benchmarks.two_workers [--size 4096] [--repeats 15]

``threads`` is the time of one worker over that of two; ``processes`` the work that two processes get
done at once, each with a matrix of its own, over what one gets done. The last three columns are the
milliseconds of a call with two workers before its first chunk begins, in which each thread solves,
and after the last chunk, the result's release included. Everything is a median.
"""

from __future__ import annotations

import argparse
import statistics
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import masksolve as ms
from masksolve.backends.exact import Exact

from . import instances
from .bars import PATTERNS, medians

HEADS = ("pattern", "one, ms", "two, ms", "threads", "processes", "before", "solving", "after")


def processes(pattern, size, repeats, count):
    """Median milliseconds of a solve while ``count`` processes solve."""
    context = get_context("spawn")
    barrier = context.Barrier(count)
    with ProcessPoolExecutor(count, context, initializer=_join, initargs=(barrier,)) as pool:
        return statistics.mean(pool.map(_process, *zip(*[(pattern, size, repeats)] * count, strict=True)))


def _join(barrier):
    global _together  # noqa: PLW0603  (a barrier is handed over when a process starts, never later)
    _together = barrier


def _process(pattern, size, repeats):
    scores = instances.scores("gaussian", (size, size))
    ms.solve(scores, pattern)
    _together.wait()
    return medians([lambda: ms.solve(scores, pattern)], repeats)[0]


def timeline(pattern, scores, repeats):
    """Milliseconds before, in (each thread, the busier first) and after the chunks; medians."""
    chunks = []
    solve = Exact.solve

    def recorded(self, block, first, last):
        begun = time.perf_counter()
        report = solve(self, block, first, last)
        chunks.append((threading.get_ident(), begun, time.perf_counter()))
        return report

    calls = []
    Exact.solve = recorded
    try:
        for _ in range(repeats):
            chunks.clear()
            begun = time.perf_counter()
            ms.solve(scores, pattern, workers=2)
            ended = time.perf_counter()
            busy = [
                sum(end - start for thread, start, end in chunks if thread == worker)
                for worker in {thread for thread, _, _ in chunks}
            ]
            first, last = min(start for _, start, _ in chunks), max(end for _, _, end in chunks)
            calls.append((first - begun, max(busy), min(busy), ended - last))
    finally:
        Exact.solve = solve
    return [1e3 * statistics.median(part) for part in zip(*calls, strict=True)]


def line(pattern, size, repeats):
    """One row of the table."""
    scores = instances.scores("gaussian", (size, size))
    one, two = medians(
        [lambda: ms.solve(scores, pattern), lambda: ms.solve(scores, pattern, workers=2)], repeats
    )
    alone, together = (processes(pattern, size, repeats, count) for count in (1, 2))
    before, most, least, after = timeline(pattern, scores, repeats)
    return [
        *(pattern, f"{one:.1f}", f"{two:.1f}", f"{one / two:.2f}", f"{2 * alone / together:.2f}"),
        *(f"{before:.2f}", f"{most:.1f} and {least:.1f}", f"{after:.2f}"),
    ]


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=int, default=4096)
    parser.add_argument("--repeats", type=int, default=15)
    options = parser.parse_args()
    print("| " + " | ".join(HEADS) + " |")
    print("|---" + "|--:" * (len(HEADS) - 1) + "|")
    for pattern in PATTERNS:
        print("| " + " | ".join(line(pattern, options.size, options.repeats)) + " |", flush=True)


if __name__ == "__main__":
    main()
