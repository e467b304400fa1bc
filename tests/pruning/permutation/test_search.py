"""The search for channel permutations against brute force, bounds and its own promises."""

from __future__ import annotations

import itertools
import sys
from typing import Any

import numpy as np
import pytest

pytest.importorskip("scipy")

import masksolve as ms

FAMILIES: dict[str, Any] = {
    "uniform": lambda rng, shape: rng.random(shape),
    "gaussian": lambda rng, shape: rng.standard_normal(shape),
    "ties": lambda rng, shape: rng.integers(0, 3, shape).astype(np.float32),
    "zeros": lambda rng, shape: np.zeros(shape),
    "half-zeros": lambda rng, shape: rng.random(shape) * (rng.random(shape) < 0.5),
    "heavy-tailed": lambda rng, shape: rng.standard_t(1, shape),
    "integers": lambda rng, shape: rng.integers(-100, 100, shape),
    "float16": lambda rng, shape: rng.standard_normal(shape).astype(np.float16),
    "forbidden": lambda rng, shape: np.where(rng.random(shape) < 0.1, -1e20, rng.random(shape)),
    "mixed": lambda rng, shape: rng.random(shape) * 10.0 ** rng.integers(-12, 12, shape),
    "huge": lambda rng, shape: rng.random(shape) * 1e200,
    "denormal": lambda rng, shape: rng.random(shape) * 1e-310,
}
PATTERNS = (
    "2:4",
    "2:4 axis=-2",
    "1:4 at_most",
    "4:4",
    "2:4-T",
    "1:2-T",
    "2:4-T at_most",
    "4:8-T",
    "3:8-T at_most",
)


def kept(scores: np.ndarray, pattern: str) -> float:
    mask = ms.solve(scores.astype(np.float64), pattern).mask
    return float(scores[mask].astype(np.float64).sum())


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("pattern", PATTERNS)
def test_never_a_loss_and_never_above_the_ceiling(family: str, pattern: str) -> None:
    scores = FAMILIES[family](np.random.default_rng(0), (16, 24))
    found = ms.permutation.search(scores, pattern, axes=(-2, -1), rounds=4)
    assert set(found.order) == {-2, -1}
    assert sorted(found.order[-1].tolist()) == list(range(24))
    assert sorted(found.order[-2].tolist()) == list(range(16))
    assert found.before <= found.objective <= found.ceiling
    size = float(np.abs(scores.astype(np.float64)).sum())
    assert found.before == pytest.approx(kept(scores, pattern), abs=1e-9 * size)
    assert found.objective == pytest.approx(kept(found.take(scores), pattern), abs=1e-9 * size)
    np.testing.assert_array_equal(found.take(scores), scores[np.ix_(found.order[-2], found.order[-1])])


@pytest.mark.parametrize("pattern", ["2:4", "2:4-T", "2:4-T at_most", "1:4"])
@pytest.mark.parametrize("seed", range(3))
def test_against_every_partition_of_eight_channels(pattern: str, seed: int) -> None:
    scores = np.random.default_rng(seed).standard_normal((4, 8)) ** 2
    best = max(
        kept(scores[:, [*first, *(c for c in range(8) if c not in first)]], pattern)
        for first in itertools.combinations(range(8), 4)
    )
    found = ms.permutation.search(scores, pattern, restarts=20)
    assert found.objective == pytest.approx(best, rel=1e-9)
    assert found.ceiling >= best * (1 - 1e-12)


