"""V:N:M with keep= and drop=, against a mixed-integer programme and exact enumeration."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from scipy import optimize, sparse

import masksolve as ms
from masksolve.certificate.columns import bound_columns
from masksolve.testing.families import FAMILIES

# HiGHS' tolerances are too coarse for one_dominating where the large score is dropped.
SUMMABLE = sorted(set(FAMILIES) - {"huge_float64", "denormal", "denormal_float32", "one_dominating"})


def milp(scores: np.ndarray, keep: np.ndarray, drop: np.ndarray, *, exact: bool) -> float | None:
    """The optimum of one tile by HiGHS: x_ij <= y_j, four y, two x in each row; None if there is none."""
    height, width = scores.shape
    entries = height * width
    scale = max(float(np.abs(scores.astype(float)).max()), 1e-300)
    rows = sparse.kron(sparse.eye(height), np.ones((1, width)))
    linked = sparse.hstack([sparse.eye(entries), -sparse.kron(np.ones((height, 1)), sparse.eye(width))])
    counted = sparse.hstack([rows, sparse.csr_matrix((height, width))])
    chosen = sparse.hstack([sparse.csr_matrix((1, entries)), np.ones((1, width))])
    found = optimize.milp(
        -np.concatenate([scores.astype(float).ravel() / scale, np.zeros(width)]),
        integrality=np.ones(entries + width),
        bounds=optimize.Bounds(
            np.concatenate([keep.ravel().astype(float), np.zeros(width)]),
            np.concatenate([(~drop).ravel().astype(float), np.ones(width)]),
        ),
        constraints=[
            optimize.LinearConstraint(counted, 2 if exact else 0, 2),
            optimize.LinearConstraint(linked.tocsr(), -np.inf, 0),
            optimize.LinearConstraint(chosen, 0, 4),
        ],
        options={"mip_rel_gap": 0.0},
    )
    if found.status == 2:
        return None
    assert found.status == 0, found.message
    return math.fsum(scores.astype(float)[found.x[:entries].reshape(height, width) > 0.5].tolist())


def enumerated(scores: np.ndarray, keep: np.ndarray, drop: np.ndarray, *, exact: bool) -> Fraction | None:
    """The same in rational numbers, by trying every four columns."""
    values = [[Fraction(float(value)) for value in row] for row in scores]
    best = None
    for columns in itertools.combinations(range(scores.shape[1]), 4):
        if set(np.flatnonzero(keep.any(axis=0))) - set(columns):
            continue
        total, possible = Fraction(0), True
        for row, kept, dropped in zip(values, keep, drop, strict=True):
            places = 2 - int(kept.sum())
            free = sorted((row[j] for j in columns if not kept[j] and not dropped[j]), reverse=True)
            if not exact:
                free = [value for value in free if value > 0] + [Fraction(0)] * 2
            possible = possible and 0 <= places <= len(free)
            total += sum(free[:places]) + sum(row[j] for j in np.flatnonzero(kept))
        if possible and (best is None or total > best):
            best = total
    return best


def forced(rng: np.random.Generator, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Choices of some tiles that leave masks, and of some that do not."""
    keep = rng.random(shape) < rng.choice([0.0, 0.05, 0.2])
    if rng.random() < 0.5:
        keep = np.zeros(shape, bool)
        columns = rng.permutation(shape[1])[: rng.integers(1, 5)]
        for row in keep:
            row[rng.permutation(columns)[: rng.integers(0, 3)]] = True
    return keep, (rng.random(shape) < rng.choice([0.0, 0.2, 0.5])) & ~keep


@pytest.mark.parametrize("family", SUMMABLE)
@pytest.mark.parametrize("exact", [True, False])
def test_no_mask_with_the_forced_choices_keeps_more(family: str, exact: bool) -> None:
    rng = np.random.default_rng(len(family))
    pattern = ms.Pattern(2, 8, vector=4, constraint="exact" if exact else "at_most")
    for _ in range(8):
        scores = FAMILIES[family](rng, (4, 8))
        keep, drop = forced(rng, (4, 8))
        best = milp(scores, keep, drop, exact=exact)
        if best is None:
            with pytest.raises(ms.InfeasibleError, match="keep and drop leave tile 0 without"):
                ms.solve(scores, pattern, keep=keep, drop=drop)
            continue
        result = ms.solve(scores, pattern, keep=keep, drop=drop)
        assert result.mask[keep].all()
        assert not result.mask[drop].any()
        assert ms.verify(result.mask, pattern).ok
        assert result.status is ms.Status.OPTIMAL
        close = 1e-9 * float(np.abs(scores.astype(float)).sum())
        assert result.objective == pytest.approx(best, rel=1e-7, abs=close)
        assert result.bound >= best - close
        proof = ms.recompute_certificate(scores, result.mask, pattern, keep=keep, drop=drop)
        assert proof.objective == pytest.approx(result.objective, rel=1e-12, abs=1e-300)
        assert proof.objective <= proof.bound <= result.bound + 1e-11 * float(np.abs(scores * 1.0).sum())


