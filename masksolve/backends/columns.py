"""V:N:M: the four columns that all rows of a tile use, and two entries of them in each row."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from .. import checks
from .._ext.columns import choose_columns
from ..certificate.columns import uses_few_columns
from ..errors import BackendFailedError
from ..layout import Block
from ..pattern import Pattern
from ..rounding import upper_sum
from .base import Backend, Report
from .feasibility import no_columns

_TOLERANCE = 1e-12
"""A tile is proven if its bound is no more than this above what it keeps, relative to the magnitudes kept."""


@dataclass(frozen=True)
class Columns(Backend):
    """Sets of four columns by decreasing bounds, which follow from the values of all sets of three.

    What a set of columns is worth, the sum over the rows of its two largest entries, is submodular, so that
    the values of two triples bound that of four columns (docs/theory.md). All is computed in float64.

    Parameters
    ----------
    most : int
        Sets of four that may be evaluated in a tile of more than 16 columns, before the best one found and a
        bound are given instead of the optimum. Narrower tiles are always solved to the end.

    References
    ----------
    Castro, Ivanov, Andrade, Ben-Nun, Fraguela, Hoefler. VENOM: A Vectorized N:M Format for Unleashing the
    Power of Sparse Tensor Cores. SC 2023, arXiv:2310.02065, where saliencies choose the columns.
    """

    most: int = 20_000

    name: ClassVar[str] = "columns"
    exact: ClassVar[bool] = True
    guarantee: ClassVar[str] = "optimal for m <= 16, and beyond unless `most` ends it; always with a bound"
    runs: ClassVar[str] = "V:N:M, exact or at_most, keep= and drop="
    chunk_entries: ClassVar[int] = 1 << 18
    chooses_columns: ClassVar[bool] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "most", checks.integer("most", self.most, least=0))

    def refuses(self, pattern: Pattern, *, forced: bool) -> str | None:
        """Refuse everything but V:N:M."""
        if pattern.vector is None:
            return f"solves patterns V:N:M such as '64:2:8' only, got '{pattern}'; use backend='exact'"
        return None

    def solve(self, block: Block, first: int, last: int) -> Report:
        """Solve the tiles; the kernel's masks are counted here."""
        chunk = block.on_host(first, last)
        scores = np.ascontiguousarray(chunk.scores)
        keep, drop = (x if x is None else np.ascontiguousarray(x) for x in (chunk.keep, chunk.drop))
        exact = block.row_bounds[0] > 0
        mask, objective, bound, possible, evaluated = choose_columns(scores, exact, self.most, keep, drop)
        if not possible.all():
            raise no_columns(self.name, chunk.some(np.flatnonzero(~possible)[:1]))
        counts = mask.sum(axis=2)
        wrong = (counts < block.row_bounds[0]) | (counts > block.row_bounds[1])
        missed = (keep is not None and (keep > mask).any()) or (drop is not None and (drop & mask).any())
        if wrong.any() or missed or not uses_few_columns(mask).all():
            raise BackendFailedError(
                f"backend '{self.name}' wrote a mask that breaks the pattern; please report it"
            )
        block.write(first, last, mask, None)
        block.record(first, last, objective, bound)
        kept = np.where(mask, np.abs(scores), 0.0).sum(axis=(1, 2))
        gap = (bound - objective) / np.where(kept > 0, kept, 1.0)
        open_ = gap > _TOLERANCE
        worst = int(np.argmax(np.where(open_, gap, -1.0))) if open_.any() else 0
        return Report(
            math.fsum(objective.tolist()),
            upper_sum(bound.tolist()),
            {"evaluated": evaluated},
            open=int(open_.sum()),
            worst_tile=block.number(first + worst) if open_.any() else -1,
            worst_gap=float(gap[worst]) if open_.any() else 0.0,
        )
