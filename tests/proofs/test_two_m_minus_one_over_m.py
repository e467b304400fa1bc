"""Theorem: the ratio (2M - 1)/M of Algorithm 1, and what it is a bound for.

Prune one entry in each row and column of an M-by-M tile (n = M - 1). Every pick of Algorithm 1 covers
a row or column that was not covered; the first covers two. There are 2M of them, so

    (1)  |P| <= 2M - 1   for every order of the entries,

while a cover has at least M entries. If all weights are equal, then

    (2)  W(P) / W* <= (2M - 1) / M,

and the construction of Figure A.1 (Hubara et al. 2021, appendix A.2) attains it for every M: a star of
weight 1 in the first row and column, a diagonal of weight 1, all else heavier.

(2) is **not** a bound for general weights. One lighter entry, as in [[eps, 1], [1, 1]], gives

    (3)  W(P) / W* = (2(M - 1) + eps) / (M - 1 + eps) > (2M - 1) / M   for 0 < eps < 1,

which tends to 2 for every M >= 2. The bound for all weights >= 0 is W(P) <= 2 W* - w_min.
"""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest

import masksolve as ms

SIZES = [*range(2, 17), 24, 31, 32, 33, 48, 63, 64]


def pruned(weights):
    """What the compiled Algorithm 1 prunes, one in each line."""
    m = weights.shape[-1]
    return ~ms.solve(weights, f"{m - 1}:{m}-T at_most", backend="cover").mask


def lightest(weights, backend="exact"):
    m = weights.shape[-1]
    kept = ms.solve(weights, f"{m - 1}:{m}-T at_most", backend=backend).mask
    return weights[~kept].sum()


def figure_a1(m):
    """Star, diagonal, and heavier entries; ties in row-major order pick the star, then the last corner."""
    weights = np.full((m, m), 2)
    weights[0] = 1
    weights[: m - 1, 0] = 1
    np.fill_diagonal(weights, 1)
    return weights


@pytest.mark.parametrize("m", SIZES)
def test_figure_a1_attains_it(m):
    weights = figure_a1(m)
    chosen = pruned(weights)
    star = np.zeros((m, m), bool)
    star[0] = star[: m - 1, 0] = star[m - 1, m - 1] = True
    np.testing.assert_array_equal(chosen, star)
    # A cover needs m entries of weight 1 at least, and the diagonal is one.
    assert np.trace(weights) == m * weights.min()
    assert Fraction(int(weights[chosen].sum()), int(np.trace(weights))) == Fraction(2 * m - 1, m)


@pytest.mark.parametrize("backend", ["exact", "highs"])
@pytest.mark.parametrize("m", [2, 4, 8, 16])
def test_the_optimum_of_figure_a1_is_the_diagonal(m, backend):
    assert lightest(figure_a1(m), backend) == m


@pytest.mark.parametrize("m", SIZES)
def test_equal_weights_attain_it_in_row_major_order(m):
    assert pruned(np.ones((m, m))).sum() == 2 * m - 1


@pytest.mark.parametrize("m", [2, 3])
def test_no_order_exceeds_it_exhaustively(m):
    """(1) for every order: the ranks of a permutation are an order of ties."""
    orders = np.array(list(itertools.permutations(range(m * m))), np.int8).reshape(-1, m, m)
    counts = pruned(orders).sum(axis=(1, 2))
    assert counts.max() == 2 * m - 1
    assert counts.min() == m


@pytest.mark.parametrize("m", [4, 5, 8, 16, 64])
def test_no_random_order_exceeds_it(m):
    rng = np.random.default_rng(m)
    tiles = max(20, 60_000 // m**2)
    orders = rng.permuted(np.tile(np.arange(m * m), (tiles, 1)), axis=1).reshape(tiles, m, m)
    counts = pruned(orders).sum(axis=(1, 2))
    assert (counts >= m).all()
    assert (counts <= 2 * m - 1).all()


@pytest.mark.parametrize("m", [4, 6, 9])
def test_no_adversary_exceeds_it(m):
    """Exchange two ranks at a time and keep what does not shrink P: it climbs to 2M - 1, not beyond."""
    rng = np.random.default_rng(m)
    ranks = rng.permutation(m * m)
    count = pruned(ranks.reshape(m, m)).sum()
    for _ in range(60):
        rivals = np.tile(ranks, (200, 1))
        for rival in rivals:
            one, other = rng.choice(m * m, 2, replace=False)
            rival[[one, other]] = rival[[other, one]]
        counts = pruned(rivals.reshape(-1, m, m)).sum(axis=(1, 2))
        assert counts.max() <= 2 * m - 1
        if counts.max() >= count:
            ranks, count = rivals[counts.argmax()], counts.max()
    assert count == 2 * m - 1


@pytest.mark.parametrize("m", [2, 3, 8, 64])
def test_every_pick_covers_a_new_line(m):
    """The proof of (1), step by step: entries in the order of their ranks."""
    ranks = np.random.default_rng(m).permutation(m * m).reshape(m, m)
    chosen = sorted(np.argwhere(pruned(ranks)), key=lambda place: ranks[tuple(place)])
    covered: set[tuple[str, int]] = set()
    for step, (i, j) in enumerate(chosen):
        new = {("row", int(i)), ("column", int(j))} - covered
        assert len(new) == 2 if step == 0 else new
        covered |= new
    assert len(covered) == 2 * m


@pytest.mark.parametrize("eps", [0.5, 1e-2, 1e-6])
def test_the_two_by_two_tile_exceeds_it(eps):
    weights = np.array([[eps, 1.0], [1.0, 1.0]])
    ratio = weights[pruned(weights)].sum() / lightest(weights)
    assert ratio == pytest.approx((2 + eps) / (1 + eps), rel=1e-14)
    assert ratio > 3 / 2


@pytest.mark.parametrize("m", SIZES)
def test_one_lighter_entry_exceeds_it(m):
    """(3), for every size; the diagonal is optimal because W(P) <= 2 W* - w_min holds with equality."""
    for eps in (0.5, 1e-3):
        weights = figure_a1(m).astype(float)
        weights[m - 1, 0] = 1.0
        weights[0, 0] = eps
        heavy, light = weights[pruned(weights)].sum(), np.trace(weights)
        assert light == pytest.approx(m - 1 + eps, rel=1e-14)
        assert heavy == pytest.approx(2 * (m - 1) + eps, rel=1e-14)
        assert heavy / light > (2 * m - 1) / m
        assert heavy == pytest.approx(2 * lightest(weights) - eps, rel=1e-9)
