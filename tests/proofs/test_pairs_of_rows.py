"""Theorem: a 4-by-4 mask that keeps 2 of each row and column is two pairs of opposite rows.

Write a mask X as signs Y = 2 X - 1. A row of signs that sums to 0 is + or - one of

    h_1 = (+ + - -),  h_2 = (+ - + -),  h_3 = (+ - - +),

which are linearly independent. The columns of Y sum to 0, so for each t as many rows are + h_t as
are - h_t: the rows fall into two pairs, in each of which one row keeps a half of the columns and the
other row the other half. Conversely two such pairs are a mask. Hence, with s_i(H) the sum of row i's
scores over the columns H,

    (1)  max over 2:4-T masks of S(X)  =  max over the 3 pairings {i, k}, {l, r} of d(i, k) + d(l, r),
         d(i, k)  =  max over the 6 halves H of s_i(H) + s_k(complement of H).

That is how the engine finds the optimum of a tile (`small_tiles.hpp`): 24 sums s_i(H), 36 sums of two
of them, and no list of the 90 masks.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import masksolve as ms

HALVES = [np.array(half) for half in itertools.combinations(range(4), 2)]
PAIRINGS = [((0, 1), (2, 3)), ((0, 2), (1, 3)), ((0, 3), (1, 2))]


def masks():
    """All of them, by their definition."""
    every = (np.arange(1 << 16)[:, np.newaxis] >> np.arange(16) & 1).reshape(-1, 4, 4)
    return every[(every.sum(1) == 2).all(1) & (every.sum(2) == 2).all(1)]


def by_pairs(tiles):
    """The right-hand side of (1) for each tile."""

    def worth(i, k):
        sums = [
            tiles[:, i, half].sum(1) + tiles[:, k, other].sum(1)
            for half, other in zip(HALVES, HALVES[::-1], strict=True)
        ]
        return np.max(sums, 0)

    return np.max([worth(*one) + worth(*other) for one, other in PAIRINGS], 0)


def test_every_mask_is_two_pairs_of_opposite_rows():
    assert len(masks()) == 90
    for mask in masks():
        assert any(all((mask[i] != mask[k]).all() for i, k in pairing) for pairing in PAIRINGS)


def test_two_pairs_of_opposite_rows_are_a_mask():
    found = set()
    for pairing, one, other in itertools.product(PAIRINGS, HALVES, HALVES):
        mask = np.zeros((4, 4), int)
        for (i, k), half in zip(pairing, (one, other), strict=True):
            mask[i, half] = 1
            mask[k] = 1 - mask[i]
        found.add(mask.tobytes())
    assert found == {mask.tobytes() for mask in masks().astype(int)}


@pytest.mark.parametrize("family", ["gaussian", "signed", "ties", "heavy", "one far below", "zero"])
def test_the_best_pairing_is_the_best_mask(family):
    rng = np.random.default_rng(4)
    shape = (512, 4, 4)
    tiles = {
        "gaussian": np.abs(rng.standard_normal(shape)),
        "signed": rng.standard_normal(shape),
        "ties": rng.integers(-1, 2, shape),
        "heavy": rng.pareto(0.7, shape),
        "one far below": np.where(np.arange(16).reshape(4, 4) == 6, -1e30, rng.standard_normal(shape)),
        "zero": np.zeros(shape),
    }[family]
    best = np.max(np.einsum("tij,pij->tp", tiles, masks()), 1)
    np.testing.assert_allclose(by_pairs(tiles), best, rtol=1e-12, atol=1e-12)
    for dtype in (np.float32, np.float64):
        scores = tiles.astype(dtype)
        best = np.max(np.einsum("tij,pij->tp", scores.astype(np.float64), masks()), 1)
        kept = np.sum(
            scores, where=ms.solve(scores, "2:4-T", backend="exact").mask, axis=(1, 2), dtype=np.float64
        )
        np.testing.assert_allclose(kept, best, rtol=0, atol=1e-6 * np.maximum(1, best).max(initial=1))
