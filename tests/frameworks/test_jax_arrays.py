"""JAX arrays in ``ms.solve`` itself: read in place, answered where they lie, or refused."""

import importlib

import numpy as np
import pytest
from assertions import assert_optimal

import masksolve as ms

jax = pytest.importorskip("jax")

import jax.numpy as jnp  # noqa: E402

PATTERN = "4:8-T"


def gaussian(*shape: int) -> "jax.Array":
    return jnp.asarray(np.random.default_rng(0).standard_normal(shape or (16, 24), np.float32))


def test_arrays_are_read_in_place() -> None:
    adapter = importlib.import_module("masksolve.frameworks.jax")
    for dtype in ("float32", "bfloat16"):
        w = gaussian().astype(dtype)
        assert adapter.to_numpy("scores", w).__array_interface__["data"][0] == w.unsafe_buffer_pointer()


def test_the_device_and_its_commitment_are_kept() -> None:
    device = jax.devices()[0]
    for scores in (gaussian(), jax.device_put(gaussian(), device)):
        found = ms.solve(scores, PATTERN).mask
        assert found.devices() == {device}
        assert found.committed == scores.committed


def test_sharded_arrays() -> None:
    mesh = jax.make_mesh((1,), ("rows",))
    place = jax.NamedSharding(mesh, jax.P("rows"))
    found = ms.solve(jax.device_put(gaussian(), place), PATTERN)
    assert found.mask.sharding == place


@pytest.mark.parametrize("transform", [jax.jit, jax.vmap, jax.grad], ids=["jit", "vmap", "grad"])
def test_traced_arrays_are_sent_to_the_adapter(transform) -> None:
    with pytest.raises(TypeError, match=r"call masksolve\.adapters\.jax\.mask there"):
        transform(lambda w: ms.solve(w, PATTERN).mask)(gaussian(2, 16, 24))
    scores = gaussian()
    with pytest.raises(TypeError, match="keep must be an array with values"):
        jax.jit(lambda keep: ms.solve(scores, PATTERN, keep=keep).mask)(scores > 1)


@pytest.mark.parametrize("backend", ["auto", "batched", "greedy"])
def test_deleted_arrays_are_refused(backend: str) -> None:
    w = gaussian()
    w.delete()
    with pytest.raises(TypeError, match="scores must be an array with values, got one that was deleted"):
        ms.solve(w, PATTERN, backend=backend)


def test_batched_runs_in_jax() -> None:
    scores = np.asarray(gaussian(4, 4))
    found = ms.solve(jnp.asarray(scores), "1:2-T", backend="batched", duals=True)
    assert isinstance(found.duals.rows, jax.Array)
    host = ms.solve(scores, "1:2-T", warm_start=found)
    assert_optimal(host, scores, best=np.asarray(found.mask))
