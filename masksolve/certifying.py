"""A backend's answer for a run of tiles, checked and certified by code that trusts no solver."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from numbers import Real
from typing import Any

import numpy as np
import numpy.typing as npt

from .arrays import dtype_name, is_real
from .backends import finishes, is_built_in, is_trusted
from .backends.base import Backend, ChunkBackend, Report
from .backends.finishing import solve_exactly
from .certificate import Proofs, feasible, price, prove, settle, tolerance_of
from .errors import BackendFailedError
from .frameworks import framework_of
from .layout import Block, Chunk
from .layout.placed import PlacedBlock
from .rounding import total, upper_sum
from .types import BoolArray, Float64Array, Prices

_CLAIM = 1e-9
"""How far, relatively, a backend's own sums may be from ours."""

_OURS = {
    *("tiles", "seconds", "workers", "chosen_because", "open", "unreached", "worst_tile", "worst_gap"),
    *("negative_share", "decided_in_integers", "finished"),
}
"""What ``MaskResult.stats`` says by these names comes from nobody's counts."""


def certified(backend: Backend, block: Block, first: int, last: int) -> Report:
    """Solve tiles ``first`` to ``last`` - 1 of a block, and say what is proven of them.

    Raises
    ------
    BackendFailedError
        If the backend's masks are infeasible, or what it reports of them is not true; names the tile.
    """
    with block.ready(first, last) as run:
        return _ended(backend, partial(_certified, backend), *run)


def solved(backend: Backend, block: Block, first: int, last: int) -> Report:
    """Let a backend write masks that are `judged` later; raises as `certified`, and what the backend does."""
    return _ended(backend, backend.solve, block, first, last)


def _ended(backend: Backend, solve: Callable[[Block, int, int], Report], *run: Any) -> Report:
    """Solve a run of tiles; the generator that asks for it would take StopIteration for its own end."""
    try:
        return solve(*run)
    except StopIteration as error:
        raise BackendFailedError(f"backend '{backend.name}' raised StopIteration") from error


def _certified(backend: Backend, block: Block, first: int, last: int) -> Report:
    if isinstance(block, PlacedBlock):
        report = backend.solve(block, first, last)
        return _Run(backend, block, first, last).finish(report) if report.pending else report
    if isinstance(backend, ChunkBackend):
        with block.arithmetic():
            chunk = block.chunk(first, last)
            # A plug-in may write into what it is given, and must not change what it is judged by.
            given = chunk if is_built_in(type(backend)) else chunk.copy()
            mask, prices, counts = _answer(backend, given)
            return _Run(backend, block, first, last).certify(chunk, mask, prices, counts)
    report = backend.solve(block, first, last)
    if is_trusted(type(backend)) and not report.uncertified:
        return report
    return judged(backend, block, first, last, report)


def judged_later(backend: Backend) -> bool:
    """Whether masks are judged when all are written: a plug-in with a block in hand may write anywhere."""
    return not isinstance(backend, ChunkBackend) and not is_built_in(type(backend))


def judged(backend: Backend, block: Block, first: int, last: int, report: Report) -> Report:
    """Say what is proven of masks that a backend has written into a block, and believe none of its report.

    Raises
    ------
    BackendFailedError
        As `certified`.
    """
    run = _Run(backend, block, first, last)
    if not isinstance(report, Report):
        raise BackendFailedError(
            f"backend '{backend.name}' must return a Report, got {type(report).__name__}"
        )
    counts = _counts_of(backend, report.counts)
    chunk, mask = block.on_host(first, last), _whole_bytes(block.mask_of(first, last))
    run.check_feasible(np, chunk, mask)
    run.check_claims(report, chunk.scores[mask])
    if report.bound == math.inf and not report.uncertified:
        block.write(first, last, mask, None)
        return Report(report.objective, math.inf, counts, open=last - first)
    return run.certify(chunk, mask, None, counts)


def _answer(backend: ChunkBackend, chunk: Chunk) -> tuple[Any, Prices | None, Mapping[str, int]]:
    """Ask a backend for masks, and check that they are masks of the chunk's tiles."""
    answer = backend.solve_chunk(chunk)
    mask, prices, counts, *_ = (*answer, None, None, {}) if isinstance(answer, tuple) else (answer, None, {})
    shape, dtype = getattr(mask, "shape", None), getattr(mask, "dtype", None)
    if (
        shape is None
        or dtype is None
        or framework_of(mask) is not framework_of(chunk.scores)
        or dtype_name(mask) != "bool"
        or tuple(shape) != tuple(chunk.scores.shape)
    ):
        raise BackendFailedError(
            f"backend '{backend.name}' must return masks of bool and shape {tuple(chunk.scores.shape)}, got "
            f"{type(mask).__name__ if dtype is None else dtype} of shape {shape}"
        )
    prices = _prices_of(backend, chunk, prices)
    if not is_built_in(type(backend)):  # a plug-in may hold on to its answer and write into it later
        xp = np if chunk.xp is None else chunk.xp
        mask = xp.asarray(mask, copy=True)
        if prices is not None:
            prices = Prices(*(x if x is None else xp.asarray(x, copy=True) for x in prices))
    if chunk.xp is None:
        mask = _whole_bytes(mask)
    return mask, prices, _counts_of(backend, counts or {})


