"""The rational oracle against brute force, the linear programme, and values worked out by hand."""

from fractions import Fraction

import exactly
import numpy as np
import oracles
import pytest
from strategies import FAMILIES

import masksolve as ms

BOUNDS = [
    ((2, 2), (2, 2), (4, 4)),
    ((0, 2), (0, 2), (3, 3)),
    ((1, 2), (0, 3), (3, 4)),
    ((2, 2), (0, 1), (1, 5)),
    ((0, 1), (3, 3), (4, 3)),
    ((3, 3), (3, 3), (3, 3)),
    ((1, 1), (1, 1), (4, 3)),
]


@pytest.mark.parametrize(("rows", "columns", "shape"), BOUNDS)
@pytest.mark.parametrize("forced", [False, True])
def test_brute_force_agrees(rows, columns, shape, forced):
    rng = np.random.default_rng(0)
    for trial in range(40):
        scores = rng.integers(-4, 5, shape).astype(float) if trial % 2 else rng.standard_normal(shape)
        keep = forced & (rng.random(shape) < 0.15)
        drop = forced & (rng.random(shape) < 0.2) & ~keep
        best = oracles.brute_force(scores, rows, columns, keep, drop)
        found = exactly.optimum(scores, rows, columns, keep, drop)
        if best is None:
            assert found is None
        else:
            assert found == max(exactly.worth(scores, best), found)
            assert float(found) == pytest.approx(oracles.value(scores, best), abs=1e-12)


@pytest.mark.parametrize("text", ["4:8-T", "3:7-T at_most", "8:16-T", "5:16-T at_most"])
def test_the_linear_programme_agrees(text):
    pattern = ms.Pattern.parse(text)
    bounds = (pattern.n if pattern.constraint == "exact" else 0, pattern.n)
    for name in ("gaussian", "signed", "small_integers", "one_dominating"):
        scores = FAMILIES[name](np.random.default_rng(1), (pattern.m, pattern.m))
        mask = oracles.linear_programme(scores, bounds, bounds)
        found = exactly.optimum(scores, bounds, bounds)
        assert float(found) == pytest.approx(oracles.value(scores, mask), rel=1e-9)
        assert found >= exactly.worth(scores, mask)


def test_nothing_is_rounded():
    """2**-1074 decides between masks that keep 2**1000."""
    least = 5e-324
    scores = np.array([[2.0**1000, least], [0.0, 2.0**1000]])
    assert exactly.optimum(scores, (1, 1), (1, 1)) == 2 * Fraction(2) ** 1000
    scores = np.array([[2.0**1000, 2.0**1000], [least, 0.0]])
    assert exactly.optimum(scores, (1, 1), (1, 1)) == Fraction(2) ** 1000 + Fraction(1, 2**1074)
    scores = np.array([[-1e20, 1.0], [-1e20, 1.0 + 2.0**-52]])
    assert exactly.optimum(scores, (0, 1), (0, 1)) == 1 + Fraction(1, 2**52)


def test_arrays_are_cut_and_tails_summed():
    scores = np.array([[3.0, 1.0, 7.0], [1.0, 3.0, -2.0]])
    pattern = ms.Pattern.parse("1:2-T dense")
    assert exactly.optima(scores, pattern) == [6]
    assert exactly.tails(scores, pattern) == 5
    assert exactly.tails(scores, pattern, "magnitude") == 9
    assert exactly.kept(scores, np.eye(2, 3, 1, dtype=bool), pattern) == [1]
    assert exactly.optima(scores, ms.Pattern.parse("1:2 pad")) == [3, 7, 3, 0]
    assert exactly.optima(scores, ms.Pattern.parse("1:2 pad"), score="square") == [9, 49, 9, 4]
