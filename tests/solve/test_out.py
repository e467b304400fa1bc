"""``out=``: the caller's own buffer, of NumPy or another library, is filled and handed back."""

import frameworks
import ml_dtypes
import numpy as np
import pytest
from assertions import assert_feasible
from solving import check, gaussian

import masksolve as ms


@pytest.fixture(params=["torch", "jax", "strict", "strict-device"])
def arrays(request: pytest.FixtureRequest) -> frameworks.Arrays:
    return frameworks.ALL[request.param]()


@pytest.mark.parametrize("pattern", ["2:4-T", "2:4 axis=0", "4:8-T pad", "2:4-T dense", "3:8 at_most"])
@pytest.mark.parametrize("backend", ["exact", "batched", "greedy"])
def test_the_buffer_is_filled_and_returned(pattern: str, backend: str) -> None:
    scores = gaussian(19, 24) if "pad" in pattern or "dense" in pattern else gaussian(16, 24)
    for start in (False, True):  # whatever stood there before is overwritten
        out = np.full(scores.shape, start)
        result = ms.solve(scores, pattern, backend=backend, out=out)
        assert result.mask is out
        assert_feasible(out, result.pattern)
        assert np.array_equal(out, ms.solve(scores, pattern, backend=backend).mask)


def test_buffers_of_any_strides() -> None:
    scores = gaussian(16, 24)
    expected = ms.solve(scores, "4:8-T").mask
    wide = np.zeros((32, 72), np.bool_)
    for out in (wide[::2, ::3], np.zeros((24, 16), np.bool_).T, wide[15::-1, 23::-1], wide[:16, 1:25]):
        assert ms.solve(scores, "4:8-T", out=out).mask is out
        assert np.array_equal(out, expected)


def test_nothing_beside_the_buffer_is_written() -> None:
    wide = np.zeros((18, 26), np.bool_)
    ms.solve(gaussian(16, 24), "4:8-T", out=wide[1:-1, 1:-1])
    assert not wide[[0, -1]].any()
    assert not wide[:, [0, -1]].any()


def test_a_buffer_is_refreshed_again_and_again() -> None:
    out = np.empty((16, 16), np.bool_)
    for seed in range(3):
        scores = gaussian(16, 16, seed=seed)
        check(ms.solve(scores, "4:8-T", out=out), scores)


def test_a_buffer_may_alternate_with_scores_in_memory() -> None:
    """Bytes of the same allocation, but none in common."""
    table = np.zeros((8, 16), np.bool_)
    scores, out = table[:, ::2], table[:, 1::2]
    scores[...] = np.random.default_rng(0).random((8, 8)) < 0.5
    before = scores.copy()
    ms.solve(scores, "4:8-T", out=out)
    assert np.array_equal(scores, before)
    assert out.sum() == 32


def test_the_buffer_of_a_failed_solve_is_the_callers_problem_but_stays_boolean() -> None:
    out = np.zeros((8, 8), np.bool_)
    keep = np.zeros((8, 8), np.bool_)
    keep[0, :3] = True
    with pytest.raises(ms.InfeasibleError):
        ms.solve(gaussian(8, 8), "2:4-T", keep=keep, out=out)
    assert set(out.view(np.uint8).ravel().tolist()) <= {0, 1}


def test_empty_buffers() -> None:
    out = np.zeros((0, 8), np.bool_)
    assert ms.solve(np.zeros((0, 8)), "2:4", out=out).mask is out


def test_buffers_of_another_library(arrays: frameworks.Arrays) -> None:
    scores = gaussian(16, 24).astype(np.float32)
    out = arrays.make(np.zeros((16, 24), np.bool_))
    if arrays.name == "jax":
        with pytest.raises(TypeError, match="out must be an array on the host that can be written to"):
            ms.solve(arrays.make(scores), "4:8-T", out=out)
        return
    found = ms.solve(arrays.make(scores), "4:8-T", out=out)
    assert found.mask is out
    assert np.array_equal(arrays.read(out), ms.solve(scores, "4:8-T", backend=found.backend).mask)


def test_buffers_on_another_device_are_refused() -> None:
    host, device = frameworks.ALL["strict"](), frameworks.ALL["strict-device"]()
    scores, buffer = gaussian(8, 8), np.zeros((8, 8), np.bool_)
    with pytest.raises((TypeError, ValueError), match=r"out must be .*(host|device)"):
        ms.solve(device.make(scores), "4:8-T", out=host.make(buffer))
    with pytest.raises((TypeError, ValueError), match=r"out must be .*(host|device)"):
        ms.solve(host.make(scores), "4:8-T", out=device.make(buffer))
    with pytest.raises((TypeError, ValueError), match=r"out must be .*(host|device)"):
        ms.solve(device.make(scores), "4:8-T", out=buffer)


def test_tensors_that_record_gradients() -> None:
    torch = pytest.importorskip("torch")
    weights = torch.randn(16, 16, requires_grad=True)
    out = torch.zeros(16, 16, dtype=torch.bool)
    assert ms.solve(weights, "4:8-T", score="magnitude", out=out).mask is out
    assert out.sum() == 128


# score


@pytest.mark.parametrize("score", ["value", "magnitude", "square"])
@pytest.mark.parametrize("backend", ["exact", "batched", "highs", "enumerate", "greedy", "cover", "entropic"])
def test_scores_are_what_values_are_worth(score: str, backend: str) -> None:
    """As if the caller had written them into an array; every backend, without a second array here."""
    if backend == "highs":
        pytest.importorskip("scipy")
    weights = gaussian(8, 16)
    worth = {"value": weights, "magnitude": np.abs(weights), "square": weights**2}[score]
    before = weights.copy()
    found = ms.solve(weights, "2:4-T", backend=backend, score=score)
    expected = ms.solve(worth, "2:4-T", backend=backend)
    assert np.array_equal(found.mask, expected.mask)
    assert found.objective == pytest.approx(expected.objective, rel=1e-12)
    assert np.array_equal(weights, before)


@pytest.mark.parametrize("score", ["magnitude", "square"])
@pytest.mark.parametrize(
    "dtype",
    [np.float16, ml_dtypes.bfloat16, np.float32, np.int8, np.int16, np.int64, np.uint8, np.uint64, np.bool_],
    ids=lambda dtype: np.dtype(dtype).name,
)
def test_scores_of_every_dtype(dtype: type, score: str) -> None:
    weights = (40 * gaussian(8, 16)).astype(np.int64)
    weights[0, 0] = weights[3, 9] = -128  # whose magnitude int8 does not hold
    narrow = (np.abs(weights) if np.dtype(dtype).kind == "u" else weights).astype(dtype)
    for pattern in ("4:8-T", "2:4", "2:4-T at_most"):
        check(ms.solve(narrow, pattern, score=score), narrow, score=score)


def test_dense_tails_are_worth_their_magnitudes() -> None:
    weights = -np.abs(gaussian(9, 11))
    result = ms.solve(weights, "2:4-T dense", score="magnitude")
    check(result, weights, score="magnitude")
    assert result.objective > 0


def test_scores_of_other_libraries(arrays: frameworks.Arrays) -> None:
    weights = gaussian(16, 24).astype(np.float32)
    for score in ("magnitude", "square"):
        found = ms.solve(arrays.make(weights), "4:8-T", score=score)
        host = ms.solve(weights, "4:8-T", backend=found.backend, score=score)
        assert np.array_equal(arrays.read(found.mask), host.mask)
        assert found.objective == pytest.approx(host.objective, rel=1e-12)
