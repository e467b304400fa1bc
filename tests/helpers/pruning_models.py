"""Models to prune without training, data for them, and everything that must be as it was after an error."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from small_models import perceptron  # noqa: E402
from torch import nn  # noqa: E402

X = torch.randn(80, 8, generator=torch.Generator().manual_seed(1)) @ torch.rand(
    8, 8, generator=torch.Generator().manual_seed(2)
)
IMAGES = torch.rand(12, 4, 9, 9, generator=torch.Generator().manual_seed(3))


def convolutional(seed=0):
    """Convolutions with and without bias, grouped and one-dimensional; normalisations that saw data."""
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Conv2d(4, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 16, (3, 2), stride=2, groups=2),
        nn.ReLU(),
        nn.Flatten(2),
        nn.Conv1d(16, 8, 3, padding=1, bias=False),
        nn.BatchNorm1d(8),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(8 * 16, 8),
    )
    with torch.no_grad():
        model(torch.rand(64, 4, 9, 9))
    return model.eval()


MODELS = {"linear": (perceptron, X), "convolutional": (convolutional, IMAGES)}


def state(model):
    """Everything that must be as it was after an error."""
    tensors = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    modes = [(module.training, getattr(module, "momentum", None)) for module in model.modules()]
    hooks = [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules()]
    wanted = [parameter.requires_grad for parameter in model.parameters()]
    return tensors, modes, hooks, wanted


def assert_same(model, before):
    after = state(model)
    assert after[1:] == before[1:]
    assert after[0].keys() == before[0].keys()
    for name, tensor in before[0].items():
        assert torch.equal(after[0][name], tensor), name
