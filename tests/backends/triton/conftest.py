"""Triton's interpreter for the tests in this directory, where no GPU is at hand.

Triton decides when a kernel is defined whether it will be interpreted, so its package and ours are imported
here, while the variable is set. The other tests do not see the variable, and so do not run the slow
backend.
"""

import importlib
import sys

import pytest

torch = pytest.importorskip("torch")
VARIABLE = "TRITON_INTERPRET"
INTERPRETING = not torch.cuda.is_available()

if INTERPRETING and "triton" in sys.modules and "masksolve.backends.triton.launching" not in sys.modules:
    pytest.skip(
        "torch has imported triton for compiled kernels; run pytest tests/backends/triton by itself",
        allow_module_level=True,
    )

with pytest.MonkeyPatch.context() as patch:
    if INTERPRETING:
        patch.setenv(VARIABLE, "1")
    pytest.importorskip("triton")
    importlib.import_module("masksolve.backends.triton.launching")


@pytest.fixture(autouse=True)
def interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the backend run here."""
    from masksolve.backends.triton.launching import INTERPRETED

    assert INTERPRETED == INTERPRETING
    if INTERPRETING:
        monkeypatch.setenv(VARIABLE, "1")


@pytest.fixture
def device() -> str:
    """Where the kernels read tensors in place."""
    return "cpu" if INTERPRETING else "cuda"
