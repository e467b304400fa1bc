"""The pipeline: what ``solve`` promises, whatever the array, the pattern and the backend."""

import importlib
import itertools
import math
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

import masksolve as ms
from masksolve.backends.base import Backend, ChunkBackend, Report
from masksolve.certificate import recompute
from masksolve.layout import Block, Chunk
from masksolve.types import BoolArray, Prices

registry = importlib.import_module("masksolve.backends")  # ms.backends is the function


def check(
    result: ms.MaskResult, scores: npt.ArrayLike, *, gap: float = 1e-6, **forced: BoolArray | None
) -> None:
    """The result is feasible, says the truth about itself, and its own prices prove it optimal."""
    array = np.asarray(scores)
    assert result.mask.shape == array.shape
    assert result.mask.dtype == np.bool_
    assert ms.verify(result.mask, result.pattern).ok
    kept = math.fsum(array.astype(np.float64)[result.mask].tolist())
    total = float(np.abs(array.astype(np.float64)).sum())
    assert result.objective == pytest.approx(kept, rel=1e-12, abs=1e-14 * total)
    again = recompute(scores, result.mask, result.pattern, result.duals, **forced)
    assert result.bound == pytest.approx(again.bound, rel=1e-12, abs=1e-14 * total)
    assert 0 <= result.bound - result.objective <= gap * abs(result.bound) + 1e-14 * total
    assert result.status is ms.Status.OPTIMAL


def gaussian(*shape: int, seed: int = 0) -> npt.NDArray[np.float64]:
    return np.random.default_rng(seed).normal(size=shape)


# arrays


@pytest.mark.parametrize("pattern", ["2:4-T", "4:8-T", "3:8-T at_most", "2:4", "1:4 at_most axis=-2"])
@pytest.mark.parametrize(
    "dtype",
    [np.bool_, np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64,
     np.float16, ml_dtypes.bfloat16, np.float32, np.float64, ">f4", ">i8", "<f8"],
    ids=lambda dtype: np.dtype(dtype).name,
)  # fmt: skip
def test_dtypes(dtype: npt.DTypeLike, pattern: str) -> None:
    wide = 100 * gaussian(2, 16, 24)
    scores = (
        wide > 0 if dtype is np.bool_ else np.abs(wide) if np.dtype(dtype).kind == "u" else wide
    ).astype(dtype)
    before = scores.copy()
    check(ms.solve(scores, pattern), scores, gap=1e-12 if np.dtype(dtype).itemsize == 8 else 1e-6)
    assert np.array_equal(scores, before)


@pytest.mark.parametrize(
    "scores",
    [
        np.full((8, 8), np.iinfo(np.int64).min),
        np.where(gaussian(8, 8) > 0, np.iinfo(np.int64).max, np.iinfo(np.int64).min),
        np.where(gaussian(8, 8) > 0, np.uint64((1 << 64) - 1), np.uint64(0)),
        np.full((8, 8), np.iinfo(np.int8).min, np.int8),
        (gaussian(8, 8) * 1e296),
        (gaussian(8, 8) * 1e-300),
        np.arange(64).reshape(8, 8) * 5e-324,
        (gaussian(8, 8) * 1e37).astype(np.float32),
        np.where(gaussian(8, 8) > 0, np.finfo(np.float32).max, -np.finfo(np.float32).max),
        (np.arange(64).reshape(8, 8) * 1.5e-45).astype(np.float32),
        np.where(gaussian(8, 8) > 0, np.float16(65504), np.float16(-65504)),
        (gaussian(8, 8) * 1e38).astype(ml_dtypes.bfloat16),
        np.where(np.eye(8) > 0, 1e30, np.abs(gaussian(8, 8))),
        np.zeros((8, 8)),
        np.full((8, 8), 0.1),
        np.full((8, 8), -0.1, np.float32),
    ],
    ids=[
        "int64-min", "int64-both", "uint64-max", "int8-min", "float64-huge", "float64-tiny",
        "float64-denormal", "float32-huge", "float32-largest", "float32-denormal", "float16-largest",
        "bfloat16-huge", "dominated", "zero", "constant", "constant-negative",
    ],
)  # fmt: skip
@pytest.mark.parametrize("pattern", ["2:4-T", "4:8-T", "2:4-T at_most", "2:4", "5:8-T pad"])
def test_extreme_scores(scores: npt.NDArray[Any], pattern: str) -> None:
    check(ms.solve(scores, pattern), scores)


