"""Algorithm 1 of Hubara et al. 2021: a 2-approximation of the lightest set to prune."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .._ext.tiles import solve_cover
from ..layout import Block
from .heuristic import Heuristic


@dataclass(frozen=True)
class Cover(Heuristic):
    """From the lowest score up, prune an entry if its row or its column has too few pruned.

    A line has enough pruned when it keeps no more than it may; the rule stops when all lines do.
    For scores that are not negative it prunes at most twice what is necessary, of which little
    follows for the sum that is kept.
    """

    name: ClassVar[str] = "cover"
    guarantee: ClassVar[str] = "at_most: prunes at most twice the least possible sum, for scores >= 0"

    def fill(self, block: Block, first: int, last: int) -> tuple[float, int]:
        """Run Algorithm 1."""
        return solve_cover(block, first, last)
