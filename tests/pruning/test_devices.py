"""Arrays of other libraries are computed where they are: no method copies one to the host."""

import importlib

import frameworks
import numpy as np
import pytest

import masksolve as ms
from masksolve.pruning import reconstruction, saliency

pytest.importorskip("array_api_strict")
pytest.importorskip("array_api_compat")

DEVICE = frameworks.strict_arrays("device1")
RNG = np.random.default_rng(0)
X = RNG.standard_normal((80, 16)) @ RNG.uniform(-1, 1, (16, 16))
W, H = RNG.standard_normal((8, 16)), X.T @ X
MASK = ms.solve(np.abs(W), "2:4-T").mask

CALLS = {
    "magnitude": lambda make: saliency.magnitude(make(W)),
    "wanda": lambda make: saliency.wanda(make(W), make(np.sqrt(np.diag(H)))),
    "obs": lambda make: saliency.obs(make(W), make(H)),
    "damped": lambda make: saliency.damped(make(H), 0.01),
    "output_error": lambda make: reconstruction.output_error(make(W), make(W * MASK), make(H)),
    "cholesky": lambda make: reconstruction.least_squares(make(W), make(MASK), make(H), method="cholesky"),
    "pcg": lambda make: reconstruction.least_squares(make(W), make(MASK), make(H), method="pcg"),
    "sparsegpt": lambda make: reconstruction.sparsegpt(make(W), make(H), "2:4-T", block=8),
    "admm": lambda make: reconstruction.admm(make(W), make(H), "2:4-T"),
    "admm at most": lambda make: reconstruction.admm(make(W), make(H), "4:8-T at_most"),
    "admm with exchanges": lambda make: reconstruction.admm(make(W), make(H), "2:4", exchanges=5),
    "admm with exchanges in tiles": lambda make: reconstruction.admm(make(W), make(H), "2:4-T", exchanges=5),
    "admm with forced entries": lambda make: reconstruction.admm(
        make(W), make(H), "2:4", keep=make(np.eye(8, 16, dtype=bool))
    ),
}


@pytest.fixture
def no_copies(monkeypatch):
    """Whatever asks for an array of a device on the host fails."""
    adapter = importlib.import_module("masksolve.frameworks.standard")

    def refuse(name, array):
        raise AssertionError(f"{name} of shape {array.shape} was copied to the host")

    monkeypatch.setattr(adapter, "to_numpy", refuse)


def parts(found):
    return found if isinstance(found, tuple) else (found,)


@pytest.mark.usefixtures("no_copies")
@pytest.mark.parametrize("call", CALLS)
def test_nothing_leaves_the_device(call):
    assert all(DEVICE.is_ours(each) for each in parts(CALLS[call](DEVICE.make)))


@pytest.mark.parametrize("call", CALLS)
def test_the_device_finds_what_numpy_finds(call):
    for ours, theirs in zip(parts(CALLS[call](DEVICE.make)), parts(CALLS[call](np.asarray)), strict=True):
        np.testing.assert_allclose(DEVICE.read(ours), theirs, rtol=1e-9, atol=1e-9)


@pytest.mark.usefixtures("no_copies")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_statistics_stay_on_the_device(dtype):
    seen = saliency.Statistics.empty(16, like=DEVICE.make(W), dtype=dtype)
    for batch in np.split(X, 4):
        seen.update(DEVICE.make(batch))
    assert all(DEVICE.is_ours(each) for each in (seen.gram, seen.covariance, seen.mean, seen.norm))
    tolerance = 1e-5 if dtype == "float32" else 1e-12
    np.testing.assert_allclose(DEVICE.read(seen.gram), H, rtol=0, atol=tolerance * np.abs(H).max())


def test_host_arrays_go_where_the_weights_are():
    """A Gram matrix gathered by NumPy serves weights on a device."""
    found, mask = reconstruction.admm(DEVICE.make(W), H, "2:4-T")
    assert DEVICE.is_ours(found)
    assert DEVICE.is_ours(mask)
    fitted = reconstruction.least_squares(DEVICE.make(W), MASK, H)
    assert DEVICE.is_ours(fitted)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("library", ["torch", "jax"])
def test_torch_and_jax(call, library):
    arrays = getattr(frameworks, f"{library}_arrays")()
    for ours, theirs in zip(parts(CALLS[call](arrays.make)), parts(CALLS[call](np.asarray)), strict=True):
        assert arrays.is_ours(ours)
        np.testing.assert_allclose(arrays.read(ours), theirs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_narrow_weights_are_computed_in_float32(dtype):
    torch = pytest.importorskip("torch")
    w = torch.tensor(W).to(getattr(torch, dtype))
    found, mask = reconstruction.admm(w, H, "2:4-T")
    assert found.dtype == torch.float32
    wide, _ = reconstruction.admm(w, H, "2:4-T", dtype="float64")
    assert wide.dtype == torch.float64
    errors = [float(reconstruction.output_error(w, each, H, dtype="float64").sum()) for each in (found, wide)]
    assert errors[0] == pytest.approx(errors[1], rel=0.02)
    assert ms.verify(mask.numpy(), "2:4-T").ok
