"""Theorem: keep-greedy keeps at least half of what can be kept, and may leave groups unfilled.

Keep-greedy takes the entries of an m-by-m tile from heavy to light and keeps an entry if its row and
its column keep fewer than n. For scores s >= 0, with S(.) the sum of kept scores,

    (1)  S(greedy) >= 1/2 max { S(X) : every row and column of X keeps at most n },

since an entry of the best mask that greedy refused met a full row or a full column of entries no
lighter, and each entry greedy kept answers for at most one refused in its row and one in its column.
1/2 cannot be improved: on [[1 + eps, 1], [1, 0]] greedy keeps 1 + eps of 2.

Greedy's mask is maximal: where a row and a column both keep fewer than n, their entry is kept. With R
the short rows and C the short columns, all of R x C is kept, so that

    (2)  |R| <= n - 1 and |C| <= n - 1;   for n = 1 nothing is left unfilled;
    (3)  n m - |greedy| <= min(|R| (n - |C|), |C| (n - |R|)) <= floor(n^2 / 4),

and (3) is attained whenever m >= n + floor(n/2).
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import masksolve as ms

PATTERNS = [(1, 2), (2, 3), (1, 4), (2, 4), (3, 4), (2, 5), (4, 6), (4, 8), (6, 10), (8, 16)]


def greedy(scores, n):
    m = scores.shape[-1]
    return ms.solve(scores, f"{n}:{m}-T at_most", backend="greedy")


def tiles(m):
    rng = np.random.default_rng(m)
    return np.stack([
        *np.abs(rng.standard_normal((8, m, m))),
        *rng.integers(0, 3, (8, m, m)).astype(float),
        *rng.pareto(0.7, (8, m, m)),
        np.multiply.outer(np.arange(m), np.arange(m)),
        np.ones((m, m)),
    ])  # fmt: skip


def unfillable(n, m):
    """Greedy first fills a small square that it cannot extend, then the rest without it."""
    few = n // 2
    rows, columns = np.ogrid[: m - few, : m - few]
    scores = np.zeros((m, m))
    scores[:few, :few] = 3
    scores[few:, few:] = 2 * ((columns - rows) % (m - few) < n)
    return scores


@pytest.mark.parametrize("backend", ["exact", "highs"])
@pytest.mark.parametrize(("n", "m"), PATTERNS)
def test_at_least_half(n, m, backend):
    for tile in tiles(m):
        kept = greedy(tile, n).objective
        best = ms.solve(tile, f"{n}:{m}-T at_most", backend=backend).objective
        assert best / 2 - 1e-9 * best <= kept <= best + 1e-9 * best


def test_the_charging_argument():
    """The proof of (1): a refused entry is no heavier than the n that fill its row or its column."""
    for n, m in PATTERNS:
        for tile in tiles(m):
            kept = greedy(tile, n).mask
            best = ms.solve(tile, f"{n}:{m}-T at_most").mask
            for i, j in np.argwhere(best & ~kept):
                full_row = kept[i].sum() == n and tile[i, kept[i]].min() >= tile[i, j]
                full_column = kept[:, j].sum() == n and tile[kept[:, j], j].min() >= tile[i, j]
                assert full_row or full_column


@pytest.mark.parametrize("m", [2, 4, 8, 32, 64])
@pytest.mark.parametrize("eps", [0.5, 1e-3, 1e-9])
def test_half_is_approached(m, eps):
    """Copies of [[1 + eps, 1], [1, 0]] along the diagonal: greedy keeps (1 + eps) / 2 of the optimum."""
    scores = np.kron(np.eye(m // 2), np.array([[1 + eps, 1.0], [1.0, 0.0]]))
    assert greedy(scores, 1).objective == pytest.approx(m / 2 * (1 + eps), rel=1e-14)
    assert ms.solve(scores, f"1:{m}-T at_most").objective == pytest.approx(m, rel=1e-9)


def test_not_for_negative_scores():
    """The rule fills up with negative scores; dropping them would keep more."""
    scores = np.array([[1.0, 0.0], [0.0, -5.0]])
    assert greedy(scores, 1).objective == -4.0
    assert ms.solve(scores, "1:2-T at_most", backend="highs").objective == 1.0


@pytest.mark.parametrize(("n", "m"), PATTERNS)
def test_what_is_left_unfilled(n, m):
    """(2) and (3) on many tiles."""
    rng = np.random.default_rng(m)
    scores = np.concatenate([tiles(m), rng.random((400, m, m))])
    mask = greedy(scores, n).mask
    for kept in mask:
        short_rows, short_columns = kept.sum(axis=1) < n, kept.sum(axis=0) < n
        assert kept[np.ix_(short_rows, short_columns)].all()
        rows, columns = int(short_rows.sum()), int(short_columns.sum())
        assert max(rows, columns) <= n - 1
        missing = n * m - int(kept.sum())
        assert missing <= min(rows * (n - columns), columns * (n - rows)) <= n**2 // 4


def test_every_order_of_a_small_tile():
    """2:3 in all 9! orders: one entry is missing at most, and sometimes is."""
    orders = np.array(list(itertools.permutations(range(9))), np.int8).reshape(-1, 3, 3)
    missing = 6 - greedy(orders, 2).mask.sum(axis=(1, 2))
    assert set(missing.tolist()) == {0, 1}


@pytest.mark.parametrize(
    ("n", "m"), [(2, 3), (2, 4), (3, 4), (4, 6), (4, 8), (5, 7), (8, 16), (16, 32), (42, 64)]
)
def test_the_worst_is_attained(n, m):
    result = greedy(unfillable(n, m), n)
    assert n * m - result.mask.sum() == n**2 // 4
    assert result.stats["unfilled"] == n**2 // 4


@pytest.mark.parametrize("m", [1, 2, 3, 7, 16, 64])
def test_keep_one_is_always_filled(m):
    scores = np.random.default_rng(m).integers(0, 4, (50, m, m))
    assert (greedy(scores, 1).mask.sum(axis=1) == 1).all()
