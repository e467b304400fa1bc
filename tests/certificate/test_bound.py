"""The dual bound: a bound for any prices, by the last bit, and the check that masks are feasible."""

import math
from fractions import Fraction
from typing import Any

import array_api_compat
import chunks
import exactly
import frameworks
import numpy as np
import pytest
from chunks import any_chunk, chunk_of
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from masksolve.certificate import feasible, prove
from masksolve.layout import Chunk
from masksolve.types import Prices


def dual_value(chunk: Chunk, prices: Prices) -> Fraction:
    """D(u, v) of the only tile, written out entry by entry, in rational arithmetic."""
    rows, columns = ([Fraction(value) for value in part[0].tolist()] for part in prices)
    total = Fraction(0)
    for line, (least, most) in ((rows, chunk.row_bounds), (columns, chunk.column_bounds)):
        total += sum(max(least * price, most * price) for price in line)
    for i, j in np.ndindex(chunk.scores.shape[1:]):
        reduced = Fraction(float(chunk.scores[0, i, j])) - rows[i] - columns[j]
        if chunk.keep is not None and chunk.keep[0, i, j]:
            total += reduced
        elif chunk.drop is None or not chunk.drop[0, i, j]:
            total += max(Fraction(0), reduced)
    return total


def prices_for(chunk: Chunk, values: list[float]) -> Prices:
    height, width = chunk.scores.shape[1:]
    return Prices(np.array([values[:height]]), np.array([values[5 : 5 + width]]))


def assert_bounds(chunk: Chunk, mask: Any, prices: Prices) -> None:
    """The bound is not below D(u, v), hence not below the optimum, and not far above it either."""
    proofs = prove(np, chunk, mask, prices)
    bound, exact = proofs.bound.item(), dual_value(chunk, prices)
    assert Fraction(bound) >= exact
    assert exact >= chunks.optimum(chunk)
    kept = exactly.worth(chunk.scores[0], mask[0])
    size = float(proofs.magnitude[0] + proofs.violation[0])
    assert bound <= float(exact) + 1e-13 * size
    assert abs(proofs.objective.item() - float(kept)) <= 1e-14 * size
    assert abs(proofs.violation.item() - float(exact - kept)) <= 1e-13 * size


@settings(deadline=None)
@given(any_chunk(), st.lists(st.floats(-150, 150), min_size=10, max_size=10), st.integers(0, 99))
def test_any_prices_bound_the_optimum(chunk: Chunk, values: list[float], seed: int) -> None:
    mask = chunks.feasible_mask(chunk, seed)
    assume(mask is not None)
    assert_bounds(chunk, mask, prices_for(chunk, values))


@settings(max_examples=150, deadline=None)
@given(any_chunk(chunks.EXTREME), st.lists(chunks.EXTREME, min_size=10, max_size=10), st.integers(0, 99))
def test_no_magnitude_brings_the_bound_below(chunk: Chunk, values: list[float], seed: int) -> None:
    mask = chunks.feasible_mask(chunk, seed)
    assume(mask is not None)
    assert_bounds(chunk, mask, prices_for(chunk, values))


def test_the_bound_is_the_formula() -> None:
    scores = [[3.0, -1.0], [2.0, 5.0]]
    u, v = [1.0, -2.0], [0.5, -0.25]
    chunk = chunk_of(scores, (0, 1), (0, 1), keep=[[0, 1], [0, 0]], drop=[[0, 0], [1, 0]])
    expected = (
        (max(0, 1.0) + max(0, -2.0))  # rows keep 0 to 1
        + (max(0, 0.5) + max(0, -0.25))  # columns likewise
        + max(0, 3.0 - 1.0 - 0.5)
        + (-1.0 - 1.0 + 0.25)  # forced
        + 0  # forbidden
        + max(0, 5.0 + 2.0 + 0.25)
    )
    mask = np.array([[[False, True], [False, False]]])
    proofs = prove(np, chunk, mask, Prices(np.array([u]), np.array([v])))
    assert proofs.objective.tolist() == [-1.0]
    assert proofs.bound.item() == pytest.approx(expected, rel=1e-13)
    assert proofs.violation.item() == pytest.approx(expected + 1.0, rel=1e-13)


def test_a_huge_score_hides_nothing() -> None:
    """The violation beside it is found to the last digit, and judged by its own column."""
    scores = [[1e15, 0.0, 0.0], [0.0, 1.0, 3.0], [0.0, 3.0, 1.0]]
    mask = np.eye(3, dtype=bool)[np.newaxis]
    prices = Prices(np.array([[1e15, 3.0, 3.0]]), np.array([[0.0, 0.0, 0.0]]))
    proofs = prove(np, chunk_of(scores, (1, 1), (1, 1)), mask, prices)
    assert 4.0 <= proofs.violation.item() <= 4.0 + 1e15 * 2.0**-48
    assert not proofs.proven(1e-6)
    assert proofs.gap(np).item() > 1.0


