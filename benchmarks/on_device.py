"""Masks where the array lives: times of whole calls, certificate included, and their ratios to a copy.

    python -m benchmarks.on_device [--size 8192 4096] [--patterns ...] [--dtypes ...] [--contestants ...]
    python -m benchmarks.on_device --compile

Every line is one contestant on one array of random weights, of which the magnitudes count:

- ``floor``: a kernel that reads the scores and writes a byte for each, ``torch.lt(scores, 0, out=...)``;
- ``triton`` and ``batched``, exact, on the device;
- ``entropic``: optimal transport and rounding (TSENOR), on the device, in torch's operations;
- ``90 patterns``: 2:4-T as other libraries find it, every tile times all 90 masks by one matrix product, and
  the largest taken. It gives a mask without an objective or a proof;
- ``exact, host``: the compiled engine, with the copies there and back that a device's array needs.

``x floor`` is how many times longer a contestant takes than the floor, ``below best`` the share of the
optimum that its mask loses. Contestants take turns, and the first round, which compiles kernels, is not
counted; of the others the median is shown. Without a GPU the same runs on the processor, at a smaller size.

``--compile`` needs no device: it compiles the kernels ahead of time for three GPUs, and shows what they use.
"""

from __future__ import annotations

import argparse
import itertools
import platform
import statistics
import time

import numpy as np

import masksolve as ms

PATTERNS = ("2:4", "2:4-T", "2:4-T at_most", "4:8-T", "8:16-T", "8:16-T at_most", "16:32-T")
DTYPES = ("float32", "bfloat16", "float16")
COMPILED = (*PATTERNS, "16:32-T at_most", "32:64-T")
PRODUCT = "90 patterns"
CONTESTANTS = ("triton", "batched", "entropic", PRODUCT, "exact")


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


def all_masks():
    """The 90 masks of 2:4-T, (90, 16)."""
    rows = [np.isin(range(4), pair) for pair in itertools.combinations(range(4), 2)]
    masks = np.array(list(itertools.product(rows, repeat=4)))
    return masks[(masks.sum(axis=1) == 2).all(axis=1)].reshape(-1, 16)


def by_product(scores, masks):
    """The best mask of every 4 x 4 tile, by one product with all masks, which have the scores' type."""
    height, width = scores.shape
    tiles = scores.abs().view(height // 4, 4, width // 4, 4).transpose(1, 2)
    best = (tiles.reshape(-1, 16) @ masks.T).argmax(dim=1)
    chosen = masks[best].view(height // 4, width // 4, 4, 4).transpose(1, 2)
    return chosen.reshape(height, width).bool()


def contestants(scores, pattern, names):
    """What takes turns, by name: the floor, then those of ``names`` that can run the pattern."""
    import torch

    mask = torch.empty_like(scores, dtype=torch.bool)
    turns = {"floor": lambda: torch.lt(scores, 0, out=mask)}
    for name in names:
        if name == PRODUCT:
            if pattern == "2:4-T":
                masks = torch.from_numpy(all_masks()).to(scores)
                turns[name] = lambda masks=masks: by_product(scores, masks)
        elif name != "entropic" or ms.Pattern.parse(pattern).transposable:
            options = {"backend": name, "score": "magnitude", "duals": False}
            turns[name] = lambda options=options: ms.solve(scores, pattern, **options)
    return turns


def measure(scores, pattern, names, repeats):
    """Median seconds of every contestant, and what its mask keeps of the magnitudes (None for the floor)."""
    turns = contestants(scores, pattern, names)
    times, kept = {name: [] for name in turns}, {name: None for name in turns}
    for turn in range(repeats + 1):
        for name, call in turns.items():
            taken, result = timed(call, scores.device)
            if turn:
                times[name].append(taken)
            elif isinstance(result, ms.MaskResult):
                assert name == "entropic" or result.status is ms.Status.OPTIMAL, f"{name} proved no optimum"
                kept[name] = result.objective
            elif name != "floor":
                kept[name] = float(scores.double().abs()[result].sum())
    return {name: statistics.median(taken) for name, taken in times.items()}, kept


def available(wanted):
    """Those contestants that can run here; says why the others cannot."""
    missing = {info.name: info.unavailable for info in ms.backends()}
    for name in wanted:
        if missing.get(name) is not None:
            print(f"{name} is left out: it {missing[name]}\n")
    return [name for name in wanted if missing.get(name) is None]


def show_times(options):
    """Print the table of times."""
    import torch

    device = torch.device(options.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    names = available(options.contestants)
    try:
        from triton import __version__ as version
    except ImportError:
        version = "none"
    print(f"{name}, torch {torch.__version__}, triton {version}, masksolve {ms.__version__}\n")
    print("| size | dtype | pattern | contestant | ms | Gelement/s | x floor | below best |")
    print("|--:|---|---|---|--:|--:|--:|--:|")
    for size in options.size or ([8192, 4096] if device.type == "cuda" else [512]):
        gaussian = torch.randn((size, size), generator=torch.Generator().manual_seed(0)).to(device)
        for dtype in options.dtypes:
            scores = gaussian.to(getattr(torch, dtype))
            for pattern in options.patterns:
                times, kept = measure(scores, pattern, names, options.repeats)
                best = max((each for each in kept.values() if each is not None), default=0.0)
                for each, taken in times.items():
                    shown = "exact, host" if each == "exact" else each
                    loss = "" if kept[each] is None else f"{max(1 - kept[each] / best, 0.0):.1e}"
                    rate = scores.numel() / taken / 1e9
                    cells = f"{1e3 * taken:.3f} | {rate:.3f} | {taken / times['floor']:.1f} | {loss}"
                    print(f"| {size} | {dtype} | {pattern} | {shown} | {cells} |", flush=True)


def show_compiled(options):
    """Print what the kernels use."""
    import torch
    from triton import __version__

    from masksolve.backends.triton.compiling import TARGETS, compile_ahead
    from masksolve.backends.triton.launching import Rule

    print(f"triton {__version__}, float32 prices\n")
    columns = [f"sm_{target}: registers, local accesses" for target in TARGETS]
    print(f"| pattern | kernel | tiles a program | warps | {' | '.join(columns)} |")
    print("|---|---|--:|--:|" + "--:|" * len(TARGETS))
    for text in COMPILED if options.patterns == list(PATTERNS) else options.patterns:
        pattern = ms.Pattern.parse(text)
        rule = Rule(pattern.n, pattern.constraint != "exact", "magnitude", False, 1e30, 1e-6, 3)
        height = pattern.m if pattern.transposable else 1
        dtype = getattr(torch, options.dtypes[0])
        made = [compile_ahead(rule, height, pattern.m, target, dtype) for target in TARGETS]
        uses = " | ".join(f"{kernel.registers}, {kernel.spilled}" for kernel in made)
        print(f"| {text} | {made[0].name} | {made[0].tiles} | {made[0].warps} | {uses} |", flush=True)


def main(arguments=None):
    """Print a table."""
    import torch

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=int, nargs="+")
    parser.add_argument("--patterns", nargs="+", default=list(PATTERNS))
    parser.add_argument("--dtypes", nargs="+", default=list(DTYPES), choices=DTYPES)
    parser.add_argument("--contestants", nargs="+", default=list(CONTESTANTS), choices=CONTESTANTS)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--compile", action="store_true")
    options = parser.parse_args(arguments)
    (show_compiled if options.compile else show_times)(options)


if __name__ == "__main__":
    main()
