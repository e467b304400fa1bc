"""Theorem: how many operations Algorithm 1 and the exact engine take, counted, not timed.

**Algorithm 1** (Hubara et al. 2021, section 3) sorts the M² entries of a tile and then visits each at
most once, with two tests and two counters a visit. With merge sort it makes at most

    M² log2(M²) = 2 M² log2 M   comparisons of scores,   and   <= 2 M²   tests of lines,

so O(M² log M) in all. No rule that needs the full order can do with fewer than log2((M²)!) comparisons
on average, hence neither factor can be spared. Stopping when all lines are covered saves visits, but
not the sort.

**exact** starts from dual prices that are good already: rows keep n entries each, and every augmenting
path moves one unit from a column with too many to one with too few. Rows that keep n of m leave an
excess of at most n (m - n), and one search takes up each node at most once, therefore

    augmentations <= n (m - n),   path steps <= 2 m * augmentations,

which is O(M²) and O(M³) a tile, a step being O(M) operations: O(M⁴) at worst. That is far from what
happens: fitted over M = 8 to 64 at half density, Gaussian scores take about M^1.2 augmentations and
M^2.1 steps, scores with many ties about M^1.4 and M^2.3. What is asserted is that augmentations grow
more slowly than M^1.75 and steps than M^2.75, so that the whole engine stays below O(M⁴).
"""

from __future__ import annotations

import functools
import math

import numpy as np
import pytest

import masksolve as ms

SIZES = (8, 12, 16, 24, 32, 48, 64)
FAMILIES = {
    "gaussian": lambda rng, shape: np.abs(rng.standard_normal(shape, dtype=np.float32)),
    "heavy-tailed": lambda rng, shape: np.abs(rng.standard_t(1.5, shape)).astype(np.float32),
    "eight values": lambda rng, shape: rng.integers(0, 8, shape).astype(np.float32),
}


def exponent(sizes, counts):
    """Slope of the counts over the sizes, both logarithmic, by least squares."""
    return np.polyfit(np.log(sizes), np.log(counts), 1)[0]


# --- Algorithm 1 -----------------------------------------------------------------------------


class Counted:
    """Algorithm 1 on one tile, with its comparisons of scores and its tests of lines counted."""

    def __init__(self, scores, n):
        self.comparisons = self.tests = 0
        m = len(scores)
        self.mask = np.ones((m, m), bool)
        rows, columns = [m - n] * m, [m - n] * m
        for i, j in self.sort(list(np.ndindex(m, m)), lambda place: scores[place]):
            if not any(rows) and not any(columns):
                break
            self.tests += 2
            if rows[i] or columns[j]:
                self.mask[i, j] = False
                rows[i], columns[j] = max(rows[i] - 1, 0), max(columns[j] - 1, 0)

    def sort(self, places, key):
        """Merge sort, stable."""
        if len(places) < 2:
            return places
        half = len(places) // 2
        left, right = self.sort(places[:half], key), self.sort(places[half:], key)
        merged = []
        while left and right:
            self.comparisons += 1
            merged.append((right if key(right[0]) < key(left[0]) else left).pop(0))
        return merged + left + right


@functools.cache
def counted(m):
    scores = np.abs(np.random.default_rng(m).standard_normal((m, m)))
    return scores, Counted(scores, m // 2)


@pytest.mark.parametrize("m", SIZES)
def test_the_counted_rendering_is_what_the_backend_does(m):
    scores, run = counted(m)
    result = ms.solve(scores, f"{m // 2}:{m}-T at_most", backend="cover")
    np.testing.assert_array_equal(run.mask, result.mask)


@pytest.mark.parametrize("m", SIZES)
def test_algorithm_1_stays_within_its_bounds(m):
    """Few enough for the upper bound, and within 5 % of what any sorting takes on average."""
    _, run = counted(m)
    entries = m * m
    assert run.comparisons <= entries * math.log2(entries)
    assert run.comparisons >= 0.95 * math.lgamma(entries + 1) / math.log(2)
    assert entries // 2 < run.tests <= 2 * entries


def test_algorithm_1_grows_like_m_squared_log_m():
    comparisons = np.array([counted(m)[1].comparisons for m in SIZES])
    assert 1.95 < exponent(SIZES, comparisons / np.log(SIZES)) < 2.1
    assert 1.9 < exponent(SIZES, [counted(m)[1].tests for m in SIZES]) < 2.1


# --- Exact -----------------------------------------------------------------------------------


@functools.cache
def counts(family, m):
    """Augmentations and path steps a tile, averaged over 160,000 entries."""
    tiles = 160_000 // m**2
    scores = FAMILIES[family](np.random.default_rng(m), (tiles * m, m))
    result = ms.solve(scores, f"{m // 2}:{m}-T", backend="exact")
    assert result.status is ms.Status.OPTIMAL
    return result.stats["augmentations"] / tiles, result.stats["path_steps"] / tiles


@pytest.mark.parametrize("family", FAMILIES)
def test_exact_grows_more_slowly_than_its_worst_case(family):
    augmentations, steps = zip(*(counts(family, m) for m in SIZES), strict=True)
    assert min(augmentations) > 0
    assert exponent(SIZES, augmentations) < 1.75
    assert exponent(SIZES, steps) < 2.75


@pytest.mark.parametrize("n_of", [lambda m: 1, lambda m: m // 4, lambda m: m // 2, lambda m: m - 1])
@pytest.mark.parametrize("m", [8, 16, 32, 64])
def test_exact_stays_within_its_bounds(m, n_of):
    """On single tiles: random ones, constant ones, and ones where all lines agree on what is best."""
    n = n_of(m)
    rng = np.random.default_rng(m + n)
    agreeing = np.add.outer(np.arange(m), np.arange(m)).astype(np.float32)
    tiles = [make(rng, (m, m)) for make in FAMILIES.values() for _ in range(5)]
    for scores in [*tiles, np.ones((m, m), np.float32), agreeing, agreeing * agreeing, -agreeing]:
        stats = ms.solve(scores, f"{n}:{m}-T", backend="exact").stats
        assert 0 <= stats["augmentations"] <= n * (m - n)
        assert stats["augmentations"] <= stats["path_steps"] <= 2 * m * stats["augmentations"]
