"""Conjugate gradients against factorised rows; both in float32 against float64."""

import sys
import threading

import numpy as np
import pytest

import masksolve as ms
from masksolve.pruning import reconstruction


def problem(seed, outputs, inputs, samples, spread):
    """Inputs whose covariance has eigenvalues over ``spread`` orders of magnitude."""
    rng = np.random.default_rng(seed)
    turn = np.linalg.qr(rng.standard_normal((inputs, inputs)))[0]
    x = rng.standard_normal((samples, inputs)) * np.logspace(0, -spread / 2, inputs) @ turn
    return rng.standard_normal((outputs, inputs)), x.T @ x


def damped_error(w, found, gram):
    gram = ms.saliency.damped(gram, 0.01, dtype="float64")
    return float(reconstruction.output_error(w.astype(np.float64), found, gram).sum())


@pytest.mark.parametrize("pattern", ["2:4", "2:4-T", "8:16-T", "1:4-T"])
@pytest.mark.parametrize("spread", [1, 3, 6])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_conjugate_gradients_are_close_to_the_optimum(pattern, spread, dtype):
    w, gram = problem(0, 64, 192, 400, spread)
    mask = ms.solve(np.abs(w), pattern).mask
    exact = damped_error(w, reconstruction.least_squares(w, mask, gram, method="cholesky"), gram)
    found = reconstruction.least_squares(w, mask, gram, method="pcg", dtype=dtype)
    assert not found[~mask].any()
    assert exact * (1 - 1e-6) <= damped_error(w, found, gram) <= exact * 1.005


@pytest.mark.parametrize("spread", [1, 6])
def test_float32_factorises_well_enough(spread):
    w, gram = problem(1, 32, 96, 200, spread)
    mask = ms.solve(np.abs(w), "2:4-T").mask
    errors = [
        damped_error(w, reconstruction.least_squares(w, mask, gram, method="cholesky", dtype=dtype), gram)
        for dtype in ("float32", "float64")
    ]
    assert errors[0] <= errors[1] * (1 + 1e-5)


def test_rows_that_keep_different_numbers_by_conjugate_gradients():
    rng = np.random.default_rng(2)
    w, gram = problem(2, 20, 40, 100, 2)
    mask = rng.random(w.shape) < rng.random((20, 1))
    mask[3], mask[7] = True, False
    found = reconstruction.least_squares(w, mask, gram, method="pcg")
    np.testing.assert_allclose(found[3], w[3], rtol=1e-12)
    assert not found[7].any()
    exact = reconstruction.least_squares(w, mask, gram, method="cholesky")
    assert damped_error(w, found, gram) <= damped_error(w, exact, gram) * 1.001


def test_auto_chooses_by_size():
    for inputs, method in ((96, "cholesky"), (192, "pcg")):
        w, gram = problem(3, 16, inputs, 300, 3)
        mask = ms.solve(np.abs(w), "2:4").mask
        chosen = reconstruction.least_squares(w, mask, gram)
        np.testing.assert_array_equal(chosen, reconstruction.least_squares(w, mask, gram, method=method))


def test_inputs_of_very_different_size_need_no_float64():
    """Scaling to a unit diagonal is what keeps float32 solvable here."""
    w, gram = problem(4, 16, 64, 200, 1)
    size = np.logspace(-4, 4, 64)
    gram = gram * np.outer(size, size)
    mask = ms.solve(np.abs(w), "2:4").mask
    for method in ("cholesky", "pcg"):
        narrow = reconstruction.least_squares(w, mask, gram, method=method, dtype="float32", damping=1e-6)
        wide = reconstruction.least_squares(w, mask, gram, method="cholesky", damping=1e-6)
        errors = [
            float(reconstruction.output_error(w, each, ms.saliency.damped(gram, 1e-6)).sum())
            for each in (narrow, wide)
        ]
        assert errors[0] <= errors[1] * 1.005


@pytest.mark.parametrize("method", ["lu", 3, None])
def test_unknown_methods(method):
    with pytest.raises((ValueError, TypeError), match="method must be one of 'auto', 'cholesky', 'pcg'"):
        reconstruction.least_squares(np.eye(4), np.eye(4, dtype=bool), np.eye(4), method=method)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_rows_are_shared_out_to_the_threads_of_blas(threads, monkeypatch):
    threadpoolctl = pytest.importorskip("threadpoolctl")
    w, gram = problem(5, 40, 64, 200, 2)
    mask = np.random.default_rng(5).random(w.shape) < 0.5
    used = set()
    solve = np.linalg.solve

    def watched(*arguments):
        blas = threadpoolctl.ThreadpoolController().select(user_api="blas")
        assert all(each["num_threads"] == 1 for each in blas.info())
        used.add(threading.get_ident())
        return solve(*arguments)

    monkeypatch.setattr(np.linalg, "solve", watched)
    with threadpoolctl.threadpool_limits(threads, user_api="blas"):
        before = threadpoolctl.threadpool_info()
        found = reconstruction.least_squares(w, mask, gram, method="cholesky")
        assert threadpoolctl.threadpool_info() == before
    assert (used == {threading.get_ident()}) == (threads == 1 or blas_threads(before) == 1)
    monkeypatch.setitem(sys.modules, "threadpoolctl", None)
    monkeypatch.setattr(np.linalg, "solve", solve)
    alone = reconstruction.least_squares(w, mask, gram, method="cholesky")
    np.testing.assert_allclose(found, alone, rtol=1e-12, atol=1e-12)


def blas_threads(info):
    return max((each["num_threads"] for each in info if each["user_api"] == "blas"), default=1)
