"""Pruning a folder of shards against what bounds it: a copy of the folder, and the bare solves.

    python -m benchmarks.checkpoints make FOLDER [--gigabytes 1.5]
    python -m benchmarks.checkpoints time FOLDER [--patterns 2:4-T 8:16-T] [--workers 1 2] [--repeats 3]

``make`` writes a folder like that of a language model: bfloat16 weights in three shards, an index, embeddings
and a head that are left alone. ``time`` takes three times, and prints them in seconds:

- copy: ``cp -r`` of the folder, and fsync of every file of the copy;
- solve: ``masksolve.solve`` of every tensor that is pruned, one after the other, from memory;
- prune: ``masksolve.checkpoints.prune``, from the call until every byte is on the disk.

The three take turns after a first round that does not count, and their times are medians. The files that they
read are in the page cache.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import time
from functools import partial
from pathlib import Path

import ml_dtypes
import numpy as np
from safetensors.numpy import save_file

import masksolve as ms
from masksolve.checkpoints.entries import WIDTHS, read, weights_of

WIDTH, INNER, WORDS = 2048, 5632, 32000
SHARDS = 3


def make(folder, gigabytes):
    """Write the folder."""
    folder.mkdir(parents=True)
    layer = {
        **{f"self_attn.{name}_proj.weight": (WIDTH, WIDTH) for name in "qkvo"},
        **{f"mlp.{name}_proj.weight": (INNER, WIDTH) for name in ("gate", "up")},
        "mlp.down_proj.weight": (WIDTH, INNER),
        "input_layernorm.weight": (WIDTH,),
    }
    ends = 2 * WORDS * WIDTH
    layers = round((gigabytes * 1e9 / 2 - ends) / sum(map(np.prod, layer.values())))
    shapes = {
        "model.embed_tokens.weight": (WORDS, WIDTH),
        **{f"model.layers.{n}.{name}": shape for n in range(layers) for name, shape in layer.items()},
        "lm_head.weight": (WORDS, WIDTH),
    }
    rng = np.random.default_rng(0)
    places, total = {}, 0
    shards = [{} for _ in range(SHARDS)]
    share = sum(np.prod(shape) for shape in shapes.values()) / SHARDS
    entries = 0
    for name, shape in shapes.items():
        shards[min(int(entries / share), SHARDS - 1)][name] = shape
        entries += int(np.prod(shape))
    for number, names in enumerate(shards, 1):
        file = f"model-{number:05}-of-{SHARDS:05}.safetensors"
        made = {
            name: (0.02 * rng.standard_normal(shape, np.float32)).astype(ml_dtypes.bfloat16)
            for name, shape in names.items()
        }
        save_file(made, folder / file, {"format": "pt"})
        places |= dict.fromkeys(made, file)
        total += sum(tensor.nbytes for tensor in made.values())
    index = {"metadata": {"total_size": total}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "config.json").write_text('{"model_type": "llama", "tie_word_embeddings": false}')


def copy(folder, target):
    """Seconds of ``cp -r`` and of bringing the copy to the disk."""
    started = time.perf_counter()
    subprocess.run(["cp", "-r", folder, target], check=True)
    for path in target.rglob("*"):
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
    return time.perf_counter() - started


def solve(folder, pattern, workers):
    """Seconds of the bare solves."""
    plan = ms.checkpoints.plan(folder, pattern)
    seconds = 0.0
    for step in plan.steps:
        if step.pattern is not None:
            stored = read(plan.checkpoint.weights[step.file].path, step.entry)
            bits = stored.view(f"u{WIDTHS[step.entry.dtype]}").reshape(step.entry.shape)
            weights = weights_of(bits, step.entry.dtype)
            started = time.perf_counter()
            ms.solve(weights, pattern, score="magnitude", workers=workers)
            seconds += time.perf_counter() - started
    return seconds


def prune(folder, target, pattern, workers):
    """Seconds of pruning the folder."""
    started = time.perf_counter()
    ms.checkpoints.prune(folder, target, pattern, workers=workers, resume=False)
    return time.perf_counter() - started


def measure(folder, pattern, workers, repeats):
    """Medians of the three times, for each number of workers."""
    target = folder.with_name(f"{folder.name}.out")
    calls = {"copy": partial(copy, folder, target)}
    for count in workers:
        calls[f"solve, workers={count}"] = partial(solve, folder, pattern, count)
        calls[f"prune, workers={count}"] = partial(prune, folder, target, pattern, count)
    clear = partial(shutil.rmtree, target, ignore_errors=True)
    return {name: statistics.median(taken) for name, taken in in_turn(calls, repeats, clear).items()}


def in_turn(calls, repeats, clear):
    """Seconds of each call. Each begins when the files of the one before have just been removed.

    On a virtual machine, memory that has been free for a while is slower to write to than such memory.
    """
    times = {name: [] for name in calls}
    for repeat in range(-1, repeats):
        for name, call in calls.items():
            seconds = call()
            clear()
            if repeat >= 0:
                times[name].append(seconds)
    return times


def main():
    """Do what the command line says."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    making, timing = (commands.add_parser(name) for name in ("make", "time"))
    for command in (making, timing):
        command.add_argument("folder", type=Path)
    making.add_argument("--gigabytes", type=float, default=1.5)
    timing.add_argument("--patterns", nargs="+", default=["2:4-T", "8:16-T"])
    timing.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    timing.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    if options.command == "make":
        make(options.folder, options.gigabytes)
        return
    print(
        "| pattern | workers | copy, s | solve, s | prune, s | prune / larger | gain, solve | gain, prune |"
    )
    print("|---|--:|--:|--:|--:|--:|--:|--:|")
    for pattern in options.patterns:
        times = measure(options.folder, pattern, options.workers, options.repeats)
        for count in options.workers:
            cells = (f"{number:.2f}" for number in row(times, count, options.workers[0]))
            print(f"| {pattern} | {count} | {' | '.join(cells)} |", flush=True)


def row(times, count, first):
    """Times with some workers, the ratio to the larger of copy and solve, gains over ``first`` workers."""
    copied = times["copy"]
    solved, pruned = (times[f"{what}, workers={count}"] for what in ("solve", "prune"))
    gains = (
        times[f"{what}, workers={first}"] / taken for what, taken in (("solve", solved), ("prune", pruned))
    )
    return copied, solved, pruned, pruned / max(copied, solved), *gains


if __name__ == "__main__":
    main()
