"""The compiled engine: whatever prices a solve starts from, the optimum is the same."""

import dataclasses

import numpy as np
import pytest
from assertions import assert_feasible
from engine import (
    WAYS,
    assert_certified,
    gaussian,
    shape_for,
)

import masksolve as ms
from masksolve.backends import exact
from masksolve.types import Prices


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("drift", [0.0, 0.001, 0.01, 0.1, 1.0])
@pytest.mark.parametrize("pattern", WAYS)
def test_a_warm_start_never_changes_the_optimum(pattern, drift, dtype):
    scores = gaussian(shape_for(pattern), dtype)
    start = ms.solve(scores, pattern, duals=True)
    later = ((1 - drift) * scores + drift * gaussian(scores.shape, dtype, seed=6)).astype(dtype)
    assert_warm(later, start)


def _constant(value):
    return lambda shape, rng: np.full(shape, value)


ABSURD = {
    "random": lambda shape, rng: rng.standard_normal(shape),
    "thousand": lambda shape, rng: 1e3 * rng.standard_normal(shape),
    "ten billion": lambda shape, rng: 1e10 * rng.standard_normal(shape),
    "1e30": lambda shape, rng: 1e30 * rng.standard_normal(shape),
    "one huge": lambda shape, rng: np.where(rng.random(shape) < 0.1, 1e25, rng.standard_normal(shape)),
    "largest": _constant(np.inf),  # clipped to the largest finite number
    "both signs": lambda shape, rng: np.where(rng.random(shape) < 0.5, np.inf, -np.inf),
    "shifted": _constant(1e6),
    "tiny": _constant(5e-324),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("absurd", ABSURD.values(), ids=ABSURD)
@pytest.mark.parametrize("pattern", WAYS)
def test_absurd_warm_starts_never_change_the_optimum(pattern, absurd, dtype):
    rng = np.random.default_rng(7)
    scores = gaussian(shape_for(pattern), dtype)
    scores[:, :, -1] *= 1000  # tiles of different scales beside each other
    start = ms.solve(scores, pattern, duals=True)
    prices = [None if part is None else absurd(part.shape, rng) for part in start.duals]
    assert_warm(scores, dataclasses.replace(start, duals=Prices(*prices).rounded(dtype)))


@pytest.mark.parametrize("pattern", ["4:8-T", "8:16-T", "4:8-T pad"])
def test_a_chain_of_warm_starts_stays_optimal(pattern):
    scores = gaussian(shape_for(pattern, entries=1 << 11))
    result = ms.solve(scores, pattern, duals=True)
    for step in range(200):
        scores = scores + np.float32(0.02) * gaussian(scores.shape, seed=100 + step)
        result = ms.solve(scores, pattern, warm_start=result, duals=True)
        assert result.status is ms.Status.OPTIMAL
    assert_warm(scores, result)


def test_a_warm_start_saves_steps():
    scores = gaussian((256, 256))
    start = ms.solve(scores, "8:16-T", duals=True)
    later = scores * (1 + np.float32(0.001) * gaussian(scores.shape, seed=8))
    cold, warm = ms.solve(later, "8:16-T"), ms.solve(later, "8:16-T", warm_start=start)
    assert warm.stats["path_steps"] < cold.stats["path_steps"] / 2


def assert_warm(scores, start):
    """As good as a cold solve, and proven so."""
    cold = ms.solve(scores, start.pattern)
    warm = ms.solve(scores, start.pattern, warm_start=start, duals=True)
    tolerance = 1e-12 if scores.dtype == np.float64 else 1e-6
    assert warm.status is ms.Status.OPTIMAL
    assert warm.gap <= tolerance
    assert warm.objective == pytest.approx(cold.objective, rel=tolerance)
    assert_feasible(warm.mask, start.pattern)
    assert_certified(warm, scores)


@pytest.mark.parametrize("pattern", ["4:8-T", "8:16-T", "4:8-T pad"])
def test_a_warm_start_from_another_scale_beside_one_large_tile(pattern, monkeypatch):
    """Prices fit for the large tile are absurd for the small ones that follow it in the chunk."""
    monkeypatch.setattr(exact.Exact, "chunk_entries", 1 << 20)
    scores = np.abs(gaussian((67, 256) if "pad" in pattern else (64, 256)))
    start = ms.solve(scores * np.float32(1e9), pattern, duals=True)
    later = scores + np.float32(0.1) * np.abs(gaussian(scores.shape, seed=12))
    later[:16, :16] *= np.float32(1e9)
    assert_warm(later, start)
    kept, expected = (
        np.sum(later[16:], where=ms.solve(later, pattern, warm_start=used).mask[16:], dtype=np.float64)
        for used in (start, None)
    )
    assert kept == pytest.approx(expected, rel=1e-6)
