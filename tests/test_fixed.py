"""Tiles that a solve does not reach: a feasible mask, its kept sum, and the bound of prices that are 0."""

from __future__ import annotations

from fractions import Fraction

import exactly
import ml_dtypes
import numpy as np
import oracles
import pytest
from assertions import assert_feasible
from engine import RUNNING

import masksolve as ms
from masksolve._ext.tiles import fill_tiles
from masksolve.fixed import fill
from masksolve.layout.host import HostLayout
from masksolve.problem import MaskProblem

SHAPES = {
    **dict.fromkeys(["2:4", "4:8-T", "2:4-T", "2:4 axis=0", "16:32-T"], (64, 96)),
    **dict.fromkeys(["3:7-T pad", "2:4-T pad at_most", "5:9 pad axis=0"], (33, 45)),
}
WORTH = {"value": lambda x: x, "magnitude": np.abs, "square": np.square}


@pytest.mark.parametrize("pattern", SHAPES)
@pytest.mark.parametrize(
    "dtype", [np.float32, np.float64, np.float16, ml_dtypes.bfloat16, np.int8], ids=lambda t: np.dtype(t).name
)
@pytest.mark.parametrize("score", WORTH)
def test_a_fixed_mask_is_feasible_and_its_sums_are_true(pattern: str, dtype: type, score: str) -> None:
    scores = (10 * np.random.default_rng(0).standard_normal(SHAPES[pattern])).astype(dtype)
    for view in (scores, np.asfortranarray(scores), scores[::-1, ::-1]):
        problem = MaskProblem.of(view, pattern, score=score).read()
        worth = WORTH[score](view.astype(np.float64))
        for tiles in (False, True):
            layout = HostLayout(problem, tiles=tiles)
            reports = [fill(block, 0, block.tiles) for block in layout.blocks]
            assert_feasible(layout.mask, ms.Pattern.parse(pattern))
            rounding = 1e-12 * np.abs(worth).sum()
            objective, bound = (
                sum(getattr(report, name) for report in reports) for name in ("objective", "bound")
            )
            assert objective == pytest.approx(worth[layout.mask].sum(), abs=rounding)
            assert 0 <= bound - np.maximum(worth, 0).sum() + rounding <= 3 * rounding
            if tiles:
                assert layout.tile_objective is not None
                assert layout.tile_bound is not None
                assert layout.tile_objective.sum() == pytest.approx(objective, abs=rounding)
                assert layout.tile_bound.sum() == pytest.approx(bound, abs=rounding)


FAMILIES = {
    "normal": lambda rng, shape: rng.standard_normal(shape),
    "ties": lambda rng, shape: rng.integers(-2, 3, shape),
    "zeros": lambda rng, shape: np.zeros(shape),
    "negative": lambda rng, shape: -np.abs(rng.standard_normal(shape)),
    "heavy tails": lambda rng, shape: rng.standard_t(1, shape),
    "forbidden": lambda rng, shape: np.where(rng.random(shape) < 0.3, -1e20, rng.standard_normal(shape)),
    "mixed": lambda rng, shape: rng.standard_normal(shape) * 10.0 ** rng.integers(-18, 18, shape),
    "huge": lambda rng, shape: 1e36 * rng.standard_normal(shape),
    "denormal": lambda rng, shape: 1e-42 * rng.standard_normal(shape),
}


def assert_proven(objective: float, bound: float, kept: list[Fraction], entries: list[Fraction]) -> None:
    """The bound is no less than the sum of positive scores, and both sums are as near as float64 gets."""
    positive = sum((entry for entry in entries if entry > 0), Fraction(0))
    rounding = Fraction(2) ** -42 * sum((abs(entry) for entry in entries), Fraction(0)) + Fraction(2) ** -1070
    assert abs(Fraction(objective) - sum(kept, Fraction(0))) <= rounding
    assert positive <= Fraction(bound) <= positive + rounding


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    "pattern", ["2:4-T pad", "3:7 pad axis=0 at_most", "2:4 x 6:8 pad at_most", "5:9 pad"]
)
@pytest.mark.parametrize("score", WORTH)
def test_sums_are_proven_in_rational_numbers(family: str, pattern: str, score: str) -> None:
    values = FAMILIES[family](np.random.default_rng(1), (17, 22))
    for dtype in (np.float32, np.float64, ml_dtypes.bfloat16):
        scores = values.astype(dtype)
        worth = exactly.fractions(scores, score)
        for tiles in (False, True):
            layout = HostLayout(MaskProblem.of(scores, pattern, score=score).read(), tiles=tiles)
            reports = [fill(block, 0, block.tiles) for block in layout.blocks]
            assert_feasible(layout.mask, ms.Pattern.parse(pattern))
            assert_proven(
                sum((Fraction(report.objective) for report in reports), Fraction(0)),
                sum((Fraction(report.bound) for report in reports), Fraction(0)),
                list(worth[layout.mask]),
                list(worth.ravel()),
            )
            if not tiles:
                continue
            places = [tile.place for tile in oracles.tiles(scores.shape, ms.Pattern.parse(pattern))]
            sums = zip(layout.tile_objective.ravel(), layout.tile_bound.ravel(), strict=True)
            for place, (objective, bound) in zip(places, sums, strict=True):
                here = worth[place]
                assert_proven(objective, bound, list(here[layout.mask[place]]), list(here.ravel()))


@pytest.mark.parametrize("pattern", SHAPES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16], ids=lambda t: np.dtype(t).name)
def test_instruction_sets_agree_bit_by_bit(pattern: str, dtype: type) -> None:
    scores = np.random.default_rng(2).standard_normal(SHAPES[pattern]).astype(dtype)
    answers = []
    for instruction_set in RUNNING:
        layout = HostLayout(MaskProblem.of(scores, pattern).read())
        sums = [fill_tiles(block, 0, block.tiles, instruction_set) for block in layout.blocks]
        answers.append((sums, layout.mask.tobytes()))
    assert answers == answers[:1] * len(RUNNING)


def test_entries_that_float32_cannot_sum_end_no_solve() -> None:
    scores = np.ones((1024, 2048), np.float32)
    scores[1000, 2000] = 3e38
    result = ms.solve(scores, "2:4-T", time_limit=1e-9)
    assert result.status == ms.Status.TIME_LIMIT
    assert result.bound >= float(scores.max())
    assert np.isfinite(result.bound)


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_scores_that_were_not_reached_are_looked_at(wrong: float) -> None:
    scores = np.ones((1024, 1024), np.float32)
    scores[1000, 1000] = wrong
    with pytest.raises(ValueError, match=rf"scores must be finite, got {wrong} at index \[1000, 1000\]"):
        ms.solve(scores, "2:4-T", time_limit=1e-9)
