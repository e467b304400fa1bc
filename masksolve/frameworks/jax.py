"""JAX arrays."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, cast

import jax
import numpy as np
import numpy.typing as npt

from .compat import array_api_compat


def on_host(array: jax.Array) -> bool:
    """Whether every part of it lies on a CPU; one without values has no place, and is refused when read."""
    if _traced(array) or array.is_deleted():
        return True
    return {device.platform for device in array.devices()} == {"cpu"}


def to_numpy(name: str, array: jax.Array) -> npt.NDArray[Any]:
    """Read an array in place; from another device, copy it."""
    return np.asarray(native(name, array))


def from_numpy(array: npt.NDArray[Any], like: jax.Array) -> jax.Array:
    """Copy the array to where ``like`` lies, committed to that place if ``like`` is."""
    if like.committed:
        return cast(jax.Array, jax.device_put(array, like.sharding))
    (device,) = like.devices()
    with jax.default_device(device):
        return jax.numpy.asarray(array)


def namespace(array: jax.Array) -> Any:
    """Give jax.numpy, which follows the standard."""
    return array_api_compat().array_namespace(array)


def native(name: str, array: jax.Array) -> jax.Array:
    """Give the array itself, if it has entries."""
    if _traced(array):
        raise TypeError(
            f"{name} must be an array with values, got one that is being traced; call "
            f"masksolve.adapters.jax.mask there, which works inside jit and vmap"
        )
    if array.is_deleted():
        raise TypeError(f"{name} must be an array with values, got one that was deleted or donated")
    return array


def double_precision() -> AbstractContextManager[object]:
    """Open a context in which 64-bit arrays stay 64-bit."""
    wide: AbstractContextManager[object] = jax.enable_x64(True)
    return wide


def compiler() -> Callable[..., Any]:
    """Give ``jax.jit``: without it every operation is compiled for every shape by itself."""
    jit: Callable[..., Any] = jax.jit
    return jit


def _traced(array: jax.Array) -> bool:
    return isinstance(array, jax.core.Tracer)
