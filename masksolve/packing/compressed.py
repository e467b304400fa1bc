"""A matrix compressed along its last axis: values and positions, n of each m."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..amounts import Budget
from ..types import BoolArray

AnyArray = npt.NDArray[Any]


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


def compress(values: AnyArray, mask: BoolArray, budget: Budget, pair: bool) -> Compressed:
    """Compress along the last axis the entries that a mask keeps, at most n of every m."""
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


def expand(side: Compressed, out: AnyArray) -> None:
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
