"""Prices pass as raw memory, so their type is checked first."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from engine_tiles import RUNNING, solve

from masksolve._ext import tiles as engine
from masksolve.types import Prices


@pytest.mark.parametrize("dtype", [np.float16, np.int64, np.complex64])
def test_starting_prices_of_another_type_are_refused(dtype: type[np.generic]) -> None:
    _, block = solve(np.ones((16, 16), np.float32), "4:8-T")
    start = Prices(np.zeros((*block.grid, 8), dtype), np.zeros((*block.grid, 8), dtype))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=f"start must hold float32 here, got {np.dtype(dtype)}"):
        engine.solve_tiles(replace(block, start=start), 0, block.tiles, RUNNING[0])


def test_starting_prices_of_two_types_are_refused() -> None:
    _, block = solve(np.ones((16, 16), np.float32), "4:8-T")
    start = Prices(np.zeros((*block.grid, 8)), np.zeros((*block.grid, 8), np.float32))
    with pytest.raises(TypeError, match="start must hold float64 here, got float32"):
        engine.solve_tiles(replace(block, start=start), 0, block.tiles, RUNNING[0])


def test_prices_have_the_type_of_the_arithmetic() -> None:
    _, block = solve(np.ones((16, 16), np.float32), "4:8-T")
    prices = Prices(np.zeros((*block.grid, 8)), np.zeros((*block.grid, 8)))
    with pytest.raises(TypeError, match="prices must hold float32 here, got float64"):
        engine.solve_tiles(replace(block, prices=prices), 0, block.tiles, RUNNING[0])
    engine.solve_tiles(replace(block, prices=prices, largest=2.0**100), 0, block.tiles, RUNNING[0])
