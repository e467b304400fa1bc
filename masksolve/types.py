"""Types that many files share."""

from __future__ import annotations

import enum
from typing import Any, Literal, NamedTuple, TypedDict

import numpy as np
import numpy.typing as npt

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.floating[Any]]
Float64Array = npt.NDArray[np.float64]

Bounds = tuple[int, int]
"""Least and most entries that a row, column or group keeps."""

Score = Literal["value", "magnitude", "square"]
"""What an entry is worth: itself, its absolute value, or its square."""

SCORES: tuple[Score, ...] = ("value", "magnitude", "square")
SCORES_ELSEWHERE = {"abs": "magnitude", "|w|": "magnitude", "l1": "magnitude", "l2": "square", "raw": "value"}
"""What other tools call them."""


BackendName = Literal[
    "auto",
    "exact",
    "greedy",
    "cover",
    "columns",
    "enumerate",
    "batched",
    "triton",
    "entropic",
    "highs",
    "ortools",
    "networkx",
]
"""The built-in backends; plug-ins have names of their own."""


class BackendOptions(TypedDict, total=False):
    """Every option of the built-in backends, so that editors and type checkers know them.

    Each backend takes its own and refuses the others; `masksolve.backends` lists which, with defaults.
    """

    instruction_set: str
    bound: bool
    rounds: int
    tau: float
    iterations: int
    swaps: bool
    method: Literal["lp", "milp", "flow", "cp_sat"]
    batch: int
    most: int


class Prices(NamedTuple):
    """Dual prices of tiles.

    Attributes
    ----------
    rows : array of float, shape (..., r)
        One price for each row of a tile, or one for each group of a one-directional pattern (r = 1).
    columns : array of float, shape (..., c), or None
        One price for each column; None where columns may keep anything, as in one-directional patterns.
    """

    rows: Any
    columns: Any | None

    def tile(self, number: int) -> Prices:
        """Prices of one tile."""
        return Prices(*(None if part is None else part[number] for part in self))

    def some(self, tiles: Any) -> Prices:
        """Prices of some tiles, by their places."""
        return Prices(*(None if part is None else part[tiles] for part in self))

    def rounded(self, dtype: npt.DTypeLike) -> Prices:
        """Return the prices as ``dtype`` holds them, clipped to its range: any prices give a bound."""
        most = np.finfo(dtype).max
        rows = np.clip(self.rows, -most, most).astype(dtype)
        if self.columns is None:
            return Prices(rows, None)
        return Prices(rows, np.clip(self.columns, -most, most).astype(dtype))


class Status(enum.Enum):
    """How a solve ended. Each member's ``value`` says what it means and what to do about it."""

    OPTIMAL = "optimal: in every tile, the bound proves that no mask keeps more"
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
