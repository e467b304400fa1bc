"""Exchanges after ADMM: what each is worth against fits anew, and that no error ever rises."""

import itertools

import assertions
import numpy as np
import pytest
from layer_loss import by_rows, correlated, damped_error

import masksolve as ms
from masksolve.pruning import exchanges, reconstruction
from masksolve.pruning.exchange_state import RowState
from masksolve.pruning.layer_problem import LayerProblem
from masksolve.testing import FAMILIES

PATTERNS = [
    *("2:4", "4:8", "1:4", "2:4-T", "4:8-T", "8:16-T", "3:8-T at_most", "2:4 at_most"),
    *("2:4 x 4:8", "2:4 x 6:8 at_most"),
]


@pytest.fixture
def problem():
    w, x = correlated(0, 16, 32)
    return LayerProblem.read(w, x.T @ x, 0.01, "float64")


def errors(layer, mask):
    change = by_rows(layer.weights, mask, layer.gram) - layer.weights
    return np.sum(change @ layer.gram * change, axis=1)


def compare(state, layer):
    """Every change that the state tells against least squares of the mask with that exchange."""
    before = errors(layer, state.kept)
    np.testing.assert_allclose(state.errors(), before, rtol=1e-9)
    told = state.changes(state.kept, np.ones(state.slots.shape, dtype=bool))
    for tile, p, q in np.ndindex(*told.shape[1:]):
        drop, add = state.slots[tile, p], state.slots[tile, q]
        rows = state.kept[:, drop] & ~state.kept[:, add]
        assert np.isinf(told[~rows, tile, p, q]).all()
        mask = state.kept.copy()
        mask[rows, drop], mask[rows, add] = False, True
        found = (errors(layer, mask) - before)[rows]
        np.testing.assert_allclose(told[rows, tile, p, q], found, rtol=0, atol=1e-10 * before.max())


def test_what_an_exchange_is_worth_is_exact_before_and_after_others(problem):
    mask = ms.solve(np.abs(problem.weights), "2:4-T").mask
    state = RowState.of(problem, problem.weights, mask, np.arange(32).reshape(8, 4))
    compare(state, problem)
    for _ in range(3):
        changes = state.changes(state.kept, np.ones((8, 4), dtype=bool))
        swaps = exchanges._in_tiles(np, changes, 1e-5 * state.errors(), 4)
        assert swaps.active.any()
        state = state.after(*swaps)
        assertions.assert_feasible(state.kept, ms.Pattern("2:4-T"))
    compare(state, problem)


def test_rows_that_keep_different_numbers(problem):
    mask = np.random.default_rng(0).random((16, 32)) < np.linspace(0.1, 0.9, 16)[:, None]
    compare(RowState.of(problem, problem.weights, mask, np.arange(32).reshape(4, 8)), problem)


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_error_falls(pattern, dtype):
    w, x = correlated(1, 32, 64)
    hessian = x.T @ x
    plain, mask = reconstruction.admm(w, hessian, pattern, dtype=dtype)
    found, other = reconstruction.admm(w, hessian, pattern, dtype=dtype, exchanges=50)
    assertions.assert_feasible(other, ms.Pattern(pattern))
    assert not found[~other].any()
    assert (other & ~mask).any()
    assert damped_error(w, found, hessian) < damped_error(w, plain, hessian)
    rows = [[damped_error(w[[k]], each[[k]], hessian) for k in range(32)] for each in (found, plain)]
    if ms.Pattern(pattern).transposable:
        height = ms.Pattern(pattern).tile_shape[0]
        rows = [np.sum(np.reshape(each, (-1, height)), axis=1) for each in rows]
    assert (np.array(rows[0]) <= np.array(rows[1]) * (1 + 1e-5)).all()


@pytest.mark.parametrize("pattern", ["2:4", "2:4-T"])
def test_no_exchange_is_left(pattern, problem):
    """Enumerated: no single exchange of the result lowers the error by more than the least gain."""
    w, hessian = problem.weights, problem.gram
    _, mask = reconstruction.admm(w, hessian, pattern, damping=0.0, exchanges=500, method="cholesky")
    before = errors(problem, mask)
    told = np.full((16, 8, 4, 4), np.inf)
    for tile, p, q in np.ndindex(8, 4, 4):
        other = mask.copy()
        rows = mask[:, 4 * tile + p] & ~mask[:, 4 * tile + q]
        other[rows, 4 * tile + p], other[rows, 4 * tile + q] = False, True
        told[rows, tile, p, q] = (errors(problem, other) - before)[rows]
    if pattern == "2:4":
        assert (told.min(axis=(1, 2, 3)) > -2e-5 * before).all()
        return
    for first, second in itertools.combinations(range(16), 2):
        if first // 4 == second // 4:
            both = told[first] + np.swapaxes(told[second], 1, 2)
            assert both.min() > -2e-5 * (before[first] + before[second])


