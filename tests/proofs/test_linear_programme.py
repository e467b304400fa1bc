"""Theorem: one tile is a linear programme, its optima are masks, and prices prove them.

Over 0 <= x <= 1 with all row and column sums equal to n (exact) or at most n (at most):

    (1)  max sum s_ij x_ij is attained at a 0/1 point: the constraint matrix, the incidence matrix of
         a bipartite graph, is totally unimodular, so LP = IP;
    (2)  for all prices u, v (at most: u, v >= 0)
         max <= D(u, v) = n (sum u_i + sum v_j) + sum_ij max(0, s_ij - u_i - v_j);
    (3)  equality holds for the prices of an optimum, so a mask of an exact backend has gap 0.

Of the optimum opt(s):

    (4)  opt(at most) >= opt(exact), sometimes strictly, even for s >= 0;
    (5)  adding c to a row (or a column) adds n c to every exact mask, so opt(exact) moves by n c and
         the optimal masks stay; not so for at most;
    (6)  opt(s) is not changed by transposing s or by permuting its rows and its columns.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.optimize import linprog

import masksolve as ms
from masksolve.certificate import prove
from masksolve.layout import Chunk
from masksolve.types import Prices

EXACT_BACKENDS = ["exact", "highs"]
CONSTRAINTS = ["exact", "at_most"]
PATTERNS = [(1, 2), (1, 4), (2, 4), (3, 4), (3, 7), (4, 8), (5, 16)]


def incidence(m):
    """Row i of the tile, then column j, as 0/1 vectors over its entries."""
    return np.vstack([np.kron(np.eye(m), np.ones(m)), np.kron(np.ones(m), np.eye(m))])


def vertex(scores, n, constraint):
    """An optimal vertex of the linear programme, from the dual simplex method."""
    m = len(scores)
    sums = {"A_eq": incidence(m), "b_eq": np.full(2 * m, n)}
    if constraint == "at_most":
        sums = {"A_ub": sums["A_eq"], "b_ub": sums["b_eq"]}
    answer = linprog(-scores.ravel(), **sums, bounds=(0, 1), method="highs-ds")
    assert answer.status == 0
    return answer.x.reshape(m, m)


def tiles(m, count):
    """Integer scores, whose sums float64 holds exactly, of three kinds."""
    rng = np.random.default_rng(m)
    return np.concatenate([
        rng.integers(0, 1000, (count, m, m)),
        rng.integers(-1000, 1000, (count, m, m)),
        rng.integers(0, 3, (count, m, m)),
    ]).astype(float)  # fmt: skip


def optimum(scores, n, constraint, backend):
    pattern = ms.Pattern(n, scores.shape[-1], transposable=True, constraint=constraint)
    return ms.solve(scores, pattern, backend=backend)


@pytest.mark.parametrize("m", [2, 3])
def test_every_minor_is_0_or_1_or_minus_1(m):
    """Total unimodularity, by every square submatrix."""
    matrix = incidence(m)
    for size in range(1, 2 * m + 1):
        rows = np.array(list(itertools.combinations(range(2 * m), size)))
        columns = np.array(list(itertools.combinations(range(m * m), size)))
        if len(columns):
            minors = np.linalg.det(matrix[rows[:, None, :, None], columns[None, :, None, :]])
            np.testing.assert_allclose(minors, np.clip(np.rint(minors), -1, 1), atol=1e-9)


@pytest.mark.parametrize("backend", [*EXACT_BACKENDS, "enumerate"])
@pytest.mark.parametrize("constraint", CONSTRAINTS)
def test_vertices_are_masks(constraint, backend):
    """(1): an optimal vertex is 0/1 and worth what the backends find."""
    for n, m in PATTERNS:
        if backend == "enumerate" and m > 4:
            continue
        for tile in tiles(m, 4):
            point = vertex(tile, n, constraint)
            np.testing.assert_allclose(point, np.rint(point), atol=1e-9)
            best = optimum(tile, n, constraint, backend).objective
            assert best == pytest.approx((tile * np.rint(point)).sum(), abs=1e-9)


@pytest.mark.parametrize("constraint", CONSTRAINTS)
def test_any_prices_bound_the_optimum(constraint):
    """(2), D written out here and compared with the certificate's."""
    rng = np.random.default_rng(2)
    for n, m in PATTERNS:
        for tile in tiles(m, 2):
            best = (tile * np.rint(vertex(tile, n, constraint))).sum()
            for scale in (0, 1, 100, 1000):
                u, v = scale * rng.standard_normal((2, m))
                if constraint == "at_most":
                    u, v = np.abs(u), np.abs(v)
                bound = n * (u.sum() + v.sum()) + np.maximum(0, tile - u[:, None] - v).sum()
                assert bound >= best - 1e-9
                bounds = (n if constraint == "exact" else 0, n)
                chunk = Chunk(tile[None], None, None, bounds, bounds, [0])
                mask = (np.arange(m) - np.arange(m)[:, None]) % m < n
                proof = prove(np, chunk, mask[None], Prices(u[None], v[None]))
                assert proof.bound.item() == pytest.approx(bound, rel=1e-12, abs=1e-9)


