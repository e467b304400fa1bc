"""Budgets of patterns in pairs: n goes up in twos, and dense tiles hold whole pairs."""

import numpy as np
import pytest
from oracles import solve, value

import masksolve as ms


def test_allocation_in_pairs() -> None:
    rng = np.random.default_rng(0)
    layers = [rng.random((8, 16)), 3 * rng.random((8, 16))]
    found = ms.allocate(layers, "4:8 pair")
    assert found.choices == (2, 4, 6, 8)
    best = -np.inf
    sums = [layer.reshape(8, 8, 2).sum(axis=2) for layer in layers]
    for n in (1, 2, 3):
        kept = [value(s, solve(s, ms.Pattern(k, 4))) for s, k in zip(sums, (n, 4 - n), strict=True)]
        best = max(best, sum(kept))
    assert found.objective == pytest.approx(best)
    assert all(ms.verify(mask, p).ok for mask, p in zip(found.masks(layers), found.patterns, strict=True))


def test_dense_tiles_in_pairs() -> None:
    scores = np.random.default_rng(1).random((16, 32))
    found = ms.dense_tiles(scores, "4:8-T pair", share=0.25, tile=8)
    assert scores[found.masks].sum() == pytest.approx(found.objective)
    assert ms.verify(found.masks, "4:8-T pair", dense=found.dense, tile=8).ok
    assert len(ms.verify(np.ones((16, 32), bool), "4:8-T pair", dense=found.dense, tile=8)) == 6 * 8
