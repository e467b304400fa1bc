"""The kernel for 2:4-T with exactly two kept: one tile a thread, all 90 masks weighed without listing them.

Every column keeps two of four rows, so a row that keeps two columns has a partner that keeps the other two,
and a mask is two such pairs of opposite rows (docs/theory.md). There are three ways to pair the rows. For
each pair, the better half of the columns is found among six, so 6 * 6 sums of two entries and a few
comparisons decide. The prices follow from the mask: Bellman-Ford on eight nodes settles after four rounds,
without a branch.

Names are ``s_ij``-like tuples of sixteen lanes: number 4 * i + j is row i, column j.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .proving import HALF_ULP
from .reading import NUMBERS, numbers_of, offsets_of, report, unfit, worth

FAR: tl.constexpr = tl.constexpr(float("inf"))


@triton.jit
def halves(a0, a1, a2, a3, b0, b1, b2, b3):
    """Best of six: two columns for row a, the other two for row b. Its sum, and a's columns as four bits.

    With d = a - b the sum is all of b plus the two largest of d, but differences would round; sums are
    compared.
    """
    best = (a0 + a1) + (b2 + b3)
    bits = tl.full(best.shape, 0b0011, tl.int32)
    other = (a0 + a2) + (b1 + b3)
    bits = tl.where(other > best, 0b0101, bits)
    best = tl.maximum(best, other)
    other = (a0 + a3) + (b1 + b2)
    bits = tl.where(other > best, 0b1001, bits)
    best = tl.maximum(best, other)
    other = (a1 + a2) + (b0 + b3)
    bits = tl.where(other > best, 0b0110, bits)
    best = tl.maximum(best, other)
    other = (a1 + a3) + (b0 + b2)
    bits = tl.where(other > best, 0b1010, bits)
    best = tl.maximum(best, other)
    other = (a2 + a3) + (b0 + b1)
    bits = tl.where(other > best, 0b1100, bits)
    return tl.maximum(best, other), bits


@triton.jit
def row_price(s0, s1, s2, s3, bits, w0, w1, w2, w3):
    """Largest price of a row that its kept entries allow, with w the columns' prices of opposite sign."""
    low = tl.minimum(tl.where((bits & 1) != 0, s0 + w0, FAR), tl.where((bits & 2) != 0, s1 + w1, FAR))
    return tl.minimum(
        low, tl.minimum(tl.where((bits & 4) != 0, s2 + w2, FAR), tl.where((bits & 8) != 0, s3 + w3, FAR))
    )


@triton.jit
def column_price(s0, s1, s2, s3, k0, k1, k2, k3, BIT: tl.constexpr, u0, u1, u2, u3, w):
    """Largest w of a column that its dropped entries allow."""
    low = tl.minimum(tl.where((k0 & BIT) != 0, FAR, u0 - s0), tl.where((k1 & BIT) != 0, FAR, u1 - s1))
    low = tl.minimum(
        low, tl.minimum(tl.where((k2 & BIT) != 0, FAR, u2 - s2), tl.where((k3 & BIT) != 0, FAR, u3 - s3))
    )
    return tl.minimum(w, low)


@triton.jit
def loss(s, bits, BIT: tl.constexpr, u, w):
    """Violation of an entry."""
    reduced = s.to(tl.float64) - u.to(tl.float64) + w.to(tl.float64)
    return tl.where((bits & BIT) != 0, tl.maximum(-reduced, 0.0), tl.maximum(reduced, 0.0))


@triton.jit
def lost(s0, s1, s2, s3, bits, u, w0, w1, w2, w3):
    """Violation of a row."""
    return (loss(s0, bits, 1, u, w0) + loss(s1, bits, 2, u, w1)) + (
        loss(s2, bits, 4, u, w2) + loss(s3, bits, 8, u, w3)
    )


@triton.jit
def keeps(s, bits, BIT: tl.constexpr):
    """Score of an entry if it is kept, else 0."""
    return tl.where((bits & BIT) != 0, s.to(tl.float64), 0.0)


@triton.jit
def read_row(pointer, first, step, real):
    """Four entries of a row; steps are added one by one, since twice a step may exceed 32 bits."""
    second = first + step
    third = second + step
    return (
        tl.load(pointer + first, mask=real, other=0),
        tl.load(pointer + second, mask=real, other=0),
        tl.load(pointer + third, mask=real, other=0),
        tl.load(pointer + third + step, mask=real, other=0),
    )


