"""Every tile is optimal and proven, by its own measure, whatever the scores: checked in exact numbers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from engine_tiles import RUNNING, SCORES, assert_proven, hostile, solve, worth

import masksolve as ms
from masksolve._ext import tiles as engine
from masksolve.pattern import Pattern

PATTERNS = [
    *("1:2-T", "2:3-T", "1:4-T", "2:4-T", "3:4-T", "2:5-T", "3:7-T", "4:8-T", "5:10-T", "4:4-T"),
    *("2:4", "3:8", "1:5"),
]


@pytest.mark.parametrize("constraint", ["", " at_most"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("text", PATTERNS)
def test_hostile_scores(text: str, dtype: type[np.floating[Any]], constraint: str) -> None:
    pattern = Pattern.parse(text + constraint)
    rng = np.random.default_rng(pattern.m)
    shape = (2 * pattern.m, 2 * pattern.m)
    for number, (name, scores) in enumerate(hostile(rng, shape, dtype)):
        score = SCORES[number % len(SCORES)]
        if not worth(scores, score).max() <= 1e300:
            score = "value"
        for instruction_set in RUNNING:
            answer, block = solve(scores, str(pattern), score, instruction_set)
            try:
                assert_proven(answer, block, scores, pattern, score)
            except AssertionError as error:
                error.add_note(f"{name}, {score}, {instruction_set}")
                raise


@pytest.mark.parametrize("text", ["12:24-T", "16:33-T"])
def test_larger_tiles_with_forbidden_entries(text: str) -> None:
    pattern = Pattern.parse(text)
    rng = np.random.default_rng(1)
    scores = np.abs(rng.standard_normal((pattern.m, pattern.m))).astype(np.float32)
    scores[rng.random(scores.shape) < 0.3] = -1e20
    answer, block = solve(scores, text)
    assert_proven(answer, block, scores, pattern, "value")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("text", ["2:4-T", "4:8-T", "8:16-T", "2:3-T"])
def test_at_most_does_not_see_how_negative_scores_are(text: str, dtype: type[np.floating[Any]]) -> None:
    m = Pattern.parse(text).m
    rng = np.random.default_rng(36)
    scores = np.abs(rng.standard_normal((20 * m, 20 * m))).astype(dtype)
    forbidden = rng.random(scores.shape) < 0.4
    expected, block = solve(np.where(forbidden, dtype(0), scores), text + " at_most")
    mask = block.mask & (block.scores > 0)
    for value in (-1e-3, -1e9, -1e17, -float(np.finfo(dtype).max) / 1e15):
        answer, block = solve(np.where(forbidden, dtype(value), scores), text + " at_most")
        assert np.array_equal(block.mask, mask)
        assert answer.objective == pytest.approx(expected.objective, rel=1e-13)
        assert answer.open == 0


def test_ordinary_scores_are_solved_once() -> None:
    scores = np.abs(np.random.default_rng(2).standard_normal((256, 256), dtype=np.float32))
    for text in ("2:4-T", "4:8-T", "8:16-T", "16:32-T", "2:4", "4:8"):
        answer, _ = solve(scores, text)
        assert (answer.refined, answer.exactly, answer.open) == (0, 0, 0)


def test_the_worst_tile_is_named() -> None:
    """Sums tile by tile are asked for here, so every tile is looked at."""
    rng = np.random.default_rng(3)
    scores = np.abs(rng.standard_normal((64, 64), dtype=np.float32))
    for text in ("2:4-T", "4:8-T"):
        answer, block = solve(scores, text)
        assert 0 < answer.worst_gap < 1e-6
        assert block.tile_bound is not None
        assert block.tile_objective is not None
        gaps = (block.tile_bound - block.tile_objective).ravel() / block.tile_objective.ravel()
        assert gaps[answer.worst_tile] >= 0.5 * gaps.max()


def test_a_forced_negative_entry_counts_as_it_is() -> None:
    scores = np.abs(np.random.default_rng(4).standard_normal((8, 8))).astype(np.float32)
    scores[2, 3] = -1e10
    keep = np.zeros(scores.shape, np.bool_)
    keep[2, 3] = True
    result = ms.solve(scores, "4:8-T at_most", keep=keep)
    rest = ms.solve(np.where(keep, 0, scores), "4:8-T at_most", keep=keep)
    assert np.array_equal(result.mask, rest.mask)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize(
    "text", ["2:4-T", "1:4-T at_most", "4:8-T", "4:8-T at_most", "8:16-T", "16:32-T", "2:4", "4:8"]
)
def test_sums_by_segment_are_those_of_the_tiles(
    text: str, signed: bool, dtype: type[np.floating[Any]]
) -> None:
    """Without sums tile by tile, whole segments are certified at once."""
    scores = np.random.default_rng(5).standard_normal((160, 192)).astype(dtype)
    scores = scores if signed else np.abs(scores)
    for instruction_set in RUNNING:
        singly, block = solve(scores, text, "value", instruction_set)
        plain = replace(block, tile_objective=None, tile_bound=None)
        together = engine.solve_tiles(plain, 0, block.tiles, instruction_set)
        assert isinstance(together, engine.Solved)
        assert together.objective == pytest.approx(singly.objective, rel=1e-14)
        size = float(np.abs(block.scores[block.mask], dtype=np.float64).sum())
        assert abs(together.bound - singly.bound) <= 1e-12 * size
        assert (together.open, together.exactly) == (singly.open, singly.exactly)
        assert together.bound >= together.objective
