"""Backend `entropic`: its plan, its rounding, its swaps, and how good its masks are."""

from __future__ import annotations

import itertools

import numpy as np
import oracles
import pytest
from assertions import assert_feasible, assert_valid
from strategies import FAMILIES

import masksolve as ms
from masksolve.backends import entropic
from masksolve.backends.entropic import _Lines


def solve(scores, pattern, **options):
    return ms.solve(scores, pattern, backend="entropic", **options)


def transport(kernel, rows, columns, iterations):
    """Log plan and potentials of tiles (tiles, r, c)."""
    last = np.ascontiguousarray(np.moveaxis(kernel, 0, -1), np.float32)
    return [np.moveaxis(part, -1, 0) for part in entropic._transport(np, last, rows, columns, iterations)]


def rounding(plan, rows, columns):
    return np.moveaxis(
        entropic._round(np, np.ascontiguousarray(np.moveaxis(plan, 0, -1)), rows, columns), -1, 0
    )


def swaps(mask, scores, rows, columns, gain):
    last = (np.ascontiguousarray(np.moveaxis(part, 0, -1)) for part in (mask, scores))
    return np.moveaxis(entropic._swap(np, *last, rows, columns, gain=gain), -1, 0)


# --- Slow renderings -------------------------------------------------------------------------


def textbook_plan(kernel, n, iterations):
    """Dykstra's three projections with the correction of the cut written out, in float64."""
    plan, correction = np.exp(kernel - kernel.max()), np.ones_like(kernel)
    for _ in range(iterations):
        plan *= n / plan.sum(axis=1, keepdims=True)
        plan *= n / plan.sum(axis=0, keepdims=True)
        before = plan * correction
        plan = np.minimum(before, 1.0)
        correction = before / plan
    return plan


def textbook_rounding(plan, row_most, column_most):
    kept = np.zeros(plan.shape, bool)
    for i, j in sorted(np.ndindex(plan.shape), key=lambda place: -plan[place]):
        if kept[i].sum() < row_most and kept[:, j].sum() < column_most and plan[i, j] > -np.inf:
            kept[i, j] = True
    return kept


def best_swap(kept, scores, rows, columns):
    """Gain, row i, column j, and the kept entry that makes way, by trying all."""
    short_rows = np.flatnonzero(kept.sum(axis=1) < rows.most)
    short_columns = np.flatnonzero(kept.sum(axis=0) < columns.most)
    swaps = [
        (scores[i, other] + scores[k, j] - scores[k, other], i, j, k, other)
        for i, j, (k, other) in itertools.product(short_rows, short_columns, np.argwhere(kept))
        if not kept[i, other] and not kept[k, j]
    ]
    return max(swaps, default=(-np.inf,))


def textbook_swaps(kept, scores, rows, columns, gain):
    kept = kept.copy()
    while True:
        needs = (kept.sum(axis=1) < rows.least).any() or (kept.sum(axis=0) < columns.least).any()
        worth, *swap = best_swap(kept, scores, rows, columns)
        if not needs and not (gain and worth > 0):
            return kept
        i, j, k, other = swap
        kept[k, other], kept[i, other], kept[k, j] = False, True, True


# --- Plan ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "m"), [(1, 3), (2, 4), (3, 8), (4, 8), (5, 5)])
def test_the_potentials_give_the_textbook_plan(n, m):
    """Cut at 1, exp(kernel - u - v) is the limit of the textbook's iterates."""
    kernel = 12 * np.random.default_rng(m).random((6, m, m))
    lines = _Lines(n, n, m)
    plan, u, v = transport(kernel, lines, lines, 3000)
    np.testing.assert_allclose(plan, kernel - u[:, :, np.newaxis] - v[:, np.newaxis], atol=1e-3)
    for tile, mine in zip(kernel, plan, strict=True):
        np.testing.assert_allclose(np.exp(np.minimum(mine, 0)), textbook_plan(tile, n, 3000), atol=2e-3)


@pytest.mark.parametrize(("rows", "columns"), [((4, 4, 3), (0, 3, 8)), ((0, 2, 5), (0, 4, 5))])
def test_the_plan_of_unequal_sides_fills_the_tighter_and_bounds_the_other(rows, columns):
    rows, columns = _Lines(*rows), _Lines(*columns)
    kernel = 10 * np.random.default_rng(1).random((20, rows.lines, columns.lines), dtype=np.float32)
    plan, _, v = transport(kernel, rows, columns, 2000)
    plan = np.exp(np.minimum(plan, 0.0))
    np.testing.assert_allclose(plan.sum(axis=2), rows.most, rtol=1e-3)
    assert plan.sum(axis=1).max() <= columns.most * 1.001
    assert v.min() >= 0.0
    slack = plan.sum(axis=1) < columns.most * 0.99
    np.testing.assert_allclose(v[slack], 0.0, atol=1e-3)


