"""Saliencies: values, dtypes and refusals."""

import tracemalloc

import ml_dtypes
import numpy as np
import pytest

from masksolve.pruning import saliency
from masksolve.testing import FAMILIES


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32, np.float64], ids=str)
def test_magnitude_of_floats(dtype):
    w = np.array([[-1.5, 0.0], [2.0, -0.0]], dtype)
    score = saliency.magnitude(w)
    assert score.dtype == w.dtype
    assert score.tolist() == [[1.5, 0.0], [2.0, 0.0]]
    assert w[0, 0] == -1.5


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.int64])
def test_magnitude_of_the_most_negative_integer(dtype):
    low = np.iinfo(dtype).min
    score = saliency.magnitude(np.array([low, low + 1, 3], dtype))
    assert score.dtype.kind == "u"
    assert score.tolist() == [-int(low), -int(low) - 1, 3]


def test_magnitude_of_unsigned_and_bool():
    assert saliency.magnitude(np.array([255], np.uint8)).tolist() == [255]
    assert saliency.magnitude(np.array([True, False])).tolist() == [True, False]


def test_wanda_weighs_each_input():
    w = np.array([[[1.0, -2.0, 3.0], [0.0, 1.0, -1.0]]])
    assert saliency.wanda(w, [2.0, 0.0, 0.5]).tolist() == [[[2.0, 0.0, 1.5], [0.0, 0.0, 0.5]]]


def test_wanda_can_change_the_order():
    score = saliency.wanda(np.array([[1.0, -1.1]], np.float32), np.array([2.0, 1.0], np.float32))
    assert score.dtype == np.float32
    assert score[0, 0] > score[0, 1]


def test_wanda_of_integers_is_floating():
    score = saliency.wanda(np.array([[-128, 1]], np.int8), np.array([200, 3], np.int64))
    assert score.tolist() == [[25600.0, 3.0]]


@pytest.mark.parametrize(
    ("w", "x_norm", "error", "message"),
    [
        (np.ones((2, 3)), np.ones(2), ValueError, r"x_norm .*\(2, 3\), got shape \(2,\)"),
        (np.ones((2, 3)), np.ones((1, 3)), ValueError, r"got shape \(1, 3\)"),
        (np.array(1.0), np.array(1.0), ValueError, "x_norm must have one entry for each input"),
        (np.ones((1, 2)), [1.0, -2.0], ValueError, r"not negative, got -2.0 at index \[1\]"),
        (np.ones((1, 2)), [np.nan, 1.0], ValueError, r"finite and not negative, got nan at index \[0\]"),
        (np.ones((1, 2), complex), np.ones(2), TypeError, "w must hold real numbers"),
        (np.ones((1, 2)), "no", TypeError, "x_norm must be an array"),
    ],
)
def test_bad_input(w, x_norm, error, message):
    with pytest.raises(error, match=message):
        saliency.wanda(w, x_norm)


def inputs_of(rng, samples, inputs, condition=10.0):
    """Correlated inputs (samples, inputs) of full rank."""
    mix = np.linalg.qr(rng.standard_normal((inputs, inputs)))[0] * np.geomspace(1, condition, inputs)
    return rng.standard_normal((samples, inputs)) @ mix


@pytest.mark.parametrize("family", ["signed", "heavy_tailed", "bfloat16_rounded", "int8", "mostly_zero"])
@pytest.mark.parametrize("seed", range(2))
def test_obs_is_the_least_cost_of_a_removal(family, seed):
    """Brute force: take a weight out, fit the others anew, and look at the error that is left."""
    rng = np.random.default_rng(seed)
    w, x = FAMILIES[family](rng, (3, 6)), inputs_of(rng, 40, 6)
    wide = w.astype(np.float64)
    cost = np.empty(w.shape)
    for output, removed in np.ndindex(w.shape):
        others = np.delete(x, removed, axis=1)
        target = wide[output, removed] * x[:, removed]
        fit = np.linalg.lstsq(others, target)[0]
        cost[output, removed] = np.square(target - others @ fit).sum()
    score = saliency.obs(w, x.T @ x, damping=0.0, dtype="float64")
    assert score.dtype == np.float64
    np.testing.assert_allclose(score, cost, rtol=1e-9)


def test_obs_ranks_unlike_magnitude_where_inputs_stand_in_for_each_other():
    twins = np.array([[1.0, 0.99, 0.0], [0.99, 1.0, 0.0], [0.0, 0.0, 1.0]])
    score = saliency.obs([[1.0, 1.0, 0.5]], twins)
    assert score.argmin() == 0 or score.argmin() == 1
    assert score[0, 2] > 2 * score[0, :2].max()


def test_damping_is_relative_to_the_mean_of_the_diagonal():
    gram = np.diag([1.0, 3.0])
    np.testing.assert_allclose(saliency.damped(gram, 0.5), np.diag([2.0, 4.0]))
    assert gram[0, 0] == 1.0, "the caller's matrix is not written"
    np.testing.assert_array_equal(saliency.damped(np.zeros((2, 2)), 0.25), np.diag([0.25, 0.25]))


