"""Entropy-regularised optimal transport, rounded: the strongest published heuristic for large m."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from typing import ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from ..checks import integer
from ..layout import Chunk
from ..pattern import Pattern
from ..types import BoolArray, Float64Array, Prices
from .base import ChunkBackend

Float32Array = npt.NDArray[np.float32]

_LARGEST_TAU = 1e5
"""Beyond it float32 potentials no longer tell close scores apart."""

_RENEW = 20
"""Iterations between two computations of the plan from its potentials."""

_EXPONENT = np.float32(60.0)
"""Exponents of the plan are cut off here: float32 overflows at 88, and exp(-60) adds nothing."""

_TINY = np.float32(1e-20)


@dataclass(frozen=True)
class Entropic(ChunkBackend):
    """A fractional mask by Dykstra's scaling, then greedy rounding and best swaps.

    Each tile's plan maximises ``<plan, scores> + H(plan) * largest / tau``, H the entropy, over
    the relaxed masks, where ``largest`` is the tile's largest magnitude. It is found by scaling
    rows, scaling columns and cutting off at 1 in turn, in the log domain and in float32, for which
    NumPy's arithmetic is more than twice as fast; scores and certificate stay float64. Rounding
    visits a tile's entries from the largest of the plan down and keeps one if its row and its
    column have room. A swap then takes a row i and a column j with room and a kept (k, l), drops
    that and keeps (i, l) and (k, j): always the swap that gains most, until every line is full or,
    under ``"at_most"``, until none gains. Equal entries are visited in row-major order; masks may
    differ between machines whose NumPy rounds ``exp`` and ``log`` differently.

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

    def solve_chunk(self, chunk: Chunk) -> tuple[BoolArray, Prices]:
        """Masks and the prices that the scaling leaves."""
        rows = _Lines(*chunk.row_bounds, chunk.scores.shape[1])
        columns = _Lines(*chunk.column_bounds, chunk.scores.shape[2])
        free = rows.least == columns.least == 0
        worth = np.maximum(chunk.scores, 0.0) if free else chunk.scores
        largest = np.abs(worth).max(axis=(1, 2), keepdims=True)
        largest[largest == 0.0] = 1.0
        kernel = (worth / largest * self.tau).astype(np.float32)
        plan, u, v = _transport(kernel, rows, columns, self.iterations)
        if free:
            plan[chunk.scores < 0.0] = -np.inf
        mask = _round(plan, rows, columns)
        _swap(mask, chunk.scores, rows, columns, gain=free and self.swaps)
        unit = largest[:, 0] / self.tau
        return mask, _prices(u * unit, v * unit, rows, columns)


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
    kernel: Float32Array, rows: _Lines, columns: _Lines, iterations: int
) -> tuple[Float32Array, Float64Array, Float64Array]:
    """Run Dykstra's scaling; log plan before the cut at 1, row and column potentials.

    The plan is exp(min(0, kernel - u - v)) throughout, because what a cut took away is given back
    before the next one: the potentials are the whole state. The lines of the side that has no more
    room than the other are filled; on the other side a potential stays at 0 where a line has slack.
    Tiles run along the last axis, so that every step is one long vector operation.
    """
    kernel = np.ascontiguousarray(kernel.transpose(1, 2, 0))
    row_slack, column_slack = rows.room > columns.room, columns.room > rows.room
    u = _start(kernel.max(axis=1), row_slack)
    v = _start((kernel - u[:, np.newaxis]).max(axis=0), column_slack)
    plan, cut = np.empty_like(kernel), np.empty_like(kernel)
    one = np.ones(kernel.shape[2], np.float32)  # an array: minimum with a scalar is three times slower
    with np.errstate(over="ignore"):  # infinities are cut to 1 and renewed from the potentials
        for done in range(0, iterations, _RENEW):
            np.exp(np.clip(_reduced(kernel, u, v, out=plan), -_EXPONENT, _EXPONENT, out=plan), out=plan)
            for _ in range(min(_RENEW, iterations - done)):
                np.minimum(plan, one, out=cut)
                factors = _scale(cut.sum(axis=1), u, rows.most, row_slack)
                plan *= factors[:, np.newaxis]
                plan *= _scale(np.einsum("rct,rt->ct", cut, factors), v, columns.most, column_slack)
    plan = _reduced(kernel, u, v, out=plan).transpose(2, 0, 1)
    return plan, u.T.astype(np.float64), v.T.astype(np.float64)