@triton.jit
def write_row(pointer, first, step, bits, real):
    """Four entries of a row of the mask."""
    second = first + step
    third = second + step
    tl.store(pointer + first, (bits & 1).to(tl.uint8), mask=real)
    tl.store(pointer + second, ((bits >> 1) & 1).to(tl.uint8), mask=real)
    tl.store(pointer + third, ((bits >> 2) & 1).to(tl.uint8), mask=real)
    tl.store(pointer + third + step, ((bits >> 3) & 1).to(tl.uint8), mask=real)


@triton.jit
def write_prices(pointer, number, p0, p1, p2, p3, real):
    """Four prices of a tile."""
    tl.store(pointer + 4 * number, p0, mask=real)
    tl.store(pointer + 4 * number + 1, p1, mask=real)
    tl.store(pointer + 4 * number + 2, p2, mask=real)
    tl.store(pointer + 4 * number + 3, p3, mask=real)


@triton.jit
def unfits(a, b, c, d, largest):
    """How many of a row's entries are unfit."""
    return (unfit(a, largest) + unfit(b, largest)) + (unfit(c, largest) + unfit(d, largest))


@triton.jit(do_not_specialize=NUMBERS)
def pair(
    scores, mask, row_prices, column_prices, objectives, bounds, proofs, totals, begin_with,
    tiles, largest: tl.float64, tolerance: tl.float64, rounds, down, across,
    score_lead, score_down, score_across, score_row, score_column,
    mask_lead, mask_down, mask_across, mask_row, mask_column,
    M: tl.constexpr, N: tl.constexpr, AT_MOST: tl.constexpr, SCORE: tl.constexpr,
    DTYPE: tl.constexpr, INFINITE: tl.constexpr, SIDE: tl.constexpr, TILES: tl.constexpr,
    STARTED: tl.constexpr, PRICED: tl.constexpr, SUMMED: tl.constexpr,
):  # fmt: skip
    """Solve and prove a program's tiles; the arguments are those of `solving.solve`, some without a use."""
    number, real = numbers_of(tiles, TILES)
    first = offsets_of(number, down, across, score_lead, score_down, score_across)
    a0, a1, a2, a3 = read_row(scores, first, score_column, real)
    first += score_row
    b0, b1, b2, b3 = read_row(scores, first, score_column, real)
    first += score_row
    c0, c1, c2, c3 = read_row(scores, first, score_column, real)
    first += score_row
    d0, d1, d2, d3 = read_row(scores, first, score_column, real)
    wrong = (unfits(a0, a1, a2, a3, largest) + unfits(b0, b1, b2, b3, largest)) + (
        unfits(c0, c1, c2, c3, largest) + unfits(d0, d1, d2, d3, largest)
    )
    a0, a1, a2, a3 = (
        worth(a0, SCORE, DTYPE),
        worth(a1, SCORE, DTYPE),
        worth(a2, SCORE, DTYPE),
        worth(a3, SCORE, DTYPE),
    )
    b0, b1, b2, b3 = (
        worth(b0, SCORE, DTYPE),
        worth(b1, SCORE, DTYPE),
        worth(b2, SCORE, DTYPE),
        worth(b3, SCORE, DTYPE),
    )
    c0, c1, c2, c3 = (
        worth(c0, SCORE, DTYPE),
        worth(c1, SCORE, DTYPE),
        worth(c2, SCORE, DTYPE),
        worth(c3, SCORE, DTYPE),
    )
    d0, d1, d2, d3 = (
        worth(d0, SCORE, DTYPE),
        worth(d1, SCORE, DTYPE),
        worth(d2, SCORE, DTYPE),
        worth(d3, SCORE, DTYPE),
    )

    one, ka = halves(a0, a1, a2, a3, b0, b1, b2, b3)
    two, kc = halves(c0, c1, c2, c3, d0, d1, d2, d3)
    best, kb, kd = one + two, 15 - ka, 15 - kc
    one, p = halves(a0, a1, a2, a3, c0, c1, c2, c3)
    two, q = halves(b0, b1, b2, b3, d0, d1, d2, d3)
    better = one + two > best
    best = tl.maximum(best, one + two)
    ka, kb = tl.where(better, p, ka), tl.where(better, q, kb)
    kc, kd = tl.where(better, 15 - p, kc), tl.where(better, 15 - q, kd)
    one, p = halves(a0, a1, a2, a3, d0, d1, d2, d3)
    two, q = halves(b0, b1, b2, b3, c0, c1, c2, c3)
    better = one + two > best
    ka, kb = tl.where(better, p, ka), tl.where(better, q, kb)
    kc, kd = tl.where(better, 15 - q, kc), tl.where(better, 15 - p, kd)

    w0 = tl.zeros_like(a0)
    w1, w2, w3, ua, ub, uc, ud = w0, w0, w0, w0, w0, w0, w0
    for _ in tl.static_range(4):
        ua = row_price(a0, a1, a2, a3, ka, w0, w1, w2, w3)
        ub = row_price(b0, b1, b2, b3, kb, w0, w1, w2, w3)
        uc = row_price(c0, c1, c2, c3, kc, w0, w1, w2, w3)
        ud = row_price(d0, d1, d2, d3, kd, w0, w1, w2, w3)
        w0 = column_price(a0, b0, c0, d0, ka, kb, kc, kd, 1, ua, ub, uc, ud, w0)
        w1 = column_price(a1, b1, c1, d1, ka, kb, kc, kd, 2, ua, ub, uc, ud, w1)
        w2 = column_price(a2, b2, c2, d2, ka, kb, kc, kd, 4, ua, ub, uc, ud, w2)
        w3 = column_price(a3, b3, c3, d3, ka, kb, kc, kd, 8, ua, ub, uc, ud, w3)

    violation = (
        lost(a0, a1, a2, a3, ka, ua, w0, w1, w2, w3) + lost(b0, b1, b2, b3, kb, ub, w0, w1, w2, w3)
    ) + (lost(c0, c1, c2, c3, kc, uc, w0, w1, w2, w3) + lost(d0, d1, d2, d3, kd, ud, w0, w1, w2, w3))
    objective, in_all, least, some = column_sums(a0, b0, c0, d0, ka, kb, kc, kd, 1)
    more, size, low, one_more = column_sums(a1, b1, c1, d1, ka, kb, kc, kd, 2)
    objective, in_all, least, some = objective + more, in_all + size, tl.minimum(least, low), some + one_more
    more, size, low, one_more = column_sums(a2, b2, c2, d2, ka, kb, kc, kd, 4)
    objective, in_all, least, some = objective + more, in_all + size, tl.minimum(least, low), some + one_more
    more, size, low, one_more = column_sums(a3, b3, c3, d3, ka, kb, kc, kd, 8)
    objective, in_all, least, some = objective + more, in_all + size, tl.minimum(least, low), some + one_more
    scale = some * tl.where(some > 0.0, least, 0.0)
    beside = magnitudes(ua, ub, uc, ud) + magnitudes(w0, w1, w2, w3)
    bound = objective + violation + HALF_ULP * (16.0 * (in_all + violation) + 16.0 * beside)
    proven = (violation <= tolerance * scale) | ~real

    first = offsets_of(number, down, across, mask_lead, mask_down, mask_across)
    write_row(mask, first, mask_column, ka, real)
    first += mask_row
    write_row(mask, first, mask_column, kb, real)
    first += mask_row
    write_row(mask, first, mask_column, kc, real)
    first += mask_row
    write_row(mask, first, mask_column, kd, real)
    if PRICED:
        write_prices(row_prices, number, ua, ub, uc, ud, real)
        write_prices(column_prices, number, -w0, -w1, -w2, -w3, real)
    if SUMMED:
        tl.store(objectives + number, objective, mask=real)
        tl.store(bounds + number, bound, mask=real)
    tl.store(proofs + number, proven.to(tl.uint8), mask=real)
    report(totals, tl.where(real, objective, 0.0), tl.where(real, bound, 0.0), proven, tl.sum(wrong, axis=0))


@triton.jit
def column_sums(s0, s1, s2, s3, k0, k1, k2, k3, BIT: tl.constexpr):
    """Of a column's kept entries: sum, sum of magnitudes, the same but infinite if 0, and 0 or 1 likewise."""
    x0, x1, x2, x3 = keeps(s0, k0, BIT), keeps(s1, k1, BIT), keeps(s2, k2, BIT), keeps(s3, k3, BIT)
    size = (tl.abs(x0) + tl.abs(x1)) + (tl.abs(x2) + tl.abs(x3))
    return (x0 + x1) + (x2 + x3), size, tl.where(size > 0.0, size, FAR), tl.where(size > 0.0, 1.0, 0.0)


@triton.jit
def magnitudes(a, b, c, d):
    """Sum of four magnitudes, in float64."""
    return (tl.abs(a).to(tl.float64) + tl.abs(b).to(tl.float64)) + (
        tl.abs(c).to(tl.float64) + tl.abs(d).to(tl.float64)
    )
