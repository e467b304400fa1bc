"""What the tests of the compiled engine share: its ways, scores for them, and comparisons bit by bit."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

import masksolve as ms
from masksolve._ext.tiles import instruction_sets

RUNNING = [name for name, runs in instruction_sets().items() if runs]
TILES = ["1:2-T", "1:3-T", "2:3-T", "1:4-T", "2:4-T", "3:4-T", "3:7-T", "1:8-T", "4:8-T", "5:10-T", "7:16-T",
         "8:16-T", "16:32-T", "20:50-T", "32:64-T"]  # fmt: skip
GROUPS = ["1:2", "1:3", "2:3", "1:4", "2:4", "3:4", "2:5", "5:6", "3:7", "1:8", "4:8", "7:8", "3:10", "8:16",
          "5:17", "16:32", "31:33", "32:64", "63:64"]  # fmt: skip
# One of each way through the engine: small tiles, kernel, odd side, groups, groups in columns, cut tiles.
WAYS = ["2:4-T", "4:8-T", "3:7-T", "8:16-T", "20:50-T", "2:4", "4:8", "3:10", "2:4 axis=-2", "3:7 axis=-2",
        "2:3-T pad", "4:8-T pad", "4:8 pad", "2:4-T at_most", "4:8-T at_most", "8:16-T at_most",
        "4:8 at_most"]  # fmt: skip
DENSE = ["4:8-T dense", "2:4 dense"]
DTYPES = [np.float16, ml_dtypes.bfloat16, np.float32, np.float64, np.int8, np.int16, np.int32, np.int64,
          np.uint8, np.uint16, np.uint32, np.uint64, np.bool_]  # fmt: skip
FLOATS = DTYPES[:4]


def shape_for(pattern, entries=1 << 13):
    """A batch of two matrices with whole strips of tiles and, where the pattern allows it, a remainder."""
    p = ms.Pattern.parse(pattern)
    if p.transposable:
        sides = [2 * p.m, max(2, min(24, entries // (4 * p.m**2))) * p.m]
    else:
        sides = [19, 19]
        sides[p.axis] = p.m * max(1, min(9, entries // (20 * p.m)))
    if p.remainder != "error":
        sides = [sides[0] + (p.transposable or p.axis == -2), sides[1] + 2 * (p.transposable or p.axis == -1)]
    return (2, *sides)


def gaussian(shape, dtype=np.float32, seed=0):
    """Scores of any dtype; integers fill a good part of their range."""
    values = np.random.default_rng(seed).standard_normal(shape)
    kind = np.dtype(dtype)
    if kind == np.bool_:
        return values > 0
    if kind.kind == "u":
        values = np.abs(values)
    return (values * np.iinfo(kind).max / 8 if kind.kind in "iu" else values).astype(kind)


def assert_same_bits(result, expected):
    assert np.array_equal(result.mask, expected.mask)
    assert (result.objective, result.bound) == (expected.objective, expected.bound)
    for part, other in zip(result.duals, expected.duals, strict=True):
        assert (part is None) == (other is None)
        assert part is None or (part.dtype == other.dtype and part.tobytes() == other.tobytes())


def assert_certified(result, scores, **forced):
    """The reported certificate is the one that the mask and the prices give.

    Tiles that were solved again are proven with finer prices than those that are handed out.
    """
    again = ms.recompute_certificate(scores, result.mask, result.pattern, result.duals, **forced)
    total = float(np.abs(scores.astype(np.float64)).sum())
    finer = result.stats.get("refined", 0) or result.stats.get("exactly", 0)
    assert result.objective == pytest.approx(again.objective, rel=1e-13, abs=1e-14 * total)
    assert result.bound <= again.bound + 1e-13 * total
    assert result.bound >= again.bound - (1e-6 if finer else 1e-13) * total


def assert_same_everywhere(scores, pattern, **options):
    """Every instruction set and number of workers gives the same mask, certificate and prices."""
    answers = [
        ms.solve(
            scores, pattern, backend="exact", instruction_set=name, workers=workers, duals=True, **options
        )
        for name in RUNNING
        for workers in (1, 2, 3)
    ]
    for answer in answers[1:]:
        assert_same_bits(answer, answers[0])
