"""Backends `greedy` and `cover` against slow Python renderings of their rules."""

from __future__ import annotations

import itertools
import math
from types import SimpleNamespace

import ml_dtypes
import numpy as np
import oracles
import pytest
from assertions import assert_feasible

import masksolve as ms
from masksolve._ext import tiles as compiled

RULES = ["greedy", "cover"]


# --- Slow renderings -------------------------------------------------------------------------


def order(scores, *, heaviest_first):
    """Places by score, ties in row-major order."""
    places = list(np.ndindex(scores.shape))
    return sorted(places, key=lambda place: -scores[place] if heaviest_first else scores[place])


def textbook_greedy(scores, row_most, column_most):
    kept = np.zeros(scores.shape, bool)
    for i, j in order(scores, heaviest_first=True):
        if kept[i].sum() < row_most and kept[:, j].sum() < column_most:
            kept[i, j] = True
    return kept


def textbook_cover(scores, row_most, column_most):
    """Algorithm 1: prune where the row or the column still has too few pruned."""
    height, width = scores.shape
    pruned = np.zeros(scores.shape, bool)
    for i, j in order(scores, heaviest_first=False):
        if pruned[i].sum() < width - row_most or pruned[:, j].sum() < height - column_most:
            pruned[i, j] = True
    return ~pruned


TEXTBOOK = {"greedy": textbook_greedy, "cover": textbook_cover}


def completed(rule, scores, rows, columns):
    """The rule's mask, its lines filled to their least number as the backend documents."""
    kept = TEXTBOOK[rule](scores, rows[1], columns[1])
    ranking = order(scores, heaviest_first=rule == "greedy")
    for i, j in ranking if rule == "greedy" else ranking[::-1]:
        needed = kept[i].sum() < rows[0] or kept[:, j].sum() < columns[0]
        if needed and not kept[i, j] and kept[i].sum() < rows[1] and kept[:, j].sum() < columns[1]:
            kept[i, j] = True
    while (kept.sum(axis=1) < rows[0]).any():
        augment(kept, scores, rows, columns)
    while (kept.sum(axis=0) < columns[0]).any():
        augment(kept.T, scores.T, columns, rows)
    return kept


def augment(kept, scores, near, far):
    """Flip a best shortest alternating path from a row that keeps too few."""
    paths = {int(i): (0.0, []) for i in np.flatnonzero(kept.sum(axis=1) < near[0])}
    seen_rows, seen_columns = set(paths), set()
    while True:
        reached = spread(paths, seen_columns, ~kept, scores, lambda row, column: (row, column))
        room = [j for j in sorted(reached) if kept[:, j].sum() < far[1]]
        if room:
            return flip(kept, max(room, key=lambda j: reached[j][0]), reached)
        paths = spread(reached, seen_rows, kept.T, -scores.T, lambda column, row: (row, column))
        rich = [i for i in sorted(paths) if kept[i].sum() > near[0]]
        if rich:
            return flip(kept, max(rich, key=lambda i: paths[i][0]), paths)
        assert paths, "no mask meets the bounds"


def spread(paths, seen, open_entries, worth, place):
    reached = {}
    for line in sorted(paths):
        gain, changes = paths[line]
        for other in np.flatnonzero(open_entries[line]):
            if int(other) in seen:
                continue
            total = gain + float(worth[line, other])
            if int(other) not in reached or total > reached[int(other)][0]:
                reached[int(other)] = (total, [*changes, place(line, int(other))])
    seen.update(reached)
    return reached


def flip(kept, end, paths):
    for place in paths[end][1]:
        kept[place] ^= True


# --- Instances -------------------------------------------------------------------------------


FAMILIES = {
    "gaussian": lambda rng, shape: rng.standard_normal(shape).astype(np.float32),
    "magnitudes": lambda rng, shape: np.abs(rng.standard_normal(shape)),
    "bfloat16": lambda rng, shape: np.abs(rng.standard_normal(shape)).astype(ml_dtypes.bfloat16),
    "float16": lambda rng, shape: rng.standard_normal(shape).astype(np.float16),
    "few integers": lambda rng, shape: rng.integers(-2, 3, shape).astype(np.int8),
    "wide integers": lambda rng, shape: rng.integers(-(2**52), 2**52, shape),
    "booleans": lambda rng, shape: rng.random(shape) < 0.5,
    "constant": lambda rng, shape: np.full(shape, 1.5, np.float32),
    "signed zeros": lambda rng, shape: np.where(rng.random(shape) < 0.5, 0.0, -0.0),
    "denormals": lambda rng, shape: (rng.integers(-3, 4, shape) * 1e-45).astype(np.float32),
}


