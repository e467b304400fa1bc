"""Type checkers and editors know every argument and option of `solve`."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

from masksolve.backends import _BUILT_IN, defaults, load
from masksolve.types import SCORES, BackendName, BackendOptions, Score

ROOT = Path(__file__).resolve().parents[2]
USE = """
import numpy as np
import masksolve as ms
from masksolve.types import BackendName

weights = np.ones((8, 8))
result = ms.solve(weights, "4:8-T", score="magnitude", workers=2)
ms.solve(weights, ms.Pattern("4:8-T"), backend="entropic", tau=40.0, iterations=100, swaps=False)
ms.solve(weights, (4, 8), backend="highs", method="milp")
ms.solve(weights, ms.Pattern(4, 8, transposable=True), backend="greedy", bound=True)
for info in ms.backends():
    ms.solve(weights, "4:8", backend=info.name)
share: float = result.retained(weights) + result.density + result.gap
result.save("mask.npz")
again: ms.MaskResult = ms.MaskResult.load("mask.npz")
name: BackendName = "cover"
ms.solve(weights, "4:8", bakend="greedy")  # wrong
ms.solve(weights, "4:8", backend="entropic", taw=40.0)  # wrong
ms.solve(weights, "4:8", backend="entropic", tau="large")  # wrong
ms.solve(weights, "4:8", backend="highs", method="simplex")  # wrong
ms.solve(weights, "4:8", score="absolute")  # wrong
ms.solve(weights, 4.8)  # wrong
ms.solve(weights, "4:8", workers="all")  # wrong
ms.Pattern("4:8", transposable=True)  # wrong
ms.Pattern(4, 8, constraint="atmost")  # wrong
nothing: str = ms.solve(weights, "4:8").objective  # wrong
other: BackendName = "covr"  # wrong
packed = ms.pack(weights, result.mask, "4:8-T")
bits: int = ms.hardware.metadata(packed.rows, "rank", align=64).field_bits
found = ms.allocate({"a": weights}, "4:8-T", sparsity=0.5, choices=(2, 4))
ms.unpack(packed, side="cols")  # wrong
ms.hardware.metadata(packed.rows, "bitmpa")  # wrong
ms.solve(weights, (2, 4, True))  # wrong
ms.solve(weights, "4:8", progress=True)  # wrong
ms.solve(weights, "4:8", time_limit="2 s")  # wrong
ms.Pattern(2, 4, remainder="padding")  # wrong
ms.verify(weights, "2:4").okay  # wrong
ms.reconstruction.least_squares(weights, weights > 0, weights, method="svd")  # wrong
"""

USE_IN_TORCH = """
import torch
from masksolve.adapters import torch as mt

model = torch.nn.Sequential(torch.nn.Linear(16, 16), torch.nn.Linear(16, 16))
sparsifier = mt.sparsify(model, {"0": "2:4", "*": "4:8-T"}, refresh_every=40)
sparsifier.step()
plain: torch.nn.Module = sparsifier.finalize()
mt.adaprune(model, torch.ones(4, 16), "4:8-T", method="admm", solver="pcg")
mt.sparsify(model, "4:8-T", refresh=40)  # wrong
mt.sparsify(model, 4)  # wrong
mt.adaprune(model, torch.ones(4, 16), "4:8-T", method="adm")  # wrong
mt.convert(model, "2:4", "4:8-T", solver="svd")  # wrong
mt.permute(model, torch.ones(1, 16), 24)  # wrong
"""


def test_options_are_those_of_the_backends() -> None:
    known = {option for name in _BUILT_IN for option in defaults(load(name))}
    assert set(get_type_hints(BackendOptions)) == known
    assert set(get_args(BackendName)) == {"auto", *_BUILT_IN}
    assert get_args(Score) == SCORES


def test_default_values_have_the_declared_types() -> None:
    hints = get_type_hints(BackendOptions)
    for name in _BUILT_IN:
        for option, value in defaults(load(name)).items():
            choices = get_args(hints[option])
            assert value in choices if choices else isinstance(value, hints[option])


def lines_with_errors(command: list[str | Path], program: Path) -> set[int]:
    ran = subprocess.run(
        [*map(str, command), str(program)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return {int(line) for line in re.findall(rf"{program.name}:(\d+):(?:\d+)?[ :-]+error", ran.stdout)}


@pytest.mark.parametrize("text", [USE, USE_IN_TORCH], ids=["core", "torch"])
@pytest.mark.parametrize("checker", ["mypy", "pyright"])
def test_checkers_tell_right_from_wrong(checker: str, text: str, tmp_path: Path) -> None:
    if "torch" in text:
        pytest.importorskip("torch")
    program = tmp_path / "use.py"
    program.write_text(text)
    if checker == "mypy":
        pytest.importorskip("mypy")
        command = [sys.executable, "-m", "mypy"]  # strict, and with the cache of a check of the package
    else:
        pytest.importorskip("pyright")
        command = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable]
    wrong = {number for number, line in enumerate(text.splitlines(), 1) if line.endswith("# wrong")}
    assert lines_with_errors(command, program) == wrong
