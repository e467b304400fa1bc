"""A long randomised comparison of the exact engine with everything that can contradict it.

    python tests/soak.py --minutes 10 --instruction-set avx2 --seed 0

Each case is a random pattern, shape, dtype, family of scores, memory layout, remainder policy and number
of workers, with forced choices or a warm start at times. The answer must be feasible (counted here), keep
in every tile what another solver keeps there, prove it (by the certificate recomputed in NumPy), and be
the baseline instruction set's answer bit by bit. Forced choices that the engine calls infeasible must be
infeasible for the other solver too. Every eighth case has scores of wildly different magnitudes, any rule for
scores, and an optimum in Python's integers for each tile. A failure prints the command that repeats it.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections import Counter
from dataclasses import dataclass, field, replace

import ml_dtypes
import numpy as np
from assertions import assert_optimal
from engine_tiles import SCORES, assert_proven, hostile, solve, worth

import masksolve as ms
from masksolve._ext.tiles import instruction_sets
from masksolve.testing import FAMILIES

DTYPES = (np.float16, ml_dtypes.bfloat16, np.float32, np.float32, np.float64, np.int8, np.int16, np.int32,
          np.int64, np.uint8, np.uint16, np.uint32, np.uint64, np.bool_)  # fmt: skip
SIDES = (1, 2, 2, 3, 3, 4, 4, 4, 4, 5, 6, 7, 8, 8, 8, 8, 9, 10, 12, 13, 15, 16, 16, 16, 17, 24, 31, 32, 32,
         33, 48, 64)  # fmt: skip
MOST_ENTRIES = 6000
LARGEST_ENUMERATED = 4
"""Tiles up to this side are enumerated."""


def _strided(values):
    wide = np.empty((*values.shape[:-2], 2 * values.shape[-2] + 1, 3 * values.shape[-1] + 2), values.dtype)
    view = wide[..., 1::2, 2::3]
    view[...] = values
    return view


def _backwards(values):
    view = np.empty_like(values)[..., ::-1, ::-1]
    view[...] = values
    return view


def _unaligned(values):
    view = np.empty(values.nbytes + 1, np.uint8)[1:].view(values.dtype).reshape(values.shape)
    view[...] = values
    return view


LAYOUTS = {
    "contiguous": np.ascontiguousarray,
    "transposed": lambda values: np.ascontiguousarray(values.swapaxes(-1, -2)).swapaxes(-1, -2),
    "fortran": np.asfortranarray,
    "strided": _strided,
    "backwards": _backwards,
    "unaligned": _unaligned,
    "batch last": lambda values: np.moveaxis(np.ascontiguousarray(np.moveaxis(values, 0, -1)), -1, 0),
}
"""The same values elsewhere in memory, for arrays of at least two axes."""


@dataclass
class Case:
    """A problem, and how to run it."""

    seed: int
    number: int
    family: str
    layout: str
    scores: np.ndarray
    pattern: ms.Pattern
    oracle: str
    forced: dict[str, np.ndarray] = field(default_factory=dict)
    drift: float | None = None
    workers: int = 1

    def __str__(self):
        extra = "".join(f", {name} {int(choice.sum())}" for name, choice in self.forced.items())
        extra += "" if self.drift is None else f", warm start, drift {self.drift}"
        return (
            f"seed {self.seed} case {self.number}: '{self.pattern}' on {self.scores.dtype} "
            f"{self.scores.shape}, {self.family}, {self.layout}, workers {self.workers}{extra}, "
            f"against {self.oracle}"
        )


def draw(seed, number):
    """The case of this number: it depends on nothing else."""
    rng = np.random.default_rng([seed, number])
    pattern = draw_pattern(rng)
    shape = draw_shape(rng, pattern)
    family, layout = rng.choice(sorted(FAMILIES)), rng.choice(sorted(LAYOUTS))
    values = FAMILIES[family](rng, shape)
    if rng.random() < 0.6:
        values = convert(values, DTYPES[rng.integers(len(DTYPES))])
    oracle = draw_oracle(rng, pattern, values)
    case = Case(seed, number, str(family), str(layout), LAYOUTS[layout](values), pattern, oracle)
    kind = rng.random()
    if kind < 0.25 and pattern.remainder != "dense":
        case.forced = draw_forced(rng, case)
    elif kind < 0.45 and values.dtype.kind == "f":
        case.drift = float(rng.choice([0.0, 0.001, 0.01, 0.1, 1.0]))
    case.workers = int(rng.integers(1, 4))
    return case


def draw_pattern(rng):
    m = int(rng.choice(SIDES))
    n = int(rng.choice([max(1, m // 2), rng.integers(1, m + 1)]))
    transposable = bool(rng.random() < 0.7)
    constraint = "at_most" if rng.random() < 0.35 else "exact"
    return ms.Pattern(
        n,
        m,
        transposable=transposable,
        constraint=constraint,
        columns=draw_columns(rng, n, m, constraint) if transposable and rng.random() < 0.4 else None,
        axis=-1 if transposable else int(rng.choice([-1, -2, 0, 1])),
        remainder=str(rng.choice(["error", "pad", "dense"], p=[0.6, 0.3, 0.1])),
    )


def draw_columns(rng, n, m, constraint):
    """The columns' own n and m: any under at_most, else of the same share."""
    if constraint == "at_most":
        length = int(rng.choice(SIDES))
        return int(rng.integers(1, length + 1)), length
    times = int(rng.integers(1, 64 // m + 1))
    return n * times, m * times


def draw_shape(rng, pattern):
    """Up to MOST_ENTRIES or one tile, three axes at most; long strips at times."""
    shape = [1 if rng.random() < 0.7 else int(rng.integers(2, 4)), *map(int, rng.integers(1, 20, 2))]
    grouped = {axis % 3: length for axis, length in pattern.tile_lengths.items()}
    room = max(1, MOST_ENTRIES // math.prod(grouped.values()))
    for axis, length in sorted(grouped.items()):
        tiles = int(math.exp(rng.uniform(0, math.log(room + 1))))
        room = max(1, room // tiles)
        shape[axis] = tiles * length
        if pattern.remainder != "error" and rng.random() < 0.8:
            shape[axis] += int(rng.integers(0, length))
    if not pattern.transposable:
        while math.prod(shape) > MOST_ENTRIES and max(shape[axis] for axis in {0, 1, 2} - set(grouped)) > 1:
            longest = max({0, 1, 2} - set(grouped), key=shape.__getitem__)
            shape[longest] = (shape[longest] + 1) // 2
    return tuple(shape)


def draw_oracle(rng, pattern, values):
    """Enumeration of small tiles; else HiGHS, or OR-tools where its rounding cannot matter."""
    if pattern.m <= LARGEST_ENUMERATED and pattern.columns is None:
        return "enumerate"
    single = values.dtype.itemsize <= 2 or values.dtype == np.float32
    return "ortools" if single and rng.random() < 0.7 else "highs"


def draw_forced(rng, case):
    """Demands that some mask meets, or, one time in four, demands that perhaps none does."""
    shape, share = case.scores.shape, float(rng.choice([0.01, 0.05, 0.2]))
    chance = rng.random(shape)
    if rng.random() < 0.25:
        return {"keep": chance < share, "drop": chance > 1 - share}
    mask = ms.solve(rng.standard_normal(shape), case.pattern, backend="greedy").mask
    return {"keep": mask & (chance < share), "drop": ~mask & (chance < share)}


def convert(values, dtype):
    """The values in a dtype, brought into its range first."""
    kind = np.dtype(dtype)
    if kind == np.bool_:
        return values > np.median(values)
    wide = values.astype(np.float64)
    if kind.kind in "iu":
        limits = np.iinfo(kind)
        scaled = wide / (np.abs(wide).max() or 1.0) * (limits.max // 4)
        return np.maximum(scaled, limits.min).astype(kind)
    most = float(ml_dtypes.finfo(kind).max) / 2
    return np.clip(wide, -most, most).astype(kind)


def check_hostile(seed, number, instruction_set):
    """Raise AssertionError unless all tiles of hostile scores are proven; return how many there are."""
    rng = np.random.default_rng([seed, number])
    m = int(rng.choice([2, 3, 4, 4, 4, 5, 6, 7, 8, 8, 10, 12]))
    constraint = rng.choice(["exact", "at_most"])
    pattern = ms.Pattern(
        int(rng.integers(1, m + 1)), m, transposable=bool(rng.random() < 0.8), constraint=str(constraint)
    )
    dtype, tiles = (np.float32, np.float64)[rng.integers(2)], 0
    for name, scores in hostile(rng, (2 * m, int(rng.integers(1, 5)) * m), dtype):
        score = str(rng.choice(SCORES))
        score = score if worth(scores, score).max() <= 1e300 else "value"
        answer, block = solve(scores, str(pattern), score, instruction_set)
        try:
            assert_proven(answer, block, scores, pattern, score)
        except AssertionError as error:
            error.add_note(f"seed {seed} case {number}: {name}, '{pattern}', {dtype.__name__}, {score}")
            raise
        tiles += block.tiles
    return tiles


def check(case, instruction_set):
    """Raise AssertionError if anything is wrong; return the number of tiles, or None if infeasible."""
    options = dict(backend="exact", duals=True, workers=case.workers, **case.forced)
    try:
        best = ms.solve(case.scores, case.pattern, backend=case.oracle, **case.forced)
    except ms.InfeasibleError as error:
        check_infeasible(case, options | {"instruction_set": instruction_set}, error)
        return None
    result = ms.solve(case.scores, case.pattern, instruction_set=instruction_set, **options)
    check_optimal(case, result, best)
    check_same_bits(result, ms.solve(case.scores, case.pattern, instruction_set="baseline", **options))
    if case.drift is not None:
        options["warm_start"] = drifted(case, result)
        warm = ms.solve(case.scores, case.pattern, instruction_set=instruction_set, **options)
        check_optimal(case, warm, best)
        check_same_bits(warm, ms.solve(case.scores, case.pattern, instruction_set="baseline", **options))
    return result.stats["tiles"]


def check_infeasible(case, options, error):
    try:
        found = ms.solve(case.scores, case.pattern, **options)
    except ms.InfeasibleError as own:
        if case.pattern.remainder == "pad" or own.tile == error.tile:  # cut tiles are solved last
            return
        raise AssertionError(f"tile {own.tile} is named, but {error.tile} is the first") from own
    raise AssertionError(f"{case.oracle} says {error}, but the engine found {found!r}")


def check_optimal(case, result, best):
    if not denormal(case.scores):
        assert result.status is ms.Status.OPTIMAL, f"{result!r}"
    assert_optimal(result, case.scores, best=best.mask, **case.forced)
    again = ms.recompute_certificate(case.scores, result.mask, case.pattern, result.duals, **case.forced)
    rounding = 1e-13 * float(np.abs(case.scores.astype(np.float64)).sum()) + 1e-300
    for name in ("objective", "bound"):
        reported, recomputed = getattr(result, name), getattr(again, name)
        # Tiles that were solved again are proven with finer prices than those that are handed out.
        finer = name == "bound" and (result.stats["refined"] or result.stats["exactly"])
        allowed = rounding * (1e7 if finer and reported < recomputed else 1)
        assert abs(reported - recomputed) <= allowed, f"{name} {reported}, recomputed {recomputed}"


def denormal(scores):
    """Whether float32 prices are too coarse to prove the optimum to a relative 1e-6."""
    single = scores.dtype.itemsize <= 2 or scores.dtype == np.float32
    return single and float(np.abs(scores.astype(np.float64)).max()) < 1e-37


def check_same_bits(result, other):
    assert np.array_equal(result.mask, other.mask), "the mask differs from the baseline's"
    assert result.objective == other.objective, "the objective differs from the baseline's"
    assert result.bound == other.bound, "the bound differs from the baseline's"
    for part, same in zip(result.duals, other.duals, strict=True):
        assert part is same is None or part.tobytes() == same.tobytes(), "prices differ from the baseline's"


def drifted(case, result):
    """An earlier result: that of scores a little different, or of wholly different ones."""
    rng = np.random.default_rng([case.seed, case.number, 1])
    wide = case.scores.astype(np.float64)
    noise = rng.permutation(wide.ravel()).reshape(wide.shape)
    earlier = ((1 - case.drift) * wide + case.drift * noise).astype(case.scores.dtype)
    return replace(ms.solve(earlier, case.pattern, duals=True), mask=result.mask)


def run(minutes, instruction_set, seed, first=0, last=None):
    """Run cases ``first`` to ``last`` - 1, or until the time is up; AssertionError at the first failure."""
    begun = said = time.monotonic()
    count: Counter[str] = Counter()
    number = first
    while number != last and time.monotonic() < begun + 60 * minutes:
        is_hostile = number % 8 == 7
        case = None if is_hostile else draw(seed, number)
        try:
            if is_hostile:
                tiles = check_hostile(seed, number, instruction_set)
            else:
                tiles = check(case, instruction_set)
        except BaseException as error:
            again = f"python tests/soak.py --instruction-set {instruction_set} --seed {seed} --case {number}"
            error.add_note(f"{case or 'hostile scores'}\nrepeat it with: {again}")
            raise
        if is_hostile:
            kind = "hostile"
        else:
            kind = "infeasible" if tiles is None else "warm" if case.drift is not None else case.oracle
        count.update({"cases": 1, "tiles": tiles or 0, kind: 1})
        number += 1
        if time.monotonic() > said + 10:
            said = time.monotonic()
            print(f"{said - begun:6.0f} s  {_text(count)}", flush=True)
    print(f"passed on {instruction_set}, seed {seed}: {_text(count)}")


def _text(count):
    others = ", ".join(f"{name} {count[name]}" for name in sorted(set(count) - {"cases", "tiles"}))
    return f"{count['cases']} cases, {count['tiles']} tiles ({others})"


def main():
    running = [name for name, runs in instruction_sets().items() if runs]
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=layout)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--instruction-set", choices=running, default=running[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--case", type=int, help="run this case only")
    chosen = parser.parse_args()
    first, last = (0, None) if chosen.case is None else (chosen.case, chosen.case + 1)
    if last is not None:
        print(draw(chosen.seed, first))
    run(chosen.minutes, chosen.instruction_set, chosen.seed, first, last)


if __name__ == "__main__":
    sys.exit(main())
