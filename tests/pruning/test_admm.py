"""ADMM against the method spelled out in NumPy, and what must hold of any mask and weights."""

import sys
from pathlib import Path

import assertions
import numpy as np
import pytest
from layer_loss import correlated, damped_error, reference

import masksolve as ms
from masksolve.pruning import reconstruction
from masksolve.testing import FAMILIES

sys.path.append(str(Path(__file__).parents[2]))

PATTERNS = [
    *("2:4", "4:8", "8:16", "1:4", "2:4 axis=-2", "2:4 at_most"),
    *("1:2-T", "2:4-T", "4:8-T", "3:8-T", "8:16-T", "16:32-T"),
    *("2:4-T at_most", "4:8-T at_most", "8:16-T at_most"),
]


def masked_error(w, pattern, hessian):
    """Of the best magnitudes, their weights fitted: what ADMM has to beat."""
    mask = ms.solve(np.abs(w), pattern).mask
    fitted = reconstruction.least_squares(w, mask, hessian, method="cholesky")
    return damped_error(w, fitted, hessian)


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_as_good_as_the_reference_for_every_pattern(pattern, dtype):
    ours = plain = 0.0
    for seed in range(3):
        w, x = correlated(seed, 32, 64)
        hessian = x.T @ x
        found, mask = reconstruction.admm(w, hessian, pattern, dtype=dtype)
        assert found.dtype == dtype
        assertions.assert_feasible(mask, ms.Pattern.parse(pattern))
        assert not found[~mask].any()
        scale = damped_error(w, np.zeros_like(w), hessian)
        error = damped_error(w, found, hessian)
        assert error <= 1.01 * damped_error(w, reference(w, hessian, pattern)[0], hessian)
        ours += error / scale
        plain += masked_error(w, pattern, hessian) / scale
    assert ours < 0.9 * plain


@pytest.fixture(scope="module")
def trained():
    """Matrices of a trained encoder, and what they are given for some tokens and for others."""
    pytest.importorskip("torch")
    encoder = pytest.importorskip("examples.post_training.encoder")
    import torch

    try:
        model = encoder.load_encoder().eval()
    except encoder.MissingWeightsError as error:
        pytest.skip(str(error))
    model.layers = model.layers[:3]
    found = {name: [] for name in ("key", "expand")}
    for name, inputs in found.items():
        layer = getattr(model.layers[2], name)
        layer.register_forward_pre_hook(
            lambda _layer, given, inputs=inputs: inputs.append(given[0].flatten(0, 1))
        )
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for sentences in (150, 50):
            model(torch.randint(1000, 30000, (sentences, 16), generator=generator))
    weights = {name: getattr(model.layers[2], name).weight[:64].detach().double().numpy() for name in found}
    return [(weights[name], *(x.double().numpy() for x in found[name])) for name in found]


@pytest.mark.parametrize("pattern", ["2:4", "4:8", "2:4-T", "4:8-T", "8:16-T", "16:32-T", "4:8-T at_most"])
def test_as_good_as_the_reference_on_trained_layers(pattern, trained):
    """On the inputs that masks and weights were found for, and on others."""
    ratios = []
    for w, *inputs in trained:
        hessian = inputs[0].T @ inputs[0]
        found, mask = reconstruction.admm(w, hessian, pattern, dtype="float32")
        assertions.assert_feasible(mask, ms.Pattern.parse(pattern))
        theirs = reference(w, hessian, pattern)[0]
        errors = [[np.sum((x @ (each - w).T) ** 2) for x in inputs] for each in (found, theirs)]
        ratios.append(np.divide(*errors))
    assert (np.array(ratios) <= 1.01).all(), ratios


@pytest.mark.parametrize("pattern", ["2:4-T", "4:8-T at_most", "3:8-T"])
def test_both_orientations_follow_a_transposable_pattern(pattern):
    w, x = correlated(3, 24, 40)
    _, mask = reconstruction.admm(w, x.T @ x, pattern)
    for each in (mask, mask.T):
        assertions.assert_feasible(np.ascontiguousarray(each), ms.Pattern.parse(pattern))


