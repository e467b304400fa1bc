"""Large tiles: rectangles of whole tiles of a pattern, such as those that a kernel loads at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from . import checks
from .tiling import Tiling
from .types import BoolArray

Shape = tuple[int, int]


@dataclass(frozen=True)
class LargeTiles:
    """The last two axes of an array cut into rectangles; the last ones may be cut short by the edges.

    Attributes
    ----------
    tiling : Tiling
    shape : (int, int)
        Rows and columns of a large tile; a multiple of m along the axes of the pattern.
    """

    tiling: Tiling
    shape: Shape

    @classmethod
    def of(cls, name: str, tiling: Tiling, tile: int | Shape) -> LargeTiles:
        """Lay large tiles on a tiling.

        Raises
        ------
        TypeError, ValueError
            If they are no rectangles of whole tiles, or the array or the pattern has no room for them.
        """
        shape = tile if isinstance(tile, (tuple, list)) else (tile, tile)
        if len(shape) != 2:
            raise ValueError(f"tile must be a number of rows and one of columns, got {tile!r}")
        height, width = (checks.integer("tile", extent, least=1) for extent in shape)
        pattern, axes = tiling.pattern, len(tiling.shape)
        if axes < 2:
            raise ValueError(f"{name} must have at least two axes to be cut into tiles, got {tiling.shape}")
        if pattern.remainder == "dense":
            raise ValueError(
                f"pattern must not have remainder='dense', whose edges belong to no tile; choose 'pad', got "
                f"'{pattern}'"
            )
        for axis, m in pattern.tile_lengths.items():
            place = axis % axes - axes
            if place < -2:
                raise ValueError(
                    f"pattern must run along the last two axes, got '{pattern}' on {tiling.shape}"
                )
            if (height, width)[place] % m:
                raise ValueError(f"tile must be a multiple of {m} along axis {place}, got {(height, width)}")
        return cls(tiling, (height, width))

    @property
    def grid(self) -> tuple[int, ...]:
        """Number of large tiles along every batch axis, down and across."""
        *lead, height, width = self.tiling.shape
        return (*lead, -(-height // self.shape[0]), -(-width // self.shape[1]))

    def sums(self, tiles: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Add up what belongs to the tiles of each large one; from the tiles' grid to `grid`."""
        sums: npt.NDArray[Any] = self.tiling.ungrouped(np, tiles)
        for axis, step in zip((-2, -1), self._steps, strict=True):
            sums = np.add.reduceat(sums, np.arange(0, sums.shape[axis], step), axis=axis)
        return sums

    def tiles(self, flags: BoolArray) -> BoolArray:
        """Spread flags of large tiles over their tiles; from `grid` to the tiles' grid."""
        flat = self.tiling.ungrouped(np, np.empty(self.tiling.grid, np.bool_)).shape
        spread: BoolArray = self.tiling.grouped(np, _spread(flags, self._steps, flat))
        return spread

    def entries(self, flags: BoolArray) -> BoolArray:
        """Spread flags of large tiles over their entries."""
        return _spread(flags, self.shape, self.tiling.shape)

    @property
    def _steps(self) -> Shape:
        """Tiles of a large one along the rows and along the columns."""
        axes = len(self.tiling.shape)
        lengths = {axis % axes - axes: m for axis, m in self.tiling.pattern.tile_lengths.items()}
        height, width = self.shape
        return height // lengths.get(-2, 1), width // lengths.get(-1, 1)


def _spread(flags: BoolArray, steps: Shape, shape: tuple[int, ...]) -> BoolArray:
    wide = np.repeat(np.repeat(flags, steps[0], axis=-2), steps[1], axis=-1)
    return wide[..., : shape[-2], : shape[-1]]
