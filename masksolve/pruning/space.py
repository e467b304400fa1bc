"""Where a layer is computed: the library, the device and the precision of its weights.

Every method of this package is written once, in the functions of the Python array-API standard. The
weights decide where it runs: a NumPy array is computed by NumPy, a torch tensor on a GPU by torch on
that GPU. Everything else (Gram matrix, mask, forced entries) is brought there.
"""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..arrays import boolean_array, is_real, real_array
from ..checks import choice
from ..frameworks import Framework, framework_of
from ..frameworks.compat import array_api_compat

PRECISIONS = ("float32", "float64")

_WIDE = {"float64", "int32", "int64", "uint32", "uint64"}


@dataclass(frozen=True)
class Space:
    """The library, device and floating-point type in which a layer is computed.

    Attributes
    ----------
    xp : namespace of the array-API standard
    device
        As the namespace names it.
    dtype
        Its float32 or float64.
    precision : {"float32", "float64"}
    """

    xp: Any
    device: Any
    dtype: Any
    precision: str
    framework: Framework | None
    like: Any

    @classmethod
    def of(cls, name: str, array: Any, precision: str | None = None) -> Space:
        """Find where ``array`` is.

        Parameters
        ----------
        name : str
            Of the argument, for messages.
        array : array or nested lists
        precision : {"float32", "float64"}, optional
            By default float64 for float64 and for integers of more than two bytes, which float32 cannot
            hold, and float32 for everything else.

        Raises
        ------
        TypeError, ValueError
            If ``array`` does not hold real numbers, or ``precision`` is not one of the two.
        """
        framework = framework_of(array)
        if framework is not None:
            try:
                array = framework.native(name, array)
                xp, device = framework.namespace(array), array_api_compat().device(array)
            except TypeError:
                # TensorFlow has no array-API namespace: its tensors are read, and answered by NumPy. Others
                # refuse what has no entries, and real_array says so again.
                framework = None
        if framework is None:
            array, xp, device = real_array(name, array), np, "cpu"
        found = _dtype_name(array)
        if not is_real(found):
            raise TypeError(f"{name} must hold real numbers, got dtype {array.dtype}")
        if precision is None:
            precision = "float64" if found in _WIDE else "float32"
        precision = choice("dtype", precision, PRECISIONS)
        # JAX names float64 even where it cannot make such arrays.
        return cls(xp, device, getattr(xp, precision), precision, framework, array)

    def open(self) -> AbstractContextManager[object]:
        """Open a context in which arrays of this precision can be made; JAX needs to be told."""
        return nullcontext() if self.framework is None else self.framework.double_precision()

    def real(self, name: str, value: Any) -> Any:
        """``value`` as a finite array of this space.

        Raises
        ------
        TypeError, ValueError
            If it does not hold real numbers, or one of them is not finite in this precision.
        """
        array = self.here(name, value)
        if not is_real(_dtype_name(array)):
            raise TypeError(f"{name} must hold real numbers, got dtype {array.dtype}")
        with np.errstate(over="ignore", invalid="ignore"):  # what overflows is reported below
            wide = self.xp.astype(array, self.dtype)
        finite = self.xp.isfinite(wide)
        if not bool(self.xp.all(finite)):
            first = first_true(self.xp, ~finite)
            index = [int(each) for each in np.unravel_index(first, tuple(array.shape))]
            found = float(self.xp.reshape(array, (-1,))[first])
            limit = f" in {self.precision} (dtype= chooses another)" if math.isfinite(found) else ""
            raise ValueError(f"{name} must be finite{limit}, got {found} at index {index}")
        return wide

    @property
    def on_host(self) -> bool:
        """Whether it is in memory that the processor computes in."""
        return self.framework is None or self.framework.on_host(self.like)

    def matrix(self, name: str, value: Any) -> Any:
        """``value`` as a finite matrix of this space."""
        array = self.real(name, value)
        if array.ndim != 2:
            raise ValueError(f"{name} must be a matrix, got shape {tuple(array.shape)}")
        return array

    def boolean(self, name: str, value: Any) -> Any:
        """``value`` as a boolean array of this space; any other dtype is refused."""
        if framework_of(value) is not self.framework or self.framework is None:
            return self.here(name, boolean_array(name, value))
        array = self.here(name, value)
        if _dtype_name(array) != "bool":
            raise TypeError(f"{name} must be boolean (True and False), got dtype {array.dtype}")
        return array

    def here(self, name: str, value: Any) -> Any:
        """``value`` on the device of this space, with the dtype that it has."""
        owner = framework_of(value)
        if self.framework is None or owner is not self.framework:
            array = real_array(name, value)
            if self.framework is None:
                return array
            if array.dtype.name in ("bfloat16", "float16"):  # not every library has these
                array = array.astype(np.float32)
            return self.framework.from_numpy(array, self.like)
        array = self.framework.native(name, value)
        compat = array_api_compat()
        return array if compat.device(array) == self.device else compat.to_device(array, self.device)

    def zeros(self, *shape: int) -> Any:
        """Make zeros of this space."""
        return self.xp.zeros(shape, dtype=self.dtype, device=self.device)

    def eye(self, size: int) -> Any:
        """Make the identity matrix of this space."""
        return self.xp.eye(size, dtype=self.dtype, device=self.device)


def first_true(xp: Any, condition: Any) -> int:
    """Place of the first True among the entries of a boolean array, counted from 0 in row-major order."""
    return int(xp.argmax(xp.astype(xp.reshape(condition, (-1,)), xp.int8)))


def power_of_two(size: float) -> float:
    """Give the power of two next below a positive number; 1 for zero.

    Dividing by it changes no digit, and keeps squares of very large and very small numbers inside
    the range of float32.
    """
    return math.ldexp(1.0, math.frexp(size)[1] - 1) if size > 0 else 1.0


def _dtype_name(array: Any) -> str:
    return str(array.dtype).rpartition(".")[2]
