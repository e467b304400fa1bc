"""Entropy-regularised optimal transport, rounded: the strongest published heuristic for large m."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real
from typing import Any, ClassVar, NamedTuple

import numpy as np

from ..checks import integer
from ..layout import Chunk
from ..pattern import Pattern
from ..types import Prices
from .base import ChunkBackend
from .batched.frame import tiles_first, tiles_last

_LARGEST_TAU = 1e5
"""Beyond it float32 potentials no longer tell close scores apart."""

_RENEW = 20
"""Iterations between two computations of the plan from its potentials."""

_EXPONENT = 60.0
"""Exponents of the plan are cut off here: float32 overflows at 88, and exp(-60) adds nothing."""

_TINY = 1e-20


@dataclass(frozen=True)
class Entropic(ChunkBackend):
    """A fractional mask by Dykstra's scaling, then greedy rounding and best swaps.

    Each tile's plan maximises ``<plan, scores> + H(plan) * largest / tau``, H the entropy, over
    the relaxed masks, where ``largest`` is the tile's largest magnitude. It is found by scaling
    rows, scaling columns and cutting off at 1 in turn, in the log domain and in float32, for which
    arithmetic is more than twice as fast; scores and certificate keep their type. Rounding
    visits a tile's entries from the largest of the plan down and keeps one if its row and its
    column have room. A swap then takes a row i and a column j with room and a kept (k, l), drops
    that and keeps (i, l) and (k, j): always the swap that gains most, until every line is full or,
    under ``"at_most"``, until none gains. Equal entries are visited in row-major order; masks may
    differ between machines and libraries that round ``exp`` and ``log`` differently.
    Everything is computed where the scores are, in their library, all tiles of a chunk at once.

    The potentials of the scaling, divided by ``tau``, are the dual prices that give the bound.

    Parameters
    ----------
    tau : float
        Inverse temperature, for scores scaled to magnitude 1; above 0, at most 1e5. The larger, the
        closer to a mask, and the more iterations are needed: 20, 40, 140 and 300 were found to suit
        30, 100, 300 and 1000 iterations.
    iterations : int
        Rounds of scaling, at least 1.
    swaps : bool
        Whether to swap under ``"at_most"``. Exact masks are completed by swaps in any case.

    References
    ----------
    Meng, Makni, Mazumder. TSENOR: Highly-Efficient Algorithm for Finding Transposable N:M Sparse
    Masks. arXiv 2505.23949.
    """

    tau: float = 200.0
    iterations: int = 300
    swaps: bool = True

    name: ClassVar[str] = "entropic"
    exact: ClassVar[bool] = False
    guarantee: ClassVar[str] = "none; the bound from its own prices says how far off it can be"
    runs: ClassVar[str] = "transposable patterns, exact and at_most; no keep= or drop="
    chunk_entries: ClassVar[int] = 1 << 17
    in_namespace: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if isinstance(self.tau, bool) or not isinstance(self.tau, Real):
            raise TypeError(f"tau must be a number, got {self.tau!r}")
        if not 0 < self.tau <= _LARGEST_TAU:
            raise ValueError(f"tau must be above 0 and at most {_LARGEST_TAU:g}, got {self.tau}")
        if integer("iterations", self.iterations) < 1:
            raise ValueError(f"iterations must be at least 1, got {self.iterations}")
        if not isinstance(self.swaps, bool):
            raise TypeError(f"swaps must be True or False, got {self.swaps!r}")

    def refuses(self, pattern: Pattern, *, forced: bool) -> str | None:
        """Refuse groups along one axis, which need no transport, and forced entries."""
        if not pattern.transposable:
            return f"finds transposable masks only, got '{pattern}'; use backend='exact'"
        if forced:
            return "has no rounding rule for forced entries (keep=, drop=); use backend='exact'"
        return None

    def solve_chunk(self, chunk: Chunk) -> tuple[Any, Prices]:
        """Masks and the prices that the scaling leaves, where the arrays are."""
        xp = np if chunk.xp is None else chunk.xp
        rows = _Lines(*chunk.row_bounds, chunk.scores.shape[1])
        columns = _Lines(*chunk.column_bounds, chunk.scores.shape[2])
        free = rows.least == columns.least == 0
        scores = tiles_last(xp, chunk.scores)
        worth = xp.clip(scores, min=0.0) if free else scores
        largest = xp.max(xp.abs(worth), axis=(0, 1))
        largest = xp.where(largest > 0.0, largest, xp.ones_like(largest))
        kernel = xp.astype(worth / largest * float(self.tau), xp.float32)
        plan, u, v = _transport(xp, kernel, rows, columns, self.iterations, chunk.compiler)
        if free:
            plan = xp.where(scores < 0.0, xp.full_like(plan, -xp.inf), plan)
        mask = _round(xp, plan, rows, columns)
        mask = _swap(xp, mask, scores, rows, columns, gain=free and self.swaps, compiler=chunk.compiler)
        unit = largest / float(self.tau)
        u, v = (tiles_first(xp, xp.astype(part, scores.dtype) * unit) for part in (u, v))
        return tiles_first(xp, mask), _prices(xp, u, v, rows, columns)


class _Lines(NamedTuple):
    """The rows, or the columns, of a tile: least and most kept in each, and their number."""

    least: int
    most: int
    lines: int

    @property
    def room(self) -> int:
        """Entries that the lines may keep together."""
        return self.most * self.lines


def _transport(
    xp: Any,
    kernel: Any,
    rows: _Lines,
    columns: _Lines,
    iterations: int,
    compiler: Callable[..., Any] | None = None,
) -> tuple[Any, Any, Any]:
    """Run Dykstra's scaling; log plan before the cut at 1, row and column potentials.

    The plan is exp(min(0, kernel - u - v)) throughout, because what a cut took away is given back
    before the next one: the potentials are the whole state. The lines of the side that has no more
    room than the other are filled; on the other side a potential stays at 0 where a line has slack.
    Tiles run along the last axis, so that every step is one long vector operation.
    """
    row_slack, column_slack = rows.room > columns.room, columns.room > rows.room
    u = _start(xp, xp.max(kernel, axis=1), row_slack)
    v = _start(xp, xp.max(kernel - u[:, None, :], axis=0), column_slack)
    for done in range(0, iterations, _RENEW):
        scaled = _compiled(_scaled, compiler, xp, rows, columns, min(_RENEW, iterations - done))
        u, v = scaled(kernel, u, v)
    return kernel - u[:, None, :] - v[None, :, :], u, v


def _start(xp: Any, largest: Any, slack: bool) -> Any:
    """Potentials that bring the largest entry of each line to 1, so that no sum underflows."""
    return xp.clip(largest, min=0.0) if slack else largest


@functools.lru_cache(maxsize=64)
def _compiled(
    function: Callable[..., Any], compiler: Callable[..., Any] | None, *constants: Any
) -> Callable[..., Any]:
    """Give a function its first arguments, and compile it once for them if there is a compiler."""
    bound = functools.partial(function, *constants)
    return bound if compiler is None else compiler(bound)


def _scaled(
    xp: Any, rows: _Lines, columns: _Lines, times: int, kernel: Any, u: Any, v: Any
) -> tuple[Any, Any]:
    """Cut, scale the rows, scale the columns, ``times`` times; the new potentials."""
    row_slack, column_slack = rows.room > columns.room, columns.room > rows.room
    one = xp.ones_like(kernel[0, 0, :])  # minimum with a scalar is three times slower in NumPy
    with np.errstate(over="ignore"):  # infinities are cut to 1 and renewed from the potentials
        plan = xp.exp(xp.clip(kernel - u[:, None, :] - v[None, :, :], min=-_EXPONENT, max=_EXPONENT))
        for _ in range(times):
            cut = xp.minimum(plan, one)
            factors, u = _scale(xp, xp.sum(cut, axis=1), u, rows.most, row_slack)
            plan *= factors[:, None, :]
            factors, v = _scale(xp, _weighed(xp, cut, factors), v, columns.most, column_slack)
            plan *= factors
    return u, v


def _weighed(xp: Any, cut: Any, factors: Any) -> Any:
    """Sum a plan's columns after its rows are scaled; NumPy does it in one pass over memory."""
    if xp is np:
        return np.einsum("rct,rt->ct", cut, factors)
    return xp.sum(cut * factors[:, None, :], axis=0)


