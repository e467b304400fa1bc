"""One solve under examination: the case, and everything that its result must satisfy."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..pattern import Pattern
from ..result import MaskResult
from ..types import BoolArray, Status
from . import oracle
from .oracle import NOTHING, Forced, Optimum, demand

_SUMMATION = 1e-12
"""Rounding allowed for sums over an array, relative to the sum of magnitudes."""

_PROOF = 1e-6


@dataclass(frozen=True, eq=False)
class Case:
    """What is solved, and what its messages call it.

    Attributes
    ----------
    label : str
        Such as ``"family 'gaussian'"``.
    scores : ndarray, any shape that ``pattern`` can be laid on
    pattern : Pattern
    forced : Forced
    """

    label: str
    scores: npt.NDArray[Any]
    pattern: Pattern
    forced: Forced = NOTHING

    def __str__(self) -> str:
        given = [name for name, value in self.forced._asdict().items() if value is not None]
        return (
            f"{self.label}, pattern '{self.pattern}', shape {self.scores.shape}, {self.scores.dtype}"
            f"{''.join(f', {name}=' for name in given)}"
        )

    def optimum(self, rounding: float | None) -> Optimum:
        """Find or prove the optimum of every tile."""
        return oracle.optimum(self.scores, self.pattern, self.forced, rounding)


def assess(case: Case, result: MaskResult, best: Optimum, *, exact: bool, rounding: float | None) -> None:
    """Check that a result is feasible, truthful, and, for exact backends, optimal and proven so.

    Raises
    ------
    AssertionError
        Saying what is wrong, and in which tile.
    """
    _assess_mask(case, result)
    wide = case.scores.astype(np.float64).ravel()
    rest = _SUMMATION * math.fsum(np.abs(wide).tolist()) + 4 * wide.size * 5e-324
    kept = oracle.kept_sum(wide, result.mask.ravel())
    demand(abs(result.objective - kept) <= rest, f"objective {result.objective} is not the kept sum {kept}")
    _assess_prices(case, result, rest)
    rest += _assess_tiles(case, result, best, exact=exact, rounding=rounding)
    low = math.fsum([*best.low.tolist(), _dense(case)])
    demand(result.bound >= low - rest, f"bound {result.bound} is below the optimum {low}")
    demand(
        not exact or result.bound - kept <= rest,
        f"it claims exactness, but its bound {result.bound} exceeds the kept sum {kept} by more than "
        f"rounding ({rest:.2g})",
    )


def _assess_tiles(
    case: Case, result: MaskResult, best: Optimum, *, exact: bool, rounding: float | None
) -> float:
    """Compare what every tile keeps with its optimum; return the rounding allowed for all of them."""
    wide, mask = case.scores.astype(np.float64).ravel(), result.mask.ravel()
    allowed = []
    for number, tile in enumerate(oracle.cut(case.scores.shape, case.pattern)):
        allowed.append(oracle.allowance(wide[tile.cells], case.scores.dtype, rounding))
        kept = oracle.kept_sum(wide[tile.cells], mask[tile.cells])
        demand(
            not exact or kept >= best.high[number] - allowed[-1],
            f"it claims exactness, but tile {number} keeps {kept} and its optimum is {best.low[number]}",
        )
        size = oracle.kept_sum(np.abs(wide[tile.cells]), mask[tile.cells])
        demand(
            result.status is not Status.OPTIMAL or kept >= best.high[number] - _PROOF * size - allowed[-1],
            f"status OPTIMAL, but tile {number} keeps {kept} and its optimum is {best.low[number]}",
        )
    return math.fsum(allowed)


def _assess_mask(case: Case, result: MaskResult) -> None:
    """Count every line of every tile; find the tails kept whole and the forced choices obeyed."""
    mask = result.mask
    demand(mask.shape == case.scores.shape, f"the mask has shape {mask.shape}")
    demand(mask.dtype == np.bool_, f"the mask has dtype {mask.dtype}")
    for number, tile in enumerate(oracle.cut(mask.shape, case.pattern)):
        wrong = oracle.miscount(tile, mask.ravel()[tile.cells])
        demand(wrong is None, f"tile {number}, {wrong}")
    demand(mask.ravel()[_tails(case)].all(), "the tail that remainder='dense' keeps whole is not kept")
    keep, drop = case.forced
    for name, broken in (
        ("keep", None if keep is None else keep & ~mask),
        ("drop", None if drop is None else drop & mask),
    ):
        if broken is not None and broken.any():
            raise AssertionError(f"{name}= is not obeyed at index {np.argwhere(broken)[0].tolist()}")


def _assess_prices(case: Case, result: MaskResult, rest: float) -> None:
    """Evaluate the bound from the prices: the reported one may be better, since `solve` seeks better ones."""
    if result.bound == math.inf:
        return
    if result.duals is None:
        raise AssertionError("a finite bound without prices")
    wide = case.scores.astype(np.float64).ravel()
    bounds, magnitude = [_dense(case)], 0.0
    for number, tile in enumerate(oracle.cut(case.scores.shape, case.pattern)):
        rows, columns = oracle.prices_of(result.duals, number, tile)
        forced = case.forced.within(tile)
        bounds.append(oracle.dual_bound(wide[tile.cells], tile, (rows, columns), *forced))
        magnitude += max(case.pattern.tile_shape) * float(np.abs(rows).sum() + np.abs(columns).sum())
    bound = math.fsum(bounds)
    demand(
        result.bound <= bound + rest + _SUMMATION * magnitude,
        f"bound {result.bound} is above the one that the prices give, {bound}",
    )


def _tails(case: Case) -> BoolArray:
    """Mark the entries, flattened, that no tile holds."""
    tails = np.ones(case.scores.size, np.bool_)
    for tile in oracle.cut(case.scores.shape, case.pattern):
        tails[tile.cells] = False
    return tails


def _dense(case: Case) -> float:
    return oracle.kept_sum(case.scores.astype(np.float64).ravel(), _tails(case))
