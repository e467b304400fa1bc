"""The conformance kit on arrays of other libraries, for the backends that solve them where they are."""

from __future__ import annotations

import importlib
from typing import Any

import frameworks
import numpy as np
import pytest

from masksolve.testing import Arrays, check_backend

pytest.importorskip("array_api_compat")


def arrays_of(library: frameworks.Arrays) -> Arrays:
    """Hand over NumPy's arrays in a library that may not have every type of theirs."""

    def make(array: np.ndarray[Any, Any]) -> Any:
        known = str(array.dtype) in library.dtypes
        return library.make(array if known else array.astype(np.float32))

    return Arrays(make, library.read)


FEW = {"iterations": 5, "tau": 10.0}
"""Options of ``entropic`` that take little time where every operation takes long to start."""


@pytest.mark.parametrize(("backend", "options"), [("entropic", FEW), ("batched", {})])
def test_tensors_of_torch(backend: str, options: dict[str, Any]) -> None:
    assert check_backend(backend, options, arrays=arrays_of(frameworks.torch_arrays())).solves > 200


def test_entropic_on_a_device_reads_nothing_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stand-in for an accelerator, whose arrays the host may not have."""
    standard = importlib.import_module("masksolve.frameworks.standard")

    def refuse(name: str, array: Any) -> None:
        raise AssertionError(f"{name} of shape {array.shape} was copied to the host")

    monkeypatch.setattr(standard, "to_numpy", refuse)
    library = arrays_of(frameworks.strict_arrays("device1"))
    assert check_backend("entropic", FEW, arrays=library).solves > 200
