"""Images to learn from: three parts of a real data set, standardised."""

from __future__ import annotations

import gzip
import importlib.resources
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional

FASHION = Path("/usr/share/datasets/fashion-mnist")  # Debian's package dataset-fashion-mnist
SHIPPED = "digits_test.npz"


class Part(NamedTuple):
    """Images (N, 1, H, W), float32, and their classes (N,), int64."""

    x: torch.Tensor
    y: torch.Tensor


class Data(NamedTuple):
    """A data set in three parts; settings are chosen on ``validation``, results are from ``test``."""

    name: str
    train: Part
    validation: Part
    test: Part


def load(name: str) -> Data:
    """Read a data set.

    Parameters
    ----------
    name : {"fashion", "shipped"} or path
        "fashion": Fashion-MNIST, averaged over 2 x 2 to 14 x 14, from where Debian's package
        dataset-fashion-mnist puts it; a path: the same four files from another folder. "shipped":
        the 599 images of digits, 8 x 8, that masksolve's demonstration comes with.

    Returns
    -------
    Data
        "fashion" has 50,000, 10,000 and 10,000 images, "shipped" 399, 100 and 100.

    Raises
    ------
    SystemExit
        If the files are not there.
    """
    if name == "shipped":
        return _shipped()
    folder = FASHION if name == "fashion" else Path(name)
    if not (folder / "train-images-idx3-ubyte.gz").exists():
        raise SystemExit(
            f"no Fashion-MNIST in {folder}: apt-get install dataset-fashion-mnist, or --data FOLDER with "
            f"its four .gz files"
        )
    x, y = _idx(folder, "train")
    tested = _idx(folder, "t10k")
    name = "Fashion-MNIST averaged to 14 x 14"
    cut = len(y) * 5 // 6
    return _standardised(name, Part(x[:cut], y[:cut]), Part(x[cut:], y[cut:]), tested)


def _idx(folder: Path, part: str) -> Part:
    pixels = gzip.decompress((folder / f"{part}-images-idx3-ubyte.gz").read_bytes())[16:]
    classes = gzip.decompress((folder / f"{part}-labels-idx1-ubyte.gz").read_bytes())[8:]
    x = torch.from_numpy(np.frombuffer(pixels, dtype=np.uint8).astype(np.float32).reshape(-1, 1, 28, 28))
    return Part(functional.avg_pool2d(x, 2), torch.from_numpy(np.frombuffer(classes, np.uint8).astype(int)))


def _shipped() -> Data:
    with (importlib.resources.files("masksolve") / "data" / SHIPPED).open("rb") as file:
        arrays = np.load(file)
        x = torch.from_numpy(arrays["images"].astype(np.float32).reshape(-1, 1, 8, 8))
        y = torch.from_numpy(arrays["labels"].astype(np.int64))
    parts = [Part(x[each], y[each]) for each in (slice(399), slice(399, 499), slice(499, None))]
    return _standardised("digits 8 x 8 shipped with masksolve", *parts)


def _standardised(name: str, train: Part, *others: Part) -> Data:
    deviation, mean = torch.std_mean(train.x)
    return Data(name, *(Part((part.x - mean) / deviation, part.y) for part in (train, *others)))
