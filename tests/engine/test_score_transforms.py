"""score="magnitude" and "square" are the same as solving what they stand for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from engine_tiles import RUNNING, solve, worth

PATTERNS = [
    "2:4-T",
    "1:3-T",
    "4:8-T",
    "8:16-T at_most",
    "5:12-T",
    "2:4",
    "4:8 at_most",
    "3:7 axis=0",
    "2:4 axis=0",
]


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, np.int8, np.int32])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_magnitudes(pattern: str, dtype: Any) -> None:
    values = np.clip(40 * np.random.default_rng(0).standard_normal((336, 240)), -120, 120)
    scores = values.astype(dtype)
    for instruction_set in RUNNING:
        answer, block = solve(scores, pattern, "magnitude", instruction_set)
        expected, plain = solve(np.abs(scores), pattern, "value", instruction_set)
        assert np.array_equal(block.mask, plain.mask)
        assert answer == expected


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, np.int8, np.int32])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_squares(pattern: str, dtype: Any) -> None:
    """The sums are those of exact squares, also where float32, which does not hold them, finds the mask."""
    values = np.clip(40 * np.random.default_rng(1).standard_normal((336, 240)), -120, 120)
    scores = values.astype(dtype)
    expected, _ = solve(worth(scores, "square"), pattern)
    for instruction_set in RUNNING:
        answer, block = solve(scores, pattern, "square", instruction_set)
        assert answer.objective == pytest.approx(expected.objective, rel=1e-6)
        assert answer.objective <= expected.bound
        assert answer.bound >= expected.objective
        kept = float(worth(block.scores, "square")[block.mask].sum())
        assert answer.objective == pytest.approx(kept, rel=1e-13)
        assert answer.open == 0


@pytest.mark.parametrize("scale", [1e-30, 1e-20, 1e20])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_squares_beyond_float32(pattern: str, scale: float) -> None:
    """Their squares are too small, or too large, for the arithmetic of float32."""
    scores = (scale * np.random.default_rng(2).standard_normal((336, 240))).astype(np.float32)
    expected, _ = solve(worth(scores, "square"), pattern)
    answer, _ = solve(scores, pattern, "square")
    assert answer.objective == pytest.approx(expected.objective, rel=1e-6)
    assert answer.open == 0


def test_an_unknown_rule_is_refused() -> None:
    with pytest.raises(ValueError, match=r"score must be 'value', 'magnitude' or 'square', got 'cube'"):
        solve(np.ones((4, 4)), "2:4", "cube")
