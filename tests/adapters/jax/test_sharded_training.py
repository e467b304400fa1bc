"""Weights over four devices: masks are found part by part, spread as the weights, and as on one device."""

import os
import subprocess
import sys

import pytest

pytest.importorskip("jax")
pytest.importorskip("optax", reason="needs optax: pip install 'masksolve[flax-test]'")

PROGRAM = """
import jax, jax.numpy as jnp, numpy as np, optax
from functools import cache
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
import masksolve as ms
from masksolve.adapters import jax as mj

SPECS = {
    "tiles": P("data", "model"),      # parts of (16, 8)
    "rows": P(("data", "model")),     # parts of (8, 24)
    "experts": P("model"),            # parts of (1, 16, 16)
    "cut": P("data", "model"),        # parts of (12, 20) cut through tiles of 8 x 8
    "everywhere": P(),
}
SHAPES = {"tiles": (32, 16), "rows": (32, 24), "experts": (2, 16, 16), "cut": (24, 40)}
SHAPES["everywhere"] = (16, 16)
PLANES = {"experts": mj.Plane(-2, -1)}
keys = jax.random.split(jax.random.key(0), len(SHAPES))
alone = {name: jax.random.normal(key, shape) for (name, shape), key in zip(SHAPES.items(), keys)}

def loss(params):
    return sum(jnp.sum(jnp.sin(3 * each) ** 2) for each in params.values())

def train(params, pattern, shardings=None):
    planes = {name: plane for name, plane in PLANES.items() if name in params}
    density = lambda step: max(0.5, 1 - step / 8)
    sparsifier = mj.sparsify(
        pattern, refresh_every=2, decay=1e-3, density=density, planes=planes, shardings=shardings
    )
    optimizer = optax.chain(optax.sgd(0.05, momentum=0.9), sparsifier)
    state = optimizer.init(params)
    def step(params, state):
        gradients = jax.grad(lambda params: loss(sparsifier.effective(params, state)))(params)
        updates, state = optimizer.update(gradients, state, params)
        return optax.apply_updates(params, updates), state
    step = jax.jit(step).lower(params, state).compile()
    for _ in range(6):
        params, state = step(params, state)
    return (params, state[-1].masks, sparsifier.finalize(params, state)), step.as_text()

@cache
def on_one_device(pattern):
    return train(alone, pattern)[0]

def check(kind, pattern, names):
    mesh = jax.make_mesh((2, 2), ("data", "model"), axis_types=(kind, kind))
    places = {name: NamedSharding(mesh, SPECS[name]) for name in names}
    spread = {name: jax.device_put(alone[name], place) for name, place in places.items()}
    found, program = train(spread, pattern, None if kind == AxisType.Explicit else places)
    for name, place in places.items():
        assert found[1][name].sharding.is_equivalent_to(place, len(SHAPES[name])), found[1][name].sharding
        for ours, theirs in zip(found, on_one_device(pattern)):
            assert np.array_equal(np.asarray(ours[name]), np.asarray(theirs[name])), name
        assert ms.verify(np.asarray(found[2][name]) != 0, pattern).ok
    assert ("all-gather" in program) == ("cut" in names and pattern == "4:8-T"), (names, pattern)
    if kind == AxisType.Explicit:
        for name in names & {"tiles", "cut", "everywhere"}:
            mask = jax.jit(lambda w: mj.mask(w, pattern))(spread[name])
            assert mask.sharding.is_equivalent_to(places[name], 2), mask.sharding
            assert np.array_equal(np.asarray(mask), np.asarray(mj.mask(alone[name], pattern)))

check(AxisType.Explicit, "4:8-T", set(SHAPES))
check(AxisType.Explicit, "4:8-T", set(SHAPES) - {"cut"})
check(AxisType.Auto, "4:8-T", set(SHAPES))
check(AxisType.Explicit, "2:4", {"tiles", "cut"})
"""


def test_four_devices_train_as_one():
    flags = {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_force_host_platform_device_count=4"}
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=os.environ | flags, check=False, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
