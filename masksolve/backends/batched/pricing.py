"""The way up to paths: prices of rows and columns by turns, and rows filled with their best entries."""

from __future__ import annotations

from typing import Any

from ...types import Bounds
from .frame import Batch, Frame, tiles_last
from .selection import largest

_BEYOND = 0.25
"""Over-relaxation: a power of two, so that ties stay ties."""


def begin(frame: Frame, part: tuple[Any, ...], first: int, *, rounds: int) -> Batch:
    """Price the lines and fill the rows of tiles ``first`` and on.

    ``part`` holds their scores, keep, drop, and the columns' prices to begin with, the last three
    perhaps None, first axis the tiles'.
    """
    xp = frame.xp
    original, keep, drop, start = part
    tiles = original.shape[0]
    scores = tiles_last(xp, _with_forced(frame, original, keep, drop))
    columns = xp.zeros((frame.width, tiles), dtype=frame.dtype, device=frame.device)
    if not frame.free:
        columns = columns if start is None else tiles_last(xp, start)
        columns = _descend(frame, scores, columns, rounds)
    rows = _price(frame, _lanes(xp, scores, columns, 1), frame.row_bounds)
    mask = _fill(frame, scores - columns[None, :, :], rows)
    return Batch(
        ids=xp.arange(tiles, device=frame.device) + first,
        scores=scores,
        amounts=mask,
        rows=rows,
        columns=columns,
        excess=_excess(frame, mask, columns),
        hopeless=_hopeless(frame, original, keep, drop),
    )


def _descend(frame: Frame, scores: Any, columns: Any, rounds: int) -> Any:
    """Improve the columns' prices by turns with the rows', each time a little beyond the best.

    Where rows and columns keep equally many in all, most masks with slack keep the most everywhere:
    prices of any sign lead there sooner, and a constant moved from columns to rows leaves as few as
    possible below zero. The last round minds the slack.
    """
    xp = frame.xp
    bounds = [(frame.row_bounds, frame.column_bounds)] * rounds
    (_, row_most), (_, column_most) = frame.row_bounds, frame.column_bounds
    balanced = frame.slack and frame.height * row_most == frame.width * column_most
    if balanced:
        bounds[:-1] = [((row_most, row_most), (column_most, column_most))] * (rounds - 1)
    rows: Any = None
    for turn, (row_bounds, column_bounds) in enumerate(bounds, 1):
        best = _price(frame, _lanes(xp, scores, columns, 1), row_bounds)
        rows = best if rows is None else best + _BEYOND * (best - rows)
        best = _price(frame, _lanes(xp, scores, rows, 0), column_bounds)
        plain = turn == 1 or (turn == rounds and frame.slack)
        columns = best if plain else best + _BEYOND * (best - columns)
        if balanced and turn == rounds - 1:
            shift = (xp.min(columns, axis=0) - xp.min(rows, axis=0)) * 0.5
            rows, columns = rows + shift, columns - shift
    return columns


def _with_forced(frame: Frame, scores: Any, keep: Any | None, drop: Any | None) -> Any:
    if keep is not None:
        scores = frame.xp.where(keep, frame.number(frame.xp.inf), scores)
    if drop is not None:
        scores = frame.xp.where(drop, frame.number(-frame.xp.inf), scores)
    return scores


def _hopeless(frame: Frame, scores: Any, keep: Any | None, drop: Any | None) -> Any:
    """Whether a row is forced to keep too many or too few; columns show it when they find no path."""
    xp = frame.xp
    hopeless = xp.zeros(scores.shape[:1], dtype=xp.bool, device=frame.device)
    least, most = frame.row_bounds
    if keep is not None:
        hopeless = hopeless | xp.any(frame.count(keep, axis=2) > most, axis=1)
    if drop is not None:
        hopeless = hopeless | xp.any(frame.count(~drop, axis=2) < least, axis=1)
    return hopeless


