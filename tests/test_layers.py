"""Imports go one way: from a module to what lies below it, and never back."""

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
    """Modules of ours that are imported while a module is loaded, not when one of its functions runs."""
    found: set[str] = set()
    nodes: list[ast.AST] = [ast.parse(source)]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            found |= {f"{base}.{alias.name}" for alias in node.names} & modules or {base} & modules
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names} & modules
        elif not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            nodes += ast.iter_child_nodes(node)
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
    source = "if True:\n    from ..solve import solve\ndef later():\n    from . import plot"
    modules = {"masksolve.solve", "masksolve.plot"}
    assert imports(source, "masksolve.layout", modules) == {"masksolve.solve"}


@pytest.mark.parametrize(
    "room", ["pattern", "tiling", "problem", "layout", "certificate", "backends", "pruning"]
)
def test_the_core_knows_nothing_of_its_users(room: str) -> None:
    assert not rooms()[room] & {"adapters", "cli", "checkpoints", "testing", "plot", "storage"}
