"""From one pattern to another: old entries first, by brute force over every mask of small tiles."""

import itertools

import assertions
import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

import masksolve as ms  # noqa: E402
from masksolve.adapters import torch as mt  # noqa: E402
from masksolve.testing import FAMILIES  # noqa: E402

X = torch.randn(200, 16, generator=torch.Generator().manual_seed(0)) + 0.5


def sparse_layer(pattern, seed=0, shape=(16, 16), family="signed"):
    """A linear layer whose weight follows a pattern, as if trained with it."""
    rng = np.random.default_rng(seed)
    w = FAMILIES[family](rng, shape).astype(np.float32)
    layer = nn.Linear(shape[1], shape[0])
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(w * ms.solve(np.abs(w), pattern).mask))
    return layer


def sparse_model(pattern):
    """Two sparse layers between dense ones."""
    torch.manual_seed(0)
    inner = [sparse_layer(pattern, seed, shape) for seed, shape in ((1, (32, 16)), (2, (16, 32)))]
    return nn.Sequential(
        nn.Linear(16, 16), nn.ReLU(), inner[0], nn.ReLU(), inner[1], nn.ReLU(), nn.Linear(16, 8)
    )


CHAINS = [
    ("4:8", "2:4"),
    ("2:4", "1:2"),
    ("4:8", "4:8-T"),
    ("2:4", "2:4-T"),
    ("4:8-T", "2:4-T"),
    ("2:4-T", "1:2-T"),
]


@pytest.mark.parametrize(("old", "new"), CHAINS)
@pytest.mark.parametrize("family", ["signed", "bfloat16_rounded", "heavy_tailed", "constant"])
def test_as_many_old_entries_as_any_mask_can_keep(old, new, family):
    """The oracle maximises the mere number of old entries."""
    layer = sparse_layer(old, family=family)
    before = layer.weight.detach().numpy().copy()
    report = mt.convert(layer, old, new)
    (record,) = report.layers
    mask, kept = report.masks[""].numpy(), before != 0
    assertions.assert_feasible(mask, ms.Pattern.parse(new))
    most = ms.solve(kept.astype(np.float64), new, backend="highs").objective
    assert (mask & kept).sum() == round(most)
    assert record.violations == kept.sum() - round(most)
    assert record.revived == (mask & ~kept).sum()
    assert record.error_after is None
    np.testing.assert_array_equal(layer.weight.detach().numpy(), before * mask)


def masks_of(n, m):
    """Every m x m mask with n in each row and column."""
    rows = [np.isin(np.arange(m), choice) for choice in itertools.combinations(range(m), n)]
    stacks = (np.array(each) for each in itertools.product(rows, repeat=m))
    return [mask for mask in stacks if (mask.sum(axis=0) == n).all()]


@pytest.mark.parametrize("seed", range(20))
def test_old_entries_first_and_then_the_largest(seed):
    """All 90 masks of a 2:4-T tile, ranked by old entries kept, then by magnitude kept."""
    layer = sparse_layer("2:4", seed, (4, 4))
    w = layer.weight.detach().double().numpy().copy()
    mask = mt.convert(layer, "2:4", "2:4-T").masks[""].numpy()
    best = max((int((each & (w != 0)).sum()), float(np.abs(w[each]).sum())) for each in masks_of(2, 4))
    assert int((mask & (w != 0)).sum()) == best[0]
    np.testing.assert_allclose(np.abs(w[mask]).sum(), best[1], rtol=1e-6)


def test_where_only_old_entries_can_be_kept_no_other_is():
    """A tile with a feasible mask among its old entries gets one of those, as under drop=."""
    layer = sparse_layer("4:8", shape=(32, 64))
    old = layer.weight.detach().numpy() != 0
    found = mt.convert(layer, "4:8", "2:4 at_most")
    assert found.layers[0].revived == 0
    dropped = ms.solve(np.zeros(old.shape), "2:4 at_most", drop=~old)
    assert dropped.status is ms.Status.OPTIMAL
    groups = old.reshape(32, 16, 4).sum(axis=2)
    assert found.layers[0].violations == np.maximum(groups - 2, 0).sum()
    exact = sparse_layer("4:8", shape=(32, 64))
    assert mt.convert(exact, "4:8", "2:4").layers[0].revived == np.maximum(2 - groups, 0).sum()


def test_a_chain_of_conversions_leaves_dense_layers_alone():
    model = sparse_model("4:8")
    ends = model[0].weight.clone(), model[6].weight.clone()
    for old, new in (("4:8", "2:4"), ("2:4", "1:2"), ("1:2", "1:2-T")):
        report = mt.convert(model, old, new, calibration=X)
        assert [record.name for record in report.layers] == ["2", "4"]
        assert report.skipped.keys() == {"0", "6"}
        assert f"does not follow '{old}" in report.skipped["0"]
        for name in ("2", "4"):
            assert ms.verify(report.masks[name].numpy(), new).ok
            assert not model.get_submodule(name).weight[~report.masks[name]].any()
    assert torch.equal(model[0].weight, ends[0])
    assert torch.equal(model[6].weight, ends[1])


