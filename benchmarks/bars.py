"""The engine against its own measures: one command, one run, ratios only.

    python -m benchmarks.bars [--size 4096] [--repeats 9]

Every time is the median of a whole ``masksolve.solve`` call, interleaved with the others of its
line. Peak memory (Linux) is that of a fresh process beyond its scores and 64 MiB.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

import numpy as np

import masksolve as ms

from . import instances

PATTERNS = ("2:4-T", "4:8-T", "8:16-T", "16:32-T", "2:4", "4:8")
RELATIVES = ("bfloat16-rounded", "integer", "constant")
MEMORY = """
import sys
import numpy as np, masksolve as ms

def status(field):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(field))

scores = np.random.default_rng(0).standard_normal((8192, 8192), dtype=np.float32)
np.abs(scores, out=scores)
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")  # forget the peak so far
before = status("VmRSS")
result = ms.solve(scores, sys.argv[1])
print((status("VmHWM") - before - (64 << 20)) / result.mask.nbytes)
"""


def medians(calls, repeats):
    """Median milliseconds of each call, interleaved."""
    times = [[] for _ in calls]
    for _ in range(repeats):
        for call, kept in zip(calls, times, strict=True):
            started = time.perf_counter()
            call()
            kept.append(1e3 * (time.perf_counter() - started))
    return [statistics.median(kept) for kept in times]


def line(pattern, scores, repeats):
    """One row of the table."""
    buffer = np.empty_like(scores)
    wide = scores.astype(np.float64)
    families = [instances.scores(name, scores.shape) for name in RELATIVES]
    calls = [
        lambda: np.abs(scores, out=buffer),
        lambda: ms.solve(scores, pattern),
        lambda: ms.solve(scores, pattern, workers=2),
        lambda: ms.solve(scores, pattern + " at_most"),
        lambda: ms.solve(wide, pattern),
        lambda: ms.solve(scores, pattern, backend="greedy"),
        *(lambda values=values: ms.solve(values, pattern) for values in families),
    ]
    floor, exact, two, at_most, double, greedy, *others = medians(calls, repeats)
    cells = [f"{exact:.1f}", f"{exact / floor:.2f}", f"{greedy / exact:.1f}", f"{exact / two:.2f}"]
    cells += [f"{time / exact:.2f}" for time in (at_most, double, *others)]
    return [pattern, *cells, f"{extra_memory(pattern):.2f}"]


def extra_memory(pattern):
    """Peak memory of a solve of 8192 x 8192 scores, mask included, beyond 64 MiB, in sizes of the mask."""
    done = subprocess.run([sys.executable, "-c", MEMORY, pattern], capture_output=True, text=True, check=True)
    return float(done.stdout)


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=int, default=4096)
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args()
    scores = instances.scores("gaussian", (options.size, options.size))
    heads = ["pattern", "ms", "/ abs", "greedy /", "speed-up of 2 workers", "at_most", "float64", *RELATIVES]
    print("| " + " | ".join([*heads, "(peak - 64 MiB) / mask"]) + " |")
    print("|---" + "|--:" * (len(heads)) + "|")
    for pattern in PATTERNS:
        print("| " + " | ".join(line(pattern, scores, options.repeats)) + " |", flush=True)


if __name__ == "__main__":
    main()
