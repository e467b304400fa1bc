"""Exact values of all exchanges of one channel of a tile.

Hold all channels of a tile but one. What the tile keeps then depends on the free channel x only through the
set S of entries that x keeps: it is the maximum over S of held(S) + x(S). A *table* has held(S) for every
tile and x(S) for every channel; the value of every channel in every tile is their (max, +) product, which
the compiled core computes. Patterns with too many sets have no table: their tiles are solved one by one.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ..._ext.columns import held_table, listed_table
from ...pattern import Pattern
from ...solve import solve

Float32Array = npt.NDArray[np.float32]

_LISTED = 4
"""Up to this m the masks of a tile are few enough to be listed: 90 for 2:4-T."""

_AUGMENTED = 8
"""Up to this m the sets of one channel are few enough for a table: 70 for 4:8-T."""

_BEAM = 32
"""Walks kept while a short one is sought: with these, it is the shortest for 4:8-T."""


class Table(Protocol):
    """How a pattern's tiles are valued."""

    def held(self, weights: Float32Array) -> Float32Array:
        """Value (tiles, groups, sets) of the held channels (tiles, groups, m - 1, entries)."""
        ...

    def freed(self, channels: Float32Array) -> Float32Array:
        """Value (tiles, sets, channels) of the free channels (tiles, channels, entries)."""
        ...

    @property
    def sets(self) -> int:
        """Number of sets that a free channel may keep."""
        ...

    @property
    def worthwhile(self) -> int:
        """From how many channels on a table is faster than solving their tiles one by one."""
        ...


@dataclass(frozen=True)
class Groups:
    """One-directional groups: the free entry is kept, or it is not and one more of the others is."""

    n: int
    m: int
    at_most: bool
    sets: int = 2
    worthwhile: int = 0

    def held(self, weights: Float32Array) -> Float32Array:
        """Sum of the n largest held entries, and of the n - 1 largest."""
        entries = -np.sort(-self._worth(weights[..., 0]), axis=-1)
        fewer = entries[..., : self.n - 1].sum(axis=-1)
        if self.n > self.m - 1:  # every entry is kept
            return np.stack([np.full_like(fewer, -np.inf), fewer], axis=-1)
        return np.stack([fewer + entries[..., self.n - 1], fewer], axis=-1)

    def freed(self, channels: Float32Array) -> Float32Array:
        """Nothing, and the entry."""
        entries = self._worth(channels[..., 0])
        return np.stack([np.zeros_like(entries), entries], axis=1)

    def _worth(self, entries: Float32Array) -> Float32Array:
        return np.maximum(entries, 0) if self.at_most else entries


@dataclass(frozen=True, eq=False)
class Transposable:
    """Transposable tiles, with a table that the compiled core fills.

    Attributes
    ----------
    kept : ndarray of uint8, shape (sets,)
        Which entries each set holds, as bits.
    fill : callable
        Writes the values (tiles, sets) of held channels (tiles, m - 1, entries) into its second argument.
    """

    kept: npt.NDArray[np.uint8]
    fill: Callable[[Float32Array, Float32Array], None]
    at_most: bool
    worthwhile: int

    @property
    def sets(self) -> int:
        """Number of sets that a free channel may keep."""
        return len(self.kept)

    def held(self, weights: Float32Array) -> Float32Array:
        """Value of the best mask of the held channels, for every set of the free one."""
        tiles, groups, held, entries = weights.shape
        values = np.empty((tiles * groups, self.sets), np.float32)
        self.fill(np.ascontiguousarray(self._worth(weights).reshape(-1, held, entries)), values)
        return values.reshape(tiles, groups, self.sets)

    def freed(self, channels: Float32Array) -> Float32Array:
        """Sum of the channel's entries in every set."""
        bits = (self.kept[:, None] >> np.arange(channels.shape[-1])) & 1
        sums: Float32Array = np.matmul(bits.astype(np.float32), self._worth(channels).transpose(0, 2, 1))
        return sums

    def _worth(self, entries: Float32Array) -> Float32Array:
        # Under "at most", an entry below zero is worth no more than an entry left out.
        return np.maximum(entries, 0) if self.at_most else entries


