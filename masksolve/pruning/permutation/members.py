"""What moves together: the places that units of channels take along axes of matrices."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from ...execution import Execution, Task
from ...pattern import Pattern
from ...types import Float64Array
from .exchange import Float32Array, Table, solved, table_of

Int64Array = npt.NDArray[np.int64]

_CHUNK = 1 << 21
"""Entries of tables computed at a time, so that they stay in the processor's caches."""

_SOLVED = 1 << 22
"""Entries of tiles solved at a time."""


class OutOfTimeError(Exception):
    """The deadline passed in the middle of a round."""


@dataclass(eq=False)
class Member:
    """An axis of a matrix, and where the units lie on it.

    Attributes
    ----------
    matrix : int
        Number of the matrix.
    axis : {-2, -1}
    places : ndarray of int, shape (units, k)
        Unit u takes the places ``places[u]`` along the axis, in this order.
    grouped : bool
        Whether the pattern forms groups along the axis; otherwise its order plays no part.
    content : ndarray of int, shape (length,)
        Which channel stands at each place now.
    """

    matrix: int
    axis: int
    places: Int64Array
    grouped: bool
    content: Int64Array


@dataclass(eq=False)
class Dimension:
    """Units that may be reordered, the same order in all members.

    Attributes
    ----------
    members : list of Member
    labels : ndarray of int, shape (units,)
        Units change places only with units of the same label; those below zero stay where they are.
    order : ndarray of int, shape (units,)
        Which unit is where each unit was.
    """

    members: list[Member]
    labels: Int64Array
    order: Int64Array

    def place(self, order: Int64Array) -> None:
        """Move the units."""
        self.order = order
        for member in self.members:
            member.content[member.places] = member.places[order]

    @property
    def repeated(self) -> bool:
        """Whether a matrix is reordered along both of its axes at once: values then do not add up."""
        grouped = [member.matrix for member in self.members if member.grouped]
        return len(set(grouped)) < len(grouped)

    def classes(self, m: int, rng: np.random.Generator) -> list[Int64Array]:
        """Cut the units into classes, at random, of which no two units have a place in one group.

        Exchanges within a class do not touch each other's groups, so that their values add up.
        """
        grouped = [member for member in self.members if member.grouped]
        movable = np.flatnonzero(self.labels >= 0)
        if not grouped or not len(movable):
            return []
        offsets = np.cumsum([0, *(len(member.content) for member in grouped)])
        groups = np.concatenate(
            [member.places // m + offset for member, offset in zip(grouped, offsets, strict=False)], axis=1
        )
        taken: list[set[int]] = []
        classes: list[list[int]] = []
        for unit in rng.permutation(movable).tolist():
            touched = groups[unit].tolist()
            for busy, members in zip(taken, classes, strict=True):
                if busy.isdisjoint(touched):
                    busy.update(touched)
                    members.append(unit)
                    break
            else:
                taken.append(set(touched))
                classes.append([unit])
        return [np.array(members) for members in classes]


@dataclass(eq=False)
class Matrices:
    """The matrices, their members, and how to value orders.

    Attributes
    ----------
    arrays : list of ndarray of float32, shape (batch, R, C)
        Scores as they were given, scaled to at most 1.
    pattern : Pattern
        For matrices: its axis is -1 or -2.
    dimensions : list of Dimension
    execution : Execution
    """

    arrays: list[Float32Array]
    pattern: Pattern
    dimensions: list[Dimension]
    execution: Execution

    def current(self, matrix: int, *, without: int | None = None) -> Float32Array:
        """Take a matrix in its present order, of all axes or ``without`` one."""
        array = self.arrays[matrix]
        for dimension in self.dimensions:
            for member in dimension.members:
                if member.matrix == matrix and member.axis != without:
                    array = np.take(array, member.content, axis=member.axis)
        return array

    def channels(self, member: Member) -> Float32Array:
        """Cut the tiles' other axis: (tiles, channels, entries), channels in the order they were given."""
        array, m = self.current(member.matrix, without=member.axis), self.pattern.m
        first = array if member.axis == -2 else array.transpose(0, 2, 1)
        batch, length, other = first.shape
        entries = m if self.pattern.transposable else 1
        tiles = first[:, :, : other // entries * entries].reshape(batch, length, other // entries, entries)
        return np.ascontiguousarray(tiles.transpose(0, 2, 1, 3)).reshape(-1, length, entries)

    def values(
        self, dimension: Dimension, units: Int64Array, channels: Callable[[Member], Float32Array]
    ) -> Float64Array:
        """Value every unit in the place of every unit, up to what no exchange among them changes.

        Returns
        -------
        ndarray, shape (units, units)
            Entry [u, c]: what the tiles touched by the place of ``units[u]`` keep if what stands at
            ``units[c]`` moves there.
        """
        total = np.zeros((len(units), len(units)))
        tasks: list[tuple[int, Task[Float64Array]]] = []
        table = table_of(Pattern(self.pattern.n, self.pattern.m, transposable=self.pattern.transposable,
                                 constraint=self.pattern.constraint))  # fmt: skip
        for member in dimension.members:
            if not member.grouped:
                continue
            places, data = member.places[units], channels(member)
            sorted_groups = np.sort(places // self.pattern.m, axis=1)
            crowded = (
                np.diff(sorted_groups, axis=1) == 0
            ).any()  # an exchange brings a group several channels
            if table is not None and not crowded and len(units) >= table.worthwhile:
                for column in places.T:
                    tasks += _by_table(table, member, data, column, self.pattern.m)
            else:
                tasks += _by_solving(self.pattern, member, data, places)
        answers: list[Float64Array] = []
        self.execution.collect(tasks, answers)
        if len(answers) < len(tasks):
            raise OutOfTimeError
        for answer in answers:  # always in the same order, whoever computed them
            total += answer
        return total


def _by_table(
    table: Table, member: Member, data: Float32Array, slots: Int64Array, m: int
) -> list[tuple[int, Task[Float64Array]]]:
    groups, positions = np.divmod(slots, m)
    others = np.array([[p for p in range(m) if p != position] for position in range(m)], np.int64)
    held = member.content[groups[:, None] * m + others.reshape(m, m - 1)[positions]]
    free = member.content[slots]
    step = max(1, _CHUNK // (len(slots) * max(table.sets, m)))

    def task(first: int) -> Float64Array:
        chunk = data[first : first + step]
        sums = np.zeros((len(slots), len(slots)), np.float32)
        tile_values_of(table, np.take(chunk, held, axis=1), np.take(chunk, free, axis=1), sums)
        return sums.astype(np.float64)

    return [(1, partial(task, first)) for first in range(0, len(data), step)]


def tile_values_of(table: Table, held: Float32Array, free: Float32Array, sums: Float32Array) -> None:
    """Add the values of all exchanges in some tiles to ``sums``."""
    from ..._ext.columns import max_plus

    max_plus(
        np.ascontiguousarray(table.held(held), np.float32),
        np.ascontiguousarray(table.freed(free), np.float32),
        sums,
    )


def _by_solving(
    pattern: Pattern, member: Member, data: Float32Array, places: Int64Array
) -> list[tuple[int, Task[Float64Array]]]:
    m, count, tiles = pattern.m, len(places), len(data)
    step = max(1, _SOLVED // max(1, tiles * places.shape[1] * m * data.shape[2]))

    def task(unit: int) -> Float64Array:
        groups = np.unique(places[unit] // m)
        base = (groups[:, None] * m + np.arange(m)).ravel()
        here = np.searchsorted(base, places[unit])
        row = np.zeros((count, count))
        for first in range(0, count, step):
            moved = np.repeat(member.content[base][None], len(places[first : first + step]), axis=0)
            moved[:, here] = member.content[places[first : first + step]]
            gathered = data[:, moved.reshape(len(moved), len(groups), m)]
            row[unit, first : first + step] = solved(gathered.swapaxes(-1, -2), pattern).sum(axis=(0, 2))
        return row

    return [(1, partial(task, unit)) for unit in range(count)]
