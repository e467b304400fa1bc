"""Sparse training in torch: which masks are found, when, what gradients pass them, what is reported."""

import itertools
import math
from types import SimpleNamespace

import assertions
import numpy as np
import oracles
import pytest

import masksolve as ms
from masksolve.testing import FAMILIES

torch = pytest.importorskip("torch")

from small_models import batch, convolutional, loss_of, perceptron, train  # noqa: E402
from torch import nn  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

from masksolve.adapters import torch as mt  # noqa: E402
from masksolve.adapters.torch.training import masked_layer  # noqa: E402

PATTERNS = ["2:4", "4:8-T", "2:4-T", "1:4-T at_most", "2:4 axis=-2", "3:8"]


def places_of(tensor):
    """A weight or mask as one matrix for every place of its kernel, by plain indexing."""
    array = tensor.detach().double().numpy()
    return [array[(slice(None), slice(None), *place)] for place in np.ndindex(array.shape[2:])]


def assert_best(mask, scores, pattern, tiles=3):
    """At every place of the kernel the mask is feasible, and some tiles keep an oracle's optimum."""
    pattern = ms.Pattern.parse(pattern)
    for kept, worth in zip(places_of(mask), places_of(scores), strict=True):
        assertions.assert_feasible(kept.astype(bool), pattern)
        every = list(oracles.tiles(worth.shape, pattern))
        for place, *bounds in every[:: max(1, len(every) // tiles)]:
            tile, chosen = np.atleast_2d(worth[place]), np.atleast_2d(kept[place]).astype(bool)
            best = oracles.value(tile, oracles.best_mask(tile, *bounds))
            assert best - oracles.value(tile, chosen) <= 1e-6 * tile.size * np.abs(tile).max()


def watch_solves(monkeypatch, instead):
    """Let the adapter call ``instead`` for ``masksolve.solve``."""
    monkeypatch.setattr(masked_layer, "ms", SimpleNamespace(**{**vars(ms), "solve": instead}))


class Products(TorchDispatchMode):
    """Records the weights that matrix products and convolutions really multiply by."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = str(function.overloadpacket)
        if name in ("aten.mm", "aten.addmm"):
            self.seen += [(name, each) for each in args if each.ndim == 2]
        elif name in ("aten.convolution", "aten.convolution_backward"):
            self.seen.append((name, args[1] if name == "aten.convolution" else args[2]))
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("family", sorted(FAMILIES))
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_masks_are_optimal_for_weights_of_every_kind(family, dtype):
    rng = np.random.default_rng(1)
    layers = nn.Sequential(nn.Linear(8, 16), nn.Conv2d(8, 8, (2, 1)))
    with torch.no_grad():
        for layer in layers:
            scores = FAMILIES[family](rng, tuple(layer.weight.shape)).astype(np.float64)
            layer.weight.copy_(torch.from_numpy(np.clip(scores, -1e38, 1e38)))
    layers.to(getattr(torch, dtype))
    for pattern in PATTERNS[:4]:
        sparsifier = mt.sparsify(layers, pattern, dense_ends=False)
        for name, mask in sparsifier.masks.items():
            assert_best(mask, sparsifier.dense_weights[name].abs(), pattern)
            assert layers[int(name)].weight.dtype == getattr(torch, dtype)
        sparsifier.remove()


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("make", [perceptron, convolutional])
def test_masks_follow_the_weights_through_training(make, pattern):
    model = make()
    sparsifier = mt.sparsify(model, pattern, refresh_every=2, decay=2e-4)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    before = {name: mask.clone() for name, mask in sparsifier.masks.items()}
    for step in range(4):
        train(model, optimizer, sparsifier, 1, first=step)
        for name, mask in sparsifier.masks.items():
            effective = model.get_submodule(name).weight
            assert torch.equal(effective, torch.where(mask, sparsifier.dense_weights[name], 0))
            if step % 2:
                assert_best(mask, sparsifier.dense_weights[name].abs(), pattern)
    assert any(not torch.equal(before[name], mask) for name, mask in sparsifier.masks.items())


@pytest.mark.parametrize("pattern", ["2:4", "2:4-T", "4:8-T", "1:2-T"])
@pytest.mark.parametrize("refresh_every", [None, 1])
@pytest.mark.parametrize("make", [perceptron, convolutional])
def test_both_passes_multiply_by_n_of_m(make, refresh_every, pattern):
    model = make()
    sparsifier = mt.sparsify(model, pattern, refresh_every=refresh_every)
    shapes = {tuple(mask.shape): mask for mask in sparsifier.masks.values()}
    passes = {"forward": [], "backward": []}
    inputs = batch(model, 0).requires_grad_()
    with Products() as products:
        loss = loss_of(model, inputs)
        passes["forward"], products.seen = products.seen, []
        loss.backward()
        passes["backward"] = products.seen
    for direction, seen in passes.items():
        found = 0
        for name, operand in seen:
            weight = operand
            if direction == "forward" and name == "aten.addmm":
                weight = operand.T  # x @ W.T
            if tuple(weight.shape) not in shapes:
                continue
            found += 1
            for matrix in places_of(weight):
                assert ms.verify(matrix != 0, pattern).ok, direction
                if ms.Pattern.parse(pattern).transposable:
                    assert ms.verify((matrix != 0).T, pattern.removesuffix("-T")).ok, direction
        assert found == len(sparsifier.masks), direction


def test_straight_through_gradient_is_that_of_the_effective_weight():
    model = perceptron()
    sparsifier = mt.sparsify(model, "4:8-T", refresh_every=1)
    dense, mask = sparsifier.dense_weights["2"], sparsifier.masks["2"]
    reference = perceptron()
    with torch.no_grad():
        reference[2].weight.copy_(dense * mask)
    for each in (model, reference):
        loss_of(each, batch(each, 0)).backward()
    torch.testing.assert_close(dense.grad, reference[2].weight.grad)
    assert torch.count_nonzero(dense.grad[~mask]) > 0
    torch.testing.assert_close(model[0].weight.grad, reference[0].weight.grad)


def test_static_gradient_is_masked():
    model = perceptron()
    sparsifier = mt.sparsify(model, "2:4")
    loss_of(model, batch(model, 0)).backward()
    gradient, mask = sparsifier.dense_weights["2"].grad, sparsifier.masks["2"]
    assert torch.count_nonzero(gradient[~mask]) == 0
    assert torch.count_nonzero(gradient[mask]) > 0


def test_decay_is_sr_ste():
    """One step of SGD is equation 9 of Zhou et al.: w - rate (g(w masked) + decay (1 - mask) w)."""
    model, plain = perceptron(), perceptron()
    weight = plain[2].weight.detach().clone()
    sparsifier = mt.sparsify(model, "2:4", refresh_every=5, decay=0.3)
    mask = sparsifier.masks["2"].clone()
    with torch.no_grad():
        plain[2].weight.mul_(mask)
    loss_of(plain, batch(plain, 0)).backward()
    train(model, torch.optim.SGD(model.parameters(), lr=0.5), sparsifier, 1)
    expected = weight - 0.5 * (plain[2].weight.grad + 0.3 * weight * ~mask)
    torch.testing.assert_close(sparsifier.dense_weights["2"].detach(), expected)
    sparsifier.decay = 0.0
    assert sparsifier.decay == 0.0
    sparsifier.dense_weights["2"].grad = None
    model[2].weight.sum().backward()
    assert torch.equal(sparsifier.dense_weights["2"].grad, torch.ones_like(weight))


def test_an_infinite_weight_outside_the_mask_stays_outside():
    model = perceptron()
    sparsifier = mt.sparsify(model, "2:4")
    with torch.no_grad():
        sparsifier.dense_weights["2"].masked_fill_(~sparsifier.masks["2"], math.inf)
    assert torch.isfinite(model[2].weight).all()


def test_steps_between_refreshes_solve_nothing(monkeypatch):
    solved = []

    def counting(*args, **options):
        solved.append(args)
        return ms.solve(*args, **options)

    monkeypatch.setattr(
        masked_layer, "ms", type("Counting", (), {**vars(ms), "solve": staticmethod(counting)})
    )
    model = convolutional()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    sparsifier = mt.sparsify(model, "4:8-T", refresh_every=3)
    layers = len(sparsifier.masks)
    assert layers == 3
    due = []
    for step in range(7):
        before = len(solved)
        train(model, optimizer, None, 1, first=step)
        due.append((sparsifier.step(), len(solved) - before))
    assert due == [(step % 3 == 2, layers * (step % 3 == 2)) for step in range(7)]
    static = mt.sparsify(perceptron(), "2:4")
    before = len(solved)
    assert not any(static.step() for _ in range(50))
    assert len(solved) == before


class Reads(TorchDispatchMode):
    """Counts tensors of which a number was brought to Python, for which a device would have to finish."""

    count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += function is torch.ops.aten._local_scalar_dense.default
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("pattern", ["2:4", "4:8-T"])
def test_a_refresh_waits_once_for_all_layers(pattern, monkeypatch):
    """Beside what each solve waits for; a device finishes the work of one layer while others are begun."""
    model = nn.Sequential(*(nn.Linear(16, 16) for _ in range(6)))
    sparsifier = mt.sparsify(model, pattern, dense_ends=False, refresh_every=1)
    lists, to_list = [], torch.Tensor.tolist
    monkeypatch.setattr(torch.Tensor, "tolist", lambda each: lists.append(each.shape) or to_list(each))
    with Reads() as reads:
        sparsifier.refresh()
    assert reads.count == 0
    assert lists == [(6, 5)]
    assert [record.layer for record in sparsifier.records[6:]] == list("012345")


@pytest.mark.parametrize("warm_start", [True, False])
def test_a_solve_starts_from_the_last_prices_of_the_same_pattern(monkeypatch, warm_start):
    starts = []

    def spying(*args, **options):
        starts.append(options["warm_start"])
        return ms.solve(*args, **options)

    watch_solves(monkeypatch, spying)
    ramp = mt.CubicRamp(final=0.5, steps=3)
    model = perceptron()
    sparsifier = mt.sparsify(model, "4:8-T", refresh_every=1, density=ramp, warm_start=warm_start)
    for _ in range(5):
        with torch.no_grad():
            sparsifier.dense_weights["2"].add_(0.01)
        sparsifier.step()
        assert_best(
            sparsifier.masks["2"], sparsifier.dense_weights["2"].abs(), sparsifier.records[-1].pattern
        )
    patterns = [record.pattern for record in sparsifier.records]
    same = [False] + [a == b for a, b in itertools.pairwise(patterns)]
    assert [start is not None for start in starts] == [warm_start and each for each in same]
    assert any(same)


def test_cubic_ramp_is_zhu_and_guptas():
    ramp = mt.CubicRamp(final=0.25, steps=40, begin=10, initial=0.9)
    for step in range(70):
        final_sparsity, initial_sparsity = 0.75, 0.1
        if step <= 10:
            expected = initial_sparsity
        elif step >= 50:
            expected = final_sparsity
        else:
            expected = final_sparsity + (initial_sparsity - final_sparsity) * (1 - (step - 10) / 40) ** 3
        assert ramp(step) == pytest.approx(1 - expected, abs=1e-12)


@pytest.mark.parametrize("pattern", ["4:8-T", "2:4", "4:16 at_most", "1:4 axis=-2"])
def test_gradual_pruning_goes_from_dense_to_the_pattern(pattern):
    final = ms.Pattern.parse(pattern)
    model = perceptron(width=16)
    ramp = mt.CubicRamp(final=final.density, steps=12)
    sparsifier = mt.sparsify(model, pattern, refresh_every=2, density=ramp)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    assert sparsifier.masks["2"].all()
    train(model, optimizer, sparsifier, 16)
    kept = [ms.Pattern.parse(record.pattern).n for record in sparsifier.records]
    expected = [min(math.ceil(final.m * ramp(step) - 1e-9), final.m) for step in range(0, 17, 2)]
    assert kept == expected == sorted(kept, reverse=True)
    assert kept[-1] == final.n
    assert_best(sparsifier.masks["2"], sparsifier.dense_weights["2"].abs(), pattern)
    sparsifier.freeze()
    frozen = sparsifier.masks["2"].clone()
    train(model, optimizer, sparsifier, 4)
    assert torch.equal(sparsifier.masks["2"], frozen)
    assert torch.count_nonzero(sparsifier.dense_weights["2"].grad[~frozen]) == 0


def test_masks_maximise_the_callers_saliency():
    called = []

    def saliency(weight, name):
        called.append((name, weight))
        return torch.randn(weight.shape, generator=torch.Generator().manual_seed(len(name)))

    model = convolutional()
    sparsifier = mt.sparsify(model, "2:4-T", saliency=saliency, layers=["[35]", "10"])
    assert [name for name, _ in called] == ["3", "5", "10"] == list(sparsifier.masks)
    for name, weight in called[:3]:
        assert weight is sparsifier.dense_weights[name]
        assert_best(sparsifier.masks[name], saliency(weight, name), "2:4-T")


def test_records_say_what_changed():
    model = convolutional()
    sparsifier = mt.sparsify(model, "4:8-T", refresh_every=2)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    masks = [{name: torch.ones_like(mask) for name, mask in sparsifier.masks.items()}]
    masks.append({name: mask.clone() for name, mask in sparsifier.masks.items()})
    for number in range(1, 4):
        train(model, optimizer, sparsifier, 2, first=2 * number)
        masks.append({name: mask.clone() for name, mask in sparsifier.masks.items()})
        for record in sparsifier.records[-len(masks[0]) :]:
            weight = sparsifier.dense_weights[record.layer].detach().abs().double()
            old, new = masks[number][record.layer], masks[number + 1][record.layer]
            assert (record.refresh, record.step, record.pattern) == (number, 2 * number, "4:8-T")
            assert record.entries == new.numel()
            assert record.flipped == (old != new).double().mean().item()
            assert record.scores == pytest.approx(weight.sum().item())
            assert record.retained == pytest.approx(weight[new].sum().item() / weight.sum().item())
            assert 0 <= record.gap < 1e-6
            assert record.seconds > 0
    assert [record.flipped for record in sparsifier.records if record.refresh == 0] == [0.5] * len(masks[0])
    for total in sparsifier.totals:
        parts = [record for record in sparsifier.records if record.refresh == total.refresh]
        assert total.entries == sum(part.entries for part in parts)
        flips = sum(part.flipped * part.entries for part in parts)
        assert total.flipped == pytest.approx(flips / total.entries)
        kept = sum(part.retained * part.scores for part in parts)
        assert total.retained == pytest.approx(kept / sum(part.scores for part in parts))
    assert [total.step for total in sparsifier.totals] == [0, 2, 4, 6]


def test_the_report_can_be_read():
    model = convolutional()
    sparsifier = mt.sparsify(model, "2:4-T", refresh_every=1, skip=["5"])
    for _ in range(15):
        sparsifier.step()
    report = sparsifier.report()
    assert [(layer.name, layer.skipped != "", layer.density) for layer in report.layers] == [
        ("0", True, 1.0),
        ("3", False, 0.5),
        ("5", True, 1.0),
        ("7", False, 0.5),
        ("10", True, 1.0),
    ]
    text = str(report)
    for words in (
        "'2:4-T' on 2 of 5 layers; masks refreshed every 1 steps; 15 steps so far",
        "dense: it is named in skip=",
        "dense: it is the first or the last layer",
        "keeps 50.00%",
        "6 refreshes after the first are left out",
    ):
        assert words in text
    assert len(report.totals) == 16


def test_sparse_training_learns():
    losses = {}
    for pattern in ("2:4", "2:4-T", "4:8-T"):
        model = perceptron(width=32)
        sparsifier = mt.sparsify(model, pattern, refresh_every=10, decay=2e-4)
        losses[pattern] = train(model, torch.optim.Adam(model.parameters(), lr=3e-3), sparsifier, 120)
    for pattern, history in losses.items():
        assert sum(history[-10:]) < 0.5 * sum(history[:10]), pattern
