"""Trees of parameters with groups given by the user."""

from __future__ import annotations

import numpy as np
import pytest

jax = pytest.importorskip("jax")
pytest.importorskip("scipy")

import jax.numpy as jnp  # noqa: E402

from masksolve.adapters.jax import permute  # noqa: E402

GROUPS = [
    [("up/kernel", 1), ("up/bias", 0), ("gate/kernel", -1), ("down/kernel", 0)],
    {"up/kernel": -2, "gate/kernel": -2, "first/kernel": -1},
]


def params() -> dict[str, dict[str, jax.Array]]:
    keys = iter(jax.random.split(jax.random.key(0), 5))
    return {
        "first": {"kernel": jax.random.normal(next(keys), (4, 16))},
        "up": {
            "kernel": jax.random.normal(next(keys), (16, 32)),
            "bias": jax.random.normal(next(keys), (32,)),
        },
        "gate": {"kernel": jax.random.normal(next(keys), (16, 32))},
        "down": {"kernel": jax.random.normal(next(keys), (32, 8))},
    }


def network(p: dict[str, dict[str, jax.Array]], x: jax.Array) -> jax.Array:
    x = x @ p["first"]["kernel"]
    hidden = jax.nn.relu(x @ p["up"]["kernel"] + p["up"]["bias"]) * (x @ p["gate"]["kernel"])
    return hidden @ p["down"]["kernel"]


@pytest.mark.parametrize("pattern", ["2:4-T", "2:4 axis=-2", "2:4"])
def test_the_function_stays_and_more_is_kept(pattern: str) -> None:
    p, x = params(), jax.random.normal(jax.random.key(1), (5, 4))
    found = permute(p, GROUPS, pattern)
    np.testing.assert_allclose(network(found.params, x), network(p, x), rtol=1e-4, atol=1e-4)
    assert found.objective > found.before
    assert jax.tree.structure(found.params) == jax.tree.structure(p)
    assert sorted(found.orders[0].tolist()) == list(range(32))


def test_places_move_together() -> None:
    p = {"kernel": params()["up"]["kernel"]}
    pairs = np.arange(32).reshape(-1, 2)
    found = permute(p, [[("kernel", -1, pairs)]], "2:4-T")
    expected = jnp.take(p["kernel"], pairs[found.orders[0]].ravel(), axis=1)
    np.testing.assert_array_equal(found.params["kernel"], expected)


def test_bad_groups() -> None:
    with pytest.raises(ValueError, match="no leaf 'nothing'"):
        permute(params(), [[("nothing", 0)]], "2:4")
    with pytest.raises(ValueError, match="has 2 axes, got axis 2"):
        permute(params(), [[("up/kernel", 2)]], "2:4")
    with pytest.raises(ValueError, match="must have the same length"):
        permute(params(), [[("up/kernel", 0), ("up/kernel", 1)]], "2:4")
    with pytest.raises(ValueError, match="must hold at least one group"):
        permute(params(), [], "2:4")
    with pytest.raises(ValueError, match=r"must hold \(path, axis\) or .*, got \('up/kernel',\)"):
        permute(params(), [[("up/kernel",)]], "2:4")
    with pytest.raises(ValueError, match="groups must not be empty"):
        permute(params(), [[]], "2:4")
    with pytest.raises(ValueError, match="to be masked to '2:4', got none in"):
        permute(params(), [[("up/bias", 0)]], "2:4")
    with pytest.raises(ValueError, match="pattern must be one pattern, since an order"):
        permute(params(), GROUPS, {"*": "2:4"})


@pytest.mark.parametrize(("option", "meant"), [("restart", "restarts"), ("pases", "passes")])
def test_a_misspelt_option(option: str, meant: str) -> None:
    with pytest.raises(TypeError, match=rf"permute has no option '{option}'; .*did you mean '{meant}'\?$"):
        permute({"w": jnp.ones((4, 4))}, [[("w", -1)]], "2:4", **{option: 1})
