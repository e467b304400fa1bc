"""Scores of 16 bits and less are what they are as float32: the same mask and the same sums."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest
import soak
from engine_tiles import RUNNING, SCORES, solve

NARROW = [np.bool_, np.int8, np.uint8, np.int16, np.uint16, np.float16, ml_dtypes.bfloat16]
PATTERNS = [
    *("2:4-T", "2:3-T", "4:8-T", "3:6-T at_most", "8:16-T", "2:4", "4:8", "2:5"),
    *("2:4 axis=0", "3:6 axis=0", "3:6 at_most", "1:4-T at_most"),
]


def every_value(dtype: Any, pattern: str) -> npt.NDArray[Any]:
    """A matrix of all finite values of a dtype, in random order, as often as it takes."""
    rows, columns, tiles = 336, 240, "-T" in pattern
    kind = np.dtype(dtype)
    bits = np.arange(2 ** min(8 * kind.itemsize, 16), dtype=f"u{kind.itemsize}")
    values = np.array([False, True]) if kind == np.bool_ else bits.view(kind)
    size = np.abs(values.astype(np.float32))
    # Tiles of all magnitudes would nearly all have to be solved in integers, which is another test's affair.
    values = values[np.isfinite(size) & (~tiles | (size == 0) | ((size > 2.0**-8) & (size < 2.0**16)))]
    repeated = np.resize(values, rows * columns)
    return np.random.default_rng(0).permutation(repeated).reshape(rows, columns)


@pytest.mark.parametrize("dtype", NARROW, ids=lambda dtype: np.dtype(dtype).name)
@pytest.mark.parametrize("pattern", PATTERNS)
def test_every_value_is_read_as_numpy_reads_it(pattern: str, dtype: Any) -> None:
    scores = every_value(dtype, pattern)
    for score in SCORES:
        expected, block = solve(scores.astype(np.float32), pattern, score)
        for instruction_set in RUNNING:
            answer, same = solve(scores, pattern, score, instruction_set)
            assert np.array_equal(same.mask, block.mask)
            assert answer._replace(largest=0.0) == expected._replace(largest=0.0)


@pytest.mark.parametrize("dtype", NARROW, ids=lambda dtype: np.dtype(dtype).name)
@pytest.mark.parametrize("pattern", PATTERNS)
def test_layouts(pattern: str, dtype: Any) -> None:
    """Each layout, score rule and instruction set in turn, with strips that do not fill whole registers."""
    scores = every_value(dtype, pattern)[:96, :240]
    for number, (name, lay) in enumerate(soak.LAYOUTS.items()):
        score = SCORES[number % len(SCORES)]
        expected, block = solve(np.ascontiguousarray(scores), pattern, score)
        laid = lay(scores[np.newaxis])[0]
        answer, same = solve(laid, pattern, score, RUNNING[number % len(RUNNING)])
        assert np.array_equal(same.mask, block.mask), name
        assert answer == expected, name


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16], ids=lambda dtype: np.dtype(dtype).name)
@pytest.mark.parametrize("pattern", PATTERNS)
def test_infinities_and_nans_are_found(pattern: str, dtype: Any) -> None:
    from dataclasses import replace

    from masksolve._ext import tiles as engine

    clean = np.ones((336, 240), dtype)
    _, block = solve(clean, pattern)
    for bad in (np.nan, np.inf, -np.inf):
        for instruction_set in RUNNING:
            scores = clean.copy()
            place = tuple(np.array(block.grid) - 1)
            laid = np.array(block.scores)
            laid[place][0, -1] = bad
            broken = replace(block, scores=laid.astype(scores.dtype), largest=2.0**96)
            assert engine.solve_tiles(broken, 0, block.tiles, instruction_set) is None
