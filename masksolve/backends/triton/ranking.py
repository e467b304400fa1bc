"""The kernel for one-directional groups: the n largest of every group, and the price between n and n + 1."""

from __future__ import annotations

import triton
import triton.language as tl

from .proving import HALF_ULP, lost_slack
from .reading import NUMBERS, numbers_of, offsets_of, report, unfit, worth
from .solving import ranked


@triton.jit(do_not_specialize=NUMBERS)
def rank(
    scores, mask, row_prices, column_prices, objectives, bounds, proofs, totals, begin_with,
    tiles, largest: tl.float64, tolerance: tl.float64, rounds, down, across,
    score_lead, score_down, score_across, score_row, score_column,
    mask_lead, mask_down, mask_across, mask_row, mask_column,
    M: tl.constexpr, N: tl.constexpr, AT_MOST: tl.constexpr, SCORE: tl.constexpr,
    DTYPE: tl.constexpr, INFINITE: tl.constexpr, SIDE: tl.constexpr, TILES: tl.constexpr,
    STARTED: tl.constexpr, PRICED: tl.constexpr, SUMMED: tl.constexpr,
):  # fmt: skip
    """Rank and prove a program's groups; the arguments are those of `solving.solve`, some without a use."""
    number, real = numbers_of(tiles, TILES)
    line = tl.arange(0, SIDE).to(tl.int64)
    inside = tl.broadcast_to((line < M)[None, :], (TILES, SIDE))
    exists = real[:, None] & inside
    first = offsets_of(number, down, across, score_lead, score_down, score_across)
    raw = tl.load(scores + first[:, None] + line[None, :] * score_column, mask=exists, other=0)
    wrong = tl.sum(tl.sum(unfit(raw, largest), axis=1), axis=0)
    values = worth(raw, SCORE, DTYPE)

    high, low = ranked(tl.where(inside, values, -float("inf")), 1, N)
    wanted = tl.full(high.shape, N, tl.int32)
    if AT_MOST:
        wanted = tl.where(high > 0.0, N, 0)
        high, low = tl.maximum(high, 0.0), tl.maximum(low, 0.0)
    above = inside & (values > high[:, None])
    equal = (inside & (values == high[:, None])).to(tl.int32)
    missing = wanted - tl.sum(above.to(tl.int32), axis=1)
    kept = above | ((equal > 0) & (tl.cumsum(equal, axis=1) <= missing[:, None]))
    price = low + (high - low) * 0.5

    exact = worth(raw, SCORE, tl.float64)
    reduced = exact - price.to(tl.float64)[:, None]
    loss = tl.where(kept, tl.maximum(-reduced, 0.0), tl.maximum(reduced, 0.0))
    violation = tl.sum(tl.where(inside, loss, 0.0), axis=1)
    count = tl.sum(kept.to(tl.int32), axis=1)
    feasible = count <= N
    if AT_MOST:
        violation += lost_slack(price.to(tl.float64)[:, None], count[:, None], N)
    else:
        feasible = feasible & (count == N)
    worths = tl.where(kept, exact, 0.0)
    objective = tl.sum(worths, axis=1)
    in_all = tl.sum(tl.abs(worths), axis=1)
    beside = M * tl.abs(price.to(tl.float64))
    allowance = HALF_ULP * ((M + 9) * (in_all + violation) + 4.0 * beside)
    bound = objective + violation + allowance
    proven = (feasible & (violation <= tolerance * in_all)) | ~real

    first = offsets_of(number, down, across, mask_lead, mask_down, mask_across)
    tl.store(mask + first[:, None] + line[None, :] * mask_column, kept.to(tl.uint8), mask=exists)
    if PRICED:
        tl.store(row_prices + number, price, mask=real)
    if SUMMED:
        tl.store(objectives + number, objective, mask=real)
        tl.store(bounds + number, bound, mask=real)
    tl.store(proofs + number, proven.to(tl.uint8), mask=real)
    report(totals, tl.where(real, objective, 0.0), tl.where(real, bound, 0.0), proven, wrong)
