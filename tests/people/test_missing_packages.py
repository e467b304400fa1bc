"""An error about a missing package names the command that installs it, by an extra that brings it."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import masksolve as ms

TILE = np.arange(64.0).reshape(8, 8)
EXTRAS = tomllib.loads(Path(__file__).parents[2].joinpath("pyproject.toml").read_text())["project"][
    "optional-dependencies"
]


def brings(extra: str) -> set[str]:
    """Names of the packages of an extra, and of the extras in it."""
    found: set[str] = set()
    for line in EXTRAS[extra]:
        own = re.fullmatch(r"masksolve\[(.*)\]", line)
        if own is None:
            found.add(re.split(r"[><=;\[ ]", line)[0].replace("-", "_"))
        else:
            found = found.union(*map(brings, own[1].split(",")))
    return found


def named_by(message: str) -> str:
    """Give the extra that the command in a message installs; the quotes are those of every shell."""
    (extra,) = re.findall(r'pip install (?:-e )?"[^"]*\[(\w+)\]"', message)
    return str(extra)


USES: list[tuple[str, Callable[[], Any]]] = [
    ("matplotlib", lambda: ms.plot.mask(TILE > 3, "4:8")),
    ("matplotlib", lambda: ms.plot.scores(TILE, TILE > 3, "4:8")),
    ("matplotlib", lambda: ms.plot.compare(TILE > 3, TILE > 4, "4:8")),
    ("matplotlib", lambda: ms.plot.retained(TILE, ms.solve(TILE, "4:8"))),
    ("matplotlib", lambda: ms.plot.gaps(ms.solve(TILE, "4:8", tiles=True))),
    ("scipy", lambda: ms.formulation(TILE, "4:8").lp()),
    ("scipy", lambda: ms.permutation.search(TILE, "4:8")),
    ("scipy", lambda: ms.solve(TILE, "4:8", backend="highs")),
    ("networkx", lambda: ms.formulation(TILE, "4:8").network(bits=20).networkx()),
    ("networkx", lambda: ms.solve(TILE, "4:8", backend="networkx")),
    ("ortools", lambda: ms.solve(TILE, "4:8", backend="ortools")),
    ("array_api_compat", lambda: ms.solve(TILE, "4:8", backend="batched")),
]


@pytest.mark.parametrize(("package", "use"), USES)
def test_functions(package: str, use: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ms.BackendUnavailableError) as caught:
        use()
    assert package in brings(named_by(str(caught.value)))


@pytest.mark.parametrize("package", ["torch", "jax"])
def test_adapters(package: str) -> None:
    code = f"import sys; sys.modules[{package!r}] = None; from masksolve.adapters import {package}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"masksolve.errors.BackendUnavailableError: masksolve.adapters.{package} needs")
    assert package in brings(named_by(last))


@pytest.mark.parametrize("package", ["lightning", "transformers"])
def test_callbacks(package: str) -> None:
    pytest.importorskip("torch")
    code = (
        f"import sys; sys.modules[{package!r}] = None; import masksolve.adapters.torch.integrations.{package}"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert package in brings(named_by(done.stderr.splitlines()[-1]))


def extras_in(tree: ast.AST) -> Iterator[str]:
    """Extras in ``pip_install("extra")``, ``needing(what, package, "extra")``, ``extra: ... = "extra"``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in (
            "pip_install",
            "needing",
        ):
            value: ast.AST | None = node.args[0 if len(node.args) < 3 else 2]
        elif isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "extra":
            value = node.value
        else:
            continue
        if isinstance(value, ast.Constant) and value.value:
            yield value.value


def test_a_package_for_each_extra_that_an_error_names() -> None:
    """Errors that are hard to provoke here name extras that exist, too."""
    sources = Path(ms.__file__).parent.rglob("*.py")
    named = {extra for path in sources for extra in extras_in(ast.parse(path.read_text()))}
    assert named <= set(EXTRAS)
    assert {"arrays", "cli", "dask", "highs", "jax", "networkx", "plot", "torch", "trainers"} <= named
