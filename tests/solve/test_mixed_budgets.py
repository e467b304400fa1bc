"""Rows and columns with budgets of their own: every backend against an integer programme over the entries."""

import io
from fractions import Fraction

import assertions
import numpy as np
import oracles
import programmes
import pytest

import masksolve as ms

SHARED = ("2:4 x 4:8", "4:8 x 2:4", "1:2 x 2:4", "2:8 x 1:4", "4:8 x 8:16", "1:4 x 2:8 at_most")
PATTERNS = (
    *SHARED,
    "2:4 x 6:8 at_most",
    "6:8 x 2:4 at_most",
    "1:3 x 4:5 at_most",
    "1:4 x 2:4 at_most",
    "4:8 x 5:8 at_most",
)


def groups_of(pattern):
    """Read the constraints off the pattern's own words."""
    budgets, *words = str(pattern).split(" at_most")
    exact = not words
    rows, columns = (tuple(map(int, budget.split(":"))) for budget in budgets.split(" x "))
    return [(-1, *rows, exact), (-2, *columns, exact)]


def shape_of(pattern, down=2, across=2):
    height, width = ms.Pattern.parse(pattern).tile_shape
    return down * height, across * width


def assert_best(scores, mask, pattern):
    """No mask of the integer programme keeps more, to HiGHS' tolerance and the dtype's rounding."""
    best = programmes.keeps_most(scores, groups_of(pattern))
    kept, most = (oracles.value(scores, each) for each in (mask, best))
    assert most - kept <= assertions.allowance(scores, ms.Pattern.parse(pattern)), (kept, most)


@pytest.mark.parametrize("text", PATTERNS)
def test_no_mask_of_the_integer_programme_keeps_more(text):
    for name, scores in programmes.families(shape_of(text)).items():
        result = ms.solve(scores, text, duals=True)
        assertions.assert_feasible(result.mask, result.pattern)
        assert result.status is ms.Status.OPTIMAL, name
        if name != "forbidden entries":  # which HiGHS' absolute tolerances drown
            assert_best(scores, result.mask, text)


@pytest.mark.parametrize("text", PATTERNS)
def test_every_family_is_proven_in_rational_arithmetic(text):
    for scores in programmes.families(shape_of(text, 1, 2), seed=1).values():
        assertions.assert_proven(ms.solve(scores, text, tiles=True), scores)


@pytest.mark.parametrize("backend", ["batched", "highs", "ortools", "networkx"])
@pytest.mark.parametrize("text", PATTERNS)
def test_other_backends_agree(backend, text):
    scores = np.random.default_rng(2).standard_normal(shape_of(text))
    result = ms.solve(scores, text, backend=backend)
    assertions.assert_optimal(result, scores)
    assert result.status is ms.Status.OPTIMAL


@pytest.mark.parametrize("backend", ["greedy", "cover", "entropic"])
@pytest.mark.parametrize("text", [*SHARED, "2:4 x 4:8 pad"])
def test_heuristics_follow_the_pattern(backend, text):
    for scores in programmes.families((16, 32), seed=3).values():
        if np.isfinite(scores.astype(np.float64)).all() and np.abs(scores.astype(np.float64)).max() < 1e6:
            assertions.assert_feasible(ms.solve(scores, text, backend=backend).mask, ms.Pattern(text))


def test_enumeration_takes_small_tiles_and_names_the_larger_side():
    scores = np.random.default_rng(4).standard_normal((8, 8))
    assertions.assert_optimal(ms.solve(scores, "1:2 x 2:4", backend="enumerate"), scores)
    with pytest.raises(ms.BackendRefusedError, match="needs m <= 4, got m=8; use backend='exact'"):
        ms.solve(scores, "2:4 x 4:8", backend="enumerate")


@pytest.mark.parametrize(
    "text", ["2:4 x 4:8 pad", "2:4 x 4:8 dense", "2:4 x 6:8 at_most pad", "1:2 x 4:8 pad"]
)
@pytest.mark.parametrize("backend", ["exact", "batched", "highs"])
def test_edges(text, backend):
    scores = np.random.default_rng(5).standard_normal((2, 13, 7))
    assertions.assert_optimal(ms.solve(scores, text, backend=backend), scores)


@pytest.mark.parametrize("text", ["2:4 x 4:8", "2:4 x 6:8 at_most"])
def test_forced_choices(text):
    rng = np.random.default_rng(6)
    scores = rng.standard_normal((16, 8))
    feasible = programmes.keeps_most(rng.standard_normal((16, 8)), groups_of(text))
    keep, drop = feasible & (rng.random((16, 8)) < 0.3), ~feasible & (rng.random((16, 8)) < 0.3)
    best = programmes.keeps_most(scores, groups_of(text), keep=keep, drop=drop)
    result = ms.solve(scores, text, keep=keep, drop=drop)
    assertions.assert_optimal(result, scores, keep=keep, drop=drop, best=best)
    keep[0, :4], drop[0, :4] = True, False
    with pytest.raises(ms.InfeasibleError, match="tile 0"):
        ms.solve(scores, text, keep=keep)


