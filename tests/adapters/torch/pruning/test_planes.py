"""Every weight is pruned by what it is multiplied by, in the plane of the product."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

import masksolve as ms  # noqa: E402
from masksolve.adapters import torch as mt  # noqa: E402
from masksolve.adapters.torch.layers import known_weights  # noqa: E402
from masksolve.adapters.torch.pruning.calibration import Calibration  # noqa: E402
from masksolve.adapters.torch.pruning.features import caller_of  # noqa: E402
from masksolve.adapters.torch.pruning.observe import layer_statistics, survey  # noqa: E402
from masksolve.adapters.torch.pruning.rows import rows_of, weight_from  # noqa: E402
from masksolve.adapters.torch.pruning.state import evaluating  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")


class Conv1D(nn.Module):
    """As GPT-2's, by the name that masksolve knows it by."""

    def __init__(self, outputs, inputs):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(inputs, outputs))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x):
        return x @ self.weight + self.bias


Conv1D.__module__ = "transformers.pytorch_utils"


class Experts(nn.Module):
    """Two matrices for each expert, in the three ways that mixtures multiply by them."""

    def __init__(self, count=4, width=16, inner=8, *, transposed=False, way="loop"):
        super().__init__()
        torch.manual_seed(0)
        shapes = {"up_proj": (inner, width), "down_proj": (width, inner)}
        for name, shape in shapes.items():
            setattr(self, name, nn.Parameter(torch.randn(count, *(shape[::-1] if transposed else shape))))
        self.is_transposed, self.way = transposed, way

    def forward(self, tokens, chosen):
        up, down = self.up_proj, self.down_proj
        if not self.is_transposed:
            up, down = up.mT, down.mT
        order = chosen.flatten().argsort()
        ends = torch.bincount(chosen.flatten(), minlength=len(up)).cumsum(0)
        out = torch.empty_like(tokens)
        if self.way == "grouped":
            inner = torch._grouped_mm(tokens[order], up, offs=ends.to(torch.int32)).relu()
            out[order] = torch._grouped_mm(inner, down, offs=ends.to(torch.int32))
            return out
        if self.way == "stacked":  # every expert sees every token
            every = torch.bmm(tokens.expand(len(up), -1, -1), up).relu()
            return torch.bmm(every, down).sum(dim=0)
        for number, rows in enumerate(torch.tensor_split(order, ends[:-1])):
            out[rows] = (tokens[rows] @ up[number]).relu() @ down[number]
        return out


def only(layer):
    (weight,) = known_weights(layer)
    return weight


def gathered(model, data, name):
    """Statistics of one weight of a model."""
    weights = {weight.name: weight for weight in known_weights(model)}
    caller = model.get_submodule(caller_of(model, weights[name]))
    with evaluating(model):
        found = survey(model, data, weights.values())
        return layer_statistics(model, data, weights[name], found.calls[name], caller=caller)


UPWARD = [
    (nn.ConvTranspose2d(4, 6, 3), (2, 4, 5, 4)),
    (nn.ConvTranspose2d(4, 6, (3, 2), stride=(2, 3), padding=(2, 1), output_padding=(1, 0)), (2, 4, 3, 4)),
    (nn.ConvTranspose2d(4, 8, 2, stride=3, dilation=2, groups=2), (2, 4, 3, 2)),
    (nn.ConvTranspose1d(4, 6, 4, stride=2, padding=1), (3, 4, 5)),
    (nn.ConvTranspose3d(4, 4, (1, 2, 3), stride=(1, 2, 1)), (2, 4, 2, 3, 2)),
]
VOLUMES = [
    (nn.Conv3d(4, 6, (1, 2, 3), padding=(0, 1, 1), stride=(1, 2, 1), dilation=(1, 1, 2)), (2, 4, 2, 4, 6)),
    (nn.Conv3d(4, 6, 2, padding="same", padding_mode="circular", groups=2), (2, 4, 3, 3, 3)),
]


@pytest.mark.parametrize(("layer", "shape"), [*UPWARD, *VOLUMES], ids=lambda each: str(each)[:70])
def test_convolutions_by_the_outputs_that_they_give(layer, shape):
    """Random rows in place of the weights: their errors by the Gram matrices are those of the outputs."""
    layer = layer.double()
    weight, x = only(layer), torch.randn(shape, dtype=torch.float64)
    found = gathered(layer, Calibration(x), "")
    rows = rows_of(weight).detach()
    assert torch.equal(weight_from(rows, weight), layer.weight)
    assert len(found) == layer.groups == len(rows)
    change = torch.randn_like(rows)
    predicted = sum(np.sum(d @ seen.gram.numpy() * d) for d, seen in zip(change.numpy(), found, strict=True))
    with torch.no_grad():
        before = layer(x)
        layer.weight += weight_from(change, weight)
        error = (layer(x) - before).square().sum()
        layer.weight -= weight_from(change, weight)
    assert predicted == pytest.approx(float(error), rel=1e-9)


