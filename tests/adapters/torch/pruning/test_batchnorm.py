"""Mean absorption and the re-estimation of running statistics, against means taken by hand."""

import copy

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from masksolve.adapters import torch as mt  # noqa: E402

IMAGES = torch.rand(24, 3, 6, 6, generator=torch.Generator().manual_seed(0)) + 1


def net(seed=0):
    """A biased convolution, one with a normalisation behind it, one with neither, a dropout, a head."""
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.ReLU(),
        nn.Conv2d(4, 4, 3, groups=2, bias=False),
        nn.BatchNorm2d(4, momentum=0.3),
        nn.Dropout(0.5),
        nn.Conv2d(4, 4, 1, bias=False),
        nn.Flatten(),
        nn.Linear(16, 5),
        nn.BatchNorm1d(5, momentum=None),
    )
    with torch.no_grad():
        model(IMAGES)
    return model.eval()


def halved(model):
    """The same model with half of its weights gone."""
    pruned = copy.deepcopy(model)
    with torch.no_grad():
        for layer in pruned:
            if isinstance(layer, (nn.Conv2d, nn.Linear)):
                layer.weight.view(-1)[::2] = 0
    return pruned


def snapshot(model):
    modes = [(module.training, getattr(module, "momentum", None)) for module in model.modules()]
    hooks = [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules()]
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}, modes, hooks


def assert_same(model, before):
    after = snapshot(model)
    assert after[1:] == before[1:]
    assert all(torch.equal(tensor, after[0][name]) for name, tensor in before[0].items())


def mean(output):
    return output.double().mean(dim=(0, *range(2, output.ndim))).numpy()


@pytest.mark.parametrize("batch_size", [5, 24])
def test_each_layer_gives_the_mean_it_gave_with_its_dense_weights(batch_size):
    dense, model = net(), halved(net())
    weights = {name: tensor.clone() for name, tensor in model.named_parameters() if "weight" in name}
    model.train()
    targets = mt.absorb_mean(model, dense, IMAGES, batch_size=batch_size)
    assert targets == {"0": "0.bias", "2": "3.running_mean", "5": "", "7": "7.bias"}
    assert all(torch.equal(dict(model.named_parameters())[name], each) for name, each in weights.items())
    assert all(module.training for module in model.modules())
    model.eval()
    x, changed = IMAGES, False
    with torch.no_grad():
        for index, layer in enumerate(model):
            if index in (0, 7):
                np.testing.assert_allclose(mean(layer(x)), mean(dense[index](x)), atol=1e-6)
            if index == 2:
                kept, wanted = model[3](layer(x)), dense[3](dense[2](x))
                np.testing.assert_allclose(mean(kept), mean(wanted), atol=1e-6)
                changed = not torch.equal(model[3].running_mean, dense[3].running_mean)
            x = layer(x)
    assert changed


@pytest.mark.parametrize(
    ("spoil", "calibration", "error", "message"),
    [
        (lambda dense: None, IMAGES[:0], ValueError, "calibration must hold samples"),
        (lambda dense: None, IMAGES * torch.nan, ValueError, "must be finite"),
        (lambda dense: None, IMAGES[:, :2], ValueError, "does not go through the model"),
        (lambda dense: dense.pop(7), IMAGES, ValueError, "dense must have the same layers .* like '7'"),
        (lambda dense: setattr(dense, "7", nn.Linear(16, 4)), IMAGES, ValueError, "like '7'"),
    ],
)
def test_absorption_that_fails_changes_nothing(spoil, calibration, error, message):
    dense, model = net(), halved(net()).train()
    spoil(dense)
    before = snapshot(model)
    with pytest.raises(error, match=message):
        mt.absorb_mean(model, dense, calibration)
    assert_same(model, before)


def test_absorption_needs_a_difference():
    with pytest.raises(ValueError, match="all its weights are those of model"):
        mt.absorb_mean(net(), net(), IMAGES)
    with pytest.raises(TypeError, match="dense must be the model before pruning, got OrderedDict"):
        mt.absorb_mean(net(), net().state_dict(), IMAGES)


@pytest.mark.parametrize("batch_size", [8, 12, 24])
def test_statistics_are_averages_over_batches(batch_size):
    model = halved(net())
    reference = copy.deepcopy(model).eval()
    names = mt.retune_batchnorm(model, IMAGES, batch_size=batch_size)
    assert names == ["3", "8"]
    batches = IMAGES.double().split(batch_size)
    reference = reference.double()
    first, second = [], []
    with torch.no_grad():
        for batch in batches:
            given = reference[:3](batch)
            first.append((given.mean(dim=(0, 2, 3)), given.var(dim=(0, 2, 3), unbiased=True)))
            normalised = nn.functional.batch_norm(
                given, None, None, reference[3].weight, reference[3].bias, training=True
            )
            given = reference[4:8](normalised)
            second.append((given.mean(dim=0), given.var(dim=0, unbiased=True)))
    for norm, parts in ((model[3], first), (model[8], second)):
        for found, values in zip(
            (norm.running_mean, norm.running_var), zip(*parts, strict=True), strict=True
        ):
            np.testing.assert_allclose(found, torch.stack(values).mean(dim=0), rtol=2e-4, atol=1e-5)
        assert norm.num_batches_tracked == len(batches)


def test_only_running_statistics_change():
    model = halved(net()).train()
    model[3].eval()
    before = snapshot(model)
    mt.retune_batchnorm(model, IMAGES)
    after = snapshot(model)
    assert after[1:] == before[1:]
    changed = {name for name, tensor in before[0].items() if not torch.equal(tensor, after[0][name])}
    assert changed <= {
        f"{norm}.{each}" for norm in "38" for each in ("running_mean", "running_var", "num_batches_tracked")
    }
    assert {"3.running_mean", "3.running_var", "8.running_mean", "8.running_var"} <= changed


def test_results_do_not_depend_on_the_statistics_of_before():
    models = halved(net()), halved(net())
    for buffer in (models[1][3].running_mean, models[1][3].running_var, models[1][8].running_mean):
        buffer.fill_(7.0)
    for model in models:
        mt.retune_batchnorm(model, IMAGES)
    assert all(
        torch.equal(one, other) for one, other in zip(models[0].buffers(), models[1].buffers(), strict=True)
    )


class Detour(nn.Module):
    """A normalisation that data of this shape never reach."""

    def __init__(self):
        super().__init__()
        self.used, self.unused = nn.BatchNorm2d(3), nn.BatchNorm2d(3)

    def forward(self, x):
        return self.used(x) if len(x) < 1000 else self.unused(x)


@pytest.mark.parametrize(
    ("model", "calibration", "message"),
    [
        (nn.Linear(4, 4), torch.ones(2, 4), "model must have a batch normalisation with running statistics"),
        (nn.BatchNorm1d(4, track_running_stats=False), torch.ones(2, 4), "running statistics, it has none"),
        (net(), IMAGES[:1], "does not go through the model.*more than 1 value"),
        (net(), [IMAGES, IMAGES * torch.inf], "batch 1 must be finite"),
        (net(), [], "gave no batches"),
        (Detour(), IMAGES, r"never calls the batch normalisations \['unused'\]"),
    ],
)
def test_re_estimation_that_fails_changes_nothing(model, calibration, message):
    before = snapshot(model)
    with pytest.raises(ValueError, match=message):
        mt.retune_batchnorm(model, calibration)
    assert_same(model, before)
