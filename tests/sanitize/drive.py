"""Drives the compiled core over random shapes, dtypes, layouts and options; see .ci/sanitize.

Memory errors are the sanitizers' to find; here every mask and bound is checked as well, so that
the cases are known to have run. Usage: ``drive.py [cases]``.
"""

from __future__ import annotations

import math
import sys
import warnings
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

import masksolve as ms
from masksolve._ext import tiles
from masksolve._ext.tiles import instruction_sets, solve_greedy
from masksolve.layout.host import HostLayout
from masksolve.problem import MaskProblem

warnings.simplefilter("ignore", ms.SignedScoresWarning)  # many of the scores drawn are signed

Array = npt.NDArray[Any]

DTYPES = (np.float32, np.float64, np.float16, ml_dtypes.bfloat16, np.int8, np.uint8, np.int16, np.uint16,
          np.int32, np.uint32, np.int64, np.uint64, np.bool_)  # fmt: skip
GROUPS = (1, 2, 3, 4, 4, 5, 7, 8, 8, 10, 16, 16, 24, 31, 32, 32, 33, 48, 63, 64)


def magnitudes(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Values of a random family, signed half of the time."""
    families: tuple[Callable[[], Array], ...] = (
        lambda: rng.standard_normal(shape),
        lambda: rng.integers(-3, 4, shape).astype(np.float64),
        lambda: np.ones(shape),
        lambda: np.zeros(shape),
        lambda: rng.standard_normal(shape) * (rng.random(shape) < 0.1),
        lambda: rng.standard_normal(shape) * 1e30,
        lambda: rng.standard_normal(shape) * 1e-40,
        lambda: np.exp(10 * rng.standard_normal(shape)),
        lambda: np.where(rng.random(shape) < 0.2, -1e20, rng.standard_normal(shape)),
        lambda: np.exp(rng.uniform(-80, 80, shape)),
    )
    values = families[rng.integers(len(families))]()
    return values if rng.random() < 0.5 else np.abs(values)


def convert(values: Array, dtype: npt.DTypeLike) -> Array:
    """The values in a dtype, brought into its range first."""
    kind = np.dtype(dtype)
    if kind == np.bool_:
        return values > 0.5
    if kind.kind in "iu":
        limits = np.iinfo(kind)
        scaled = values / (np.abs(values).max(initial=0.0) or 1.0) * (limits.max // 4)
        return np.maximum(scaled, limits.min).astype(kind)
    limit = float(ml_dtypes.finfo(kind).max) / 2
    return np.clip(values, -limit, limit).astype(kind)


def lay(values: Array, layout: int) -> Array:
    """The same values elsewhere in memory: transposed, with gaps, backwards, unaligned, broadcast."""
    if layout == 0:
        return values
    if layout == 1:
        return np.asfortranarray(values)
    if layout == 2:
        wide = np.empty((*values.shape[:-2], 2 * values.shape[-2], 3 * values.shape[-1]), values.dtype)
        view = wide[..., 1::2, 2::3]
    elif layout == 3:
        view = np.empty_like(values)[..., ::-1, ::-1]
    elif layout == 4:
        raw = np.empty(values.nbytes + 1, np.uint8)
        view = raw[1:].view(values.dtype).reshape(values.shape)
    else:
        return np.broadcast_to(values[..., :1, :], values.shape)
    view[...] = values
    return view


def draw(rng: np.random.Generator) -> tuple[Array, ms.Pattern, dict[str, Any]]:
    """A random problem."""
    m = int(rng.choice(GROUPS))
    transposable = bool(rng.random() < 0.7)
    pattern = ms.Pattern(
        int(rng.integers(1, m + 1)),
        m,
        transposable=transposable,
        axis=-1 if transposable else int(rng.choice([-1, -2])),
        constraint="at_most" if rng.random() < 0.3 else "exact",
        remainder=("error", "pad", "dense")[rng.integers(3)],
    )
    sides = rng.integers(0 if rng.random() < 0.1 else 1, 1 + max(3, 160 // m), 2) * m
    if pattern.remainder != "error":
        sides += rng.integers(0, m + 1, 2)
    lead = tuple(rng.integers(1, 3, rng.integers(0, 3)))
    shape = (*lead, *(int(side) for side in sides))
    values = convert(magnitudes(rng, shape), DTYPES[rng.integers(len(DTYPES))])
    scores = lay(values, int(rng.integers(6)) if values.size else 0)
    options: dict[str, Any] = {"workers": int(rng.integers(1, 3)), "duals": (None, True)[rng.integers(2)]}
    if pattern.remainder != "dense" and rng.random() < 0.25:
        options["keep"] = lay(rng.random(shape) < 0.05, int(rng.integers(5)))
        options["drop"] = ~options["keep"] & (rng.random(shape) < 0.05)
    return scores, pattern, options


def draw_columns(rng: np.random.Generator) -> tuple[Array, ms.Pattern, dict[str, Any]]:
    """A random problem of V:N:M, half of the time with forced choices."""
    m, vector = int(rng.choice([4, 5, 8, 16, 17, 33, 64])), int(rng.integers(1, 20))
    pattern = ms.Pattern(
        2,
        m,
        vector=vector,
        constraint=("exact", "at_most")[rng.integers(2)],
        remainder=("pad", "dense")[rng.integers(2)],
    )
    shape = (int(rng.integers(0, 3 * vector)), int(rng.integers(0, 3 * m)))
    scores = lay(convert(magnitudes(rng, shape), DTYPES[rng.integers(len(DTYPES))]), 0)
    options: dict[str, Any] = {"workers": int(rng.integers(1, 3)), "most": int(rng.choice([0, 50, 20_000]))}
    if pattern.remainder != "dense" and rng.random() < 0.5:
        options["keep"] = rng.random(shape) < 0.02
        options["drop"] = ~options["keep"] & (rng.random(shape) < rng.choice([0.05, 0.5]))
    return scores, pattern, options


def solve(backend: str, scores: Array, pattern: ms.Pattern, options: dict[str, Any]) -> ms.MaskResult | None:
    """Solve and check; None if the backend refuses or forced choices admit no mask."""
    try:
        result = ms.solve(scores, pattern, backend=backend, **options)
    except (ms.BackendRefusedError, ms.InfeasibleError):
        return None
    check = ms.verify(result.mask, pattern)
    if not check.ok:
        raise AssertionError(f"{backend}: {check}")
    slack = 1e-5 * float(np.sum(np.abs(scores.astype(np.float64))))
    if not result.objective <= result.bound + slack:
        raise AssertionError(f"{backend}: objective above its bound: {result!r}")
    return result


def engines() -> list[tuple[str, dict[str, Any]]]:
    """Compiled backends with the options that make them run different code."""
    running = [name for name, runs in instruction_sets().items() if runs]
    return [("greedy", {}), ("cover", {})] + [("exact", {"instruction_set": name}) for name in running]


def solve_with_score_rules(rng: np.random.Generator, scores: Array, pattern: ms.Pattern) -> None:
    """The engine and the heuristics themselves, with a rule for scores and sums tile by tile."""
    problem = MaskProblem.of(scores, pattern).read()
    for block in HostLayout(problem, prices=False).blocks:
        objective, bound = np.zeros((2, *block.grid))
        part = replace(
            block,
            score=("magnitude", "square")[rng.integers(2)],
            largest=min(block.largest, 1e140),
            tile_objective=objective,
            tile_bound=bound,
        )
        for instruction_set, runs in instruction_sets().items():
            if runs:
                tiles.solve_tiles(part, 0, part.tiles, instruction_set)
        solve_greedy(part, 0, part.tiles)


def count() -> None:
    """Count masks, with and without conjugates and turns."""
    for n, m in ((1, 2), (2, 5), (3, 7), (4, 8), (5, 10), (7, 14)):
        number = ms.diversity.count(f"{n}:{m}-T", (m, m), workers=2)
        mirrored = ms.diversity.count(f"{m - n}:{m}-T", (m, m))
        if number != mirrored or number % math.comb(m, n):
            raise AssertionError(f"{n}:{m}-T: {number} and {mirrored} masks")


def drive(seed: int) -> Counter[str]:
    """Solve one random problem by every compiled backend; how many times each of them solved it."""
    solved: Counter[str] = Counter()
    scores, pattern, options = draw(np.random.default_rng(seed))
    if pattern.remainder != "dense" and scores.size:
        solve_with_score_rules(np.random.default_rng(seed), scores, pattern)
    masks: dict[str, Array] = {}
    for backend, variant in engines():
        try:
            result = solve(backend, scores, pattern, options | variant)
            if result is None:
                continue
            if backend == "exact" and result.duals is not None:
                solve(backend, scores, pattern, options | variant | {"warm_start": result})
            np.testing.assert_array_equal(result.mask, masks.setdefault(backend, result.mask))
        except Exception as error:
            error.add_note(
                f"seed {seed}: {backend} {variant}, {pattern!r}, {scores.dtype} {scores.shape}, {options}"
            )
            raise
        solved[" ".join((backend, *variant.values()))] += 1
    solved["columns"] += solve("columns", *draw_columns(np.random.default_rng(seed))) is not None
    return solved


def main(cases: int) -> None:
    solved: Counter[str] = Counter()
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:  # a process for each processor
        counted = pool.submit(count)
        for each in pool.map(drive, range(cases), chunksize=4):
            solved += each
        counted.result()
    print(f"{cases} cases:", ", ".join(f"{name} solved {count}" for name, count in sorted(solved.items())))
    if len(solved) != len(engines()) + 1:
        raise AssertionError("some backend solved nothing")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 400)
