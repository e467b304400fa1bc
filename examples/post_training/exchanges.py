"""What exchanges of single entries add to ADMM, and what they cost, on a block of a real encoder.

``python -m examples.post_training.exchanges``; see docs/layer_loss.md for what it needs.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

import masksolve as ms
from benchmarks.instances import MissingWeightsError

from .convergence import layers_of
from .sentences import first_sentences, split
from .tables import markdown

Layer = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Weights, and the Gram matrices of calibration and of unseen sentences."""


def relative(w: np.ndarray, other: np.ndarray, gram: np.ndarray) -> float:
    """Squared output error, relative to the outputs."""
    errors = [ms.reconstruction.output_error(w, each, gram).sum() for each in (other, np.zeros_like(w))]
    return float(errors[0] / errors[1])


class Found(NamedTuple):
    """Errors (layers, kinds of sentences), seconds of processor time, and masks."""

    errors: np.ndarray
    seconds: float
    masks: list[np.ndarray]


def measure(layers: Sequence[Layer], pattern: str, rounds: int) -> Found:
    """Prune every layer, and look at its outputs for both kinds of sentences."""
    errors, masks, seconds = [], [], 0.0
    for w, *grams in layers:
        started = time.process_time()
        weights, mask = ms.reconstruction.admm(w, grams[0], pattern, exchanges=rounds)
        seconds += time.process_time() - started
        masks.append(mask)
        errors.append([relative(w, weights, gram) for gram in grams])
    return Found(np.array(errors), seconds, masks)


def cells(found: Found, plain: Found) -> list[str]:
    """Mean errors, mean changes of the errors, new entries, and time, beside what no exchanges give."""
    means, changes = found.errors.mean(axis=0), (found.errors / plain.errors).mean(axis=0) - 1
    news = sum(int((mask & ~old).sum()) for mask, old in zip(found.masks, plain.masks, strict=True))
    share = news / sum(int(mask.sum()) for mask in plain.masks)
    words = [f"{mean:.5f} ({change:+.1%})" for mean, change in zip(means, changes, strict=True)]
    return [*words, f"{share:.1%}", f"{found.seconds:.1f}"]


def main(words: Sequence[str] | None = None) -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patterns", nargs="+", default=["2:4-T", "4:8-T", "2:4"])
    parser.add_argument("--rounds", nargs="+", type=int, default=[5, 100])
    parser.add_argument(
        "--matrices", nargs="+", type=int, default=[0, 1, 2, 3], help="of the first block's six"
    )
    parser.add_argument("--sentences", type=int, default=512)
    options = parser.parse_args(words)
    torch.set_num_threads(1)
    try:
        sides = split(first_sentences(), options.sentences, options.sentences)
        first, second = (layers_of(side) for side in sides)
    except MissingWeightsError as error:
        raise SystemExit(str(error)) from None
    layers = [(*first[k], second[k][1]) for k in options.matrices]
    rows = []
    for pattern in options.patterns:
        plain = measure(layers, pattern, 0)
        for rounds in (0, *options.rounds):
            found = measure(layers, pattern, rounds) if rounds else plain
            rows.append([f"{pattern}, {rounds} rounds", *cells(found, plain)])
            print(*rows[-1], flush=True)
    titles = ["", "error, calibration", "error, unseen", "exchanged", "seconds of processor time"]
    print(markdown(titles, rows))


if __name__ == "__main__":
    main()
