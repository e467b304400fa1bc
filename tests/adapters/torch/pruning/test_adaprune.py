"""AdaPrune: what it reports against forward passes, what it finds against least squares by hand."""

import copy
import itertools

import assertions
import numpy as np
import pytest

torch = pytest.importorskip("torch")
from pruning_models import IMAGES, MODELS, X, assert_same, convolutional, state  # noqa: E402
from small_models import perceptron  # noqa: E402
from torch import nn  # noqa: E402

import masksolve as ms  # noqa: E402
from masksolve.adapters import torch as mt  # noqa: E402
from masksolve.pruning.adam import adam  # noqa: E402
from masksolve.pruning.layer_problem import LayerProblem  # noqa: E402
from masksolve.pruning.recipe import METHODS, SALIENCIES  # noqa: E402


def given_to(model, layer, x):
    """What a layer is given, by running the whole model."""
    found = []
    hook = layer.register_forward_pre_hook(lambda _module, args: found.append(args[0]))
    with torch.no_grad():
        model.eval()(x)
    hook.remove()
    return torch.cat(found)


def outputs(layer, weight, x):
    """What a layer would give with another weight, without its bias."""
    twin = copy.deepcopy(layer).double()
    with torch.no_grad():
        twin.weight.copy_(weight)
        if twin.bias is not None:
            twin.bias.zero_()
        return twin(x.double())


def assert_follows(mask, pattern):
    matrices = mt.as_matrices(mask).numpy()
    assertions.assert_feasible(np.ascontiguousarray(matrices), ms.Pattern.parse(pattern))


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize(
    ("method", "saliency"),
    [("admm", None), *itertools.product([each for each in METHODS if each != "admm"], SALIENCIES)],
)
@pytest.mark.parametrize("pattern", ["2:4", "2:4-T"])
def test_masks_and_errors_are_what_the_report_says(kind, method, saliency, pattern):
    make, x = MODELS[kind]
    dense, model = make(), make()
    report = mt.adaprune(
        model, x, pattern, method=method, saliency=saliency, steps=20, dense_ends=False, dtype="float64"
    )
    assert report.layers
    for record in report.layers:
        layer, mask = model.get_submodule(record.name), report.masks[record.name]
        assert_follows(mask, pattern)
        assert not layer.weight[~mask].any()
        assert mask.shape == layer.weight.shape == record.shape
        assert record.kept == 0.5
        assert record.violations == mask.numel() / 2
        assert record.revived == 0
        # Earlier layers are pruned by now, and later ones do not matter for the inputs.
        given = given_to(model, layer, x)
        old = dense.get_submodule(record.name).weight.detach()
        target = outputs(layer, old, given)
        scale = target.square().sum()
        before = (outputs(layer, old * mask, given) - target).square().sum() / scale
        after = (outputs(layer, layer.weight.detach(), given) - target).square().sum() / scale
        np.testing.assert_allclose(record.error_before, float(before), rtol=1e-6)
        np.testing.assert_allclose(record.error_after, float(after), rtol=1e-5)
        assert record.error_after <= record.error_before
    if method != "none":
        assert report.error_after < 0.9 * report.error_before
    untouched = set(dense.state_dict()) - {f"{record.name}.weight" for record in report.layers}
    assert all(torch.equal(model.state_dict()[name], dense.state_dict()[name]) for name in untouched)


@pytest.mark.parametrize("pattern", ["2:4", "2:4-T"])
def test_the_report_tells_what_was_exchanged(pattern):
    torch.manual_seed(0)
    x = torch.randn(200, 32) @ torch.rand(32, 32)
    dense = nn.Linear(32, 32)
    plain, found = (
        mt.adaprune(nn.Sequential(copy.deepcopy(dense)), x, pattern, dense_ends=False, exchanges=rounds)
        for rounds in (0, 20)
    )
    (before,), (after,) = plain.layers, found.layers
    assert after.exchanged == int((found.masks["0"] & ~plain.masks["0"]).sum()) > 0 == before.exchanged
    assert after.error_after < before.error_after
    assert f"  {after.exchanged} exchanged" in str(found)
    assert "exchanged" not in str(plain)


