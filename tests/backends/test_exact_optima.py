"""Exact backends in rational arithmetic: bounds of every tile by the last bit, and the true optimum."""

from fractions import Fraction

import exactly
import numpy as np
import oracles
import pytest
from assertions import assert_proven
from mixtures import MIXTURES

import masksolve as ms
from masksolve.backends import load

EXACT = [info.name for info in ms.backends() if info.exact and info.unavailable is None]
QUICK = ("exact", "batched")
CONSTRAINTS = ["", " at_most"]
# n is near half of m, where most can go wrong; the first two m leave little to choose.
AMOUNTS = {1: 1, 2: 1, 3: 2, 4: 2, 5: 3, 6: 3, 7: 3, 8: 4, 16: 8, 32: 16}


def instance(name: str, text: str) -> tuple[np.ndarray, ms.Pattern]:
    pattern = ms.Pattern.parse(text)
    m = pattern.m
    shape = (m, 3 * m if m < 16 else m) if pattern.transposable else (3, 2 * m)
    return MIXTURES[name](np.random.default_rng([*f"{name} {text}".encode()]), shape), pattern


def assert_optimum(backend: str, name: str, text: str) -> None:
    scores, pattern = instance(name, text)
    if load(backend)().refuses(pattern, forced=False) is not None:
        return
    result = ms.solve(scores, pattern, backend=backend, tiles=True)
    assert_proven(result, scores)
    if backend != "exact" or (scores.dtype == np.float32 and "forbidden" not in name):
        return  # float32 proves to a millionth of what a tile keeps, which its largest scores decide
    kept = exactly.kept(scores, result.mask, pattern)
    best = exactly.optima(scores, pattern)
    for number, (worth, most) in enumerate(zip(kept, best, strict=True)):
        # Relative to what the optimum keeps beside its largest entries, not to those.
        assert most - worth <= Fraction(1e-6) * ordinary(scores, pattern, number), (
            f"{name}, {text}, tile {number} keeps {float(worth)}, its optimum is {float(most)}"
        )


def ordinary(scores: np.ndarray, pattern: ms.Pattern, number: int) -> Fraction:
    """The sum of the ordinary magnitudes of a tile: those up to a thousand times its median."""
    place = list(oracles.tiles(scores.shape, pattern))[number].place
    sizes = sorted(abs(Fraction(float(value))) for value in np.atleast_2d(scores[place]).ravel())
    return sum((size for size in sizes if size <= 1000 * sizes[len(sizes) // 2]), start=Fraction(0))


@pytest.mark.parametrize("name", MIXTURES)
@pytest.mark.parametrize("backend", EXACT)
def test_the_optimum_of_every_tile(backend: str, name: str) -> None:
    for m, n in AMOUNTS.items():
        if m > (8 if backend in QUICK else 5):
            continue
        for constraint in CONSTRAINTS:
            assert_optimum(backend, name, f"{n}:{m}-T{constraint}")


@pytest.mark.parametrize("name", MIXTURES)
@pytest.mark.parametrize("backend", QUICK)
def test_the_optimum_of_groups(backend: str, name: str) -> None:
    for m, n in ((1, 1), (2, 1), (4, 2), (5, 4), (8, 4), (16, 5), (32, 16)):
        for constraint in CONSTRAINTS:
            assert_optimum(backend, name, f"{n}:{m}{constraint}")


LARGE = [
    "gaussian float32",
    "bfloat16",
    "ties",
    "forbidden -1e20",
    "spread 8",
    "dominated 1e15",
    "nearly equal",
]


@pytest.mark.parametrize("text", ["8:16-T", "5:16-T at_most", "16:32-T at_most"])
@pytest.mark.parametrize("backend", QUICK)
def test_the_optimum_of_large_tiles(backend: str, text: str) -> None:
    for name in LARGE[:3] if "32" in text else LARGE:
        assert_optimum(backend, name, text)


@pytest.mark.parametrize("name", ["gaussian float32", "forbidden -1e20", "spread 8", "ties", "denormal"])
@pytest.mark.parametrize("text", ["2:4-T pad", "3:7-T at_most pad", "2:4 pad", "2:4-T dense"])
@pytest.mark.parametrize("backend", QUICK)
def test_the_optimum_of_cut_tiles(backend: str, text: str, name: str) -> None:
    scores = MIXTURES[name](np.random.default_rng(7), (9, 13))
    assert_proven(ms.solve(scores, text, backend=backend, tiles=True), scores)


@pytest.mark.parametrize("name", ["gaussian float64", "forbidden -1e17", "spread 8", "ties", "dominated 1e9"])
@pytest.mark.parametrize("text", ["2:4-T", "3:7-T at_most", "4:8-T", "2:4"])
@pytest.mark.parametrize("backend", QUICK)
def test_the_optimum_under_forced_choices(backend: str, text: str, name: str) -> None:
    rng = np.random.default_rng(8)
    pattern = ms.Pattern.parse(text)
    shape = (2 * pattern.m, 2 * pattern.m)
    scores = MIXTURES[name](rng, shape)
    some = ms.solve(rng.standard_normal(shape), pattern).mask
    keep, drop = some & (rng.random(shape) < 0.15), ~some & (rng.random(shape) < 0.15)
    result = ms.solve(scores, pattern, backend=backend, keep=keep, drop=drop, tiles=True)
    assert_proven(result, scores, keep=keep, drop=drop)


@pytest.mark.parametrize("score", ["magnitude", "square"])
@pytest.mark.parametrize("backend", QUICK)
def test_the_optimum_of_magnitudes_and_squares(backend: str, score: str) -> None:
    for name in ("gaussian float32", "gaussian float64", "bfloat16", "int8", "spread 8 float32", "denormal"):
        for text in ("2:4-T", "4:8-T at_most", "2:4", "3:7-T"):
            scores, pattern = instance(name, text)
            if score == "square" and name == "denormal":
                continue
            result = ms.solve(scores, pattern, backend=backend, score=score, tiles=True)
            assert_proven(result, scores, score=score, tolerance=1e-6)


@pytest.mark.parametrize(
    "instruction_set", [name for name, runs in ms.show_config("dicts")["instruction_sets"].items() if runs]
)
def test_the_optimum_on_every_instruction_set(instruction_set: str) -> None:
    for name in ("gaussian float32", "forbidden -1e20", "spread 8 float32", "bfloat16", "ties"):
        for text in ("2:4-T", "4:8-T", "4:8-T at_most", "2:4", "8:16-T"):
            scores, pattern = instance(name, text)
            result = ms.solve(scores, pattern, backend="exact", instruction_set=instruction_set, tiles=True)
            assert_proven(result, scores)
