"""`masksolve.backends.batched` in every namespace, against oracles that share no code with it."""

from __future__ import annotations

import array_api_compat
import frameworks
import numpy as np
import oracles
import pytest

import masksolve as ms
from masksolve.backends.batched import Tiles, solve_tiles
from masksolve.backends.batched import frame as frames
from masksolve.certificate import feasible, prove
from masksolve.layout import Chunk
from masksolve.testing import FAMILIES
from masksolve.types import Prices

NAMESPACES = ["numpy", "torch", "strict-device"]
"""The last one refuses to mix devices. JAX compiles every operation for every shape, so it has its own
tests, of few shapes."""

PATTERNS = ["1:2-T", "2:4-T", "3:5-T", "4:8-T", "8:16-T", "16:32-T", "2:4", "5:8"]
ROUNDING = {"float32": 1e-6, "float64": 1e-12}
DENORMAL = {"float32": 1.5e-45, "float64": 5e-324}

SHAPES = {
    "square": ((2, 2), (2, 2), (4, 4)),
    "full": ((3, 3), (3, 3), (3, 3)),
    "at most": ((0, 2), (0, 2), (4, 4)),
    "ranges": ((1, 3), (2, 3), (5, 5)),
    "cut right": ((0, 3), (4, 4), (8, 3)),
    "cut below": ((2, 2), (0, 3), (3, 5)),
    "corner": ((0, 2), (0, 3), (3, 2)),
    "columns free": ((1, 2), (0, 3), (3, 4)),
    "group": ((2, 2), (0, 1), (1, 5)),
    "cut group": ((0, 2), (0, 1), (1, 3)),
    "more rows than columns hold": ((2, 2), (0, 1), (4, 4)),
}
"""Bounds of rows and of columns, and the tile's shape."""


def library(namespace):
    if namespace == "numpy":
        return frameworks.Arrays("numpy", np.array, np.asarray, lambda value: isinstance(value, np.ndarray))
    return frameworks.ALL[namespace]()


def run(namespace, scores, row_bounds, column_bounds, keep=None, drop=None, **options):
    """Solve and certify; returns the answer and the certificate in NumPy."""
    ours = library(namespace)
    arrays = [None if values is None else ours.make(values) for values in (scores, keep, drop)]
    if namespace == "jax":
        options["compiler"] = pytest.importorskip("jax").jit
    with frameworks.doubles(namespace, scores.dtype == np.float64):
        xp = array_api_compat.array_namespace(arrays[0])
        tiles = Tiles(arrays[0], row_bounds, column_bounds, *arrays[1:])
        answer = solve_tiles(xp, tiles, **options)
    with frameworks.doubles(namespace):
        chunk = Chunk(tiles.scores, tiles.keep, tiles.drop, row_bounds, column_bounds, range(len(scores)))
        objective, bound, *_ = prove(xp, chunk, answer.mask, Prices(answer.rows, answer.columns))
        good = feasible(xp, chunk, answer.mask)
    for result in (*answer[:4], objective, bound, good):
        assert ours.is_ours(result)
    answer = answer._replace(**{name: ours.read(getattr(answer, name)) for name in answer._fields[:4]})
    objective, bound, good = (ours.read(values) for values in (objective, bound, good))
    assert (answer.mask.dtype, answer.rows.dtype, answer.columns.dtype) == (bool, scores.dtype, scores.dtype)
    assert objective.dtype == bound.dtype == np.float64
    assert (good | ~answer.solved).all()
    return answer, objective, bound


def check(namespace, scores, row_bounds, column_bounds, *, best, keep=None, drop=None, **options):
    """Every tile with an optimal mask in ``best`` reaches its optimum and proves it; the others say so."""
    answer, objective, bound = run(namespace, scores, row_bounds, column_bounds, keep, drop, **options)
    kind = scores.dtype.name
    for tile, mask in enumerate(best):
        assert answer.solved[tile] == (mask is not None), f"tile {tile}"
        if mask is None:
            continue
        forced_keep, forced_drop = (None if f is None else f[tile : tile + 1] for f in (keep, drop))
        assert_obeys(answer.mask[tile], row_bounds, column_bounds, forced_keep, forced_drop)
        optimum, kept = oracles.value(scores[tile], mask), oracles.value(scores[tile], answer.mask[tile])
        magnitudes = np.abs(scores[tile].astype(np.float64))
        scale = max(float(magnitudes[answer.mask[tile]].sum()), float(magnitudes.max()))
        allowed = ROUNDING[kind] * scale + 4 * mask.size * DENORMAL[kind]
        assert abs(kept - optimum) <= allowed, f"tile {tile} keeps {kept}, its optimum is {optimum}"
        assert abs(objective[tile] - kept) <= 1e-13 * scale
        assert optimum <= bound[tile] <= optimum + allowed, f"tile {tile}"
    return answer