@pytest.mark.parametrize("bias_correction", [False, True])
def test_least_squares_by_hand(bias_correction):
    """With the bias in play, the optimum is that of a regression with an intercept."""
    dense, model = perceptron(), perceptron()
    report = mt.adaprune(
        model,
        X,
        "2:4-T",
        method="least_squares",
        dtype="float64",
        damping=1e-12,
        bias_correction=bias_correction,
        dense_ends=False,
    )
    for name, mask in report.masks.items():
        layer, old = model.get_submodule(name), dense.get_submodule(name)
        x = given_to(model, layer, X).double()
        with torch.no_grad():
            target = (copy.deepcopy(old).double()(x) - (0 if bias_correction else old.bias)).numpy()
        samples = np.column_stack([x, np.ones(len(x))]) if bias_correction else x.numpy()
        for row, kept in enumerate(mask.numpy()):
            used = np.append(kept, True) if bias_correction else kept
            fit, *_ = np.linalg.lstsq(samples[:, used], target[:, row])
            found = layer.weight[row, torch.from_numpy(kept)].detach().numpy()
            if bias_correction:
                found = np.append(found, layer.bias[row].detach())
            np.testing.assert_allclose(found, fit, rtol=0, atol=2e-4 * np.abs(fit).max())


def test_bias_correction_lowers_the_error_and_settles_the_mean():
    errors = {}
    for bias_correction in (False, True):
        dense, model = convolutional(), convolutional()
        report = mt.adaprune(model, IMAGES, "2:4", method="none", bias_correction=bias_correction)
        errors[bias_correction] = report.error_after
        assert [record.absorbed for record in report.layers] == (
            ["3.bias", "7.running_mean"] if bias_correction else ["", ""]
        )
    assert errors[True] < errors[False]
    given = given_to(model, model[6], IMAGES)
    with torch.no_grad():
        wanted = dense[7](dense[6](given)).mean(dim=(0, 2))
        np.testing.assert_allclose(model[7](model[6](given)).mean(dim=(0, 2)), wanted, atol=1e-5)


def test_adam_approaches_least_squares():
    rng = np.random.default_rng(0)
    w, x = rng.standard_normal((16, 16)), rng.standard_normal((100, 16)) @ rng.uniform(-1, 1, (16, 16))
    mask = ms.solve(np.abs(w), "2:4-T").mask
    gram = ms.saliency.damped(x.T @ x, 0.01)
    layer = LayerProblem.read(w, gram, 0.0, "float64")
    best = ms.reconstruction.output_error(
        w, ms.reconstruction.least_squares(w, mask, gram, damping=0.0), gram
    ).sum()
    masked = ms.reconstruction.output_error(w, w * mask, gram).sum()
    excess = []
    for steps in (10, 100, 1000):
        found = layer.unscaled(adam(layer, mask, steps))
        assert not found[~mask].any()
        excess.append(ms.reconstruction.output_error(w, found, gram).sum() / best - 1)
    assert -1e-6 < excess[2] < 0.01
    assert excess[2] < excess[1] < excess[0] < masked / best - 1


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("method", METHODS)
def test_no_row_is_worse_in_any_dtype(dtype, method):
    model = perceptron().to(dtype)
    report = mt.adaprune(model, X.to(dtype), "2:4-T", method=method, steps=10, dense_ends=False)
    assert {parameter.dtype for parameter in model.parameters()} == {dtype}
    assert all(record.error_after <= record.error_before for record in report.layers)


@pytest.mark.parametrize("saliency", ["magnitude", "obs", "sparsegpt"])
def test_dead_inputs_and_too_few_samples_are_solvable_by_damping(saliency):
    x = X[:3].clone()
    x[:, 2:] = 0
    model = perceptron()
    report = mt.adaprune(model, x, "2:4-T", saliency=saliency, dense_ends=False)
    assert report.error_after < report.error_before
    assert all(parameter.isfinite().all() for parameter in model.parameters())
    silent = perceptron()
    with torch.no_grad():
        silent[2].weight.zero_()
        silent[2].bias.zero_()
    report = mt.adaprune(silent, X, "2:4-T", saliency=saliency, dense_ends=False)
    assert report.layers[-1].error_after == 0.0


