"""Error against iterations of ADMM on a block of a real encoder, as a picture.

``python -m examples.post_training.convergence --plot docs/figures``; see docs/layer_loss.md for what it
needs.
"""

from __future__ import annotations

import argparse
import functools
import statistics
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

import masksolve as ms
from benchmarks.instances import MissingWeightsError
from masksolve.adapters.torch.layers import known_weights
from masksolve.adapters.torch.pruning.calibration import Calibration
from masksolve.adapters.torch.pruning.observe import layer_statistics
from masksolve.adapters.torch.pruning.state import evaluating

from .encoder import batches, load_encoder, tokenize
from .sentences import first_sentences, split

PATTERNS = ("2:4-T", "2:4", "4:8-T")
_COLOURS = ("#b01030", "#3f7fbf", "#d07030")
_POINTS = (1, 2, 3, 4, 6, 9, 12, 15, 18, 21, 24, 30, 36, 42, 48, 54, 60)

Curve = tuple[list[int], list[float]]

Layers = list[tuple[np.ndarray, np.ndarray]]
"""Weights and Gram matrix of each matrix."""


def layers_of(sentences: Sequence[str]) -> Layers:
    """The six matrices of the first block, and the Gram matrices of what they are given."""
    encoder = load_encoder()
    data = Calibration(batches(tokenize(sentences)))
    number = len(list(data))
    found = []
    with evaluating(encoder):
        for weight in known_weights(encoder):
            if weight.name.startswith("layers.0."):
                (seen,) = layer_statistics(encoder, data, weight, [1] * number)
                found.append((weight.layer.weight.detach().numpy(), seen.gram.numpy()))
    return found


def relative(w: np.ndarray, mask: np.ndarray, gram: np.ndarray) -> float:
    """Squared output error of the mask with its least-squares weights, relative to the outputs."""
    fitted = ms.reconstruction.least_squares(w, mask, gram)
    errors = [ms.reconstruction.output_error(w, other, gram).sum() for other in (fitted, np.zeros_like(w))]
    return float(errors[0] / errors[1])


def curve(layers: Layers, pattern: str) -> Curve:
    """Mean error after as many iterations; matrices that have ended stay where they are."""
    masks: list[dict[int, np.ndarray]] = []
    for w, gram in layers:
        seen: dict[int, np.ndarray] = {}
        ms.reconstruction.admm(w, gram, pattern, progress=functools.partial(_note, seen))
        masks.append(seen)
    most = max(len(seen) for seen in masks)
    points = [point for point in _POINTS if point < most] + [most]
    errors = [
        statistics.fmean(
            relative(w, seen[min(point, len(seen))], gram)
            for (w, gram), seen in zip(layers, masks, strict=True)
        )
        for point in points
    ]
    return points, errors


def _note(seen: dict[int, np.ndarray], iteration: ms.reconstruction.Iteration) -> None:
    seen[iteration.number] = iteration.mask


def marks(layers: Layers, pattern: str) -> dict[str, float]:
    """Mean errors of masks from other methods, each with its least-squares weights."""
    ways = {
        "magnitude": lambda w, gram: ms.solve(np.abs(w), pattern).mask,
        "SparseGPT": lambda w, gram: ms.reconstruction.sparsegpt(w, gram, pattern)[1],
    }
    return {
        name: statistics.fmean(relative(w, find(w, gram), gram) for w, gram in layers)
        for name, find in ways.items()
    }


def draw(
    curves: dict[str, tuple[list[int], list[float]]], others: dict[str, dict[str, float]], file: Path
) -> None:
    """One line a pattern; other methods as marks at the left edge."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    for (pattern, (points, errors)), colour in zip(curves.items(), _COLOURS, strict=False):
        axes.plot(points, errors, "-o", color=colour, markersize=4, label=f"ADMM, {pattern}")
        for (name, error), style in zip(others[pattern].items(), (":", "--"), strict=True):
            axes.axhline(error, color=colour, linestyle=style, linewidth=1, label=f"{name}, {pattern}")
    axes.set_xlabel("iterations")
    axes.set_ylabel("mean relative error of the outputs")
    axes.set_title("Masks of ADMM with their least-squares weights, first block of all-MiniLM-L6-v2")
    axes.set_ylim(bottom=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8, ncols=3)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=150)
    plt.close(figure)


def main(words: Sequence[str] | None = None) -> None:
    """Print the figures and draw them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patterns", nargs="+", default=list(PATTERNS))
    parser.add_argument("--sentences", type=int, default=512)
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args(words)
    torch.set_num_threads(1)
    try:
        layers = layers_of(split(first_sentences(), options.sentences, 1)[0])
    except MissingWeightsError as error:
        raise SystemExit(str(error)) from None
    curves, others = {}, {}
    for pattern in options.patterns:
        curves[pattern], others[pattern] = curve(layers, pattern), marks(layers, pattern)
        print(pattern, *(f"{name} {error:.4f}" for name, error in others[pattern].items()))
        print(*(f"{point}: {error:.4f}" for point, error in zip(*curves[pattern], strict=True)), flush=True)
    if options.plot:
        draw(curves, others, options.plot / "admm_iterations.png")


if __name__ == "__main__":
    main()
