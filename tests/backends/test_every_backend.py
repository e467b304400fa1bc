"""Every available backend, on every instance family, against the oracles."""

from __future__ import annotations

import functools
import importlib.util
import re

import numpy as np
import oracles
import pytest
from assertions import assert_optimal, assert_valid
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import FAMILIES, problems

import masksolve as ms
from masksolve.backends import load
from masksolve.backends.feasibility import failure
from masksolve.layout import Chunk
from masksolve.remedies import pip_install

# The backend of V:N:M solves none of these patterns; tests/solve/test_vectors.py is about it.
AVAILABLE = [info for info in ms.backends() if info.unavailable is None and info.name != "columns"]
VARIANTS = [(info.name, {}) for info in AVAILABLE] + [
    (name, options)
    for name, options in [
        ("greedy", {"bound": True}),
        ("cover", {"bound": True}),
        ("highs", {"method": "milp"}),
        ("ortools", {"batch": 1}),
        ("ortools", {"batch": 1000}),
    ]
    if name in [info.name for info in AVAILABLE]
]
PATTERNS = [
    f"{amount}{form}"
    for amount in ("1:4", "2:4", "3:4", "1:8", "2:8", "4:8", "3:7")
    for form in ("-T", "-T at_most", "", " at_most", " axis=0", " at_most axis=0")
]
OTHER_SHAPES = [
    ("1:1-T", (2, 3)),
    ("2:2", (2, 4)),
    ("2:3-T pad", (7, 5)),
    ("2:4-T pad", (3, 2)),
    ("2:4-T at_most pad", (5, 6)),
    ("4:8-T pad", (11, 8)),
    ("4:8-T pad", (8, 9)),
    ("2:4 pad", (2, 7)),
    ("3:8 pad axis=0", (13, 2)),
    ("2:4-T dense", (9, 6)),
    ("2:4 dense", (2, 7)),
    ("2:4-T dense", (3, 3)),
    ("2:4-T", (2, 1, 4, 8)),
    ("1:3 axis=1", (2, 6, 2)),
    ("4:8 axis=-1", (16,)),
    ("2:4-T", (0, 4)),
    ("4:16-T", (16, 32)),
    ("8:16-T", (16, 16)),
    ("8:16-T at_most pad", (20, 16)),
    ("16:32-T", (32, 32)),
    ("5:64-T at_most", (64, 64)),
]


def label(value):
    """Test ids such as ``ortools batch=1``."""
    if isinstance(value, tuple) and isinstance(value[-1], dict):
        return " ".join([value[0], *(f"{key}={option}" for key, option in value[1].items())])
    return str(value)


each_variant = pytest.mark.parametrize("variant", VARIANTS, ids=label)


def refusal(variant, pattern, *, forced=False):
    """Why a backend does not run a pattern, or None."""
    name, options = variant
    return load(name)(**options).refuses(ms.Pattern.parse(pattern), forced=forced)


def check(variant, scores, pattern, *, keep=None, drop=None, best=None):
    """Solve and compare with the oracle, or see that the refusal carries its reason."""
    name, options = variant
    forced = keep is not None or drop is not None
    reason = refusal(variant, pattern, forced=forced)
    if reason is not None:
        with pytest.raises(ms.BackendRefusedError) as caught:
            ms.solve(scores, pattern, backend=name, keep=keep, drop=drop, **options)
        assert reason in str(caught.value)
        return
    result = ms.solve(scores, pattern, backend=name, keep=keep, drop=drop, **options)
    assert result.backend == name
    if load(name).exact:
        assert_optimal(result, scores, keep=keep, drop=drop, best=best)
    else:
        assert_valid(result, scores, keep=keep, drop=drop, best=best)


@functools.cache
def instance(family, text):
    """A small array, a few tiles or groups, and an optimal mask."""
    pattern = ms.Pattern.parse(text)
    shape = (pattern.m, 2 * pattern.m) if pattern.transposable else (3, 2 * pattern.m)
    if pattern.axis == 0:
        shape = shape[::-1]
    scores = FAMILIES[family](np.random.default_rng(len(family) + len(text)), shape)
    return scores, oracles.solve(scores, pattern)


@each_variant
@pytest.mark.parametrize("pattern", PATTERNS)
def test_families(variant, pattern):
    for family in FAMILIES:
        scores, best = instance(family, pattern)
        check(variant, scores, pattern, best=best)


@each_variant
@pytest.mark.parametrize(("pattern", "shape"), OTHER_SHAPES, ids=label)
def test_shapes(variant, pattern, shape):
    rng = np.random.default_rng(sum(shape))
    for scores in (rng.standard_normal(shape), rng.integers(-2, 5, shape)):
        check(variant, scores, pattern)


