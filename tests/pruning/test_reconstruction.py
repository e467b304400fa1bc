"""Reconstruction against least squares by QR, and SparseGPT against Optimal Brain Surgeon, step by step."""

import importlib
import tracemalloc

import assertions
import numpy as np
import oracles
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import masksolve as ms
from masksolve.pruning import reconstruction
from masksolve.testing import FAMILIES

rows = importlib.import_module("masksolve.pruning.least_squares")

ORDINARY = [
    "signed",
    "heavy_tailed",
    "bfloat16_rounded",
    "int8",
    "mostly_zero",
    "negative",
    "constant",
    "zeros",
]
EXTREME = ["huge_float32", "denormal", "one_dominating"]
PATTERNS = ["2:4", "1:4-T", "2:4-T", "4:8-T", "3:8 at_most", "4:8-T at_most", "2:4 axis=-2"]


def inputs_of(rng, samples, inputs):
    """Correlated inputs (samples, inputs) of full rank, as layers are given them."""
    return rng.standard_normal((samples, inputs)) @ rng.uniform(-1, 1, (inputs, inputs)) + rng.uniform(
        0, 1, inputs
    )


def squared_error(w, other, x):
    """By its definition, from the samples."""
    return np.square((other - w) @ x.T).sum(axis=1)


def by_rows(w, mask, x, ridge=0.0):
    """Least squares of every row by a singular-value decomposition of the samples it keeps."""
    weak = np.sqrt(ridge) * np.eye(w.shape[1])
    full, result = np.concatenate([x, weak]), np.zeros(w.shape)
    for row, kept in enumerate(mask):
        if kept.any():
            result[row, kept] = np.linalg.lstsq(full[:, kept], full @ w[row])[0]
    return result


def close(actual, expected, tolerance=1e-7):
    rounding = 100 * 5e-324  # of denormal weights
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * np.abs(expected).max() + rounding)


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("damping", [0.0, 0.01, 1.0])
def test_least_squares_is_that_of_every_row(pattern, damping):
    rng = np.random.default_rng(0)
    w, x = rng.standard_normal((16, 24)), inputs_of(rng, 100, 24)
    gram = x.T @ x
    mask = ms.solve(np.abs(w), pattern).mask
    found = reconstruction.least_squares(w, mask, gram, damping=damping)
    ridge = damping * np.trace(gram) / 24
    close(found, by_rows(w, mask, x, ridge))
    assert (found[~mask] == 0).all()


@pytest.mark.parametrize("family", ORDINARY + EXTREME)
def test_least_squares_of_every_kind_of_weight(family):
    rng = np.random.default_rng(1)
    w, x = FAMILIES[family](rng, (8, 16)), inputs_of(rng, 60, 16)
    mask = ms.solve(ms.saliency.magnitude(w), "2:4-T").mask
    found = reconstruction.least_squares(w, mask, x.T @ x, damping=0.0, dtype="float64")
    close(found, by_rows(w.astype(np.float64), mask, x))


@pytest.mark.parametrize("entries", [1, 40, 300, 1 << 23])
def test_rows_that_keep_different_numbers_in_chunks_of_any_size(entries, monkeypatch):
    monkeypatch.setattr(rows, "_CHUNK_ENTRIES", entries)
    rng = np.random.default_rng(2)
    w, x = rng.standard_normal((20, 9)), inputs_of(rng, 50, 9)
    mask = rng.random((20, 9)) < rng.random((20, 1))
    mask[3], mask[7] = True, False
    found = reconstruction.least_squares(w, mask, x.T @ x, damping=0.0)
    close(found, by_rows(w, mask, x))
    np.testing.assert_allclose(found[3], w[3], rtol=1e-15)
    assert not found[7].any()


@pytest.mark.parametrize("shape", [(0, 4), (3, 0), (0, 0)])
def test_nothing_to_reconstruct(shape):
    found = reconstruction.least_squares(np.ones(shape), np.ones(shape, bool), np.eye(shape[1]))
    assert found.shape == shape


