"""The conformance kit: every backend passes it, and backends that are wrong in one way each do not."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import ml_dtypes
import numpy as np
import oracles
import pytest

import masksolve as ms
from masksolve.backends import offering
from masksolve.backends.base import Backend, ChunkBackend, Report
from masksolve.backends.enumeration import Enumerate
from masksolve.backends.exact import Exact
from masksolve.backends.greedy import Greedy
from masksolve.layout import Block, Chunk
from masksolve.testing import FAMILIES, bfloat16_rounded, check_backend, oracle
from masksolve.types import BoolArray, Prices

VARIANTS: list[tuple[str, Mapping[str, Any]]] = [
    *((info.name, {}) for info in ms.backends()),
    ("greedy", {"bound": True}),
    ("cover", {"bound": True}),
    ("exact", {"instruction_set": "baseline"}),
]


def label(value: object) -> str:
    return (
        " ".join(f"{name}={option}" for name, option in value.items())
        if isinstance(value, dict)
        else str(value)
    )


@pytest.mark.parametrize(("name", "options"), VARIANTS, ids=label)
def test_our_backends_conform(name: str, options: Mapping[str, Any]) -> None:
    (info,) = [info for info in ms.backends() if info.name == name]
    if info.unavailable is not None:
        pytest.skip(info.unavailable)
    outcome = check_backend(name, options)
    assert outcome.backend == name
    assert outcome.solves > 200
    assert str(outcome).startswith(f"backend '{name}' conforms: {outcome.solves} solves examined")
    assert ("4:8" in outcome.refused) == (name in ("enumerate", "entropic"))
    assert all(f"refuses {what}: {why}" in str(outcome) for what, why in outcome.refused.items())


def test_further_patterns_are_examined() -> None:
    plain, more = check_backend("exact"), check_backend("exact", patterns=["3:5-T", ms.Pattern(2, 6)], seed=1)
    assert more.solves == plain.solves + 2 * len(FAMILIES)


# Backends that are wrong, each in its own way. Those that derive from ``Right`` solve well otherwise.


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


def place(block: Block, first: int, last: int) -> tuple[Any, ...]:
    return np.unravel_index(np.arange(first, last), block.grid)


class InfeasibleChunks(Chunked):
    def solve_chunk(self, chunk: Chunk) -> BoolArray:
        return np.ones(chunk.scores.shape, np.bool_)


class Infeasible(Right):
    """Keeps one entry more, and counts it."""

    def solve(self, block: Block, first: int, last: int) -> Report:
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


class LoosePrices(Chunked):
    """Optimal masks, and prices that prove nothing."""

    def solve_chunk(self, chunk: Chunk) -> tuple[BoolArray, Prices]:
        tiles, height, width = chunk.scores.shape
        return Enumerate().solve_chunk(chunk), Prices(np.zeros((tiles, height)), np.zeros((tiles, width)))


class NoBound(Right):
    def solve(self, block: Block, first: int, last: int) -> Report:
        return Report(super().solve(block, first, last).objective, np.inf)


class OtherPrices(Right):
    """A true bound that the prices in the result do not give."""

    def solve(self, block: Block, first: int, last: int) -> Report:
        report = super().solve(block, first, last)
        assert block.prices is not None
        block.prices.rows[place(block, first, last)] += 1.0
        return report


class InvalidBound(Greedy):
    """A heuristic that calls its own mask a bound."""

    name = "wrong"

    def solve(self, block: Block, first: int, last: int) -> Report:
        objective = super().solve(block, first, last).objective
        return Report(objective, objective)


class WrongObjective(Right):
    def solve(self, block: Block, first: int, last: int) -> Report:
        report = super().solve(block, first, last)
        return Report(report.objective - 0.01, report.bound)


class Undecided(Chunked):
    """Breaks ties by chance."""

    chance: ClassVar[np.random.Generator] = np.random.default_rng()

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
    """Leaves magnitudes in the caller's array; of what it may not write to it makes a copy."""

    def solve(self, block: Block, first: int, last: int) -> Report:
        if block.scores.flags.writeable and block.scores.dtype.kind == "f":
            report = super().solve(block, first, last)
            block.scores[...] = np.abs(block.scores)
            return report
        return super().solve(block, first, last)


class NeedsWriteable(Right):
    def solve(self, block: Block, first: int, last: int) -> Report:
        if not block.scores.flags.writeable:
            raise ValueError("buffer source array is read-only")
        return super().solve(block, first, last)


class NeedsContiguous(Right):
    """Reads as C order what is not."""

    def solve(self, block: Block, first: int, last: int) -> Report:
        if block.scores.strides[-1] != block.scores.itemsize:
            raise ValueError("ndarray is not C-contiguous")
        return super().solve(block, first, last)


