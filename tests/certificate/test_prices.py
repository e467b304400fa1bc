"""Prices found from masks alone: proofs of optimal ones, bounds for any, and a decision in integers."""

from fractions import Fraction
from itertools import pairwise

import chunks
import exactly
import numpy as np
import oracles
import pytest
from chunks import any_chunk, chunk_of
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from strategies import FAMILIES

import masksolve as ms
from masksolve.certificate import feasible, price, prove, settle
from masksolve.certificate.prices import integers, optimal
from masksolve.layout import Chunk


@settings(deadline=None)
@given(any_chunk())
def test_price_proves_an_optimal_mask(chunk: Chunk) -> None:
    mask = chunks.best_mask(chunk)
    assume(mask is not None)
    assert feasible(np, chunk, mask).all()
    assume(exactly.worth(chunk.scores[0], mask[0]) == chunks.optimum(chunk))
    proofs = prove(np, chunk, mask, price(chunk, mask))
    assert proofs.violation.item() <= 1e-12 * float(np.abs(chunk.scores).sum())


@settings(deadline=None)
@given(any_chunk(), st.integers(0, 99))
def test_price_bounds_whatever_mask_it_is_given(chunk: Chunk, seed: int) -> None:
    mask = chunks.feasible_mask(chunk, seed)
    assume(mask is not None)
    bound = prove(np, chunk, mask, price(chunk, mask)).bound.item()
    assert np.isfinite(bound)
    assert Fraction(bound) >= chunks.optimum(chunk)


@settings(max_examples=150, deadline=None)
@given(any_chunk(chunks.EXTREME), st.integers(0, 9))
def test_integers_decide_whether_a_mask_is_optimal(chunk: Chunk, seed: int) -> None:
    """Of any magnitudes, for masks that are optimal and for others."""
    for mask in (chunks.feasible_mask(chunk, seed), chunks.best_mask(chunk)):
        assume(mask is not None)
        kept = exactly.worth(chunk.scores[0], mask[0])
        assert optimal(chunk, mask) == (kept == chunks.optimum(chunk))


@settings(max_examples=150, deadline=None)
@given(any_chunk(chunks.EXTREME), st.integers(0, 9), st.sampled_from([np.float32, np.float64]))
def test_what_is_settled_is_true(chunk: Chunk, seed: int, dtype: type) -> None:
    """A mask that is not called open keeps its optimum to the tolerance; bounds are bounds."""
    for mask in (chunks.feasible_mask(chunk, seed), chunks.best_mask(chunk)):
        assume(mask is not None)
        settled = settle(chunk, mask, price(chunk, mask), dtype)
        best, kept = chunks.optimum(chunk), exactly.worth(chunk.scores[0], mask[0])
        assert Fraction(settled.bound.item()) >= best
        if not settled.open[0]:
            size = exactly.worth(np.abs(chunk.scores[0]), mask[0])
            assert best - kept <= Fraction(1e-6 if dtype is np.float32 else 1e-12) * size
        if kept == best:
            assert not settled.open[0]


def test_integers_are_the_scores_over_a_common_denominator() -> None:
    scores = np.array([[0.0, 5e-324, -1.0, 2.0**1000, 1e-300, 0.1]])
    whole = integers(scores)
    assert all(type(value) is int for value in whole.ravel())
    exact = [Fraction(value) for value in scores.ravel().tolist()]
    unit = Fraction(whole[0, 3], 1) / exact[3]
    assert [value * unit for value in exact] == whole.ravel().tolist()
    assert integers(np.zeros((1, 2))).tolist() == [[0, 0]]


@pytest.mark.parametrize("pattern", ["8:16-T", "3:16-T at_most", "8:16-T pad"])
@pytest.mark.parametrize("step", [0.0, 0.5])
def test_price_proves_optimal_masks_of_larger_tiles(pattern: str, step: float) -> None:
    scores = np.random.default_rng(2).normal(size=(2, 16, 32))
    if step:
        scores = np.round(scores / step) * step
    if "pad" in pattern:
        scores = scores[:, 3:, 5:]
    mask = oracles.solve(scores, ms.Pattern.parse(pattern))
    objective, bound = ms.recompute_certificate(scores, mask, pattern)
    assert bound == pytest.approx(objective, rel=1e-13)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_proven_from_its_mask(family: str) -> None:
    """Also where the magnitudes within a tile are too different for float64."""
    rng = np.random.default_rng(len(family))
    scores = FAMILIES[family](rng, (8, 8)).astype(np.float64)
    for bounds in ((4, 4), (0, 4)):
        mask = oracles.linear_programme(scores, bounds, bounds)
        chunk = chunk_of(scores, bounds, bounds)
        if exactly.worth(scores, mask) == chunks.optimum(chunk):
            settled = settle(chunk, mask[np.newaxis], price(chunk, mask[np.newaxis]), np.float64)
            assert settled.open.tolist() == [False]


def test_rows_alone_have_the_best_prices_whatever_the_mask() -> None:
    scores = np.random.default_rng(3).normal(size=(6, 8))
    for text in ("2:4", "3:4 at_most"):
        pattern = ms.Pattern.parse(text)
        optimum = float(sum(exactly.optima(scores, pattern)))
        poor = np.tile([True, True, False, False], (6, 2))
        assert ms.recompute_certificate(scores, poor, pattern).bound == pytest.approx(optimum, rel=1e-13)


def test_prices_do_not_depend_on_the_tiles_beside() -> None:
    rng = np.random.default_rng(5)
    scores = rng.normal(size=(4, 6, 6)) * np.array([1e-200, 1.0, 1e9, 1e200])[:, np.newaxis, np.newaxis]
    mask = np.stack([oracles.linear_programme(tile, (3, 3), (3, 3)) for tile in scores])
    together = price(Chunk(scores, None, None, (3, 3), (3, 3), range(4)), mask)
    gaps = []
    for tile in range(4):
        chunk = chunk_of(scores[tile], (3, 3), (3, 3))
        gaps.append(prove(np, chunk, mask[[tile]], together.some([tile])).gap(np).item())
    assert max(gaps) <= 1e-12
    assert not any(one == other for one, other in pairwise(together.rows.tolist()))