def test_damping_makes_too_few_samples_solvable():
    x = np.random.default_rng(0).standard_normal((3, 8))
    with pytest.raises(ValueError, match=r"singular: fewer samples than inputs.* damping > 0"):
        saliency.damped(x.T @ x, 0.0)
    assert np.linalg.eigvalsh(saliency.damped(x.T @ x, 0.01)).min() > 0


@pytest.mark.parametrize(
    ("hessian", "damping", "error", "message"),
    [
        (np.ones((2, 3)), 0.1, ValueError, r"hessian must have shape \(2, 2\).*got \(2, 3\)"),
        (np.eye(3), 0.1, ValueError, r"hessian must have shape \(2, 2\).*got \(3, 3\)"),
        (np.ones(2), 0.1, ValueError, r"hessian must be a matrix, got shape \(2,\)"),
        (np.array([[1.0, 2.0], [0.0, 1.0]]), 0.1, ValueError, "hessian must be symmetric"),
        (
            np.array([[1.0, np.nan], [0.0, 1.0]]),
            0.1,
            ValueError,
            r"hessian must be finite, got nan at .*\[0, 1\]",
        ),
        (np.diag([1.0, -1.0]), 0.1, ValueError, "hessian must be positive definite"),
        (np.ones((2, 2)), 0.0, ValueError, "singular"),
        (np.zeros((2, 2)), 0.0, ValueError, "singular"),
        (np.eye(2), -0.1, ValueError, "damping must be at least 0, got -0.1"),
        (np.eye(2), float("nan"), ValueError, "damping must be finite"),
        (np.eye(2), "little", TypeError, "damping must be a number, got 'little'"),
        (np.eye(2), True, TypeError, "damping must be a number, got True"),
        (np.eye(2) * 1j, 0.1, TypeError, "hessian must hold real numbers"),
    ],
)
def test_bad_hessian(hessian, damping, error, message):
    with pytest.raises(error, match=message):
        saliency.obs(np.ones((1, 2)), hessian, damping=damping)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32, np.float64, np.int8], ids=str)
@pytest.mark.parametrize("cuts", [[], [1], [3, 4, 90]])
def test_statistics_do_not_depend_on_the_batches(dtype, cuts):
    x = (3 * np.random.default_rng(1).standard_normal((5, 20, 4))).astype(dtype)
    seen = saliency.Statistics.empty(4)
    for part in np.split(x.reshape(100, 4), cuts):
        seen.update(part)
    wide = x.astype(np.float64).reshape(100, 4)
    assert seen.count == 100
    np.testing.assert_allclose(seen.gram, wide.T @ wide, rtol=1e-13)
    np.testing.assert_allclose(seen.mean, wide.mean(axis=0), rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(seen.norm, np.linalg.norm(wide, axis=0), rtol=1e-13)
    np.testing.assert_allclose(seen.covariance, 100 * np.cov(wide.T, bias=True), rtol=1e-10, atol=1e-10)


def test_statistics_sum_in_float64():
    """Ten thousand ones and a small number: float32 sums, and above all float16 ones, would lose it."""
    seen = saliency.Statistics.empty(1)
    for _ in range(10):
        seen.update(np.full((1000, 1), 100.0, np.float16))
    seen.update(np.array([[2.0**-10]], np.float16))
    assert seen.total[0] == pytest.approx(1e6 + 2.0**-10, rel=1e-15)
    assert seen.gram[0, 0] == pytest.approx(1e8 + 2.0**-20, rel=1e-15)


def test_statistics_widen_a_batch_in_chunks():
    x = np.broadcast_to(np.float32(1.0), (1 << 21, 8))  # 128 MiB in float64
    seen = saliency.Statistics.empty(8)
    tracemalloc.start()
    try:
        seen.update(x)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert seen.gram[0, 0] == 1 << 21
    assert peak < 32 * 2**20


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (np.ones((4, 3)), ValueError, r"x must have shape \(..., 2\).*got \(4, 3\)"),
        (np.array(1.0), ValueError, r"got \(\)"),
        (
            np.array([[1.0, 2.0], [np.inf, 0.0]]),
            ValueError,
            "x must be finite, got NaN or infinity in sample 1",
        ),
        (np.array([["a", "b"]]), TypeError, "x must hold real numbers"),
    ],
)
def test_statistics_refuse_what_they_cannot_use(x, error, message):
    seen = saliency.Statistics.empty(2)
    seen.update([[1.0, 2.0]])
    with pytest.raises(error, match=message):
        seen.update(x)
    assert (seen.count, seen.total.tolist(), seen.gram.tolist()) == (1, [1.0, 2.0], [[1.0, 2.0], [2.0, 4.0]])


@pytest.mark.parametrize(("inputs", "error"), [(0, ValueError), (2.5, TypeError)])
def test_statistics_need_inputs(inputs, error):
    with pytest.raises(error, match="inputs must be"):
        saliency.Statistics.empty(inputs)