class IgnoresForced(Right):
    def solve(self, block: Block, first: int, last: int) -> Report:
        free = {name: getattr(block, name) for name in block.__dataclass_fields__}
        return super().solve(Block(**{**free, "keep": None, "drop": None}), first, last)


class IgnoresDrop(Right):
    def solve(self, block: Block, first: int, last: int) -> Report:
        free = {name: getattr(block, name) for name in block.__dataclass_fields__}
        return super().solve(Block(**{**free, "drop": None}), first, last)


class WholeTilesOnly(Right):
    """Lets the tiles that an edge cuts have n in every line that is long enough."""

    def solve(self, block: Block, first: int, last: int) -> Report:
        fields = {name: getattr(block, name) for name in block.__dataclass_fields__}
        height, width = block.tile_shape
        if height != width and height > 1 and block.row_bounds[0] == 0 < block.column_bounds[0]:
            fields["column_bounds"] = (0, block.column_bounds[1])
        return super().solve(Block(**fields), first, last)


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
    def solve(self, block: Block, first: int, last: int) -> Report:
        if block.row_bounds[0] == 0:
            raise ms.BackendRefusedError("at_most is too hard")
        return super().solve(block, first, last)


class Fails(Right):
    def solve(self, block: Block, first: int, last: int) -> Report:
        raise ZeroDivisionError("a bug")


class HidesInfeasibility(Right):
    def solve(self, block: Block, first: int, last: int) -> Report:
        try:
            return super().solve(block, first, last)
        except ms.InfeasibleError as error:
            raise RuntimeError("no luck") from error


class NamesTheWrongTile(Right):
    def solve(self, block: Block, first: int, last: int) -> Report:
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


def test_what_the_wrong_ones_derive_from_is_right() -> None:
    assert check_backend(Right).backend == "wrong"
    assert check_backend(Chunked).refused["4:8-T"].startswith("needs m <= 4")


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (InfeasibleChunks, "the solve raised BackendFailedError.*infeasible mask for tile 0"),
        (Infeasible, r"tile 0, row \d keeps \d, expected exactly \d"),
        (Suboptimal, r"it claims exactness, but tile \d keeps .* and its optimum is"),
        (RanksMagnitudes, r"family 'signed'.*tile \d keeps .* and its optimum is"),
        (SinglePrecision, r"family 'nearly_equal'.*tile \d keeps .* and its optimum is"),
        (AlwaysKeepsAll, r"pattern '.* at_most.*tile \d keeps .* and its optimum is"),
        (LoosePrices, "it claims exactness, but its bound .* exceeds the kept sum"),
        (NoBound, "it claims exactness, but its bound inf exceeds the kept sum"),
        (OtherPrices, "bound .* is not the one that the prices give"),
        (InvalidBound, "bound .* is (below the optimum|not the one that the prices give)"),
        (WrongObjective, "objective .* is not the kept sum"),
        (Undecided, "pattern '.*(a second run|workers=.) gave another mask, bound or prices"),
        (DependsOnThreads, "workers=2 gave another mask, bound or prices than the first run"),
        (DependsOnNeighbours, r"tile \d+ keeps .*, but .* where chunks hold 1 entries"),
        (Mutates, "family 'signed'.*the solve changed its input"),
        (NeedsWriteable, "read-only.*the solve raised ValueError.*read-only"),
        (NeedsContiguous, "the solve raised ValueError.*not C-contiguous"),
        (IgnoresForced, "forced choices, pattern '2:4-T'.*keep=, drop=: keep= is not obeyed at index"),
        (IgnoresDrop, "forced choices.*drop=: drop= is not obeyed at index"),
        (WholeTilesOnly, r"pattern '2:4-T pad'.*tile \d, column \d keeps \d, expected exactly 2"),
        (RefusesWithoutReason, "refuses.. must give a reason in words or None, got ''"),
        (RefusesWithFalse, "refuses.. must give a reason in words or None, got False"),
        (RefusesEverything, "refuses everything: .*is not in the mood"),
        (RefusesTooLate, "refuses.. gives None, yet the solve was refused: at_most is too hard"),
        (Fails, "the solve raised ZeroDivisionError.*a bug"),
        (HidesInfeasibility, "expected InfeasibleError, got RuntimeError"),
        (NamesTheWrongTile, "InfeasibleError names tile 0; it is tile 1"),
        (DislikesItsDefault, "raised ValueError.'depth must be positive'"),
        (PromisesNothing, "leaves its attribute guarantee empty"),
        (NeedsAnOption, "its option depth has no default"),
        (Abstract, "it does not define solve"),
        (ms.Pattern, "it is not a subclass of masksolve.backends.base.Backend"),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_wrong_backends_are_caught(kind: Any, message: str) -> None:
    with pytest.raises(AssertionError, match=f"(?s){message}") as caught:
        check_backend(kind)
    assert "wrong" in str(caught.value) or "cannot be a backend" in str(caught.value)