def test_a_saliency_of_ones_own():
    def product(w, statistics):
        assert w.dtype == statistics.norm.dtype == torch.float32
        assert statistics.gram.shape == (w.shape[1], w.shape[1])
        return w.abs() * statistics.norm

    models = perceptron(), perceptron()
    own = mt.adaprune(models[0], X, "2:4-T", saliency=product)
    wanda = mt.adaprune(models[1], X, "2:4-T", saliency="wanda")
    assert torch.equal(models[0][2].weight, models[1][2].weight)
    assert "product" in own.title
    assert "wanda" in wanda.title


@pytest.mark.parametrize("pattern", ["2:4 pad", "2:4-T dense", "4:8-T at_most pad", "2:4 axis=-2 pad"])
@pytest.mark.parametrize("saliency", ["obs", "sparsegpt"])
def test_shapes_that_do_not_divide(pattern, saliency):
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(4, 10, 3), nn.ReLU(), nn.Conv2d(10, 6, 2), nn.Flatten(), nn.Linear(216, 7)
    )
    report = mt.adaprune(model, IMAGES, pattern, saliency=saliency, dense_ends=False, damping=0.1)
    assert len(report.layers) == 3
    for name, mask in report.masks.items():
        assert_follows(mask, pattern)
        assert not model.get_submodule(name).weight[~mask].any()


def test_a_model_that_is_one_layer():
    model = nn.Linear(8, 8, bias=False)
    report = mt.adaprune(model, X, "2:4-T", dense_ends=False)
    assert_follows(model.weight != 0, "2:4-T")
    assert list(report.masks) == [""]


def test_layers_are_pruned_in_the_order_in_which_they_run():
    class Backwards(nn.Module):
        """Its layers are listed from the last to the first."""

        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.last, self.first = nn.Linear(16, 8), nn.Linear(8, 16)

        def forward(self, x):
            return self.last(self.first(x).relu())

    dense, model = Backwards(), Backwards()
    report = mt.adaprune(model, X, "2:4", dense_ends=False)
    assert [record.name for record in report.layers] == ["first", "last"]
    given = given_to(model, model.last, X)
    target = outputs(model.last, dense.last.weight, given)
    error = (outputs(model.last, model.last.weight, given) - target).square().sum() / target.square().sum()
    np.testing.assert_allclose(report.layers[1].error_after, float(error), rtol=1e-5)


def test_queries_keys_and_values_share_their_statistics_without_a_difference():
    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.query, self.key, self.value = (nn.Linear(8, 8) for _ in range(3))

        def forward(self, x):
            return nn.functional.scaled_dot_product_attention(self.query(x), self.key(x), self.value(x))

    at_once, apart = Attention(), Attention()
    x = X.reshape(10, 8, 8)
    together = mt.adaprune(at_once, x, "2:4-T", dense_ends=False)
    for name in ("query", "key", "value"):
        mt.adaprune(apart, x, "2:4-T", layers=[name])
    assert list(together.masks) == ["query", "key", "value"]
    assert all(
        torch.equal(one, other) for one, other in zip(at_once.parameters(), apart.parameters(), strict=True)
    )


BATCHES = [X[:30], X[30:60], X[60:]]


@pytest.mark.parametrize(
    ("data", "options"),
    [
        (X, {"batch_size": 30}),
        (X, {"batch_size": 1000}),
        (iter(BATCHES), {}),
        ((batch for batch in BATCHES), {}),
        ([(batch,) for batch in BATCHES], {}),
        ([{"input": batch} for batch in BATCHES], {}),
        ({"input": X}, {"batch_size": 30}),
        (
            torch.utils.data.DataLoader(torch.utils.data.TensorDataset(X, X[:, 0]), batch_size=30),
            {"forward": lambda model, batch: model(batch[0])},
        ),
    ],
    ids=["tensor", "one batch", "iterator", "generator", "tuples", "mappings", "mapping", "loader"],
)
def test_data_of_every_kind(data, options):
    wanted, model = perceptron(), perceptron()
    mt.adaprune(wanted, BATCHES, "2:4-T", dense_ends=False)
    mt.adaprune(model, data, "2:4-T", dense_ends=False, **options)
    for one, other in zip(wanted.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(one, other)


def test_modes_come_back_and_dropout_is_off():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 8), nn.Dropout(0.5), nn.Linear(8, 8)).train()
    model[1].eval()
    twin = copy.deepcopy(model).eval()
    before = state(model)
    mt.adaprune(model, X, "2:4-T", dense_ends=False)
    assert state(model)[1:] == before[1:]
    mt.adaprune(twin, X, "2:4-T", dense_ends=False)
    assert torch.equal(model[2].weight, twin[2].weight)


