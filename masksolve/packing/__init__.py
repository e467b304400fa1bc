"""Packed form of an N:M matrix: the kept values and where they stand, n of each m.

A group of ``m`` entries is held as ``n`` values and ``n`` positions, positions ascending. A
transposable matrix is held twice, along its rows and along its columns, because W x and
Wᵀ y each read the compressed form of their own contraction axis.

Groups that keep fewer than ``n`` (``constraint="at_most"``, or cut by the edge) are topped up
with unused positions whose value is 0, so that the format stays regular, as hardware wants it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, overload

import numpy as np
import numpy.typing as npt

from .. import checks
from ..amounts import COLUMNS, Budget
from ..arrays import boolean_array, check_shape
from ..certificate import verify
from ..errors import PatternViolationError
from ..frameworks import to_numpy
from ..large_tiles import LargeTiles
from ..pattern import Pattern
from ..tiling import Tiling, tiling_of
from ..types import BoolArray
from .columns import gather, scatter, used_columns
from .compressed import Compressed, compress, expand
from .tiles import put_back, stacked

AnyArray = npt.NDArray[Any]
Side = Literal["rows", "columns"]

__all__ = ["Compressed", "Packed", "PackedTiles", "pack", "unpack"]

_TILES_TOO = "\n(if some tiles are dense, say which: dense=found.dense, tile=found.tile)"

_NUMBERS = ("bool", "int", "uint", "float", "bfloat", "complex")


@dataclass(frozen=True, eq=False)
class Packed:
    """What `pack` returns.

    Attributes
    ----------
    rows : Compressed
        The matrix compressed along its last axis; for a one-directional pattern along
        ``pattern.axis``, which is moved to the end.
    columns : Compressed or None
        For transposable patterns, the transpose (last two axes swapped) compressed along its
        last axis; None for one-directional patterns.
    used : ndarray of uint8 or None
        V:N:M: the four columns of each tile, shape (..., tile rows, tile columns, 4); ``rows`` is then 2:4
        along them, the tiles' columns side by side.
    tails : tuple of ndarray
        What ``remainder="dense"`` keeps whole: the entries below the tiles, then those on the
        right of them; for one-directional patterns those behind the last whole group.
    pattern : Pattern
    shape : tuple of int
        Shape of the dense array.
    """

    rows: Compressed
    columns: Compressed | None
    tails: tuple[AnyArray, ...]
    pattern: Pattern
    shape: tuple[int, ...]
    used: npt.NDArray[np.uint8] | None = None

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of the values."""
        return self.rows.values.dtype

    @property
    def nbytes(self) -> int:
        """Bytes of everything held, positions counted at ``index_bits`` bits each."""
        return self._row_bytes + (0 if self.columns is None else self.columns.nbytes)

    @property
    def _row_bytes(self) -> int:
        """Bytes of one orientation; the used columns of V:N:M at ceil(log2 m) bits each."""
        bits = 0 if self.used is None else self.used.size * (self.pattern.m - 1).bit_length()
        return self.rows.nbytes + sum(tail.nbytes for tail in self.tails) - -bits // -8

    @property
    def compression(self) -> float:
        """Bytes of the dense array over the bytes of one orientation (1.0 for an empty array)."""
        dense = int(np.prod(self.shape, dtype=object)) * self.dtype.itemsize
        return dense / self._row_bytes if self._row_bytes else 1.0

    def __repr__(self) -> str:
        return (
            f"Packed('{self.pattern}', shape={self.shape}, dtype={self.dtype}, nbytes={self.nbytes}, "
            f"compression={self.compression:.3g})"
        )