# --- Rounding and swaps ----------------------------------------------------------------------


def test_rounding_is_the_textbook_rule():
    rng = np.random.default_rng(2)
    for sides in [((2, 2, 4), (2, 2, 4)), ((0, 3, 6), (0, 3, 6)), ((4, 4, 7), (0, 4, 8))]:
        rows, columns = (_Lines(*side) for side in sides)
        plan = rng.integers(0, 9, (50, rows.lines, columns.lines)).astype(np.float32)
        plan[rng.random(plan.shape) < 0.2] = -np.inf
        for tile, mask in zip(plan, rounding(plan, rows, columns), strict=True):
            np.testing.assert_array_equal(mask, textbook_rounding(tile, rows.most, columns.most))


@pytest.mark.parametrize("gain", [False, True])
@pytest.mark.parametrize(
    ("rows", "columns"),
    [((2, 2, 4), (2, 2, 4)), ((0, 2, 4), (0, 2, 4)), ((4, 4, 8), (4, 4, 8)), ((4, 4, 7), (0, 4, 8))],
)
def test_swaps_are_the_best_there_are(rows, columns, gain):
    """On the roundings that leave most to fill; scores in general position, hence one best swap."""
    rng = np.random.default_rng(3)
    rows, columns = _Lines(*rows), _Lines(*columns)
    shape = (5000, rows.lines, columns.lines)
    mask = rounding(rng.standard_normal(shape, dtype=np.float32), rows, columns)
    mask = mask[np.argsort(mask.sum(axis=(1, 2)), kind="stable")[:40]]
    before, scores = mask, rng.standard_normal(mask.shape)
    assert before[0].sum() < rows.room
    mask = swaps(before, scores, rows, columns, gain)
    for rounded, tile, swapped in zip(before, scores, mask, strict=True):
        np.testing.assert_array_equal(swapped, textbook_swaps(rounded, tile, rows, columns, gain))
    if rows.least:
        np.testing.assert_array_equal(mask.sum(axis=2), rows.least)


@pytest.mark.parametrize(("n", "m"), [(2, 3), (2, 4), (4, 8), (7, 13), (16, 32), (32, 64)])
def test_the_worst_rounding_is_filled(n, m):
    """Greedy rounding leaves floor(n²/4) entries of this tile unfilled, the most it can leave."""
    few = n // 2
    plan = np.zeros((1, m, m), np.float32)
    plan[:, :few, :few] = 3
    rows, columns = np.ogrid[: m - few, : m - few]
    plan[:, few:, few:] = np.where((columns - rows) % (m - few) < n, 2, 0)
    lines = _Lines(n, n, m)
    mask = rounding(plan, lines, lines)
    assert n * m - mask.sum() == n * n // 4
    mask = swaps(mask, plan.astype(np.float64), lines, lines, gain=False)
    assert_feasible(mask[0], ms.Pattern(n, m, transposable=True))


# --- Quality ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n", "m", "rounded", "swapped"),
    [(2, 4, 0.01, 0.003), (4, 8, 0.37, 0.12), (8, 16, 0.30, 0.12), (16, 32, 0.17, 0.085), (2, 8, 0.06, 0.04)],
)
def test_losses_are_those_of_the_method(n, m, rounded, swapped):
    """Per cent below the optimum, as measured on a separate prototype, before and after swaps, within 2x."""
    scores = np.abs(np.random.default_rng(0).standard_normal((256, 256), dtype=np.float32))
    best = ms.solve(scores, f"{n}:{m}-T").objective
    losses = [
        100 * (1 - solve(scores, f"{n}:{m}-T{words}", **options).objective / best)
        for words, options in [(" at_most", {"swaps": False}), (" at_most", {}), ("", {})]
    ]
    assert rounded / 2 <= losses[0] <= 2 * rounded + 0.01
    assert swapped / 2 - 0.005 <= losses[2] <= 2 * swapped + 0.01
    assert losses[1] <= losses[2] + 1e-9
    assert losses[2] < losses[0]


