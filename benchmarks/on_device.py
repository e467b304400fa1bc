"""``batched`` where the array lives: Melements a second of whole calls, certificate included.

    python -m benchmarks.on_device [--size 8192] [--device cuda] [--repeats 5] [--threads 2]

Gaussian magnitudes in float32. The compiled engine on the host, with the copies there and back that a
device's array needs, runs in the same rounds for comparison. The first solve of a pattern, which compiles or
loads kernels, is not counted.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time

import masksolve as ms

from . import instances

PATTERNS = ("2:4-T", "4:8-T", "8:16-T", "16:32-T", "8:16-T at_most")


def seconds(call, device):
    """Wall time of a call, until the device is done."""
    import torch

    started = time.perf_counter()
    result = call()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started, result


def rates(scores, pattern, repeats):
    """Median Melements a second of batched and of exact, interleaved, and the gap of each."""
    backends = ("batched", "exact")
    times = {name: [] for name in backends}
    gaps = {}
    for turn in range(repeats + 1):
        for name in backends:
            taken, result = seconds(
                lambda name=name: ms.solve(scores, pattern, backend=name, duals=False), scores.device
            )
            gaps[name] = result.gap
            if turn:
                times[name].append(taken)
    return {name: (scores.numel() / statistics.median(times[name]) / 1e6, gaps[name]) for name in backends}


def main():
    """Print the table."""
    import torch

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=int, default=8192)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    print(f"{name}, torch {torch.__version__}, {options.threads} threads, {options.size} x {options.size}\n")
    print("| pattern | batched, Melement/s | gap | exact on the host, Melement/s | gap |")
    print("|---|--:|--:|--:|--:|")
    scores = torch.from_numpy(instances.scores("gaussian", (options.size, options.size))).to(device)
    for pattern in PATTERNS:
        found = rates(scores, pattern, options.repeats)
        cells = [f"{rate:.1f} | {gap:.1e}" for rate, gap in found.values()]
        print(f"| {pattern} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
