"""The kernel for m by m tiles: prices by order statistics, row choice, shortest augmenting paths, proof.

A program holds TILES tiles of SIDE by SIDE entries, SIDE the power of two from m on. Every loop over tiles
runs until all of them are through with it; the others stand still meanwhile, as ``where`` keeps them. The
steps are those of `masksolve.backends.batched`, with two differences: paths are followed back by
predecessors, which registers hold more cheaply than the distances after every step; and lines that may keep
fewer than n exchange units with one more node, the *hub* of price 0, instead of a further row and column,
which would double SIDE.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .proving import prove
from .reading import NUMBERS, numbers_of, offsets_of, report, total, unfit, worth

BEYOND: tl.constexpr = tl.constexpr(0.25)
"""Over-relaxation of prices: a power of two, so that ties stay ties."""


@triton.jit
def ranked(values, AXIS: tl.constexpr, N: tl.constexpr):
    """Find the n-th and the (n + 1)-th largest number of every line, (tiles, side) each.

    The largest number is taken out again and again, with all that equal it. Reductions stay within a thread
    for the most part; a sort, which Triton has as well, moves every number at every step.
    """
    taken = tl.sum(tl.zeros_like(values).to(tl.int32), axis=AXIS)
    high = tl.max(values, axis=AXIS)
    low = high
    for _ in range(N + 1):
        top = tl.max(values, axis=AXIS)
        equal = values == tl.expand_dims(top, AXIS)
        high = tl.where(taken < N, top, high)
        low = tl.where(taken <= N, top, low)
        taken += tl.sum(equal.to(tl.int32), axis=AXIS)
        values = tl.where(equal, -float("inf"), values)
    return high, tl.where(low == -float("inf"), high, low)


@triton.jit
def price(values, some, positive, AXIS: tl.constexpr, N: tl.constexpr):
    """Give each line the price, between ranks n and n + 1, that is best while the others stand still.

    ``values`` are -inf outside the tile, where prices are 0. If ``positive``, the line may keep fewer than
    N, and its price is not below zero.
    """
    high, low = ranked(values, AXIS, N)
    floor = tl.where(positive, 0.0, -float("inf")).to(values.dtype)
    high = tl.where(some, tl.maximum(high, floor), 0.0)
    low = tl.where(some, tl.maximum(low, floor), 0.0)
    return low + (high - low) * 0.5


@triton.jit
def descend(scores, inside, some, columns, rounds, N: tl.constexpr, AT_MOST: tl.constexpr):
    """Improve the columns' prices by turns with the rows', each time a little beyond the best.

    Where lines may keep fewer, prices of any sign come first, since most masks keep the most everywhere;
    then a constant moved from columns to rows leaves as few as possible below zero, and the last turn
    leaves none.
    """
    rows = tl.zeros_like(columns)
    for turn in range(rounds):
        last = AT_MOST and turn == rounds - 1
        beyond = tl.where(turn == 0, 0.0, BEYOND).to(scores.dtype)
        best = price(tl.where(inside, scores - columns[:, None, :], -float("inf")), some, last, 2, N)
        rows = best + beyond * (best - rows)
        best = price(tl.where(inside, scores - rows[:, :, None], -float("inf")), some, last, 1, N)
        columns = tl.where(last, best, best + beyond * (best - columns))
        if AT_MOST:
            infinite = tl.where(some, 0.0, float("inf")).to(scores.dtype)
            shift = 0.5 * (tl.min(columns + infinite, axis=1) - tl.min(rows + infinite, axis=1))
            shift = tl.where(some & (turn == rounds - 2), shift[:, None], 0.0)
            rows, columns = rows + shift, columns - shift
    return columns


@triton.jit
def fill(scores, inside, some, columns, N: tl.constexpr, AT_MOST: tl.constexpr):
    """Keep the best entries of every row; of equal ones those that come first from the diagonal on.

    Returns the mask and the rows' prices.
    """
    values = tl.where(inside, scores - columns[:, None, :], -float("inf"))
    high, low = ranked(values, 2, N)
    wanted = tl.full(high.shape, N, tl.int32)
    if AT_MOST:
        wanted = tl.where(high > 0.0, N, 0)
        high, low = tl.maximum(high, 0.0), tl.maximum(low, 0.0)
    above = inside & (values > high[:, :, None])
    equal = (inside & (values == high[:, :, None])).to(tl.int32)
    missing = wanted - tl.sum(above.to(tl.int32), axis=2)
    row = tl.arange(0, values.shape[1])[None, :, None]
    column = tl.arange(0, values.shape[2])[None, None, :]
    early = column < row
    before = tl.sum(tl.where(early, equal, 0), axis=2)
    count = tl.sum(equal, axis=2)
    rank = tl.cumsum(equal, axis=2) - before[:, :, None] + tl.where(early, count[:, :, None], 0)
    kept = above | ((equal > 0) & (rank <= missing[:, :, None]))
    high, low = tl.where(some, high, 0.0), tl.where(some, low, 0.0)
    return kept, low + (high - low) * 0.5


@triton.jit
def nearest_along(distances, AXIS: tl.constexpr):
    """Smallest number along an axis, and where it is."""
    return tl.min(distances, axis=AXIS, return_indices=True)


@triton.jit
def search(
    dropping,
    adding,
    excess,
    row_to_hub,
    hub_to_row,
    column_to_hub,
    hub_to_column,
    hub_excess,
    INFINITE: tl.constexpr,
    AT_MOST: tl.constexpr,
):
    """Search from all nodes with too much, until nothing improves that is nearer than the nearest room.

    Returns distances of rows, columns and hub, and predecessors: of a row, the column (SIDE: the hub) whose
    entry it drops; of a column, the row (SIDE: the hub) that adds an entry there; of the hub, a row, or
    SIDE plus a column; -1 where a path begins or nothing was reached. A distance falls strictly or stays,
    and no cost is negative even when rounded, so predecessors never form a cycle.
    """
    SIDE: tl.constexpr = excess.shape[1]
    columns = tl.where(excess > 0, 0.0, INFINITE).to(dropping.dtype)
    rows = tl.full(columns.shape, INFINITE, dropping.dtype)
    row_from = tl.full(columns.shape, -1, tl.int32)
    column_from = row_from
    hub = tl.where(hub_excess > 0, 0.0, INFINITE).to(dropping.dtype)
    hub_from = tl.full(hub.shape, -1, tl.int32)
    nearest = tl.full(hub.shape, INFINITE, dropping.dtype)
    moving = tl.full([1], 1, tl.int32).sum(axis=0)
    while moving > 0:
        found, place = nearest_along(dropping + columns[:, None, :], 2)
        row_from = tl.where(found < rows, place, row_from)
        rows = tl.minimum(rows, found)
        if AT_MOST:
            found = hub[:, None] + hub_to_row
            row_from = tl.where(found < rows, SIDE, row_from)
            rows = tl.minimum(rows, found)
        before, hub_before = columns, hub
        found, place = nearest_along(adding + rows[:, :, None], 1)
        column_from = tl.where(found < columns, place, column_from)
        columns = tl.minimum(columns, found)
        nearest = tl.min(tl.where(excess < 0, columns, INFINITE), axis=1)
        if AT_MOST:
            found = hub[:, None] + hub_to_column
            column_from = tl.where(found < columns, SIDE, column_from)
            columns = tl.minimum(columns, found)
            found, place = nearest_along(rows + row_to_hub, 1)
            hub_from = tl.where(found < hub, place, hub_from)
            hub = tl.minimum(hub, found)
            found, place = nearest_along(columns + column_to_hub, 1)
            hub_from = tl.where(found < hub, SIDE + place, hub_from)
            hub = tl.minimum(hub, found)
            nearest = tl.min(tl.where(excess < 0, columns, INFINITE), axis=1)
            nearest = tl.minimum(nearest, tl.where(hub_excess < 0, hub, INFINITE))
        improved = (columns < before) & (columns < nearest[:, None])
        moving = tl.max(tl.max(improved.to(tl.int32), axis=1), axis=0)
        if AT_MOST:
            moving = tl.maximum(moving, tl.max(((hub < hub_before) & (hub < nearest)).to(tl.int32), axis=0))
    return rows, columns, hub, nearest, row_from, column_from, hub_from


@triton.jit
def entry(line, index):
    """Read every tile's line (tiles, side) at an index (tiles,)."""
    here = tl.arange(0, line.shape[1])[None, :] == index[:, None]
    return tl.sum(tl.where(here, line, 0), axis=1)