@pytest.mark.parametrize("backend", EXACT_BACKENDS)
@pytest.mark.parametrize("constraint", CONSTRAINTS)
def test_prices_of_an_optimum_leave_no_gap(constraint, backend):
    """(3), on integers and on Gaussian scores."""
    for n, m in PATTERNS:
        scores = np.concatenate([tiles(m, 4), np.random.default_rng(m).standard_normal((4, m, m))])
        for tile in scores:
            result = optimum(tile, n, constraint, backend)
            assert abs(result.bound - result.objective) <= 1e-11 * np.abs(tile).sum()
            assert result.status is ms.Status.OPTIMAL


@pytest.mark.parametrize("backend", EXACT_BACKENDS)
def test_at_most_is_never_worse(backend):
    """(4), first half."""
    for n, m in PATTERNS:
        for tile in tiles(m, 4):
            loose = optimum(tile, n, "at_most", backend).objective
            assert loose >= optimum(tile, n, "exact", backend).objective - 1e-9


@pytest.mark.parametrize("backend", [*EXACT_BACKENDS, "enumerate"])
def test_at_most_is_sometimes_better(backend):
    """(4), second half: five ones fit, but six entries cannot include all of them."""
    scores = np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    assert optimum(scores, 2, "at_most", backend).objective == 5.0
    assert optimum(scores, 2, "exact", backend).objective == 4.0


@pytest.mark.parametrize("backend", EXACT_BACKENDS)
@pytest.mark.parametrize("by_row", [True, False])
def test_shifting_a_line_shifts_every_mask(backend, by_row):
    """(5)"""
    rng = np.random.default_rng(5)
    for n, m in PATTERNS:
        for tile in tiles(m, 3):
            before = optimum(tile, n, "exact", backend)
            line, amount = rng.integers(m), float(rng.integers(-2000, 2000))
            moved = tile.copy()
            moved[line if by_row else (slice(None), line)] += amount
            after = optimum(moved, n, "exact", backend)
            assert after.objective == pytest.approx(before.objective + n * amount, abs=1e-6)
            assert moved[before.mask].sum() == pytest.approx(after.objective, abs=1e-6)


def test_shifting_a_line_matters_for_at_most():
    scores = np.eye(2)
    moved = scores - [[3.0], [0.0]]
    assert optimum(scores, 1, "at_most", "highs").objective == 2.0
    assert optimum(moved, 1, "at_most", "highs").objective == 1.0  # and not 2 - 3


@pytest.mark.parametrize("backend", EXACT_BACKENDS)
@pytest.mark.parametrize("constraint", CONSTRAINTS)
def test_symmetry(backend, constraint):
    """(6)"""
    rng = np.random.default_rng(6)
    for n, m in PATTERNS:
        for tile in tiles(m, 3):
            best = optimum(tile, n, constraint, backend).objective
            shuffled = tile[rng.permutation(m)][:, rng.permutation(m)]
            assert optimum(tile.T, n, constraint, backend).objective == pytest.approx(best, abs=1e-9)
            assert optimum(shuffled, n, constraint, backend).objective == pytest.approx(best, abs=1e-9)


@pytest.mark.parametrize("rule", ["greedy", "cover"])
def test_symmetry_of_the_heuristics(rule):
    """Without ties, the textbook mask of the transposed tile is the transposed mask."""
    for n, m in PATTERNS:
        rng = np.random.default_rng(m)
        tile = rng.permutation(m * m).reshape(m, m)
        rows, columns = rng.permutation(m), rng.permutation(m)
        mask = optimum(tile, n, "at_most", rule).mask
        np.testing.assert_array_equal(optimum(tile.T, n, "at_most", rule).mask, mask.T)
        shuffled = optimum(tile[rows][:, columns], n, "at_most", rule).mask
        np.testing.assert_array_equal(shuffled, mask[rows][:, columns])
