"""Accuracy of real models pruned without training: ``python -m examples.post_training``.

Three studies. ``minilm``: a pretrained sentence encoder, every method and pattern, exact masks beside
greedy ones; how well embeddings of unseen sentences agree with those of the dense encoder. ``resnet``:
the paper's Table A.1 scaled down to a small ResNet on MNIST images. ``convert``: its Table A.2, models
trained with one pattern and taken to others. One thread, fixed seeds.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from threadpoolctl import threadpool_limits

from benchmarks.instances import MissingWeightsError

from . import digit_study, digits, encoder, plots, sentence_study, sentences, tables
from .record import KINDS, Record, versions


@dataclass(frozen=True)
class Scale:
    """How much is measured; everything that the figures depend on.

    Attributes
    ----------
    calibration, test : int
        Sentences.
    depth : int
        Layers of the encoder that are used.
    images : int or None
        Images that are used; None for all.
    seeds : int
        Trainings of the ResNet.
    """

    calibration: int = 256
    test: int = 500
    depth: int = 6
    sentence_patterns: Sequence[str] = sentence_study.PATTERNS
    images: int | None = None
    seeds: int = 3
    plan: digits.Plan = field(default_factory=digits.Plan)
    digit_patterns: Sequence[str] = digit_study.PATTERNS
    conversions: dict[str, Any] = field(default_factory=lambda: digit_study.CONVERSIONS)


QUICK = Scale(
    calibration=16,
    test=24,
    depth=1,
    sentence_patterns=("2:4-T",),
    images=500,
    seeds=1,
    plan=digits.Plan(width=8, epochs=1, sparse_epochs=1, calibration=100),
    digit_patterns=("2:4-T",),
    conversions={"4:8": (("2:4", "1:2"),)},
)


def study_sentences(record: Record, scale: Scale, tell: Callable[[object], None]) -> None:
    """Measure what the record lacks of ``minilm``."""
    model = encoder.load_encoder()
    model.layers = model.layers[: scale.depth]
    sides = sentences.split(sentences.first_sentences(), scale.calibration, scale.test)
    calibration, test = (encoder.batches(encoder.tokenize(side)) for side in sides)
    tell(f"minilm: {_tokens(calibration)} tokens to calibrate with, {_tokens(test)} to test with")
    rows = sentence_study.measure(
        model, calibration, test, patterns=scale.sentence_patterns, done=record.rows["minilm"]
    )
    for row in rows:
        record.add("minilm", [row])
        tell(row)


def _tokens(batches: Sequence[torch.Tensor]) -> int:
    return sum(batch.numel() for batch in batches)


def study_digits(
    record: Record,
    scale: Scale,
    images: digits.Images,
    studies: Collection[str],
    tell: Callable[[object], None],
) -> None:
    """Measure what the record lacks of ``resnet`` and ``convert``; a seed's training serves both."""
    for seed in range(scale.seeds):
        missing = {name for name in studies if all(row.seed != seed for row in record.rows[name])}
        if not missing:
            continue
        dense = digits.train(images, scale.plan, seed)
        tell(f"seed {seed}: trained")
        if "resnet" in missing:
            rows = digit_study.from_dense(
                dense, images, scale.plan, seed, patterns=scale.digit_patterns, tell=tell
            )
            record.add("resnet", rows)
        if "convert" in missing:
            rows = digit_study.converted(
                dense, images, scale.plan, seed, conversions=scale.conversions, tell=tell
            )
            record.add("convert", rows)


def parse(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m examples.post_training", description=__doc__)
    parser.add_argument("--only", action="append", choices=list(KINDS), help="repeatable; default all")
    parser.add_argument("--quick", action="store_true", help="a smoke run, whose figures mean nothing")
    parser.add_argument("--data", choices=["auto", "mnist", "digits"], default="auto", help="of the ResNet")
    parser.add_argument("--json", type=Path, help="write figures here; goes on from it if it is there")
    parser.add_argument("--plot", type=Path, help="folder for post_training_*.svg")
    return parser.parse_args(words)


def main(words: list[str] | None = None) -> None:
    arguments = parse(words)
    scale = QUICK if arguments.quick else Scale()
    only = arguments.only or list(KINDS)
    torch.set_num_threads(1)
    started = time.perf_counter()

    def tell(line: object) -> None:
        print(f"[{time.perf_counter() - started:5.0f} s] {line}", flush=True)

    try:
        record = Record(asdict(scale), arguments.json)
    except ValueError as error:
        raise SystemExit(f"--json: {error}") from error
    with threadpool_limits(1):
        if "minilm" in only:
            try:
                study_sentences(record, scale, tell)
            except MissingWeightsError as error:
                raise SystemExit(f"--only minilm: {error}") from error
        studies = {"resnet", "convert"} & set(only)
        if studies:
            images = digits.load(arguments.data, scale.images)
            tell(f"{images.source}: {len(images.train)} to train, {len(images.test)} to test")
            study_digits(record, scale, images, studies, tell)
    print(f"\n{versions()}\n\n{tables.report(record.rows)}")
    if arguments.plot:
        plots.draw(record.rows, arguments.plot)


if __name__ == "__main__":
    main()
