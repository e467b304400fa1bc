"""English sentences that every Python installation has: the first ones of docstrings."""

from __future__ import annotations

import ast
import importlib.util
import re
import sysconfig
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

PACKAGES = ("numpy", "networkx")
"""What the benchmark needs anyway; read beside the standard library."""

_SHORTEST, _LONGEST = 5, 30
"""Words; shorter ones are hardly sentences, longer ones seldom prose."""

_SKIPPED = re.compile(
    r"(^|[/.])(site-packages|dist-packages|tests?|lib2to3|_?testing|vendor|_vendor)([/.]|$)"
)
_PROSE = re.compile(r"[A-Z][\w\s,;:'\"()/.-]*")


class Text(NamedTuple):
    """A sentence and the module that it is from: ``asyncio``, or ``numpy.linalg``."""

    module: str
    sentence: str


def sources() -> Iterator[tuple[str, Path]]:
    """Every source file of the standard library and of `PACKAGES`, with its module, in order of names."""
    roots = {"": Path(sysconfig.get_path("stdlib"))}
    for name in PACKAGES:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.submodule_search_locations:
            roots[name] = Path(next(iter(spec.submodule_search_locations)))
    for name, root in roots.items():
        for file in sorted(root.rglob("*.py")):
            inside = file.relative_to(root).with_suffix("")
            if not _SKIPPED.search(inside.as_posix()):
                parts = [part for part in (name, inside.parts[0]) if part]
                yield ".".join(parts), file


def first_sentences() -> list[Text]:
    """The first sentence of every docstring, each once, in order of modules."""
    found: dict[str, Text] = {}
    for module, file in sources():
        for docstring in _docstrings(file):
            sentence = _first_sentence(docstring)
            if sentence and sentence.lower() not in found:
                found[sentence.lower()] = Text(module, sentence)
    return list(found.values())


def split(texts: list[Text], calibration: int, test: int) -> tuple[list[str], list[str]]:
    """Choose sentences to calibrate with, and others to test with, from other modules.

    Modules go to either side, and sentences are put in order, by checksums: spread over all, and the
    same for the same texts.

    Raises
    ------
    ValueError
        If there are too few sentences.
    """
    ordered = sorted(texts, key=lambda text: zlib.crc32(text.sentence.encode()))
    sides: tuple[list[str], list[str]] = ([], [])
    for text in ordered:
        sides[zlib.crc32(text.module.encode()) % 2].append(text.sentence)
    for name, wanted, side in zip(("calibration", "test"), (calibration, test), sides, strict=True):
        if len(side) < wanted:
            raise ValueError(f"{name} must be at most the {len(side)} sentences that are there, got {wanted}")
    return sides[0][:calibration], sides[1][:test]


def _docstrings(file: Path) -> Iterator[str]:
    try:
        tree = ast.parse(file.read_bytes())
    except SyntaxError:  # a template, or source that is wrong on purpose
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield ast.get_docstring(node) or ""


def _first_sentence(docstring: str) -> str:
    """A plain English sentence in one line, or nothing."""
    paragraph = " ".join(docstring.strip().partition("\n\n")[0].split())
    sentence = re.split(r"(?<=[.!?]) (?=[A-Z])", paragraph)[0]
    words = sentence.split()
    fits = _SHORTEST <= len(words) <= _LONGEST and sentence.endswith(".") and _PROSE.fullmatch(sentence)
    return sentence if fits else ""