def test_a_message_names_scores_pattern_and_tile() -> None:
    with pytest.raises(AssertionError) as caught:
        check_backend(Suboptimal)
    pattern = (
        r"backend 'wrong', family '\w+', pattern '[^']+', shape \(\d+, \d+\), \w+: "
        r"it claims exactness, but tile \d+ keeps \S+ and its optimum is \S+"
    )
    assert re.fullmatch(pattern, str(caught.value))


def test_unknown_options_must_be_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """No backend can let them through while the registry is right: break the registry."""
    registry = sys.modules["masksolve.backends"]
    select = registry.select
    monkeypatch.setattr(
        sys.modules["masksolve.solve"],
        "select",
        lambda name, problem, options: select(
            name, problem, {k: v for k, v in options.items() if "no_" not in k}
        ),
    )
    with pytest.raises(AssertionError, match="no_such_option=1 was not refused"):
        check_backend(Right)


def test_rounding_that_is_documented_may_be_allowed() -> None:
    with pytest.raises(AssertionError, match="nearly_equal"):
        check_backend(SinglePrecision)
    assert check_backend(SinglePrecision, rounding=1e-6).solves > 200


def test_an_unavailable_backend_is_not_called_wrong() -> None:
    class Missing(Right):
        requires = "no_such_module.inside"

    with pytest.raises(
        ms.BackendUnavailableError, match=r"'wrong' needs no_such_module.inside: pip install no_such_module"
    ):
        check_backend(Missing)


def test_an_offer_ends_with_its_context() -> None:
    with offering(Right), offering(Chunked):
        assert ms.solve(np.eye(4), "1:4-T", backend="wrong").objective == 4.0
        assert "wrong" in [info.name for info in ms.backends()]
    with pytest.raises(ValueError, match="backend must be one of"):
        ms.solve(np.eye(4), "1:4-T", backend="wrong")


# The kit's own oracle


@pytest.mark.parametrize(
    "text",
    ["2:4-T", "2:4-T at_most", "3:4", "2:5 at_most", "2:3-T pad", "2:4 pad axis=0", "1:3-T dense", "2:6-T"],
)
@pytest.mark.parametrize("forced", [False, True])
def test_the_kits_oracle_agrees_with_the_tests_oracles(text: str, forced: bool) -> None:
    rng = np.random.default_rng(len(text))
    pattern = ms.Pattern.parse(text)
    shape = (7, 8) if pattern.remainder != "error" else (2 * pattern.m, 3 * pattern.m)
    scores = rng.standard_normal(shape)
    keep = drop = None
    if forced:
        feasible = oracles.solve(rng.standard_normal(shape), pattern)
        keep, drop = feasible & (rng.random(shape) < 0.2), ~feasible & (rng.random(shape) < 0.2)
    best = oracles.solve(scores, pattern, keep, drop)
    found = oracle.optimum(scores, pattern, oracle.Forced(keep, drop), None)
    tiles = list(oracles.tiles(shape, pattern))
    assert [(t.row_bounds, t.column_bounds) for t in tiles] == [
        (t.row_bounds, t.column_bounds) for t in oracle.cut(shape, pattern)
    ]
    values = [oracles.value(np.atleast_2d(scores[t.place]), np.atleast_2d(best[t.place])) for t in tiles]
    np.testing.assert_allclose(found.low, values, rtol=1e-12)
    np.testing.assert_allclose(found.high, values, rtol=1e-12)


def test_an_optimum_that_is_not_proven_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    greedy = ms.solve
    monkeypatch.setattr(
        oracle, "solve", lambda *a, **k: greedy(*a, **{**k, "backend": "greedy", "bound": True})
    )
    scores = np.random.default_rng(0).standard_normal((16, 16))
    with pytest.raises(AssertionError, match="optimum of tile 0 under '4:8-T' could not be proven"):
        oracle.optimum(scores, ms.Pattern.parse("4:8-T"), oracle.NOTHING, None)


def test_bfloat16_rounding() -> None:
    values = np.random.default_rng(1).standard_normal(10_000, dtype=np.float32)
    values[:4] = [1 + 2**-8, 1 + 3 * 2**-8, -0.0, 2.0**-130]  # ties to even both ways, zero, denormal
    expected = values.astype(ml_dtypes.bfloat16).astype(np.float32)
    np.testing.assert_array_equal(bfloat16_rounded(values), expected)
    assert (bfloat16_rounded(values) != values).any()


def test_the_kit_needs_numpy_alone() -> None:
    code = """
import sys, masksolve
assert "masksolve.testing" not in sys.modules
from masksolve.testing import check_backend
check_backend("greedy")
print(*{name.partition(".")[0] for name in sys.modules})
"""
    ran = subprocess.run([sys.executable, "-O", "-c", code], check=True, capture_output=True, text=True)
    assert set(ran.stdout.split()) & {"pytest", "hypothesis", "scipy", "ml_dtypes", "torch"} == set()
