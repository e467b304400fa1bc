"""Imports go one way: from a module to what lies below it, and never back.

Every import counts: those of a function, those for type checkers alone, and modules that are named in a
string to be imported when they are needed. That loading ``a.b`` loads the package ``a`` first is Python's
doing and is left out; packages import their own modules, so it would make a cycle of each.
"""

import ast
import graphlib
from pathlib import Path

import pytest

import masksolve

ROOT = Path(masksolve.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))


def name_of(file: Path) -> str:
    return ".".join(["masksolve", *file.relative_to(ROOT).with_suffix("").parts]).removesuffix(".__init__")


def imports(source: str, package: str, modules: set[str]) -> set[str]:
    """Modules of ours that a module imports anywhere."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            found |= {f"{base}.{alias.name}" for alias in node.names} & modules or {base} & modules
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names} & modules
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found |= {node.value.partition(":")[0]} & (modules - {"masksolve"})  # the bare name is a word
        elif isinstance(node, ast.JoinedStr) and isinstance(node.values[0], ast.Constant):
            start = str(node.values[0].value)
            if start.startswith("masksolve."):
                found |= {module for module in modules if module.startswith(start)}
    return found


def graph() -> dict[str, set[str]]:
    modules = {name_of(file) for file in FILES}
    packages = {
        file: name_of(file) if file.stem == "__init__" else name_of(file).rpartition(".")[0] for file in FILES
    }
    return {
        name_of(file): imports(file.read_text(encoding="utf-8"), packages[file], modules) - {name_of(file)}
        for file in FILES
    }


def rooms() -> dict[str, set[str]]:
    """The same for what stands side by side in ``masksolve/``; ``__init__`` is above everything."""
    found: dict[str, set[str]] = {}
    for module, below in graph().items():
        for other in below - {"masksolve"}:
            ours, theirs = (f"{name}.".split(".")[1] for name in (module, other))
            if ours and ours != theirs:
                found.setdefault(ours, set()).add(theirs)
    return found


def test_no_module_and_no_room_imports_what_lies_above_it() -> None:
    for found in (graph(), rooms()):
        assert len(list(graphlib.TopologicalSorter(found).static_order())) > 20
    assert {"backends", "certificate", "layout"} <= rooms()["certifying"] | {"certifying"}


def test_a_way_back_would_be_seen() -> None:
    back = rooms()
    back["layout"].add("backends")
    with pytest.raises(graphlib.CycleError):
        graphlib.TopologicalSorter(back).prepare()
    source = (
        "if TYPE_CHECKING:\n    from ..solve import solve\n"
        "def later():\n    from .. import plot\n    import masksolve.fixed\n"
        "    import_module('masksolve.tiling:Tiling'), import_module(f'masksolve.cli.{name}')"
    )
    below = {f"masksolve.{name}" for name in ("solve", "plot", "fixed", "tiling", "cli.app", "cli.demo")}
    assert imports(source, "masksolve.layout", below | {"masksolve.problem"}) == below


@pytest.mark.parametrize(
    "room", ["pattern", "tiling", "problem", "layout", "certificate", "backends", "pruning"]
)
def test_the_core_knows_nothing_of_its_users(room: str) -> None:
    assert not rooms()[room] & {"adapters", "cli", "checkpoints", "testing", "plot", "storage"}
