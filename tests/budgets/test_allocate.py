"""Which n each layer keeps: against every choice of n with values from HiGHS, and the certificate itself."""

import itertools
import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from oracles import solve, value

import masksolve as ms
from masksolve.testing.families import FAMILIES
from masksolve.tiling import tiling_of

PATTERNS = ("2:4", "2:4-T", "2:4 at_most", "2:4-T at_most", "2:4 axis=-2", "1:3-T pad", "2:4-T dense")


def oracle(scores: np.ndarray, pattern: ms.Pattern) -> float:
    """What the best mask keeps, from slow solvers."""
    return value(scores, solve(scores, pattern))


def everything(units: list[np.ndarray], pattern: ms.Pattern, choices: tuple[int, ...]) -> list[list[float]]:
    return [[oracle(unit, replace(pattern, n=n)) for n in choices] for unit in units]


def best_choice(
    values: list[list[float]], costs: list[list[int]], budget: int
) -> tuple[float, tuple[int, ...]]:
    """The best of all combinations of levels."""
    best, which = -math.inf, ()
    for levels in itertools.product(range(len(values[0])), repeat=len(values)):
        cost = sum(costs[unit][level] for unit, level in enumerate(levels))
        total = math.fsum(values[unit][level] for unit, level in enumerate(levels))
        if cost <= budget and total > best:
            best, which = total, levels
    return best, which


@pytest.mark.parametrize("text", PATTERNS)
@pytest.mark.parametrize("family", ["gaussian", "signed", "small_integers", "one_dominating", "mostly_zero"])
def test_no_choice_keeps_more_for_layers_of_one_size(text: str, family: str) -> None:
    pattern, rng = ms.Pattern(text), np.random.default_rng(len(text) * 7 + len(family))
    layers = [FAMILIES[family](rng, (8, 8)) for _ in range(4)]
    found = ms.allocate(layers, pattern, score="value")
    choices = tuple(range(1, pattern.m + 1))
    costs = [[tiling_of(replace(pattern, n=n), (8, 8)).capacity for n in choices]] * 4
    best, _ = best_choice(everything(layers, pattern, choices), costs, found.budget)
    size = max(1.0, float(np.abs(np.stack(layers).astype(float)).sum()))
    assert found.objective == pytest.approx(best, abs=2e-7 * size)
    assert best - 1e-9 * size <= found.bound
    if pattern.remainder == "error":  # all steps cost the same, and none is cut
        assert found.bound - found.objective <= 2e-7 * size


