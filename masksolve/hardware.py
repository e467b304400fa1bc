"""Sparse hardware: how it wants positions laid out, and what selecting operands costs.

The paper (Hubara et al. 2021, supplement A.5) says that N:M sparsity needs a multiplexer with
N + 1 inputs for each operand of the adder tree (5:1 for 4:8 where 2:4 takes 3:1), that the
simplest one is made of 2:1 multiplexers, and that its area is therefore logarithmic in N.

The *depth* of a tree of 2:1 multiplexers is logarithmic. Its *area* is not: a 2:1 multiplexer
removes one candidate, so selecting one of k takes k - 1 of them however they are arranged. With
k = N + 1 that is N, linear in N. Both are given here, under names that say which is which.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from . import checks
from .amounts import COLUMNS
from .packing import Compressed
from .packing.metadata import Metadata, metadata, positions
from .pattern import Pattern

__all__ = [
    "Metadata",
    "Multiplexer",
    "cost",
    "cutlass_metadata",
    "group_cells",
    "metadata",
    "multiplexer",
    "positions",
]


class Multiplexer(NamedTuple):
    """A k:1 multiplexer made of 2:1 multiplexers.

    Attributes
    ----------
    inputs : int
        k.
    cells : int
        2:1 multiplexers in the tree, k - 1: its area.
    depth : int
        2:1 multiplexers on the longest path, ceil(log2 k): its delay. Also what the paper calls
        the area.
    select_bits : int
        Bits that steer it, ceil(log2 k).
    """

    inputs: int
    cells: int
    depth: int
    select_bits: int


def multiplexer(inputs: int) -> Multiplexer:
    """Cost of selecting one of ``inputs`` values.

    Raises
    ------
    TypeError
        If ``inputs`` is not an integer.
    ValueError
        If ``inputs`` is less than 1.

    Examples
    --------
    >>> multiplexer(5)
    Multiplexer(inputs=5, cells=4, depth=3, select_bits=3)
    """
    inputs = checks.integer("inputs", inputs, least=1)
    depth = (inputs - 1).bit_length()
    return Multiplexer(inputs, inputs - 1, depth, depth)


def cost(pattern: Pattern | str) -> Multiplexer:
    """Cost of one multiplexer of the paper's model for ``pattern``: (N + 1):1.

    N counts the entries dropped, m - n, as in A.5: the n sorted kept entries of a group can each
    have slid over at most m - n dropped ones, so each comes from one of m - n + 1 places. The
    paper's patterns keep half, where this equals n + 1.

    Parameters
    ----------
    pattern : Pattern or str
        Transposable or not: the multiplexer is the same, a transposable mask only lets the
        same one serve W and its transpose. In pairs, entries slide two places at a time, so 4:8 in pairs
        costs what 2:4 does, and so does V:N:M, whose four columns are gathered beforehand.

    Returns
    -------
    Multiplexer

    Examples
    --------
    >>> cost("2:4").inputs, cost("4:8").inputs
    (3, 5)
    >>> cost("4:8").cells / cost("2:4").cells, cost("4:8").depth / cost("2:4").depth
    (2.0, 1.5)
    """
    pattern = Pattern.parse(pattern)
    if pattern.columns is not None:
        raise ValueError(
            f"pattern must have one n:m, since rows and columns of '{pattern}' feed multiplexers of "
            f"their own; ask for '{pattern.n}:{pattern.m}' and '{pattern.columns}'"
        )
    if pattern.vector is not None:  # its columns are gathered beforehand
        pattern = Pattern(pattern.n, COLUMNS)
    return multiplexer((pattern.m - pattern.n) // (2 if pattern.pair else 1) + 1)


def group_cells(pattern: Pattern | str) -> int:
    """2:1 multiplexers that feed the n multipliers of one group: n * (m - n), half as many in pairs.

    Examples
    --------
    >>> group_cells("2:4"), group_cells("4:8")
    (4, 16)
    """
    pattern = Pattern.parse(pattern)
    return pattern.n * cost(pattern).cells


def cutlass_metadata(side: Compressed) -> npt.NDArray[np.int16] | npt.NDArray[np.int32]:
    """Lay positions out in bits as sparse tensor cores read them, in CUTLASS's order.

    Each group becomes four bits, the lower position in the lower two; four groups (16-bit
    weights, 32-bit weights) or eight (8-bit weights) fill a word, lowest bits first; words are
    then reordered in memory as CUTLASS's column-major interleaved layout. 32-bit weights use
    1:2, each weight standing for two 16-bit halves.

    Parameters
    ----------
    side : Compressed
        Of a matrix (two axes), 2:4 with 8-bit or 16-bit weights, or 1:2 with 32-bit weights.

    Returns
    -------
    ndarray of int16 or int32 (8-bit weights), shape (R, C')
        What goes with ``side.values``: the pair that
        ``torch.sparse._semi_structured_conversions.sparse_semi_structured_from_dense_cutlass``
        gives for the same matrix.

    Raises
    ------
    ValueError
        If the pattern, the size of the weights or the shape does not fit the layout.
    """
    itemsize = side.values.dtype.itemsize
    if side.pair or (side.n, side.m, itemsize) not in ((2, 4, 1), (2, 4, 2), (1, 2, 4)):
        raise ValueError(
            f"side must be 2:4 with 8-bit or 16-bit weights or 1:2 with 32-bit weights, "
            f"got {side.n}:{side.m}{' in pairs' if side.pair else ''} with {8 * itemsize}-bit weights; "
            f"metadata() writes the positions of any n:m"
        )
    word, run = (np.dtype(np.int32), 16) if itemsize == 1 else (np.dtype(np.int16), 32)
    nibbles = 2 * word.itemsize
    indices = side.indices
    if indices.ndim != 2 or indices.shape[0] % run or indices.shape[1] % (2 * nibbles * side.n):
        raise ValueError(
            f"side must be a matrix with a multiple of {run} rows and of {2 * nibbles * side.m} dense "
            f"columns, got values of shape {indices.shape}"
        )
    height, width = len(indices), indices.shape[1] // (nibbles * side.n)
    if side.m == 2:
        indices = np.stack([2 * indices, 2 * indices + 1], axis=-1)
    shifts = np.arange(nibbles * 2, dtype=np.uint32) * 2
    pairs = indices.reshape(height, width, nibbles * 2).astype(np.uint32) << shifts
    words = np.bitwise_or.reduce(pairs, axis=-1).astype(word.str.replace("i", "u")).view(word)
    return _interleave(words, run)


def _interleave(words: npt.NDArray[Any], run: int) -> npt.NDArray[Any]:
    """Spread each run of rows with stride run / 8, transpose 2 by 2 blocks, store pairs of columns."""
    height, width = words.shape
    spread = words.reshape(height // run, run // 8, 8, width).swapaxes(1, 2)
    blocks = spread.reshape(height // 2, 2, width // 2, 2)
    return blocks.transpose(2, 0, 3, 1).reshape(height, width)