@pytest.mark.parametrize("text", ["2:4 x 4:8", "4:8 x 2:4", "2:4 x 6:8 at_most"])
def test_results_go_to_files_and_are_proved_again(text):
    scores = np.random.default_rng(7).standard_normal((16, 16)).astype(np.float32)
    result = ms.solve(scores, text, duals=True, tiles=True)
    height, width = result.pattern.tile_shape
    tiles = 256 // (height * width)
    assert result.duals.rows.shape == (tiles, height)
    assert result.duals.columns.shape == (tiles, width)
    file = io.BytesIO()
    result.save(file)
    file.seek(0)
    again = ms.MaskResult.load(file)
    assert again.pattern == result.pattern
    for duals in (again.duals, None):
        proof = ms.recompute_certificate(scores, again.mask, again.pattern, duals)
        assert proof.bound - proof.objective <= 1e-6 * proof.objective
    assert "svg" in again._repr_html_()
    warm = ms.solve(scores, text, warm_start=again)
    assert warm.objective == pytest.approx(result.objective)


def test_the_transpose_is_the_same_problem():
    scores = np.random.default_rng(8).standard_normal((16, 16))
    there, back = ms.solve(scores, "2:4 x 4:8"), ms.solve(scores.T, "4:8 x 2:4")
    assert there.objective == pytest.approx(back.objective)
    assert ms.verify(there.mask, "2:4 x 4:8").ok
    assert ms.verify(there.mask.T, "4:8 x 2:4").ok
    assert ms.verify(there.mask, "2:4").ok
    assert ms.verify(there.mask.T, "4:8").ok


def test_verification_names_the_line_and_its_own_budget():
    mask = ms.solve(np.random.default_rng(9).random((8, 4)), "2:4 x 4:8").mask.copy()
    column = int(np.flatnonzero(~mask[2])[0])
    mask[2, column] = True
    report = str(ms.verify(mask, "2:4 x 4:8"))
    assert "tile 0, row 2 keeps 3, expected exactly 2" in report
    assert f"tile 0, column {column} keeps 5, expected exactly 4" in report


def test_what_a_time_limit_leaves_follows_the_pattern():
    scores = np.random.default_rng(10).standard_normal((4096, 4096)).astype(np.float32)
    for text in ("4:8 x 2:4", "6:8 x 2:4 at_most"):
        result = ms.solve(scores, text, time_limit=1e-9)
        assert result.status is ms.Status.TIME_LIMIT
        assert ms.verify(result.mask, text).ok


@pytest.mark.parametrize("text", ["2:4 x 4:8 pad", "4:8 x 2:4", "2:4 x 6:8 at_most dense"])
def test_packed_and_unpacked(text):
    rng = np.random.default_rng(11)
    weights = rng.standard_normal((24, 16) if "pad" not in text and "dense" not in text else (21, 15))
    mask = ms.solve(weights, text, score="magnitude").mask
    packed = ms.pack(weights, mask, text)
    rows, columns = packed.pattern.budgets[-1], packed.pattern.budgets[-2]
    assert (packed.rows.n, packed.rows.m, packed.columns.n, packed.columns.m) == (*rows, *columns)
    for side in ("rows", "columns"):
        assert np.array_equal(ms.unpack(packed, side=side), np.where(mask, weights, 0))


def test_counted_masks():
    pattern = ms.Pattern("2:4 x 4:8")
    by_columns = {(0, 0, 0, 0): 1}  # row by row, over what columns hold so far
    for _ in range(8):
        after = {}
        for held, ways in by_columns.items():
            for a in range(4):
                for b in range(a):
                    new = tuple(count + (place in (a, b)) for place, count in enumerate(held))
                    if max(new) <= 4:
                        after[new] = after.get(new, 0) + ways
        by_columns = after
    assert ms.diversity.count(pattern, (8, 4)) == by_columns[4, 4, 4, 4]
    exact, estimate = (ms.diversity.log2("4:8 x 8:16", (16, 8), method=how) for how in ("exact", "estimate"))
    assert 0 < exact - estimate < 0.1
    with pytest.raises(ValueError, match="one n:m for rows and columns"):
        ms.diversity.count(pattern, (8, 4), method="paper")


def test_what_has_one_budget_says_so():
    with pytest.raises(ValueError, match="ask for '2:4' and '4:8'"):
        ms.hardware.cost("2:4 x 4:8")
    with pytest.raises(ValueError, match="search with '2:4' or '2:4-T', then solve"):
        ms.permutation.search(np.ones((16, 16)), "2:4 x 4:8")


def test_formulated_as_published():
    scores = np.random.default_rng(12).standard_normal((8, 4))
    problem = ms.formulation(scores, "2:4 x 4:8")
    assert (
        sorted(zip(problem.least.tolist(), problem.most.tolist(), strict=True)) == [(2, 2)] * 8 + [(4, 4)] * 4
    )


def test_share_and_relaxation():
    pattern = ms.Pattern("2:4 x 6:8 at_most")
    assert Fraction(pattern.density) == Fraction(1, 2)
    assert [str(ms.Pattern("2:4 x 4:8").relaxed(d)) for d in (0.0, 0.5, 0.51, 1.0)] == [
        "2:4 x 4:8", "2:4 x 4:8", "3:4 x 6:8", "4:4 x 8:8"
    ]  # fmt: skip
    assert str(pattern.relaxed(0.7)) == "3:4 x 6:8 at_most"