@pytest.mark.parametrize("seed", range(12))
def test_layers_of_different_sizes_are_within_the_bound(seed: int) -> None:
    rng = np.random.default_rng(seed)
    pattern = ms.Pattern(PATTERNS[seed % 5])
    shapes = [(4 * a, 4 * b) for a, b in rng.integers(1, 5, (4, 2))]
    layers = {f"layer{i}": rng.gamma(0.5, 1 + i, shape) for i, shape in enumerate(shapes)}
    sparsity = round(rng.uniform(0.1, 0.7), 2)
    found = ms.allocate(layers, pattern, sparsity=sparsity)
    values = everything(list(layers.values()), pattern, (1, 2, 3, 4))
    costs = [[math.prod(shape) // 4 * n for n in (1, 2, 3, 4)] for shape in shapes]
    entries = sum(map(math.prod, shapes))
    assert found.budget == math.floor((1 - Fraction(str(sparsity))) * entries)
    best, _ = best_choice(values, costs, found.budget)
    assert found.used <= found.budget
    assert found.objective == pytest.approx(best, rel=1e-9)
    assert best - 1e-9 <= found.bound <= best + 1e-6 * best


def test_a_stranger_can_check_the_bound_from_levels_and_price() -> None:
    rng = np.random.default_rng(1)
    layers = [rng.random(shape) for shape in ((8, 8), (24, 8), (8, 40))]
    found = ms.allocate(layers, "2:4-T", sparsity=0.37)
    price, total = Fraction(found.price), Fraction(found.price) * found.budget
    for cost, bound in zip(found.levels.cost, found.levels.bound, strict=True):
        total += max(Fraction(b) - price * int(c) for c, b in zip(cost, bound, strict=True))
    assert found.objective <= found.bound <= float(total) * (1 + 1e-12)
    exact = sum(Fraction(v) for v in found.kept)
    assert float(exact) == pytest.approx(found.objective)


@pytest.mark.parametrize("text", PATTERNS)
@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_what_is_kept_is_concave_in_n(text: str, family: str) -> None:
    pattern, rng = ms.Pattern(text), np.random.default_rng(3)
    scores = FAMILIES[family](rng, (16, 16))
    levels = ms.allocate(scores, pattern).levels
    gains = np.diff(levels.value[0])
    size = float(np.abs(scores.astype(float)).sum())
    assert (np.diff(gains) <= 1e-6 * size).all()
    if pattern.constraint == "at_most":
        assert (gains >= -1e-6 * size).all()


def test_patterns_kept_and_masks_come_in_the_form_of_the_scores() -> None:
    rng = np.random.default_rng(2)
    a, b = rng.standard_normal((8, 16)), 5 * rng.standard_normal((2, 16, 8))
    named = ms.allocate({"a": a, "b": b}, "2:4", score="magnitude")
    listed = ms.allocate([a, b], "2:4", score="magnitude")
    alone = ms.allocate(b, "2:4", score="magnitude")
    assert named.patterns == {"a": listed.patterns[0], "b": listed.patterns[1]}
    assert alone.patterns == ms.Pattern("2:4")
    masks = named.masks({"a": a, "b": b})
    for name, scores in (("a", a), ("b", b)):
        assert ms.verify(masks[name], named.patterns[name]).ok
        assert np.abs(scores[masks[name]]).sum() == pytest.approx(named.kept[name])
    assert named.kept["a"] + named.kept["b"] == pytest.approx(named.objective)
    assert named.objective >= named.uniform > 0
    assert "2:4" in repr(alone)


@pytest.mark.parametrize("text", ["2:4", "2:4-T", "2:4 axis=-2"])
def test_groups_of_rows_have_patterns_of_their_own(text: str) -> None:
    rng = np.random.default_rng(4)
    scores = rng.random((32, 16)) * np.repeat([1.0, 4.0, 0.2, 1.0], 8)[:, None]
    found = ms.allocate([scores], text, rows=8)
    values = everything([scores[i : i + 8] for i in range(0, 32, 8)], ms.Pattern(text), (1, 2, 3, 4))
    best, _ = best_choice(values, [[32 * n for n in (1, 2, 3, 4)]] * 4, 256)
    assert found.objective == pytest.approx(best)
    assert len(set(found.patterns[0])) > 1
    (mask,) = found.masks([scores])
    assert scores[mask].sum() == pytest.approx(found.objective)
    for i, pattern in enumerate(found.patterns[0]):
        assert ms.verify(mask[8 * i : 8 * i + 8], pattern).ok
    assert mask.sum() == found.used


def test_only_the_choices_are_chosen() -> None:
    rng = np.random.default_rng(5)
    layers = [s * rng.random((16, 16)) for s in (1, 2, 3, 4)]
    found = ms.allocate(layers, "2:4", choices=(4, 2), sparsity=0.25)
    assert {p.n for p in found.patterns} == {2, 4}
    assert found.choices == (2, 4)
    assert found.sparsity == 0.25


def test_negative_scores_are_not_kept_where_nothing_forces_them() -> None:
    found = ms.allocate([-np.ones((4, 4)), np.ones((4, 4))], "2:4", sparsity=0.0)
    assert [p.n for p in found.patterns] == [1, 4]
    assert found.price == 0
    assert found.objective == 12 <= found.bound < 12 + 1e-9


def test_recipe_escapes_names_and_needs_some() -> None:
    scores = np.ones((4, 4))
    assert ms.allocate({"a[0]": scores}, "2:4").recipe() == {"a[[]0]": "2:4"}
    for found in (ms.allocate([scores], "2:4"), ms.allocate({"a": scores}, "2:4", rows=2)):
        with pytest.raises(ValueError, match="recipe needs scores by name"):
            found.recipe()


def test_a_backend_without_bounds_gives_none() -> None:
    scores = np.random.default_rng(6).random((8, 8))
    found = ms.allocate([scores, 2 * scores], "2:4-T", backend="greedy")
    assert found.bound == math.inf == found.gap
    assert found.objective <= ms.allocate([scores, 2 * scores], "2:4-T").bound


def test_progress_reaches_its_end() -> None:
    seen: list[tuple[int, int]] = []
    ms.allocate([np.ones((4, 4)), np.ones((8, 4))], "2:4", progress=lambda *at: seen.append(at))
    assert seen == [(64, 192), (192, 192)]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"scores": "weights"}, TypeError, "scores must be arrays by name"),
        ({"scores": []}, ValueError, "at least one array"),
        ({"scores": {"a": None}}, TypeError, r"scores\['a'\] must be an array, got NoneType"),
        ({"scores": [np.ones((4, 6))]}, ValueError, r"scores\[0\] has 6 entries along axis -1"),
        ({"sparsity": 1.5}, ValueError, "sparsity must be between 0 and 1, got 1.5"),
        ({"sparsity": 0.9}, ValueError, "sparsity must leave at least 16 of 64 entries"),
        ({"choices": ()}, ValueError, "choices must hold at least one n"),
        ({"choices": (0, 2)}, ValueError, "choices must be between 1 and 4, got 0"),
        ({"choices": "24"}, TypeError, "choices must be a sequence of integers"),
        ({"rows": 0}, ValueError, "rows must be at least 1"),
        ({"pattern": "2:4-T", "rows": 6}, ValueError, "rows must be a multiple of m=4"),
        ({"scores": [np.ones(8)], "rows": 2}, ValueError, "rows needs arrays of at least two axes"),
        ({"tau": 3.0}, TypeError, "tau"),
    ],
)
def test_bad_arguments_are_named(arguments: dict, error: type[Exception], message: str) -> None:
    given = {"scores": [np.ones((8, 8))], "pattern": "2:4", **arguments}
    with pytest.raises(error, match=message):
        ms.allocate(given.pop("scores"), given.pop("pattern"), **given)