def test_memory_is_bounded(monkeypatch):
    """All normal equations at once would take 64 MiB."""
    monkeypatch.setattr(rows, "_CHUNK_ENTRIES", 1 << 16)
    rng = np.random.default_rng(3)
    w, mask = rng.standard_normal((512, 256)), np.tile([True, False], (512, 128))
    tracemalloc.start()
    try:
        reconstruction.least_squares(w, mask, np.eye(256), method="cholesky")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 16 * 2**20


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    samples=st.integers(1, 30),
    damping=st.sampled_from([1e-6, 1e-3, 0.1, 10.0]),
    density=st.floats(0, 1),
)
def test_never_worse_than_the_mask_alone_and_stationary(seed, samples, damping, density):
    """Also with fewer samples than inputs, where only the damping makes the problem solvable."""
    rng = np.random.default_rng(seed)
    w, x = rng.standard_normal((4, 12)), inputs_of(rng, samples, 12)
    mask, gram = rng.random(w.shape) < density, x.T @ x
    found = reconstruction.least_squares(w, mask, gram, damping=damping)
    before, after = (reconstruction.output_error(w, other, gram) for other in (w * mask, found))
    np.testing.assert_allclose(after, squared_error(w, found, x), rtol=1e-6, atol=1e-9 * before.max())
    rounding = 1e-15 * (np.square(w) @ np.diagonal(gram)).max()
    assert (after <= before * (1 + 1e-9) + rounding).all()
    gradient = (found - w) @ ms.saliency.damped(gram, damping)
    assert np.abs(gradient[mask]).max(initial=0.0) <= 1e-8 * np.abs(gram).max()


