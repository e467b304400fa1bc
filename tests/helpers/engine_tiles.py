"""What the tests of the engine share: blocks with any score rule, hostile scores, and exact optima."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from masksolve._ext import tiles as engine
from masksolve._ext.arrays import DefaultArithmetic
from masksolve.layout.host import HostBlock as Block
from masksolve.layout.host import HostLayout
from masksolve.pattern import Pattern
from masksolve.problem import MaskProblem

RUNNING = [name for name, runs in engine.instruction_sets().items() if runs]
SCORES = ("value", "magnitude", "square")


def worth(scores: npt.NDArray[Any], score: str) -> npt.NDArray[np.float64]:
    """What each entry is worth, as float64 rounds it."""
    wide = scores.astype(np.float64)
    with np.errstate(over="ignore", under="ignore"):
        return {"value": wide, "magnitude": np.abs(wide), "square": wide * wide}[score]


def solve(
    scores: npt.NDArray[Any], pattern: str, score: str = "value", instruction_set: str = RUNNING[0]
) -> tuple[engine.Solved, Block]:
    """The engine's answer for the only block, with objective and bound of each tile."""
    with DefaultArithmetic():
        problem = MaskProblem.of(scores, pattern).read()
    (block,) = HostLayout(problem, prices=False).blocks
    objective, bound = np.full((2, *block.grid), np.nan)
    block = replace(block, score=score, tile_objective=objective, tile_bound=bound)
    answer = engine.solve_tiles(block, 0, block.tiles, instruction_set)
    assert isinstance(answer, engine.Solved)
    return answer, block


def optimum(tile: npt.NDArray[np.float64], pattern: Pattern) -> Fraction:
    """The largest sum that a mask of one tile keeps: successive shortest paths over Python's integers."""
    exact = [[Fraction(float(x)) for x in row] for row in tile]
    at_most = pattern.constraint == "at_most"
    if not pattern.transposable:
        best = sorted(exact[0], reverse=True)[: pattern.n]
        return sum((x for x in best if x > 0 or not at_most), Fraction(0))
    common = max(x.denominator for row in exact for x in row)
    m, sink = pattern.m, 2 * pattern.m + 1
    arcs: list[list[int]] = []  # to, capacity, cost; arc k ^ 1 leads back
    leaving: list[list[int]] = [[] for _ in range(sink + 1)]

    def add(start: int, end: int, capacity: int, cost: int) -> None:
        for a, b, room, price in ((start, end, capacity, cost), (end, start, 0, -cost)):
            leaving[a].append(len(arcs))
            arcs.append([b, room, price])

    for i in range(m):
        add(0, 1 + i, pattern.n, 0)
        add(1 + m + i, sink, pattern.n, 0)
        for j in range(m):
            add(1 + i, 1 + m + j, 1, -int(exact[i][j] * common))
    total = 0
    for _ in range(pattern.n * m):
        distance: list[int | None] = [0] + [None] * sink
        parent, queue = [-1] * (sink + 1), [0]
        while queue:
            node = queue.pop(0)
            here = distance[node]
            assert here is not None
            for arc in leaving[node]:
                end, room, cost = arcs[arc]
                known = distance[end]
                if room and (known is None or here + cost < known):
                    distance[end], parent[end] = here + cost, arc
                    if end not in queue:
                        queue.append(end)
        length = distance[sink]
        assert length is not None
        if at_most and length >= 0:
            break
        total += length
        node = sink
        while node:
            arcs[parent[node]][1] -= 1
            arcs[parent[node] ^ 1][1] += 1
            node = arcs[parent[node] ^ 1][0]
    return Fraction(-total, common)


def hostile(
    rng: np.random.Generator, shape: tuple[int, int], dtype: type[np.floating[Any]]
) -> Iterator[tuple[str, npt.NDArray[Any]]]:
    """Scores of wildly different magnitudes, forbidden entries, denormal and huge numbers."""
    size, chance = np.abs(rng.standard_normal(shape)), rng.random(shape)
    limits = np.finfo(dtype)
    huge = float(limits.max) / (1e6 if dtype == np.float32 else 1e15)
    sign = np.where(rng.random(shape) < 0.5, 1, -1)
    mixed = np.exp(rng.uniform(np.log(1e-3), np.log(1e15), shape))
    families = {
        "signed": size * sign,
        "a quarter is -1e20": np.where(chance < 0.25, -1e20, size),
        "most are -1e17": np.where(chance < 0.6, -1e17, size),
        "a third is least": np.where(chance < 0.3, -huge, size),
        "mixed": mixed,
        "mixed and signed": mixed * sign,
        "denormal": size * float(limits.smallest_subnormal) * 7,
        "huge": np.where(chance < 0.1, huge, np.where(chance < 0.2, -huge, size)),
        "the whole range": np.exp(rng.uniform(np.log(float(limits.tiny)), np.log(huge), shape)),
        "mostly zero": np.where(chance < 0.8, 0, size * sign),
        "ties": np.round(2 * size) / 2,
        "one huge": np.where(np.arange(size.size).reshape(shape) == 3, 1e15, size),
    }
    for name, values in families.items():
        with np.errstate(under="ignore"):
            yield name, values.astype(dtype)


def exact_sum(values: npt.NDArray[np.float64]) -> Fraction:
    return sum((Fraction(float(x)) for x in values.ravel()), Fraction(0))


def scale(kept: npt.NDArray[np.float64]) -> Fraction:
    """The number of columns that keep more than zeros, times the least that one of them keeps."""
    if kept.shape[0] == 1:
        return exact_sum(np.abs(kept))
    columns = [exact_sum(np.abs(column)) for column in kept.T]
    columns = [column for column in columns if column]
    return len(columns) * min(columns, default=Fraction(0))


def assert_proven(
    answer: engine.Solved, block: Block, scores: npt.NDArray[Any], pattern: Pattern, score: str
) -> None:
    """Mask, objective and bound of each tile, and of all, against the optimum in rational numbers."""
    largest = float(np.abs(scores.astype(np.float64)).max())
    double = scores.dtype == np.float64 or (largest**2 if score == "square" else largest) > 2.0**96
    tolerance = Fraction(1, 10**12 if double else 10**6)
    assert answer.open == 0
    assert answer.worst_gap <= tolerance
    assert block.tile_objective is not None
    assert block.tile_bound is not None
    cut = worth(block.scores, score)
    best, kept_in_all = Fraction(0), Fraction(0)
    for place in np.ndindex(block.grid):
        tile, mask = cut[place], block.mask[place]
        counts = [mask.sum(axis=1), mask.sum(axis=0)] if pattern.transposable else [mask.sum(axis=1)]
        for count in counts:
            assert (count <= pattern.n).all()
            assert pattern.constraint == "at_most" or (count == pattern.n).all()
        kept, most = exact_sum(tile[mask]), optimum(tile, pattern)
        size = scale(np.where(mask, tile, 0))
        assert most - kept <= tolerance * size, f"tile {place} keeps {float(kept)} of {float(most)}"
        assert Fraction(float(block.tile_bound[place])) >= most
        assert (
            abs(Fraction(float(block.tile_objective[place])) - kept) <= exact_sum(np.abs(tile[mask])) / 10**14
        )
        best += most
        kept_in_all += kept
    assert Fraction(answer.bound) >= best
    assert Fraction(answer.objective) <= kept_in_all + exact_sum(np.abs(cut[block.mask])) / 10**14