def _start(largest: Float32Array, slack: bool) -> Float32Array:
    """Potentials that bring the largest entry of each line to 1, so that no sum underflows."""
    return largest.clip(0.0) if slack else largest


def _reduced(kernel: Float32Array, u: Float32Array, v: Float32Array, out: Float32Array) -> Float32Array:
    np.subtract(kernel, u[:, np.newaxis], out=out)
    out -= v
    return out


def _scale(sums: Float32Array, potentials: Float32Array, most: int, slack: bool) -> Float32Array:
    """Return the factors that bring the sums to ``most``; raise the potentials, in place, to match."""
    factors = np.maximum(sums, _TINY)
    np.divide(most, factors, out=factors)
    rise = -np.log(factors)
    if slack:
        rise = np.maximum(rise, -potentials)
        factors = np.exp(-rise)
    potentials += rise
    return factors


def _prices(u: Float64Array, v: Float64Array, rows: _Lines, columns: _Lines) -> Prices:
    """Prices from scaled potentials; those of lines that may keep nothing are not negative.

    Where rows and columns both have that choice, u + c and v - c serve as well as u and v, and the
    c that levels their minima leaves the least to cut off.
    """
    if rows.least == columns.least == 0:
        shift = (v.min(axis=1, keepdims=True) - u.min(axis=1, keepdims=True)) / 2
        u, v = u + shift, v - shift
    return Prices(
        np.maximum(u, 0.0) if rows.least == 0 else u, np.maximum(v, 0.0) if columns.least == 0 else v
    )


def _round(plan: Float32Array, rows: _Lines, columns: _Lines) -> BoolArray:
    """Keep entries from the largest down while row and column have room; never those at -inf."""
    tiles, height, width = plan.shape
    flat = plan.reshape(tiles, -1)
    order = np.argsort(-flat, axis=1, kind="stable").T
    mask = np.zeros(flat.shape, np.bool_)
    row_room = np.full((tiles, height), rows.most, np.int8)
    column_room = np.full((tiles, width), columns.most, np.int8)
    number = np.arange(tiles)
    for entry in np.ascontiguousarray(order):
        i, j = np.divmod(entry, width)
        fits = (row_room[number, i] > 0) & (column_room[number, j] > 0)
        mask[number, entry] = fits
        row_room[number, i] -= fits
        column_room[number, j] -= fits
    mask &= flat > -np.inf
    return mask.reshape(plan.shape)


def _swap(mask: BoolArray, scores: Float64Array, rows: _Lines, columns: _Lines, *, gain: bool) -> None:
    """Swap in place: tiles with lines below their least until none is, others while it gains.

    A tile in need always has a swap. After rounding, rows R and columns C with room hold all of
    R x C. Take i in R and j in C: a row k that lacks j is full, so it keeps some (k, l) where i has
    nothing, and the swap keeps R x C held.
    """
    active = np.arange(len(mask))
    while len(active):
        kept, worth = mask[active], scores[active]
        row_counts, column_counts = kept.sum(axis=2), kept.sum(axis=1)
        needs = (row_counts < rows.least).any(axis=1) | (column_counts < columns.least).any(axis=1)
        from_row = np.where((row_counts < rows.most)[:, :, np.newaxis] & ~kept, worth, -np.inf)
        from_column = np.where((column_counts < columns.most)[:, np.newaxis] & ~kept, worth, -np.inf)
        gains = from_row.max(axis=1)[:, np.newaxis] + from_column.max(axis=2)[:, :, np.newaxis] - worth
        gains[~kept] = -np.inf
        best = gains.reshape(len(active), -1).argmax(axis=1)
        k, other = np.divmod(best, worth.shape[2])
        number = np.arange(len(active))
        swapped = needs | (gain & (gains[number, k, other] > 0.0))
        i, j = from_row.argmax(axis=1)[number, other], from_column.argmax(axis=2)[number, k]
        for row, column, keep in ((k, other, False), (i, other, True), (k, j, True)):
            mask[active[swapped], row[swapped], column[swapped]] = keep
        active = active[swapped]