@each_variant
def test_many_chunks(variant):
    scores = np.random.default_rng(7).standard_normal((2, 72, 144))
    reference = "highs" if variant[0] == "enumerate" else "enumerate"
    for pattern in ("2:4-T", "2:4-T at_most"):
        best = ms.solve(scores, pattern, backend=reference).mask
        check(variant, scores, pattern, best=best)


@each_variant
@settings(max_examples=40, deadline=None, derandomize=True)
@given(problem=problems(largest_m=6))
def test_any_problem(variant, problem):
    pattern, scores = problem
    check(variant, scores, pattern)


@each_variant
@settings(max_examples=40, deadline=None, derandomize=True)
@given(problem=problems(largest_m=5), seed=st.integers(0, 2**32 - 1))
def test_forced_entries(variant, problem, seed):
    pattern, scores = problem
    rng = np.random.default_rng(seed)
    some_mask = oracles.solve(rng.standard_normal(scores.shape), pattern)
    tails = np.ones(scores.shape, bool)
    for tile in oracles.tiles(scores.shape, pattern):
        tails[tile.place] = False
    share = rng.choice([0.1, 0.5, 1.0])
    keep = some_mask & (rng.random(scores.shape) < share) & ~tails
    drop = ~some_mask & (rng.random(scores.shape) < share) & ~tails
    check(variant, scores, pattern, keep=keep, drop=drop)
    check(variant, scores, pattern, keep=keep)
    check(variant, scores, pattern, drop=drop)


def forced_by(tile, *, keep=(), drop=(), shape=(4, 12)):
    """Forced entries at places (row, column) of one of the 4-by-4 tiles of a row of tiles."""
    masks = np.zeros((2, *shape), bool)
    for mask, places in zip(masks, (keep, drop), strict=True):
        for row, column in places:
            mask[row, 4 * tile + column] = True
    return {"keep": masks[0], "drop": masks[1]}


ROW_FULL = [(1, 0), (1, 1), (1, 2)]
COLUMN_EMPTY = [(0, 2), (1, 2), (3, 2)]
# Three rows can only use columns 0 and 1: at one entry a line, none is wrong alone, together they are.
CROWDED = [(row, column) for row in (0, 1, 2) for column in (2, 3)]


@each_variant
@pytest.mark.parametrize(
    ("pattern", "forced", "axis", "lines"),
    [
        ("2:4-T", forced_by(1, keep=ROW_FULL), "row", [1]),
        ("2:4-T at_most", forced_by(1, keep=ROW_FULL), "row", [1]),
        ("2:4", forced_by(1, keep=ROW_FULL), "row", [0]),
        ("2:4-T", forced_by(1, drop=COLUMN_EMPTY), "column", [2]),
        ("1:4-T", forced_by(1, drop=CROWDED), None, range(4)),
        ("1:4-T", forced_by(1, drop=[(c, r) for r, c in CROWDED]), None, range(4)),
        ("1:4-T", forced_by(1, keep=[(0, 0)], drop=[(1, 1), (1, 2), (1, 3)]), None, range(4)),
    ],
)
def test_infeasible_choices_name_the_tile(variant, pattern, forced, axis, lines):
    name, options = variant
    reason = refusal(variant, pattern, forced=True)
    if reason is not None:
        pytest.skip(reason)
    with pytest.raises(ms.InfeasibleError) as caught:
        ms.solve(np.ones((4, 12)), pattern, backend=name, **forced, **options)
    error = caught.value
    assert error.tile == (1 if "T" in pattern else 4)
    assert axis is None or error.axis == axis
    assert error.axis in ("row", "column")
    assert error.index in lines
    assert str(error.tile) in str(error)
    assert isinstance(error, ValueError)


@each_variant
def test_infeasible_cut_groups_are_numbered_in_the_whole_array(variant):
    name, options = variant
    reason = refusal(variant, "1:4 pad", forced=True)
    if reason is not None:
        pytest.skip(reason)
    keep = np.arange(20).reshape(2, 10) >= 18
    with pytest.raises(ms.InfeasibleError) as caught:
        ms.solve(np.ones((2, 10)), "1:4 pad", backend=name, keep=keep, **options)
    assert (caught.value.tile, caught.value.axis, caught.value.index) == (5, "row", 0)


