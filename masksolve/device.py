"""Problems whose arrays stay where they are: on an accelerator, in their framework's namespace.

`solve` runs them along the same line as any other: `DeviceProblem` for the problem, `DeviceLayout`
for the tiles. Not every namespace can write through views, so a block collects its answers chunk by
chunk, and the layout joins them at the end.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np

from .frameworks import Framework, array_api_compat, framework_of
from .backends.base import Report
from .backends.feasibility import failure
from .errors import BackendFailedError
from .pattern import Pattern
from .problem import LARGEST_SINGLE, LARGEST_SUM, BoolArray, MaskProblem, check_forced, check_shape, is_real
from .tiles import Bounds, Chunk, Prices, tails
from .backends.batched import Tiles, certify, feasible, solve_tiles

_DOUBLE = {"int32", "int64", "uint32", "uint64", "float64"}


@dataclass(frozen=True, eq=False)
class DeviceProblem(MaskProblem):
    """A problem whose ``scores``, ``keep`` and ``drop`` are arrays of one ``framework``."""

    framework: Framework = field(kw_only=True)

    on_device: ClassVar[bool] = True

    @classmethod
    def of(
        cls, framework: Framework, scores: Any, pattern: Pattern | str, keep: Any, drop: Any
    ) -> DeviceProblem:
        """Validate the caller's arguments as `MaskProblem.check` does, without reading the scores."""
        pattern = Pattern.parse(pattern)
        array = framework.native("scores", scores)
        xp = framework.namespace(array)
        if not is_real(_dtype_name(array)):
            raise TypeError(f"scores must hold real numbers, got dtype {array.dtype}")
        check_shape("scores", tuple(array.shape), pattern)
        problem = cls(
            scores=array,
            pattern=pattern,
            keep=_forced(xp, framework, "keep", keep, array),
            drop=_forced(xp, framework, "drop", drop, array),
            largest=math.inf,
            checked=False,
            framework=framework,
        )
        problem._check_forced()
        return problem

    @property
    def xp(self) -> Any:
        """The array-API namespace of the arrays."""
        return self.framework.namespace(self.scores)

    @property
    def double(self) -> bool:
        """Whether float32 does not hold every score exactly, or not sums of them."""
        return _dtype_name(self.scores) in _DOUBLE or self.largest > LARGEST_SINGLE

    def read(self) -> DeviceProblem:
        """Read the scores on their device; on the host only if one of them must be pointed at."""
        if self.checked:
            return self
        xp, size = self.xp, math.prod(self.scores.shape)
        largest = 0.0
        if size:
            with self.framework.double_precision():
                floating = _dtype_name(self.scores).startswith(("float", "bfloat"))
                values = self.scores if floating else xp.astype(self.scores, xp.float64)
                largest = max(float(xp.max(values)), -float(xp.min(values)))
        if not largest * size <= LARGEST_SUM:
            MaskProblem.check(self.framework.to_numpy("scores", self.scores), self.pattern)
        return replace(self, largest=largest, checked=True)

    def _check_forced(self) -> None:
        """Refuse contradictions; they are looked for on the device and described on the host."""
        if self.drop is None:
            return
        xp = self.xp
        wrong = [] if self.keep is None else [xp.any(self.keep & self.drop)]
        wrong += [xp.any(tail) for tail in tails(grouped(xp, self.drop, self.pattern), self.pattern)]
        if any(bool(each) for each in wrong):
            scores = np.broadcast_to(np.float32(0), tuple(self.scores.shape))
            MaskProblem.check(scores, self.pattern, self.keep, self.drop)


