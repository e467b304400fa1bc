"""Plug-ins that err or lie: what they say is never believed, and OPTIMAL is true whoever found the mask."""

import math
from collections.abc import Iterator
from typing import Any

import exactly
import numpy as np
import pytest
from assertions import assert_bounded, assert_proven
from plug_ins import Band, Honest, InPlace, answering, band, reporting, zeros
from solving import gaussian

import masksolve as ms
from masksolve.backends import offering
from masksolve.backends.base import Backend, Block, Chunk, Prices, Report


def solve(kind: type[Backend], scores: Any, pattern: str = "2:4-T", **options: Any) -> ms.MaskResult:
    with offering(kind):
        return ms.solve(scores, pattern, backend="fake", **options)


# honest ones


@pytest.mark.parametrize("kind", [Honest, InPlace])
@pytest.mark.parametrize(
    "pattern", ["2:4-T", "2:4-T at_most", "3:4-T pad", "2:4", "1:4 at_most axis=0 dense"]
)
def test_true_masks_are_proven_without_prices_of_their_own(kind: type[Backend], pattern: str) -> None:
    scores = gaussian(7, 10) if "pad" in pattern or "dense" in pattern else gaussian(8, 12)
    result = solve(kind, scores, pattern, tiles=True)
    assert_proven(result, scores)
    assert result.duals is not None


def test_a_mask_that_happens_to_be_optimal_is_proven() -> None:
    for kind in (Band, type("Heuristic", (Band,), {"exact": False})):
        assert solve(kind, np.ones((8, 8))).status is ms.Status.OPTIMAL
        assert solve(kind, gaussian(8, 8)).status is ms.Status.FEASIBLE


# masks that are none


class AllTrue(Band):
    def solve_chunk(self, chunk: Chunk) -> Any:
        return np.ones(chunk.scores.shape, np.bool_)


class AllTrueInPlace(InPlace):
    def solve(self, block: Block, first: int, last: int) -> Report:
        super().solve(block, first, last)
        chunk = block.on_host(first, last)
        block.write(first, last, np.ones(chunk.scores.shape, np.bool_), None)
        kept = float(chunk.scores.sum())
        return Report(kept, kept)


class AllTrueUnbounded(AllTrueInPlace):
    def solve(self, block: Block, first: int, last: int) -> Report:
        return Report(super().solve(block, first, last).objective, math.inf)


class OneMissing(Band):
    """Wrong in the last tile only."""

    def solve_chunk(self, chunk: Chunk) -> Any:
        mask = band(chunk)
        if chunk.numbers[-1] == 3:
            mask[-1, 2] = False
        return mask


MASKS = {
    "all true": (AllTrue, "returned an infeasible mask for tile 0; use backend='exact'"),
    "all true in place": (AllTrueInPlace, "returned an infeasible mask for tile 0; use backend='exact'"),
    "all true, no bound": (AllTrueUnbounded, "returned an infeasible mask for tile 0; use backend='exact'"),
    "last tile": (OneMissing, "returned an infeasible mask for tile 3"),
    "shape": (
        answering(lambda chunk: band(chunk)[:, :3]),
        r"masks of bool and shape \(1, 4, 4\), got bool of",
    ),
    "too few": (answering(lambda chunk: band(chunk)[:0]), r"masks of bool and shape .* of shape \(0, 4, 4\)"),
    "broadcast": (answering(lambda chunk: band(chunk)[0]), r"masks of bool and shape .* of shape \(4, 4\)"),
    "integers": (answering(lambda chunk: band(chunk).astype(int)), "masks of bool and shape .*, got int64"),
    "floats": (answering(lambda chunk: band(chunk) * 1.0), "masks of bool and shape .*, got float64"),
    "list": (answering(lambda chunk: band(chunk).tolist()), "masks of bool and shape .*, got list"),
    "nothing": (answering(lambda chunk: None), "masks of bool and shape .*, got NoneType"),
    "empty": (answering(lambda chunk: ()), "masks of bool and shape .*, got NoneType"),
    "no report": (type("Mute", (InPlace,), {"solve": lambda *a: None}), "must return a Report, got NoneType"),
}


@pytest.mark.parametrize(("kind", "message"), MASKS.values(), ids=MASKS)
@pytest.mark.parametrize("workers", [1, 2])
def test_what_is_no_mask_is_refused(kind: type[Backend], message: str, workers: int) -> None:
    with pytest.raises(ms.BackendFailedError, match=f"backend 'fake' .*{message}"):
        solve(kind, gaussian(8, 8), workers=workers)


