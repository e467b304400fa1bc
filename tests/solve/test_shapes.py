"""Batches, axes, remainders and forced choices."""

import itertools

import numpy as np
import pytest
from solving import check, gaussian

import masksolve as ms


def test_a_batch_is_solved_matrix_by_matrix() -> None:
    scores = gaussian(2, 3, 8, 16)
    result = ms.solve(scores, "4:8-T")
    check(result, scores, gap=1e-12)
    for place in np.ndindex(2, 3):
        assert np.array_equal(result.mask[place], ms.solve(scores[place], "4:8-T").mask)


def test_an_array_of_tiles_is_a_batch() -> None:
    matrix = gaussian(16, 24)
    tiles = matrix.reshape(2, 8, 3, 8).swapaxes(1, 2).reshape(6, 8, 8)
    whole, apart = ms.solve(matrix, "4:8-T"), ms.solve(tiles, "4:8-T")
    assert np.array_equal(whole.mask.reshape(2, 8, 3, 8).swapaxes(1, 2).reshape(6, 8, 8), apart.mask)
    assert whole.duals is not None
    assert apart.duals is not None
    assert np.array_equal(whole.duals.rows, apart.duals.rows)


@pytest.mark.parametrize("axis", range(-3, 3))
def test_any_axis(axis: int) -> None:
    scores = gaussian(8, 12, 4)
    result = ms.solve(scores, ms.Pattern(3, 4, axis=axis))
    check(result, scores, gap=1e-12)
    best = np.sort(np.moveaxis(scores, axis, -1).reshape(-1, 4), axis=1)[:, 1:].sum()
    assert result.objective == pytest.approx(best, rel=1e-13)


def test_one_axis() -> None:
    assert ms.solve([3.0, 1.0, 2.0, -4.0], "2:4").mask.tolist() == [True, False, True, False]


def test_signed_scores_mean_what_they_say() -> None:
    scores = -np.abs(gaussian(8, 8))
    assert ms.solve(scores, "2:4-T").mask.sum() == 32
    assert ms.solve(scores, "2:4-T at_most").mask.sum() == 0
    assert not np.array_equal(ms.solve(scores, "2:4-T").mask, ms.solve(-scores, "2:4-T").mask)


def test_pad_cuts_the_last_groups_short() -> None:
    scores = np.abs(gaussian(9, 11)) + 1
    result = ms.solve(scores, "2:4-T pad")
    check(result, scores, gap=1e-12)
    for top, left in itertools.product(range(0, 9, 4), range(0, 11, 4)):
        tile = result.mask[top : top + 4, left : left + 4]
        assert set(tile.sum(axis=1)) <= ({2} if tile.shape[1] == 4 else {0, 1, 2})
        assert set(tile.sum(axis=0)) <= ({2} if tile.shape[0] == 4 else {0, 1, 2})


def test_dense_keeps_the_tail_whole() -> None:
    scores = gaussian(9, 11)
    result = ms.solve(scores, "2:4-T dense")
    check(result, scores, gap=1e-12)
    assert result.mask[8:].all()
    assert result.mask[:, 8:].all()
    assert np.array_equal(result.mask[:8, :8], ms.solve(scores[:8, :8], "2:4-T").mask)


@pytest.mark.parametrize("remainder", ["pad", "dense"])
def test_whole_shapes_need_no_remainder(remainder: str) -> None:
    scores = gaussian(8, 16)
    assert np.array_equal(ms.solve(scores, f"4:8-T {remainder}").mask, ms.solve(scores, "4:8-T").mask)


@pytest.mark.parametrize(
    "pattern", ["2:4-T", "4:8-T", "2:4-T at_most", "2:4", "2:4 at_most axis=0", "3:5-T pad"]
)
def test_forced_choices_are_kept_and_certified(pattern: str) -> None:
    scores = gaussian(16, 16, seed=5)
    free = ms.solve(scores, pattern)
    keep = np.zeros((16, 16), np.bool_)
    drop = np.zeros((16, 16), np.bool_)
    keep[0, 0] = keep[9, 6] = drop[2, 2] = drop[12, 15] = True
    result = ms.solve(scores, pattern, keep=keep, drop=drop)
    check(result, scores, gap=1e-12, keep=keep, drop=drop)
    assert result.mask[keep].all()
    assert not result.mask[drop].any()
    assert result.objective < free.objective


def test_forced_choices_are_broadcast() -> None:
    scores = gaussian(3, 8, 8)
    drop = np.arange(8) == 5
    result = ms.solve(scores, "2:4-T at_most", drop=drop, keep=np.zeros((1, 1), np.bool_))
    check(result, scores, gap=1e-12, drop=drop)
    assert not result.mask[..., 5].any()


def test_what_the_optimum_does_anyway_may_be_forced() -> None:
    scores = gaussian(16, 16)
    free = ms.solve(scores, "4:8-T")
    forced = ms.solve(scores, "4:8-T", keep=free.mask, drop=~free.mask)
    assert np.array_equal(forced.mask, free.mask)
    assert forced.bound == pytest.approx(free.bound, rel=1e-12)


@pytest.mark.parametrize("pattern", ["4:8-T", "2:4-T", "4:8-T at_most", "3:8", "4:8-T pad"])
@pytest.mark.parametrize("drift", [0.0, 0.01, 10.0])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_warm_start_never_changes_the_optimum(pattern: str, drift: float, dtype: type) -> None:
    scores = gaussian(16, 24).astype(np.float32)
    earlier = ms.solve(scores, pattern)
    later = (scores + drift * gaussian(16, 24, seed=9)).astype(dtype)
    warm = ms.solve(later, pattern, warm_start=earlier)
    check(warm, later)
    assert warm.objective == pytest.approx(ms.solve(later, pattern).objective, rel=1e-9)
