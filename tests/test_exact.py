"""The compiled engine: optimal whatever the scores, and the same bits however it runs."""

import dataclasses
import itertools
import signal
import time
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import soak
from assertions import assert_feasible, assert_optimal

import masksolve as ms
from masksolve._ext.exact import instruction_sets
from masksolve.backends import exact
from masksolve.testing import FAMILIES
from masksolve.types import Prices

RUNNING = [name for name, runs in instruction_sets().items() if runs]
TILES = ["1:2-T", "1:3-T", "2:3-T", "1:4-T", "2:4-T", "3:4-T", "3:7-T", "1:8-T", "4:8-T", "5:10-T", "7:16-T",
         "8:16-T", "16:32-T", "20:50-T", "32:64-T"]  # fmt: skip
GROUPS = ["1:2", "1:3", "2:3", "1:4", "2:4", "3:4", "2:5", "5:6", "3:7", "1:8", "4:8", "7:8", "3:10", "8:16",
          "5:17", "16:32", "31:33", "32:64", "63:64"]  # fmt: skip
# One of each way through the engine: small tiles, kernel, odd side, groups, upright groups, cut tiles.
WAYS = ["2:4-T", "4:8-T", "3:7-T", "8:16-T", "20:50-T", "2:4", "4:8", "3:10", "2:4 axis=-2", "3:7 axis=-2",
        "2:3-T pad", "4:8-T pad", "4:8 pad", "2:4-T at_most", "4:8-T at_most", "8:16-T at_most",
        "4:8 at_most"]  # fmt: skip
DENSE = ["4:8-T dense", "2:4 dense"]
DTYPES = [np.float16, ml_dtypes.bfloat16, np.float32, np.float64, np.int8, np.int16, np.int32, np.int64,
          np.uint8, np.uint16, np.uint32, np.uint64, np.bool_]  # fmt: skip
FLOATS = DTYPES[:4]


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch):
    """Many chunks in a small array, so that threads, deadlines and seams between chunks are tried."""
    monkeypatch.delenv(exact.VARIABLE, raising=False)
    monkeypatch.setattr(exact.Exact, "chunk_entries", 1 << 10)


