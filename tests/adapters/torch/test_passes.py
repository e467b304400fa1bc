"""Backward products by other masks and by pruned gradients, against the papers' definitions spelled out."""

import copy
import pickle

import numpy as np
import pytest

import masksolve as ms

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from masksolve.adapters import torch as mt  # noqa: E402
from masksolve.adapters.torch.training import passes  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")


class Conv1D(nn.Module):
    """As GPT-2's, by the name that masksolve knows it by."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(16, 32))
        self.bias = nn.Parameter(torch.randn(32))

    def forward(self, x):
        return x @ self.weight + self.bias


Conv1D.__module__ = "transformers.pytorch_utils"

LAYERS = {  # layer, input, its product with a weight, the weight as (..., outputs, inputs)
    "linear": (lambda: nn.Linear(16, 32), (5, 3, 16), functional.linear, lambda w: w),
    "no bias": (lambda: nn.Linear(16, 32, bias=False), (6, 16), functional.linear, lambda w: w),
    "conv1d": (
        lambda: nn.Conv1d(16, 32, 3, padding="same", padding_mode="circular"),
        (2, 16, 7),
        lambda x, w: functional.conv1d(functional.pad(x, (1, 1), mode="circular"), w),
        lambda w: w.permute(2, 0, 1),
    ),
    "conv2d": (
        lambda: nn.Conv2d(16, 32, 3, stride=2, padding=1, groups=2),
        (2, 16, 6, 5),
        lambda x, w: functional.conv2d(x, w, stride=2, padding=1, groups=2),
        lambda w: w.reshape(2, 16, 8, 3, 3).permute(0, 3, 4, 1, 2),
    ),
    "gpt2": (Conv1D, (5, 16), lambda x, w: x @ w, lambda w: w.T),
}
EVERY = pytest.mark.parametrize(("make", "shape", "product", "matrices"), LAYERS.values(), ids=LAYERS)


def masked(make, **options):
    torch.manual_seed(0)
    model = nn.Sequential(make())
    return model, mt.sparsify(model, "2:4", dense_ends=False, **options)


def gradients(model, x, out):
    x = x.clone().requires_grad_()
    model.zero_grad()
    y = model(x)
    y.backward(out)
    held = {"0." + name: each.grad for name, each in model[0].named_parameters()}
    return y.detach(), x.grad, held


def largest(size, n, m):
    """True at the n largest of every m consecutive entries of the last axis."""
    groups = size.reshape(*size.shape[:-1], -1, m)
    places = groups.topk(n, dim=-1).indices
    return torch.zeros_like(groups, dtype=torch.bool).scatter_(-1, places, True).reshape(size.shape)


@EVERY
@pytest.mark.parametrize("dynamic", [True, False])
def test_double_pruning_is_slopes(make, shape, product, matrices, dynamic):
    options = {"refresh_every": 1, "decay": 0.1} if dynamic else {}
    model, sparsifier = masked(make, backward="double_pruned", **options)
    usual, _ = masked(make, **options)
    (dense,), (mask,) = sparsifier.dense_weights.values(), sparsifier.masks.values()
    masking = model[0].parametrizations.weight[0]
    forward = matrices(mask)
    assert torch.equal(forward, largest(matrices(dense.detach()).abs(), 2, 4))
    kept = torch.where(forward, matrices(dense.detach()).abs(), 0)
    expected = forward & largest(kept.mT, 2, 4).mT
    assert torch.equal(matrices(masking.backward_mask), expected)
    x = torch.randn(shape)
    with torch.no_grad():
        out = torch.randn(model(x).shape)
    y, to_input, to_weights = gradients(model, x, out)
    y_usual, _, to_weights_usual = gradients(usual, x, out)
    torch.testing.assert_close(y, y_usual)
    for name, gradient in to_weights.items():  # straight through, or masked: as without
        torch.testing.assert_close(gradient, to_weights_usual[name])
    free = x.clone().requires_grad_()
    product(free, torch.where(masking.backward_mask, dense, 0).detach()).backward(out)
    assert torch.equal(to_input, free.grad)


def test_bi_masks_order_is_the_best_of_those_tried():
    model, sparsifier = masked(lambda: nn.Linear(24, 32), backward="bidirectional", refresh_every=1)
    plain, _ = masked(lambda: nn.Linear(24, 32), backward="double_pruned", refresh_every=1)
    mask, backward = sparsifier.masks["0"], model[0].parametrizations.weight[0].backward_mask
    rng, best, most = np.random.default_rng(0), None, -1
    for number in range(1 + passes.ORDERS):
        order = rng.permutation(32) if number else np.arange(32)
        count = np.minimum(mask.numpy()[order].reshape(8, 4, 24).sum(1), 2).sum()
        if count > most:
            best, most = order, count
    assert most == backward.sum() > plain[0].parametrizations.weight[0].backward_mask.sum()
    size = torch.where(mask, sparsifier.dense_weights["0"].detach().abs(), 0)[best]
    expected = torch.zeros_like(mask)
    expected[best] = largest(size.T, 2, 4).T & mask[best]
    assert torch.equal(backward, expected)
    in_order = backward.numpy()[best].reshape(8, 4, 24).sum(1)
    assert in_order.max() == 2


@EVERY
def test_pruned_gradients_follow_the_pattern_and_are_right_on_average(make, shape, product, matrices):
    model, _ = masked(make, gradients="1:2", refresh_every=1)
    usual, _ = masked(make, refresh_every=1)
    x = torch.randn(shape)
    with torch.no_grad():
        out = torch.randn(model(x).shape)
    _, to_input_usual, to_weights_usual = gradients(usual, x, out)
    total, rounds = {}, 400
    for _ in range(rounds):
        _, to_input, to_weights = gradients(model, x, out)
        torch.testing.assert_close(to_input, to_input_usual)
        for name, gradient in to_weights.items():
            first, second = total.get(name, (0, 0))
            total[name] = first + gradient, second + gradient**2
    for name, (first, second) in total.items():
        mean = first / rounds
        error = ((second / rounds - mean**2) / rounds).sqrt()
        if name.endswith("bias"):  # it has no product, and the whole gradient
            torch.testing.assert_close(to_weights[name], to_weights_usual[name])
        else:
            assert ((mean - to_weights_usual[name]).abs() <= 6 * error + 1e-5).all()


def test_groups_of_gradients_run_along_what_is_summed():
    gradient = torch.randn(2, 8, 3, 3)  # samples, outputs, places: 18 terms for each output
    pruned = passes.pruned_at_random(gradient, ms.Pattern.parse("2:4 pad"), -3)
    flat = functional.pad(pruned.movedim(1, 0).reshape(8, 18), (0, 2))
    count = (flat.reshape(8, 5, 4) != 0).sum(-1)
    assert count.max() == count.min() == 2


def test_states_copies_and_the_end():
    options = {"backward": "bidirectional", "gradients": "2:4", "refresh_every": 2}
    model, sparsifier = masked(lambda: nn.Linear(16, 32), **options)
    with torch.no_grad():
        sparsifier.dense_weights["0"].mul_(torch.randn(32, 16))
    sparsifier.step()
    sparsifier.step()
    x = torch.randn(5, 16)
    expected = gradients(model, x, torch.ones(5, 32))[1]
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(gradients(twin, x, torch.ones(5, 32))[1], expected)
        assert type(mt.finalize(twin)[0]).forward is nn.Linear.forward
    by_state, its = masked(lambda: nn.Linear(16, 32), **options)
    by_state.load_state_dict(model.state_dict())
    assert torch.equal(gradients(by_state, x, torch.ones(5, 32))[1], expected)
    by_bits, its = masked(lambda: nn.Linear(16, 32), **options)
    with torch.no_grad():
        its.dense_weights["0"].copy_(sparsifier.dense_weights["0"])
    its.load_state_dict(sparsifier.state_dict(weights=True))
    assert torch.equal(gradients(by_bits, x, torch.ones(5, 32))[1], expected)
    plain = mt.effective_state(model.state_dict())
    assert set(plain) == {"0.weight", "0.bias"}
    by_plain, _ = masked(lambda: nn.Linear(16, 32), **{**options, "backward": "double_pruned"})
    by_plain.load_state_dict(plain)
    own = by_plain[0].parametrizations.weight[0]
    assert torch.equal(own.mask, plain["0.weight"] != 0)
    assert (own.backward_mask.T.reshape(16, 8, 4).sum(-1) <= 2).all()
    y = model(x)
    torch.testing.assert_close(sparsifier.finalize()(x), y)
    assert type(model[0]).forward is nn.Linear.forward


def test_bfloat16_and_autocast_stay_narrow():
    model, _ = masked(lambda: nn.Linear(16, 32), backward="double_pruned", gradients="2:4")
    with torch.autocast("cpu", torch.bfloat16):
        y = model(torch.randn(4, 16, requires_grad=True))
        assert y.dtype == torch.bfloat16
        y.sum().backward()
    narrow = copy.deepcopy(model).bfloat16()
    y = narrow(torch.randn(4, 16, dtype=torch.bfloat16))
    assert y.dtype == torch.bfloat16
    y.sum().backward()
    assert all(each.grad.dtype == torch.bfloat16 for each in narrow.parameters())


@pytest.mark.parametrize(
    ("layer", "pattern", "options", "error", "message"),
    [
        (nn.Linear(16, 16), "2:4-T", {"backward": "double_pruned"}, ValueError, "'2:4-T' serves both passes"),
        (nn.Linear(16, 16), "2:4", {"backward": "both"}, ValueError, "backward must be"),
        (nn.Linear(16, 18), "2:4", {"backward": "double_pruned"}, ValueError, "does not fit '0', which"),
        (
            nn.ConvTranspose1d(16, 16, 2),
            "2:4",
            {"gradients": "1:2"},
            ValueError,
            "'0' is a parameter of Conv",
        ),
        (nn.MultiheadAttention(16, 2), "2:4", {"gradients": "1:2"}, ValueError, r"skip="),
        (nn.Linear(16, 16), "2:4", {"gradients": "2:4-T"}, ValueError, "gradients must be a one-directional"),
    ],
)
def test_what_is_not_known_is_refused(layer, pattern, options, error, message):
    model = nn.Sequential(layer)
    before = list(model.state_dict())
    with pytest.raises(error, match=message):
        mt.sparsify(model, pattern, dense_ends=False, **options)
    assert list(model.state_dict()) == before
