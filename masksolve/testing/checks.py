"""What every backend is put through: one function a demand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..backends import defaults
from ..errors import InfeasibleError
from ..pattern import Pattern
from ..result import MaskResult
from ..solve import solve
from .assess import Case
from .families import FAMILIES
from .oracle import Forced, allowance, cut, kept_sum
from .subject import Subject, instance

PATTERNS = (
    *("1:1-T", "1:3-T", "1:4-T", "2:4-T", "3:4-T", "2:4-T at_most", "1:3-T at_most"),
    *("2:2", "2:4", "2:4 at_most", "3:4 axis=0", "1:4 at_most axis=0"),
    *("3:7-T", "4:8-T", "2:8-T at_most", "4:8", "3:8 at_most", "7:64"),
)
"""Laid on every family of scores."""

LARGE_PATTERNS = ("8:16-T", "5:16-T at_most", "16:32-T")
LARGE_FAMILIES = ("gaussian", "small_integers")

SHAPES = (
    *(("2:4-T", (0, 4)), ("2:4-T", (2, 0, 8)), ("2:4", (3, 0)), ("2:4-T dense", (3, 3))),
    *(("2:4-T", (2, 3, 4, 8)), ("4:8-T", (3, 8, 8)), ("2:4", (12,)), ("1:3 axis=1", (2, 6, 2))),
    *(("2:4-T pad", (7, 9)), ("2:4-T pad", (8, 9)), ("2:4-T pad", (3, 2)), ("2:4-T at_most pad", (5, 6))),
    *(("2:4 x 4:8", (2, 8, 8)), ("2:4 x 4:8 pad", (11, 6)), ("2:4 x 6:8 at_most dense", (9, 6))),
    *(("4:8-T pad", (11, 8)), ("2:4 pad", (2, 7)), ("3:8 pad axis=0", (13, 2))),
    *(("2:4-T dense", (9, 6)), ("2:4 dense", (2, 7)), ("2:3 at_most dense", (4, 8))),
)
"""Batches, vectors, nothing at all, and what m does not divide."""

REPEATED = ("2:4-T", "4:8-T", "2:4", "2:4-T at_most", "4:8", "2:4 x 4:8")
DTYPES = ("bool", "int8", "uint8", "int16", "int64", "uint64", "float16", "float32", "float64")


def _shape(pattern: Pattern, tiles: int = 2) -> tuple[int, int]:
    """Give a pattern a row of tiles, or three times as many groups."""
    if pattern.transposable:
        return pattern.tile_shape[0], tiles * pattern.m
    return (tiles * pattern.m, 3) if pattern.axis in (0, -2) else (3, tiles * pattern.m)


def _examine_family(
    subject: Subject, family: str, pattern: Pattern | str, shape: tuple[int, ...] | None = None
) -> MaskResult | None:
    pattern = Pattern.parse(pattern)
    case, best = instance(family, pattern, shape or _shape(pattern), subject.seed, subject.rounding)
    return subject.examine(replace(case, scores=case.scores.copy()), best)


def check_patterns(subject: Subject, patterns: Sequence[Pattern | str], families: Sequence[str]) -> None:
    """Lay every pattern on every family."""
    for pattern in patterns:
        for family in families:
            _examine_family(subject, family, pattern)


def check_families(subject: Subject) -> None:
    """Ties, zeros, negative scores, extreme scales: every family under the common patterns."""
    check_patterns(subject, PATTERNS, list(FAMILIES))


def check_large_tiles(subject: Subject) -> None:
    """Lay larger patterns on a few families."""
    check_patterns(subject, LARGE_PATTERNS, LARGE_FAMILIES)


def check_shapes(subject: Subject) -> None:
    """Batches, vectors, empty arrays, and shapes that m does not divide."""
    for pattern, shape in SHAPES:
        for family in ("signed", "small_integers"):
            _examine_family(subject, family, pattern, shape)


def check_options(subject: Subject) -> None:
    """Demand that the default values may be given, and that an unknown option is refused by name."""
    nothing = Case("no tiles", np.zeros((0, 0)), Pattern.parse("1:1-T"))
    for option, value in defaults(subject.kind).items():
        replace(subject, options={**subject.options, option: value}).examine(nothing)
    try:
        unknown: Any = {"no_such_option": 1}
        solve(nothing.scores, nothing.pattern, backend=subject.kind.name, **unknown)
    except TypeError as error:
        if "no_such_option" in str(error):
            return
        subject.fail(nothing, f"no_such_option=1 raised {error!r}", error)
    subject.fail(nothing, "no_such_option=1 was not refused")


def check_memory(subject: Subject) -> None:
    """Demand that any strides will do, and memory that must not be written to."""
    whole = np.random.default_rng(subject.seed).standard_normal((16, 32))
    views: dict[str, npt.NDArray[Any]] = {
        "C order": whole,
        "Fortran order": np.asfortranarray(whole),
        "transposed": whole.T,
        "every other row and column, backwards": whole[::-2, ::-2],
        "one row repeated": np.broadcast_to(whole[0], (8, 32)),
    }
    for label, scores in views.items():
        for pattern in ("2:4-T", "4:8-T", "2:4 axis=0"):
            subject.examine(Case(label, scores, Pattern.parse(pattern)))
            locked = scores.view()
            locked.flags.writeable = False
            subject.examine(Case(f"{label}, read-only", locked, Pattern.parse(pattern)))


def check_dtypes(subject: Subject) -> None:
    """Every type of scores that NumPy itself has."""
    for name in DTYPES:
        dtype = np.dtype(name)
        wide = 60.0 * np.random.default_rng(subject.seed).standard_normal((8, 16))
        scores = (wide > 0 if dtype.kind == "b" else np.abs(wide) if dtype.kind == "u" else wide).astype(
            dtype
        )
        for pattern in ("2:4-T", "4:8-T", "4:8"):
            subject.examine(Case("dtypes", scores, Pattern.parse(pattern)))


def check_repetition(subject: Subject) -> None:
    """Demand the same mask, bound and prices of the same call, whatever the number of workers."""
    for text in REPEATED:
        pattern = Pattern.parse(text)
        shape = (4 * pattern.tile_shape[0], 3 * pattern.m)
        for family in ("gaussian", "small_integers"):
            case, best = instance(family, pattern, shape, subject.seed, subject.rounding)
            with subject.chunks_of(pattern.m**2):
                runs = [subject.examine(case, best, workers=workers) for workers in (1, 1, 2, 3)]
            for run, how in zip(runs[1:], ("a second run", "workers=2", "workers=3"), strict=True):
                if not _same(runs[0], run):
                    subject.fail(case, f"{how} gave another mask, bound or prices than the first run")


def _same(one: MaskResult | None, other: MaskResult | None) -> bool:
    if one is None or other is None:
        return one is other
    return (
        np.array_equal(one.mask, other.mask)
        and (one.objective, one.bound) == (other.objective, other.bound)
        and all(map(np.array_equal, _arrays(one), _arrays(other)))
    )


def _arrays(result: MaskResult) -> list[npt.NDArray[Any]]:
    return [prices for prices in result.duals or () if prices is not None]


def check_chunks(subject: Subject) -> None:
    """Demand that what a tile keeps does not depend on the tiles that are handed over with it."""
    for text in REPEATED:
        pattern = Pattern.parse(text)
        shape = (4 * pattern.tile_shape[0], 3 * pattern.m)
        case, best = instance("gaussian", pattern, shape, subject.seed, subject.rounding)
        together = subject.examine(case, best)
        for entries in (1, 5 * pattern.m**2):
            with subject.chunks_of(entries):
                apart = subject.examine(case, best)
            if together is None or apart is None:
                continue
            for number, tile in enumerate(cut(shape, pattern)):
                values = case.scores.astype(np.float64).ravel()[tile.cells]
                sums = [kept_sum(values, run.mask.ravel()[tile.cells]) for run in (together, apart)]
                if abs(sums[0] - sums[1]) > allowance(values, case.scores.dtype, subject.rounding):
                    subject.fail(
                        case,
                        f"tile {number} keeps {sums[0]}, but {sums[1]} where chunks hold {entries} entries",
                    )


def check_forced(subject: Subject) -> None:
    """Demand that forced choices are obeyed and the rest optimal, or a reason for refusing them."""
    rng = np.random.default_rng(subject.seed)
    for text in ("2:4-T", "2:4-T at_most", "1:3-T", "4:8-T", "2:4", "3:8 at_most"):
        pattern = Pattern.parse(text)
        scores = rng.standard_normal(_shape(pattern, 3))
        feasible = _random_mask(rng, scores.shape, pattern)
        keep, drop = feasible & (rng.random(scores.shape) < 0.3), ~feasible & (rng.random(scores.shape) < 0.3)
        for forced in (Forced(keep, drop), Forced(keep), Forced(drop=drop), Forced(feasible, ~feasible)):
            subject.examine(Case("forced choices", scores, pattern, forced))
    _check_infeasible(subject)


def _check_infeasible(subject: Subject) -> None:
    """Demand that forced choices which no mask can meet are refused, naming the tile."""
    keep = np.zeros((4, 12), np.bool_)
    keep[1, 4:7] = True
    case = Case("demands that cannot be met", np.ones((4, 12)), Pattern.parse("2:4-T"), Forced(keep))
    if subject.refusal(case) is not None:
        return
    try:
        subject.solve(case)
    except InfeasibleError as error:
        if error.tile != 1:
            subject.fail(case, f"InfeasibleError names tile {error.tile}; it is tile 1", error)
    except Exception as error:
        subject.fail(case, f"expected InfeasibleError, got {error!r}", error)
    else:
        subject.fail(case, "expected InfeasibleError, got a mask")


def _random_mask(rng: np.random.Generator, shape: tuple[int, ...], pattern: Pattern) -> npt.NDArray[np.bool_]:
    """Shuffle the rows and columns of a cyclic mask, tile by tile."""
    mask = np.zeros(shape, np.bool_)
    for tile in cut(shape, pattern):
        height, width = tile.cells.shape
        row, column = rng.permutation(height)[:, np.newaxis], rng.permutation(width)
        (_, most), (_, below) = tile.row_bounds, tile.column_bounds
        by_rows, by_columns = (column - most * row) % width < most, (row - below * column) % height < below
        mask.ravel()[tile.cells] = by_rows if most * height <= below * width else by_columns
    return mask


def check_warm_start(subject: Subject) -> None:
    """Demand of a solve that starts from an earlier result what is demanded of any other."""
    rng = np.random.default_rng(subject.seed)
    for text in REPEATED:
        pattern = Pattern.parse(text)
        scores = rng.standard_normal(_shape(pattern))
        earlier = solve(scores, pattern, duals=True)
        later = scores + 0.1 * rng.standard_normal(scores.shape)
        subject.examine(Case("warm start", later, pattern), warm_start=earlier)


CHECKS = (
    check_options,
    check_families,
    check_large_tiles,
    check_shapes,
    check_memory,
    check_dtypes,
    check_repetition,
    check_chunks,
    check_forced,
    check_warm_start,
)