def _whole_bytes(mask: Any) -> BoolArray:
    """Make every byte 0 or 1: compiled code may have written 255 for True, which adds up to more."""
    return np.asarray(np.asarray(mask).view(np.uint8) != 0)


def _counts_of(backend: Backend, counts: Any) -> Mapping[str, int]:
    """Check that a backend's counts can be added up, under names of its own."""
    if not isinstance(counts, Mapping) or not all(
        isinstance(name, str) and name not in _OURS and isinstance(count, (int, np.integer))
        for name, count in counts.items()
    ):
        raise BackendFailedError(
            f"backend '{backend.name}' must return counts as integers by names other than {sorted(_OURS)}, "
            f"got {counts!r}"
        )
    return counts


def _prices_of(backend: ChunkBackend, chunk: Chunk, prices: Any) -> Prices | None:
    """Check that a backend's prices are some, or none; whether they prove anything is seen later."""
    if prices is None:
        return None
    tiles, height, width = chunk.scores.shape
    parts = tuple(prices) if isinstance(prices, (tuple, list)) else ()
    good = len(parts) == 2 and all(
        (part is None and length == width)
        or (tuple(getattr(part, "shape", ())) == (tiles, length) and is_real(dtype_name(part)))
        for part, length in zip(parts, (height, width), strict=False)
    )
    if not good or parts[0] is None:
        raise BackendFailedError(
            f"backend '{backend.name}' must return prices of shapes {(tiles, height)} and {(tiles, width)} "
            f"with its masks, or none"
        )
    return Prices(*parts)


