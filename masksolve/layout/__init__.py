"""Blocks of equal tiles as views of arrays: one protocol for arrays on the host and on a device.

A *block* is all the tiles of one region. A backend is handed a run of a block's tiles as a `Chunk`, or,
if it is compiled, the block itself; the answer is written back through the block.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from ..types import Bounds, Prices

_SMALL_PRICES = 4 << 20
"""Bytes of prices that are always kept."""

SMALL_SUMS = 1 << 20
"""Bytes of the tiles' objectives and bounds that are always kept: more of them would be felt in a solve."""


@dataclass(frozen=True, eq=False)
class Chunk:
    """Tiles for a backend that works on plain arrays: shape (tiles, r, c).

    Attributes
    ----------
    scores : array of float
        What every entry is worth. Contiguous float64 in NumPy; on a device float32 or float64.
    keep, drop : array of bool or None
        Forced choices.
    row_bounds, column_bounds : (int, int)
        Least and most kept entries of each row and of each column; columns (0, r) are free.
    numbers : sequence of int
        The tiles' numbers in the whole array, for error messages.
    start : Prices or None
        Prices of an earlier solve: (tiles, r) and (tiles, c).
    xp : namespace or None
        Of the Python array-API standard, for arrays of a framework; None: NumPy.
    compiler : callable or None
        Makes functions of such arrays quick, as ``jax.jit`` does.
    """

    scores: Any
    keep: Any | None
    drop: Any | None
    row_bounds: Bounds
    column_bounds: Bounds
    numbers: Sequence[int]
    start: Prices | None = None
    xp: Any = None
    compiler: Callable[..., Any] | None = None

    def copy(self) -> Chunk:
        """Copy the arrays, for a backend that may write into them."""
        xp = np if self.xp is None else self.xp
        scores, keep, drop = (
            x if x is None else xp.asarray(x, copy=True) for x in (self.scores, self.keep, self.drop)
        )
        return replace(self, scores=scores, keep=keep, drop=drop)

    def some(self, tiles: Any) -> Chunk:
        """Take some of a host chunk's tiles, by their places in it."""
        start = self.start
        return replace(
            self,
            scores=self.scores[tiles],
            keep=None if self.keep is None else self.keep[tiles],
            drop=None if self.drop is None else self.drop[tiles],
            numbers=[self.numbers[int(tile)] for tile in tiles],
            start=None if start is None else Prices(*(x if x is None else x[tiles] for x in start)),
        )


class TileNumbers(Sequence[int]):
    """Numbers of a run of tiles in the whole array, found when one of them is asked for."""

    def __init__(self, number: Callable[[int], int], first: int, last: int) -> None:
        self._number, self._range = number, range(first, last)

    def __len__(self) -> int:
        return len(self._range)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self._number(tile) for tile in self._range[index]]
        return self._number(self._range[index])


class Block(Protocol):
    """Equal tiles, their constraints, and where the answer goes."""

    @property
    def row_bounds(self) -> Bounds:
        """Least and most kept entries of each row."""
        ...

    @property
    def column_bounds(self) -> Bounds:
        """Least and most kept entries of each column."""
        ...

    @property
    def tile_shape(self) -> tuple[int, int]:
        """Rows and columns of a tile."""
        ...

    @property
    def tiles(self) -> int:
        """Number of tiles."""
        ...

    @property
    def forced(self) -> bool:
        """Whether there are forced choices."""
        ...

    def number(self, tile: int) -> int:
        """Row-major number, in the whole array, of the block's ``tile``-th tile."""
        ...

    def arithmetic(self) -> AbstractContextManager[object]:
        """Open a context in which float64 arrays can be made."""
        ...

    def runs(self, step: int) -> list[tuple[int, int]]:
        """Cut the block's tiles into runs ``(first, last)`` of up to ``step`` tiles."""
        ...

    def ready(self, first: int, last: int) -> AbstractContextManager[Ready]:
        """Open a run of `runs` for solving: a block whose scores can be read, and the run's tiles in it.

        What is written into that block stands in the mask when the context is left.
        """
        ...

    def chunk(self, first: int, last: int) -> Chunk:
        """Tiles ``first`` to ``last`` - 1, where the arrays are."""
        ...

    def on_host(self, first: int, last: int) -> Chunk:
        """Copy tiles ``first`` to ``last`` - 1 to the host, in float64."""
        ...

    def read(self, array: Any) -> Any:
        """Bring an array of the chunk's kind to the host, in NumPy."""
        ...

    def mask_of(self, first: int, last: int) -> Any:
        """Masks (tiles, r, c) as they were written."""
        ...

    def write(self, first: int, last: int, mask: Any, prices: Prices | None) -> Prices | None:
        """Write masks and prices of a run of tiles; return the prices as they are kept.

        Certify the returned prices, so that the bound is the one that the result's prices give.
        """
        ...

    def amend(self, tile: int, mask: Any, prices: Prices) -> None:
        """Replace the mask (r, c) and the prices of one tile by better ones from the host, in NumPy."""
        ...

    def record(self, first: int, last: int, objective: Any, bound: Any) -> None:
        """Note the objectives and bounds (tiles,) of a run of tiles, if they are asked for."""
        ...


Ready = tuple[Block, int, int]


def equal_runs(tiles: int, step: int) -> list[tuple[int, int]]:
    """Cut tiles into runs ``(first, last)`` of ``step``; the last one may be shorter."""
    if 0 < tiles <= step:
        return [(0, tiles)]
    return [(first, min(first + step, tiles)) for first in range(0, tiles, step)]


def keeps(asked: bool | None, size: int, share: bool, *, small: int = _SMALL_PRICES) -> bool:
    """Whether to keep something of ``size`` bytes: as asked; None: if it is small, or ``share`` says so."""
    return (size <= small or share) if asked is None else asked
