"""Arrays of every framework go into a solve as they are, and masks come back in kind."""

import sys
import types
from dataclasses import replace

import frameworks
import ml_dtypes
import numpy as np
import pytest
from assertions import allowance, assert_optimal

import masksolve as ms
from masksolve.frameworks import framework_of
from masksolve.testing import FAMILIES

PATTERNS = ["2:4", "2:4 axis=-2", "4:8-T", "3:8-T at_most pad", "2:4-T dense"]


@pytest.fixture(params=list(frameworks.ALL))
def arrays(request: pytest.FixtureRequest) -> frameworks.Arrays:
    return frameworks.ALL[request.param]()


def gaussian(shape: tuple[int, ...] = (16, 24), seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def as_numpy(arrays: frameworks.Arrays, result: ms.MaskResult) -> ms.MaskResult:
    """The same result with its mask read back, which must be of the framework."""
    assert arrays.is_ours(result.mask)
    mask = arrays.read(result.mask)
    assert mask.dtype == np.bool_
    return replace(result, mask=mask)


@pytest.mark.parametrize("dtype", [*frameworks.STANDARD, "float16", "bfloat16"])
def test_every_dtype_is_solved_and_answered_in_kind(arrays: frameworks.Arrays, dtype: str) -> None:
    if dtype not in arrays.dtypes:
        pytest.skip(f"{arrays.name} has no {dtype}")
    scores = (8 * gaussian()).astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    found = ms.solve(arrays.make(scores), "4:8-T")
    assert found.backend == ("exact" if arrays.on_host else "batched")
    assert found.status is ms.Status.OPTIMAL
    assert_optimal(as_numpy(arrays, found), scores)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_keeps_as_much_as_numpy(arrays: frameworks.Arrays, family: str) -> None:
    for seed, pattern in enumerate(PATTERNS):
        shape = (19, 21) if ms.Pattern.parse(pattern).remainder != "error" else (2, 16, 24)
        scores = FAMILIES[family](np.random.default_rng(seed), shape)
        host = ms.solve(scores, pattern)
        found = as_numpy(arrays, ms.solve(arrays.make(scores), pattern))
        assert abs(found.objective - host.objective) <= allowance(scores, host.pattern)
        assert_optimal(found, scores, best=host.mask)


@pytest.mark.parametrize("backend", ["greedy", "entropic", "batched"])
def test_a_backend_asked_for_runs(arrays: frameworks.Arrays, backend: str) -> None:
    if backend == "batched" and arrays.name in ("tensorflow", "jax"):
        pytest.skip("TensorFlow has no array-API namespace; JAX compiles for long, see test_arrays_jax.py")
    scores = np.abs(gaussian())
    host = ms.solve(scores, "4:8-T", backend=backend)
    found = ms.solve(arrays.make(scores), "4:8-T", backend=backend)
    assert found.backend == backend
    assert as_numpy(arrays, found).objective == pytest.approx(host.objective, rel=1e-6)
    assert ms.verify(found.mask, "4:8-T").ok


@pytest.mark.parametrize("kind", ["numpy", "own"])
def test_forced_choices_of_either_kind(arrays: frameworks.Arrays, kind: str) -> None:
    scores, keep = gaussian(), np.eye(16, 24, dtype=bool)
    drop = np.roll(keep, 1, axis=1)
    give = arrays.make if kind == "own" else np.asarray
    found = ms.solve(arrays.make(scores), "4:8-T", keep=give(keep), drop=give(drop))
    assert_optimal(as_numpy(arrays, found), scores, keep=keep, drop=drop)
    row = drop[:1]  # broadcast by the solve
    found = ms.solve(arrays.make(scores), "4:8", drop=give(row))
    assert_optimal(as_numpy(arrays, found), scores, drop=row)


def test_forced_choices_of_a_framework_go_with_scores_of_numpy(arrays: frameworks.Arrays) -> None:
    scores, keep = gaussian(), np.eye(16, 24, dtype=bool)
    found = ms.solve(scores, "4:8-T", keep=arrays.make(keep))
    assert_optimal(found, scores, keep=keep)


def test_wrong_forced_choices_are_named(arrays: frameworks.Arrays) -> None:
    scores = arrays.make(gaussian())
    with pytest.raises(TypeError, match="keep must be boolean"):
        ms.solve(scores, "4:8-T", keep=arrays.make(np.ones((16, 24), np.float32)))
    with pytest.raises(ValueError, match="drop must be broadcastable to the shape of scores"):
        ms.solve(scores, "4:8-T", drop=arrays.make(np.ones((16, 23), bool)))
    everywhere = arrays.make(np.ones((16, 24), bool))
    with pytest.raises(ValueError, match="keep and drop must not both be True"):
        ms.solve(scores, "4:8-T", keep=everywhere, drop=everywhere)
    with pytest.raises(ms.InfeasibleError):
        ms.solve(scores, "4:8-T", keep=everywhere)


def test_wrong_scores_are_named(arrays: frameworks.Arrays) -> None:
    values = gaussian()
    values[3, 5] = np.nan
    with pytest.raises(ValueError, match=r"scores must be finite, got nan at index \[3, 5\]"):
        ms.solve(arrays.make(values), "4:8-T")
    with pytest.raises(ValueError, match="m=8 does not divide"):
        ms.solve(arrays.make(gaussian((16, 20))), "4:8-T")
    with pytest.raises(ValueError, match="2 to 61 axes"):
        ms.solve(arrays.make(gaussian((8,))), "4:8-T")
    with pytest.raises(TypeError, match="complex64"):
        ms.solve(arrays.make(gaussian().astype(np.complex64)), "4:8-T")


def test_warm_starts(arrays: frameworks.Arrays) -> None:
    scores = gaussian()
    first = ms.solve(arrays.make(scores), "4:8-T", duals=True)
    near = scores + 0.01 * gaussian(seed=1)
    assert_optimal(as_numpy(arrays, ms.solve(arrays.make(near), "4:8-T", warm_start=first)), near)
    assert_optimal(ms.solve(near, "4:8-T", warm_start=first), near)
    host = ms.solve(scores, "4:8-T")
    assert_optimal(as_numpy(arrays, ms.solve(arrays.make(near), "4:8-T", warm_start=host)), near)


def test_proofs_are_recomputed(arrays: frameworks.Arrays) -> None:
    scores = gaussian()
    found = ms.solve(arrays.make(scores), "4:8-T", duals=True)
    assert str(ms.verify(found.mask, "4:8-T")) == "ok: 6 tiles follow '4:8-T'"
    assert ms.verify(arrays.make(np.ones((8, 8), bool)), "4:8-T").violations
    proof = ms.recompute_certificate(arrays.make(scores), found.mask, "4:8-T", found.duals)
    assert proof.objective == pytest.approx(found.objective, rel=1e-12)
    assert proof.bound == pytest.approx(found.bound, rel=1e-12)
    assert repr(found).startswith("MaskResult(OPTIMAL, pattern='4:8-T', shape=(16, 24), ")


def test_weights_are_packed(arrays: frameworks.Arrays) -> None:
    weights = gaussian()
    mask = ms.solve(arrays.make(np.abs(weights)), "4:8-T").mask
    packed = ms.pack(arrays.make(weights), mask, "4:8-T")
    np.testing.assert_array_equal(ms.unpack(packed), np.where(arrays.read(mask), weights, 0))


@pytest.mark.parametrize(("shape", "pattern"), [((0, 8), "4:8"), ((0, 8, 8), "4:8-T"), ((8, 0), "4:8-T")])
def test_empty_arrays(arrays: frameworks.Arrays, shape: tuple[int, ...], pattern: str) -> None:
    found = as_numpy(arrays, ms.solve(arrays.make(gaussian(shape)), pattern))
    assert found.mask.shape == shape
    assert found.objective == 0


@pytest.mark.parametrize("pattern", ["2:4", "2:4 axis=0", "2:4 axis=-3", "3:4-T"])
def test_batches_and_axes(arrays: frameworks.Arrays, pattern: str) -> None:
    scores = gaussian((4, 4, 4, 8))
    assert_optimal(as_numpy(arrays, ms.solve(arrays.make(scores), pattern)), scores)


@pytest.mark.parametrize(
    "value",
    [np.zeros(2), np.float32(1), np.zeros(2).view(np.recarray), np.ma.zeros(2), [1.0], (1.0,), 1.0, None],
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_array_of_a_framework(value: object) -> None:
    assert framework_of(value) is None


def test_a_framework_that_is_half_imported_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("torch", "jax", "tensorflow"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    assert framework_of(object()) is None


@pytest.mark.parametrize("name", ["torch", "jax", "strict"])
def test_missing_array_api_compat_is_named(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    scores = frameworks.ALL[name]().make(gaussian())
    monkeypatch.setitem(sys.modules, "array_api_compat", None)
    with pytest.raises(ms.BackendUnavailableError, match=r'pip install ".*\[arrays\]"'):
        ms.solve(scores, "4:8-T", backend="batched")


@pytest.mark.parametrize("name", ["torch", "jax"])
def test_host_arrays_do_not_need_array_api_compat(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    arrays = frameworks.ALL[name]()
    scores = arrays.make(gaussian())
    monkeypatch.setitem(sys.modules, "array_api_compat", None)
    if arrays.on_host:
        assert arrays.is_ours(ms.solve(scores, "4:8-T").mask)