@pytest.mark.parametrize("way", ["loop", "grouped", "stacked"])
@pytest.mark.parametrize("transposed", [False, True])
def test_experts_by_the_tokens_that_are_routed_to_them(way, transposed):
    model = Experts(transposed=transposed, way=way)
    tokens, chosen = torch.randn(30, 16), torch.arange(30)[:, None] % 3  # the last expert sees none
    data = Calibration([(tokens, chosen)])
    first, second = gathered(model, data, "up_proj"), gathered(model, data, "down_proj")
    for number in range(4):
        mine = tokens if way == "stacked" else tokens[chosen[:, 0] == number]
        up = model.up_proj[number] if transposed else model.up_proj[number].T
        inner = (mine @ up).relu().detach()
        assert first[number].count == second[number].count == len(mine)
        np.testing.assert_allclose(first[number].gram, (mine.T @ mine).numpy(), rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(second[number].gram, (inner.T @ inner).numpy(), rtol=1e-4, atol=1e-3)


def test_experts_are_repaired_and_those_without_samples_keep_their_weights():
    model = Experts()
    before = {name: each.detach().clone() for name, each in model.named_parameters()}
    tokens, chosen = torch.randn(300, 16) @ torch.rand(16, 16), torch.arange(300)[:, None] % 3
    wanted = model(tokens, chosen).detach()
    report = mt.adaprune(model, [(tokens, chosen)], "2:4-T", dense_ends=False)
    assert [layer.name for layer in report.layers] == ["up_proj", "down_proj"]
    assert all(layer.unseen == 1 and layer.error_after < layer.error_before for layer in report.layers)
    assert "1 without samples" in str(report)
    for name, mask in report.masks.items():
        assert ms.verify(mask.numpy(), "2:4-T").ok
        best = ms.solve(before[name][3].abs().numpy(), "2:4-T").mask
        np.testing.assert_array_equal(mask[3].numpy(), best)
        assert torch.equal(getattr(model, name)[3], before[name][3] * mask[3])
    masked = Experts()
    with torch.no_grad():
        for name, each in masked.named_parameters():
            each.copy_(before[name] * torch.from_numpy(ms.solve(before[name].abs().numpy(), "2:4-T").mask))
    with torch.no_grad():
        error = [float((other(tokens, chosen) - wanted).square().sum()) for other in (model, masked)]
    assert error[0] < 0.5 * error[1]


def test_padding_reaches_no_expert():
    class Mixture(nn.Module):
        def __init__(self):
            super().__init__()
            self.experts = Experts()

        def forward(self, hidden, attention_mask):
            flat = hidden.flatten(0, 1)
            return self.experts(flat, (torch.arange(len(flat)) % 4)[:, None])

    hidden, mask = torch.randn(3, 8, 16), torch.ones(3, 8)
    mask[:, 6:] = 0
    given = {"hidden": hidden, "attention_mask": mask}
    found = gathered(Mixture(), Calibration([given]), "experts.up_proj")
    assert sum(seen.count for seen in found) == 18
    flat = hidden.flatten(0, 1)[mask.flatten() != 0]
    np.testing.assert_allclose(sum(seen.gram for seen in found), (flat.T @ flat).numpy(), rtol=1e-4)


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("cross", [False, True])
def test_projections_of_an_attention(batch_first, cross):
    torch.manual_seed(0)
    model = nn.MultiheadAttention(16, 2, batch_first=batch_first).eval()
    shape = (3, 5, 16) if batch_first else (5, 3, 16)
    x, other = torch.randn(shape), torch.randn(shape)
    given = (x, other, other) if cross else (x, x, x)
    inner = gathered(model, Calibration([given]), "in_proj_weight")
    for seen, each in zip(inner, given, strict=True):
        flat = each.reshape(-1, 16)
        assert seen.count == 15
        np.testing.assert_allclose(seen.gram, (flat.T @ flat).numpy(), rtol=1e-4, atol=1e-4)
    (last,) = gathered(model, Calibration([given]), "out_proj")
    with torch.no_grad():
        answer = model(*given)[0].reshape(-1, 16) - model.out_proj.bias
        mixed = torch.linalg.solve(model.out_proj.weight, answer.T).T
    np.testing.assert_allclose(last.gram, (mixed.T @ mixed).numpy(), rtol=1e-3, atol=1e-4)


def test_padding_reaches_no_projection():
    class Padded(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = nn.MultiheadAttention(16, 2, batch_first=True)

        def forward(self, x, attention_mask):
            return self.attention(x, x, x, key_padding_mask=attention_mask == 0)[0]

    x, mask = torch.randn(3, 5, 16), torch.ones(3, 5)
    mask[0, 2:] = 0
    data = Calibration([{"x": x, "attention_mask": mask}])
    found = gathered(Padded(), data, "attention.in_proj_weight")
    for seen in found:
        assert seen.count == 12
        flat = x[mask != 0]
        np.testing.assert_allclose(seen.gram, (flat.T @ flat).numpy(), rtol=1e-4, atol=1e-4)


def test_an_encoder_of_torch_is_pruned_whole():
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
    model = nn.TransformerEncoder(layer, 2).eval()
    x = torch.randn(40, 6, 16) @ torch.rand(16, 16)
    wanted = model(x).detach()
    report = mt.adaprune(model, x, "2:4-T", bias_correction=True)
    parts = ("self_attn.in_proj_weight", "self_attn.out_proj", "linear1", "linear2")
    assert [each.name for each in report.layers] == [f"layers.{n}.{part}" for n in range(2) for part in parts]
    absorbed = [f"layers.0.self_attn.{name}" for name in ("in_proj_bias", "out_proj.bias")]
    assert [each.absorbed for each in report.layers[:2]] == absorbed
    assert not report.skipped
    for name, mask in report.masks.items():
        matrices = mask.reshape(3, 16, 16) if name.endswith("in_proj_weight") else mask
        assert ms.verify(matrices.numpy(), "2:4-T").ok
    masked = nn.TransformerEncoder(layer, 2).eval()
    mt.adaprune(masked, x, "2:4-T", method="none", saliency="magnitude")
    with torch.no_grad():
        errors = [float((other(x) - wanted).square().sum()) for other in (model, masked)]
    assert errors[0] < 0.5 * errors[1]


def test_transposed_layers_are_pruned_as_their_twins():
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 16))
    turned = nn.Sequential(Conv1D(32, 16), nn.ReLU(), Conv1D(16, 32))
    with torch.no_grad():
        for number in (0, 2):
            turned[number].weight.copy_(plain[number].weight.T)
            turned[number].bias.copy_(plain[number].bias)
    x = torch.randn(200, 16) @ torch.rand(16, 16)
    for model in (plain, turned):
        mt.adaprune(model, x, "2:4 axis=-2", dense_ends=False)
    for number in (0, 2):
        torch.testing.assert_close(turned[number].weight.T, plain[number].weight, rtol=1e-4, atol=1e-5)


