"""Arrays of other frameworks: recognised without importing any, read in place, answered in kind."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol, cast

import numpy as np
import numpy.typing as npt


class Framework(Protocol):
    """What masksolve asks of a framework; a module in `masksolve.frameworks` answers."""

    def on_host(self, array: Any, /) -> bool:
        """Whether the array lies in memory that NumPy can read, or where `batched` cannot run."""
        ...

    def to_numpy(self, name: str, array: Any, /) -> npt.NDArray[Any]:
        """Read the array from the host: in place if it lies there, else a copy.

        Raises TypeError, naming the argument ``name``, for one without entries to read.
        """
        ...

    def from_numpy(self, array: npt.NDArray[Any], like: Any, /) -> Any:
        """Make an array of the framework, on the device of ``like``."""
        ...

    def namespace(self, array: Any, /) -> Any:
        """Give the functions of the Python array-API standard for such arrays."""
        ...

    def native(self, name: str, array: Any, /) -> Any:
        """Give the plain array behind a subclass, without a gradient; raises as `to_numpy`."""
        ...

    def double_precision(self) -> AbstractContextManager[object]:
        """Open a context in which float64 arrays can be made."""
        ...

    def compiler(self) -> Callable[..., Any] | None:
        """Give what turns a function of arrays into one compiled for their shapes, if it pays."""
        ...


_KNOWN = {"torch": ("Tensor",), "jax": ("Array",), "tensorflow": ("Tensor", "Variable")}


def framework_of(value: object) -> Framework | None:
    """Find the framework that an array belongs to; None for NumPy's own and for anything else.

    Only frameworks that the caller has imported can have made an array, so only those are looked at.
    """
    if isinstance(value, (np.ndarray, np.generic, list, tuple)):
        return None
    for package, kinds in _KNOWN.items():
        # A framework may be half imported when its own code runs.
        types = [getattr(sys.modules.get(package), kind, None) for kind in kinds]
        if any(each is not None and isinstance(value, each) for each in types):
            return _adapter(package)
    # CuPy's arrays name their namespace only since version 14.
    if hasattr(value, "__array_namespace__") or type(value).__module__.partition(".")[0] == "cupy":
        return _adapter("standard")
    return None


def to_numpy(name: str, value: object) -> object:
    """Arrays of other frameworks as NumPy's, in place where they lie on the host; others as they are."""
    framework = framework_of(value)
    return value if framework is None else framework.to_numpy(name, value)


def _adapter(name: str) -> Framework:
    return cast(Framework, importlib.import_module(f"masksolve.frameworks.{name}"))
