"""Errors that say what to use instead, each provoked by what a person would write."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import masksolve as ms

TILE = np.arange(64.0).reshape(8, 8)
ORDER = ms.permutation.search([(TILE, -1), (TILE.T.copy(), -2)], "2:4")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ms.pack(TILE, TILE > 3, "2:4"), r"mask must follow '2:4', got 16 violations"),
        (
            lambda: ms.unbiased.probabilities(TILE, "4:8 pair"),
            r"must not be one of pairs, got '4:8 pair'; use '2:4'$",
        ),
        (
            lambda: ms.reconstruction.sparsegpt(TILE, np.eye(8), "8:2:8"),
            r"pruned from left to right, got '8:2:8'; use masksolve\.reconstruction\.admm$",
        ),
        (
            lambda: ms.diversity.count("4:8-T pair", (8, 8), method="paper"),
            r"does not speak of pairs, got '4:8-T pair'; count '2:4-T'$",
        ),
        (lambda: ORDER.take(TILE), r"take must be used on one array; a list's matrices have an order each"),
        (
            lambda: ms.permutation.search([(TILE, -1)], "2:4", units=[[0], [1]]),
            r"units must be left out for a list of matrices: give \(matrix, axis, places\) instead",
        ),
        (
            lambda: ms.permutation.search([(TILE, -1), (np.ones((4, 8, 8)), -2)], "2:4 axis=1"),
            r"pattern must count its axis from the end for matrices of different numbers of axes",
        ),
        (
            lambda: ms.permutation.search(np.ones((4, 8, 8)), "2:4 axis=0"),
            r"pattern must group along one of the last two axes, got axis=0",
        ),
        (
            lambda: ms.solve(np.ones((8, 6)), "2:4"),
            r"which m=4 does not divide.*choose remainder='pad' or remainder='dense' in the pattern",
        ),
        (lambda: ms.Pattern(2, 4, transposable=True, columns=(5, 8)), r"; use constraint='at_most'$"),
        (lambda: ms.solve(TILE, "4:8", backend="columns"), r"V:N:M .*; use backend='exact'$"),
        (
            lambda: ms.solve(TILE, "4:8", backend="entropic"),
            r"transposable masks only.*; use backend='exact'$",
        ),
        (lambda: ms.solve(TILE, "8:2:8", backend="greedy"), r"; use backend='columns'$"),
        (
            lambda: ms.solve(TILE, "4:8-T", backend="greedy", keep=TILE > 62),
            r"no rule for forced entries .*; use backend='exact'$",
        ),
        (lambda: ms.solve(np.ma.array(TILE), "4:8"), r"got a masked array; call its filled\(\) first"),
        (
            lambda: ms.solve(TILE, "4:8", workers=-2),
            r"workers must be at least 1, or -1 for all processors; got -2",
        ),
    ],
)
def test_what_to_use_instead(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError if "masked array" not in message else TypeError, match=message):
        call()


def test_a_clone_whose_modules_were_not_built(tmp_path: Path) -> None:
    """Python finds the sources in the folder where it was started before what is installed."""
    sources = Path(ms.__file__).parent
    shutil.copytree(
        sources, tmp_path / "masksolve", ignore=shutil.ignore_patterns("*.so", "*.pyd", "__pycache__")
    )
    code = "import masksolve"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "ImportError: masksolve is imported from a source folder whose compiled modules were not built: run "
        "`pip install -e .` in it, or start Python in another folder"
    )