def test_layers_that_are_called_by_keyword():
    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.turned = Conv1D(8, 4)

        def forward(self, x):
            return self.turned(x=x)

    x = torch.randn(20, 4)
    (seen,) = gathered(Named(), Calibration(x), "turned")
    np.testing.assert_allclose(seen.gram, (x.T @ x).numpy(), rtol=1e-5, atol=1e-5)


def test_conversions_and_mean_absorption_know_planes():
    torch.manual_seed(0)
    dense, model = (Conv1D(32, 16) for _ in range(2))
    with torch.no_grad():
        model.weight.copy_(dense.weight)
    x = torch.randn(100, 16) + 1
    mt.adaprune(model, x, "4:8", dense_ends=False)
    report = mt.convert(model, "4:8", "2:4", calibration=x)
    assert [layer.name for layer in report.layers] == [""]
    assert ms.verify(model.weight.detach().T.numpy() != 0, "2:4").ok
    assert mt.absorb_mean(model, dense, x) == {"": "bias"}
    error = (model(x) - dense(x)).mean(dim=0)
    torch.testing.assert_close(error, torch.zeros(32), rtol=0, atol=1e-4)
    with pytest.raises(ValueError, match="no layer that follows from_pattern"):
        mt.convert(Conv1D(16, 32), "4:8", "2:4")


class Copying(nn.Module):
    """Multiplies by copies of its weight, which nothing tells from other tensors."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(16, 16), nn.Linear(16, 16)
        self.matrix = nn.Parameter(torch.randn(16, 16))

    def forward(self, x):
        return self.second(self.first(x) @ self.matrix.clone())


def test_what_cannot_be_seen_is_an_error_and_what_is_not_known_is_named():
    model = Copying()
    report = mt.adaprune(model, torch.randn(50, 16), "2:4", dense_ends=False)
    assert "belongs to a Copying, of which masksolve does not know" in report.skipped["matrix"]
    before = [each.clone() for each in model.parameters()]
    with pytest.raises(ValueError, match=r"no product of matrices with \['matrix'\].*skip="):
        mt.adaprune(model, torch.randn(50, 16), "2:4", planes={"matrix": mt.Plane(1, 0)}, dense_ends=False)
    assert all(torch.equal(*each) for each in zip(before, model.parameters(), strict=True))
    Copying.forward = lambda self, x: self.second(self.first(x) @ self.matrix)
    report = mt.adaprune(
        model, torch.randn(50, 16), "2:4", planes={"matrix": mt.Plane(1, 0)}, dense_ends=False
    )
    assert report.skipped == {}
    assert ms.verify(report.masks["matrix"].T.numpy(), "2:4").ok
