"""What a result says about itself."""

import re

import numpy as np
import numpy.typing as npt
import pytest
from solving import check, gaussian

import masksolve as ms
from masksolve.certificate import recompute
from masksolve.types import Prices


def test_duals_are_kept_or_not() -> None:
    scores = gaussian(2, 8, 24)
    assert ms.solve(scores, "4:8-T", duals=False).duals is None
    for duals in (None, True):
        kept = ms.solve(scores, "4:8-T", duals=duals).duals
        assert kept is not None
        assert kept.columns is not None
        assert (kept.rows.shape, kept.columns.shape) == ((6, 8), (6, 8))
    groups = ms.solve(scores, "4:8").duals
    assert groups is not None
    assert (groups.rows.shape, groups.columns) == ((48, 1), None)
    without, with_ = ms.solve(scores, "4:8-T", duals=False), ms.solve(scores, "4:8-T", duals=True)
    assert (without.bound, without.objective) == (with_.bound, with_.objective)


def test_duals_are_ordered_by_tile() -> None:
    scores = gaussian(2, 16, 24)
    duals = ms.solve(scores, "4:8-T").duals
    assert duals is not None
    assert duals.columns is not None
    for number, (batch, row, column) in enumerate(np.ndindex(2, 2, 3)):
        tile = scores[batch, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8]
        alone = ms.solve(tile, "4:8-T")
        prices = Prices(duals.rows[[number]], duals.columns[[number]])
        assert recompute(tile, alone.mask, "4:8-T", prices).bound == pytest.approx(alone.bound, rel=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("pattern", ["2:4-T", "2:4-T pad", "2:3 at_most dense"])
def test_a_chunk_backends_duals_give_its_bound(pattern: str, dtype: type) -> None:
    scores = gaussian(*((8, 8) if pattern == "2:4-T" else (7, 10))).astype(dtype)
    check(ms.solve(scores, pattern, backend="enumerate"), scores)


def test_stats() -> None:
    result = ms.solve(gaussian(3, 8, 16), "4:8-T", workers=2)
    assert (result.stats["tiles"], result.stats["workers"]) == (6, 2)
    assert result.stats["seconds"] > 0
    assert "exact" in result.stats["chosen_because"]
    assert "unreached" not in result.stats
    named = ms.solve(gaussian(8, 8), "2:4-T", backend="enumerate")
    assert (named.backend, named.stats["chosen_because"]) == ("enumerate", "asked for by name")


def test_repr_and_pattern() -> None:
    result = ms.solve(np.eye(4), "1:4-T")
    assert result.pattern == ms.Pattern(1, 4, transposable=True)
    assert re.fullmatch(
        r"MaskResult\(OPTIMAL, pattern='1:4-T', shape=\(4, 4\), objective=4, gap=\S+, backend='exact'\)",
        repr(result),
    )
    assert result.gap <= 1e-13


@pytest.mark.parametrize("pattern", ["2:4-T", "4:8-T at_most", "2:4", "3:7-T pad", "1:4 at_most dense"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int8])
def test_nothing_kept_nothing_to_prove(pattern: str, dtype: npt.DTypeLike) -> None:
    """Sums of zeros do not round, so there is no gap."""
    shape = (9, 9) if "pad" in pattern or "dense" in pattern else (8, 16)
    result = ms.solve(np.zeros(shape, dtype), pattern)
    assert (result.objective, result.bound, result.gap) == (0.0, 0.0, 0.0)
    assert result.status is ms.Status.OPTIMAL


def test_every_status_says_what_to_do() -> None:
    for status in ms.Status:
        assert str(status).startswith(status.name.lower().replace("_", " ") + ": ")


@pytest.mark.parametrize("pattern", ["4:8-T", "2:4", "2:4-T pad"])
def test_workers_do_not_change_a_bit(pattern: str) -> None:
    scores = gaussian(3, 1001 if "pad" in pattern else 1000, 1000)
    alone, *others = [ms.solve(scores, pattern, workers=workers, duals=True) for workers in (1, 2, -1)]
    for other in others:
        assert np.array_equal(alone.mask, other.mask)
        assert (alone.objective, alone.bound) == (other.objective, other.bound)
        assert alone.duals is not None
        assert other.duals is not None
        assert np.array_equal(alone.duals.rows, other.duals.rows)


def test_progress_reaches_every_tile() -> None:
    calls: list[tuple[int, int]] = []
    ms.solve(gaussian(6, 512, 512), "4:8-T", progress=lambda *call: calls.append(call))
    done = [call[0] for call in calls]
    assert {call[1] for call in calls} == {6 * 64 * 64}
    assert done == sorted(set(done))
    assert done[-1] == 6 * 64 * 64