@pytest.mark.parametrize("price", [math.inf, -math.inf, math.nan])
def test_prices_that_are_not_finite_prove_nothing(price: float) -> None:
    """Nothing of their own tile, and all of the others."""
    rows = np.array([[0.0, 0.0], [price, 0.0]])
    mask = np.tile(np.eye(2, dtype=bool), (2, 1, 1))
    chunk = Chunk(np.ones((2, 2, 2)), None, None, (0, 1), (1, 1), range(2))
    for prices in (Prices(rows, np.ones((2, 2))), Prices(np.zeros((2, 2)), 1.0 + rows)):
        proofs = prove(np, chunk, mask, prices)
        assert proofs.bound[0] == pytest.approx(2.0)
        assert proofs.bound[1] == math.inf
        assert proofs.proven(1e-6).tolist() == [True, False]


def test_tiles_do_not_mix() -> None:
    rng = np.random.default_rng(1)
    scores = rng.normal(size=(7, 4, 4)) * 10.0 ** rng.integers(-200, 200, (7, 1, 1))
    prices = Prices(rng.normal(size=(7, 4)), rng.normal(size=(7, 4)))
    mask = np.kron(np.eye(2), np.ones((2, 2))).astype(bool)
    whole = prove(np, Chunk(scores, None, None, (2, 2), (2, 2), range(7)), np.tile(mask, (7, 1, 1)), prices)
    for tile in range(7):
        part = Prices(prices.rows[[tile]], prices.columns[[tile]])
        alone = prove(np, chunk_of(scores[tile], (2, 2), (2, 2)), mask[np.newaxis], part)
        assert [field.item() for field in alone] == [field[tile] for field in whole]


@pytest.mark.parametrize("namespace", ["torch", "strict-device", "jax"])
def test_every_namespace_proves_the_same(namespace: str) -> None:
    ours = frameworks.ALL[namespace]()
    rng = np.random.default_rng(0)
    scores, rows, columns = rng.normal(size=(5, 3, 4)), rng.normal(size=(5, 3)), rng.normal(size=(5, 4))
    keep = rng.random(scores.shape) < 0.1
    drop = (rng.random(scores.shape) < 0.1) & ~keep
    mask = (rng.random(scores.shape) < 0.5) & ~drop | keep
    host = Chunk(scores, keep, drop, (1, 3), (0, 3), range(5))
    there = Chunk(*(ours.make(part) for part in (scores, keep, drop)), (1, 3), (0, 3), range(5))
    xp = array_api_compat.array_namespace(there.scores)
    expected = prove(np, host, mask, Prices(rows, columns))
    with frameworks.doubles(namespace):
        prices = Prices(ours.make(rows), ours.make(columns))
        found = prove(xp, there, ours.make(mask), prices)
        good = feasible(xp, there, ours.make(mask))
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(ours.read(one), other, rtol=1e-14)
    np.testing.assert_array_equal(ours.read(good), feasible(np, host, mask))


# feasible


@settings(deadline=None)
@given(any_chunk(), st.randoms(use_true_random=False))
def test_feasible_is_the_definition(chunk: Chunk, random: Any) -> None:
    (scores,) = chunk.scores
    height, width = scores.shape
    mask = np.array([[random.random() < 0.5 for _ in range(width)] for _ in range(height)])
    expected = all(chunk.row_bounds[0] <= sum(row) <= chunk.row_bounds[1] for row in mask.tolist())
    expected &= all(chunk.column_bounds[0] <= sum(line) <= chunk.column_bounds[1] for line in mask.T.tolist())
    for i, j in np.ndindex(height, width):
        expected &= chunk.keep is None or mask[i, j] or not chunk.keep[0, i, j]
        expected &= chunk.drop is None or not mask[i, j] or not chunk.drop[0, i, j]
    assert feasible(np, chunk, mask[np.newaxis]).tolist() == [bool(expected)]


def test_feasible_sees_every_fault() -> None:
    mask = np.tile(np.eye(3, dtype=bool), (5, 1, 1))
    mask[1, 0] = False  # row and column keep too few
    mask[2, 0] = True  # too many
    keep, drop = np.zeros_like(mask), np.zeros_like(mask)
    keep[3, 0, 1] = drop[4, 0, 0] = True
    chunk = Chunk(mask * 1.0, keep, drop, (1, 1), (1, 1), range(5))
    assert feasible(np, chunk, mask).tolist() == [True] + [False] * 4
    loose = Chunk(mask * 1.0, None, None, (0, 1), (0, 1), range(5))
    assert feasible(np, loose, mask).tolist() == [True, True, False, True, True]
