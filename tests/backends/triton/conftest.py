"""Triton's interpreter for the tests in this directory, where no GPU is at hand.

Triton decides when a kernel is defined whether it will be interpreted, so its package and ours are imported here, while
the variable is set. The other tests do not see the variable, and so do not run the slow backend.
"""

import importlib
import os
from collections.abc import Iterator

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("triton")

VARIABLE = "TRITON_INTERPRET"
INTERPRETING = not torch.cuda.is_available()

if INTERPRETING:
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = "1"
    importlib.import_module("masksolve.backends.triton.launching")
    if before is None:
        del os.environ[VARIABLE]


@pytest.fixture(autouse=True)
def interpreter(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the backend run here."""
    from masksolve.backends.triton.launching import INTERPRETED

    assert INTERPRETED == INTERPRETING
    if INTERPRETING:
        monkeypatch.setenv(VARIABLE, "1")
    yield


@pytest.fixture
def device() -> str:
    """Where the kernels read tensors in place."""
    return "cpu" if INTERPRETING else "cuda"
