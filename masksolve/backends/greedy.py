"""Keep-greedy: the rule of the code that the authors of Hubara et al. 2021 released."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .._ext.tiles import solve_greedy
from ..layout import Block
from .heuristic import Heuristic


@dataclass(frozen=True)
class Greedy(Heuristic):
    """From the highest score down, keep an entry if its row and its column both have room.

    Room is what a line may keep at most: n, or the length of a line that an edge cuts shorter. The
    rule fills up with negative scores too. For scores that are not negative its textbook mask keeps
    at least half of what is possible; it may leave up to n²/4 entries of a tile unfilled.
    """

    name: ClassVar[str] = "greedy"
    guarantee: ClassVar[str] = "at_most: at least half the optimal sum, for scores >= 0"

    def fill(self, block: Block, first: int, last: int) -> tuple[float, int]:
        """Run keep-greedy."""
        return solve_greedy(block, first, last)
