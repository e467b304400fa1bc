"""Options and choices of functions beside `masksolve.solve`: the error names what was meant."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import masksolve as ms
from masksolve.backends import names
from masksolve.checks import keywords_of, known_options

TILE = np.arange(64.0).reshape(8, 8)


def allocate(**options: Any) -> ms.Allocation:
    return ms.allocate([TILE, TILE], "4:8", **options)


def dense_tiles(**options: Any) -> ms.DenseTiles:
    return ms.dense_tiles([TILE, TILE], "4:8", **options)


@pytest.mark.parametrize(
    ("call", "options", "meant"),
    [
        (allocate, {"sparsty": 0.5}, "sparsity"),
        (allocate, {"density": 0.5}, "sparsity"),
        (allocate, {"choice": (2, 4)}, "choices"),
        (allocate, {"threads": 2}, "workers"),
        (allocate, {"backend": "greedy", "bounds": True}, "bound"),
        (dense_tiles, {"shares": 0.5}, "share"),
        (dense_tiles, {"tiles": 8, "share": 0.5}, "tile"),
        (dense_tiles, {"share": 0.5, "backend": "entropic", "itertions": 3}, "iterations"),
    ],
)
def test_of_budgets(call: Callable[..., object], options: dict[str, Any], meant: str) -> None:
    with pytest.raises(TypeError, match=rf"^{call.__name__} with backend .* has no option ") as caught:
        call(**options)
    assert str(caught.value).endswith(f"; did you mean '{meant}'?")


def test_options_of_backends_pass() -> None:
    assert allocate(backend="greedy", bound=True).bound < np.inf
    with pytest.raises(ValueError, match=r"got 'gredy'; did you mean 'greedy'\?"):
        allocate(backend="gredy", bound=True)
    with pytest.raises(TypeError, match=r"'exact' has no option 'tau'; .* it is an option of 'entropic'$"):
        allocate(tau=3.0)  # "auto" decides by the array who it is


def test_the_helpers() -> None:
    known_options("f", {"one": 1}, ["one", "two"])
    with pytest.raises(TypeError, match=r"^f has no option 'tow'; its options are \['one', 'two'\]$"):
        known_options("f", {"one": 1, "tow": 2}, ["two", "one"], lambda name: "")
    assert {"sparsity", "workers"} <= set(keywords_of(ms.allocate))
    assert not {"scores", "pattern", "options"} & set(keywords_of(ms.allocate))


PACKED = ms.pack(TILE, ms.solve(TILE, "2:4").mask, "2:4")


@pytest.mark.parametrize(
    ("call", "meant"),
    [
        (lambda: ms.show_config("dict"), "dicts"),
        (lambda: ms.unpack(PACKED, side="row"), "rows"),
        (lambda: ms.solve(TILE, "4:8", backend="highs", method="mip"), "milp"),
        (lambda: ms.solve(TILE, "4:8", backend="ortools", method="cpsat"), "cp_sat"),
        (lambda: ms.solve(TILE, "4:8", instruction_set="base-line"), "baseline"),
        (lambda: ms.diversity.count("2:4-T", (8, 8), method="exakt"), "exact"),
        (lambda: ms.reconstruction.least_squares(TILE, TILE > 3, np.eye(8), method="cholesk"), "cholesky"),
        (lambda: ms.Pattern(2, 4, remainder="padd"), "pad"),
        (lambda: ms.hardware.metadata(PACKED.rows, "position"), "positions"),
        *((lambda name=name: ms.solve(TILE, "4:8", backend=name[:-1] + "_"), name) for name in names()[:11]),
    ],
)
def test_choices(call: Callable[[], object], meant: str) -> None:
    with pytest.raises(ValueError, match=rf"; did you mean '{meant}'\?$"):
        call()
