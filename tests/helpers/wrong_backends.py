"""Backends that are wrong, each in its own way. Those that derive from ``Right`` solve well otherwise."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

import masksolve as ms
from masksolve.backends.base import Backend, ChunkBackend, Report
from masksolve.backends.enumeration import Enumerate
from masksolve.backends.exact import Exact
from masksolve.backends.greedy import Greedy
from masksolve.layout import Chunk
from masksolve.layout.host import HostBlock
from masksolve.types import BoolArray, Prices


class Right(Exact):
    """The compiled engine under another name."""

    name = "wrong"


class Chunked(ChunkBackend):
    """Optimal masks on plain arrays, for patterns that exhaustive search can run."""

    name: ClassVar[str] = "wrong"
    exact: ClassVar[bool] = True
    guarantee: ClassVar[str] = "none"
    runs: ClassVar[str] = "m <= 4, no forced choices"

    def refuses(self, pattern: ms.Pattern, *, forced: bool) -> str | None:
        return "no forced choices" if forced else Enumerate().refuses(pattern, forced=forced)

    def solve_chunk(self, chunk: Chunk) -> BoolArray | tuple[BoolArray, Prices]:
        return Enumerate().solve_chunk(chunk)


def place(block: HostBlock, first: int, last: int) -> tuple[Any, ...]:
    return np.unravel_index(np.arange(first, last), block.grid)


class InfeasibleChunks(Chunked):
    def solve_chunk(self, chunk: Chunk) -> BoolArray:
        return np.ones(chunk.scores.shape, np.bool_)


class Infeasible(Right):
    """Keeps one entry more, and counts it."""

    def solve(self, block: HostBlock, first: int, last: int) -> Report:
        report = super().solve(block, first, last)
        mask = block.mask[0, 0]
        dropped = np.argwhere(~mask)
        if first or not len(dropped):
            return report
        row, column = dropped[0]
        block.mask[0, 0, ..., row, column] = True
        gain = float(block.scores[0, 0, ..., row, column])
        return Report(report.objective + gain, max(report.bound, report.objective + gain))


@dataclass(frozen=True)
class Suboptimal(Greedy):
    """A heuristic that says it is exact; its prices are as good as can be."""

    name: ClassVar[str] = "wrong"
    exact: ClassVar[bool] = True
    bound: bool = True


class RanksMagnitudes(Chunked):
    def solve_chunk(self, chunk: Chunk) -> BoolArray:
        return Enumerate().solve_chunk(magnitudes(chunk))


class SinglePrecision(Chunked):
    def solve_chunk(self, chunk: Chunk) -> BoolArray:
        _, exponent = np.frexp(np.abs(chunk.scores).max(axis=(1, 2), keepdims=True))
        rounded = np.ldexp(chunk.scores, -exponent).astype(np.float32).astype(np.float64)
        return Enumerate().solve_chunk(with_scores(chunk, rounded))


class AlwaysKeepsAll(Chunked):
    """Keeps n where at most n are asked for, even of negative scores."""

    def solve_chunk(self, chunk: Chunk) -> BoolArray:
        most = (chunk.row_bounds[1], chunk.row_bounds[1])
        columns = (chunk.column_bounds[1],) * 2 if chunk.scores.shape[1] > 1 else (0, 1)
        full = Chunk(chunk.scores, None, None, most, columns, chunk.numbers)
        return Enumerate().solve_chunk(full if chunk.scores.shape[2] > 3 else chunk)


def with_scores(chunk: Chunk, scores: np.ndarray) -> Chunk:
    return Chunk(scores, chunk.keep, chunk.drop, chunk.row_bounds, chunk.column_bounds, chunk.numbers)


def magnitudes(chunk: Chunk) -> Chunk:
    return with_scores(chunk, np.abs(chunk.scores))


class NoBound(Right):
    def solve(self, block: HostBlock, first: int, last: int) -> Report:
        return Report(super().solve(block, first, last).objective, np.inf)


class WrongObjective(Right):
    def solve(self, block: HostBlock, first: int, last: int) -> Report:
        report = super().solve(block, first, last)
        return Report(report.objective - 0.01, report.bound)


class Undecided(Chunked):
    """Breaks ties by chance."""

    chance: ClassVar[np.random.Generator] = np.random.default_rng(0)

    def solve_chunk(self, chunk: Chunk) -> BoolArray:
        rows = self.chance.permutation(chunk.scores.shape[1])
        same_bounds = with_scores(chunk, chunk.scores[:, rows])
        mask = Enumerate().solve_chunk(same_bounds)
        return mask[:, np.argsort(rows)]


class DependsOnThreads(Chunked):
    """Breaks ties one way in the main thread and another way in the others."""

    def solve_chunk(self, chunk: Chunk) -> BoolArray:
        if threading.current_thread() is threading.main_thread():
            return Enumerate().solve_chunk(chunk)
        return Enumerate().solve_chunk(with_scores(chunk, chunk.scores[:, :, ::-1]))[:, :, ::-1]


class DependsOnNeighbours(Chunked):
    """Better where tiles come alone."""

    exact: ClassVar[bool] = False

    def solve_chunk(self, chunk: Chunk) -> BoolArray:
        worse = chunk if len(chunk.scores) == 1 else with_scores(chunk, -chunk.scores)
        return Enumerate().solve_chunk(worse)


class Mutates(Right):
    """Lowers what it drops in the caller's array, where it may write, so that its masks stay optimal."""

    def solve(self, block: HostBlock, first: int, last: int) -> Report:
        if block.scores.flags.writeable and block.scores.dtype.kind == "f":
            report = super().solve(block, first, last)
            block.scores[...] = np.where(block.mask, block.scores, block.scores - 1)
            return report
        return super().solve(block, first, last)


