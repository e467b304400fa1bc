"""A small ResNet that reads digits: its images, its training, and its accuracy."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from benchmarks import resnet
from masksolve.adapters import torch as mt


@dataclass(frozen=True)
class Images:
    """Images (N, 1, H, W) and labels to train and to test with, and where they are from."""

    train: torch.Tensor
    train_labels: torch.Tensor
    test: torch.Tensor
    test_labels: torch.Tensor
    source: str


@dataclass(frozen=True)
class Plan:
    """Network and training; the same for every seed.

    Attributes
    ----------
    width, blocks : int
        See `benchmarks.resnet.resnet`.
    epochs : int
        From random weights.
    sparse_epochs : int
        More of them, under a fixed mask, for the models that are converted.
    calibration : int
        Training images that pruning sees, without their labels.
    """

    width: int = 16
    blocks: int = 1
    epochs: int = 6
    sparse_epochs: int = 2
    calibration: int = 300


def load(name: str, limit: int | None = None) -> Images:
    """Shuffle the images, the same way each time; a fifth is for the test."""
    images, labels, source = resnet.digits(name)
    order = np.random.default_rng(0).permutation(len(images))[:limit]
    x, y = torch.from_numpy(images[order]), torch.from_numpy(np.asarray(labels[order], dtype=np.int64))
    first = len(x) * 4 // 5
    return Images(x[:first], y[:first], x[first:], y[first:], source)


def train(images: Images, plan: Plan, seed: int) -> nn.Module:
    """A dense model."""
    torch.manual_seed(seed)
    model = resnet.resnet(plan.width, plan.blocks)
    optimizer = _optimizer(model)
    _descend(model, optimizer, images, epochs=plan.epochs, peak=0.1)
    return model


def train_sparse(dense: nn.Module, images: Images, plan: Plan, pattern: str, seed: int) -> nn.Module:
    """Prune a copy of a dense model once, by magnitude, and train it on under that mask."""
    torch.manual_seed(seed)
    model = copy.deepcopy(dense)
    optimizer = _optimizer(model)
    sparsifier = mt.prune_trained_model(model, optimizer, pattern)
    _descend(model, optimizer, images, epochs=plan.sparse_epochs, peak=0.03)
    return sparsifier.finalize()


def accuracy(model: nn.Module, images: Images) -> float:
    """Per cent of the test images that are read rightly."""
    model.eval()
    with torch.inference_mode():
        guesses = torch.cat([model(batch).argmax(1) for batch in images.test.split(250)])
    return 100 * (guesses == images.test_labels).double().mean().item()


def _optimizer(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4, nesterov=True)


def _descend(
    model: nn.Module, optimizer: torch.optim.Optimizer, images: Images, *, epochs: int, peak: float
) -> None:
    """Batches of 125 images, the learning rate up to ``peak`` and down again."""
    size = 125
    steps = epochs * -(-len(images.train) // size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, peak, total_steps=max(steps, 2))
    model.train()
    for _ in range(epochs):
        for batch in torch.randperm(len(images.train)).split(size):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(images.train[batch]), images.train_labels[batch])
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    model.eval()