@dataclass(eq=False)
class DeviceBlock:
    """Equal tiles on a device; what a backend sees of a `masksolve.tiles.Block`, it sees here.

    ``scores``, ``keep`` and ``drop`` are (tiles, r, c), ``start`` is (tiles, r) and (tiles, c); ``grid``
    is the shape in which the tiles lie, ``corner`` and ``whole_grid`` are as in `masksolve.tiles.Block`.
    """

    problem: DeviceProblem
    scores: Any
    keep: Any | None
    drop: Any | None
    start: Prices | None
    row_bounds: Bounds
    column_bounds: Bounds
    grid: tuple[int, ...]
    corner: tuple[int, ...]
    whole_grid: tuple[int, ...]
    answers: dict[int, tuple[Any, Any, Any]] = field(default_factory=dict)

    @property
    def tile_shape(self) -> tuple[int, int]:
        """Rows and columns of a tile."""
        return self.scores.shape[1], self.scores.shape[2]

    @property
    def tiles(self) -> int:
        """Number of tiles."""
        return int(self.scores.shape[0])

    def solve(self, first: int, last: int, rounds: int) -> Report:
        """Solve tiles ``first`` to ``last`` - 1 where they are."""
        xp = self.problem.xp
        with self.problem.framework.double_precision():
            tiles = self._tiles(first, last)
            start = self._start(first, last, tiles.scores)
            compiler = self.problem.framework.compiler()
            answer = solve_tiles(xp, tiles, start=start, rounds=rounds, compiler=compiler)
            if not bool(xp.all(answer.solved)):
                place = first + int(xp.argmin(xp.astype(answer.solved, xp.int8)))
                raise failure("batched", self.gather(place, place + 1), "it found no augmenting path")
            if not bool(xp.all(feasible(xp, tiles, answer.mask))):
                raise BackendFailedError("backend 'batched' returned an infeasible mask; use backend='exact'")
            self.answers[first] = answer.mask, answer.rows, answer.columns
            sums = certify(xp, tiles, answer.mask, answer.rows, answer.columns)
            objective, bound = (float(xp.sum(each)) for each in sums)
        return Report(objective, bound, counts={"passes": answer.passes, "steps": answer.steps})

    def gather(self, first: int, last: int) -> Chunk:
        """Copy tiles to the host: for error messages, and for tiles that time did not reach."""
        read = self.problem.framework.to_numpy
        keep, drop = (None if x is None else read("", x[first:last, ...]) for x in (self.keep, self.drop))
        place = np.unravel_index(np.arange(first, last), self.grid)
        whole = tuple(along + begin for along, begin in zip(place, self.corner, strict=True))
        return Chunk(
            scores=np.asarray(read("scores", self.scores[first:last, ...]), dtype=np.float64),
            keep=keep,
            drop=drop,
            row_bounds=self.row_bounds,
            column_bounds=self.column_bounds,
            numbers=np.ravel_multi_index(whole, self.whole_grid).tolist(),
        )

    def scatter(self, first: int, last: int, mask: BoolArray, prices: Prices) -> Prices:
        """Bring masks and prices from the host."""
        kept = prices.rounded(np.float64 if self.problem.double else np.float32)
        columns = np.zeros((last - first, self.tile_shape[1])) if kept.columns is None else kept.columns
        with self.problem.framework.double_precision():
            send = [self.problem.framework.from_numpy(x, self.scores) for x in (mask, kept.rows, columns)]
        self.answers[first] = send[0], send[1], send[2]
        return kept

    def _start(self, first: int, last: int, scores: Any) -> tuple[Any, Any] | None:
        if self.start is None or self.start.columns is None:  # groups are ranked, without prices
            return None
        parts: list[Any] = list(self.start)
        rows, columns = (self.problem.xp.astype(part[first:last, ...], scores.dtype) for part in parts)
        return rows, columns

    def _tiles(self, first: int, last: int) -> Tiles:
        xp = self.problem.xp
        scores = xp.astype(self.scores[first:last, ...], xp.float64 if self.problem.double else xp.float32)
        keep, drop = (None if x is None else x[first:last, ...] for x in (self.keep, self.drop))
        return Tiles(scores, self.row_bounds, self.column_bounds, keep, drop)


def grouped(xp: Any, array: Any, pattern: Pattern) -> Any:
    """View with the grouped axis last and at least two axes: (..., R, C) or (..., 1, L)."""
    return array if pattern.transposable else xp.moveaxis(array, pattern.axis, -1)[..., None, :]


def _forced(xp: Any, framework: Framework, name: str, value: Any, scores: Any) -> Any | None:
    """Put a forced choice beside the scores; `masksolve.problem` checks what lies on the host."""
    shape = tuple(scores.shape)
    if framework_of(value) is not framework:
        checked = check_forced(name, value, shape)
        return None if checked is None else framework.from_numpy(checked, scores)
    array = framework.native(name, value)
    if _dtype_name(array) != "bool":
        raise TypeError(f"{name} must be boolean (True and False), got dtype {array.dtype}")
    device = array_api_compat().device
    if device(array) != device(scores):
        raise ValueError(f"{name} must be on the device of scores, {device(scores)}, got {device(array)}")
    try:
        return xp.broadcast_to(array, shape)
    except (RuntimeError, ValueError):
        raise ValueError(
            f"{name} must be broadcastable to the shape of scores {shape}, got shape {tuple(array.shape)}"
        ) from None


def _dtype_name(array: Any) -> str:
    return str(array.dtype).rpartition(".")[2]
