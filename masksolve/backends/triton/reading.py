"""What all kernels do first and last: find a program's tiles, read their scores, and write what is kept.

Every array is addressed through strides, so weights of any layout are read where they are and nothing is
copied. Tiles are numbered row-major over a grid of three axes; `launching` folds longer grids into these.
"""

from __future__ import annotations

import triton
import triton.language as tl

NUMBERS = ("tiles", "rounds", "down", "across")
"""Arguments whose values are not compiled in. Strides are: where entries are neighbours, reads are wide.

A kernel's arguments ``largest`` and ``tolerance`` say that they are float64: of a Python float Triton makes a
float32 otherwise, and 1e300 would become infinite.
"""


@triton.jit
def numbers_of(tiles, TILES: tl.constexpr):
    """Numbers (TILES,) of the program's tiles as int64, and which of them exist."""
    number = tl.program_id(0).to(tl.int64) * TILES + tl.arange(0, TILES)
    return number, number < tiles


@triton.jit
def offsets_of(number, down, across, lead_stride, down_stride, across_stride):
    """Where tiles begin in an array, in entries."""
    column = number % across
    rest = number // across
    return (rest // down) * lead_stride + (rest % down) * down_stride + column * across_stride


@triton.jit
def worth(raw, SCORE: tl.constexpr, DTYPE: tl.constexpr):
    """Scores of entries: value, magnitude or square."""
    value = raw.to(DTYPE)
    if SCORE == "magnitude":
        value = tl.abs(value)
    if SCORE == "square":
        value = value * value
    return value


@triton.jit
def unfit(raw, largest):
    """Mark entries that are not numbers, or larger than the caller promised."""
    return tl.where(tl.abs(raw.to(tl.float64)) <= largest, 0, 1)


@triton.jit
def total(values):
    """Sum over the last two axes, one after the other."""
    return tl.sum(tl.sum(values, axis=2), axis=1)


@triton.jit
def report(totals, objective, bound, proven, wrong):
    """Add up a program's proven tiles; count the others, and the entries that are unfit.

    ``totals`` is (5, programs) of float64: objectives, bounds, magnitudes of bounds, open tiles, unfit
    entries. All that the caller must read of a launch comes out of it in one copy.
    """
    program = tl.program_id(0)
    programs = tl.num_programs(0)
    kept = tl.where(proven, bound, 0.0)
    tl.store(totals + program, tl.sum(tl.where(proven, objective, 0.0), axis=0))
    tl.store(totals + programs + program, tl.sum(kept, axis=0))
    tl.store(totals + 2 * programs + program, tl.sum(tl.abs(kept), axis=0))
    tl.store(totals + 3 * programs + program, tl.sum(tl.where(proven, 0.0, 1.0), axis=0))
    tl.store(totals + 4 * programs + program, wrong.to(tl.float64))
