"""Pairs that are added up while their tiles are solved: every memory layout, in runs of a few tiles."""

import itertools

import numpy as np
import pytest

import masksolve as ms
from masksolve import pairs
from masksolve._ext import arrays
from masksolve.layout import paired
from masksolve.layout.paired import PairedLayout
from masksolve.problem import MaskProblem

PATTERNS = [
    "4:8 pair",
    "4:8 pair axis=0",
    "4:8 pair axis=1",
    "4:8-T pair",
    "2:4 x 4:8 pair",
    "4:8-T pair pad",
]


def layouts(scores):
    """The same numbers in other places."""
    yield "rows", scores
    yield "columns", np.asfortranarray(scores)
    yield "axes turned", np.ascontiguousarray(scores.transpose(1, 2, 0)).transpose(2, 0, 1)
    yield "strided", np.repeat(scores, 2, axis=-1)[..., ::2]
    yield "backwards", np.ascontiguousarray(scores[..., ::-1, ::-1])[..., ::-1, ::-1]


@pytest.mark.parametrize("at_once", [1, 40, 1 << 16])
@pytest.mark.parametrize("text", PATTERNS)
def test_answers_do_not_depend_on_memory_or_runs(text, at_once, monkeypatch):
    scores = np.random.default_rng(0).standard_normal((8, 16, 24))
    reference = ms.solve(scores, text, tiles=True, duals=True)
    sums = pairs.sums(np, scores, ms.Pattern(text))
    plain = ms.solve(sums, ms.Pattern(text).of_pairs)
    assert reference.objective == plain.objective
    assert np.array_equal(reference.mask, pairs.spread(np, plain.mask, ms.Pattern(text), scores.shape))
    monkeypatch.setattr(paired, "_AT_ONCE", at_once)
    for name, array in layouts(scores):
        result = ms.solve(array, text, tiles=True, duals=True, workers=2)
        assert np.array_equal(result.mask, reference.mask), name
        assert np.array_equal(result.tiles.bound, reference.tiles.bound), name
        assert np.array_equal(result.duals.rows, reference.duals.rows), name


@pytest.mark.parametrize("text", PATTERNS)
def test_runs_hold_every_tile_once_and_know_its_number(text, monkeypatch):
    problem = MaskProblem.of(np.zeros((8, 20 if text.endswith("pad") else 16, 24)), text)
    for at_once in (1, 24, 100, 1 << 16):
        monkeypatch.setattr(paired, "_AT_ONCE", at_once)
        numbers = []
        for block in PairedLayout(problem).blocks:
            runs = block.runs(5)
            assert [0, *(last for _, last in runs)] == [first for first, _ in runs] + [block.tiles]
            for first, last in runs:
                with block.ready(first, last) as (run, begin, end):
                    assert (begin, end) == (0, run.tiles) == (0, last - first)
                    run.mask[...] = True
                    numbers += [run.number(tile) for tile in range(end)]
        assert sorted(numbers) == list(range(problem.tiling.tiles))


def test_sums_are_those_of_the_array_library():
    rng = np.random.default_rng(1)
    places = {"4:8 pair": np.s_[:, ::2], "4:8 pair axis=0": np.s_[::2], "4:8-T pair": np.s_[::2, ::2]}
    for dtype, order, (text, place), score in itertools.product(
        ("f8", "f4", "f2", "i1", "u2", "i8", "?"), "CF", places.items(), ("value", "magnitude", "square")
    ):
        array = np.asarray(
            rng.standard_normal((48, 1040)) * 2.0 ** rng.integers(-4, 5, (48, 1040)), order=order
        )
        array, pattern = array.astype(dtype, order="K"), ms.Pattern(text)
        worth = MaskProblem.of(array, "1:1", score=score).worth(array)
        firsts = array[place]
        found = np.empty_like(firsts, dtype=np.float64)
        assert arrays.add_pairs(firsts, pairs.apart(array, pattern), score, 1e6, found)
        assert np.array_equal(found, pairs.sums(np, worth, pattern))
        assert not np.may_share_memory(firsts, found)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf, 1.5])
def test_unfit_entries_are_found_wherever_they_are(dtype, wrong):
    for column in range(8):
        array = np.ones((8, 8), dtype)
        array[3, column] = wrong
        sums = np.empty((4, 4))
        assert not arrays.add_pairs(array[::2, ::2], array.strides, "value", 1.0, sums)
        assert arrays.add_pairs(array[::2, ::2], array.strides, "value", 2.0, sums) == (wrong == 1.5)


def test_sums_that_float32_does_not_hold_are_solved_in_float64():
    scores = np.random.default_rng(2).integers(1, 9, (64, 64)).astype(np.float16)
    assert ms.solve(scores, "4:8-T pair", duals=True).duals.rows.dtype == np.float32
    scores[-1, -2:] = 2.0**-24, 60000
    result = ms.solve(scores, "4:8-T pair", duals=True)
    assert result.duals.rows.dtype == np.float64
    assert result.status is ms.Status.OPTIMAL
    assert result.mask[-1, -2:].all()


@pytest.mark.parametrize("text", ["4:8 pair", "4:8-T pair"])
def test_memory_beyond_the_mask_is_bounded(text):
    tracemalloc = pytest.importorskip("tracemalloc")
    scores = np.random.default_rng(3).random((1024, 2048), dtype=np.float32)
    ms.solve(scores, text)
    tracemalloc.start()
    result = ms.solve(scores, text)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    kept = result.mask.nbytes + sum(part.nbytes for part in result.duals or () if part is not None)
    assert peak - kept < 3 << 20


def test_a_stopped_solve_fills_the_rest(monkeypatch):
    monkeypatch.setattr(paired, "_AT_ONCE", 64)
    scores = np.random.default_rng(4).random((64, 64))
    for text in ("4:8 pair", "4:8-T pair"):
        result = ms.solve(scores, text, time_limit=1e-9)
        assert result.status is ms.Status.TIME_LIMIT
        assert ms.verify(result.mask, text).ok
        assert result.objective == pytest.approx(scores[result.mask].sum())
        assert result.bound >= ms.solve(scores, text).objective
