"""V:N:M tiles packed: which four columns each tile uses, and its rows as 2:4 within them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..amounts import COLUMNS
from ..types import BoolArray

AnyArray = npt.NDArray[Any]


def used_columns(mask: BoolArray, height: int, width: int) -> npt.NDArray[np.uint8]:
    """Find the four columns of each tile, ascending; unused ones join from the left.

    Parameters
    ----------
    mask : ndarray of bool, shape (..., R, C)
        Follows the pattern. Tiles at the edges may be cut short.
    height, width : int
        Rows V and columns m of a tile.

    Returns
    -------
    ndarray of uint8, shape (..., tile rows, tile columns, 4)
        Positions within the tile, 0 to m - 1.
    """
    tops = np.arange(0, mask.shape[-2], height)
    used = np.logical_or.reduceat(mask, tops, axis=-2) if len(tops) else mask
    short = -used.shape[-1] % width
    used = np.concatenate([used, np.zeros((*used.shape[:-1], short), np.bool_)], axis=-1)
    used = used.reshape(*used.shape[:-1], -1, width)
    first = np.argsort(~used, axis=-1, kind="stable")[..., :COLUMNS]
    return np.sort(first, axis=-1).astype(np.uint8)


def gather(array: AnyArray, columns: npt.NDArray[np.uint8], height: int, width: int) -> AnyArray:
    """Take the used columns of every tile: (..., R, C) to (..., R, 4 tile columns)."""
    short = -array.shape[-1] % width
    wide = np.concatenate([array, np.zeros((*array.shape[:-1], short), array.dtype)], axis=-1)
    return np.take_along_axis(wide, _places(columns, height, width)[..., : array.shape[-2], :], axis=-1)


def scatter(
    gathered: AnyArray, columns: npt.NDArray[np.uint8], height: int, width: int, out: AnyArray
) -> None:
    """Undo `gather`: write the columns into ``out``, shape (..., R, C), and zeros elsewhere."""
    wide = np.zeros((*out.shape[:-1], columns.shape[-2] * width), out.dtype)
    places = _places(columns, height, width)[..., : out.shape[-2], :]
    np.put_along_axis(wide, places, gathered, axis=-1)
    out[...] = wide[..., : out.shape[-1]]


def _places(columns: npt.NDArray[np.uint8], height: int, width: int) -> npt.NDArray[np.intp]:
    """Columns of the array for every row: (..., rows, 4 tile columns)."""
    starts = width * np.arange(columns.shape[-2])[:, None]
    whole = (columns.astype(np.intp) + starts).reshape(*columns.shape[:-2], -1)
    return np.repeat(whole, height, axis=-2)
