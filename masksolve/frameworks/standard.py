"""Arrays of any other library that follows the Python array-API standard, and CuPy's."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import numpy.typing as npt

from .compat import array_api_compat


def on_host(array: Any) -> bool:
    """Whether it lies in memory that the processor can read."""
    return "cpu" in str(array_api_compat().device(array)).lower()


def to_numpy(name: str, array: Any) -> npt.NDArray[Any]:
    """Read an array in place through DLPack; from another device, copy it."""
    return np.from_dlpack(native(name, array), device="cpu")


def from_numpy(array: npt.NDArray[Any], like: Any) -> Any:
    """Copy the array to the device of ``like``."""
    compat = array_api_compat()
    return compat.array_namespace(like).asarray(array, device=compat.device(like))


def namespace(array: Any) -> Any:
    """Give the array's own namespace."""
    return array_api_compat().array_namespace(array)


def native(name: str, array: Any) -> Any:
    """Give the array itself, if its numbers are real."""
    if not hasattr(array, "__dlpack__"):
        raise TypeError(f"{name} must be an array that DLPack can read, got {type(array).__name__}")
    return array


def double_precision() -> AbstractContextManager[object]:
    """Open an empty context: float64 is part of the standard."""
    return nullcontext()


def compiler() -> None:
    """Give none: the standard has no compiler."""
