"""Importing masksolve brings NumPy and nothing heavy."""

import subprocess
import sys

import pytest

import masksolve

HEAVY = {
    "scipy",
    "torch",
    "jax",
    "networkx",
    "ortools",
    "click",
    "rich",
    "safetensors",
    "ml_dtypes",
    "pandas",
}


def packages_after(code: str) -> set[str]:
    """Top-level packages that a fresh interpreter has loaded after ``code``."""
    report = "; import sys; print(*{name.partition('.')[0] for name in sys.modules})"
    ran = subprocess.run([sys.executable, "-c", code + report], check=True, capture_output=True, text=True)
    return set(ran.stdout.split())


@pytest.mark.parametrize(
    "code",
    [
        "import masksolve",
        "import masksolve; masksolve.backends()",
        "import masksolve, numpy; masksolve.solve(numpy.ones((8, 8)), '4:8-T')",
    ],
)
def test_nothing_heavy_is_imported(code: str) -> None:
    packages = packages_after(code)
    assert "numpy" in packages
    assert packages & HEAVY == set()


def test_every_public_name_exists() -> None:
    assert [name for name in masksolve.__all__ if getattr(masksolve, name, None) is None] == []