@pytest.mark.parametrize("pattern", ["2:4 pad", "2:4-T pad", "4:8-T dense", "2:4-T at_most pad"])
def test_shapes_that_do_not_divide(pattern):
    w, x = correlated(4, 14, 27)
    found, mask = reconstruction.admm(w, x.T @ x, pattern)
    assertions.assert_feasible(mask, ms.Pattern.parse(pattern))
    assert not found[~mask].any()


@pytest.mark.parametrize("pattern", ["2:4", "4:8-T"])
def test_forced_entries_are_kept_in_every_iteration(pattern):
    w, x = correlated(5, 16, 16)
    keep = np.eye(16, dtype=bool)
    seen = []
    _, mask = reconstruction.admm(w, x.T @ x, pattern, keep=keep, progress=seen.append)
    assert mask[keep].all()
    assert all(each.mask[keep].all() for each in seen)
    assertions.assert_feasible(mask, ms.Pattern.parse(pattern))


def test_the_weights_are_the_least_squares_of_the_mask():
    w, x = correlated(6, 16, 24)
    found, mask = reconstruction.admm(w, x.T @ x, "2:4-T", method="cholesky")
    best = reconstruction.least_squares(w, mask, x.T @ x, method="cholesky")
    np.testing.assert_allclose(found, best, rtol=0, atol=1e-9 * np.abs(best).max())


def test_iterations_tell_how_they_converge():
    w, x = correlated(7, 32, 32)
    seen = []
    _, mask = reconstruction.admm(w, x.T @ x, "2:4-T", progress=seen.append)
    assert [each.number for each in seen] == list(range(1, len(seen) + 1))
    compared = [each.changed for each in seen[2::3]]
    assert all(each.changed is None for each in seen if each.number % 3)
    assert compared[-1] == 0 < min(compared[:-1])
    np.testing.assert_array_equal(seen[-1].mask, mask)
    rho = [each.rho for each in seen]
    assert rho == sorted(rho)
    assert seen[-1].residual < 0.1 * seen[0].residual
    assert seen[-1].rho > seen[0].rho == 0.1


def test_large_layers_need_not_wait_for_the_last_entries():
    rng = np.random.default_rng(7)
    w, x = rng.standard_normal((800, 128)), rng.standard_normal((300, 128)) @ rng.uniform(-1, 1, (128, 128))
    seen = []
    reconstruction.admm(w, x.T @ x, "2:4", dtype="float32", progress=lambda it: seen.append(it.changed))
    compared = seen[2::3]
    assert 0 < compared[-1] <= 0.001 < min(compared[:-1])


def test_the_first_iterations_of_a_long_run_are_a_short_run():
    w, x = correlated(8, 16, 32)
    seen = []
    reconstruction.admm(w, x.T @ x, "4:8-T", progress=seen.append)
    _, mask = reconstruction.admm(w, x.T @ x, "4:8-T", iterations=5)
    np.testing.assert_array_equal(mask, seen[4].mask)


def test_places_of_a_kernel():
    """Leading axes are columns side by side to the Hessian, and planes of their own to the pattern."""
    w, x = correlated(9, 8, 3 * 8)
    planes = np.stack(np.split(w, 3, axis=1))
    found, mask = reconstruction.admm(planes, x.T @ x, "2:4-T", method="cholesky")
    flat, flat_mask = reconstruction.admm(w, x.T @ x, "2:4-T", method="cholesky")
    np.testing.assert_array_equal(np.concatenate(mask, axis=1), flat_mask)
    np.testing.assert_allclose(np.concatenate(found, axis=1), flat, atol=1e-12)
    assertions.assert_feasible(mask, ms.Pattern.parse("2:4-T"))