@pytest.mark.parametrize("pattern", ["2:4-T", "2:4-T at_most", "2:4", "2:4 axis=-2 at_most"])
@pytest.mark.parametrize("family", ["gaussian", "ties", "integers"])
def test_ceiling_is_above_the_linear_programme(pattern: str, family: str) -> None:
    """The ceiling bounds the b-matching over the whole matrix, solved by HiGHS, and comes close."""
    from scipy.optimize import linprog

    rows, columns = 8, 12
    scores = FAMILIES[family](np.random.default_rng(5), (rows, columns)).astype(np.float64)
    parsed = ms.Pattern.parse(pattern)
    budgets = []
    if parsed.transposable or parsed.axis == -1:
        budgets += [(np.arange(rows)[:, None] == np.repeat(np.arange(rows), columns), columns // 2)]
    if parsed.transposable or parsed.axis == -2:
        budgets += [(np.arange(columns)[:, None] == np.tile(np.arange(columns), rows), rows // 2)]
    matrix = np.vstack([each for each, _ in budgets]).astype(float)
    sums = np.concatenate([np.full(len(each), budget) for each, budget in budgets])
    kind = {"A_eq": matrix, "b_eq": sums} if parsed.constraint == "exact" else {"A_ub": matrix, "b_ub": sums}
    optimum = -linprog(-scores.ravel(), bounds=(0, 1), **kind).fun
    found = ms.permutation.search(scores, pattern, axes=(-2, -1), rounds=1)
    assert found.ceiling >= optimum * (1 - 1e-9)
    assert found.ceiling <= optimum * 1.01


@pytest.mark.parametrize("pattern", ["2:4-T", "4:8-T"])
def test_forbidden_entries_do_not_hide_the_others(pattern: str) -> None:
    """An order is as good with -1e20 as with a loss of the scores' own size, which float32 resolves."""
    rng = np.random.default_rng(0)
    scores = rng.random((32, 48))
    forbidden = rng.random(scores.shape) < 0.02
    found = [
        ms.permutation.search(np.where(forbidden, loss, scores), pattern, axes=(-2, -1))
        for loss in (-1e20, -64.0)
    ]
    assert found[0].objective > found[0].before * 1.02
    assert found[0].objective == pytest.approx(found[1].objective, rel=5e-3)
    order = np.ix_(found[0].order[-2], found[0].order[-1])
    assert not forbidden[order][ms.solve(np.where(forbidden, -1e20, scores)[order], pattern).mask].any()


def test_ceiling_of_one_free_axis_is_lower() -> None:
    scores = np.random.default_rng(0).random((16, 16))
    one = ms.permutation.search(scores, "2:4-T", axes=(-1,), rounds=1).ceiling
    both = ms.permutation.search(scores, "2:4-T", axes=(-2, -1), rounds=1).ceiling
    assert one < both


def test_efficacy_on_the_yardstick() -> None:
    shares = []
    for seed in range(10):
        scores = np.random.default_rng(seed).random((64, 128)).astype(np.float32)
        found = ms.permutation.search(scores, "2:4")
        assert found.ceiling == pytest.approx(np.sort(scores, axis=1)[:, 64:].sum(dtype=np.float64), rel=1e-6)
        shares.append((found.objective - found.before) / (found.ceiling - found.before))
    assert np.mean(shares) > 0.45
    more = ms.permutation.search(scores, "2:4", restarts=20)
    assert more.objective > found.objective


@pytest.mark.parametrize("pattern", ["2:4-T", "4:8-T", "2:4"])
def test_the_order_depends_on_the_seed_alone(pattern: str) -> None:
    scores = np.random.default_rng(0).random((32, 48))
    search = ms.permutation.search
    one = search(scores, pattern, axes=(-2, -1), seed=7, restarts=1, rounds=3)
    two = search(scores, pattern, axes=(-2, -1), seed=7, restarts=1, rounds=3, workers=2)
    other = search(scores, pattern, axes=(-2, -1), seed=8, restarts=1, rounds=3)
    assert all(np.array_equal(one.order[axis], two.order[axis]) for axis in (-2, -1))
    assert one.rounds == two.rounds
    assert not np.array_equal(one.order[-1], other.order[-1])


def test_matrices_that_share_an_axis() -> None:
    rng = np.random.default_rng(0)
    up, down = np.abs(rng.standard_normal((32, 8))), np.abs(rng.standard_normal((2, 16, 32)))
    found = ms.permutation.search([(up, -2), (down, -1)], "2:4-T")
    np.testing.assert_array_equal(found.order[0], found.order[1])
    after = kept(up[found.order[0]], "2:4-T") + kept(down[:, :, found.order[1]], "2:4-T")
    assert found.objective == pytest.approx(after)
    assert found.objective > found.before == pytest.approx(kept(up, "2:4-T") + kept(down, "2:4-T"))


def test_one_matrix_reordered_along_both_axes_at_once() -> None:
    square = np.abs(np.random.default_rng(0).standard_normal((24, 24)))
    found = ms.permutation.search([(square, -2), (square, -1)], "2:4-T")
    np.testing.assert_array_equal(found.order[0], found.order[1])
    assert found.objective > found.before
    assert found.objective == pytest.approx(kept(square[np.ix_(found.order[0], found.order[0])], "2:4-T"))


@pytest.mark.parametrize("pattern", ["2:4-T", "2:4", "4:8-T"])
def test_units_stay_together_and_in_order(pattern: str) -> None:
    scores = np.random.default_rng(0).random((16, 48))
    pairs = np.arange(48).reshape(-1, 2)
    found = ms.permutation.search(scores, pattern, units=pairs, rounds=3)
    taken = found.order[-1].reshape(-1, 2)
    np.testing.assert_array_equal(taken[:, 0] + 1, taken[:, 1])
    assert (taken[:, 0] % 2 == 0).all()
    assert found.objective > found.before
    apart = np.stack([np.arange(24), np.arange(24) + 24], axis=1)  # as the halves of rotary embeddings
    found = ms.permutation.search(scores, pattern, units=apart, rounds=3)
    np.testing.assert_array_equal(found.order[-1][:24] + 24, found.order[-1][24:])
    assert found.objective > found.before


def test_labels_keep_channels_within_their_head() -> None:
    scores = np.random.default_rng(0).random((16, 32))
    heads = np.repeat(np.arange(4), 8)
    heads[:4] = -1
    found = ms.permutation.search(scores, "2:4-T", labels={-1: heads})
    order = found.order[-1]
    np.testing.assert_array_equal(order[:4], np.arange(4))
    np.testing.assert_array_equal(heads[order], heads)
    assert found.objective > found.before


@pytest.mark.parametrize("pattern", ["2:4", "2:4-T", "4:8-T"])
def test_whole_heads_of_whole_groups_gain_nothing(pattern: str) -> None:
    """Heads of 8 or 16 dimensions take their groups along: no order of theirs is better than another."""
    scores = np.random.default_rng(0).random((16, 64))
    found = ms.permutation.search(scores, pattern, units=np.arange(64).reshape(4, 16))
    assert found.objective == pytest.approx(found.before, rel=1e-12)
    order = np.random.default_rng(1).permutation(4)
    moved = scores.reshape(16, 4, 16)[:, order].reshape(16, 64)
    assert kept(moved, pattern) == pytest.approx(found.before, rel=1e-12)


@pytest.mark.parametrize("pattern", ["2:4-T pad", "2:4 dense", "2:4-T dense", "4:8-T pad"])
def test_groups_cut_short_stay(pattern: str) -> None:
    scores = np.random.default_rng(0).random((18, 27))
    found = ms.permutation.search(scores, pattern, axes=(-2, -1), rounds=3)
    m = ms.Pattern.parse(pattern).m
    np.testing.assert_array_equal(found.order[-1][27 // m * m :], np.arange(27 // m * m, 27))
    assert found.before <= found.objective <= found.ceiling


def test_blocks_make_large_classes_small() -> None:
    scores = np.random.default_rng(0).random((16, 256))
    whole, blocks = (ms.permutation.search(scores, "2:4", block=block) for block in (1024, 8))
    assert blocks.objective > blocks.before
    assert whole.objective > blocks.before


def test_time_limit_and_progress() -> None:
    scores = np.random.default_rng(0).random((64, 64))
    calls: list[tuple[int, int]] = []
    found = ms.permutation.search(scores, "2:4-T", rounds=3, progress=lambda *args: calls.append(args))
    assert calls == [(k + 1, 3) for k in range(len(calls))]
    assert len(found.rounds) == len(calls) + 1
    assert list(found.rounds) == sorted(found.rounds)
    stopped = ms.permutation.search(scores, "2:4-T", time_limit=1e-9)
    assert stopped.objective == stopped.before


def test_scores_of_signed_weights() -> None:
    weights = np.random.default_rng(0).standard_normal((16, 16)).astype(np.float32)
    found = ms.permutation.search(weights, "2:4-T", score="magnitude")
    assert found.before == pytest.approx(kept(np.abs(weights), "2:4-T"), rel=1e-6)
    found = ms.permutation.search(weights, "2:4-T", score="square")
    assert found.before == pytest.approx(kept(np.square(weights.astype(np.float64)), "2:4-T"))


def test_empty_and_one_group() -> None:
    assert ms.permutation.search(np.zeros((0, 8)), "2:4").objective == 0
    assert ms.permutation.search(np.ones((4, 4)), "2:4-T", axes=(-2, -1)).objective == 8


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"axes": (0,)}, ValueError, "axes must be"),
        ({"axes": ()}, ValueError, "axes must be"),
        ({"units": [[0, 0]]}, ValueError, "places must be distinct"),
        ({"units": [[0.5]]}, TypeError, "places must be integers"),
        ({"units": [[9]]}, ValueError, "between 0 and 7"),
        ({"labels": [1, 2]}, ValueError, "labels must be integers, one for each of 8 units"),
        ({"rounds": -1}, ValueError, "rounds must be at least 0"),
        ({"block": 1}, ValueError, "block must be at least 2"),
        ({"score": "x"}, ValueError, "score must be one of"),
        ({"pattern": "2:3"}, ValueError, "scores"),
        ({"scores": np.full((4, 8), np.nan)}, ValueError, "scores must be finite"),
        ({"scores": np.ones(8)}, ValueError, "at least two axes"),
        ({"scores": [(np.ones((4, 8)), 0)]}, ValueError, r"scores\[0\] must be"),
        ({"scores": [(np.ones((4, 8)), -1), (np.ones((4, 4)), -1)]}, ValueError, "share the reordered axis"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        ms.permutation.search(**{"scores": np.ones((4, 8)), "pattern": "2:4", **arguments})


def test_without_scipy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    with pytest.raises(ms.BackendUnavailableError, match=r'pip install ".*\[highs\]"'):
        ms.permutation.search(np.ones((4, 8)), "2:4")
