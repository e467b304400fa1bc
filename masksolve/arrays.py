"""Arrays as callers pass them: taken where they lie if they will do, or refused by name.

Single numbers and choices are checked in `masksolve.checks`.
"""

from __future__ import annotations

import functools
import os
from typing import Any

import numpy as np
import numpy.typing as npt

from . import frameworks
from .frameworks import Framework
from .pattern import Pattern
from .tiling import Tiling
from .types import BoolArray, Prices

_REAL = {
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "bfloat16", "float32", "float64"),
}
_NUMBERS = ("int", "uint", "float", "bfloat", "complex")
"""Beginnings of the names of types that hold numbers, the 8-bit ones of ml_dtypes included."""


def dtype_name(array: Any) -> str:
    """Name of an array's dtype, the same in every framework."""
    dtype = array.dtype
    return _numpy_name(dtype) if isinstance(dtype, np.dtype) else str(dtype).rpartition(".")[2]


@functools.cache
def _numpy_name(dtype: np.dtype[Any]) -> str:
    """Name a dtype; kept, since making up a name takes as long as laying out a small array."""
    return dtype.name


def is_real(dtype: str) -> bool:
    """Whether scores may have the dtype of this name."""
    return dtype in _REAL


def check_real(name: str, array: Any) -> None:
    """Refuse arrays that do not hold real numbers."""
    if dtype_name(array) not in _REAL:
        raise TypeError(
            f"{name} must hold real numbers (bool, integer, float16, bfloat16, float32 or float64), "
            f"got dtype {array.dtype}"
        )


def real_array(name: str, value: npt.ArrayLike) -> npt.NDArray[Any]:
    """``value`` as an ndarray of real numbers in native byte order, in place where it is one."""
    array = _ndarray(name, value)
    check_real(name, array)
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def boolean_array(name: str, value: npt.ArrayLike) -> BoolArray:
    """``value`` as an ndarray of bool; any other dtype is refused."""
    array = _ndarray(name, value)
    if array.dtype != np.bool_:
        raise TypeError(f"{name} must be boolean (True and False), got dtype {array.dtype}")
    return array


def kept_array(name: str, value: npt.ArrayLike) -> BoolArray:
    """``value`` as an ndarray of bool: booleans as they are, of numbers those that are not zero."""
    array = _ndarray(name, value)
    if array.dtype == np.bool_:
        return array
    if not array.dtype.name.startswith(_NUMBERS):
        raise TypeError(f"{name} must hold booleans (True = kept) or numbers, got dtype {array.dtype}")
    kept: BoolArray = np.asarray(array != 0)
    return kept


@functools.lru_cache(maxsize=512)
def check_shape(name: str, shape: tuple[int, ...], pattern: Pattern) -> None:
    """Refuse shapes that ``pattern`` cannot be laid on; ValueError with what `Pattern.misfit` says."""
    misfit = pattern.misfit(shape)
    if misfit is not None:
        raise ValueError(f"{name} {misfit}")


def check_prices(name: str, value: object, tiling: Tiling, framework: Framework | None = None) -> Prices:
    """``value`` as finite dual prices for the tiles of ``tiling``, in NumPy and float32 or float64.

    Parameters
    ----------
    name : str
    value : Prices or pair of arrays
    tiling : Tiling
    framework : Framework or None
        Leave the prices where this framework has them, in the dtype that they have.

    Raises
    ------
    TypeError
        If it is not a pair of arrays of real numbers.
    ValueError
        If it is not shaped for the tiling, or not finite.
    """
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise TypeError(f"{name} must be Prices or a pair (rows, columns), got {type(value).__name__}")
    rows, columns = value
    parts = [
        _price_array(f"{name}.rows", rows, framework),
        None if columns is None else _price_array(f"{name}.columns", columns, framework),
    ]
    lines, across = tiling.lines
    expected = [(tiling.tiles, lines), (tiling.tiles, across) if across else None]
    shapes = [None if part is None else tuple(part.shape) for part in parts]
    if shapes != expected:
        raise ValueError(
            f"{name} must be (rows, columns) of shapes {expected} for pattern '{tiling.pattern}' on "
            f"{tiling.shape}, got {shapes}"
        )
    return Prices(*parts)


def _price_array(name: str, value: Any, framework: Framework | None) -> Any:
    xp: Any = np
    if framework is None or value is None:  # which is no array, and is refused as one
        array = real_array(name, value)
        if array.dtype not in (np.float32, np.float64):
            array = array.astype(np.float64)
    else:
        array, xp = value, framework.namespace(value)
        check_real(name, array)
    finite = xp.isfinite(array)
    if not bool(xp.all(finite)):
        raise ValueError(f"{name} must be finite, got {float(array[~finite][0])}")
    return array


def _ndarray(name: str, value: npt.ArrayLike) -> npt.NDArray[Any]:
    if type(value) is np.ndarray:
        return value
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{name} must be a plain array, got a masked array; call its filled() first")
    native = frameworks.to_numpy(name, value)
    if not isinstance(native, (np.ndarray, list, tuple)):
        raise TypeError(
            f"{name} must be an array or nested lists, got {type(value).__name__}; {_remedy(value)}"
        )
    try:
        return np.asarray(native)
    except ValueError as error:
        raise ValueError(f"{name} must be rectangular, got nested lists of unequal length") from error


def _remedy(value: object) -> str:
    """Say how to get an array out of what was passed instead of one."""
    if isinstance(value, (str, os.PathLike)):
        return "read the file first, with numpy.load for instance, or use the command masksolve prune"
    if hasattr(value, "to_numpy"):  # tables of pandas and polars
        return "pass its to_numpy()"
    if hasattr(value, "mask") and hasattr(value, "pattern"):
        return "pass its mask"
    if hasattr(value, "state_dict"):  # a module of torch
        return "pass the weight of a layer, or see masksolve.adapters.torch for whole models"
    return "convert it with numpy.asarray"