@pytest.mark.parametrize("pattern", ["2:4 pad", "4:8-T pad", "4:8-T dense", "2:4 dense"])
@pytest.mark.parametrize("places", [(), (3,)])
def test_shapes_that_do_not_divide_and_kernels(pattern, places):
    rng = np.random.default_rng(2)
    w = rng.standard_normal((*places, 14, 27))
    columns = w[..., 0, :].size
    x = rng.standard_normal((300, columns)) @ rng.uniform(-1, 1, (columns, columns))
    plain, mask = reconstruction.admm(w, x.T @ x, pattern)
    found, other = reconstruction.admm(w, x.T @ x, pattern, exchanges=20)
    assertions.assert_feasible(other, ms.Pattern(pattern))
    assert (other & ~mask).any()
    flat = [np.moveaxis(each, -2, 0).reshape(14, columns) for each in (w, found, plain)]
    assert damped_error(flat[0], flat[1], x.T @ x) < damped_error(flat[0], flat[2], x.T @ x)


@pytest.mark.parametrize("pattern", ["2:4", "4:8-T"])
def test_forced_entries_stay(pattern):
    w, x = correlated(3, 16, 16)
    keep = np.eye(16, dtype=bool)
    _, mask = reconstruction.admm(w, x.T @ x, pattern, keep=keep, exchanges=20)
    assert mask[keep].all()
    assertions.assert_feasible(mask, ms.Pattern(pattern))


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_every_kind_of_weight(family):
    rng = np.random.default_rng(4)
    w, x = FAMILIES[family](rng, (16, 16)), rng.standard_normal((60, 16)) @ rng.uniform(-1, 1, (16, 16))
    for pattern in ("2:4", "4:8-T"):
        found, mask = reconstruction.admm(w, x.T @ x, pattern, exchanges=10)
        assertions.assert_feasible(mask, ms.Pattern(pattern))
        assert np.isfinite(found).all()
        assert not found[~mask].any()


def test_two_rows_never_take_part_in_two_exchanges_when_changes_are_equal():
    """Equal rows have equal changes, and the best pair of one row need not be that of the other."""
    w, x = correlated(5, 4, 16)
    w = np.repeat(w[:1], 16, axis=0)
    for pattern in ("2:4-T", "4:8-T", "8:16-T"):
        _, mask = reconstruction.admm(w, x.T @ x, pattern, exchanges=30, iterations=1)
        assertions.assert_feasible(mask, ms.Pattern(pattern))


@pytest.mark.parametrize("pattern", ["4:8 pair", "4:8-T pair", "8:2:8", "2:4 axis=-2"])
def test_patterns_without_single_entries_are_refused(pattern):
    with pytest.raises(ValueError, match=r"exchanges must be 0 for pattern .* got 3"):
        reconstruction.admm(np.ones((8, 8)), np.eye(8), pattern, exchanges=3)
    with pytest.raises(ValueError, match="exchanges must be 0 for pattern"):
        reconstruction.Recipe(pattern, exchanges=3)
    reconstruction.admm(np.ones((8, 8)), np.eye(8), pattern, exchanges=0)


@pytest.mark.parametrize(
    ("exchanges", "error", "message"),
    [
        (-1, ValueError, "exchanges must be at least 0, got -1"),
        (1.0, TypeError, "exchanges must be an integer"),
    ],
)
def test_refuses(exchanges, error, message):
    with pytest.raises(error, match=message):
        reconstruction.admm(np.ones((4, 4)), np.eye(4), "2:4", exchanges=exchanges)
    with pytest.raises(error, match=message):
        reconstruction.Recipe("2:4", exchanges=exchanges)


def test_recipes_exchange_after_admm_only():
    assert str(reconstruction.Recipe("2:4", exchanges=5)) == "admm and 5 rounds of exchanges to '2:4'"
    with pytest.raises(ValueError, match="exchanges must be 0 unless method='admm', got 5"):
        reconstruction.Recipe("2:4", saliency="wanda", exchanges=5)


@pytest.mark.parametrize("keep_old", [False, True])
def test_a_layer_by_recipe_tells_how_many(keep_old):
    w, x = correlated(6, 16, 32)
    if keep_old:
        w = np.where(ms.solve(np.abs(w), "3:4").mask, w, 0.0)
    seen = ms.saliency.Statistics.empty(32)
    seen.update(x)
    plain, found = (
        reconstruction.prune_layer(
            w[None], [seen], reconstruction.Recipe("2:4-T", exchanges=rounds, keep_old=keep_old)
        )
        for rounds in (0, 20)
    )
    assert plain.exchanged == 0
    assert found.exchanged == (found.mask & ~plain.mask).sum()
    if keep_old:
        assert (found.mask & (w != 0)).sum() == (plain.mask & (w != 0)).sum()
    assert found.error_after <= plain.error_after
