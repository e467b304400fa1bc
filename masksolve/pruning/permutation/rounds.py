"""Rounds of assignment problems: from an order to a better one, never to a worse one."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...errors import BackendUnavailableError
from ...pattern import Pattern
from ...solve import solve
from .exchange import table_of
from .members import Dimension, Int64Array, Matrices, OutOfTimeError

_NOISE = 1e-6
"""Gains below this share of the values they are differences of may be rounding of float32."""


@dataclass(eq=False)
class Climb:
    """A search on its way.

    Attributes
    ----------
    matrices : Matrices
    rng : Generator
    block : int
        Most units in one assignment problem; larger classes are cut into blocks at random, so that the
        cost of a round grows linearly with the number of units.
    kept : float
        Kept sum of the present order, of the scaled scores.
    history : list of float
        Kept sums from the start and after each round.
    """

    matrices: Matrices
    rng: np.random.Generator
    block: int
    kept: float = 0.0
    history: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.assign = assignment()
        self.kept = self.value()
        self.history.append(self.kept)

    def value(self) -> float:
        """Solve every matrix in its present order and add up what is kept."""
        workers, pattern = self.matrices.execution.workers, self.matrices.pattern
        total = 0.0
        for matrix in sorted({m.matrix for d in self.matrices.dimensions for m in d.members}):
            array = self.matrices.current(matrix)
            mask = solve(array, pattern, duals=False, workers=workers).mask
            total += float(np.where(mask, array, np.float32(0)).sum(dtype=np.float64))
        return total

    def descend(self, rounds: int, tolerance: float, told: Callable[[], None]) -> None:
        """Go round until two rounds together gain less than ``tolerance`` of the kept sum."""
        quiet = 0
        for _ in range(rounds):
            before, orders = self.kept, self.orders()
            for dimension in self.matrices.dimensions:
                self.sweep(dimension)
            self.kept = self.value()
            if self.kept < before:  # rounding: what looked like a gain was none
                self.restore(orders, before)
            self.history.append(self.kept)
            told()
            quiet = quiet + 1 if self.kept - before <= tolerance * abs(before) else 0
            if quiet == 2:
                return

    def perturb(self, groups: int) -> None:
        """Shuffle the units of a few groups among each other, to leave a local optimum."""
        for dimension in self.matrices.dimensions:
            classes = dimension.classes(self.matrices.pattern.m, self.rng)
            labels = [units[dimension.labels[units] == dimension.labels[units[0]]] for units in classes]
            order = dimension.order.copy()
            for units in labels:
                chosen = self.rng.permutation(units)[:groups]
                order[chosen] = order[self.rng.permutation(chosen)]
            dimension.place(order)
        self.kept = self.value()

    def orders(self) -> list[Int64Array]:
        """Remember the present orders."""
        return [dimension.order for dimension in self.matrices.dimensions]

    def restore(self, orders: list[Int64Array], kept: float) -> None:
        """Go back to remembered orders."""
        for dimension, order in zip(self.matrices.dimensions, orders, strict=True):
            dimension.place(order)
        self.kept = kept

    def sweep(self, dimension: Dimension) -> None:
        """Reassign every class of a dimension once."""
        pattern = self.matrices.pattern
        channels = functools.cache(self.matrices.channels)
        for units in dimension.classes(pattern.m, self.rng):
            for label in np.unique(dimension.labels[units]):
                alike = units[dimension.labels[units] == label]
                blocks = -(-len(alike) // self.block)
                for block in np.array_split(alike, blocks):
                    if len(block) < 2:
                        continue
                    self._reassign(dimension, block, self.matrices.values(dimension, block, channels))
                    if dimension.repeated:  # the other axis of the same matrix has moved along
                        channels = functools.cache(self.matrices.channels)

    def _reassign(self, dimension: Dimension, units: Int64Array, values: Any) -> None:
        staying = np.trace(values)
        # Constants of rows and columns change no assignment. SciPy's solver starts from prices of zero; on
        # centred values those are nearly right, which makes it ten times as fast.
        centred = values - values.mean(axis=0)
        centred -= centred.mean(axis=1, keepdims=True)
        rows, columns = self.assign(centred, maximize=True)
        gain = values[rows, columns].sum() - staying
        if not gain > _NOISE * np.sqrt(len(units)) * abs(staying) / len(units):
            return
        before = dimension.order
        order = before.copy()
        order[units] = before[units[columns]]
        dimension.place(order)
        if dimension.repeated:
            kept = self.value()
            if kept <= self.kept:
                dimension.place(before)
            else:
                self.kept = kept


def assignment() -> Callable[..., Any]:
    """SciPy's solver of linear assignment problems.

    Raises
    ------
    BackendUnavailableError
        If SciPy is not installed.
    """
    try:
        from scipy.optimize import linear_sum_assignment
    except ImportError as error:
        raise BackendUnavailableError.needing("masksolve.permutation.search", "SciPy", "highs") from error
    solver: Callable[..., Any] = linear_sum_assignment
    return solver


def block_for(pattern: Pattern) -> int:
    """Most units in one assignment problem: fewer where every tile must be solved on its own."""
    return 1024 if table_of(pattern) is not None else 64


__all__ = ["Climb", "OutOfTimeError", "assignment", "block_for"]
