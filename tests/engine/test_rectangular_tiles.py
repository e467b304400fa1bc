"""Tiles that are no squares in the vector kernels: every size of block, both ways round, bit by bit."""

import numpy as np
import programmes
import pytest
from scipy import optimize

import masksolve as ms
from masksolve._ext.tiles import instruction_sets

RUNNING = [name for name, runs in instruction_sets().items() if runs]

PATTERNS = (
    *("2:4 x 4:8", "4:8 x 2:4", "1:2 x 2:4", "2:4 x 1:2", "4:8 x 8:16", "8:16 x 4:8", "1:3 x 2:6"),
    *("3:9 x 2:6", "2:8 x 4:16", "8:16 x 2:4", "16:32 x 8:16", "4:8 x 32:64", "32:64 x 16:32"),
    *("2:4 x 4:8 at_most", "4:8 x 2:4 at_most", "4:8 x 8:16 at_most", "6:8 x 3:4 at_most"),
    *(
        "2:4 x 6:8 at_most",
        "6:8 x 2:4 at_most",
        "1:4 x 2:4 at_most",
        "8:16 x 9:16 at_most",
        "3:5 x 2:7 at_most",
    ),
    *("4:8 x 9:16 at_most", "1:2 x 3:16 at_most", "16:32 x 5:16 at_most", "30:64 x 20:48 at_most"),
    *("2:4 x 4:8 pad", "4:8 x 2:4 at_most pad", "2:4 x 5:8 at_most pad"),
)


def shape_of(text):
    height, width = ms.Pattern(text).tile_shape
    cut = (3, 1) if "pad" in text else (0, 0)
    return max(1, 24 // height) * height + cut[0], max(1, 24 // width) * width + cut[1]


@pytest.mark.filterwarnings("ignore::masksolve.SignedScoresWarning")
@pytest.mark.parametrize("text", PATTERNS)
def test_proven_and_the_same_on_every_instruction_set(text):
    for name, scores in programmes.families(shape_of(text), seed=3).items():
        results = [ms.solve(scores, text, instruction_set=each, duals=True) for each in RUNNING]
        first = results[0]
        assert first.status is ms.Status.OPTIMAL, name
        assert ms.verify(first.mask, text).ok, name
        size = np.abs(scores.astype(np.float64))[first.mask].sum()
        proof = ms.recompute_certificate(scores, first.mask, text, first.duals)
        assert proof.objective == pytest.approx(first.objective, abs=1e-12 * size), name
        assert proof.bound - proof.objective <= 1e-6 * size + 1e-300, name
        for other in results[1:]:
            assert np.array_equal(other.mask, first.mask), name
            assert (other.objective, other.bound) == (first.objective, first.bound), name


@pytest.mark.filterwarnings("ignore::masksolve.SignedScoresWarning")
@pytest.mark.parametrize("text", ["2:4 x 4:8", "8:16 x 4:8", "2:4 x 4:8 at_most", "2:4 x 6:8 at_most"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int8])
def test_any_memory_order(text, dtype):
    scores = (20 * np.random.default_rng(4).standard_normal((3, 32, 48))).astype(dtype)
    reference = ms.solve(scores, text)
    orders = (
        np.asfortranarray(scores),
        np.repeat(scores, 2, axis=2)[..., ::2],
        scores[:, ::-1, ::-1].copy()[:, ::-1, ::-1],
        np.moveaxis(np.moveaxis(scores, 0, -1).copy(), -1, 0),
    )
    for array in orders:
        result = ms.solve(array, text, workers=2)
        assert ms.verify(result.mask, text).ok
        assert result.status is ms.Status.OPTIMAL
        assert result.objective == pytest.approx(reference.objective, rel=1e-6)


@pytest.mark.parametrize("text", ["2:4 x 4:8", "4:8 x 8:16", "8:16 x 4:8 at_most", "6:8 x 2:4 at_most"])
def test_warm_starts_and_scores_of_weights(text):
    rng = np.random.default_rng(5)
    weights = rng.standard_normal((64, 64)).astype(np.float32)
    later = (weights + 0.05 * rng.standard_normal(weights.shape)).astype(np.float32)
    for score, worth in (("magnitude", np.abs), ("square", np.square)):
        cold = ms.solve(weights, text, score=score, duals=True)
        exact = ms.solve(worth(weights.astype(np.float64)), text)
        assert cold.objective == pytest.approx(exact.objective, rel=1e-6)
        warm = ms.solve(later, text, score=score, warm_start=cold)
        assert warm.status is ms.Status.OPTIMAL
        assert warm.objective == pytest.approx(ms.solve(later, text, score=score).objective, rel=1e-6)


def test_one_large_tile_against_the_linear_programme():
    scores = np.random.default_rng(6).standard_normal((64, 8))
    lines = np.concatenate([np.kron(np.eye(64), np.ones(8)), np.kron(np.ones(64), np.eye(8))])
    best = optimize.linprog(
        -scores.ravel(), A_eq=lines, b_eq=[4] * 64 + [32] * 8, bounds=(0, 1), method="highs"
    )
    assert ms.solve(scores, "4:8 x 32:64").objective == pytest.approx(-best.fun, rel=1e-9)