def test_forced_choices_that_are_not_obeyed_are_refused() -> None:
    keep = np.zeros((4, 8), np.bool_)
    keep[0, 7] = True
    for forced in ({"keep": keep}, {"drop": np.arange(8) == 4}):
        with pytest.raises(ms.BackendFailedError, match="infeasible mask for tile 1"):
            solve(Band, gaussian(4, 8), **forced)


# prices that prove nothing


def pricing(change: Any, *, honest: bool) -> type[Band]:
    """A backend whose masks are optimal, or not, and whose prices are ``change(chunk)``."""
    kind = Honest if honest else Band
    return type(
        "Pricing", (kind,), {"solve_chunk": lambda self, chunk: (kind().solve_chunk(chunk), change(chunk))}
    )


def filled(value: float, line: Any = slice(None)) -> Any:
    def change(chunk: Chunk) -> Prices:
        prices = zeros(chunk)
        prices.rows[:, line] = value
        return prices

    return change


PRICES = {
    "nan": filled(np.nan),
    "one nan": filled(np.nan, 2),
    "infinite": filled(np.inf),
    "minus infinite": filled(-np.inf, 1),
    "largest": filled(np.finfo(np.float64).max),
    "zero": filled(0.0),
    "random": lambda chunk: Prices(*np.random.default_rng(0).normal(size=(2, len(chunk.scores), 4))),
    "another tile's": lambda chunk: Prices(
        np.roll(chunk.scores, 1).max(axis=2), np.zeros((len(chunk.scores), 4))
    ),
    "single precision": lambda chunk: Prices(*(part.astype(np.float32) for part in zeros(chunk))),
}


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("change", PRICES.values(), ids=PRICES)
@pytest.mark.filterwarnings("ignore:overflow encountered")
def test_wrong_prices_prove_nothing(change: Any, exact: bool) -> None:
    """Whatever they are, the bound is one, and a suboptimal mask is not called optimal."""
    scores = gaussian(8, 8, seed=3)
    wrong = solve(type("Wrong", (pricing(change, honest=False),), {"exact": exact}), scores, tiles=True)
    assert wrong.status is ms.Status.FEASIBLE
    assert wrong.stats["open"] == 4
    assert_bounded(wrong, scores)
    right = solve(type("Right", (pricing(change, honest=True),), {"exact": exact}), scores, tiles=True)
    assert_bounded(right, scores)
    if exact:  # better prices are found for it
        assert_proven(right, scores)


@pytest.mark.parametrize("pattern", ["2:4", "2:4 at_most", "4:4-T at_most", "2:4-T pad"])
def test_columns_that_may_keep_anything_cannot_be_priced_for_nothing(pattern: str) -> None:
    """Prices of columns could explain any scores away, if what they cost were not counted."""

    def explain(chunk: Chunk) -> Prices:
        return Prices(np.zeros(chunk.scores.shape[:2]), chunk.scores.max(axis=1))

    for exact in (True, False):
        scores = np.abs(gaussian(5, 8))[: 5 if "pad" in pattern or "T" not in pattern else 4]
        worst = type("Worst", (pricing(explain, honest=False),), {"exact": exact})
        result = solve(worst, -scores if "4:4" in pattern else scores, pattern, tiles=True)
        assert_bounded(result, -scores if "4:4" in pattern else scores)
        assert result.status is ms.Status.FEASIBLE


@pytest.mark.parametrize(
    "change",
    [
        lambda chunk: Prices(np.zeros((1, 3)), np.zeros((1, 4))),
        lambda chunk: Prices(np.zeros((1, 4)), np.zeros((2, 4))),
        lambda chunk: Prices(np.zeros(4), np.zeros(4)),
        lambda chunk: Prices(np.zeros((1, 4), complex), np.zeros((1, 4))),
        lambda chunk: Prices("cheap", "dear"),
        lambda chunk: (np.zeros((1, 4)),),
        lambda chunk: 7.0,
    ],
    ids=["rows", "columns", "one axis", "complex", "text", "alone", "number"],
)
def test_what_are_no_prices_is_refused(change: Any) -> None:
    with pytest.raises(ms.BackendFailedError, match="'fake' must return prices"):
        solve(pricing(change, honest=True), gaussian(4, 4))


# reports that are not true


REPORTS = {
    "bound below": (
        reporting(lambda kept: kept, lambda kept: kept - 1e-3),
        "a bound of .*, below its objective",
    ),
    "bound nan": (reporting(lambda kept: kept, lambda kept: math.nan), "a bound of nan"),
    "bound minus infinite": (reporting(lambda kept: kept, lambda kept: -math.inf), "a bound of -inf"),
    "objective above": (reporting(lambda kept: kept + 1, lambda kept: kept + 1), "an objective of .* keep"),
    "objective below": (reporting(lambda kept: kept - 0.01, lambda kept: kept), "an objective of .* keep"),
    "objective nan": (reporting(lambda kept: math.nan, lambda kept: kept), "an objective of nan"),
}