@triton.jit
def trace(end, found, row_from, column_from, hub_from, AT_MOST: tl.constexpr):
    """Follow predecessors from ``end``; give each row's column to add and to drop, and the first node.

    Nodes are columns; SIDE is the hub. -1: the row adds, or drops, nothing.
    """
    SIDE: tl.constexpr = row_from.shape[1]
    line = tl.arange(0, SIDE)[None, :]
    add = tl.full(row_from.shape, -1, tl.int32)
    drop = add
    node = end
    active = found
    moving = tl.max(active.to(tl.int32), axis=0)
    while moving > 0:
        row = entry(column_from, node)
        direct = node < 0
        origin = node
        if AT_MOST:
            # Two nodes may be joined without a row: a column and the hub.
            at_hub = node == SIDE
            direct = (at_hub & (hub_from >= SIDE)) | (~at_hub & (row == SIDE))
            origin = tl.where(at_hub, hub_from - SIDE, SIDE)
            row = tl.where(at_hub, hub_from, row)
        origin = tl.where(direct, origin, entry(row_from, row))
        visited = (line == row[:, None]) & (active & ~direct)[:, None]
        add = tl.where(visited, node[:, None], add)
        drop = tl.where(visited, origin[:, None], drop)
        node = tl.where(active, origin, node)
        source = entry(column_from, node)
        if AT_MOST:
            source = tl.where(node == SIDE, hub_from, source)
        active = active & (source >= 0)
        moving = tl.max(active.to(tl.int32), axis=0)
    return add, drop, node