def fail_at(layer):
    def progress(done, total):
        assert total == 3
        if done == layer:
            raise KeyboardInterrupt("enough")

    return progress


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((torch.empty(0, 8), "2:4"), {}, ValueError, "calibration must hold samples"),
        ((torch.full((4, 8), torch.nan), "2:4"), {}, ValueError, "must be finite"),
        ((torch.ones(4, 7), "2:4"), {}, ValueError, "does not go through the model"),
        (("no data", "2:4"), {}, TypeError, "calibration must be"),
        ((X[:3], "2:4"), {"damping": 0.0, "skip": ["0"]}, ValueError, "layer '2': hessian .* damping > 0"),
        ((X[:3], "2:4-T"), {"damping": 0.0, "saliency": "obs"}, ValueError, "singular"),
        ((X, "2:4-T"), {"progress": fail_at(2)}, KeyboardInterrupt, "enough"),
        ((X, "2:4-T"), {"progress": 3}, TypeError, "progress must be callable"),
        ((X, "5:4"), {}, ValueError, "n must be"),
        ((X, "2:4 axis=0"), {}, ValueError, "axis"),
        ((X, "2:4"), {"method": "lucky"}, ValueError, r"method must be one of .*least_squares.*got 'lucky'"),
        ((X, "2:4"), {"saliency": "guess"}, ValueError, "saliency must be one of .* got 'guess'"),
        ((X, "2:4"), {"saliency": lambda w, seen: w[:1]}, ValueError, "saliency must give scores of shape"),
        ((X, "2:4"), {"saliency": lambda w, seen: w * np.nan}, ValueError, "scores must be finite"),
        ((X, "2:4"), {"steps": 0}, ValueError, "steps must be at least 1, got 0"),
        ((X, "2:4"), {"steps": 1.5}, TypeError, "steps must be an integer"),
        ((X, "2:4"), {"damping": -1}, ValueError, "damping must be at least 0"),
        ((X, "2:4"), {"damping": "0"}, TypeError, "damping must be a number"),
        ((X, "2:4"), {"backend": "enumerates"}, ValueError, "backend"),
        ((X, "2:4"), {"layers": ["9"]}, ValueError, "layers: '9' matches no"),
    ],
)
def test_after_an_error_the_model_is_as_it_was(arguments, options, error, message):
    model = perceptron().train()
    model[3].eval()
    before = state(model)
    with pytest.raises(error, match=message):
        mt.adaprune(model, *arguments, **{"dense_ends": False, "bias_correction": True} | options)
    assert_same(model, before)


def test_an_error_late_in_a_convolutional_model_takes_back_running_means_too():
    model = convolutional().train()
    before = state(model)

    def fail(done, total):
        if done == total:
            raise RuntimeError("late")

    with pytest.raises(RuntimeError, match="late"):
        mt.adaprune(model, IMAGES, "2:4", bias_correction=True, dense_ends=False, progress=fail)
    assert_same(model, before)


def test_the_report_can_be_read():
    report = mt.adaprune(convolutional(), IMAGES, "2:4", bias_correction=True)
    text = str(report)
    assert "admm to '2:4'" in text
    assert "mean to 7.running_mean" in text
    assert "0 " in text.splitlines()[-2]
    assert "stays as it was: it is the first or the last layer" in text
    assert f"{report.error_after:.4%}" in text
    assert len({line.index("kept") for line in text.splitlines() if "kept" in line}) == 1
    assert "tensor(" not in repr(report)