def test_torch_tensors_and_jax_arrays_are_taken() -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(7)
    layers = [
        rng.standard_normal((8, 8)).astype(np.float32),
        3 * rng.standard_normal((8, 8)).astype(np.float32),
    ]
    expected = ms.allocate(layers, "2:4-T", score="magnitude")
    tensors = [torch.from_numpy(layer) for layer in layers]
    found = ms.allocate(tensors, "2:4-T", score="magnitude", rows=4)
    whole = ms.allocate(tensors, "2:4-T", score="magnitude")
    assert whole.patterns == expected.patterns
    assert found.objective >= whole.objective
    assert all(isinstance(mask, torch.Tensor) for mask in found.masks(tensors))
    with pytest.raises(ValueError, match="must be those that were given before"):
        found.masks(tensors[:1])


def test_columns_with_a_budget_of_their_own_keep_the_same_share() -> None:
    rng = np.random.default_rng(8)
    layers = [rng.random((8, 8)), 4 * rng.random((8, 8))]
    found = ms.allocate(layers, "2:4 x 4:8")
    assert [str(pattern) for pattern in found.patterns] == ["1:4 x 2:8", "3:4 x 6:8"]
    values = [
        [value(layer, solve(layer, ms.Pattern(n, 4, columns=(2 * n, 8)))) for n in (1, 2, 3, 4)]
        for layer in layers
    ]
    best, _ = best_choice(values, [[16 * n for n in (1, 2, 3, 4)]] * 2, 64)
    assert found.objective == pytest.approx(best)
    assert ms.allocate(layers, "4:8 x 2:4").choices == (2, 4, 6, 8)
    with pytest.raises(ValueError, match="choices must be multiples of 2 for pattern '4:8 x 2:4', got 3"):
        ms.allocate(layers, "4:8 x 2:4", choices=(3, 4))