def test_more_iterations_come_closer():
    scores = np.abs(np.random.default_rng(1).standard_normal((128, 128)))
    kept = [solve(scores, "4:8-T", iterations=iterations).objective for iterations in (10, 100, 300, 2000)]
    assert kept == sorted(kept)


def test_tau_suits_the_iterations():
    """As documented; 100 iterations with a tau that suits them do nearly what the default's 300 do."""
    scores = np.abs(np.random.default_rng(1).standard_normal((256, 256)))
    for pattern in ("2:4-T", "4:8-T", "8:16-T"):
        kept = [
            solve(scores, pattern, tau=tau, iterations=iterations).objective
            for tau, iterations in [(200, 100), (20, 30), (40, 100), (140, 300), (300, 1000)]
        ]
        assert kept == sorted(kept)
        assert kept[2] > 0.9999 * solve(scores, pattern).objective


@pytest.mark.parametrize("pattern", ["4:8-T", "4:8-T at_most", "16:32-T", "4:8-T pad"])
def test_the_bound_is_that_of_its_own_prices_and_close(pattern):
    shape = (67, 75) if "pad" in pattern else (64, 64)
    scores = np.abs(np.random.default_rng(2).standard_normal(shape, dtype=np.float32))
    result = solve(scores, pattern)
    assert result.bound == pytest.approx(dual_value(scores, result), rel=1e-12)
    best = ms.solve(scores, pattern).objective
    assert best <= result.bound <= best * (1.02 if "pad" in pattern else 1.004)


def dual_value(scores, result):
    """D(u, v) of the result's prices, tile by tile."""
    total = 0.0
    for number, (place, *bounds) in enumerate(oracles.tiles(scores.shape, result.pattern)):
        tile = scores[place].astype(np.float64)
        prices = [
            part[number][:length].astype(np.float64)
            for part, length in zip(result.duals, tile.shape, strict=True)
        ]
        for line, (least, most) in zip(prices, bounds, strict=True):
            total += np.maximum(least * line, most * line).sum()
        total += np.maximum(0.0, tile - prices[0][:, np.newaxis] - prices[1]).sum()
    return total


# --- Robustness ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options", [{"tau": 1e-3}, {"tau": 1e5}, {"iterations": 1}, {"swaps": False}], ids=str
)
def test_any_options_give_masks(options):
    families = ("gaussian", "constant", "mostly_zero", "huge_float64", "denormal", "one_dominating")
    for family, text in itertools.product(families, ("2:4-T", "3:5-T at_most pad", "4:8-T pad", "1:8-T")):
        scores = FAMILIES[family](np.random.default_rng(4), (8, 16))
        result = solve(scores, text, **options)
        assert_valid(result, scores)


def test_scale_does_not_matter():
    scores = np.abs(np.random.default_rng(5).standard_normal((32, 32)))
    mask = solve(scores, "4:8-T").mask
    for power in (-900, -30, 900):
        np.testing.assert_array_equal(solve(np.ldexp(scores, power), "4:8-T").mask, mask)


def test_at_most_keeps_nothing_that_costs():
    scores = np.random.default_rng(6).standard_normal((16, 16))
    assert not solve(-np.abs(scores), "2:4-T at_most").mask.any()
    assert scores[solve(scores, "2:4-T at_most", swaps=False).mask].min() > 0.0


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"tau": 0}, ValueError, "tau must be above 0 and at most 100000, got 0"),
        ({"tau": float("nan")}, ValueError, "tau must be above 0.*got nan"),
        ({"tau": 1e6}, ValueError, "tau must be above 0.*got 1000000"),
        ({"tau": "hot"}, TypeError, "tau must be a number, got 'hot'"),
        ({"tau": True}, TypeError, "tau must be a number, got True"),
        ({"iterations": 0}, ValueError, "iterations must be at least 1, got 0"),
        ({"iterations": 2.0}, TypeError, "iterations must be an integer, got 2.0"),
        ({"swaps": 1}, TypeError, "swaps must be True or False, got 1"),
    ],
)
def test_wrong_options_are_rejected(options, kind, message):
    with pytest.raises(kind, match=message):
        solve(np.ones((4, 4)), "2:4-T", **options)


def test_refusals_say_why():
    with pytest.raises(ms.BackendRefusedError, match=r"transposable masks only, got '2:4'; use backend"):
        solve(np.ones((4, 4)), "2:4")
    with pytest.raises(ms.BackendRefusedError, match=r"no rounding rule for forced entries"):
        solve(np.ones((4, 4)), "2:4-T", keep=np.eye(4, dtype=bool))