@triton.jit
def augment(
    scores,
    inside,
    some,
    kept,
    rows,
    columns,
    excess,
    N: tl.constexpr,
    INFINITE: tl.constexpr,
    AT_MOST: tl.constexpr,
):
    """Move one unit of every tile from a node with too much to the nearest one with room."""
    SIDE: tl.constexpr = scores.shape[1]
    line = tl.arange(0, SIDE)[None, :]
    reduced = scores - rows[:, :, None] - columns[:, None, :]
    # Rounding must not make a cost negative.
    dropping = tl.where(kept, tl.maximum(reduced, 0.0), INFINITE)
    adding = tl.where(inside & ~kept, tl.maximum(-reduced, 0.0), INFINITE)
    row_to_hub = rows
    hub_to_row = rows
    column_to_hub = columns
    hub_to_column = columns
    hub_excess = tl.zeros_like(tl.sum(excess, axis=1))
    if AT_MOST:
        in_rows = tl.sum(kept.to(tl.int32), axis=2)
        slack = N - tl.sum(kept.to(tl.int32), axis=1) + excess
        row_to_hub = tl.where(some & (in_rows > 0), tl.maximum(rows, 0.0), INFINITE)
        hub_to_row = tl.where(some & (in_rows < N), tl.maximum(-rows, 0.0), INFINITE)
        column_to_hub = tl.where(some & (slack > 0), tl.maximum(-columns, 0.0), INFINITE)
        hub_to_column = tl.where(some & (slack < N), tl.maximum(columns, 0.0), INFINITE)
        hub_excess = -tl.sum(excess, axis=1)
    to_rows, to_columns, to_hub, nearest, row_from, column_from, hub_from = search(
        dropping,
        adding,
        excess,
        row_to_hub,
        hub_to_row,
        column_to_hub,
        hub_to_column,
        hub_excess,
        INFINITE,
        AT_MOST,
    )
    found = nearest < INFINITE
    _, end = nearest_along(tl.where(excess < 0, to_columns, INFINITE), 1)
    if AT_MOST:
        end = tl.where((hub_excess < 0) & (to_hub <= nearest), SIDE, end)
    add, drop, begin = trace(end, found, row_from, column_from, hub_from, AT_MOST)
    column = tl.arange(0, SIDE)[None, None, :]
    kept = kept ^ (column == add[:, :, None]) ^ (column == drop[:, :, None])
    reach = tl.where(found, nearest, 0.0)
    hub_moves = tl.zeros_like(reach)
    if AT_MOST:
        hub_moves = tl.minimum(to_hub, reach)
    rows = tl.where(some, rows + (tl.minimum(to_rows, reach[:, None]) - hub_moves[:, None]), 0.0)
    columns = tl.where(some, columns - (tl.minimum(to_columns, reach[:, None]) - hub_moves[:, None]), 0.0)
    ends = (line == end[:, None]).to(tl.int32) - (line == begin[:, None]).to(tl.int32)
    # A tile without a path is given up: its mask is infeasible, so that it counts as open.
    excess = tl.where(found[:, None], excess + ends, 0)
    return kept, rows, columns, excess


