"""Positions of kept entries as a stream of bits, for any n:m.

A group of m entries, of which n are held, becomes a *field* of bits; the fields of a row stand one after
another, the first in the lowest bits, and each row is filled up with zeros to a whole number of ``align``
bits. Bit k of a row is bit k % 8 (0 = least significant) of its byte k // 8, so that on a little-endian
machine words of any width can be read off the stream. What a field holds is the encoding's choice:

``"positions"``
    n positions of b = ceil(log2 m) bits each, ascending, the first in the lowest bits: position i of group g
    is in bits (g * n + i) * b to (g * n + i + 1) * b - 1 of its row. For 2:4 these are the four bits that
    sparse tensor cores take, before CUTLASS reorders words.
``"bitmap"``
    m bits; bit j says whether entry j is held.
``"rank"``
    ceil(log2 C(m, n)) bits, the fewest that can tell all groups apart: the number of the group's positions
    c_1 < ... < c_n in the combinatorial number system, C(c_1, 1) + C(c_2, 2) + ... + C(c_n, n).

In pairs, a field tells which pairs are held, as if each were one entry: n / 2 of m / 2. For 4:8 in pairs
under ``"positions"`` that is two positions of two bits, the four bits that sparse tensor cores take for each
eight entries of a 4-bit type.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from .. import checks

Encoding = Literal["positions", "bitmap", "rank"]
_ENCODINGS: tuple[str, ...] = get_args(Encoding)


@dataclass(frozen=True, eq=False)
class Metadata:
    """Positions as bits.

    Attributes
    ----------
    data : ndarray of uint8, shape (..., bytes a row)
        The streams of the rows.
    encoding : {"positions", "bitmap", "rank"}
    n, m : int
        Positions held for each group, and length of a group.
    groups : int
        Groups in a row.
    pair : bool
        Whether positions are those of pairs.
    """

    data: npt.NDArray[np.uint8]
    encoding: Encoding
    n: int
    m: int
    groups: int
    pair: bool = False

    @property
    def field_bits(self) -> int:
        """Bits of a group."""
        unit = 1 + self.pair
        return _field_bits(self.encoding, self.n // unit, self.m // unit)


def metadata(side: Any, encoding: Encoding = "positions", *, align: int = 8) -> Metadata:
    """Write the positions of a compressed matrix as bits; the module `masksolve.packing.metadata` says how.

    Parameters
    ----------
    side : Compressed
        ``masksolve.pack(...).rows`` or ``.columns``.
    encoding : {"positions", "bitmap", "rank"}
        What the field of a group holds.
    align : int
        Rows begin at multiples of so many bits; a multiple of 8.

    Returns
    -------
    Metadata

    Raises
    ------
    TypeError, ValueError
        If an argument is not what it should be.

    Examples
    --------
    >>> import numpy as np, masksolve as ms
    >>> kept = np.array([[True, False, False, True, False, True, True, False]])  # 0, 3 and 1, 2 of four
    >>> side = ms.pack(np.ones((1, 8)), kept, "2:4").rows
    >>> [f"{byte:08b}" for byte in ms.hardware.metadata(side).data[0]]  # 2, 1, 3, 0 from the highest bits
    ['10011100']
    >>> [f"{byte:08b}" for byte in ms.hardware.metadata(side, "bitmap").data[0]]
    ['01101001']
    """
    for name in ("indices", "n", "m", "pair"):
        if not hasattr(side, name):
            raise TypeError(f"side must be the rows or columns of a Packed, got {type(side).__name__}")
    kind: Any = checks.choice("encoding", encoding, _ENCODINGS)
    if checks.integer("align", align, least=8) % 8:
        raise ValueError(f"align must be a multiple of 8, got {align}")
    unit = 1 + side.pair
    n, m = side.n // unit, side.m // unit
    groups = side.indices.shape[-1] // side.n
    held = (
        side.indices.reshape(*side.indices.shape[:-1], groups, side.n)[..., ::unit].astype(np.int64) // unit
    )
    width = _field_bits(kind, n, m)
    if kind == "positions":
        bits = _bits(held, width // n)
    elif kind == "bitmap":
        bits = np.zeros((*held.shape[:-1], m), np.bool_)
        np.put_along_axis(bits, held, True, axis=-1)
    else:
        bits = _bits(_binomials(m, n)[held, np.arange(1, n + 1)].sum(axis=-1, dtype=np.int64), width)
    rows = bits.reshape(*held.shape[:-2], groups * width)
    spare = -rows.shape[-1] % align
    rows = np.concatenate([rows, np.zeros((*rows.shape[:-1], spare), np.bool_)], axis=-1)
    data = np.packbits(rows, axis=-1, bitorder="little")
    return Metadata(data, kind, side.n, side.m, groups, side.pair)


def positions(stream: Metadata) -> npt.NDArray[np.uint8]:
    """Read positions off the bits: the ``indices`` of the compressed matrix again.

    Parameters
    ----------
    stream : Metadata

    Returns
    -------
    ndarray of uint8, shape (..., groups * n)

    Raises
    ------
    TypeError
        If ``stream`` is not a `Metadata`.
    ValueError
        If its bits are not those of groups with n positions below m.
    """
    if not isinstance(stream, Metadata):
        raise TypeError(f"stream must be a Metadata, got {type(stream).__name__}")
    unit = 1 + stream.pair
    n, m, width = stream.n // unit, stream.m // unit, stream.field_bits
    bits = np.unpackbits(stream.data, axis=-1, count=stream.groups * width, bitorder="little")
    lead = (*stream.data.shape[:-1], stream.groups)
    if stream.encoding == "bitmap":
        fields = bits.reshape(*lead, m)
        if (fields.sum(axis=-1) != n).any():
            raise ValueError(f"stream must mark {n} of {m} entries in every group")
        held = np.flatnonzero(fields) % m
    elif stream.encoding == "positions":
        held = _numbers(bits.reshape(*lead, n, width // n))
        if (held >= m).any() or (np.diff(held, axis=-1) <= 0).any():
            raise ValueError(f"stream must hold ascending positions below {m} in every group")
    else:
        rank = _numbers(bits.reshape(*lead, width))
        if (rank >= math.comb(m, n)).any():
            raise ValueError(f"stream must hold ranks below {math.comb(m, n)}")
        held = _unranked(rank, m, n)
    held = held.reshape(*stream.data.shape[:-1], stream.groups * n).astype(np.uint8)
    indices: npt.NDArray[np.uint8] = np.repeat(held * np.uint8(unit), unit, axis=-1)
    indices[..., 1::2] += np.uint8(unit - 1)
    return indices


def _field_bits(encoding: str, n: int, m: int) -> int:
    if encoding == "bitmap":
        return m
    return n * (m - 1).bit_length() if encoding == "positions" else (math.comb(m, n) - 1).bit_length()


def _bits(numbers: npt.NDArray[np.int64], width: int) -> npt.NDArray[np.bool_]:
    """Write each number in ``width`` bits, the lowest first."""
    return (numbers[..., np.newaxis] >> np.arange(width) & 1).astype(np.bool_)


def _numbers(bits: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """Undo `_bits`."""
    powers = np.left_shift(1, np.arange(bits.shape[-1]), dtype=np.int64)
    numbers: npt.NDArray[np.int64] = (bits * powers).sum(axis=-1, dtype=np.int64)
    return numbers


def _binomials(m: int, n: int) -> npt.NDArray[np.int64]:
    """C(position, i) for positions below m and i up to n; C(64, 32), the largest sum, fits 61 bits."""
    return np.array([[math.comb(position, i) for i in range(n + 1)] for position in range(m)], np.int64)


def _unranked(rank: npt.NDArray[np.int64], m: int, n: int) -> npt.NDArray[np.int64]:
    """Positions of each rank: from the last one down, the largest c with C(c, i) <= what is left."""
    table, rest = _binomials(m, n), rank.copy()
    held = np.empty((*rank.shape, n), np.int64)
    for i in range(n, 0, -1):
        held[..., i - 1] = np.searchsorted(table[:, i], rest, side="right") - 1
        rest -= table[held[..., i - 1], i]
    return held