@pytest.mark.parametrize("family", sorted(FAMILIES))
@pytest.mark.parametrize("pattern", ["2:4", "4:8-T"])
def test_every_kind_of_weight(family, pattern):
    rng = np.random.default_rng(10)
    w, x = FAMILIES[family](rng, (16, 16)), rng.standard_normal((60, 16)) @ rng.uniform(-1, 1, (16, 16))
    before = w.copy()
    found, mask = reconstruction.admm(w, x.T @ x, pattern)
    np.testing.assert_array_equal(w, before)
    assertions.assert_feasible(mask, ms.Pattern.parse(pattern))
    assert np.isfinite(found).all()
    assert not found[~mask].any()


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_weights_and_inputs_of_any_size_in_float32(scale):
    """What is squared on the way would leave the range of float32 if nothing were scaled."""
    w, x = correlated(11, 16, 16)
    w = w.astype(np.float32)
    _, mask = reconstruction.admm(w, x.T @ x, "2:4-T")
    found, same = reconstruction.admm(w * np.float32(scale), x.T @ x * 1e20, "2:4-T")
    assert found.dtype == np.float32
    assert (mask == same).mean() > 0.95, "rounding may decide between masks that are as good"
    assert np.isfinite(found).all()
    assert found.any()


def test_dead_inputs_and_too_few_samples():
    w, x = correlated(12, 16, 16, samples=4)
    x[:, 5:9] = 0
    found, mask = reconstruction.admm(w, x.T @ x, "2:4-T")
    assert np.isfinite(found).all()
    assertions.assert_feasible(mask, ms.Pattern.parse("2:4-T"))


@pytest.mark.parametrize("shape", [(0, 8), (8, 0)])
def test_nothing_to_prune(shape):
    found, mask = reconstruction.admm(np.zeros(shape), np.eye(shape[1]), "2:4")
    assert found.shape == mask.shape == shape


EYE, ONES = np.eye(4), np.ones((4, 4))


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((ONES, EYE, "2:4"), {"iterations": 0}, ValueError, "iterations must be at least 1, got 0"),
        ((ONES, EYE, "2:4"), {"iterations": 2.0}, TypeError, "iterations must be an integer"),
        ((ONES, EYE, "2:4"), {"rho": 0.0}, ValueError, "rho must be above 0"),
        ((ONES, EYE, "2:4"), {"method": "qr"}, ValueError, "method must be one of"),
        ((ONES, EYE, "2:4"), {"dtype": "float16"}, ValueError, "dtype must be one of 'float32', 'float64'"),
        ((ONES, EYE, "2:4"), {"progress": 1}, TypeError, "progress must be callable"),
        ((ONES, EYE, "2:4"), {"keep": ONES}, TypeError, "keep must be boolean"),
        ((ONES, EYE, "2:4"), {"keep": np.ones((4, 4), bool)}, ms.InfeasibleError, "keep"),
        ((ONES, EYE, "2:4 axis=0"), {}, ValueError, r"pattern axis must be -1 .* got 0"),
        ((ONES, np.eye(3), "2:4"), {}, ValueError, r"hessian must have shape \(4, 4\)"),
        ((ONES, ONES, "2:4"), {"damping": 0.0}, ValueError, "choose damping > 0"),
        ((ONES, EYE, "2:4"), {"damping": -1.0}, ValueError, "damping must be at least 0"),
        ((ONES * np.nan, EYE, "2:4"), {}, ValueError, r"w must be finite, got nan at index \[0, 0\]"),
        ((ONES * 1e200, EYE, "2:4"), {"dtype": "float32"}, ValueError, "w must be finite in float32"),
        ((np.ones(4), EYE, "2:4"), {}, ValueError, r"w must have shape \(..., outputs, inputs\)"),
    ],
)
def test_refuses(arguments, options, error, message):
    with pytest.raises(error, match=message):
        reconstruction.admm(*arguments, **options)