def assert_obeys(mask, row_bounds, column_bounds, keep, drop):
    for axis, (least, most) in ((1, row_bounds), (0, column_bounds)):
        counts = mask.sum(axis=axis)
        assert least <= counts.min()
        assert counts.max() <= most
    assert keep is None or mask[keep[0]].all()
    assert drop is None or not mask[drop[0]].any()


def bounds(pattern):
    """Row bounds, column bounds and shape of a pattern's tiles."""
    lines = (pattern.n if pattern.constraint == "exact" else 0, pattern.n)
    return (lines, lines, (pattern.m, pattern.m)) if pattern.transposable else (lines, (0, 1), (1, pattern.m))


def every_family(shape, dtype, names=FAMILIES, tiles=2):
    """A few tiles of every family of scores in one batch, as far as the dtype's range holds them."""
    rng = np.random.default_rng(sum(shape))
    names = [name for name in names if dtype == "float64" or name != "huge_float64"]
    scores = [FAMILIES[name](rng, (tiles, *shape)) for name in names]
    return np.concatenate(
        [
            (0.01 * part if name == "huge_float64" else part).astype(dtype)
            for name, part in zip(names, scores, strict=True)
        ]
    )


def engine(scores, pattern):
    """Optimal masks of all tiles by the compiled engine, in float64."""
    wide = scores.astype(np.float64)
    wide = wide if pattern.transposable else wide.reshape(len(wide), -1)
    return ms.solve(wide, pattern, backend="exact").mask.reshape(scores.shape)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("text", [*PATTERNS, *(f"{text} at_most" for text in PATTERNS)])
@pytest.mark.parametrize("namespace", NAMESPACES)
def test_families(namespace, text, dtype):
    pattern = ms.Pattern.parse(text)
    row_bounds, column_bounds, shape = bounds(pattern)
    scores = every_family(shape, dtype)
    check(namespace, scores, row_bounds, column_bounds, best=engine(scores, pattern))


@pytest.mark.parametrize(("text", "dtype"), [("2:4-T", "float32"), ("2:4-T at_most", "float64")])
def test_families_in_jax(text, dtype, monkeypatch):
    """XLA takes denormal numbers for zero, so those families are not for it."""
    monkeypatch.setattr(frames, "_SMALLEST_BATCH", 64)  # few shapes to compile
    pattern = ms.Pattern.parse(text)
    row_bounds, column_bounds, shape = bounds(pattern)
    scores = every_family(shape, dtype, [name for name in FAMILIES if "denormal" not in name], tiles=1)
    check("jax", scores, row_bounds, column_bounds, best=engine(scores, pattern))


@pytest.mark.parametrize("text", ["2:4-T", "4:8-T", "8:16-T", "2:4-T at_most", "8:16-T at_most"])
def test_the_linear_programme_agrees(text):
    row_bounds, column_bounds, shape = bounds(ms.Pattern.parse(text))
    scores = np.random.default_rng(5).standard_normal((6, *shape))
    best = [oracles.linear_programme(tile, row_bounds, column_bounds) for tile in scores]
    check("numpy", scores, row_bounds, column_bounds, best=best)


def forced_case(shape, seed=0, tiles=24):
    """Scores with ties, and forced choices that leave some tiles without a mask."""
    rng = np.random.default_rng(seed)
    scores = np.where(rng.random((tiles, *shape)) < 0.5, rng.integers(-2, 4, (tiles, *shape)), 0.5)
    scores[::2] = rng.standard_normal(scores[::2].shape)
    keep = rng.random(scores.shape) < 0.08
    return scores, keep, (rng.random(scores.shape) < 0.12) & ~keep


