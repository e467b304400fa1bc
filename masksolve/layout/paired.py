"""Pairs of entries on the host, added up a run of tiles at a time while they are solved.

Nothing but a run's sums and its mask is held in memory, in buffers that stay in the processor's caches,
and every thread adds up the pairs of its own run.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any

import numpy as np

from .. import pairs
from .._ext import arrays
from ..problem import MaskProblem, UnfitScoresError
from ..tiling import Cut
from ..types import BoolArray, Prices
from . import Ready
from .host import HostBlock, HostLayout

_AT_ONCE = 1 << 17
"""About how many pairs are added up at a time, a megabyte of sums; fewer make threads wait for others."""


@dataclass(eq=False)
class _Run(HostBlock):
    """A run of a block's tiles, with the sums of their pairs as scores."""

    first: int
    whole: HostBlock

    def number(self, tile: int) -> int:
        """Row-major number, in the whole array, of the run's ``tile``-th tile."""
        return self.whole.number(self.first + tile)


@dataclass(eq=False)
class PairedBlock(HostBlock):
    """Tiles of pairs; ``scores`` and ``mask`` are views of the first entries, in the caller's arrays.

    Attributes
    ----------
    problem : MaskProblem
    apart, mask_apart : tuple of int
        Bytes from a first entry to the other ones, in the scores (see `MaskProblem`) and in the mask.
    """

    problem: MaskProblem
    apart: tuple[int, ...]
    mask_apart: tuple[int, ...]

    def runs(self, step: int) -> list[tuple[int, int]]:
        """Cut the tiles into runs that are boxes in the grid, so that each is a view of every array."""
        if not self.tiles:
            return []
        step = max(1, min(step, _AT_ONCE // math.prod(self.tile_shape)))
        axis = next(axis for axis in range(len(self.grid)) if self._beyond(axis) <= step)
        beyond = self._beyond(axis)
        line = self.grid[axis] * beyond  # the tiles of one run lie in one of these
        starts = range(0, line, step // beyond * beyond)
        return [
            (whole + first, whole + last)
            for whole in range(0, self.tiles, line)
            for first, last in pairwise([*starts, line])
        ]

    @contextmanager
    def ready(self, first: int, last: int) -> Iterator[Ready]:
        """Add up the pairs of a run of `runs`; spread its mask over the entries in the end."""
        box = self._box(first, last)
        scores, firsts = self.scores[box], self.mask[box]
        sums = np.empty_like(scores, dtype=self.price_dtype)
        if not arrays.add_pairs(scores, self.apart, self.score, self.largest, sums):
            raise UnfitScoresError("an entry is not finite or too large, or float32 does not hold a sum")
        mask = np.empty_like(firsts)
        run = self._run(box, first, sums, mask)
        yield run, 0, last - first
        arrays.spread_pairs(mask, firsts, self.mask_apart)

    def _run(self, box: tuple[slice, ...], first: int, sums: Any, mask: BoolArray) -> _Run:
        values: dict[str, Any] = {each.name: getattr(self, each.name) for each in fields(HostBlock)}
        for name in ("keep", "drop", "tile_objective", "tile_bound"):
            values[name] = None if values[name] is None else values[name][box]
        for name in ("prices", "start"):
            if values[name] is not None:
                values[name] = Prices(*(part if part is None else part[box] for part in values[name]))
        largest = self.problem.largest_score
        values |= {"scores": sums, "mask": mask, "score": "value", "largest": largest}
        return _Run(**values, first=first, whole=self)

    def _box(self, first: int, last: int) -> tuple[slice, ...]:
        box = []
        for axis, place in enumerate(np.unravel_index(first, self.grid)):
            beyond = self._beyond(axis)
            if beyond > last - first:
                box.append(slice(place, place + 1))
            else:
                return (*box, slice(place, place + (last - first) // beyond))
        raise AssertionError("a run has a tile")

    def _beyond(self, axis: int) -> int:
        """Tiles at one place of an axis and all before it."""
        return math.prod(self.grid[axis + 1 :])


class PairedLayout(HostLayout):
    """A problem of pairs on the host; ``mask`` is that of the entries."""

    def __init__(self, problem: MaskProblem, *, mask: BoolArray | None = None, **options: Any) -> None:
        asked = problem.asked
        whole = np.empty(asked.scores.shape, np.bool_) if mask is None else mask
        for tail in asked.tiling.tails(asked.tiling.grouped(np, whole)):
            tail[...] = True
        self._mask_apart = pairs.apart(whole, asked.pattern)
        super().__init__(problem, mask=pairs.firsts(whole, asked.pattern), **options)
        self.mask = whole

    def _block(self, cut: Cut) -> HostBlock:
        block = super()._block(cut)
        own = {each.name: getattr(block, each.name) for each in fields(HostBlock)}
        return PairedBlock(
            **own, problem=self._problem, apart=self._problem.apart, mask_apart=self._mask_apart
        )
