"""Sums that err on the safe side do, by rational arithmetic."""

from fractions import Fraction

import exactly
import numpy as np
import pytest
from mixtures import MIXTURES

import masksolve as ms
from masksolve.rounding import total, upper_sum


def exact_sum(values: np.ndarray) -> Fraction:
    return sum(map(Fraction, values.tolist()), start=Fraction(0))


@pytest.mark.parametrize("size", [0, 1, 2, 63, 64, 65, 127, 128, 129, 4095, 4097, 64 * 127, 64 * 128 + 63])
@pytest.mark.parametrize("family", ["spread 8", "nearly equal", "gaussian float64", "denormal", "zeros"])
def test_totals_bound_the_sum(family: str, size: int) -> None:
    for seed in range(3):
        values = MIXTURES[family](np.random.default_rng(seed), (size,))
        nearest, most = total(np, values)
        exact = exact_sum(values)
        assert exact <= Fraction(most)
        assert abs(Fraction(nearest) - exact) <= Fraction(most) - Fraction(nearest)
        assert most - nearest <= 1e-13 * np.abs(values).sum()


def test_upper_sums_are_the_next_number_upwards() -> None:
    assert upper_sum([1.0, 2.0**-60]) == np.nextafter(1.0, 2.0)
    assert upper_sum([1.0, -(2.0**-60)]) == 1.0
    assert upper_sum([1.0, 2.0]) == 3.0


@pytest.mark.parametrize("family", ["dominated 1e15", "heavy tails", "nearly equal"])
@pytest.mark.parametrize("pattern", ["2:4-T dense", "4:8 dense"])
def test_what_is_kept_whole_is_in_the_bound_to_the_last_bit(family: str, pattern: str) -> None:
    for seed in range(20):
        scores = MIXTURES[family](np.random.default_rng(seed), (11, 15))
        result = ms.solve(scores, pattern)
        best = sum(exactly.optima(scores, result.pattern), start=Fraction(0))
        best += exactly.tails(scores, result.pattern)
        proof = ms.recompute_certificate(scores, result.mask, pattern, result.duals)
        for bound in (result.bound, proof.bound):
            assert Fraction(bound) >= best
            assert bound - float(best) <= 1e-13 * np.abs(scores).sum()