def _lanes(xp: Any, scores: Any, prices: Any, axis: int) -> list[Any]:
    """Scores less the prices of the other lines, one array for each place along the lines."""
    pairs = zip(xp.unstack(scores, axis=axis), xp.unstack(prices, axis=0), strict=True)
    return [lane - price for lane, price in pairs]


def _price(frame: Frame, lanes: list[Any], bounds: Bounds) -> Any:
    """Each line's price that minimises the dual bound while the others stand still.

    A line that must keep exactly ``most`` may take any price between the entry it keeps last and the
    one it drops first. One that may keep fewer has a price above zero if it wants more than ``most``
    positive entries, one below if it must take more than it wants, and else zero.
    """
    xp = frame.xp
    least, most = bounds
    ranks = sorted({rank for rank in (least - 1, least, most - 1, most) if 0 <= rank < len(lanes)})
    value = dict(zip(ranks, largest(xp, lanes, ranks), strict=True))
    if least == most:
        return _middle(frame, value.get(most), value.get(most - 1))
    zero = xp.zeros_like(lanes[0])
    price = _middle(frame, *(xp.maximum(value.get(rank, zero), zero) for rank in (most, most - 1)))
    if least:
        price = price + _middle(frame, *(xp.minimum(value[rank], zero) for rank in (least, least - 1)))
    return price


def _middle(frame: Frame, low: Any, high: Any) -> Any:
    """Between ``low`` and ``high``; the other where one is missing or infinite, zero without both."""
    if low is None or high is None:
        low = high = high if low is None else low
    if frame.forced:
        xp = frame.xp
        low = xp.where(xp.isfinite(low), low, high)
        low = xp.where(xp.isfinite(low), low, xp.zeros_like(low))
        high = xp.where(xp.isfinite(high), high, low)
    return low + (high - low) * 0.5


def _fill(frame: Frame, scores: Any, rows: Any) -> Any:
    """Keep the best entries of every row, as many as its price asks for."""
    xp = frame.xp
    least, most = frame.row_bounds
    kept = scores > rows[:, None, :]
    count = frame.count(kept, axis=1)
    wanted = frame.integer(most)
    if least < most:
        above, below = (xp.astype(sign, frame.small) for sign in (rows > 0, rows < 0))
        bounded = xp.clip(count, least, most)
        wanted = bounded + above * (most - bounded) + below * (least - bounded)
    missing = wanted - count
    if frame.compiler is None and not bool(xp.any(missing != 0)):
        return kept
    return kept | _chosen(frame, scores == rows[:, None, :], missing)


def _chosen(frame: Frame, equal: Any, missing: Any) -> Any:
    """Choose ``missing`` (r, T) of each row's ``equal`` entries, circularly from its own column on."""
    xp = frame.xp
    begin = xp.astype(
        xp.arange(frame.height, device=frame.device) * frame.width // frame.height, frame.small
    )[:, None]
    lanes = [xp.astype(lane, frame.small) for lane in xp.unstack(equal, axis=1)]
    early = [xp.astype(begin > j, frame.small) for j in range(frame.width)]
    total = sum(lanes[1:], lanes[0])
    rank = -sum((lane * e for lane, e in zip(lanes[1:], early[1:], strict=True)), lanes[0] * early[0])
    chosen = []
    for lane, is_early in zip(lanes, early, strict=True):
        chosen.append((lane > 0) & (rank + is_early * total < missing))
        rank = rank + lane
    return xp.stack(chosen, axis=1)


def _excess(frame: Frame, mask: Any, columns: Any) -> Any:
    """Count what columns keep beyond the most, where their price allows no less, or beyond their bounds."""
    xp = frame.xp
    least, most = frame.column_bounds
    if frame.free:
        return xp.zeros(columns.shape, dtype=xp.int32, device=frame.device)
    count = xp.astype(frame.count(mask, axis=0), xp.int32)
    if least == most:
        return count - most
    above, below = (xp.astype(sign, xp.int32) for sign in (columns > 0, columns < 0))
    bounded = xp.clip(count, least, most)
    return count - (bounded + above * (most - bounded) + below * (least - bounded))
