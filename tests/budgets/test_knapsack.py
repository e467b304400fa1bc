"""The choice among levels by itself: against all combinations, with hulls, ties and costs of any size."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from masksolve.budgets.knapsack import Levels, bound_at, choose


def best(levels: Levels, budget: int) -> float:
    units, count = levels.cost.shape
    return max(
        math.fsum(levels.value[range(units), list(each)])
        for each in itertools.product(range(count), repeat=units)
        if levels.cost[range(units), list(each)].sum() <= budget
    )


@st.composite
def problems(draw: st.DrawFn) -> tuple[Levels, int]:
    units, count = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    steps = draw(st.lists(st.integers(0, 5), min_size=units * count, max_size=units * count))
    worth = draw(st.lists(st.integers(-4, 9), min_size=units * count, max_size=units * count))
    cost = np.cumsum(np.array(steps).reshape(units, count), axis=1)
    value = np.array(worth, float).reshape(units, count)
    least = int(cost[:, 0].sum())
    return Levels(cost, value, value), draw(st.integers(least, int(cost[:, -1].sum()) + 2))


@settings(max_examples=400, deadline=None)
@given(problems())
def test_any_levels(problem: tuple[Levels, int]) -> None:
    levels, budget = problem
    choice = choose(levels, budget)
    at = np.arange(len(levels.cost)), choice.level
    assert choice.cost == levels.cost[at].sum() <= budget
    assert choice.objective == levels.value[at].sum()
    optimum = best(levels, budget)
    assert choice.objective == optimum
    assert optimum <= choice.bound <= optimum + 1e-9
    for price in (0.0, 0.3, 2.0, 1e6):
        assert optimum <= bound_at(levels, budget, price)


@pytest.mark.parametrize("seed", range(20))
def test_concave_levels_with_equal_steps_are_solved_exactly(seed: int) -> None:
    rng = np.random.default_rng(seed)
    gains = -np.sort(-rng.integers(0, 5, (4, 3)).astype(float), axis=1)  # ties are the rule
    value = np.concatenate([np.zeros((4, 1)), np.cumsum(gains, axis=1)], axis=1)
    levels = Levels(np.tile(7 * np.arange(1, 5), (4, 1)), value, value)
    budget = int(rng.integers(28, 120))
    choice = choose(levels, budget)
    assert choice.objective == best(levels, budget)
    assert choice.bound <= choice.objective + 1e-12 * max(1, choice.objective)


def test_many_units_of_two_levels() -> None:
    rng = np.random.default_rng(0)
    gain = rng.random(20_000)
    value = np.stack([np.zeros_like(gain), gain], axis=1)
    levels = Levels(np.tile([0, 1], (20_000, 1)), value, value)
    choice = choose(levels, 5_000)
    assert set(np.flatnonzero(choice.level)) == set(np.argsort(-gain)[:5_000])
    assert choice.price == np.sort(gain)[-5_001]
    assert choice.bound - choice.objective <= 1e-9


@pytest.mark.parametrize("seed", range(20))
def test_loose_bounds_stay_bounds(seed: int) -> None:
    rng = np.random.default_rng(seed)
    cost = np.cumsum(rng.integers(1, 9, (4, 3)), axis=1)
    value = np.cumsum(rng.random((4, 3)), axis=1)
    true = value + 0.3 * rng.random((4, 3))
    budget = int(rng.integers(cost[:, 0].sum(), cost[:, -1].sum()))
    choice = choose(Levels(cost, value, true), budget)
    assert best(Levels(cost, true, true), budget) <= choice.bound + 1e-12
    assert choice.objective >= best(Levels(cost, value, value), budget) - 1e-12


def test_without_the_core_the_choice_misses_a_part_of_one_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("masksolve.budgets.core._MOST", 0)
    for seed in range(50):
        rng = np.random.default_rng(seed)
        step = rng.integers(1, 9, (4, 1))
        gains = -np.sort(-rng.random((4, 3)), axis=1) * step
        value = np.concatenate([np.zeros((4, 1)), np.cumsum(gains, axis=1)], axis=1)
        levels = Levels(step * np.arange(1, 5), value, value)
        budget = int(rng.integers(levels.cost[:, 0].sum(), levels.cost[:, -1].sum()))
        choice = choose(levels, budget)
        assert choice.objective <= best(levels, budget) <= choice.bound
        assert choice.bound - choice.objective <= choice.price * step.max() + 1e-9


def test_a_budget_below_the_lowest_levels_is_refused() -> None:
    levels = Levels(np.array([[3, 5]]), np.ones((1, 2)), np.ones((1, 2)))
    with pytest.raises(ValueError, match="at least 3"):
        choose(levels, 2)
