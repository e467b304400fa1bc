"""Plug-ins that write where they should not, and reports that would pass for what the pipeline says."""

import itertools
import math
from dataclasses import replace
from typing import Any

import frameworks
import numpy as np
import pytest
from assertions import assert_bounded
from plug_ins import Band, Honest, InPlace, answering, band, reporting
from solving import gaussian

import masksolve as ms
from masksolve.backends import offering
from masksolve.backends.base import Backend, Block, Chunk, Prices, Report


def solve(kind: type[Backend], scores: Any, pattern: str = "2:4-T", **options: Any) -> ms.MaskResult:
    with offering(kind):
        return ms.solve(scores, pattern, backend="fake", **options)


# arrays that are not theirs


class Meddling(Band):
    """Writes into what it was given: its band is the best mask of what stands there afterwards."""

    in_namespace = True

    def solve_chunk(self, chunk: Chunk) -> Any:
        mask = band(chunk) if chunk.xp is None else chunk.xp.asarray(band(chunk))
        chunk.scores[...] = 0.0
        chunk.scores[mask] = 100.0
        if chunk.drop is not None:
            chunk.drop[...] = False
        return mask


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_a_chunk_is_the_backends_own(library: str) -> None:
    """At worst it deceives itself: neither the caller's arrays nor what it is judged by change."""
    make = np.array if library == "numpy" else pytest.importorskip("torch").tensor
    scores, drop = gaussian(8, 4), np.zeros((8, 4), np.bool_)
    given, dropped = make(scores), make(drop)
    result = solve(Meddling, given, tiles=True)
    assert result.status is ms.Status.FEASIBLE
    assert_bounded(replace(result, mask=np.asarray(result.mask)), scores)
    dropped[0, 0] = True
    with pytest.raises(ms.BackendFailedError, match="infeasible mask for tile 0"):
        solve(Meddling, given, drop=dropped)
    assert dropped[0, 0]
    assert np.array_equal(np.asarray(given), scores)


class WritesLater(Honest):
    """Holds on to the masks and prices of earlier chunks, and spoils them when it is asked for the next."""

    in_namespace = True
    chunk_entries = device_entries = 16

    def __init__(self) -> None:
        self.answers: list[Any] = []

    def solve_chunk(self, chunk: Chunk) -> Any:
        for mask, rows in self.answers:
            mask[...], rows[...] = True, 1e6
        there = np.array if chunk.xp is None else chunk.xp.asarray
        mask = there(optimal_masks(np.asarray(chunk.scores)))
        prices = Prices(there(np.zeros(mask.shape[:2])), there(np.zeros(mask.shape[:2])))
        self.answers.append((mask, prices.rows))
        return mask, prices


def optimal_masks(scores: np.ndarray) -> np.ndarray:
    """Best of the 90 masks of 2:4-T, tile by tile."""
    every = (np.array(bits, bool).reshape(4, 4) for bits in itertools.product([False, True], repeat=16))
    masks = np.array([mask for mask in every if (mask.sum(0) == 2).all() and (mask.sum(1) == 2).all()])
    return masks[np.tensordot(scores, masks.astype(float), ([1, 2], [1, 2])).argmax(axis=1)]


@pytest.mark.parametrize("library", ["numpy", "torch", "strict", "strict-device"])
@pytest.mark.parametrize("kind", [WritesLater, Honest])
def test_answers_are_taken_when_they_are_given(library: str, kind: type[Band]) -> None:
    scores = gaussian(16, 8)
    arrays = None if library == "numpy" else frameworks.ALL[library]()
    if arrays and not arrays.on_host and kind is WritesLater:
        pytest.skip("reads chunks in place")
    result = solve(kind, scores if arrays is None else arrays.make(scores), duals=True, tiles=True)
    mask = result.mask if arrays is None else arrays.read(result.mask)
    assert result.status is ms.Status.OPTIMAL
    assert ms.verify(mask, "2:4-T").ok
    assert result.objective == pytest.approx(scores[mask].sum(), rel=1e-12)
    proof = ms.recompute_certificate(scores, mask, "2:4-T", None)
    assert result.objective == pytest.approx(proof.bound, rel=1e-12)


class NoPricesThere(Band):
    """Masks where the arrays are, without prices: those are found on the host."""

    in_namespace = True

    def solve_chunk(self, chunk: Chunk) -> Any:
        return chunk.xp.asarray(band(chunk), device=chunk.scores.device)


