"""What the two compiled heuristics share."""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..layout import Block
from ..pattern import Pattern
from .base import Backend, Report


@dataclass(frozen=True)
class Heuristic(Backend):
    """A rule that visits the entries of a tile once, in the order of their scores.

    ``constraint="at_most"`` gives the rule's textbook mask, whatever the signs of the scores.
    Under ``"exact"`` the lines that it leaves short are completed: first directly, from the highest
    score down, where a row in need meets a column in need; then one entry at a time, by the
    alternating path (add an entry, drop one, add one ...) from a row in need to a column with room
    that changes the fewest entries, of these the one that gains most, of these the one to the
    lowest index; likewise for columns in need in tiles that an edge cuts. As many paths as missing
    entries always suffice. Equal scores are visited in row-major order (``cover`` completes in the
    reverse of its order), so the mask is the same on every machine.

    Parameters
    ----------
    bound : bool
        Whether to certify the mask through prices that suit it (NumPy, far slower than the rule
        itself); otherwise the bound is infinite.

    Raises
    ------
    TypeError
        If ``bound`` is not a bool.
    """

    exact: ClassVar[bool] = False
    runs: ClassVar[str] = "every pattern, exact or at_most; no keep= or drop="
    chunk_entries: ClassVar[int] = 1 << 20

    bound: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.bound, bool):
            raise TypeError(f"bound must be True or False, got {self.bound!r}")

    @abc.abstractmethod
    def fill(self, block: Block, first: int, last: int) -> tuple[float, int]:
        """Write masks; the kept sum, and the entries by which the rule itself fell short."""

    def refuses(self, pattern: Pattern, *, forced: bool) -> str | None:
        """Refuse forced entries, of which the rule knows nothing."""
        if forced:
            return "has no rule for forced entries (keep=, drop=); use backend='exact'"
        return None

    def solve(self, block: Block, first: int, last: int) -> Report:
        """Solve the tiles where they lie; ``unfilled`` counts what the rule left unfilled."""
        objective, unfilled = self.fill(block, first, last)
        counts = {"unfilled": unfilled}
        return Report(objective, np.inf, counts, uncertified=self.bound, open=last - first)