@pytest.mark.parametrize("forced", [False, True])
@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("namespace", NAMESPACES)
def test_any_bounds_and_forced_choices(namespace, name, forced):
    row_bounds, column_bounds, shape = SHAPES[name]
    scores, keep, drop = forced_case(shape)
    keep, drop = (keep, drop) if forced else (None, None)
    best = [
        oracles.best_mask(
            tile,
            row_bounds,
            column_bounds,
            None if keep is None else keep[t],
            None if drop is None else drop[t],
        )
        for t, tile in enumerate(scores)
    ]
    found = sum(mask is not None for mask in best)
    assert (found == 0) if name.startswith("more rows") else (0 < found <= len(best))
    check(namespace, scores, row_bounds, column_bounds, best=best, keep=keep, drop=drop)


def test_forced_choices_in_jax(monkeypatch):
    monkeypatch.setattr(frames, "_SMALLEST_BATCH", 64)
    row_bounds, column_bounds, shape = SHAPES["square"]
    scores, keep, drop = forced_case(shape, tiles=12)
    best = [
        oracles.best_mask(tile, row_bounds, column_bounds, keep[t], drop[t]) for t, tile in enumerate(scores)
    ]
    assert {mask is None for mask in best} == {True, False}
    check("jax", scores.astype(np.float32), row_bounds, column_bounds, best=best, keep=keep, drop=drop)


@pytest.mark.parametrize("namespace", ["numpy", "torch"])
@pytest.mark.parametrize("one", ["keep", "drop"])
def test_one_kind_of_forced_choice(namespace, one):
    scores, keep, drop = forced_case((4, 4), seed=1)
    forced = {"keep": keep} if one == "keep" else {"drop": drop}
    best = [
        oracles.best_mask(tile, (2, 2), (2, 2), **{name: value[t] for name, value in forced.items()})
        for t, tile in enumerate(scores)
    ]
    check(namespace, scores, (2, 2), (2, 2), best=best, **forced)


def test_infeasible_for_every_reason():
    """Rows, then columns, that keep too much or too little, and a cut that only paths can find."""
    keep, drop = np.zeros((6, 4, 4), bool), np.zeros((6, 4, 4), bool)
    keep[0, 1, :3] = True
    drop[1, 1, :3] = True
    keep[2, :3, 1] = True
    drop[3, :3, 1] = True
    drop[4, :3, :2] = True  # three rows keep columns 2 and 3, which may keep two entries
    answer, _, _ = run("numpy", np.ones((6, 4, 4)), (2, 2), (2, 2), keep, drop)
    assert answer.solved.tolist() == [False] * 5 + [True]


@pytest.mark.parametrize("namespace", NAMESPACES)
@pytest.mark.parametrize("text", [text for text in PATTERNS if text.endswith("T")])
def test_constant_tiles_need_no_path(namespace, text):
    for pattern in (ms.Pattern.parse(text), ms.Pattern.parse(f"{text} at_most")):
        row_bounds, column_bounds, shape = bounds(pattern)
        scores = np.array([0.0, 1.0, 0.1, -2.0], np.float32)[:, None, None] * np.ones(shape, np.float32)
        answer = check(namespace, scores, row_bounds, column_bounds, best=engine(scores, pattern))
        assert (answer.passes, answer.steps) == (0, 0)


@pytest.mark.parametrize("rounds", [0, 1, 2, 6])
@pytest.mark.parametrize("text", ["4:8-T", "4:8-T at_most"])
def test_rounds_change_the_way_and_not_the_optimum(text, rounds):
    pattern = ms.Pattern.parse(text)
    row_bounds, column_bounds, shape = bounds(pattern)
    scores = every_family(shape, "float32")
    best = engine(scores, pattern)
    answer = check("numpy", scores, row_bounds, column_bounds, best=best, rounds=rounds)
    assert answer.passes > 0


def test_more_rounds_leave_fewer_passes():
    scores = np.abs(np.random.default_rng(0).standard_normal((300, 8, 8), np.float32))
    passes = [solve_tiles(np, Tiles(scores, (4, 4), (4, 4)), rounds=rounds).passes for rounds in (0, 2, 12)]
    assert passes[0] > passes[1] > passes[2]


