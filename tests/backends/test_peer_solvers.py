"""What is particular to the backends that ask other people's solvers."""

from __future__ import annotations

import networkx as nx
import numpy as np
import oracles
import pytest
from assertions import assert_feasible
from strategies import FAMILIES

import masksolve as ms
from masksolve.backends import highs, networkx, ortools
from masksolve.backends.flow import integers
from masksolve.layout import Chunk


def test_prices_of_the_linear_programme_are_its_own():
    """Marginals give the bound, also where lines may keep between two counts."""
    rng = np.random.default_rng(8)
    for row_bounds, column_bounds in [((1, 2), (1, 3)), ((0, 2), (2, 2)), ((2, 2), (0, 3)), ((0, 1), (0, 1))]:
        chunk = Chunk(rng.standard_normal((5, 4, 4)), None, None, row_bounds, column_bounds, list(range(5)))
        mask, prices = highs.Highs().solve_chunk(chunk)
        for scores, kept, rows, columns in zip(chunk.scores, mask, prices.rows, prices.columns, strict=True):
            reduced = np.maximum(scores - rows[:, np.newaxis] - columns, 0.0).sum()
            worth = sum(
                max(least * p, most * p)
                for line_prices, (least, most) in ((rows, row_bounds), (columns, column_bounds))
                for p in line_prices
            )
            assert reduced + worth == pytest.approx(scores[kept].sum(), rel=1e-9)


def _raise(error):
    raise error


def test_solver_failures_are_reported(monkeypatch):
    monkeypatch.setattr(ortools, "_bits", lambda nodes, batch: 62)
    with pytest.raises(ms.BackendFailedError, match=r"'ortools' failed.*BAD_COST_RANGE"):
        ms.solve(np.ones((4, 4)), "2:4-T", backend="ortools")
    monkeypatch.setattr(networkx, "_tile_flow", lambda network, tile: _raise(nx.NetworkXUnbounded("odd")))
    with pytest.raises(ms.BackendFailedError, match="'networkx' failed: network_simplex: odd"):
        ms.solve(np.ones((4, 4)), "2:4-T", backend="networkx")
    monkeypatch.setattr(highs, "_linear", lambda model: highs._Answer(None, None, "iteration limit"))
    with pytest.raises(ms.BackendFailedError, match="'highs' failed: iteration limit"):
        ms.solve(np.ones((4, 4)), "2:4-T", backend="highs")


def test_integer_scaling_keeps_its_promise():
    """Each rounding stays within half a unit, and short scores are not rounded at all."""
    rng = np.random.default_rng(3)
    scores = rng.standard_normal((6, 4, 4)) * 10.0 ** rng.integers(-300, 290, (6, 1, 1))
    for bits in (20, 43, 61):
        scaled = integers(scores, bits)
        _, exponent = np.frexp(np.abs(scores).max(axis=(1, 2), keepdims=True))
        assert np.abs(scaled).max() <= 2**bits
        np.testing.assert_array_less(np.abs(np.ldexp(scores, bits - exponent) - scaled), 0.5 + 1e-9)
    whole = rng.integers(-1000, 1000, (3, 4, 4))
    scaled = integers(whole.astype(float), 43)
    units = np.abs(scaled).max(axis=(1, 2)) // np.abs(whole).max(axis=(1, 2))
    np.testing.assert_array_equal(scaled, whole * units[:, np.newaxis, np.newaxis])


@pytest.mark.parametrize("options", [{"backend": "networkx"}, {"backend": "ortools", "batch": 1}], ids=str)
def test_scores_that_differ_in_their_last_digits_are_told_apart(options):
    """Float64 scores 1 + k * 2**-50 become integers without rounding, so the best k win."""
    last_digits = np.random.default_rng(9).integers(0, 50, (10, 3, 3))
    result = ms.solve(1.0 + last_digits * 2.0**-50, "1:3-T", **options)
    for digits, mask in zip(last_digits, result.mask, strict=True):
        best = oracles.brute_force(digits, (1, 1), (1, 1))
        assert digits[mask].sum() == digits[best].sum()


@pytest.mark.parametrize("family", ["heavy_tailed", "one_dominating", "signed"])
def test_rounding_to_integers_costs_no_more_than_documented(family, monkeypatch):
    """With few bits the loss is visible, and below K * 2**(1 - bits) * largest."""
    bits = 6
    monkeypatch.setattr(ortools, "_bits", lambda nodes, batch: bits)
    scores = FAMILIES[family](np.random.default_rng(4), (200, 4, 4))
    chunk = Chunk(scores.astype(np.float64), None, None, (2, 2), (2, 2), range(200))
    mask = ortools.Ortools().solve_chunk(chunk)
    best = ms.solve(scores, "2:4-T", backend="enumerate").mask
    assert_feasible(mask, ms.Pattern.parse("2:4-T"))
    kept = [np.where(each, scores, 0.0).sum(axis=(1, 2), dtype=float) for each in (mask, best)]
    loss = kept[1] - kept[0]
    assert loss.max() > 0.0
    finished = ms.solve(scores, "2:4-T", backend="ortools")  # the tiles that this leaves open
    assert finished.status is ms.Status.OPTIMAL
    assert finished.stats["finished"] > 0
    assert (loss <= 8 * 2.0 ** (1 - bits) * np.abs(scores).max(axis=(1, 2))).all()