def shape_for(pattern, entries=1 << 13):
    """A batch of two matrices with whole strips of tiles and, where the pattern allows it, a remainder."""
    p = ms.Pattern.parse(pattern)
    if p.transposable:
        sides = [2 * p.m, max(2, min(24, entries // (4 * p.m**2))) * p.m]
    else:
        sides = [19, 19]
        sides[p.axis] = p.m * max(1, min(9, entries // (20 * p.m)))
    if p.remainder != "error":
        sides = [sides[0] + (p.transposable or p.axis == -2), sides[1] + 2 * (p.transposable or p.axis == -1)]
    return (2, *sides)


def gaussian(shape, dtype=np.float32, seed=0):
    """Scores of any dtype; integers fill a good part of their range."""
    values = np.random.default_rng(seed).standard_normal(shape)
    kind = np.dtype(dtype)
    if kind == np.bool_:
        return values > 0
    if kind.kind == "u":
        values = np.abs(values)
    return (values * np.iinfo(kind).max / 8 if kind.kind in "iu" else values).astype(kind)


def assert_same_bits(result, expected):
    assert np.array_equal(result.mask, expected.mask)
    assert (result.objective, result.bound) == (expected.objective, expected.bound)
    for part, other in zip(result.duals, expected.duals, strict=True):
        assert (part is None) == (other is None)
        assert part is None or (part.dtype == other.dtype and part.tobytes() == other.tobytes())


def assert_certified(result, scores, **forced):
    """The reported certificate is the one that the mask and the prices give.

    Tiles that were solved again are proven with finer prices than those that are handed out.
    """
    again = ms.recompute_certificate(scores, result.mask, result.pattern, result.duals, **forced)
    total = float(np.abs(scores.astype(np.float64)).sum())
    finer = result.stats["refined"] or result.stats["exactly"]
    assert result.objective == pytest.approx(again.objective, rel=1e-13, abs=1e-14 * total)
    assert result.bound <= again.bound + 1e-13 * total
    assert result.bound >= again.bound - (1e-6 if finer else 1e-13) * total


def assert_same_everywhere(scores, pattern, **options):
    """Every instruction set and number of workers gives the same mask, certificate and prices."""
    answers = [
        ms.solve(
            scores, pattern, backend="exact", instruction_set=name, workers=workers, duals=True, **options
        )
        for name in RUNNING
        for workers in (1, 2, 3)
    ]
    for answer in answers[1:]:
        assert_same_bits(answer, answers[0])


# the same bits


@pytest.mark.parametrize("constraint", ["", " at_most"])
@pytest.mark.parametrize("pattern", [*TILES, *GROUPS])
def test_instruction_sets_and_workers_agree_bit_by_bit(pattern, constraint):
    rng = np.random.default_rng(1)
    for family in FAMILIES.values():
        scores = family(rng, shape_for(pattern))
        assert_same_everywhere(scores, pattern + constraint)


@pytest.mark.parametrize(
    "pattern", ["3:7-T pad", "4:8-T pad", "2:4 pad", "16:32-T dense", "5:10 pad axis=-2"]
)
def test_cut_tiles_are_the_same_everywhere(pattern):
    for dtype in (np.float32, np.float64):
        assert_same_everywhere(gaussian(shape_for(pattern), dtype), pattern)


@pytest.mark.parametrize("pattern", WAYS)
def test_forced_choices_and_warm_starts_are_the_same_everywhere(pattern):
    scores = gaussian(shape_for(pattern))
    start = ms.solve(scores, pattern, duals=True)
    later = scores + np.float32(0.05) * gaussian(scores.shape, seed=1)
    assert_same_everywhere(later, pattern, warm_start=start)
    rng = np.random.default_rng(2)
    chosen = rng.random(scores.shape) < 0.05
    keep, drop = start.mask & chosen, ~start.mask & chosen
    assert_same_everywhere(later, pattern, keep=keep, drop=drop)


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: np.dtype(dtype).name)
@pytest.mark.parametrize("pattern", WAYS)
def test_memory_layout_changes_no_bit(pattern, dtype):
    scores = gaussian(shape_for(pattern), dtype)
    expected = ms.solve(scores, pattern, duals=True)
    for lay in soak.LAYOUTS.values():
        laid = lay(scores)
        before = laid.copy()
        for chosen in RUNNING:
            result = ms.solve(laid, pattern, instruction_set=chosen, backend="exact", duals=True)
            assert_same_bits(result, expected)
        assert np.array_equal(laid, before)


NARROW = [("2:4-T", (200, 8)), ("2:4-T", (80, 4)), ("1:2-T", (3, 40, 2)), ("2:3-T", (2, 60, 6)),
          ("4:8-T", (160, 8)), ("2:4", (99, 8)), ("2:4", (99, 4)), ("1:4", (1, 16, 4)), ("4:8", (67, 8)),
          ("3:10", (41, 10)), ("2:4 axis=0", (8, 3)), ("2:4 axis=1", (5, 12, 3, 3)),
          ("2:4-T at_most", (9, 8, 8)), ("2:4 axis=1", (2, 8, 3, 21))]  # fmt: skip


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int8], ids=lambda dtype: np.dtype(dtype).name)
@pytest.mark.parametrize(("pattern", "shape"), NARROW)
def test_narrow_arrays_are_optimal_and_the_same_everywhere(pattern, shape, dtype):
    """Tiles of several rows, or of several matrices, are solved together."""
    scores = gaussian(shape, dtype, seed=14)
    assert_same_everywhere(scores, pattern)
    result = ms.solve(scores, pattern, duals=True)
    assert_optimal(result, scores)
    assert_certified(result, scores)
    for lay in soak.LAYOUTS.values():
        assert_same_bits(ms.solve(lay(scores), pattern, duals=True), result)


@pytest.mark.parametrize(
    ("pattern", "shape"),
    [("2:4-T", (4, 80000)), ("2:4-T", (80000, 4)), ("2:4", (1, 300000)), ("2:4 axis=0", (4, 70000)),
     ("4:8-T", (8, 40000))],
)  # fmt: skip
def test_long_strips_are_solved_in_pieces(pattern, shape):
    scores = gaussian(shape)
    long = shape.index(max(shape))
    result = ms.solve(scores, pattern, duals=True)
    assert_certified(result, scores)
    parts = np.split(scores, 10, axis=long)
    masks = [ms.solve(part, pattern).mask for part in parts]
    assert np.array_equal(result.mask, np.concatenate(masks, axis=long))


@pytest.mark.parametrize("forced", [False, True])
@pytest.mark.parametrize("pattern", ["2:4", "4:8", "3:10 at_most", "2:4 pad"])
def test_groups_are_numbered_along_the_grouped_axis_wherever_it_lies(pattern, forced):
    p = ms.Pattern.parse(pattern)
    lying = gaussian((3, 29, 4 * p.m + (p.remainder == "pad")))
    drop = {"drop": np.random.default_rng(15).random(lying.shape) < 0.05} if forced else {}
    expected = ms.solve(lying, p, duals=True, **drop)
    for axis in (0, 1):
        along = dataclasses.replace(p, axis=axis)
        upright = np.ascontiguousarray(np.moveaxis(lying, -1, axis))
        moved = {name: np.moveaxis(choice, -1, axis) for name, choice in drop.items()}
        result = ms.solve(upright, along, duals=True, **moved)
        assert np.array_equal(np.moveaxis(result.mask, axis, -1), expected.mask)
        assert np.array_equal(result.duals.rows, expected.duals.rows)
        assert_certified(result, upright, **moved)


@pytest.mark.parametrize("axis", [0, 1])
def test_an_infeasible_group_of_any_axis_is_the_first_of_its_numbering(axis):
    keep = np.zeros((5, 20, 12), np.bool_)
    keep[2, 7, 4:8] = keep[3, 0, :4] = True
    number = int(np.ravel_multi_index((2, 7, 1), (5, 20, 3)))
    forced = np.ascontiguousarray(np.moveaxis(keep, -1, axis))
    with pytest.raises(ms.InfeasibleError, match=rf"tile {number}\b") as caught:
        ms.solve(gaussian(forced.shape), f"2:4 axis={axis}", keep=forced)
    assert caught.value.tile == number


@pytest.mark.parametrize("axis", [-1, -2])
@pytest.mark.parametrize("pattern", GROUPS)
def test_ties_in_groups_go_to_the_first_entries(pattern, axis):
    p = ms.Pattern.parse(f"{pattern} axis={axis}")
    scores = np.moveaxis(np.ones((5, p.m), np.float32), -1, axis)
    for name in RUNNING:
        mask = np.moveaxis(ms.solve(scores, p, backend="exact", instruction_set=name).mask, axis, -1)
        assert np.array_equal(mask, np.broadcast_to(np.arange(p.m) < p.n, mask.shape))


@pytest.mark.parametrize("pattern", TILES)
def test_constant_tiles_need_no_path(pattern):
    result = ms.solve(np.ones(shape_for(pattern), np.float32), pattern)
    assert result.stats["augmentations"] == 0
    assert result.gap <= 1e-13


# the optimum


@pytest.mark.parametrize("constraint", ["", " at_most"])
@pytest.mark.parametrize("pattern", TILES)
def test_tiles_of_every_family_are_optimal(pattern, constraint):
    rng = np.random.default_rng(3)
    m = ms.Pattern.parse(pattern).m
    slow = m > 16  # the oracle is
    names = ["gaussian", "signed", "bfloat16_rounded"] if slow else list(FAMILIES)
    for name in names:
        scores = FAMILIES[name](rng, (m, m if slow else 2 * m))
        assert_optimal(ms.solve(scores, pattern + constraint), scores)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("pattern", ["1:2-T", "1:3-T", "2:3-T", "1:4-T", "2:4-T", "3:4-T"])
def test_at_most_loses_nothing_to_scores_of_other_magnitude(pattern, dtype):
    """Large negative scores, which are dropped, must not round small positive ones away; tile by tile."""
    m = ms.Pattern.parse(pattern).m
    rng = np.random.default_rng(13)
    signs = rng.choice([-1, 1], (40 * m, 40 * m))
    scores = (signs * np.exp(8 * rng.standard_normal(signs.shape))).astype(dtype)
    result = ms.solve(scores, pattern + " at_most", duals=True)
    best = ms.solve(scores, pattern + " at_most", backend="enumerate")
    kept, most = (
        np.where(mask, scores, 0).reshape(40, m, 40, m).sum(axis=(1, 3), dtype=np.float64)
        for mask in (result.mask, best.mask)
    )
    np.testing.assert_allclose(kept, most, rtol=1e-6)
    assert min(part.min() for part in result.duals) >= 0
    assert_feasible(result.mask, result.pattern)


@pytest.mark.parametrize("constraint", ["", " at_most"])
@pytest.mark.parametrize("axis", [-1, -2, 0])
@pytest.mark.parametrize("pattern", GROUPS)
def test_groups_of_every_family_are_optimal(pattern, axis, constraint):
    rng = np.random.default_rng(4)
    laid = ms.Pattern.parse(f"{pattern}{constraint} axis={axis}")
    shape = [2, 3, 5]
    shape[axis] = 2 * laid.m
    for family in FAMILIES.values():
        scores = family(rng, tuple(shape))
        assert_optimal(ms.solve(scores, laid), scores)


@pytest.mark.parametrize("axis", [-1, -2, 0])
@pytest.mark.parametrize("n_m", ["1:3", "2:4", "4:8", "3:10"])
def test_cut_groups_are_optimal(n_m, axis):
    pattern = ms.Pattern.parse(f"{n_m} pad axis={axis}")
    scores = gaussian((7, 11, 13))
    assert_optimal(ms.solve(scores, pattern), scores)


@pytest.mark.parametrize("pattern", ["1:2-T pad", "2:3-T pad", "2:4-T pad", "3:7-T at_most pad", "4:8-T pad"])
def test_cut_tiles_are_optimal(pattern):
    m = ms.Pattern.parse(pattern).m
    for height, width in [(2 * m - 1, m + 1), (m + 1, 2 * m), (m, m - 1), (1, 1)]:
        for family in ("signed", "small_integers", "mostly_zero"):
            scores = FAMILIES[family](np.random.default_rng(5), (height, width))
            assert_optimal(ms.solve(scores, pattern), scores)


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: np.dtype(dtype).name)
@pytest.mark.parametrize("pattern", WAYS)
def test_gaps_are_rounding(pattern, dtype):
    scores = gaussian(shape_for(pattern), dtype)
    result = ms.solve(scores, pattern, duals=True)
    assert result.status is ms.Status.OPTIMAL
    assert 0 <= result.gap <= (1e-12 if np.dtype(dtype).itemsize == 8 else 1e-6)
    assert_certified(result, scores)
    assert_feasible(result.mask, result.pattern)


@pytest.mark.parametrize("pattern", WAYS)
def test_many_tiles_against_another_solver(pattern):
    scores = gaussian(shape_for(pattern, entries=1 << 12), np.float64)
    best = ms.solve(scores, pattern, backend="highs")
    result = ms.solve(scores, pattern)
    assert result.objective == pytest.approx(best.objective, rel=1e-9)
    assert_optimal(result, scores, best=best.mask)


# warm starts


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("drift", [0.0, 0.001, 0.01, 0.1, 1.0])
@pytest.mark.parametrize("pattern", WAYS)
def test_a_warm_start_never_changes_the_optimum(pattern, drift, dtype):
    scores = gaussian(shape_for(pattern), dtype)
    start = ms.solve(scores, pattern, duals=True)
    later = ((1 - drift) * scores + drift * gaussian(scores.shape, dtype, seed=6)).astype(dtype)
    assert_warm(later, start)


def _constant(value):
    return lambda shape, rng: np.full(shape, value)


ABSURD = {
    "random": lambda shape, rng: rng.standard_normal(shape),
    "thousand": lambda shape, rng: 1e3 * rng.standard_normal(shape),
    "ten billion": lambda shape, rng: 1e10 * rng.standard_normal(shape),
    "1e30": lambda shape, rng: 1e30 * rng.standard_normal(shape),
    "one huge": lambda shape, rng: np.where(rng.random(shape) < 0.1, 1e25, rng.standard_normal(shape)),
    "largest": _constant(np.inf),  # clipped to the largest finite number
    "both signs": lambda shape, rng: np.where(rng.random(shape) < 0.5, np.inf, -np.inf),
    "shifted": _constant(1e6),
    "tiny": _constant(5e-324),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("absurd", ABSURD.values(), ids=ABSURD)
@pytest.mark.parametrize("pattern", WAYS)
def test_absurd_warm_starts_never_change_the_optimum(pattern, absurd, dtype):
    rng = np.random.default_rng(7)
    scores = gaussian(shape_for(pattern), dtype)
    scores[:, :, -1] *= 1000  # tiles of different scales beside each other
    start = ms.solve(scores, pattern, duals=True)
    prices = [None if part is None else absurd(part.shape, rng) for part in start.duals]
    assert_warm(scores, dataclasses.replace(start, duals=Prices(*prices).rounded(dtype)))


@pytest.mark.parametrize("pattern", ["4:8-T", "8:16-T", "4:8-T pad"])
def test_a_chain_of_warm_starts_stays_optimal(pattern):
    scores = gaussian(shape_for(pattern, entries=1 << 11))
    result = ms.solve(scores, pattern, duals=True)
    for step in range(200):
        scores = scores + np.float32(0.02) * gaussian(scores.shape, seed=100 + step)
        result = ms.solve(scores, pattern, warm_start=result, duals=True)
        assert result.status is ms.Status.OPTIMAL
    assert_warm(scores, result)


def test_a_warm_start_saves_steps():
    scores = gaussian((256, 256))
    start = ms.solve(scores, "8:16-T", duals=True)
    later = scores * (1 + np.float32(0.001) * gaussian(scores.shape, seed=8))
    cold, warm = ms.solve(later, "8:16-T"), ms.solve(later, "8:16-T", warm_start=start)
    assert warm.stats["path_steps"] < cold.stats["path_steps"] / 2


def assert_warm(scores, start):
    """As good as a cold solve, and proven so."""
    cold = ms.solve(scores, start.pattern)
    warm = ms.solve(scores, start.pattern, warm_start=start, duals=True)
    tolerance = 1e-12 if scores.dtype == np.float64 else 1e-6
    assert warm.status is ms.Status.OPTIMAL
    assert 0 <= warm.gap <= tolerance
    assert warm.objective == pytest.approx(cold.objective, rel=tolerance)
    assert_feasible(warm.mask, start.pattern)
    assert_certified(warm, scores)


@pytest.mark.parametrize("pattern", ["4:8-T", "8:16-T", "4:8-T pad"])
def test_a_warm_start_from_another_scale_beside_one_large_tile(pattern, monkeypatch):
    """Prices fit for the large tile are absurd for the small ones that follow it in the chunk."""
    monkeypatch.setattr(exact.Exact, "chunk_entries", 1 << 20)
    scores = np.abs(gaussian((67, 256) if "pad" in pattern else (64, 256)))
    start = ms.solve(scores * np.float32(1e9), pattern, duals=True)
    later = scores + np.float32(0.1) * np.abs(gaussian(scores.shape, seed=12))
    later[:16, :16] *= np.float32(1e9)
    assert_warm(later, start)
    kept, expected = (
        np.sum(later[16:], where=ms.solve(later, pattern, warm_start=used).mask[16:], dtype=np.float64)
        for used in (start, None)
    )
    assert kept == pytest.approx(expected, rel=1e-6)


# forced choices


@pytest.mark.parametrize("pattern", WAYS)
def test_forced_choices_against_another_solver(pattern):
    rng = np.random.default_rng(9)
    scores = gaussian(shape_for(pattern, entries=1 << 11), np.float64)
    free = ms.solve(scores, pattern)
    for share in (0.02, 0.1, 0.3):
        mask = ms.solve(rng.standard_normal(scores.shape), pattern).mask  # some feasible mask
        keep = mask & (rng.random(scores.shape) < share)
        drop = ~mask & (rng.random(scores.shape) < share)
        result = ms.solve(scores, pattern, keep=keep, drop=drop, duals=True)
        best = ms.solve(scores, pattern, backend="highs", keep=keep, drop=drop)
        assert_optimal(result, scores, keep=keep, drop=drop, best=best.mask)
        assert_certified(result, scores, keep=keep, drop=drop)
        assert result.objective < free.objective


@pytest.mark.parametrize("instruction_set", RUNNING)
@pytest.mark.parametrize(
    ("pattern", "tile", "axis", "index"),
    [("2:4-T", 7, "row", 1), ("2:4-T", 23, "column", 3), ("4:8-T", 11, "row", 7), ("4:8-T", 5, "column", 0),
     ("3:7-T", 3, "column", 6), ("2:4 axis=-1", 35, "row", 0), ("4:8-T at_most", 9, "row", 2)],
)  # fmt: skip
@pytest.mark.parametrize("later", [False, True])
def test_infeasible_choices_name_the_first_tile_and_line(pattern, tile, axis, index, later, instruction_set):
    p = ms.Pattern.parse(pattern)
    tiles = np.zeros((2, 2, 12, p.m if p.transposable else 1, p.m), np.bool_)
    numbered = tiles.reshape(-1, *tiles.shape[3:])
    for number in [tile, *([tile + 1, len(numbered) - 1] if later else [])]:
        line = numbered[number] if axis == "row" else numbered[number].T
        line[index, : p.n + 1] = True
    keep = tiles.swapaxes(2, 3).reshape(2, -1, 12 * p.m)
    with pytest.raises(ms.InfeasibleError, match=rf"tile {tile}\b.* {axis} {index} ") as caught:
        ms.solve(gaussian(keep.shape), pattern, backend="exact", keep=keep, instruction_set=instruction_set)
    assert (caught.value.tile, caught.value.axis, caught.value.index) == (tile, axis, index)


def _outcome(backend, scores, demand):
    """The first tile that has no mask, or "optimal"."""
    try:
        result = ms.solve(scores, "3:8-T", backend=backend, **demand)
    except ms.InfeasibleError as error:
        return error.tile
    assert_optimal(result, scores, **demand)
    return "optimal"


def test_what_is_infeasible_is_so_for_another_solver():
    """Random demands, so tight that many cannot be met."""
    outcomes = set()
    for seed in range(40):
        rng = np.random.default_rng(seed)
        scores = gaussian((8, 24), seed=seed)
        free = rng.random(scores.shape) < 0.35
        chance = rng.random(scores.shape)
        demand = {"drop": ~free & (chance < 0.6), "keep": free & (chance < 0.05)}
        outcome = _outcome("highs", scores, demand)
        assert _outcome("exact", scores, demand) == outcome
        outcomes.add(outcome)
    assert outcomes >= {"optimal", 0, 1, 2}


# control


@pytest.mark.parametrize("workers", [1, 2])
def test_a_time_limit_leaves_a_feasible_mask_and_a_valid_bound(workers):
    scores = gaussian((512, 512))
    begun = time.perf_counter()
    calls = []

    def progress(done, total):
        calls.append((done, total))
        time.sleep(max(0.0, begun + 0.5 - time.perf_counter()))

    result = ms.solve(scores, "4:8-T", time_limit=0.4, progress=progress, workers=workers, duals=True)
    best = ms.solve(scores, "4:8-T")
    unreached = result.stats["unreached"]
    assert result.status is ms.Status.TIME_LIMIT
    assert calls[0][1] == result.stats["tiles"] == 64 * 64
    assert 0 < unreached < result.stats["tiles"]
    assert unreached == result.stats["tiles"] - calls[-1][0]
    assert_unfinished(result, scores, best)


@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_brings_what_was_solved(workers):
    scores = gaussian((512, 512))

    def progress(done, total):
        if done > total // 2:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(ms.SolveInterrupted) as caught:
        ms.solve(scores, "4:8-T", progress=progress, workers=workers, duals=True)
    result = caught.value.result
    assert 0 < result.stats["unreached"] < 64 * 64 // 2
    assert_unfinished(result, scores, ms.solve(scores, "4:8-T"))


def assert_unfinished(result, scores, best):
    """The tiles that were reached are those of the optimum; mask and bound are sound as a whole."""
    reached = result.stats["tiles"] - result.stats["unreached"]
    rows = 8 * (reached // 64)
    assert np.array_equal(result.mask[:rows], best.mask[:rows])
    assert_feasible(result.mask, result.pattern)
    assert_certified(result, scores)
    assert result.objective <= best.objective * (1 + 1e-6)
    assert result.bound >= best.objective


def test_progress_counts_every_tile():
    calls = []
    ms.solve(gaussian((512, 512)), "4:8-T", progress=lambda *call: calls.append(call), workers=2)
    assert [total for _, total in calls] == [64 * 64] * len(calls)
    assert len(calls) > 10
    assert calls[-1][0] == 64 * 64
    assert all(before[0] < after[0] for before, after in itertools.pairwise(calls))


# the instruction set


@pytest.fixture
def used(monkeypatch):
    """The instruction sets that were run."""
    seen = []
    solve_tiles = exact.engine.solve_tiles

    def spy(block, first, last, instruction_set):
        seen.append(instruction_set)
        return solve_tiles(block, first, last, instruction_set)

    monkeypatch.setattr(exact.engine, "solve_tiles", spy)
    return seen


@pytest.mark.parametrize("name", RUNNING)
def test_the_environment_or_the_option_chooses(monkeypatch, used, name):
    scores = np.eye(8)
    ms.solve(scores, "4:8-T", backend="exact", instruction_set=name)
    monkeypatch.setenv(exact.VARIABLE, name)
    ms.solve(scores, "4:8-T")
    assert used == [name, name]
    for other in RUNNING:
        ms.solve(scores, "4:8-T", backend="exact", instruction_set=other)  # the option goes first
        assert used[-1] == other


def test_the_best_that_runs_is_the_default(used):
    ms.solve(np.eye(8), "4:8-T")
    assert used == [next(name for name, runs in instruction_sets().items() if runs)]


def test_a_wrong_instruction_set_is_refused(monkeypatch):
    missing = [name for name, runs in instruction_sets().items() if not runs]
    for name, reason in [("mmx", "was not compiled"), *((name, "does not run") for name in missing)]:
        message = f"instruction_set must be one of .*'baseline'.*, got '{name}', which {reason}"
        with pytest.raises(ValueError, match=message):
            ms.solve(np.eye(8), "4:8-T", backend="exact", instruction_set=name)
        monkeypatch.setenv(exact.VARIABLE, name)
        with pytest.raises(ValueError, match=message):
            ms.solve(np.eye(8), "4:8-T")
        monkeypatch.delenv(exact.VARIABLE)


# scores that are no numbers, or huge


@pytest.mark.parametrize("dtype", FLOATS, ids=lambda dtype: np.dtype(dtype).name)
@pytest.mark.parametrize("pattern", [*WAYS, *DENSE])
def test_scores_that_are_not_finite_are_refused_wherever_they_are(pattern, dtype):
    clean = gaussian(shape_for(pattern), dtype)
    for place in (0, clean.size // 2 + 3, clean.size - 1):
        for bad in (np.nan, np.inf, -np.inf):
            scores = clean.copy()
            scores.flat[place] = bad
            index = ", ".join(map(str, np.unravel_index(place, clean.shape)))
            for workers in (1, 2):
                with pytest.raises(ValueError, match=rf"must be finite, got {bad} at index \[{index}\]"):
                    ms.solve(scores, pattern, workers=workers)


@pytest.mark.parametrize("option", ["keep", "drop", "warm_start"])
def test_nan_is_refused_whatever_the_options(option):
    scores = gaussian((16, 64))
    options: dict[str, Any] = {option: np.zeros(scores.shape, np.bool_)}
    if option == "warm_start":
        options[option] = ms.solve(scores, "4:8-T", duals=True)
    scores[9, 50] = np.nan
    with pytest.raises(ValueError, match=r"scores must be finite, got nan at index \[9, 50\]"):
        ms.solve(scores, "4:8-T", **options)


@pytest.mark.parametrize("dtype", [ml_dtypes.bfloat16, np.float32], ids=["bfloat16", "float32"])
@pytest.mark.parametrize("scale", [1.0, 2.0**100, 2.0**127])
@pytest.mark.parametrize("pattern", [*WAYS, *DENSE])
def test_huge_scores_are_solved_in_float64(pattern, scale, dtype):
    """Also where one of the last tiles alone is huge."""
    unit = np.random.default_rng(10).uniform(-1.5, 1.5, shape_for(pattern))
    for everywhere in (True, False):
        values = unit.copy()
        values[slice(None) if everywhere else (-1, -1, -1)] *= scale
        scores = values.astype(dtype)
        assert np.isfinite(scores.astype(np.float64)).all()
        result = ms.solve(scores, pattern, duals=True)
        assert result.duals.rows.dtype == (np.float64 if np.abs(values).max() > 2.0**97 else np.float32)
        assert result.status is ms.Status.OPTIMAL
        assert result.gap <= (1e-12 if result.duals.rows.dtype == np.float64 else 1e-6)
        assert_certified(result, scores)
        same = ms.solve(scores.astype(np.float64), pattern)
        assert result.objective == pytest.approx(same.objective, rel=1e-6)


def test_a_warm_start_from_huge_scores_and_back():
    huge, small = gaussian((16, 64)) * np.float32(5e37), gaussian((16, 64), seed=11)
    for first, then in ((huge, small), (small, huge)):
        start = ms.solve(first, "4:8-T", duals=True)
        cold, warm = ms.solve(then, "4:8-T"), ms.solve(then, "4:8-T", warm_start=start)
        assert warm.status is ms.Status.OPTIMAL
        assert warm.objective == pytest.approx(cold.objective, rel=1e-6)


# at length


@pytest.mark.soak
@pytest.mark.parametrize("instruction_set", RUNNING)
def test_soak(request, instruction_set):
    if "soak" not in request.config.getoption("markexpr"):
        pytest.skip("ten minutes for each instruction set: run it with -m soak")
    soak.run(minutes=10, instruction_set=instruction_set, seed=0)