@dataclass(frozen=True)
class _Run:
    """A run of tiles of a block, as a backend has solved them."""

    backend: Backend
    block: Block
    first: int
    last: int

    def certify(self, chunk: Chunk, mask: Any, prices: Prices | None, counts: Mapping[str, int]) -> Report:
        """Check the masks, write them, and certify them with the prices as they are kept."""
        xp = np if chunk.xp is None else chunk.xp
        self.check_feasible(xp, chunk, mask)
        own = None
        if prices is None:
            host = chunk if chunk.xp is None else self.block.on_host(self.first, self.last)
            prices = own = price(host, np.asarray(self.block.read(mask)))
        kept = self.block.write(self.first, self.last, mask, prices)
        assert kept is not None
        dtype = dtype_name(kept.rows)
        proofs = prove(xp, chunk, mask, kept)
        proven = proofs.proven(tolerance_of(dtype))
        if not bool(xp.all(proven)):
            if own is None and not self.backend.exact:
                return self._left_open(xp, chunk, proofs, proven, counts)
            return self._settle(xp, proofs, proven, own, dtype, counts)
        self.block.record(self.first, self.last, proofs.objective, proofs.bound)
        return Report(*_totals(xp, chunk, proofs), counts)

    def finish(self, report: Report) -> Report:
        """Prove, finish, or give up the tiles of a placed block that its backend left pending."""
        assert isinstance(self.block, PlacedBlock)
        places = np.asarray(report.pending)
        host, mask = self.block.some_on_host(places)
        feasible_ = feasible(np, host, mask)
        prices = price(host, mask)
        settled = settle(host, mask, prices, np.float64 if self.block.problem.double else np.float32)
        objective, bound, open_ = settled.objective.copy(), settled.bound.copy(), settled.open | ~feasible_
        finished = np.flatnonzero(open_)
        for k in finished:
            answer = solve_exactly(host.some([k]))
            objective[k], bound[k], open_[k] = answer.objective, answer.bound, answer.open
            mask[k] = answer.mask
            for part, better in zip(prices, answer.prices, strict=True):
                if part is not None and better is not None:
                    part[k] = better
        self.block.placed.write(places, mask, prices)
        self.block.placed.record(places, objective, bound)
        return _report(
            [report.objective, *objective.tolist()],
            [report.bound, *bound.tolist()],
            {**report.counts, "decided_in_integers": settled.in_integers, "finished": len(finished)},
            host,
            open_,
            settled.gap,
        )

    def check_feasible(self, xp: Any, chunk: Chunk, mask: Any) -> None:
        """Refuse masks that keep wrong counts or disobey forced choices, naming the first such tile."""
        good = feasible(xp, chunk, mask)
        if bool(xp.all(good)):
            return
        tile = int(np.argmin(np.asarray(self.block.read(good))))
        raise BackendFailedError(
            f"backend '{self.backend.name}' returned an infeasible mask for tile {chunk.numbers[tile]}; "
            f"use backend='exact'"
        )

    def check_claims(self, report: Report, kept: Float64Array) -> None:
        """Refuse a report that is not true of masks which keep these scores."""
        objective, allowed = math.fsum(kept.tolist()), _CLAIM * math.fsum(np.abs(kept).tolist())
        where = f"for tiles {self.block.number(self.first)} to {self.block.number(self.last - 1)}"
        said = f"backend '{self.backend.name}' reported"
        for name, value in (("objective", report.objective), ("bound", report.bound)):
            if not isinstance(value, Real):
                raise BackendFailedError(f"{said} {value!r} as {name} {where}, which is no number")
        if not abs(report.objective - objective) <= allowed:
            raise BackendFailedError(
                f"{said} an objective of {report.objective} {where}, its masks keep {objective}"
            )
        if not report.bound >= report.objective - allowed:
            raise BackendFailedError(
                f"{said} a bound of {report.bound} {where}, below its objective {report.objective}"
            )

    def _left_open(
        self, xp: Any, chunk: Chunk, proofs: Proofs, proven: Any, counts: Mapping[str, int]
    ) -> Report:
        """Report what a heuristic's own prices prove: its masks are not expected to be optimal.

        Everything stays where the arrays are but the sums, and the tile whose gap is largest.
        """
        self.block.record(self.first, self.last, proofs.objective, proofs.bound)
        gap = xp.where(proven, -xp.ones_like(proofs.scale), proofs.gap(xp))
        worst = int(xp.argmax(gap))
        return Report(
            *_totals(xp, chunk, proofs),
            counts,
            open=int(xp.sum(xp.astype(~proven, xp.int64))),
            worst_tile=chunk.numbers[worst],
            worst_gap=float(gap[worst]),
        )

    def _settle(
        self, xp: Any, proofs: Proofs, proven: Any, own: Prices | None, dtype: str, counts: Mapping[str, int]
    ) -> Report:
        """Prove, finish, or give up the tiles that the prices leave open."""
        parts = (proofs.objective, proofs.bound, proofs.gap(xp))
        objective, bound, gap = (np.array(self.block.read(part)) for part in parts)
        open_ = np.flatnonzero(~np.asarray(self.block.read(proven)))
        host = self.block.on_host(self.first, self.last).some(open_)
        mask = np.asarray(self.block.mask_of(self.first, self.last))[open_]
        prices = price(host, mask) if own is None else own.some(open_)
        settled = settle(host, mask, prices, dtype)
        counts = {**counts, "decided_in_integers": settled.in_integers, "finished": 0}
        still = settled.open.copy()
        for k, tile in enumerate(open_):
            better: tuple[Any, Prices] | None = None
            if settled.bound[k] < bound[tile] or not still[k]:
                objective[tile], bound[tile] = settled.objective[k], settled.bound[k]
                gap[tile] = settled.gap[k]
                better = mask[k], prices.tile(k)
            if still[k] and finishes(type(self.backend)):
                answer = solve_exactly(host.some([k]))
                objective[tile], bound[tile], still[k] = answer.objective, answer.bound, answer.open
                better = answer.mask, answer.prices
                counts["finished"] += 1
            if better is not None:
                self.block.amend(self.first + int(tile), *better)
        self.block.record(self.first, self.last, objective, bound)
        return _report(objective.tolist(), bound.tolist(), counts, host, still, gap[open_])


def _report(
    objectives: list[float],
    bounds: list[float],
    counts: Mapping[str, int],
    left: Chunk,
    open_: npt.NDArray[np.bool_],
    gap: npt.NDArray[np.float64],
) -> Report:
    """Sum up tiles; of those that had been left unproven, say which stayed open with the largest gap."""
    if not open_.any():
        return Report(math.fsum(objectives), upper_sum(bounds), counts)
    worst = int(np.argmax(np.where(open_, gap, -1.0)))
    return Report(
        math.fsum(objectives),
        upper_sum(bounds),
        counts,
        open=int(open_.sum()),
        worst_tile=left.numbers[worst],
        worst_gap=float(gap[worst]),
    )


def _totals(xp: Any, chunk: Chunk, proofs: Proofs) -> tuple[float, float]:
    """Sum of the objectives, and of the bounds, rounded upwards."""
    if chunk.xp is None:
        return math.fsum(proofs.objective.tolist()), upper_sum(proofs.bound.tolist())
    return total(xp, proofs.objective)[0], total(xp, proofs.bound)[1]