@pytest.mark.parametrize("width", [4, 5, 10, 17])
@pytest.mark.parametrize("family", ["gaussian", "one_dominating", "denormal", "huge_float64", "forbidden"])
def test_exactly_the_best(family: str, width: int) -> None:
    rng = np.random.default_rng(width)
    for exact in (True, False):
        pattern = ms.Pattern(2, width, vector=3, constraint="exact" if exact else "at_most")
        scores = FAMILIES["gaussian" if family == "forbidden" else family](rng, (3, width))
        if family == "forbidden":
            scores[rng.random(scores.shape) < 0.3] = -1e20
        keep, drop = forced(rng, scores.shape)
        best = enumerated(scores, keep, drop, exact=exact)
        if best is None:
            with pytest.raises(ms.InfeasibleError):
                ms.solve(scores, pattern, keep=keep, drop=drop)
            continue
        result = ms.solve(scores, pattern, keep=keep, drop=drop)
        kept = [Fraction(float(value)) for value in scores[result.mask]]
        assert best - sum(kept) <= Fraction(1e-12) * sum(map(abs, kept))
        assert Fraction(result.bound) >= best
        assert result.status is ms.Status.OPTIMAL
        bound = bound_columns(
            scores[None].astype(float), result.mask[None], exact=exact, keep=keep[None], drop=drop[None]
        )
        assert Fraction(float(bound[0])) >= best


@pytest.mark.parametrize("width", [20, 32])
@pytest.mark.parametrize("share", [0.1, 0.4])
def test_forbidden_entries_of_wide_tiles_hide_no_better_columns(width: int, share: float) -> None:
    rng = np.random.default_rng(width)
    scores = rng.standard_normal((12, width))
    drop = rng.random(scores.shape) < share
    pattern = ms.Pattern(2, width, vector=12)
    result = ms.solve(np.where(drop, -1e20, scores), pattern)
    assert result.status is ms.Status.OPTIMAL
    without = ms.solve(scores, pattern, drop=drop)
    assert result.objective == pytest.approx(without.objective, rel=1e-12)
    best = milp(scores, np.zeros_like(drop), drop, exact=True)
    assert without.objective == pytest.approx(best, rel=1e-7)


def test_every_mask_may_have_to_keep_a_forbidden_entry() -> None:
    rng = np.random.default_rng(0)
    scores = rng.standard_normal((12, 20))
    scores[5] = -1e20
    result = ms.solve(scores, ms.Pattern(2, 20, vector=12))
    assert result.status is ms.Status.OPTIMAL
    free = milp(np.delete(scores, 5, axis=0), np.zeros((11, 20), bool), np.zeros((11, 20), bool), exact=True)
    kept = np.delete(np.where(result.mask, scores, 0), 5, axis=0)
    assert kept.sum() <= free + 1e-7
    assert result.objective == pytest.approx(-2e20)


def tiles_with(keep: list[tuple[int, int]], drop: list[tuple[int, int]]) -> dict[str, np.ndarray]:
    """Choices in the second of two tiles of 4 by 8."""
    arrays = {name: np.zeros((4, 16), bool) for name in ("keep", "drop")}
    for name, places in (("keep", keep), ("drop", drop)):
        for row, column in places:
            arrays[name][row, 8 + column] = True
    return arrays


@pytest.mark.parametrize(
    ("keep", "drop", "axis", "index", "message"),
    [
        ([(2, 0), (2, 1), (2, 5)], [], "row", 2, "row 2 is forced to keep 3, at most 2 are allowed"),
        ([], [(1, k) for k in range(7)], "row", 1, "row 1 can keep 1 at most, at least 2 are required"),
        ([(r, 2 * r + k) for r in range(3) for k in range(2)], [], "tile", 0, "in 6 columns, of which 4"),
        (
            [(0, 0), (1, 1), (2, 2)],
            [(3, k) for k in range(4)] + [(2, k) for k in range(4, 8)],
            "tile",
            0,
            "no 4 columns hold what must be kept and leave every row 2 entries",
        ),
    ],
)
def test_the_tile_without_a_mask_is_named(keep, drop, axis: str, index: int, message: str) -> None:
    scores = np.random.default_rng(0).random((4, 16))
    with pytest.raises(ms.InfeasibleError, match=f"tile 1 without a feasible mask: .*{message}") as error:
        ms.solve(scores, "4:2:8", **tiles_with(keep, drop))
    assert (error.value.tile, error.value.axis, error.value.index) == (1, axis, index)


def test_edges_and_workers() -> None:
    rng = np.random.default_rng(3)
    scores = rng.standard_normal((2, 70, 43))
    keep, drop = rng.random(scores.shape) < 2e-3, rng.random(scores.shape) < 0.2
    drop &= ~keep
    one, two = (
        ms.solve(scores, "16:2:8 pad", score="magnitude", keep=keep, drop=drop, workers=workers)
        for workers in (1, 2)
    )
    assert np.array_equal(one.mask, two.mask)
    assert one.status is ms.Status.OPTIMAL
    assert one.mask[keep].all()
    assert not one.mask[drop].any()
    assert ms.verify(one.mask, "16:2:8 pad").ok
    assert one.objective <= ms.solve(scores, "16:2:8 pad", score="magnitude").objective
