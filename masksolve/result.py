"""What a solve returns."""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from .pattern import Pattern
from .types import Prices


class Status(enum.Enum):
    """How a solve ended. Each member's ``value`` says what it means and what to do about it."""

    OPTIMAL = "optimal: in every tile, the dual prices prove that no mask keeps more"
    FEASIBLE = (
        "feasible: the mask follows the pattern, but some tile's optimality is not proven (stats: open, "
        "worst_tile); use backend='exact' for a certified optimum"
    )
    TIME_LIMIT = (
        "time limit: tiles that were not reached hold a fixed pattern and are not optimised; "
        "raise time_limit= or workers="
    )

    def __str__(self) -> str:
        return self.value


class TileSums(NamedTuple):
    """What every tile keeps, and what it could keep at most.

    Attributes
    ----------
    objective, bound : array of float64, shape of the grid of tiles
        ``(*batch, tile rows, tile columns)``; for one-directional patterns the other axes, 1, and the
        groups. Tails that ``remainder="dense"`` keeps whole are in no tile.
    """

    objective: Any
    bound: Any


@dataclass(frozen=True, eq=False)
class MaskResult:
    """A mask, what it keeps, and the proof of how good it is.

    Attributes
    ----------
    mask : array of bool
        Shape, array type and device of the scores; True = kept.
    objective : float
        Sum of the kept scores, in float64.
    bound : float
        Proven upper bound on the sum that any mask can keep, rounding included; inf if none was computed.
    status : Status
        OPTIMAL means that every tile is proven: its own bound is at most 1e-6 (prices in float32) or 1e-12
        (float64) above what it keeps, relative to its own kept sum of absolute scores.
    backend : str
        Name of the backend that ran.
    pattern : Pattern
    duals : Prices or None
        Dual prices that give ``bound``: ``rows`` and ``columns``, each (tiles, m), tiles in
        row-major order over (batch, tile row, tile column); for one-directional patterns
        ``rows`` is (groups, 1) and ``columns`` is None. By default they are kept if they take
        at most 4 MiB or, for transposable patterns, no more memory than the mask;
        ``solve(..., duals=True)`` always keeps them.
    tiles : TileSums or None
        Objective and bound of every tile. By default they are kept if they take at most 4 MiB or, for
        transposable patterns with m >= 8, where they take at most a quarter of the mask's memory;
        ``solve(..., tiles=True)`` always keeps them.
    stats : mapping
        ``tiles``, ``seconds``, ``workers``, ``chosen_because``; ``open``, the number of tiles that are not
        proven optimal, with ``worst_tile`` and ``worst_gap`` if there are any; and counts that the backend
        reports.
    """

    mask: Any
    objective: float
    bound: float
    status: Status
    backend: str
    pattern: Pattern
    duals: Prices | None = None
    tiles: TileSums | None = None
    stats: Mapping[str, Any] = field(default_factory=dict)

    @property
    def gap(self) -> float:
        """Relative gap ``(bound - objective) / abs(bound)``; 0 is a perfect proof."""
        if self.bound == math.inf:
            return math.inf
        if self.bound == self.objective:
            return 0.0
        return (self.bound - self.objective) / abs(self.bound) if self.bound else math.inf

    def __repr__(self) -> str:
        return (
            f"MaskResult({self.status.name}, pattern='{self.pattern}', shape={tuple(self.mask.shape)}, "
            f"objective={self.objective:.9g}, gap={self.gap:.2g}, backend='{self.backend}')"
        )


class SolveInterrupted(KeyboardInterrupt):
    """Ctrl-C during a solve; ``result`` holds what was solved so far.

    Tiles that were not reached hold a fixed pattern, as under ``Status.TIME_LIMIT``.
    """

    def __init__(self, result: MaskResult) -> None:
        super().__init__(f"interrupted: {result!r}")
        self.result = result
