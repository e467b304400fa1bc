"""Theorem: Algorithm 1 prunes at most twice the weight of the lightest cover.

A *cover* of an m-by-m tile is a set of entries with at least k = m - n in every row and column: the
complement of a mask that keeps at most n. W(.) sums weights, W* is the weight of the lightest cover,
P is what Algorithm 1 prunes. For weights w >= 0 (Hubara et al. 2021, lemma in appendix A.2):

    (1)  w(e_r) <= w(e*_r)   for every row and column and every r = 1..k,

where e_1, e_2 ... are the entries of P in that line in the order they were picked, and e*_1, e*_2 ...
those of any cover from light to heavy. Every entry of P is among the first k of its row or of its
column, so that summing (1) over the lines charges each entry of the cover at most twice:

    (2)  W(P) <= 2 W*.

The first entry picked is among the first k of both its lines and is summed twice on the left, so

    (3)  W(P) <= 2 W* - w_min,

which makes (2) strict where all weights are positive, as the paper writes it. With a weight 0 it need
not be strict, with negative weights it need not hold, and none of this bounds the sum that is *kept*.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import linprog

import masksolve as ms

PATTERNS = [(1, 2), (1, 3), (2, 3), (1, 4), (2, 4), (3, 4), (2, 5), (4, 8), (7, 8), (3, 10), (15, 16)]


def algorithm_1(weights, k):
    """What Algorithm 1 prunes, in the order in which it does; ties in row-major order."""
    in_row, in_column = np.zeros(len(weights), int), np.zeros(len(weights), int)
    picked = []
    for i, j in sorted(np.ndindex(weights.shape), key=lambda place: weights[place]):
        if in_row[i] < k or in_column[j] < k:
            picked.append((i, j))
            in_row[i] += 1
            in_column[j] += 1
    return picked


def lightest_cover(weights, k):
    """By linear programming; the vertex that the simplex method returns is a cover."""
    m = len(weights)
    lines = np.vstack([np.kron(np.eye(m), np.ones(m)), np.kron(np.ones(m), np.eye(m))])
    answer = linprog(weights.ravel(), A_ub=-lines, b_ub=np.full(2 * m, -k), bounds=(0, 1), method="highs-ds")
    assert answer.status == 0
    cover = answer.x.reshape(m, m) > 0.5
    np.testing.assert_allclose(answer.x.reshape(m, m), cover, atol=1e-9)
    return cover


def lines_of(places, m):
    """The entries of each row, then of each column, in the order given."""
    rows = [[place for place in places if place[0] == i] for i in range(m)]
    return rows + [[place for place in places if place[1] == j] for j in range(m)]


def double_star(m):
    """One light entry, its row and column, and a diagonal that covers for half as much."""
    weights = np.full((m, m), 3.0)
    weights[0] = weights[:, 0] = 1.0
    np.fill_diagonal(weights, 1.0)
    weights[0, 0] = 0.01
    return weights


def tiles(m):
    rng = np.random.default_rng(m)
    yield double_star(m)
    yield np.ones((m, m))
    yield np.add.outer(np.arange(m), np.arange(m)) + 1.0
    yield np.multiply.outer(np.arange(m), np.arange(m)) + 0.0
    for _ in range(6):
        yield np.abs(rng.standard_normal((m, m)))
        yield rng.integers(0, 4, (m, m)) + 0.0
        yield rng.pareto(0.7, (m, m)) + 1e-3
        yield (rng.random((m, m)) < 0.3) + 0.0


def instances():
    return [(n, m, weights) for n, m in PATTERNS for weights in tiles(m)]


def pruned_by_backend(weights, n, m):
    return ~ms.solve(weights, f"{n}:{m}-T at_most", backend="cover").mask


def test_the_backend_is_algorithm_1():
    for n, m, weights in instances():
        pruned = np.zeros((m, m), bool)
        for place in algorithm_1(weights, m - n):
            pruned[place] = True
        np.testing.assert_array_equal(pruned_by_backend(weights, n, m), pruned)


def test_every_node_prefers_its_own_edges():
    """(1), against the lightest cover and against a random one."""
    rng = np.random.default_rng(0)
    for n, m, weights in instances():
        k = m - n
        own = lines_of(algorithm_1(weights, k), m)
        random_cover = ~ms.solve(rng.random((m, m)), f"{n}:{m}-T").mask
        for cover in (lightest_cover(weights, k), random_cover):
            for line, other in zip(own, lines_of([tuple(p) for p in np.argwhere(cover)], m), strict=True):
                theirs = sorted(weights[place] for place in other)
                assert len(theirs) >= k
                assert len(line) >= k
                for r in range(k):
                    assert weights[line[r]] <= theirs[r]


def test_every_pick_is_among_the_first_of_a_line():
    """The union of the truncated lists is P; the first pick is in two of them."""
    for n, m, weights in instances():
        picked = algorithm_1(weights, m - n)
        lists = [set(line[: m - n]) for line in lines_of(picked, m)]
        assert set().union(*lists) == set(picked)
        assert sum(picked[0] in line for line in lists) == 2


def test_at_most_twice_the_lightest_cover():
    """(2) and (3), and a fortiori against the lightest set with exactly k in every line."""
    for n, m, weights in instances():
        pruned = weights[pruned_by_backend(weights, n, m)].sum()
        lightest = weights[lightest_cover(weights, m - n)].sum()
        exactly = weights[~ms.solve(weights, f"{n}:{m}-T").mask].sum()
        rounding = 1e-12 * weights.sum()
        assert pruned >= lightest - rounding
        assert pruned <= 2 * lightest - weights.min() + rounding
        assert pruned <= 2 * exactly - weights.min() + rounding
        if weights.min() > 0:
            assert pruned < 2 * lightest


@pytest.mark.parametrize("m", [2, 3, 4, 8, 16, 64])
def test_the_bound_is_attained(m):
    """(3) holds with equality on the double star, for every size."""
    weights = double_star(m)
    pruned = weights[pruned_by_backend(weights, m - 1, m)].sum()
    assert pruned == pytest.approx(2 * np.trace(weights) - weights.min(), rel=1e-14)
    assert weights[lightest_cover(weights, 1)].sum() == pytest.approx(np.trace(weights), rel=1e-14)


def test_not_strict_with_a_zero():
    weights = np.array([[0.0, 1.0], [1.0, 1.0]])
    assert weights[pruned_by_backend(weights, 1, 2)].sum() == 2.0
    assert weights[lightest_cover(weights, 1)].sum() == 1.0


def test_not_for_negative_weights():
    weights = -np.ones((2, 2))
    assert weights[pruned_by_backend(weights, 1, 2)].sum() > 2 * weights[lightest_cover(weights, 1)].sum()


@pytest.mark.parametrize("m", [2, 4, 8, 32])
def test_says_nothing_of_what_is_kept(m):
    """Where all lines agree on what is best, Algorithm 1 keeps one entry of m, the optimum m."""
    weights = 10.0 - np.add.outer(np.arange(m), np.arange(m)) / (100 * m)
    kept = ~pruned_by_backend(weights, 1, m)
    assert kept.sum() == 1
    best = ms.solve(weights, f"1:{m}-T at_most", backend="highs").objective
    assert weights[kept].sum() < 1.01 * best / m