def brain_surgeon(w, x, pattern, damping, places=1):
    """SparseGPT spelled out: every step inverts the Hessian of the inputs that are still free.

    ``w`` is (outputs, places * inputs); the mask of the m columns at hand is an oracle's.
    """
    pattern = ms.Pattern.parse(pattern)
    hessian = x.T @ x
    hessian = hessian + damping * np.trace(hessian) / len(hessian) * np.eye(len(hessian))
    w, columns = w.astype(np.float64).copy(), w.shape[1]
    mask, inputs = np.ones(w.shape, bool), columns // places
    for column in range(columns):
        inverse = np.linalg.inv(hessian[column:, column:])
        if column % inputs % pattern.m == 0:
            last = min(column + pattern.m, (column // inputs + 1) * inputs)
            free = [np.linalg.inv(hessian[j:, j:])[0, 0] for j in range(column, last)]
            mask[:, column:last] = oracles.solve(np.square(w[:, column:last]) / free, pattern)
        for row in np.flatnonzero(~mask[:, column]):
            w[row, column:] -= w[row, column] / inverse[0, 0] * inverse[0]
            w[row, column] = 0.0
    return w, mask


@pytest.mark.parametrize(
    "pattern",
    [
        "1:2",
        "2:4",
        "2:4-T",
        "1:4-T at_most",
        "2:4 axis=-2",
        "2:4 pad",
        "2:4-T pad",
        "2:4-T dense",
        "3:4 dense",
    ],
)
@pytest.mark.parametrize("damping", [0.0, 0.01])
def test_sparsegpt_is_optimal_brain_surgery_from_left_to_right(pattern, damping):
    rng = np.random.default_rng(4)
    shape = (8, 12) if pattern.split()[-1] not in {"pad", "dense"} else (7, 10)
    w, x = rng.standard_normal(shape), inputs_of(rng, 80, shape[1])
    weights, mask = reconstruction.sparsegpt(w, x.T @ x, pattern, damping=damping, block=4)
    expected, expected_mask = brain_surgeon(w, x, pattern, damping)
    assertions.assert_feasible(mask, ms.Pattern.parse(pattern))
    np.testing.assert_array_equal(mask, expected_mask)  # no ties among these scores
    close(weights, expected)


@pytest.mark.parametrize("pattern", ["2:4", "2:4-T", "2:4 pad"])
def test_sparsegpt_settles_the_places_of_a_kernel_one_after_another(pattern):
    rng = np.random.default_rng(5)
    inputs = 6 if "pad" in pattern else 8
    w, x = rng.standard_normal((3, 4, inputs)), inputs_of(rng, 100, 3 * inputs)
    weights, mask = reconstruction.sparsegpt(w, x.T @ x, pattern, block=4)
    expected, expected_mask = brain_surgeon(np.concatenate(w, axis=1), x, pattern, 0.01, places=3)
    np.testing.assert_array_equal(np.concatenate(mask, axis=1), expected_mask)
    close(np.concatenate(weights, axis=1), expected)
    assertions.assert_feasible(mask, ms.Pattern.parse(pattern))


@pytest.mark.parametrize("pattern", ["2:4", "4:8-T"])
def test_blocks_are_for_speed_only(pattern):
    rng = np.random.default_rng(6)
    w, x = rng.standard_normal((16, 48)), inputs_of(rng, 100, 48)
    first, mask = reconstruction.sparsegpt(w, x.T @ x, pattern, block=8)
    for block in (16, 48, 128):
        weights, other = reconstruction.sparsegpt(w, x.T @ x, pattern, block=block)
        np.testing.assert_array_equal(mask, other)
        close(weights, first, 1e-9)


@pytest.mark.parametrize("family", ORDINARY + EXTREME)
@pytest.mark.parametrize("pattern", ["2:4", "4:8-T"])
def test_sparsegpt_of_every_kind_of_weight(family, pattern):
    rng = np.random.default_rng(7)
    w, x = FAMILIES[family](rng, (16, 16)), inputs_of(rng, 80, 16)
    before = w.copy()
    weights, mask = reconstruction.sparsegpt(w, x.T @ x, pattern)
    np.testing.assert_array_equal(w, before)
    assertions.assert_feasible(mask, ms.Pattern.parse(pattern))
    assert np.isfinite(weights).all()
    assert not weights[~mask].any()


@pytest.mark.parametrize("pattern", ["2:4", "2:4-T", "4:8-T", "8:16-T"])
def test_least_squares_beats_sparsegpt_which_beats_its_mask_alone(pattern):
    """On the same mask, in the damped error that all of them minimise."""
    rng = np.random.default_rng(8)
    w, x = rng.standard_normal((32, 32)), inputs_of(rng, 200, 32)
    gram = ms.saliency.damped(x.T @ x, 0.01)
    weights, mask = reconstruction.sparsegpt(w, gram, pattern, damping=0.0)
    best = reconstruction.least_squares(w, mask, gram, damping=0.0)
    errors = [reconstruction.output_error(w, other, gram) for other in (best, weights, w * mask)]
    assert (errors[0] <= errors[1] * (1 + 1e-9)).all()
    assert errors[0].sum() < errors[1].sum() < errors[2].sum()


def test_optimal_masks_lose_less_than_greedy_ones():
    """SparseGPT on the same layers, with `exact` and with `greedy` masks."""
    lost = dict.fromkeys(["exact", "greedy"], 0.0)
    for seed in range(8):
        rng = np.random.default_rng(seed)
        w, x = rng.standard_normal((64, 64)), inputs_of(rng, 400, 64)
        gram = x.T @ x
        for backend in lost:
            weights, mask = reconstruction.sparsegpt(w, gram, "4:8-T", backend=backend)
            assertions.assert_feasible(mask, ms.Pattern.parse("4:8-T"))
            lost[backend] += float(reconstruction.output_error(w, weights, gram).sum() / np.trace(gram))
    assert lost["exact"] < lost["greedy"]


EYE = np.eye(4)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        (
            (np.ones((4, 4)), EYE, "2:4"),
            {"block": 6},
            ValueError,
            "block must be a positive multiple of m=4, got 6",
        ),
        ((np.ones((4, 4)), EYE, "2:4"), {"block": 0}, ValueError, "block must be a positive multiple"),
        ((np.ones((4, 4)), EYE, "2:4"), {"block": 4.0}, TypeError, "block must be an integer"),
        ((np.ones((4, 4)), EYE, "2:4 axis=0"), {}, ValueError, r"pattern axis must be -1 .* got 0"),
        ((np.ones((4, 6)), np.eye(6), "2:4"), {}, ValueError, "m=4 does not divide|divide"),
        ((np.ones(4), EYE, "2:4"), {}, ValueError, r"w must have shape \(..., outputs, inputs\), got \(4,\)"),
        ((np.full((4, 4), np.nan), EYE, "2:4"), {}, ValueError, "w must be finite, got nan"),
        ((np.ones((4, 4)), np.eye(3), "2:4"), {}, ValueError, r"hessian must have shape \(4, 4\)"),
        ((np.ones((4, 4)), np.ones((4, 4)), "2:4"), {"damping": 0.0}, ValueError, "choose damping > 0"),
        ((np.ones((4, 4)), EYE, "2:4"), {"backend": "none such"}, ValueError, "backend"),
    ],
)
def test_sparsegpt_refuses(arguments, options, error, message):
    with pytest.raises(error, match=message):
        reconstruction.sparsegpt(*arguments, **options)


@pytest.mark.parametrize(
    ("w", "mask", "hessian", "options", "error", "message"),
    [
        (
            np.ones((4, 4)),
            np.ones((4, 3), bool),
            EYE,
            {},
            ValueError,
            r"mask must have the shape of w \(4, 4\)",
        ),
        (np.ones((4, 4)), np.ones((4, 4)), EYE, {}, TypeError, "mask must be boolean"),
        (np.ones((1, 4, 4)), np.ones((1, 4, 4), bool), EYE, {}, ValueError, "w must be a matrix"),
        (np.ones((4, 4)), np.ones((4, 4), bool), np.ones((4, 4)), {"damping": 0}, ValueError, "singular"),
        (
            np.ones((4, 4)),
            np.ones((4, 4), bool),
            EYE,
            {"damping": None},
            TypeError,
            "damping must be a number",
        ),
        (np.full((4, 4), np.inf), np.ones((4, 4), bool), EYE, {}, ValueError, "w must be finite"),
    ],
)
def test_least_squares_refuses(w, mask, hessian, options, error, message):
    with pytest.raises(error, match=message):
        reconstruction.least_squares(w, mask, hessian, **options)
