"""Proofs: the dual bound of any prices, prices for any mask, and the check of a mask.

For scores s, row prices u and column prices v, weak duality bounds what any mask can keep:

    D(u, v) = sum_i max(lo u_i, hi u_i) + sum_j max(lo v_j, hi v_j) + sum_ij max(0, s_ij - u_i - v_j)

where a row (column) keeps between lo and hi entries; an entry that is forced contributes
``s_ij - u_i - v_j`` itself, one that is forbidden nothing. No step here asks a solver.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt

from .frameworks import to_numpy
from .pattern import Pattern
from .problem import BoolArray, MaskProblem, boolean_array, check_shape
from .tiles import Block, Bounds, Chunk, Prices, grouped, lay_out, tails

Float64Array = npt.NDArray[np.float64]

_CHUNK_ENTRIES = 1 << 18
_DESCENTS = 4
_SHOWN = 10


class Certificate(NamedTuple):
    """Sum of the kept scores, and an upper bound on what any mask can keep."""

    objective: float
    bound: float


@dataclass(frozen=True)
class Violation:
    """A group that keeps the wrong number of entries.

    ``tile`` counts row-major over (batch, tile row, tile column); ``axis`` is ``"row"`` or
    ``"column"`` of a tile, or ``"group"`` for one-directional patterns (then ``tile`` is the
    group's number and ``index`` is 0); ``count`` is the number of entries kept.
    """

    tile: int
    axis: str
    index: int
    count: int


class Verification:
    """The outcome of `verify`.

    Attributes
    ----------
    ok : bool
        Whether the mask follows the pattern.
    pattern : Pattern
    tiles : int
        Number of tiles (groups) examined.
    """

    def __init__(self, pattern: Pattern, tiles: int, found: list[_Found]) -> None:
        self.pattern = pattern
        self.tiles = tiles
        self._found = found
        self.ok = not any(len(part.table) for part in found)

    def __len__(self) -> int:
        """Return the number of violations."""
        return sum(len(part.table) for part in self._found)

    def __bool__(self) -> bool:
        return self.ok

    @property
    def violations(self) -> list[Violation]:
        """Every violation, ordered by tile, rows before columns."""
        return [violation for violation, _ in self._listed(len(self))]

    def __str__(self) -> str:
        unit = "tiles" if self.pattern.transposable else "groups"
        if self.ok:
            return f"ok: {self.tiles} {unit} follow '{self.pattern}'"
        lines = [f"{len(self)} violations of '{self.pattern}' in {self.tiles} {unit}:"]
        for found, (least, most) in self._listed(_SHOWN):
            line = f"group {found.tile}"
            if found.axis != "group":
                line = f"tile {found.tile}, {found.axis} {found.index}"
            amount = "exactly" if least == most else "at most"
            lines.append(f"  {line} keeps {found.count}, expected {amount} {most}")
        if len(self) > _SHOWN:
            lines.append(f"  ... and {len(self) - _SHOWN} more")
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"Verification(ok={self.ok}, violations={len(self)}, pattern='{self.pattern}')"

    def _listed(self, limit: int) -> list[tuple[Violation, Bounds]]:
        """List the first violations, with what was allowed; tables are ordered, so their heads suffice."""
        every = [
            (Violation(int(tile), part.axis, int(index), int(count)), part.bounds)
            for part in self._found
            for tile, index, count in part.table[:limit]
        ]
        every.sort(key=lambda pair: (pair[0].tile, pair[0].axis != "row", pair[0].index))
        return every[:limit]


class _Found(NamedTuple):
    """Violations along one axis of one block: a table of tile, index and count."""

    axis: str
    bounds: Bounds
    table: npt.NDArray[np.int64]


def verify(mask: npt.ArrayLike, pattern: Pattern | str) -> Verification:
    """Check that a mask follows a pattern, in both orientations if it is transposable.

    Parameters
    ----------
    mask : array of bool, shape (..., R, C)
        True = kept.
    pattern : Pattern or str
        ``constraint`` tells exactly n from at most n; groups that ``remainder="pad"`` cuts
        short may keep at most n; the tail that ``remainder="dense"`` keeps whole is in no group
        and is not examined.

    Returns
    -------
    Verification
        ``.ok``, ``.violations``, and a readable ``str()``.

    Raises
    ------
    TypeError
        If ``mask`` is not boolean.
    ValueError
        If the pattern cannot be laid on its shape.

    Examples
    --------
    >>> print(verify([[True, False], [True, False]], "1:2-T"))
    2 violations of '1:2-T' in 1 tiles:
      tile 0, column 0 keeps 2, expected exactly 1
      tile 0, column 1 keeps 0, expected exactly 1
    """
    pattern = Pattern.parse(pattern)
    array = boolean_array("mask", mask)
    check_shape("mask", array.shape, pattern)
    blocks = lay_out(MaskProblem(array, pattern, None, None, 1.0), store_prices=False).blocks
    found = [_count(block, "row" if pattern.transposable else "group", block.row_bounds) for block in blocks]
    if pattern.transposable:
        found += [_count(block, "column", block.column_bounds) for block in blocks]
    return Verification(pattern, sum(block.tiles for block in blocks), found)


def _count(block: Block, axis: str, bounds: Bounds) -> _Found:
    counts = block.scores.sum(axis=-2 if axis == "column" else -1, dtype=np.int8)
    *place, index = np.nonzero((counts < bounds[0]) | (counts > bounds[1]))
    table = np.stack([block.numbers(tuple(place)), index, counts[*place, index]], axis=1)
    return _Found(axis, bounds, table[np.argsort(table[:, 0], kind="stable")])


def recompute(
    scores: npt.ArrayLike,
    mask: npt.ArrayLike,
    pattern: Pattern | str,
    duals: Prices | None = None,
    *,
    keep: npt.ArrayLike | None = None,
    drop: npt.ArrayLike | None = None,
) -> Certificate:
    """Objective and bound of a mask in plain NumPy float64, from the prices alone.

    Parameters
    ----------
    scores : array, shape (..., R, C)
    mask : array of bool, same shape
    pattern : Pattern or str
    duals : Prices or None
        As in ``MaskResult.duals``. None: prices are found for the mask by Bellman-Ford on its
        residual graph, which proves an optimal mask optimal and bounds the gap of any other.
    keep, drop : arrays of bool or None
        The forced choices of the solve.

    Returns
    -------
    Certificate

    Raises
    ------
    TypeError, ValueError
        As `masksolve.solve`; also if ``mask`` does not follow the pattern or the forced choices,
        or if ``duals`` are not shaped for it.
    """
    problem = MaskProblem.check(scores, pattern, keep, drop)
    array = boolean_array("mask", mask)
    if array.shape != problem.scores.shape:
        raise ValueError(f"mask must have the shape of scores {problem.scores.shape}, got {array.shape}")
    start = None if duals is None else Prices(*(cast(Any, to_numpy("duals", part)) for part in duals))
    layout = lay_out(problem, store_prices=False, start=start)
    np.copyto(layout.mask, array)
    if not all(tail.all() for tail in tails(grouped(array, problem.pattern), problem.pattern)):
        raise ValueError("mask must be True in the tail that remainder='dense' keeps whole")
    whole = layout.tail_sums()
    parts = [
        _recompute(block, first, min(first + step, block.tiles), problem.pattern)
        for block in layout.blocks
        for step in [max(1, _CHUNK_ENTRIES // math.prod(block.tile_shape))]
        for first in range(0, block.tiles, step)
    ]
    return Certificate(
        math.fsum([part.objective for part in parts] + whole),
        math.fsum([part.bound for part in parts] + whole),
    )


def _recompute(block: Block, first: int, last: int, pattern: Pattern) -> Certificate:
    chunk = block.gather(first, last)
    place = np.unravel_index(np.arange(first, last), block.grid)
    mask = block.mask[place]
    wrong = np.flatnonzero(~feasible(chunk, mask))
    if len(wrong):
        raise ValueError(
            f"mask must follow '{pattern}' and the forced choices, tile {chunk.numbers[wrong[0]]} does "
            f"not; see verify()"
        )
    if block.start is None:
        return certify(chunk, mask, price(chunk, mask))
    columns = block.start.columns
    return certify(chunk, mask, Prices(block.start.rows[place], None if columns is None else columns[place]))


def feasible(chunk: Chunk, mask: BoolArray) -> BoolArray:
    """Per tile, whether ``mask`` keeps the right counts and respects the forced choices."""
    good = np.ones(len(mask), dtype=np.bool_)
    for axis, (least, most) in ((2, chunk.row_bounds), (1, chunk.column_bounds)):
        counts = mask.sum(axis=axis)
        good &= ((counts >= least) & (counts <= most)).all(axis=1)
    if chunk.keep is not None:
        good &= ~(chunk.keep & ~mask).any(axis=(1, 2))
    if chunk.drop is not None:
        good &= ~(chunk.drop & mask).any(axis=(1, 2))
    return good


def certify(chunk: Chunk, mask: BoolArray, prices: Prices | None) -> Certificate:
    """Objective and dual bound of a chunk in float64; without prices the bound is infinite."""
    objective = float(np.sum(chunk.scores, where=mask))
    if prices is None:
        return Certificate(objective, np.inf)
    rows, columns = _wide(prices, chunk.scores.shape)
    reduced = chunk.scores - rows[:, :, np.newaxis] - columns[:, np.newaxis, :]
    gain = np.maximum(reduced, 0.0)
    if chunk.keep is not None:
        gain = np.where(chunk.keep, reduced, gain)
    if chunk.drop is not None:
        gain = np.where(chunk.drop, 0.0, gain)
    bound = gain.sum() + _worth(rows, chunk.row_bounds) + _worth(columns, chunk.column_bounds)
    return Certificate(objective, float(bound))


def price(chunk: Chunk, mask: BoolArray) -> Prices:
    """Dual prices that suit a mask: exact ones if it is optimal, good ones otherwise.

    Complementary slackness is a system of difference constraints in u and w = -v (kept:
    u_i - w_j <= s_ij, dropped: w_j - u_i <= -s_ij; a line that could keep fewer or more ties
    its price to 0). Bellman-Ford solves it if the mask is optimal; if it is not, the rounds are
    cut off and coordinate descent on D improves what they left. Rows stand alone where columns
    may keep anything; then the descent finds the best prices at once.
    """
    tiles, height, width = chunk.scores.shape
    u, w, z = np.zeros((tiles, height)), np.zeros((tiles, width)), np.zeros((tiles, 1))
    if chunk.column_bounds == (0, height):
        return Prices(_descend(_with_forced(chunk), chunk.row_bounds), w)
    scores = chunk.scores
    may_drop = mask if chunk.keep is None else mask & ~chunk.keep
    may_add = ~mask if chunk.drop is None else ~mask & ~chunk.drop
    row_less, row_more = _slack(mask.sum(axis=2), chunk.row_bounds)
    column_less, column_more = _slack(mask.sum(axis=1), chunk.column_bounds)
    for _ in range(height + width + 1):
        before = u, w, z
        u = np.minimum(u, _least(scores + w[:, np.newaxis, :], may_drop, axis=2))
        u = np.minimum(u, np.where(row_more, z, np.inf))
        w = np.minimum(w, _least(u[:, :, np.newaxis] - scores, may_add, axis=1))
        w = np.minimum(w, np.where(column_less, z, np.inf))
        z = np.minimum(z, _least(u, row_less, axis=1)[:, np.newaxis])
        z = np.minimum(z, _least(w, column_more, axis=1)[:, np.newaxis])
        if all(np.array_equal(a, b) for a, b in zip(before, (u, w, z), strict=True)):
            return Prices(u - z, z - w)
    return _descended(chunk, Prices(u - z, z - w))


def _descended(chunk: Chunk, prices: Prices) -> Prices:
    """Prices after a few rounds of coordinate descent on D: all rows, then all columns."""
    scores = _with_forced(chunk)
    u, v = _wide(prices, scores.shape)
    for _ in range(_DESCENTS):
        u = _descend(scores - v[:, np.newaxis, :], chunk.row_bounds)
        v = _descend((scores - u[:, :, np.newaxis]).swapaxes(1, 2), chunk.column_bounds)
    return Prices(u, v)


def _with_forced(chunk: Chunk) -> Float64Array:
    """Scores with infinities where a choice is forced."""
    scores = chunk.scores
    if chunk.keep is not None:
        scores = np.where(chunk.keep, np.inf, scores)
    if chunk.drop is not None:
        scores = np.where(chunk.drop, -np.inf, scores)
    return scores


def _wide(prices: Prices, shape: tuple[int, ...]) -> tuple[Float64Array, Float64Array]:
    rows = prices.rows.astype(np.float64)
    if prices.columns is None:
        return rows, np.zeros((shape[0], shape[2]))
    return rows, prices.columns.astype(np.float64)


def _worth(prices: Float64Array, bounds: Bounds) -> float:
    least, most = bounds
    return float(np.maximum(least * prices, most * prices).sum())


def _slack(counts: npt.NDArray[np.int64], bounds: Bounds) -> tuple[BoolArray, BoolArray]:
    """Which lines could keep fewer, and which could keep more."""
    least, most = bounds
    return counts > least, counts < most


def _least(values: Float64Array, where: BoolArray, axis: int) -> Float64Array:
    return np.asarray(np.min(values, axis=axis, where=where, initial=np.inf))


def _descend(values: Float64Array, bounds: Bounds) -> Float64Array:
    """Price of each line (last axis) that minimises D while the others stand still."""
    least, most = bounds
    ordered = -np.sort(-values, axis=-1)
    infinite = np.full(values.shape[:-1], np.inf)
    low = ordered[..., most] if most < values.shape[-1] else -infinite
    high = ordered[..., least - 1] if least else infinite
    if least < most:
        return np.asarray(np.clip(0.0, low, high))
    low = np.where(np.isfinite(low), low, high)
    low = np.where(np.isfinite(low), low, 0.0)  # a line without a choice may have any price
    high = np.where(np.isfinite(high), high, low)
    return 0.5 * low + 0.5 * high