class NeedsWriteable(Right):
    def solve(self, block: HostBlock, first: int, last: int) -> Report:
        if not block.scores.flags.writeable:
            raise ValueError("buffer source array is read-only")
        return super().solve(block, first, last)


class NeedsContiguous(Right):
    """Reads as C order what is not."""

    def solve(self, block: HostBlock, first: int, last: int) -> Report:
        if block.scores.strides[-1] != block.scores.itemsize:
            raise ValueError("ndarray is not C-contiguous")
        return super().solve(block, first, last)


class IgnoresForced(Right):
    def solve(self, block: HostBlock, first: int, last: int) -> Report:
        return super().solve(replace(block, keep=None, drop=None), first, last)


class IgnoresDrop(Right):
    def solve(self, block: HostBlock, first: int, last: int) -> Report:
        return super().solve(replace(block, drop=None), first, last)


class WholeTilesOnly(Right):
    """Lets the tiles that an edge cuts have n in every line that is long enough."""

    def solve(self, block: HostBlock, first: int, last: int) -> Report:
        height, width = block.tile_shape
        if height != width and height > 1 and block.row_bounds[0] == 0 < block.column_bounds[0]:
            region = block.region._replace(column_bounds=(0, block.column_bounds[1]))
            return super().solve(replace(block, cut=block.cut._replace(region=region)), first, last)
        return super().solve(block, first, last)


class RefusesWithoutReason(Right):
    def refuses(self, pattern: ms.Pattern, *, forced: bool) -> str | None:
        return "" if pattern.transposable else None


class RefusesWithFalse(Right):
    def refuses(self, pattern: ms.Pattern, *, forced: bool) -> Any:
        return forced


class RefusesEverything(Right):
    def refuses(self, pattern: ms.Pattern, *, forced: bool) -> str | None:
        return "is not in the mood"


class RefusesTooLate(Right):
    def solve(self, block: HostBlock, first: int, last: int) -> Report:
        if block.row_bounds[0] == 0:
            raise ms.BackendRefusedError("at_most is too hard")
        return super().solve(block, first, last)


class Fails(Right):
    def solve(self, block: HostBlock, first: int, last: int) -> Report:
        raise ZeroDivisionError("a bug")


class HidesInfeasibility(Right):
    def solve(self, block: HostBlock, first: int, last: int) -> Report:
        try:
            return super().solve(block, first, last)
        except ms.InfeasibleError as error:
            raise RuntimeError("no luck") from error


class NamesTheWrongTile(Right):
    def solve(self, block: HostBlock, first: int, last: int) -> Report:
        try:
            return super().solve(block, first, last)
        except ms.InfeasibleError as error:
            raise ms.InfeasibleError("somewhere", tile=0, axis="row", index=1) from error


@dataclass(frozen=True)
class DislikesItsDefault(Chunked):
    depth: int = 0

    def __post_init__(self) -> None:
        if self.depth == 0:
            raise ValueError("depth must be positive")


class PromisesNothing(Right):
    guarantee = " "


@dataclass(frozen=True)
class NeedsAnOption(Chunked):
    depth: int

    def solve_chunk(self, chunk: Chunk) -> BoolArray:
        return Enumerate().solve_chunk(chunk)


class Abstract(Backend):
    name: ClassVar[str] = "wrong"