@triton.jit(do_not_specialize=NUMBERS)
def solve(
    scores,
    mask,
    row_prices,
    column_prices,
    objectives,
    bounds,
    proofs,
    totals,
    begin_with,
    tiles,
    largest: tl.float64,
    tolerance: tl.float64,
    rounds,
    down,
    across,
    score_lead,
    score_down,
    score_across,
    score_row,
    score_column,
    mask_lead,
    mask_down,
    mask_across,
    mask_row,
    mask_column,
    M: tl.constexpr,
    N: tl.constexpr,
    AT_MOST: tl.constexpr,
    SCORE: tl.constexpr,
    DTYPE: tl.constexpr,
    INFINITE: tl.constexpr,
    SIDE: tl.constexpr,
    TILES: tl.constexpr,
    STARTED: tl.constexpr,
    PRICED: tl.constexpr,
    SUMMED: tl.constexpr,
):
    """Solve and prove a program's tiles; `masksolve.backends.triton.launching` makes the arguments."""
    number, real = numbers_of(tiles, TILES)
    line = tl.arange(0, SIDE).to(tl.int64)
    lines = number[:, None] * M + line[None, :]
    exists = real[:, None] & (line < M)[None, :]
    some = tl.broadcast_to((line < M)[None, :], (TILES, SIDE))
    inside = some[:, :, None] & some[:, None, :]
    entries = offsets_of(number, down, across, score_lead, score_down, score_across)[:, None, None]
    entries = entries + (line[:, None] * score_row + line[None, :] * score_column)[None, :, :]
    raw = tl.load(scores + entries, mask=exists[:, :, None] & exists[:, None, :], other=0)
    wrong = tl.sum(total(unfit(raw, largest)), axis=0)
    values = worth(raw, SCORE, DTYPE)

    columns = tl.zeros([TILES, SIDE], DTYPE)
    if STARTED:
        columns = tl.load(begin_with + lines, mask=exists, other=0).to(DTYPE)
        if AT_MOST:
            columns = tl.maximum(columns, 0.0)
    if wrong == 0:
        columns = descend(values, inside, some, columns, rounds, N, AT_MOST)
    kept, rows = fill(values, inside, some, columns, N, AT_MOST)
    excess = tl.sum(kept.to(tl.int32), axis=1) - N
    if AT_MOST:
        excess = tl.where(columns > 0.0, excess, tl.maximum(excess, 0))
    excess = tl.where(exists, excess, 0)
    todo = tl.where(wrong == 0, tl.max(tl.max((excess != 0).to(tl.int32), axis=1), axis=0), 0)
    while todo > 0:
        kept, rows, columns, excess = augment(
            values, inside, some, kept, rows, columns, excess, N, INFINITE, AT_MOST
        )
        todo = tl.max(tl.max((excess != 0).to(tl.int32), axis=1), axis=0)

    if SCORE == "square":
        # A square has twice the digits of its root; the proof is about the exact one.
        raw = tl.load(scores + entries, mask=exists[:, :, None] & exists[:, None, :], other=0)
        exact = worth(raw, SCORE, tl.float64)
    else:
        exact = values.to(tl.float64)
    objective, bound, proven = prove(
        exact, kept, inside, rows.to(tl.float64), columns.to(tl.float64), real, tolerance, M, N, AT_MOST
    )
    entries = offsets_of(number, down, across, mask_lead, mask_down, mask_across)[:, None, None]
    entries = entries + (line[:, None] * mask_row + line[None, :] * mask_column)[None, :, :]
    tl.store(mask + entries, kept.to(tl.uint8), mask=exists[:, :, None] & exists[:, None, :])
    if PRICED:
        tl.store(row_prices + lines, rows, mask=exists)
        tl.store(column_prices + lines, columns, mask=exists)
    if SUMMED:
        tl.store(objectives + number, objective, mask=real)
        tl.store(bounds + number, bound, mask=real)
    tl.store(proofs + number, proven.to(tl.uint8), mask=real)
    report(totals, tl.where(real, objective, 0.0), tl.where(real, bound, 0.0), proven, wrong)
