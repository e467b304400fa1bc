"""Large tiles of a matrix stacked one after the other, and put back into their places."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..large_tiles import LargeTiles
from ..types import BoolArray

AnyArray = npt.NDArray[Any]


def stacked(array: AnyArray, large: LargeTiles, flags: BoolArray) -> AnyArray:
    """Copy the large tiles that are flagged; those at the edges are filled up with zeros.

    Parameters
    ----------
    array : ndarray, shape (..., R, C)
    large : LargeTiles
        Laid on this shape.
    flags : ndarray of bool, shape ``large.grid``

    Returns
    -------
    ndarray, shape (tiles flagged, height, width)
        In the row-major order of the grid.
    """
    *lead, down, across = large.grid
    height, width = large.shape
    whole = np.zeros((*lead, down * height, across * width), array.dtype)
    whole[..., : array.shape[-2], : array.shape[-1]] = array
    return np.ascontiguousarray(_cut(whole, large)[flags])


def put_back(out: AnyArray, large: LargeTiles, flags: BoolArray, tiles: AnyArray, others: AnyArray) -> None:
    """Undo `stacked` for the tiles that are flagged and for all others, together."""
    *lead, down, across = large.grid
    height, width = large.shape
    whole = np.zeros((*lead, down * height, across * width), out.dtype)
    view = _cut(whole, large)
    view[flags] = tiles
    view[~flags] = others
    out[...] = whole[..., : out.shape[-2], : out.shape[-1]]


def _cut(whole: AnyArray, large: LargeTiles) -> AnyArray:
    """View with the axes (..., tile rows, tile columns, height, width)."""
    *lead, down, across = large.grid
    height, width = large.shape
    return whole.reshape(*lead, down, height, across, width).swapaxes(-3, -2)