def _scale(xp: Any, sums: Any, potentials: Any, most: int, slack: bool) -> tuple[Any, Any]:
    """Find the factors that bring the sums to ``most``, and the potentials, raised to match."""
    factors = float(most) / xp.clip(sums, min=_TINY)
    rise = -xp.log(factors)
    if slack:
        rise = xp.maximum(rise, -potentials)
        factors = xp.exp(-rise)
    return factors, potentials + rise


def _prices(xp: Any, u: Any, v: Any, rows: _Lines, columns: _Lines) -> Prices:
    """Prices from scaled potentials; those of lines that may keep nothing are not negative.

    Where rows and columns both have that choice, u + c and v - c serve as well as u and v, and the
    c that levels their minima leaves the least to cut off.
    """
    if rows.least == columns.least == 0:
        shift = (xp.min(v, axis=1, keepdims=True) - xp.min(u, axis=1, keepdims=True)) / 2.0
        u, v = u + shift, v - shift
    return Prices(
        xp.clip(u, min=0.0) if rows.least == 0 else u, xp.clip(v, min=0.0) if columns.least == 0 else v
    )


def _round(xp: Any, plan: Any, rows: _Lines, columns: _Lines) -> Any:
    """Keep entries from the largest down while row and column have room; never those at -inf.

    All tiles take a step together. The array-API standard cannot write to a place that each tile has for
    itself, so room is found and taken by comparing numbers of lines, and masks are put in order at the end.
    """
    height, width, tiles = plan.shape
    flat = tiles_first(xp, xp.reshape(plan, (height * width, tiles)))
    order = tiles_last(xp, xp.astype(xp.argsort(-flat, axis=1, stable=True), xp.int16))
    row_of, column_of = xp.astype(order // width, xp.int8), xp.astype(order % width, xp.int8)
    row_numbers, column_numbers = _numbers(xp, plan)
    row_room = xp.full_like(row_of[:height, :], rows.most)
    column_room = xp.full_like(row_of[:width, :], columns.most)
    kept = []
    for row, column in zip(xp.unstack(row_of), xp.unstack(column_of), strict=True):
        in_row, in_column = row_numbers == row, column_numbers == column
        fits = xp.any(in_row & (row_room > 0), axis=0) & xp.any(in_column & (column_room > 0), axis=0)
        row_room -= xp.astype(in_row & fits, xp.int8)
        column_room -= xp.astype(in_column & fits, xp.int8)
        kept.append(fits)
    mask = xp.take_along_axis(xp.stack(kept), xp.argsort(order, axis=0, stable=True), axis=0)
    return xp.reshape(mask, plan.shape) & (plan > -xp.inf)


def _numbers(xp: Any, tiles: Any) -> tuple[Any, Any]:
    """Numbers of the rows, and of the columns, of tiles (r, c, T), in a column each."""
    rows, columns = (xp.arange(length, dtype=xp.int8, device=tiles.device) for length in tiles.shape[:2])
    return rows[:, None], columns[:, None]


def _swap(
    xp: Any,
    mask: Any,
    scores: Any,
    rows: _Lines,
    columns: _Lines,
    *,
    gain: bool,
    compiler: Callable[..., Any] | None = None,
) -> Any:
    """Swap: tiles with lines below their least until none is, others while it gains.

    A tile in need always has a swap. After rounding, rows R and columns C with room hold all of
    R x C. Take i in R and j in C: a row k that lacks j is full, so it keeps some (k, l) where i has
    nothing, and the swap keeps R x C held.
    """
    find = _compiled(_best_swap, compiler, xp, rows, columns, gain)
    numbers, before = _numbers(xp, mask), []
    while True:
        flips, swapped = find(mask, scores, *numbers)
        if not bool(xp.any(swapped)):
            break
        mask = mask ^ (flips & swapped)
        if compiler is None:  # which would compile anew for every number of tiles
            before.append((mask, swapped))
            places = xp.nonzero(swapped)[0]
            mask, scores = xp.take(mask, places, axis=2), xp.take(scores, places, axis=2)
    for whole, swapped in reversed(before):
        tiles = whole.shape[2]
        rank = xp.cumulative_sum(xp.astype(swapped, xp.int64)) + (tiles - 1)
        places = xp.where(swapped, rank, xp.arange(tiles, dtype=rank.dtype, device=rank.device))
        mask = xp.take(xp.concat([whole, mask], axis=2), places, axis=2)
    return mask


def _best_swap(
    xp: Any,
    rows: _Lines,
    columns: _Lines,
    gain: bool,
    mask: Any,
    scores: Any,
    row_numbers: Any,
    column_numbers: Any,
) -> tuple[Any, Any]:
    """Find the three entries that each tile's best swap turns over, and which tiles are to swap."""
    height, width, tiles = mask.shape
    nothing = xp.full_like(scores, -xp.inf)
    row_counts, column_counts = (xp.sum(xp.astype(mask, xp.int32), axis=axis) for axis in (1, 0))
    from_row = xp.where((row_counts < rows.most)[:, None, :] & ~mask, scores, nothing)
    from_column = xp.where((column_counts < columns.most)[None, :, :] & ~mask, scores, nothing)
    gains = xp.max(from_row, axis=0)[None, :, :] + xp.max(from_column, axis=1)[:, None, :] - scores
    gains = xp.reshape(xp.where(mask, gains, nothing), (height * width, tiles))
    best = xp.argmax(gains, axis=0)
    swapped = xp.any(row_counts < rows.least, axis=0) | xp.any(column_counts < columns.least, axis=0)
    if gain:
        swapped = swapped | (xp.max(gains, axis=0) > 0.0)
    k, other = row_numbers == best // width, column_numbers == best % width
    i = row_numbers == xp.sum(xp.argmax(from_row, axis=0) * xp.astype(other, best.dtype), axis=0)
    j = column_numbers == xp.sum(xp.argmax(from_column, axis=1) * xp.astype(k, best.dtype), axis=0)
    given_up, added = k[:, None, :] & (other | j)[None, :, :], i[:, None, :] & other[None, :, :]
    return given_up | added, swapped
