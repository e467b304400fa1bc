"""A language model pruned without training: ``python -m examples.language_model``.

SmolLM2-135M, dequantised from a 4-bit file that a package brings, is pruned block by block in all ways of
the documentation's table, or in those asked for; perplexity is measured on another part of the calibration's
book and on another book. Every row is written to a JSON file as soon as it is measured, and is not measured
again: a run that was stopped goes on with the same command.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from dataclasses import asdict
from pathlib import Path

import torch

from . import plots, tables
from .model import MissingModelError, load, windows
from .study import MASKS, METHODS, PATTERNS, PERMUTED, TABLE, Contest, Row, contests, dense, pruned
from .texts import MissingTextsError, corpora

LENGTH, TEST = 512, 12
QUICK_LENGTH, QUICK_TEST = 64, 1


def parse(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m examples.language_model", description=__doc__)
    choice = parser.add_argument_group(
        "what to measure", "every combination of what is given here; by default the documentation's table"
    )
    choice.add_argument("--patterns", nargs="+")
    choice.add_argument("--methods", nargs="+", choices=[*METHODS, *PERMUTED])
    choice.add_argument("--masks", nargs="+", choices=list(MASKS))
    choice.add_argument("--splits", nargs="+", type=int, help="which calibration windows")
    parser.add_argument("--samples", type=int, default=16, help=f"calibration windows of {LENGTH} tokens")
    parser.add_argument("--texts", type=Path, default=Path("/"), help="where the Debian packages are")
    parser.add_argument("--json", type=Path, help="write figures here; goes on from it if it is there")
    parser.add_argument("--plot", type=Path, help="folder for language_model.png")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="a smoke run, whose figures mean nothing")
    return parser.parse_args(words)


def wanted(arguments: argparse.Namespace) -> list[Contest]:
    """What the arguments ask for."""
    asked = (arguments.patterns, arguments.methods, arguments.masks, arguments.splits)
    if not any(asked):
        return TABLE
    patterns, methods, masks, splits = asked
    return contests(patterns or PATTERNS, methods or list(METHODS), masks or ["exact"], splits or [0])


def read(file: Path | None) -> list[Row]:
    """Rows that are there already."""
    if file is None or not file.exists():
        return []
    return [Row(**row) for row in json.loads(file.read_text())]


def write(file: Path | None, rows: list[Row]) -> None:
    """Write all rows in one step, so that a run that is stopped leaves a file that can be read."""
    if file is not None:
        beside = file.with_name(f"{file.name}.part")
        beside.write_text(json.dumps([asdict(row) for row in rows], indent=1))
        os.replace(beside, file)


def measure(arguments: argparse.Namespace, asked: list[Contest], rows: list[Row]) -> list[Row]:
    """Measure what the rows lack."""
    length, tested = (QUICK_LENGTH, QUICK_TEST) if arguments.quick else (LENGTH, TEST)
    samples = 2 if arguments.quick else arguments.samples
    known = {row.key for row in rows}
    missing = [each for each in asked if (*each, samples) not in known]
    if not missing and rows:
        return rows
    model, tokenizer = load()
    if arguments.quick:
        model.model.layers = model.model.layers[:2]
    texts = corpora(arguments.texts)
    tests = {name: windows(tokenizer, texts[name], tested, length) for name in ("handbook", "python")}
    if not rows:
        rows = [dense(model, tests)]
        print(rows[0], flush=True)
        write(arguments.json, rows)
    for each in missing:
        calibration = windows(tokenizer, texts["calibration"], samples, length, first=each.split * samples)
        row = pruned(model, calibration, tests, each)
        rows.append(row)
        print(time.strftime("[%H:%M:%S]"), row, flush=True)
        write(arguments.json, rows)
    return rows


def main(words: list[str] | None = None) -> None:
    arguments = parse(words)
    torch.set_num_threads(arguments.threads)
    try:
        rows = measure(arguments, wanted(arguments), read(arguments.json))
    except (MissingModelError, MissingTextsError) as error:
        raise SystemExit(str(error)) from None
    write(arguments.json, rows)
    print(tables.report(rows))
    if arguments.plot:
        plots.draw(rows, arguments.plot)


if __name__ == "__main__":
    main()
