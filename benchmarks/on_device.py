"""Masks where the array lives: Gelements a second of whole calls, certificate included, and ratios to a copy.

    python -m benchmarks.on_device [--size 8192 4096] [--patterns ...] [--dtypes ...] [--repeats 10]
    python -m benchmarks.on_device --compile

The floor of every row is a kernel that reads the scores and writes a byte for each,
``torch.lt(scores, 0, out=...)``; ``x floor`` is how many times longer a backend takes. ``triton`` and
``batched`` are handed raw weights (``score="magnitude"``), and so is the compiled engine, ``exact, host``,
with the copies there and back that a device's array needs. Backends take turns, and the first solve, which
compiles kernels, is not counted; of the others the median is shown, with the gap of the last one.

``--compile`` needs no device: it compiles the kernels ahead of time for three GPUs, and shows what they use.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time

import masksolve as ms

PATTERNS = ("2:4", "2:4-T", "2:4-T at_most", "4:8-T", "8:16-T", "8:16-T at_most", "16:32-T")
DTYPES = ("float32", "bfloat16", "float16")
COMPILED = (*PATTERNS, "32:64-T")


def timed(call, device):
    """Seconds until the device is done with a call, and the result."""
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)
    started = time.perf_counter()
    result = call()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started, result


def calls(scores, pattern, names):
    """What takes turns: the floor, and a solve by every backend."""
    import torch

    mask = torch.empty_like(scores, dtype=torch.bool)
    solves = {
        name: lambda name=name: ms.solve(scores, pattern, backend=name, score="magnitude", duals=False)
        for name in names
    }
    return {"floor": lambda: torch.lt(scores, 0, out=mask), **solves}


def measure(scores, pattern, names, repeats):
    """Median seconds of the floor and of every backend, and the gap of the backends' last results."""
    turns = calls(scores, pattern, names)
    times, gaps = {name: [] for name in turns}, {}
    for turn in range(repeats + 1):
        for name, call in turns.items():
            taken, result = timed(call, scores.device)
            gaps[name] = getattr(result, "gap", None)
            if turn:
                times[name].append(taken)
    return {name: statistics.median(taken) for name, taken in times.items()}, gaps


def available():
    """Backends to compare: those that can run here."""
    missing = {info.name: info.unavailable for info in ms.backends()}
    for name in ("triton", "batched"):
        if missing[name] is not None:
            print(f"{name} is left out: it {missing[name]}\n")
    return [name for name in ("triton", "batched", "exact") if missing[name] is None]


def show_rates(options):
    """Print the table of rates."""
    import torch

    device = torch.device(options.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    names = available()
    try:
        from triton import __version__ as version
    except ImportError:
        version = "none"
    print(f"{name}, torch {torch.__version__}, triton {version}, masksolve {ms.__version__}\n")
    headings = ["exact, host" if each == "exact" else each for each in names]
    columns = [f"{each}, ms | Gel/s | x floor | gap" for each in headings]
    print(f"| size | dtype | pattern | floor, ms | {' | '.join(columns)} |")
    print("|--:|---|---|--:|" + "--:|" * 4 * len(names))
    for size in options.size:
        gaussian = torch.randn((size, size), generator=torch.Generator().manual_seed(0)).to(device)
        for dtype in options.dtypes:
            scores = gaussian.to(getattr(torch, dtype))
            for pattern in options.patterns:
                times, gaps = measure(scores, pattern, names, options.repeats)
                cells = [
                    f"{1e3 * times[each]:.3f} | {scores.numel() / times[each] / 1e9:.3f} | "
                    f"{times[each] / times['floor']:.1f} | {gaps[each]:.1e}"
                    for each in names
                ]
                row = [str(size), dtype, pattern, f"{1e3 * times['floor']:.3f}", *cells]
                print(f"| {' | '.join(row)} |", flush=True)


def show_compiled(options):
    """Print what the kernels use."""
    from triton import __version__

    from masksolve.backends.triton.compiling import TARGETS, compile_ahead
    from masksolve.backends.triton.launching import Rule

    print(f"triton {__version__}, float32 prices\n")
    columns = [f"sm_{target}: registers, spilled bytes" for target in TARGETS]
    print(f"| pattern | kernel | tiles a program | warps | {' | '.join(columns)} |")
    print("|---|---|--:|--:|" + "--:|" * len(TARGETS))
    types = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}
    for text in COMPILED if options.patterns == list(PATTERNS) else options.patterns:
        pattern = ms.Pattern.parse(text)
        rule = Rule(pattern.n, pattern.constraint != "exact", "magnitude", False, 1e30, 1e-6, 3)
        height = pattern.m if pattern.transposable else 1
        made = [
            compile_ahead(rule, height, pattern.m, target, types[options.dtypes[0]]) for target in TARGETS
        ]
        uses = " | ".join(f"{kernel.registers}, {kernel.spilled}" for kernel in made)
        print(f"| {text} | {made[0].name} | {made[0].tiles} | {made[0].warps} | {uses} |", flush=True)


def main():
    """Print a table."""
    import torch

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=int, nargs="+", default=[8192, 4096])
    parser.add_argument("--patterns", nargs="+", default=list(PATTERNS))
    parser.add_argument("--dtypes", nargs="+", default=list(DTYPES), choices=DTYPES)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--compile", action="store_true")
    options = parser.parse_args()
    (show_compiled if options.compile else show_rates)(options)


if __name__ == "__main__":
    main()
