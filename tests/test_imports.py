"""Importing masksolve brings NumPy and nothing heavy; a framework's arrays bring that framework's alone."""

import subprocess
import sys

import pytest

import masksolve

FRAMEWORKS = {"torch", "jax", "jaxlib", "tensorflow", "cupy", "array_api_compat", "array_api_strict", "dask"}
HEAVY = FRAMEWORKS | {
    "scipy",
    "networkx",
    "ortools",
    "click",
    "rich",
    "safetensors",
    "ml_dtypes",
    "pandas",
    "matplotlib",
}
SOLVED = "import masksolve, numpy; masksolve.solve(numpy.ones((8, 8)), '4:8-T'{options})"


def packages_from(code: str, *, after: str = "pass") -> set[str]:
    """Top-level packages that ``code`` loads in a fresh interpreter, which has run ``after`` before."""
    script = f"""
import sys
{after}
before = set(sys.modules)
{code}
print(*{{name.partition('.')[0] for name in set(sys.modules) - before}})
"""
    ran = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    return set(ran.stdout.split())


@pytest.mark.parametrize(
    "code",
    [
        "import masksolve",
        "import masksolve; masksolve.backends()",
        SOLVED.format(options=""),
        SOLVED.format(options=", keep=numpy.eye(8, dtype=bool)"),
        SOLVED.format(options=", backend='greedy'"),
        "import masksolve; masksolve.solve([[1.0, 2.0]], '1:2')",
        "import masksolve, numpy; masksolve.verify(numpy.ones((8, 8), bool), '8:8-T')",
    ],
)
def test_nothing_heavy_is_imported(code: str) -> None:
    packages = packages_from(code)
    assert "numpy" in packages
    assert packages & HEAVY == set()


ARRAYS = {
    "torch": "import torch; scores = torch.ones(8, 8, dtype=torch.bfloat16)",
    "jax": "import jax; scores = jax.numpy.ones((8, 8))",
    "tensorflow": "import tensorflow; scores = tensorflow.ones((8, 8))",
    "array_api_strict": "import array_api_strict; scores = array_api_strict.ones((8, 8))",
}


@pytest.mark.parametrize("framework", ARRAYS)
def test_arrays_of_a_framework_bring_no_other(framework: str) -> None:
    pytest.importorskip(framework)
    loaded = packages_from("import masksolve; masksolve.solve(scores, '4:8-T')", after=ARRAYS[framework])
    allowed = {"torch": {"ml_dtypes"}, "array_api_strict": {"array_api_compat"}}.get(framework, set())
    assert "masksolve" in loaded
    assert loaded & (HEAVY - {framework}) <= allowed


def test_the_adapters_do_not_need_each_other() -> None:
    pytest.importorskip("torch")
    pytest.importorskip("jax")
    for ours in ("torch", "jax"):
        packages = packages_from(f"import masksolve.adapters.{ours}")
        assert ours in packages
        assert packages & FRAMEWORKS <= {ours, f"{ours}lib"}


def test_every_public_name_exists() -> None:
    assert [name for name in masksolve.__all__ if getattr(masksolve, name, None) is None] == []