def unfillable(n, m):
    """A tile on which keep-greedy fills only n·m - floor(n²/4): see proofs/test_greedy_half.py."""
    few = n // 2
    scores = np.zeros((m, m))
    scores[:few, :few] = 3
    rows, columns = np.ogrid[: m - few, : m - few]
    scores[few:, few:] = np.where((columns - rows) % (m - few) < n, 2, 0)
    return scores


# --- Textbook masks --------------------------------------------------------------------------


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", FAMILIES)
def test_at_most_is_the_textbook_mask(rule, name):
    rng = np.random.default_rng(0)
    for n, m in [(1, 1), (1, 2), (2, 4), (3, 4), (2, 5), (4, 8), (3, 10), (8, 16)]:
        scores = FAMILIES[name](rng, (m, 2 * m))
        result = ms.solve(scores, ms.Pattern(n, m, transposable=True, constraint="at_most"), backend=rule)
        for tile in (slice(0, m), slice(m, 2 * m)):
            wanted = TEXTBOOK[rule](scores[:, tile].astype(float), n, n)
            np.testing.assert_array_equal(result.mask[:, tile], wanted, err_msg=f"{n}:{m}")


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("n", [1, 24, 32, 63, 64])
def test_largest_tile(rule, n):
    scores = np.random.default_rng(n).standard_normal((64, 64)).astype(np.float32)
    textbook = ms.solve(scores, f"{n}:64-T at_most", backend=rule)
    np.testing.assert_array_equal(textbook.mask, TEXTBOOK[rule](scores, n, n))
    full = ms.solve(scores, f"{n}:64-T", backend=rule)
    assert (full.mask.sum(axis=0) == n).all()
    assert (full.mask.sum(axis=1) == n).all()


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("constraint", ["exact", "at_most"])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_groups_keep_their_largest(rule, constraint, axis):
    rng = np.random.default_rng(7)
    scores = rng.standard_normal((12, 24, 12))
    pattern = ms.Pattern(2, 6, axis=axis, constraint=constraint)
    mask = ms.solve(scores, pattern, backend=rule).mask
    groups = np.moveaxis(scores, axis, -1).reshape(-1, 6)
    kept = np.moveaxis(mask, axis, -1).reshape(-1, 6)
    wanted = groups >= np.sort(groups, axis=1)[:, 4:5]
    np.testing.assert_array_equal(kept, wanted)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("constraint", ["exact", "at_most"])
@pytest.mark.parametrize("pattern", ["2:4-T", "3:5-T", "4:8-T", "2:4", "1:3 axis=0"])
def test_tiles_cut_by_the_edge(rule, constraint, pattern):
    """Every block, whole or cut, gets the mask that the slow renderings give it."""
    whole = ms.Pattern.parse(pattern)
    pattern = ms.Pattern(
        whole.n, whole.m, transposable=whole.transposable, axis=whole.axis,
        remainder="pad", constraint=constraint,
    )  # fmt: skip
    rng = np.random.default_rng(whole.m)
    for height, width in [(9, 11), (3, 2), (1, 17), (10, 1)]:
        scores = rng.standard_normal((2, height, width)).astype(np.float32)
        result = ms.solve(scores, pattern, backend=rule)
        assert_feasible(result.mask, pattern)
        for place, row_bounds, column_bounds in oracles.tiles(scores.shape, pattern):
            tile, mask = scores[place], result.mask[place]
            wanted = completed(rule, np.atleast_2d(tile), row_bounds, column_bounds)
            np.testing.assert_array_equal(mask, wanted.reshape(mask.shape))


# --- Completion ------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", FAMILIES)
def test_completion_is_the_documented_one(rule, name):
    rng = np.random.default_rng(100)
    for n, m in [(1, 3), (2, 3), (2, 4), (3, 4), (3, 5), (4, 6), (4, 8), (7, 8), (6, 12)]:
        scores = FAMILIES[name](rng, (4, m, m))
        mask = ms.solve(scores, f"{n}:{m}-T", backend=rule).mask
        for tile, kept in zip(scores, mask, strict=True):
            wanted = completed(rule, tile.astype(float), (n, n), (n, n))
            np.testing.assert_array_equal(kept, wanted, err_msg=f"{n}:{m}")