@pytest.mark.parametrize("namespace", NAMESPACES)
@pytest.mark.parametrize("text", ["4:8-T", "4:8-T at_most"])
def test_start_saves_passes_and_may_be_anything(namespace, text):
    pattern = ms.Pattern.parse(text)
    row_bounds, column_bounds, shape = bounds(pattern)
    scores = np.abs(np.random.default_rng(3).standard_normal((20, *shape)))
    best = engine(scores, pattern)
    cold = check(namespace, scores, row_bounds, column_bounds, best=best, rounds=0)
    moved = scores * (1 + 1e-6 * np.random.default_rng(4).random(scores.shape))
    for prices, fewer in (((cold.rows, cold.columns), True), ((5 * cold.columns, -7 * cold.rows), False)):
        start = tuple(library(namespace).make(part) for part in prices)
        warm = check(
            namespace, moved, row_bounds, column_bounds, best=engine(moved, pattern), start=start, rounds=0
        )
        assert not fewer or warm.passes < cold.passes


@pytest.mark.parametrize("namespace", ["numpy", "torch"])
@pytest.mark.parametrize("text", ["2:4-T", "8:16-T", "4:8-T at_most", "2:4"])
def test_a_tile_does_not_depend_on_its_neighbours(namespace, text, monkeypatch):
    """Twice the same, in another order, in small chunks: the same mask and prices, ties included."""
    row_bounds, column_bounds, shape = bounds(ms.Pattern.parse(text))
    scores = every_family(shape, "float32")
    order = np.random.default_rng(1).permutation(len(scores))
    once, _, _ = run(namespace, scores, row_bounds, column_bounds)
    again, _, _ = run(namespace, scores, row_bounds, column_bounds)
    other, _, _ = run(namespace, scores[order], row_bounds, column_bounds)
    monkeypatch.setattr(frames, "_CPU_ENTRIES", 1)
    monkeypatch.setattr(frames, "_FEWEST_TILES", 7)
    cut, _, _ = run(namespace, scores, row_bounds, column_bounds)
    for name in ("mask", "rows", "columns", "solved"):
        expected = getattr(once, name)
        np.testing.assert_array_equal(getattr(again, name), expected)
        np.testing.assert_array_equal(getattr(other, name), expected[order])
        np.testing.assert_array_equal(getattr(cut, name), expected)


@pytest.mark.parametrize("text", ["4:8-T", "4:8-T at_most", "5:8"])
def test_a_compiler_changes_nothing(text, monkeypatch):
    """One that compiles nothing: batches are filled up with finished tiles, and no value decides the way."""
    row_bounds, column_bounds, shape = bounds(ms.Pattern.parse(text))
    scores = every_family(shape, "float32", tiles=10)
    plain, _, _ = run("numpy", scores, row_bounds, column_bounds)
    monkeypatch.setattr(frames, "_SMALLEST_BATCH", 16)
    monkeypatch.setattr(frames, "_DEVICE_ENTRIES", 1)
    monkeypatch.setattr(frames, "_FEWEST_TILES", 100)
    compiled, _, _ = run("numpy", scores, row_bounds, column_bounds, compiler=lambda function: function)
    for one, other in zip(plain[:4], compiled[:4], strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("namespace", NAMESPACES)
def test_no_tiles(namespace):
    for row_bounds, column_bounds, shape in SHAPES.values():
        answer, objective, bound = run(
            namespace, np.empty((0, *shape), np.float32), row_bounds, column_bounds
        )
        assert (answer.mask.shape, answer.rows.shape) == ((0, *shape), (0, shape[0]))
        assert len(objective) == len(bound) == len(answer.solved) == answer.passes == 0


def test_long_lines():
    """Where counts do not fit eight bits."""
    scores = np.random.default_rng(2).standard_normal((2, 64, 64))
    for text in ("32:64-T", "60:64-T at_most"):
        pattern = ms.Pattern.parse(text)
        row_bounds, column_bounds, _ = bounds(pattern)
        check("numpy", scores, row_bounds, column_bounds, best=engine(scores, pattern))


@pytest.mark.parametrize(
    ("row_bounds", "column_bounds", "message"),
    [
        ((2, 1), (1, 1), r"row_bounds must be 0 <= least <= most <= 3, got \(2, 1\)"),
        ((0, 4), (1, 1), r"row_bounds .* got \(0, 4\)"),
        ((1, 1), (-1, 1), r"column_bounds must be 0 <= least <= most <= 2, got \(-1, 1\)"),
    ],
)
def test_bad_bounds(row_bounds, column_bounds, message):
    with pytest.raises(ValueError, match=message):
        solve_tiles(np, Tiles(np.ones((1, 2, 3)), row_bounds, column_bounds))
