"""Which tiles of a matrix stay dense, as a recipe and a report write it down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..budgets.dense_tiles import grid_text
from ..errors import CheckpointError
from ..large_tiles import LargeTiles
from ..pattern import Pattern
from ..tiling import tiling_of
from ..types import BoolArray

Shape = tuple[int, int]


@dataclass(frozen=True)
class DenseGrid:
    """Tiles of a matrix, each of which is dense or not.

    Attributes
    ----------
    text : str
        A bit for each tile, row by row, the first one the highest of the first byte; 1 = dense. Each byte
        as two hexadecimal digits.
    tile : (int, int)
        Rows and columns of a tile; those at the edges may be cut short.

    Examples
    --------
    >>> DenseGrid.of(np.array([[True, False, False], [False, True, False]]), (128, 128))
    DenseGrid(text='88', tile=(128, 128))
    """

    text: str
    tile: Shape

    @classmethod
    def of(cls, grid: BoolArray, tile: Shape) -> DenseGrid:
        """Write down a grid of tiles."""
        return cls(grid_text(grid), tile)

    @classmethod
    def read(cls, said: Mapping[str, Any]) -> DenseGrid | None:
        """Read what `as_json` gave, from among other things; None if it is not there.

        Raises
        ------
        ValueError
            If it is something else.
        """
        if "dense" not in said and "tile" not in said:
            return None
        text, tile = said.get("dense"), said.get("tile")
        sizes = tile if isinstance(tile, (list, tuple)) else ()
        if len(sizes) != 2 or not all(type(extent) is int and extent > 0 for extent in sizes):
            raise ValueError(f"tile must be two positive integers, got {tile!r}")
        if not isinstance(text, str) or set(text) - set("0123456789abcdef"):
            raise ValueError(f"dense must be hexadecimal digits, a bit for each tile, got {text!r}")
        return cls(text, (sizes[0], sizes[1]))

    def as_json(self) -> dict[str, Any]:
        """Give it in plain types."""
        return {"dense": self.text, "tile": list(self.tile)}

    def misfit(self, pattern: Pattern, shape: tuple[int, ...]) -> str | None:
        """Why the tiles cannot be laid on a matrix of this shape that follows a pattern; None if they can."""
        if len(shape) != 2:
            return f"has {len(shape)} axes, and dense tiles are those of a matrix"
        try:
            LargeTiles.of("it", tiling_of(pattern, shape), self.tile)
        except ValueError as error:
            return str(error)
        down, across = self._extent(shape)
        if len(self.text) != 2 * -(-down * across // 8):
            return f"has {down} x {across} tiles, for which dense has {len(self.text)} hexadecimal digits"
        return None

    def grid(self, shape: tuple[int, ...]) -> BoolArray:
        """Give the tiles of a matrix, shape (tile rows, tile columns)."""
        down, across = self._extent(shape)
        bits = np.unpackbits(np.frombuffer(bytes.fromhex(self.text), np.uint8), count=down * across)
        return bits.reshape(down, across).astype(np.bool_)

    def part(self, shape: tuple[int, ...], axis: int, first: int, count: int) -> DenseGrid:
        """Take the tiles of ``count`` rows or columns from a first one on, which is the first of a tile."""
        extent = self.tile[axis]
        tiles = slice(first // extent, -(-(first + count) // extent))
        grid = self.grid(shape)
        return DenseGrid.of(grid[tiles] if axis == 0 else grid[:, tiles], self.tile)

    def entries(self, shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
        """Tell of every entry of a matrix whether its tile is dense."""
        grid = self.grid(shape)
        wide = np.repeat(np.repeat(grid, self.tile[0], axis=0), self.tile[1], axis=1)
        return wide[: shape[0], : shape[1]]

    def _extent(self, shape: tuple[int, ...]) -> Shape:
        return -(-shape[0] // self.tile[0]), -(-shape[1] // self.tile[1])


def grid_of(where: str, said: Mapping[str, Any]) -> DenseGrid | None:
    """Read the dense tiles of a line of a recipe.

    Raises
    ------
    CheckpointError
        If it is not as it should be.
    """
    try:
        return DenseGrid.read(said)
    except ValueError as error:
        raise CheckpointError(f"{where}: {error}") from error
