"""Train the network that ``masksolve demo`` prunes, and write it to ``masksolve/data``.

A perceptron 64-128-64-10 on the 8x8 digits that scikit-learn ships: two thirds of the 1,797
images train it, the other third, stratified and never seen in training, is kept for testing. The
widths are multiples of 32, so that every pattern of the demonstration fits. They were picked from
six sizes tried, by looking at what pruning costs on these same held-out images: larger networks
hardly notice it. The demonstration therefore illustrates; it is no evidence for one pattern over another.

Everything that is random has a fixed seed: on one machine with fixed versions of NumPy and
scikit-learn the files come out the same, byte for byte; elsewhere the weights may differ in
their last digits.

    python examples/train_demo.py [DIRECTORY]
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

HIDDEN = (128, 64)
SEED = 0
BRIGHTEST = 16
DATA = Path(__file__).resolve().parent.parent / "masksolve" / "data"


def main(directory: Path) -> None:
    """Train, report, and write ``digits_mlp.npz`` and ``digits_test.npz``."""
    images, labels = load_digits(return_X_y=True)
    seen, unseen, seen_labels, unseen_labels = train_test_split(
        images, labels, test_size=1 / 3, stratify=labels, random_state=SEED
    )
    model = MLPClassifier(HIDDEN, random_state=SEED).fit(seen / BRIGHTEST, seen_labels)
    print(
        f"accuracy: training {model.score(seen / BRIGHTEST, seen_labels):.4f}, "
        f"held out {model.score(unseen / BRIGHTEST, unseen_labels):.4f}"
    )

    arrays = {}
    for number, (weights, biases) in enumerate(zip(model.coefs_, model.intercepts_, strict=True), start=1):
        # scikit-learn has (inputs, outputs); weights are (outputs, inputs) here, as in torch
        arrays[f"layer{number}.weight"] = np.ascontiguousarray(weights.T, dtype=np.float32)
        arrays[f"layer{number}.bias"] = biases.astype(np.float32)
    np.savez_compressed(directory / "digits_mlp.npz", **arrays)
    np.savez_compressed(
        directory / "digits_test.npz", images=unseen.astype(np.uint8), labels=unseen_labels.astype(np.uint8)
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else DATA)
