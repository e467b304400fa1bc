"""Array libraries under test: how to make their arrays of NumPy's, and how to read them back.

Every one skips the test that asks for it if its library is not installed. ``device1`` of
array-api-strict stands for an accelerator: its arrays refuse to be converted on the host.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
import pytest

INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
STANDARD = ("bool", *INTEGERS, "float32", "float64")
"""What the array-API standard has; every framework here has these."""


@dataclass(frozen=True)
class Arrays:
    """One library on one device."""

    name: str
    make: Callable[[Any], Any]
    read: Callable[[Any], Any]
    is_ours: Callable[[Any], bool]
    dtypes: tuple[str, ...] = (*STANDARD, "float16", "bfloat16")
    on_host: bool = True


def torch_arrays(device: str = "cpu") -> Arrays:
    torch = pytest.importorskip("torch")
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("torch sees no CUDA device")

    def make(array):
        array = np.array(array)  # its own memory, so that torch may write
        if array.dtype == ml_dtypes.bfloat16:
            return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16).to(device)
        return torch.from_numpy(array).to(device)

    return Arrays(
        name=f"torch-{device}",
        make=make,
        read=lambda tensor: tensor.cpu().numpy(),
        is_ours=lambda value: type(value) is torch.Tensor and value.device.type == device,
        on_host=device == "cpu",
    )


def jax_arrays() -> Arrays:
    jax = pytest.importorskip("jax")

    def make(array):
        with jax.enable_x64(True):
            return jax.numpy.asarray(array)

    on_host = jax.default_backend() == "cpu"
    return Arrays("jax", make, np.asarray, lambda value: isinstance(value, jax.Array), on_host=on_host)


def strict_arrays(device: str = "CPU_DEVICE") -> Arrays:
    xp = pytest.importorskip("array_api_strict")
    place = xp.Device(device)

    def read(array):
        return np.from_dlpack(xp.asarray(array, device=xp.Device("CPU_DEVICE"), copy=True))

    return Arrays(
        name=f"strict-{device}",
        make=lambda array: xp.asarray(array, device=place),
        read=read,
        is_ours=lambda value: type(value).__module__.startswith("array_api_strict") and value.device == place,
        dtypes=STANDARD,
        on_host=device == "CPU_DEVICE",
    )


def tensorflow_arrays() -> Arrays:
    tf = pytest.importorskip("tensorflow")
    return Arrays("tensorflow", tf.constant, lambda tensor: tensor.numpy(), tf.is_tensor)


ALL = {
    "torch": torch_arrays,
    "torch-cuda": lambda: torch_arrays("cuda"),
    "jax": jax_arrays,
    "strict": strict_arrays,
    "strict-device": lambda: strict_arrays("device1"),
    "tensorflow": tensorflow_arrays,
}


def doubles(name: str, wanted: bool = True) -> contextlib.AbstractContextManager[object]:
    """Context in which the library has float64, if that is wanted and a choice."""
    if name != "jax" or not wanted:
        return contextlib.nullcontext()
    context: contextlib.AbstractContextManager[object] = pytest.importorskip("jax").enable_x64(True)
    return context
