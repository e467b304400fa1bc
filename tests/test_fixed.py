"""Tiles that a solve does not reach: a feasible mask, its kept sum, and the bound of prices that are 0."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from assertions import assert_feasible

import masksolve as ms
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


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_scores_that_were_not_reached_are_looked_at(wrong: float) -> None:
    scores = np.ones((1024, 1024), np.float32)
    scores[1000, 1000] = wrong
    with pytest.raises(ValueError, match=rf"scores must be finite, got {wrong} at index \[1000, 1000\]"):
        ms.solve(scores, "2:4-T", time_limit=1e-9)