BASE = gaussian(16, 16, seed=3).astype(np.float32)


def unaligned(array: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    raw = np.zeros(array.nbytes + 1, np.uint8)[1:].view(np.float32).reshape(array.shape)
    raw[...] = array
    assert not raw.flags.aligned
    return raw


@pytest.mark.parametrize(
    "scores",
    [
        np.asfortranarray(BASE),
        BASE.T,
        BASE[::-1],
        BASE[:, ::-2],
        np.broadcast_to(BASE[0], (8, 16)),
        np.broadcast_to(BASE[:, :1], (16, 16)),
        np.broadcast_to(np.float32(2), (8, 8)),
        BASE.reshape(2, 8, 2, 8).swapaxes(1, 2),
        np.stack([BASE, -BASE], axis=-1)[..., 1],
        BASE.astype(">f4"),
        unaligned(BASE),
    ],
    ids=["fortran", "transposed", "reversed", "stepped", "row", "column", "one", "blocked", "interleaved",
         "big-endian", "unaligned"],
)  # fmt: skip
@pytest.mark.parametrize("pattern", ["4:8-T", "2:4", "2:4 axis=-2"])
def test_memory_order_does_not_matter(scores: npt.NDArray[Any], pattern: str) -> None:
    plain = np.array(scores, np.float32, order="C")
    result = ms.solve(scores, pattern)
    check(result, plain)
    assert type(result.mask) is np.ndarray
    assert np.array_equal(result.mask, ms.solve(plain, pattern).mask)


def test_read_only_and_memory_mapped(tmp_path: Path) -> None:
    np.save(tmp_path / "scores.npy", BASE)
    mapped = np.load(tmp_path / "scores.npy", mmap_mode="r")
    assert not mapped.flags.writeable
    result = ms.solve(mapped, "4:8-T")
    check(result, BASE)
    assert type(result.mask) is np.ndarray
    assert np.array_equal(np.load(tmp_path / "scores.npy"), BASE)


def test_nested_lists() -> None:
    scores = [[3, -1], [2, -5]]
    result = ms.solve(scores, "1:2-T")
    assert result.mask.tolist() == [[False, True], [True, False]]
    assert (result.objective, result.bound) == (1.0, 1.0)
    assert np.array_equal(ms.solve(tuple(map(tuple, scores)), "1:2-T").mask, result.mask)


@pytest.mark.parametrize("pattern", ["2:4-T", "2:4", "2:4-T pad", "2:4-T dense", "2:4 axis=0 pad"])
@pytest.mark.parametrize("shape", [(0, 4, 4), (4, 0), (0, 4), (0, 0), (2, 0, 4, 8)])
def test_empty(shape: tuple[int, ...], pattern: str) -> None:
    result = ms.solve(np.empty(shape, np.float32), pattern, duals=True)
    assert result.mask.shape == shape
    assert (result.objective, result.bound, result.gap) == (0.0, 0.0, 0.0)
    assert result.status is ms.Status.OPTIMAL
    assert result.stats["tiles"] == 0
    again = ms.solve(np.empty(shape, np.float32), pattern, warm_start=result)
    assert again.mask.shape == shape


# batches, axes, remainders


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


# forced choices, warm starts


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


# what the result says


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
    assert repr(result) == (
        "MaskResult(OPTIMAL, pattern='1:4-T', shape=(4, 4), objective=4, gap=0, backend='exact')"
    )


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


# fake backends: deadlines, interruptions, lies


class Fake(ChunkBackend):
    """Keeps the diagonal band of each tile; one tile a chunk."""

    name: ClassVar[str] = "fake"
    exact: ClassVar[bool] = True
    guarantee: ClassVar[str] = "none"
    chunk_entries: ClassVar[int] = 1

    def solve_chunk(self, chunk: Chunk) -> BoolArray:
        height, width = chunk.scores.shape[1:]
        rows, columns = np.ogrid[:height, :width]
        return np.broadcast_to((columns - rows) % width < chunk.row_bounds[1], chunk.scores.shape)


class Slow(Fake):
    def solve_chunk(self, chunk: Chunk) -> BoolArray:
        time.sleep(0.01)
        return super().solve_chunk(chunk)


class Interrupted(Fake):
    """Ctrl-C arrives while the tenth tile is being solved, and half-written."""

    def solve(self, block: Block, first: int, last: int) -> Report:
        if block.number(first) == 9:
            block.mask[np.unravel_index(first, block.grid)] = True
            signal.raise_signal(signal.SIGINT)
            time.sleep(0.05)
        return super().solve(block, first, last)


class NoBound(Fake):
    def solve(self, block: Block, first: int, last: int) -> Report:
        return Report(super().solve(block, first, last).objective, np.inf)


class LowBound(Fake):
    def solve(self, block: Block, first: int, last: int) -> Report:
        objective = super().solve(block, first, last).objective
        return Report(objective, objective - 1.0)


class NotANumber(Fake):
    def solve(self, block: Block, first: int, last: int) -> Report:
        return Report(super().solve(block, first, last).objective, np.nan)


class Infeasible(Fake):
    def solve_chunk(self, chunk: Chunk) -> BoolArray:
        return np.ones(chunk.scores.shape, np.bool_)


class Failing(Fake):
    def solve_chunk(self, chunk: Chunk) -> BoolArray:
        raise ZeroDivisionError("a bug")


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """``fake(kind)`` makes ``backend="fake"`` run that class."""

    def install(kind: type[Backend]) -> None:
        load = registry.load
        monkeypatch.setattr(registry, "load", lambda name: kind if name == "fake" else load(name))

    return install


def check_unfinished(result: ms.MaskResult, scores: npt.NDArray[Any]) -> None:
    best = ms.solve(scores, result.pattern)
    assert result.status is ms.Status.TIME_LIMIT
    assert ms.verify(result.mask, result.pattern).ok
    assert result.objective == pytest.approx(scores[result.mask].sum(), rel=1e-12)
    assert math.isfinite(result.bound)
    assert result.bound >= best.objective - 1e-14 * np.abs(scores).sum()
    assert recompute(scores, result.mask, result.pattern, result.duals) == pytest.approx(
        (result.objective, result.bound), rel=1e-12
    )


@pytest.mark.parametrize("workers", [1, 2])
def test_time_limit(fake: Any, workers: int) -> None:
    fake(Slow)
    scores = gaussian(64, 64)
    result = ms.solve(scores, "2:4-T", backend="fake", time_limit=0.1, workers=workers)
    check_unfinished(result, scores)
    assert 0 < result.stats["unreached"] <= 256


@st.composite
def shapes_and_patterns(draw: st.DrawFn) -> tuple[tuple[int, int], ms.Pattern]:
    m = draw(st.integers(1, 6))
    pattern = ms.Pattern(
        draw(st.integers(1, m)),
        m,
        transposable=draw(st.booleans()),
        constraint=draw(st.sampled_from(["exact", "at_most"])),
        remainder=draw(st.sampled_from(["pad", "dense"])),
    )
    return (draw(st.integers(1, 13)), draw(st.integers(1, 13))), pattern


@given(shapes_and_patterns())
def test_tiles_that_were_not_reached_are_feasible(case: tuple[tuple[int, int], ms.Pattern]) -> None:
    shape, pattern = case
    scores = gaussian(*shape)
    result = ms.solve(scores, pattern, time_limit=1e-9)
    if result.stats["tiles"]:
        assert result.stats["unreached"] == result.stats["tiles"]
        check_unfinished(result, scores)
    else:
        assert result.mask.all()


def test_time_limit_with_forced_choices(fake: Any) -> None:
    scores = gaussian(64, 64)
    keep = np.eye(64) > 0
    with pytest.raises(
        ms.TimeLimitError, match=r"time_limit .* 0 of 1 chunks, .*raise time_limit or workers"
    ):
        ms.solve(scores, "2:4-T", keep=keep, time_limit=1e-9)
    assert ms.solve(scores, "2:4-T", keep=keep, time_limit=60).status is ms.Status.OPTIMAL


@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_brings_what_was_solved(fake: Any, workers: int) -> None:
    fake(Interrupted)
    scores = gaussian(64, 64)
    with pytest.raises(KeyboardInterrupt) as caught:
        ms.solve(scores, "2:4-T", backend="fake", workers=workers)
    assert isinstance(caught.value, ms.SolveInterrupted)
    check_unfinished(caught.value.result, scores)
    assert caught.value.result.stats["unreached"] >= 256 - 9 - 4 * workers


@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_with_forced_choices_is_plain(fake: Any, workers: int) -> None:
    fake(Interrupted)
    with pytest.raises(KeyboardInterrupt) as caught:
        ms.solve(
            gaussian(64, 64), "2:4-T", backend="fake", workers=workers, drop=np.zeros((64, 64), np.bool_)
        )
    assert not isinstance(caught.value, ms.SolveInterrupted)


def test_ctrl_c_in_progress(fake: Any) -> None:
    fake(Fake)
    scores = gaussian(64, 64)

    def progress(done: int, total: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(ms.SolveInterrupted) as caught:
        ms.solve(scores, "2:4-T", backend="fake", progress=progress)
    check_unfinished(caught.value.result, scores)
    assert caught.value.result.stats["unreached"] == 256 - 5


@pytest.mark.parametrize("workers", [1, 2])
def test_a_backends_exception_comes_through(fake: Any, workers: int) -> None:
    fake(Failing)
    with pytest.raises(ZeroDivisionError, match="a bug"):
        ms.solve(gaussian(64, 64), "2:4-T", backend="fake", workers=workers)


def test_an_exact_backend_is_believed_only_with_a_proof(fake: Any) -> None:
    fake(Fake)
    result = ms.solve(gaussian(8, 8), "2:4-T", backend="fake")
    assert result.status is ms.Status.FEASIBLE
    assert result.gap > 1e-6
    lucky = ms.solve(np.ones((8, 8)), "2:4-T", backend="fake")
    assert lucky.status is ms.Status.OPTIMAL


def test_a_small_gap_is_no_proof_for_a_heuristic(fake: Any) -> None:
    class Heuristic(Fake):
        exact = False

    scores = np.array([[1.0, 1.0], [1.0, 1.0]])
    scores[0, 1] += 1e-9
    for kind, status in [(Heuristic, ms.Status.FEASIBLE), (Fake, ms.Status.OPTIMAL)]:
        fake(kind)
        result = ms.solve(scores, "1:2-T", backend="fake")
        assert result.mask.tolist() == [[True, False], [False, True]]
        assert 0 < result.gap < 1e-6
        assert result.status is status


def test_a_closed_gap_is_a_proof_whoever_found_the_mask(fake: Any) -> None:
    class Heuristic(Fake):
        exact = False

    fake(Heuristic)
    scores = np.tile(0.1 + 0.9 * np.eye(8), (3, 2, 2))
    result = ms.solve(scores, "1:8-T", backend="fake")
    assert result.bound - result.objective <= 1e-14 * result.objective
    assert result.status is ms.Status.OPTIMAL
    constant = ms.solve(np.full((8, 8), 0.3), "2:4-T", backend="greedy", bound=True)
    assert constant.status is ms.Status.OPTIMAL
    unproven = ms.solve(np.full((8, 8), 0.3), "2:4-T", backend="greedy")
    assert unproven.status is ms.Status.FEASIBLE


def test_no_bound_is_no_proof(fake: Any) -> None:
    fake(NoBound)
    result = ms.solve(np.ones((8, 8)), "2:4-T", backend="fake")
    assert (result.bound, result.gap, result.duals) == (math.inf, math.inf, None)
    assert result.status is ms.Status.FEASIBLE


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (Infeasible, r"backend 'fake' returned an infeasible mask for tile 0; use backend='exact'"),
        (LowBound, r"backend 'fake' reported a bound of .*, below its objective"),
        (NotANumber, r"backend 'fake' reported a bound of nan"),
    ],
)
def test_a_backend_that_lies_is_caught(fake: Any, kind: type[Backend], message: str) -> None:
    fake(kind)
    with pytest.raises(ms.BackendFailedError, match=message):
        ms.solve(gaussian(8, 8), "2:4-T", backend="fake")


def test_infeasible_choices_name_tile_and_line() -> None:
    keep = np.zeros((8, 12), np.bool_)
    keep[4:7, 9] = True
    with pytest.raises(ms.InfeasibleError) as caught:
        ms.solve(gaussian(8, 12), "2:4-T", keep=keep)
    assert (caught.value.tile, caught.value.axis, caught.value.index) == (5, "column", 1)
