"""Results proved again afterwards: with duals, without them, and from what was saved of them."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import exactly
import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest
from strategies import FAMILIES

import masksolve as ms
from masksolve.certificate import recompute
from masksolve.types import Prices

BoolArray = npt.NDArray[np.bool_]
DIAGONAL = np.eye(2, dtype=np.bool_)
PATTERNS = ["2:4-T", "4:8-T at_most", "3:5-T pad", "2:4", "3:8 at_most axis=0 dense"]


def assert_proves(
    certificate: ms.Certificate, scores: npt.NDArray[Any], pattern: str, mask: BoolArray, score: str = "value"
) -> None:
    """The bound is one, in rational arithmetic, and closes the gap."""
    laid = ms.Pattern.parse(pattern)
    best = sum(exactly.optima(scores, laid, score=score)) + exactly.tails(scores, laid, score)
    assert Fraction(certificate.bound) >= best
    size = float(sum(exactly.fractions(scores, "square" if score == "square" else "magnitude")[mask]))
    assert certificate.bound - certificate.objective <= 1e-6 * size + 1e-320


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("pattern", PATTERNS)
def test_every_result_is_proven_with_duals_and_without(family: str, pattern: str) -> None:
    shape = (10, 15) if "pad" in pattern or "dense" in pattern else (8, 16)
    scores = FAMILIES[family](np.random.default_rng(1), shape)
    result = ms.solve(scores, pattern, backend="batched", duals=True)
    for duals in (result.duals, None):
        certificate = recompute(scores, result.mask, pattern, duals)
        assert_proves(certificate, scores, pattern, result.mask)
        assert certificate.objective == pytest.approx(result.objective, rel=1e-12, abs=1e-300)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32, np.float64, np.int8, np.int64])
def test_what_was_saved_proves_itself(dtype: npt.DTypeLike, tmp_path: Path) -> None:
    """Mask and scores alone, read from files."""
    scores = (20 * np.random.default_rng(2).normal(size=(16, 24))).astype(dtype)
    np.save(tmp_path / "mask.npy", ms.solve(scores, "4:8-T", backend="batched").mask)
    np.save(tmp_path / "scores.npy", scores.astype(np.float64))
    mask, saved = np.load(tmp_path / "mask.npy"), np.load(tmp_path / "scores.npy")
    assert_proves(recompute(saved, mask, "4:8-T"), scores, "4:8-T", mask)


@pytest.mark.parametrize("forbidden", [-1e9, -1e17, -1e20, float(np.finfo(np.float32).min)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_scores_of_many_magnitudes_in_a_tile_are_proven(forbidden: float, dtype: type) -> None:
    rng = np.random.default_rng(3)
    scores = np.abs(rng.normal(size=(8, 16)))
    scores = np.where(rng.random(scores.shape) < 0.3, forbidden, scores).astype(dtype)
    for pattern in ("2:4-T at_most", "4:8-T at_most"):
        laid = ms.Pattern.parse(pattern)
        mask = ms.solve(np.maximum(scores, 0), pattern, backend="batched").mask & (scores > 0)
        certificate = recompute(scores, mask, pattern)
        assert sum(exactly.kept(scores, mask, laid)) == sum(exactly.optima(scores, laid))
        assert_proves(certificate, scores, pattern, mask)


@pytest.mark.parametrize("score", ["magnitude", "square"])
def test_scores_are_worth_what_they_were_in_the_solve(score: str) -> None:
    scores = np.random.default_rng(4).normal(size=(8, 8))
    result = ms.solve(scores, "4:8-T", backend="batched", score=score)
    for duals in (result.duals, None):
        assert_proves(
            recompute(scores, result.mask, "4:8-T", duals, score=score), scores, "4:8-T", result.mask, score
        )
    assert (
        recompute(scores, result.mask, "4:8-T").bound
        > recompute(scores, result.mask, "4:8-T").objective * 1.01
    )


@pytest.mark.parametrize(
    ("duals", "error", "message"),
    [
        (Prices(np.zeros((1, 2), complex), np.zeros((1, 2))), TypeError, "duals.rows must hold real"),
        (
            Prices(np.zeros((1, 2)), np.zeros((1, 2), complex)),
            TypeError,
            "duals.columns must hold real",
        ),
        (Prices(np.full((1, 2), np.nan), np.zeros((1, 2))), ValueError, "duals.rows must be finite, got nan"),
        (
            Prices(np.zeros((1, 2)), np.array([[0, -np.inf]])),
            ValueError,
            "duals.columns must be finite",
        ),
        (Prices(np.array([["a", "b"]]), np.zeros((1, 2))), TypeError, "duals.rows must hold real"),
        (Prices(np.zeros((1, 2), object), np.zeros((1, 2))), TypeError, "duals.rows must hold real"),
        (
            Prices(np.zeros((2, 2)), np.zeros((2, 2))),
            ValueError,
            r"duals must be \(rows, columns\)",
        ),
        (Prices(np.zeros(2), np.zeros(2)), ValueError, r"duals must be \(rows, columns\)"),
        (Prices(np.zeros((1, 2)), None), ValueError, r"got \[\(1, 2\), None\]"),
        ((np.zeros((1, 2)),), (TypeError, ValueError), "duals|unpack"),
    ],
    ids=[
        "complex rows",
        "complex columns",
        "nan",
        "infinite",
        "text",
        "objects",
        "tiles",
        "axes",
        "none",
        "one",
    ],
)
def test_what_are_no_duals_is_refused(duals: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        recompute(np.ones((2, 2)), DIAGONAL, "1:2-T", duals)


def test_recompute_proves_an_optimum_without_duals() -> None:
    scores = np.array([[[9.0, 1.0], [1.0, 1.0]], [[1.0, 2.0], [2.0, 1.0]]])
    mask = np.array([[[1, 0], [0, 1]], [[0, 1], [1, 0]]], np.bool_)
    assert recompute(scores, mask, "1:2-T") == pytest.approx((14.0, 14.0), rel=1e-14)
    objective, bound = recompute(scores, ~mask, "1:2-T")
    assert objective == 4.0
    assert bound >= 14.0


def test_duals_are_used_and_better_ones_found_if_they_prove_nothing() -> None:
    scores = np.array([[3.0, 1.0], [1.0, 3.0]])
    good, bad = Prices(np.ones((1, 2)), np.zeros((1, 2))), Prices(np.full((1, 2), 9.0), np.zeros((1, 2)))
    for duals in (good, bad):
        assert recompute(scores, DIAGONAL, "1:2-T", duals) == pytest.approx((6.0, 6.0), rel=1e-14)
    for duals in (good, bad, None):
        objective, bound = recompute(scores, ~DIAGONAL, "1:2-T", duals)
        assert objective == 2.0
        assert bound >= 6.0


def test_recompute_counts_dense_tails() -> None:
    scores = np.array([[3.0, 1.0, -0.5]])
    mask = np.array([[True, False, True]])
    assert recompute(scores, mask, "1:2 dense") == pytest.approx((2.5, 2.5), rel=1e-14)


def test_recompute_of_nothing() -> None:
    scores, mask = np.empty((0, 4, 4)), np.empty((0, 4, 4), np.bool_)
    assert recompute(scores, mask, "2:4-T") == (0.0, 0.0)
    assert recompute(scores, mask, "2:4-T", Prices(np.empty((0, 4)), np.empty((0, 4)))) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("mask", "pattern", "options", "message"),
    [
        (DIAGONAL[:1], "1:2-T", {}, r"mask must have the shape of scores \(2, 2\), got \(1, 2\)"),
        (~np.tri(2, dtype=bool), "1:2-T", {}, r"mask must follow '1:2-T' and the forced choices, tile 0"),
        (DIAGONAL, "1:2-T", {"drop": DIAGONAL}, r"mask must follow '1:2-T' and the forced choices, tile 0"),
        (DIAGONAL, "1:2-T", {"keep": ~DIAGONAL}, r"mask must follow '1:2-T' and the forced choices, tile 0"),
        (DIAGONAL, "1:3-T dense", {}, r"mask must be True in the tail that remainder='dense'"),
        (
            DIAGONAL,
            "1:2-T",
            {"duals": Prices(np.zeros((2, 2)), np.zeros((1, 2)))},
            r"duals must be \(rows, columns\) of shapes \[\(1, 2\), \(1, 2\)\].*got \[\(2, 2\), \(1, 2\)\]",
        ),
        (
            DIAGONAL,
            "1:2",
            {"duals": Prices(np.zeros((2, 1)), np.zeros((2, 2)))},
            r"duals must be \(rows, columns\) of shapes \[\(2, 1\), None\].*got",
        ),
    ],
)
def test_recompute_refuses(mask: BoolArray, pattern: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        recompute(np.ones((2, 2)), mask, pattern, **options)