@pytest.mark.parametrize("rule", RULES)
def test_completion_is_always_feasible(rule):
    """Every n:m up to 12, and larger ones, on tiles that leave many lines short."""
    rng = np.random.default_rng(3)
    sizes = [(n, m) for m in range(1, 13) for n in range(1, m + 1)]
    for n, m in [*sizes, (8, 16), (15, 16), (16, 32), (21, 32), (31, 32), (32, 64), (42, 64), (63, 64)]:
        tiles = np.stack(
            [
                rng.standard_normal((m, m)),
                -np.abs(rng.standard_normal((m, m))),
                rng.integers(0, 2, (m, m)).astype(float),
                np.ones((m, m)),
                np.add.outer(np.arange(m), np.arange(m)).astype(float),
                np.multiply.outer(np.arange(m), np.arange(m)).astype(float),
                -np.multiply.outer(np.arange(m), np.arange(m)).astype(float),
                unfillable(n, m) if 2 * m >= 3 * n else np.zeros((m, m)),
            ]
        )
        mask = ms.solve(tiles, f"{n}:{m}-T", backend=rule).mask
        assert (mask.sum(axis=1) == n).all(), f"{n}:{m}"
        assert (mask.sum(axis=2) == n).all(), f"{n}:{m}"


def block_of(scores, row_bounds, column_bounds):
    """Tiles with any bounds, as the compiled rules want to see them; no pattern has such bounds."""
    return SimpleNamespace(
        scores=scores, score="value", mask=np.zeros(scores.shape, bool), prices=None, keep=None, drop=None,
        start=None, row_bounds=row_bounds, column_bounds=column_bounds, groups_in_columns=False,
        largest=float(np.abs(scores).max()), tile_shape=scores.shape[1:], tile_objective=None,
        tile_bound=None,
    )  # fmt: skip


@pytest.mark.parametrize("rule", RULES)
def test_bounds_of_any_kind(rule):
    """Lines that may keep between two numbers, other ones for rows than for columns."""
    rng = np.random.default_rng(11)
    solve = {"greedy": compiled.solve_greedy, "cover": compiled.solve_cover}[rule]
    tried = 0
    for height, width in itertools.product([1, 2, 3, 5, 7], repeat=2):
        for _ in range(30):
            rows = tuple(sorted(int(x) for x in rng.integers(0, width + 1, 2)))
            columns = tuple(sorted(int(x) for x in rng.integers(0, height + 1, 2)))
            if height * rows[0] > width * columns[1] or width * columns[0] > height * rows[1]:
                continue  # no mask exists: Gale and Ryser's condition for equal lines
            scores = rng.integers(-9, 10, (3, height, width)).astype(float)
            block = block_of(scores, rows, columns)
            objective, _ = solve(block, 0, 3)
            wanted = [completed(rule, tile, rows, columns) for tile in scores]
            np.testing.assert_array_equal(block.mask, wanted)
            assert objective == scores[block.mask].sum()
            tried += 1
    assert tried > 200


def test_impossible_bounds_are_reported():
    block = block_of(np.ones((1, 3, 3)), (3, 3), (1, 1))
    with pytest.raises(ms.BackendFailedError, match=r"no mask keeps \(3, 3\) entries a row"):
        compiled.solve_greedy(block, 0, 1)


# --- What the two rules have to do with each other -------------------------------------------


@pytest.mark.parametrize(("n", "m"), [(1, 4), (2, 4), (4, 8), (6, 8), (8, 16)])
def test_cover_keeps_what_is_among_the_largest_of_row_and_column(n, m):
    """Algorithm 1's complement is the entries in the top n of both lines; keep-greedy keeps them too.

    What the completion adds directly to them is what keep-greedy adds, so that under "exact" both
    rules end at one mask where no two scores are equal.
    """
    scores = np.random.default_rng(m).permutation(64 * m * m).reshape(64, m, m).astype(float)
    masks = {
        (rule, end): ms.solve(scores, f"{n}:{m}-T{end}", backend=rule).mask
        for rule in RULES
        for end in ("", " at_most")
    }
    top_of_row = scores >= np.sort(scores, axis=2)[:, :, m - n, None]
    top_of_column = scores >= np.sort(scores, axis=1)[:, None, m - n, :]
    np.testing.assert_array_equal(masks["cover", " at_most"], top_of_row & top_of_column)
    assert (masks["greedy", " at_most"] >= masks["cover", " at_most"]).all()
    np.testing.assert_array_equal(masks["greedy", ""], masks["cover", ""])


# --- Reports ---------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("pattern", ["4:8-T", "4:8-T at_most", "2:4", "3:7-T pad"])
def test_report(rule, pattern):
    scores = np.random.default_rng(5).standard_normal((3, 56, 56)).astype(np.float32)
    result = ms.solve(scores, pattern, backend=rule)
    assert math.isclose(result.objective, math.fsum(scores[result.mask].astype(float)), rel_tol=1e-12)
    assert result.bound == math.inf
    assert result.status is ms.Status.FEASIBLE
    assert result.backend == rule