@pytest.mark.parametrize("saliency", ["magnitude", "wanda", "obs"])
@pytest.mark.parametrize(("old", "new"), [("4:8", "2:4"), ("2:4", "2:4-T")])
def test_calibration_reconstructs_what_the_sparse_model_gave(saliency, old, new):
    models = {method: sparse_model(old) for method in ("none", "least_squares")}
    reports = {
        method: mt.convert(model, old, new, calibration=X, method=method, saliency=saliency)
        for method, model in models.items()
    }
    assert reports["none"].error_after == pytest.approx(reports["none"].error_before)
    assert reports["least_squares"].error_after < 0.9 * reports["least_squares"].error_before
    first = reports["none"].layers[0], reports["least_squares"].layers[0]
    assert first[0].violations == first[1].violations > 0
    assert first[0].error_before == pytest.approx(first[1].error_before)
    wanted = sparse_model(old)(X)
    errors = {method: (model(X) - wanted).square().sum().item() for method, model in models.items()}
    assert errors["least_squares"] < errors["none"]


def test_entries_that_were_zero_take_part_in_the_reconstruction():
    model = sparse_model("2:4")
    old = model[2].weight.detach() != 0
    report = mt.convert(model, "2:4", "2:4-T", calibration=X)
    revived = report.masks["2"] & ~old
    assert revived.any()
    assert model[2].weight[revived].ne(0).all()


def test_convolutions():
    torch.manual_seed(0)
    layer = nn.Conv2d(8, 16, 3, padding=1)
    mt.adaprune(layer, torch.rand(4, 8, 6, 6), "4:8", dense_ends=False)
    report = mt.convert(layer, "4:8", "2:4-T", calibration=torch.rand(4, 8, 6, 6))
    mask = mt.as_matrices(report.masks[""]).numpy()
    assertions.assert_feasible(np.ascontiguousarray(mask), ms.Pattern.parse("2:4-T"))
    assert report.layers[0].error_after < report.layers[0].error_before


def test_the_same_pattern_changes_nothing():
    layer = sparse_layer("2:4-T")
    before = layer.weight.clone()
    report = mt.convert(layer, "2:4-T", "2:4-T", calibration=X)
    assert (report.layers[0].violations, report.layers[0].revived) == (0, 0)
    torch.testing.assert_close(layer.weight, before)


def fail(done, total):
    raise RuntimeError("stopped")


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        (("1:4", "2:4"), {}, ValueError, r"no layer that follows from_pattern, '1:4 at_most'"),
        (("4:8", "2:4"), {"layers": ["0", "2"]}, ValueError, r"layers: \['0'\] do not follow from_pattern"),
        (("4:8", "2:4"), {"saliency": "wanda"}, ValueError, "saliency='wanda' needs calibration data"),
        (
            ("4:8", "2:4"),
            {"saliency": "sparsegpt", "calibration": X},
            ValueError,
            "cannot prefer old entries",
        ),
        (("4:8", "2:4"), {"calibration": X[:, :3]}, ValueError, "does not go through the model"),
        (("4:8", "2:4"), {"calibration": X[:4], "damping": 0.0}, ValueError, "layer '2': .*damping > 0"),
        (("4:8", "2:4"), {"bias_correction": True}, ValueError, "bias_correction=True needs calibration"),
        (("4:8", "2:4"), {"checkpoint": "none"}, ValueError, "checkpoint='none' needs calibration data"),
        (("4:8", "2:4"), {"method": "admm"}, ValueError, "method='admm' needs calibration data"),
        (("4:8", "2:4"), {"steps": 10}, ValueError, "steps=10 needs calibration data"),
        (("4:8", "2:4"), {"progress": fail}, RuntimeError, "stopped"),
        (("4:8", "2:4"), {"calibration": X, "progress": fail}, RuntimeError, "stopped"),
        (("4:8", "2 of 4"), {}, ValueError, "pattern must look like"),
        (("48", "2:4"), {}, ValueError, "pattern must look like"),
    ],
)
def test_after_an_error_the_model_is_as_it_was(arguments, options, error, message):
    model = sparse_model("4:8").train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(error, match=message):
        mt.convert(model, *arguments, **options)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(module.training for module in model.modules())


@pytest.mark.filterwarnings("error::masksolve.SignedScoresWarning")
@pytest.mark.parametrize("calibration", [None, X])
def test_no_warning_about_signs_that_the_caller_did_not_make(calibration):
    """Old entries are ranked by signs of masksolve's own, and 2:4 of 4:8 leaves most entries below zero."""
    for old, new in CHAINS:
        mt.convert(sparse_model(old), old, new, calibration=calibration)