@pytest.mark.parametrize(("kind", "message"), REPORTS.values(), ids=REPORTS)
def test_reports_that_are_not_true_are_refused(kind: type[Backend], message: str) -> None:
    with pytest.raises(ms.BackendFailedError, match=f"backend 'fake' reported {message}"):
        solve(kind, gaussian(8, 8))


class SaysOptimal(InPlace):
    def solve(self, block: Block, first: int, last: int) -> Report:
        chunk = block.on_host(first, last)
        mask = band(chunk)
        block.write(first, last, mask, None)
        kept = math.fsum(chunk.scores[mask].tolist())
        return Report(kept, kept, open=0)


def test_a_mask_is_no_bound_because_somebody_says_so() -> None:
    scores = gaussian(8, 8)
    result = solve(SaysOptimal, scores, tiles=True)
    assert result.status is ms.Status.FEASIBLE
    assert result.stats["open"] == 4
    assert_bounded(result, scores)


def test_no_bound_is_no_proof() -> None:
    """A report with an infinite bound asks for no certificate, and gets none."""
    result = solve(reporting(lambda kept: kept, lambda kept: math.inf), np.ones((8, 8)))
    assert (result.bound, result.gap, result.duals, result.tiles) == (math.inf, math.inf, None, None)
    assert result.stats["open"] == 4
    assert result.status is ms.Status.FEASIBLE


# one large tile


@pytest.fixture(params=[1e9, 1e15])
def lopsided(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Twelve tiles, of which the seventh outweighs the others."""
    scores = np.abs(gaussian(12, 16, seed=4)) + 0.1
    scores[4:8, 8:12] *= request.param
    return scores


class OneTileRight(Honest):
    """Solves the heavy tile, and gives every other the worst mask."""

    chunk_entries = 1 << 10

    def solve_chunk(self, chunk: Chunk) -> Any:
        worst = Honest().solve_chunk(
            Chunk(-chunk.scores, None, None, chunk.row_bounds, chunk.column_bounds, chunk.numbers)
        )
        best = Honest().solve_chunk(chunk)
        heavy = chunk.scores.max(axis=(1, 2)) > 1e6
        return np.where(heavy[:, np.newaxis, np.newaxis], best, worst)


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("entries", [16, 1 << 10])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_one_heavy_tile_hides_nothing(lopsided: Any, exact: bool, entries: int, dtype: Any) -> None:
    scores = lopsided.astype(dtype)
    kind = type("Lopsided", (OneTileRight,), {"exact": exact, "chunk_entries": entries})
    result = solve(kind, scores, tiles=True)
    assert result.gap < 1e-6
    assert result.status is ms.Status.FEASIBLE
    assert result.stats["open"] == 11
    best = assert_bounded(result, scores)
    kept = exactly.kept(scores, result.mask, result.pattern)
    losses = [float((most - worth) / worth) for most, worth in zip(best, kept, strict=True)]
    worst = result.stats["worst_tile"]
    assert worst != 6
    assert losses[worst] >= 0.3 * max(losses)
    assert result.stats["worst_gap"] >= losses[worst]


@pytest.mark.parametrize(
    ("backend", "options"),
    [("greedy", {"bound": True}), ("cover", {"bound": True}), ("entropic", {"tau": 4.0, "iterations": 3})],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_heuristics_are_not_flattered_by_one_heavy_tile(
    lopsided: Any, backend: str, options: dict[str, Any], dtype: Any
) -> None:
    scores = np.abs(gaussian(16, 64, seed=5))
    scores[:8, :8] *= lopsided.max()
    scores = scores.astype(dtype)
    result = ms.solve(scores, "4:8-T", backend=backend, tiles=True, **options)
    best = assert_bounded(result, scores)
    kept = exactly.kept(scores, result.mask, result.pattern)
    bad = [
        number for number, pair in enumerate(zip(best, kept, strict=True)) if pair[0] > pair[1] * (1 + 1e-6)
    ]
    assert len(bad) > 4
    assert result.status is ms.Status.FEASIBLE
    assert result.stats["open"] >= len(bad)
    assert result.stats["worst_tile"] in bad


# exceptions


class Failing(Band):
    def solve_chunk(self, chunk: Chunk) -> Any:
        raise ZeroDivisionError("a bug")


@pytest.mark.parametrize("workers", [1, 2])
def test_a_backends_exception_comes_through(workers: int) -> None:
    with pytest.raises(ZeroDivisionError, match="a bug"):
        solve(Failing, gaussian(64, 64), workers=workers)