@dataclass(frozen=True, eq=False)
class PackedTiles:
    """What `pack` returns of a matrix whose large tiles are dense or follow a pattern.

    Tiles of either kind are stacked in the row-major order of the grid, so that the k-th dense tile starts
    ``k * height * width`` values into ``values``, and the k-th sparse one is row k of the packed stack.
    Tiles that the edges cut short are filled up with zeros.

    Attributes
    ----------
    dense : ndarray of bool, shape (..., tile rows, tile columns)
        Which tiles are dense.
    values : ndarray, shape (dense tiles, height, width)
        All entries of the dense tiles, 0 where the mask drops them.
    sparse : Packed
        The sparse tiles, an array of shape (sparse tiles, height, width). Its pattern is ``pattern`` under
        ``at_most``, since the zeros that fill up tiles belong to groups that keep fewer than n.
    tile : (int, int)
        Height and width of a tile.
    pattern : Pattern
        What the sparse tiles follow.
    shape : tuple of int
        Shape of the dense array.
    """

    dense: BoolArray
    values: AnyArray
    sparse: Packed
    tile: tuple[int, int]
    pattern: Pattern
    shape: tuple[int, ...]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of the values."""
        return self.values.dtype

    @property
    def nbytes(self) -> int:
        """Bytes of everything held: positions at their own width, and a bit for each tile."""
        return self._around + self.sparse.nbytes

    @property
    def _around(self) -> int:
        return self.values.nbytes - -self.dense.size // 8

    @property
    def compression(self) -> float:
        """Bytes of the dense array over the bytes held, the sparse tiles in one orientation."""
        dense = int(np.prod(self.shape, dtype=object)) * self.dtype.itemsize
        held = self._around + self.sparse._row_bytes
        return dense / held if held else 1.0

    def __repr__(self) -> str:
        height, width = self.tile
        return (
            f"PackedTiles('{self.pattern}', {np.count_nonzero(self.dense)} of {self.dense.size} tiles of "
            f"{height} x {width} dense, shape={self.shape}, dtype={self.dtype}, nbytes={self.nbytes}, "
            f"compression={self.compression:.3g})"
        )


@overload
def pack(
    weights: npt.ArrayLike,
    mask: npt.ArrayLike,
    pattern: Pattern | str,
    *,
    dense: None = None,
    tile: None = None,
) -> Packed: ...


@overload
def pack(
    weights: npt.ArrayLike,
    mask: npt.ArrayLike,
    pattern: Pattern | str,
    *,
    dense: npt.ArrayLike,
    tile: int | tuple[int, int],
) -> PackedTiles: ...


def pack(
    weights: npt.ArrayLike,
    mask: npt.ArrayLike,
    pattern: Pattern | str,
    *,
    dense: npt.ArrayLike | None = None,
    tile: int | tuple[int, int] | None = None,
) -> Packed | PackedTiles:
    """Compress the entries of ``weights`` that ``mask`` keeps.

    The mask decides: entries outside it are left out whatever they are, entries inside it are
    held bit for bit, zeros, negative zeros and NaNs included.

    Parameters
    ----------
    weights : array of numbers, shape (..., R, C)
        Any integer, floating-point (bfloat16 and float8 included), complex or boolean dtype.
    mask : array of bool, same shape
        True = kept.
    pattern : Pattern or str
        What the mask follows. All constraints and remainder policies are supported.
    dense : array of bool, shape (..., tile rows, tile columns), optional
        Which large tiles are dense, as in `DenseTiles.dense`; all others must follow the pattern.
    tile : int or (int, int), optional
        Rows and columns of a large tile; goes with ``dense``.

    Returns
    -------
    Packed, or PackedTiles if ``dense`` is given

    Raises
    ------
    PatternViolationError
        If the mask, a dense one for instance, does not follow the pattern; the message names
        the first tiles, their rows or columns, and the counts.
    TypeError
        If ``weights`` does not hold numbers or ``mask`` is not boolean.
    ValueError
        If the shapes differ or the pattern cannot be laid on them.

    Examples
    --------
    >>> import numpy as np
    >>> packed = pack(np.array([[5, 6, 7, 8]]), np.array([[True, False, False, True]]), "2:4")
    >>> packed.rows.values, packed.rows.indices
    (array([[5, 8]]), array([[0, 3]], dtype=uint8))
    >>> unpack(packed)
    array([[5, 0, 0, 8]])
    """
    pattern = Pattern.parse(pattern)
    array = _number_array(weights)
    kept = boolean_array("mask", mask)
    if kept.shape != array.shape:
        raise ValueError(f"mask must have the shape of weights {array.shape}, got {kept.shape}")
    check_shape("weights", array.shape, pattern)
    verification = verify(kept, pattern, dense=dense, tile=tile)
    if not verification.ok:
        hint = "" if dense is not None or kept.ndim < 2 else _TILES_TOO
        raise PatternViolationError(f"mask must follow '{pattern}', got {verification}{hint}")
    if dense is None or tile is None:
        return _packed(array, kept, pattern)
    large = LargeTiles.of("weights", tiling_of(pattern, array.shape), tile)
    flags = boolean_array("dense", dense).copy()
    inside = _within_tiles(pattern, array.ndim)
    sparse = _packed(stacked(array, large, ~flags), stacked(kept, large, ~flags), inside)
    values = stacked(_zero_outside(array, kept), large, flags)
    return PackedTiles(flags, values, sparse, large.shape, pattern, array.shape)


def _packed(array: AnyArray, kept: BoolArray, pattern: Pattern) -> Packed:
    """Pack a matrix whose mask is known to follow the pattern."""
    tiling = tiling_of(pattern, array.shape)
    values, keeps = _oriented(array, tiling), _oriented(kept, tiling)
    body, *places = _parts(tiling)
    tails = tuple(_zero_outside(values[place], keeps[place]) for place in places)
    if pattern.vector is not None:
        used = used_columns(keeps[body], *pattern.tile_shape)
        inside, held = (gather(each[body], used, *pattern.tile_shape) for each in (values, keeps))
        rows = compress(inside, held, Budget(pattern.n, COLUMNS), False)
        return Packed(rows, None, tails, pattern, array.shape, used)
    rows = compress(values[body], keeps[body], Budget(pattern.n, pattern.m), pattern.pair)
    columns = None
    if pattern.transposable:
        across = values[body].swapaxes(-2, -1), keeps[body].swapaxes(-2, -1)
        columns = compress(*across, pattern.budgets[-2], pattern.pair)
    return Packed(rows, columns, tails, pattern, array.shape)


def _within_tiles(pattern: Pattern, axes: int) -> Pattern:
    """Give the pattern of the stacked sparse tiles, whose edges are filled up with zeros."""
    axis = pattern.axis % axes - axes
    return replace(pattern, constraint="at_most", remainder="error", axis=axis)


def unpack(packed: Packed | PackedTiles, *, side: Side = "rows") -> AnyArray:
    """Rebuild the dense array: the kept weights in their places, 0 elsewhere.

    Parameters
    ----------
    packed : Packed or PackedTiles
    side : {"rows", "columns"}
        The orientation to rebuild it from; both give the same array.

    Returns
    -------
    ndarray
        Shape and dtype of the weights; bit for bit ``np.where(mask, weights, 0)``.

    Raises
    ------
    TypeError
        If ``packed`` is neither a `Packed` nor a `PackedTiles`.
    ValueError
        If ``side`` is unknown, or ``"columns"`` for a one-directional pattern.
    """
    if isinstance(packed, PackedTiles):
        dense = np.zeros(packed.shape, packed.dtype)
        large = LargeTiles.of("packed", tiling_of(packed.pattern, packed.shape), packed.tile)
        put_back(dense, large, packed.dense, packed.values, unpack(packed.sparse, side=side))
        return dense
    if not isinstance(packed, Packed):
        raise TypeError(f"packed must be a Packed or a PackedTiles, got {type(packed).__name__}")
    checks.choice("side", side, ("rows", "columns"))
    if side == "columns" and packed.columns is None:
        raise ValueError(f"side='columns' needs a transposable pattern, got '{packed.pattern}'")
    dense = np.zeros(packed.shape, packed.dtype)
    tiling = tiling_of(packed.pattern, packed.shape)
    oriented = _oriented(dense, tiling)
    body, *places = _parts(tiling)
    if packed.columns is not None and side == "columns":
        expand(packed.columns, oriented[body].swapaxes(-2, -1))
    elif packed.used is not None:
        inside = np.zeros((*oriented[body].shape[:-1], packed.used.shape[-2] * COLUMNS), packed.dtype)
        expand(packed.rows, inside)
        scatter(inside, packed.used, *packed.pattern.tile_shape, oriented[body])
    else:
        expand(packed.rows, oriented[body])
    for place, tail in zip(places, packed.tails, strict=True):
        oriented[place] = tail
    return dense


def _number_array(weights: npt.ArrayLike) -> AnyArray:
    values = to_numpy("weights", weights)
    if isinstance(values, np.ma.MaskedArray) or not isinstance(values, (np.ndarray, list, tuple)):
        raise TypeError(f"weights must be a plain array or nested lists, got {type(weights).__name__}")
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise ValueError("weights must be rectangular, got nested lists of unequal length") from error
    if not array.dtype.name.startswith(_NUMBERS):
        raise TypeError(f"weights must hold numbers, got dtype {array.dtype}")
    return array


def _oriented(array: AnyArray, tiling: Tiling) -> AnyArray:
    """View with the grouped axis last."""
    grouped: AnyArray = tiling.grouped(np, array)
    return grouped if tiling.pattern.is_plane else grouped[..., 0, :]


def _parts(tiling: Tiling) -> list[tuple[Any, ...]]:
    """Where the compressed part of an oriented array lies, then each part that is kept whole."""
    if tiling.pattern.remainder != "dense":
        return [(...,)]
    whole = tiling.regions[0]
    bottom, right = whole.down.entries, whole.across.entries
    beside = slice(right.stop, None)
    if not tiling.pattern.is_plane:
        return [(..., right), (..., beside)]
    return [(..., bottom, right), (..., slice(bottom.stop, None), slice(None)), (..., bottom, beside)]


def _zero_outside(values: AnyArray, mask: BoolArray) -> AnyArray:
    values = values.copy()
    values[~mask] = 0
    return values