@each_variant
@pytest.mark.parametrize("workers", [1, 2])
def test_the_first_of_infeasible_whole_and_cut_tiles_is_named(variant, workers):
    """Cut tiles are solved after all whole ones, and yet come before some of them in the array."""
    name, options = variant
    reason = refusal(variant, "2:4-T pad", forced=True)
    if reason is not None:
        pytest.skip(reason)
    keep = np.zeros((12, 6), np.bool_)
    keep[4:7, 1] = True  # column 1 of tile 2, which is whole
    keep[0:3, 5] = True  # column 1 of tile 1, which is cut to 4 by 2
    keep[9:12, 5] = True
    with pytest.raises(ms.InfeasibleError) as caught:
        ms.solve(np.ones((12, 6)), "2:4-T pad", backend=name, keep=keep, workers=workers, **options)
    assert (caught.value.tile, caught.value.axis, caught.value.index) == (1, "column", 1)


@pytest.mark.parametrize("seed", range(400))
def test_the_diagnosis_is_right(seed):
    """A tile is called infeasible exactly if brute force finds no mask."""
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(1, 4, 2))
    bounds = [tuple(sorted(rng.integers(0, length + 1, 2).tolist())) for length in shape[::-1]]
    keep = rng.random(shape) < 0.15
    drop = (rng.random(shape) < 0.2) & ~keep
    chunk = Chunk(np.ones((1, *shape)), keep[np.newaxis], drop[np.newaxis], *bounds, numbers=[7])
    error = failure("some", chunk, "out of order")
    if oracles.brute_force(np.ones(shape), *bounds, keep, drop) is None:
        assert isinstance(error, ms.InfeasibleError)
        assert error.tile == 7
    else:
        assert isinstance(error, ms.BackendFailedError)
        assert "out of order" in str(error)


@each_variant
def test_a_solve_can_be_repeated(variant):
    name, options = variant
    scores = np.random.default_rng(5).integers(0, 4, (16, 24))
    runs = [ms.solve(scores, "2:4-T", backend=name, workers=workers, **options) for workers in (1, 1, 2)]
    for run in runs[1:]:
        np.testing.assert_array_equal(run.mask, runs[0].mask)
        assert run.bound == runs[0].bound


@each_variant
def test_inputs_stay_untouched_and_any_strides_do(variant):
    name, options = variant
    whole = np.random.default_rng(6).standard_normal((16, 8))
    view = whole[::-2].T[:, ::-1]
    before = whole.copy()
    whole.flags.writeable = False
    result = ms.solve(view, "2:4-T", backend=name, **options)
    np.testing.assert_array_equal(whole, before)
    assert_valid(result, view)
    if load(name).exact:
        assert_optimal(result, view)


@pytest.mark.parametrize(
    ("name", "options", "kind", "message"),
    [
        ("highs", {"method": "simplex"}, ValueError, "method must be one of 'lp', 'milp'; got 'simplex'"),
        ("highs", {"methods": "lp"}, TypeError, "no option 'methods'.*method"),
        ("ortools", {"batch": 0}, ValueError, "batch must be at least 1.*got 0"),
        ("ortools", {"batch": 2.0}, TypeError, "batch must be an integer.*got 2.0"),
        ("ortools", {"batch": True}, TypeError, "batch must be an integer.*got True"),
        ("networkx", {"batch": 1}, TypeError, "no option 'batch'"),
        ("enumerate", {"largest": 8}, TypeError, "no option 'largest'"),
    ],
)
def test_wrong_options_are_rejected(name, options, kind, message):
    with pytest.raises(kind, match=message):
        ms.solve(np.ones((4, 4)), "2:4-T", backend=name, **options)


@each_variant
def test_unknown_options_are_rejected(variant):
    name, options = variant
    with pytest.raises(TypeError, match=f"'{name}' has no option 'no_such_option'"):
        ms.solve(np.ones((4, 4)), "2:4-T", backend=name, no_such_option=1, **options)


def test_enumerate_refuses_long_groups():
    with pytest.raises(ms.BackendRefusedError, match=r"needs m <= 4, got m=5; use backend='exact'"):
        ms.solve(np.ones((5, 5)), "2:5-T", backend="enumerate")


@pytest.mark.parametrize("name", [info.name for info in AVAILABLE if load(info.name).requires])
def test_missing_extras_name_the_command(monkeypatch, name):
    module, extra = load(name).requires, load(name).extra
    find = importlib.util.find_spec

    def without_module(wanted, package=None):
        return None if wanted == module else find(wanted, package)

    monkeypatch.setattr(importlib.util, "find_spec", without_module)
    command = pip_install(extra)
    with pytest.raises(ms.BackendUnavailableError, match=re.escape(f"needs {module}: {command}")) as caught:
        ms.solve(np.ones((4, 4)), "2:4-T", backend=name)
    assert isinstance(caught.value, ImportError)
    (info,) = [info for info in ms.backends() if info.name == name]
    assert command in info.unavailable