def test_masks_on_a_device_need_no_prices() -> None:
    arrays, scores = frameworks.ALL["strict-device"](), gaussian(8, 8)
    result = solve(NoPricesThere, arrays.make(scores), tiles=True)
    assert result.status is ms.Status.FEASIBLE
    assert result.stats["open"] > 0
    mask = arrays.read(result.mask)
    assert_bounded(
        replace(result, mask=mask, tiles=ms.TileSums(*map(arrays.read, result.tiles)), duals=None), scores
    )


class WritesAnywhere(InPlace):
    """Spoils the first tile when it is asked for the last."""

    chunk_entries = 16

    def solve(self, block: Block, first: int, last: int) -> Report:
        report = super().solve(block, first, last)
        if last == block.tiles:
            block.write(0, 1, np.ones((1, 4, 4), np.bool_), None)
        return report


def test_a_block_is_judged_when_all_of_it_is_written() -> None:
    with pytest.raises(ms.BackendFailedError, match="infeasible mask for tile 0"):
        solve(WritesAnywhere, gaussian(8, 8))


@pytest.mark.parametrize("kind", [InPlace, Honest])
def test_pairs_are_added_up_for_plug_ins(kind: type[Backend]) -> None:
    """A block of pairs is solved in runs that have sums and a mask of their own."""
    scores = gaussian(8, 16)
    result = solve(kind, scores, "4:8-T pair")
    assert result.status is ms.Status.OPTIMAL
    assert ms.verify(result.mask, "4:8-T pair").ok
    assert result.objective == pytest.approx(scores[result.mask].sum(), rel=1e-12)
    assert result.objective == pytest.approx(ms.solve(scores, "4:8-T pair").objective, rel=1e-12)


class WideTrue(InPlace):
    """Writes 255 for True, as comparisons of vectors do."""

    def solve(self, block: Block, first: int, last: int) -> Report:
        report = super().solve(block, first, last)
        block.mask.view(np.uint8)[...] *= 255
        return report


def test_true_is_one_in_masks_that_are_handed_out() -> None:
    wide = answering(lambda chunk: (band(chunk).view(np.uint8) * 255).view(np.bool_))
    unbounded = type(
        "Unbounded", (WideTrue,), {"solve": lambda *a: replace(WideTrue.solve(*a), bound=math.inf)}
    )
    for kind in (WideTrue, unbounded, wide):
        assert set(np.unique(solve(kind, gaussian(8, 8)).mask.view(np.uint8))) == {0, 1}


# reports


@pytest.mark.parametrize("objective", [math.nan, 1e6])
def test_an_objective_is_checked_where_no_bound_is_given(objective: float) -> None:
    kind = reporting(lambda kept: objective, lambda kept: math.inf)
    with pytest.raises(ms.BackendFailedError, match=r"reported an objective of .* keep"):
        solve(kind, gaussian(8, 8))


@pytest.mark.parametrize("bound", [None, "1", [2.0]])
def test_sums_are_numbers(bound: Any) -> None:
    for kind in (reporting(lambda kept: kept, lambda kept: bound), reporting(lambda kept: bound, float)):
        with pytest.raises(ms.BackendFailedError, match="for tiles 0 to 3, which is no number"):
            solve(kind, gaussian(8, 8))


@pytest.mark.parametrize("kind", [Band, InPlace])
@pytest.mark.parametrize("workers", [1, 2])
def test_stop_iteration_is_named(kind: type[Backend], workers: int) -> None:
    def stop(*_: Any) -> Any:
        raise StopIteration

    stopping = type("Stopping", (kind,), {"solve_chunk": stop} if kind is Band else {"solve": stop})
    with pytest.raises(ms.BackendFailedError, match="backend 'fake' raised StopIteration"):
        solve(stopping, gaussian(8, 8), workers=workers)


def test_sums_that_cancel_are_compared_with_what_they_are_sums_of() -> None:
    """The rounding of an honest sum is no lie, however small the sum is."""
    scores = np.array([[1e6, 0.1, -1e6, 0.0]] * 4)
    kind = reporting(lambda kept: kept + 1e-9, lambda kept: kept + 1e-9)
    assert solve(kind, scores, "4:4").status is ms.Status.OPTIMAL


@pytest.mark.parametrize("counts", [{"open": -4}, {"unreached": 1}, {"seen": "many"}, {3: 3}, [3]])
def test_counts_cannot_pass_for_what_the_pipeline_says(counts: Any) -> None:
    chunked = answering(lambda chunk: (band(chunk), None, counts))
    in_place = type("Counting", (InPlace,), {"solve": lambda *a: replace(InPlace.solve(*a), counts=counts)})
    for kind in (chunked, in_place):
        with pytest.raises(ms.BackendFailedError, match="must return counts as integers by names other"):
            solve(kind, gaussian(8, 8))