@pytest.mark.parametrize("rule", RULES)
def test_unfilled_counts_what_the_rule_leaves(rule):
    scores = np.abs(np.random.default_rng(6).standard_normal((64, 64)))
    textbook = ms.solve(scores, "4:8-T at_most", backend=rule)
    missing = 64 * 32 - int(textbook.mask.sum())
    assert missing > 0
    assert textbook.stats["unfilled"] == missing
    assert ms.solve(scores, "4:8-T", backend=rule).stats["unfilled"] == missing


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("pattern", ["2:4-T", "4:8-T at_most", "2:4", "3:7-T pad"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_bound_certifies(rule, pattern, dtype):
    scores = np.abs(np.random.default_rng(8).standard_normal((2, 24, 24))).astype(dtype)
    plain = ms.solve(scores, pattern, backend=rule)
    certified = ms.solve(scores, pattern, backend=rule, bound=True, duals=True)
    np.testing.assert_array_equal(plain.mask, certified.mask)
    assert certified.objective == pytest.approx(plain.objective, rel=1e-14)
    optimum = ms.solve(scores, pattern, backend="highs").objective
    assert optimum * (1 - 1e-9) <= certified.bound < 1.2 * optimum
    again = ms.recompute_certificate(scores, certified.mask, pattern, certified.duals)
    assert again.bound == pytest.approx(certified.bound, rel=1e-6 if dtype is np.float32 else 1e-12)


@pytest.mark.parametrize("rule", RULES)
def test_bound_proves_a_group_optimal(rule):
    """One-directional groups are solved to optimality by either rule, and the prices show it."""
    scores = np.abs(np.random.default_rng(9).standard_normal((16, 32)))
    result = ms.solve(scores, "3:8", backend=rule, bound=True)
    assert result.bound >= float(np.sort(scores.reshape(-1, 8), axis=1)[:, 5:].sum()) * (1 - 1e-15)
    assert result.gap < 1e-14
    assert result.status is ms.Status.OPTIMAL


# --- Inputs as they come ---------------------------------------------------------------------


@pytest.mark.parametrize("rule", RULES)
def test_strides_and_read_only(rule):
    base = np.random.default_rng(1).standard_normal((48, 96))
    base.flags.writeable = False
    for view in (base.T, base[::-1, ::2], base[::3, ::-3], np.asfortranarray(base)):
        scores = view[: view.shape[0] // 8 * 8, : view.shape[1] // 8 * 8]
        plain = ms.solve(np.ascontiguousarray(scores), "3:8-T", backend=rule)
        np.testing.assert_array_equal(ms.solve(scores, "3:8-T", backend=rule).mask, plain.mask)


@pytest.mark.parametrize("rule", RULES)
def test_broadcast_and_empty(rule):
    scores = np.broadcast_to(np.arange(16.0).reshape(4, 4), (5, 4, 4))
    mask = ms.solve(scores, "2:4-T", backend=rule).mask
    assert (mask == mask[0]).all()
    for shape in [(0, 4), (4, 0), (0, 4, 4)]:
        empty = ms.solve(np.zeros(shape), "2:4-T", backend=rule)
        assert empty.mask.shape == shape
        assert empty.objective == 0


@pytest.mark.parametrize("rule", RULES)
def test_same_mask_for_any_number_of_workers(rule):
    scores = np.random.default_rng(2).integers(0, 5, (2048, 2048)).astype(np.int8)
    results = [ms.solve(scores, "4:8-T", backend=rule, workers=workers) for workers in (1, 3)]
    np.testing.assert_array_equal(results[0].mask, results[1].mask)
    assert results[0].objective == results[1].objective


# --- Refusals --------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("forced", ["keep", "drop"])
def test_forced_entries_are_refused(rule, forced):
    with pytest.raises(ms.BackendRefusedError, match=f"backend '{rule}' has no rule for forced entries"):
        ms.solve(np.ones((4, 4)), "2:4-T", backend=rule, **{forced: np.zeros((4, 4), bool)})


@pytest.mark.parametrize("rule", RULES)
def test_options_are_checked(rule):
    with pytest.raises(TypeError, match="bound must be True or False, got 1"):
        ms.solve(np.ones((4, 4)), "2:4-T", backend=rule, bound=1)
    with pytest.raises(TypeError, match="no option 'rounds'"):
        ms.solve(np.ones((4, 4)), "2:4-T", backend=rule, rounds=1)
