"""Small torch models, and the steps that train them."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

torch.set_num_threads(1)


def perceptron(width=16, seed=0):
    """Three linear layers, of which sparsify masks the middle one unless it is told otherwise."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Linear(8, width), nn.GELU(), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, 8)
    )


def convolutional(seed=0):
    """Convolutions, one of them grouped, batch normalisation, an embedding of the channels, a head."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 16, 3),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1, groups=2),
        nn.ReLU(),
        nn.Conv2d(32, 16, (1, 2)),
        nn.Flatten(2),
        nn.Conv1d(16, 8, 3, bias=False),
        nn.AdaptiveAvgPool1d(1),
        nn.Flatten(),
        nn.Linear(8, 8),
    )


def batch(model, step, size=8):
    """The same random inputs for the same step."""
    generator = torch.Generator().manual_seed(step)
    first = model[0]
    shape = (size, 8) if isinstance(first, nn.Linear) else (size, 3, 8, 8)
    return torch.randn(shape, generator=generator)


def loss_of(model, inputs):
    """How far eight outputs are from the inputs' first eight numbers."""
    outputs = model(inputs).float()
    return (outputs - inputs.flatten(1)[:, :8].float().sin()).square().mean()


def train(model, optimizer, sparsifier, steps, first=0):
    """Train for some steps on `batch`; return the losses."""
    losses = []
    for step in range(first, first + steps):
        optimizer.zero_grad()
        loss = loss_of(model, batch(model, step))
        loss.backward()
        optimizer.step()
        if sparsifier is not None:
            sparsifier.step()
        losses.append(loss.item())
    return losses