@functools.lru_cache(maxsize=64)
def table_of(pattern: Pattern) -> Table | None:
    """Give the table for a pattern's tiles; None if they have to be solved one by one."""
    at_most = pattern.constraint == "at_most"
    if not pattern.transposable:
        return Groups(pattern.n, pattern.m, at_most)
    if 2 <= pattern.m <= _LISTED:
        return _listed(pattern.n, pattern.m, at_most)
    if pattern.m <= _AUGMENTED and pattern.m > 1 and not at_most:
        return _augmented(pattern.n, pattern.m)
    return None


def _listed(n: int, m: int, at_most: bool) -> Transposable:
    """List all masks that could be the best one.

    Under "at most", where no entry is below zero, only those with no room left.
    """
    sizes = range(n + 1) if at_most else (n,)
    columns = [set_ for size in sizes for set_ in itertools.combinations(range(m), size)]
    bits = np.array([[row in set_ for row in range(m)] for set_ in columns], np.int32)
    masks = np.array(list(itertools.product(range(len(columns)), repeat=m)), np.int32)
    rows = bits[masks].sum(axis=1)
    if not at_most:
        masks = masks[(rows == n).all(axis=1)]
    else:
        masks, rows = (array[(rows <= n).all(axis=1)] for array in (masks, rows))
        sums = bits[masks].sum(axis=2)
        room = (rows[:, None, :] < n) & (sums[:, :, None] < n) & (bits[masks] == 0)
        masks = masks[~room.any(axis=(1, 2))]
    kept = (bits << np.arange(m)).sum(axis=1).astype(np.uint8)
    masks = np.ascontiguousarray(masks)

    def fill(held: Float32Array, values: Float32Array) -> None:
        listed_table(held, kept, masks, values)

    return Transposable(kept, fill, at_most, worthwhile=0)


def _augmented(n: int, m: int) -> Transposable:
    """Solve for a few sets on a walk, from which every other set is one exchange away.

    Longest paths give the values of these neighbours. 9 of the 70 sets suffice for 4:8-T.
    """
    kept = np.array([sum(1 << row for row in set_) for set_ in itertools.combinations(range(m), n)], np.uint8)
    near = np.bitwise_count(kept[:, None] ^ kept) <= 2
    walk = np.array(_dominating_walk(near), np.int32)
    nearest = near[walk].argmax(axis=0).astype(np.int32)
    # A set on the walk is its own step's: its value needs no path.
    nearest[walk] = np.arange(len(walk))

    def fill(held: Float32Array, values: Float32Array) -> None:
        held_table(held, n, kept, walk, nearest, values)

    return Transposable(kept, fill, at_most=False, worthwhile=16)


def _dominating_walk(near: npt.NDArray[np.bool_]) -> list[int]:
    """Find a short walk through a graph to whose vertices all others are near, by beam search.

    A step costs as much as a center on its own, so that steps between distant centers would be wasted.
    """
    beam = [([0], near[0])]
    while not (done := [walk for walk, seen in beam if seen.all()]):
        onward: dict[tuple[int, bytes], tuple[list[int], npt.NDArray[np.bool_]]] = {}
        for walk, seen in beam:
            for vertex in np.flatnonzero(near[walk[-1]]).tolist():
                wider = seen | near[vertex]
                onward.setdefault((vertex, wider.tobytes()), ([*walk, vertex], wider))
        beam = sorted(onward.values(), key=lambda each: (-int(each[1].sum()), each[0]))[:_BEAM]
    return done[0]


def solved(tiles: Float32Array, pattern: Pattern) -> Any:
    """Value of every tile by solving it.

    Parameters
    ----------
    tiles : ndarray, shape (..., entries, channels)
        The last two axes are one tile: rows of a transposable tile by its channels, or 1 by m.
    pattern : Pattern

    Returns
    -------
    ndarray of float64, shape (...)
    """
    simple = Pattern(pattern.n, pattern.m, transposable=pattern.transposable, constraint=pattern.constraint)
    sums = solve(tiles, simple, duals=False, tiles=True).tiles
    assert sums is not None  # they were asked for
    return sums.objective.reshape(tiles.shape[:-2])
