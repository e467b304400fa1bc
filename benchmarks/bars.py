"""The engine against its own measures: one command, one run, ratios only.

    python -m benchmarks.bars [--size 4096] [--repeats 9] [--patterns "2:4 x 4:8" ...]

Every time is the median of a whole ``masksolve.solve`` call, interleaved with the others of its
line. Peak memory (Linux) is that of a fresh process beyond its scores and 64 MiB.

The first table is of float32 scores: the time over that of ``np.abs(w, out=buf)``, and that of other calls
over it. The second one is of other types and of raw weights with ``score=``, over float32 magnitudes; its
last column is what int8's values, of which many are equal, take in float32.
The last line is a call on a small array.
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

PATTERNS = ("2:4-T", "4:8-T", "8:16-T", "16:32-T", "2:4", "4:8", "2:4 x 4:8")
PATTERNS += ("2:4 x 6:8 at_most", "4:8 pair", "4:8-T pair", "64:2:8", "64:2:16")
FAMILIES = {"rounded to bfloat16": "bfloat16-rounded", "integer": "integer", "constant": "constant"}
TYPES = ("bfloat16", "float16", "int8", "uint8", "int16", "float64", "int32")
SMALL = (64, 64)
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
    families = [instances.scores(name, scores.shape) for name in FAMILIES.values()]
    calls = [
        lambda: np.abs(scores, out=buffer),
        lambda: ms.solve(scores, pattern),
        lambda: ms.solve(scores, pattern, workers=2),
        lambda: ms.solve(scores, pattern.removesuffix(" at_most") + " at_most"),
        lambda: ms.solve(wide, pattern),
        *(lambda values=values: ms.solve(values, pattern) for values in families),
    ]
    if by_greedy := ms.Pattern(pattern).vector is None:  # which knows no columns for many rows
        calls.append(lambda: ms.solve(scores, pattern, backend="greedy"))
    floor, exact, two, at_most, double, *others = medians(calls, repeats)
    greedy = f"{others.pop() / exact:.1f}" if by_greedy else ""
    cells = [f"{exact:.1f}", f"{exact / floor:.2f}", greedy, f"{exact / two:.2f}"]
    cells += [f"{time / exact:.2f}" for time in (at_most, double, *others)]
    return [pattern, *cells, f"{extra_memory(pattern):.2f}"]


def types_line(pattern, weights, repeats):
    """One row of the second table."""
    magnitudes = np.abs(weights)
    typed = [instances.scores("gaussian", weights.shape, dtype) for dtype in TYPES]
    typed.append(instances.scores("gaussian", weights.shape, "int8").astype(np.float32))
    calls = [
        lambda: ms.solve(magnitudes, pattern),
        lambda: ms.solve(weights, pattern, score="magnitude"),
        lambda: ms.solve(weights, pattern, score="square"),
        *(lambda values=values: ms.solve(values, pattern) for values in typed),
    ]
    plain, *others = medians(calls, repeats)
    return [pattern, f"{plain:.1f}", *(f"{time / plain:.2f}" for time in others)]


def small_call(patterns, repeats):
    """Microseconds of a call on a small array, by pattern: the median of many."""
    scores = instances.scores("gaussian", SMALL)
    calls = [lambda pattern=pattern: ms.solve(scores, pattern) for pattern in patterns]
    times = medians(calls, 200 * repeats)
    return ", ".join(f"{pattern} {1e3 * time:.0f}" for pattern, time in zip(patterns, times, strict=True))


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
    parser.add_argument("--patterns", nargs="+", default=PATTERNS, metavar="PATTERN")
    options = parser.parse_args()
    scores = instances.scores("gaussian", (options.size, options.size))
    heads = ["pattern", "ms", "/ abs", "greedy /", "speed-up of 2 workers", "at_most", "float64", *FAMILIES]
    print("| " + " | ".join([*heads, "(peak - 64 MiB) / mask"]) + " |")
    print("|---" + "|--:" * (len(heads)) + "|")
    for pattern in options.patterns:
        print("| " + " | ".join(line(pattern, scores, options.repeats)) + " |", flush=True)
    weights = np.random.default_rng(0).standard_normal(scores.shape, dtype=np.float32)
    heads = ["pattern", "ms", "magnitude of weights", "square of weights", *TYPES, "int8's values in float32"]
    print("\n| " + " | ".join(heads) + " |")
    print("|---" + "|--:" * (len(heads) - 1) + "|")
    for pattern in options.patterns:
        print("| " + " | ".join(types_line(pattern, weights, options.repeats)) + " |", flush=True)
    calls = small_call(options.patterns, options.repeats)
    print(f"\n{SMALL[0]} x {SMALL[1]} float32, microseconds a call: {calls}")


if __name__ == "__main__":
    main()
