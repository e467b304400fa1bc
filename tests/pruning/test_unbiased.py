"""Pruning at random: right on average, and with no more variance than must be, by enumeration."""

import itertools

import numpy as np
import pytest

import masksolve as ms

optimize = pytest.importorskip("scipy.optimize")

PATTERNS = ("1:2", "1:4", "2:4", "3:4", "3:6", "4:4")


def groups(pattern):
    """Families of groups of m."""
    m = ms.Pattern.parse(pattern).m
    rng = np.random.default_rng(m)
    yield from rng.standard_normal((4, m))
    yield rng.standard_cauchy(m)
    yield np.ones(m)
    yield -np.arange(m).astype(float)  # a zero, and ties of none
    yield np.where(np.arange(m) == 1, 2.0, 0.0)  # one entry that is not zero
    yield np.zeros(m)
    yield 10.0 ** np.arange(m) * (-1) ** np.arange(m)  # some are kept for sure
    yield np.full(m, 1e-300)
    yield rng.standard_normal(m) * 1e150


CASES = [(pattern, group) for pattern in PATTERNS for group in groups(pattern)]
EVERY = pytest.mark.parametrize(("pattern", "group"), CASES)


def distribution(group, pattern):
    """All outcomes and their chances: they change where the draw passes a partial sum of the chances."""
    chances = ms.unbiased.probabilities(group, pattern)
    sums = np.cumsum(np.where(chances < 1, chances, 0))
    borders = np.unique(np.concatenate([[0.0, 1.0], sums % 1]))
    middles = (borders[1:] + borders[:-1]) / 2
    return np.diff(borders), np.array([ms.unbiased.sample(group, pattern, [each]) for each in middles])


def least_variance(group, n):
    """Least sum of v**2 / p over all ways of keeping n entries, less the square of the mean."""
    supports = np.array(
        [
            [place in chosen for place in range(len(group))]
            for chosen in itertools.combinations(range(len(group)), n)
        ]
    )
    square = (group / np.abs(group).max()) ** 2
    some = square > 0

    def cost(shares):
        kept = np.maximum(shares @ supports, 1e-12)
        return (square[some] / kept[some]).sum()

    def slope(shares):
        kept = np.maximum(shares @ supports, 1e-12)
        return -(supports[:, some] * (square / kept**2)[some]).sum(axis=1)

    start = np.full(len(supports), 1 / len(supports))
    found = optimize.minimize(
        cost,
        start,
        jac=slope,
        method="SLSQP",
        bounds=[(0, 1)] * len(start),
        constraints={"type": "eq", "fun": lambda shares: shares.sum() - 1},
        options={"maxiter": 500, "ftol": 1e-12},
    )
    return found.fun - square.sum()


@EVERY
def test_the_mean_is_what_was_pruned(pattern, group):
    n = ms.Pattern.parse(pattern).n
    shares, values = distribution(group, pattern)
    assert ((values != 0).sum(axis=1) <= n).all()
    scale = np.abs(group).max() or 1.0
    np.testing.assert_allclose(shares @ (values / scale), group / scale, atol=1e-12)
    kept = np.isclose(ms.unbiased.probabilities(group, pattern).sum(), min(n, np.count_nonzero(group)))
    assert kept


@pytest.mark.parametrize(("pattern", "group"), [(p, g) for p, g in CASES if g.any()])
def test_no_distribution_has_less_variance(pattern, group):
    n = ms.Pattern.parse(pattern).n
    shares, values = distribution(group, pattern)
    scale = np.abs(group).max()
    variance = (shares[:, None] * (values / scale) ** 2).sum() - ((group / scale) ** 2).sum()
    assert variance == pytest.approx(least_variance(group, n), rel=1e-5, abs=1e-7)


def test_one_of_two_is_the_published_estimator():
    """Theorem 1 of Chmiel et al.: the sum of sizes, at either with a chance in proportion to its own."""
    pairs = np.random.default_rng(0).standard_normal((50, 2))
    total = np.abs(pairs).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(ms.unbiased.probabilities(pairs, "1:2"), np.abs(pairs) / total)
    drawn = ms.unbiased.sample(pairs, "1:2", np.linspace(0, 1, 50, endpoint=False)[:, None])
    np.testing.assert_allclose(np.abs(drawn).sum(axis=1, keepdims=True), total)
    assert (np.sign(drawn) * np.sign(pairs) >= 0).all()


def test_groups_run_along_the_axis_and_the_last_may_be_short():
    values = np.random.default_rng(1).standard_normal((10, 3))
    draws = np.random.default_rng(2).random((3, 3))
    found = ms.unbiased.sample(values, "2:4 axis=0", draws)
    padded = np.concatenate([values, np.zeros((2, 3))])
    for column, group in itertools.product(range(3), range(3)):
        rows = slice(4 * group, 4 * group + 4)
        alone = ms.unbiased.sample(padded[rows, column], "2:4", draws[group, column : column + 1])
        assert np.array_equal(found[rows, column], alone[: len(found[rows])])
    chances = ms.unbiased.probabilities(values.T, "2:4")
    assert np.array_equal(chances.T, ms.unbiased.probabilities(values, "2:4 axis=0"))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_torch_and_jax_draw_the_same(dtype):
    torch, jnp = pytest.importorskip("torch"), pytest.importorskip("jax.numpy")
    rng = np.random.default_rng(3)
    values, draws = rng.standard_normal((6, 8)).astype("float32"), rng.random((6, 2)).astype("float32")
    narrow = torch.from_numpy(values).to(getattr(torch, dtype))
    expected = ms.unbiased.sample(narrow.float().numpy(), "2:4", draws)
    by_torch = ms.unbiased.sample(narrow, "2:4", torch.from_numpy(draws))
    assert by_torch.dtype == torch.float32
    np.testing.assert_allclose(by_torch.numpy(), expected, rtol=1e-6)
    by_jax = ms.unbiased.sample(jnp.asarray(values, dtype), "2:4", jnp.asarray(draws))
    np.testing.assert_allclose(np.asarray(by_jax), expected, rtol=1e-6)


def test_what_is_not_finite_stays():
    """A loss scale that is too large must be seen."""
    values = np.array([[np.inf, 1.0, 2.0, 3.0], [np.nan, 1.0, 2.0, 3.0], [1.0, 1.0, -np.inf, np.inf]])
    for draw in (0.0, 0.5, 0.99):
        found = ms.unbiased.sample(values, "2:4", np.full((3, 1), draw))
        assert np.array_equal(found[~np.isfinite(values)], values[~np.isfinite(values)], equal_nan=True)


@pytest.mark.parametrize(
    ("values", "pattern", "draws", "message"),
    [
        (np.ones((4, 4)), "2:4-T", np.ones((4, 1)), "pattern must be one-directional, got '2:4-T'"),
        (np.ones(4), "2:4 axis=1", [0.5], r"values must have the axis 1 of '2:4 axis=1', got shape \(4,\)"),
        (np.ones((2, 5)), "2:4", np.ones((2, 1)), r"draws must have shape \(2, 2\), one for each group"),
    ],
)
def test_wrong_arguments_are_refused(values, pattern, draws, message):
    with pytest.raises(ValueError, match=message):
        ms.unbiased.sample(values, pattern, draws)
