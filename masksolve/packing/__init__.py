"""Packed form of an N:M matrix: the kept values and where they stand, n of each m.

A group of ``m`` entries is held as ``n`` values and ``n`` positions, positions ascending. A
transposable matrix is held twice, along its rows and along its columns, because W x and
Wᵀ y each read the compressed form of their own contraction axis.

Groups that keep fewer than ``n`` (``constraint="at_most"``, or cut by the edge) are topped up
with unused positions whose value is 0, so that the format stays regular, as hardware wants it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ..amounts import COLUMNS, Budget
from ..arrays import boolean_array, check_shape
from ..certificate import verify
from ..errors import PatternViolationError
from ..frameworks import to_numpy
from ..pattern import Pattern
from ..tiling import Tiling, tiling_of
from ..types import BoolArray
from .columns import gather, scatter, used_columns

AnyArray = npt.NDArray[Any]
Side = Literal["rows", "columns"]

_NUMBERS = ("bool", "int", "uint", "float", "bfloat", "complex")


@dataclass(frozen=True, eq=False)
class Compressed:
    """A matrix compressed along its last axis.

    Attributes
    ----------
    values : ndarray, shape (..., groups * n)
        The kept entries, group after group, in the dtype of the weights.
    indices : ndarray of uint8, shape (..., groups * n)
        Position of each value in its group, 0 to m - 1, ascending within a group. For a group
        cut by the edge it may lie beyond the edge; the value is then 0.
    n, m : int
        Values held for each group, and length of a group.
    pair : bool
        Whether values come in pairs, entries 2 k and 2 k + 1 of a group, so that one position tells both.
    """

    values: AnyArray
    indices: npt.NDArray[np.uint8]
    n: int
    m: int
    pair: bool = False

    @property
    def index_bits(self) -> int:
        """Bits that a position, of an entry or of a pair, needs: ceil(log2 m), one less in pairs."""
        return (self.m // (1 + self.pair) - 1).bit_length()

    @property
    def nbytes(self) -> int:
        """Bytes of the values, plus the positions at ``index_bits`` bits each."""
        return self.values.nbytes + -(-self.indices.size // (1 + self.pair) * self.index_bits // 8)


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


def pack(weights: npt.ArrayLike, mask: npt.ArrayLike, pattern: Pattern | str) -> Packed:
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

    Returns
    -------
    Packed

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
    verification = verify(kept, pattern)
    if not verification.ok:
        raise PatternViolationError(f"mask must follow '{pattern}', got {verification}")

    tiling = tiling_of(pattern, array.shape)
    values, keeps = _oriented(array, tiling), _oriented(kept, tiling)
    body, *places = _parts(tiling)
    tails = tuple(_zero_outside(values[place], keeps[place]) for place in places)
    if pattern.vector is not None:
        used = used_columns(keeps[body], *pattern.tile_shape)
        inside, held = (gather(each[body], used, *pattern.tile_shape) for each in (values, keeps))
        rows = _compress(inside, held, Budget(pattern.n, COLUMNS), False)
        return Packed(rows, None, tails, pattern, array.shape, used)
    rows = _compress(values[body], keeps[body], Budget(pattern.n, pattern.m), pattern.pair)
    columns = None
    if pattern.transposable:
        across = values[body].swapaxes(-2, -1), keeps[body].swapaxes(-2, -1)
        columns = _compress(*across, pattern.budgets[-2], pattern.pair)
    return Packed(rows, columns, tails, pattern, array.shape)


def unpack(packed: Packed, *, side: Side = "rows") -> AnyArray:
    """Rebuild the dense array: the kept weights in their places, 0 elsewhere.

    Parameters
    ----------
    packed : Packed
    side : {"rows", "columns"}
        The orientation to rebuild it from; both give the same array.

    Returns
    -------
    ndarray
        Shape and dtype of the weights; bit for bit ``np.where(mask, weights, 0)``.

    Raises
    ------
    TypeError
        If ``packed`` is not a `Packed`.
    ValueError
        If ``side`` is unknown, or ``"columns"`` for a one-directional pattern.
    """
    if not isinstance(packed, Packed):
        raise TypeError(f"packed must be a Packed, got {type(packed).__name__}")
    if side not in ("rows", "columns"):
        raise ValueError(f"side must be 'rows' or 'columns', got {side!r}")
    if side == "columns" and packed.columns is None:
        raise ValueError(f"side='columns' needs a transposable pattern, got '{packed.pattern}'")
    dense = np.zeros(packed.shape, packed.dtype)
    tiling = tiling_of(packed.pattern, packed.shape)
    oriented = _oriented(dense, tiling)
    body, *places = _parts(tiling)
    if packed.columns is not None and side == "columns":
        _expand(packed.columns, oriented[body].swapaxes(-2, -1))
    elif packed.used is not None:
        inside = np.zeros((*oriented[body].shape[:-1], packed.used.shape[-2] * COLUMNS), packed.dtype)
        _expand(packed.rows, inside)
        scatter(inside, packed.used, *packed.pattern.tile_shape, oriented[body])
    else:
        _expand(packed.rows, oriented[body])
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


def _compress(values: AnyArray, mask: BoolArray, budget: Budget, pair: bool) -> Compressed:
    n, m = budget
    groups = -(-values.shape[-1] // m)
    values, mask = _whole_groups(values, groups, m), _whole_groups(mask, groups, m)
    if pair:
        pairs: BoolArray = np.logical_or(mask[..., ::2], mask[..., 1::2])
        slots = np.repeat(_top_up(pairs, n // 2), 2, axis=-1)
    else:
        slots = _top_up(mask, n)
    shape = (*values.shape[:-2], groups * n)
    indices = (np.flatnonzero(slots) % m).astype(np.uint8)
    kept = values[slots]
    if slots is not mask:
        kept[~mask[slots]] = 0
    return Compressed(kept.reshape(shape), indices.reshape(shape), n, m, pair)


def _expand(side: Compressed, out: AnyArray) -> None:
    """Write the dense form into ``out``, which has the same leading axes."""
    groups = side.values.shape[-1] // side.n
    shape = (*side.values.shape[:-1], groups, side.n)
    dense = np.zeros((*shape[:-1], side.m), side.values.dtype)
    np.put_along_axis(dense, side.indices.reshape(shape).astype(np.intp), side.values.reshape(shape), -1)
    out[...] = dense.reshape(*shape[:-2], groups * side.m)[..., : out.shape[-1]]


def _whole_groups(array: AnyArray, groups: int, m: int) -> AnyArray:
    """Shape (..., groups, m), filled up with zeros behind the last entry."""
    short = groups * m - array.shape[-1]
    if short:
        rest = np.zeros((*array.shape[:-1], short), array.dtype)
        array = np.concatenate([array, rest], axis=-1)
    return array.reshape(*array.shape[:-1], groups, m)


def _top_up(mask: BoolArray, n: int) -> BoolArray:
    """Exactly ``n`` per group: unused positions join, from the middle of the group upwards.

    For 2:4 these are the positions that CUTLASS's conversion picks.
    """
    short = mask.sum(axis=-1) < n
    if not short.any():
        return mask
    m = mask.shape[-1]
    groups = mask[short]
    turn = np.where(groups, 0, 1 + (np.arange(m) - m // 2) % m)
    chosen = np.argsort(turn, axis=-1, kind="stable")[:, :n]
    np.put_along_axis(groups, chosen, True, axis=-1)
    slots = mask.copy()
    slots[short] = groups
    return slots


def _zero_outside(values: AnyArray, mask: BoolArray) -> AnyArray:
    values = values.copy()
    values[~mask] = 0
    return values
