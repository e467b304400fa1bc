"""What the best n:m mask keeps is concave in n: by slow solvers that share nothing with masksolve."""

import numpy as np
import pytest
from oracles import brute_force, linear_programme, sorting, value

import masksolve as ms
from masksolve.testing.families import FAMILIES


def assert_concave(kept: list[float], scores: np.ndarray) -> None:
    size = max(float(np.abs(scores.astype(float)).sum()), 1e-300)
    assert (np.diff(kept, 2) <= 1e-9 * size).all(), kept


@pytest.mark.parametrize("constraint", ["exact", "at_most"])
@pytest.mark.parametrize("family", sorted(set(FAMILIES) - {"denormal", "denormal_float32", "huge_float64"}))
def test_tiles(family: str, constraint: str) -> None:
    rng = np.random.default_rng(len(family))
    for m, oracle in ((3, brute_force), (5, linear_programme)):
        scores = FAMILIES[family](rng, (m, m))
        bounds = [((n if constraint == "exact" else 0), n) for n in range(m + 1)]
        kept = [value(scores, oracle(scores, each, each)) for each in bounds]
        assert_concave(kept, scores)
        # The compiled engine, at the n that a pattern may have.
        patterns = [ms.Pattern(n, m, transposable=True, constraint=constraint) for n in range(1, m + 1)]
        own = [ms.solve(scores, pattern).objective for pattern in patterns]
        assert own == pytest.approx(kept[1:], abs=1e-6 * float(np.abs(scores.astype(float)).sum()))


@pytest.mark.parametrize("height", [2, 5])
def test_tiles_cut_short(height: int) -> None:
    rng = np.random.default_rng(height)
    for _ in range(10):
        scores = rng.standard_normal((height, 5))
        kept = [value(scores, linear_programme(scores, (n, n), (0, min(n, height)))) for n in range(6)]
        assert_concave(kept, scores)


def test_rows_and_columns_with_budgets_in_step() -> None:
    rng = np.random.default_rng(0)
    for _ in range(10):
        scores = rng.standard_normal((6, 3))
        kept = [value(scores, linear_programme(scores, (n, n), (2 * n, 2 * n))) for n in range(4)]
        assert_concave(kept, scores)


def test_groups_are_sums_of_the_largest() -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        scores = rng.standard_normal((1, 7))
        assert_concave([value(scores, sorting(scores, (n, n), (0, 1))) for n in range(8)], scores)


def test_best_masks_are_not_nested() -> None:
    rng = np.random.default_rng(2)
    found = 0
    for _ in range(200):
        scores = rng.random((3, 3))
        one, two = (brute_force(scores, (n, n), (n, n)) for n in (1, 2))
        found += not (one <= two).all()
    assert found
