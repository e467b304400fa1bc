"""A whole result proved again afterwards: from scores, mask and prices, or from scores and mask alone."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from .._ext.arrays import DefaultArithmetic
from ..arrays import boolean_array, check_prices
from ..frameworks import to_numpy
from ..layout.host import HostBlock, HostLayout
from ..pairs import touched
from ..pattern import Pattern
from ..problem import MaskProblem
from ..rounding import upper_sum
from ..types import Prices, Score
from .bound import feasible, prove
from .columns import bound_columns, uses_few_columns
from .prices import price
from .settling import settle, tolerance_of

_CHUNK_ENTRIES = 1 << 18


class Certificate(NamedTuple):
    """What is proved of a mask.

    Attributes
    ----------
    objective : float
        Sum of the kept scores.
    bound : float
        Upper bound on what any mask can keep.
    """

    objective: float
    bound: float


def recompute(
    scores: npt.ArrayLike,
    mask: npt.ArrayLike,
    pattern: Pattern | str,
    duals: Prices | None = None,
    *,
    keep: npt.ArrayLike | None = None,
    drop: npt.ArrayLike | None = None,
    score: Score = "value",
) -> Certificate:
    """Objective and bound of a mask in plain NumPy float64, from the prices alone.

    Parameters
    ----------
    scores : array, shape (..., R, C)
    mask : array of bool, same shape
    pattern : Pattern or str
    duals : Prices or None
        As in ``MaskResult.duals``. None: prices are found for the mask by Bellman-Ford on its
        residual graph, which proves an optimal mask optimal and bounds the gap of any other. Tiles that the
        prices leave open, because their scores are of too different magnitudes for floating point, are
        proved like that too, and in integers if need be. V:N:M has no prices: up to m = 16 every choice of
        columns is tried, which takes seconds for a large matrix; beyond, the bound may be loose.
    keep, drop : arrays of bool or None
        The forced choices of the solve.
    score : {"value", "magnitude", "square"}
        As in the solve.

    Returns
    -------
    Certificate

    Raises
    ------
    TypeError, ValueError
        As `masksolve.solve`; also if ``mask`` does not follow the pattern or the forced choices,
        or if ``duals`` are not finite real numbers, or not shaped for it.
    """
    with DefaultArithmetic():
        problem = MaskProblem.of(scores, pattern, keep, drop, score=score).summed().read()
        asked = problem.asked
        entries = boolean_array("mask", mask)
        if entries.shape != asked.scores.shape:
            raise ValueError(f"mask must have the shape of scores {asked.scores.shape}, got {entries.shape}")
        array = entries if problem.entries is None else touched(entries, asked.pattern)
        start = None if duals is None else _checked(duals, problem)
        # The layout marks the tails as kept, in a mask of its own.
        layout = HostLayout(problem, mask=array.copy(), prices=False, tiles=False, start=start)
        if not np.array_equal(problem.spread(layout.mask), entries):
            pairs = " and keep pairs whole" if asked.pattern.pair else ""
            raise ValueError(f"mask must be True in the tail that remainder='dense' keeps whole{pairs}")
        whole = asked.tail_sums()
        parts = [
            _recompute(block, first, last, problem.pattern)
            for block in layout.blocks
            for first, last in block.runs(max(1, _CHUNK_ENTRIES // math.prod(block.tile_shape)))
        ]
        objective = math.fsum([part.objective for part in parts] + [kept for kept, _ in whole])
        bound = upper_sum([part.bound for part in parts] + [most for _, most in whole])
        return Certificate(objective, bound)


def _checked(duals: Prices, problem: MaskProblem) -> Prices:
    rows, columns = (to_numpy("duals", part) for part in duals)
    return check_prices("duals", (rows, columns), problem.asked.tiling)


def _recompute(block: HostBlock, first: int, last: int, pattern: Pattern) -> Certificate:
    chunk, mask = block.chunk(first, last), block.mask_of(first, last)
    good = feasible(np, chunk, mask)
    if pattern.vector is not None:
        good = good & uses_few_columns(mask)
    wrong = np.flatnonzero(~good)
    if len(wrong):
        raise ValueError(
            f"mask must follow '{pattern}' and the forced choices, tile {chunk.numbers[wrong[0]]} does "
            f"not; see verify()"
        )
    if pattern.vector is not None:
        exact = chunk.row_bounds[0] > 0
        bound = bound_columns(chunk.scores, mask, exact=exact, keep=chunk.keep, drop=chunk.drop)
        kept = np.where(mask, chunk.scores, 0.0).sum(axis=(1, 2)).tolist()
        return Certificate(math.fsum(kept), upper_sum(np.maximum(bound, kept).tolist()))
    prices = price(chunk, mask) if chunk.start is None else chunk.start
    proofs = prove(np, chunk, mask, prices)
    objective, bound = proofs.objective.copy(), proofs.bound.copy()
    open_ = np.flatnonzero(~proofs.proven(tolerance_of(block.price_dtype)))
    if len(open_):
        part = chunk.some(open_)
        settled = settle(part, mask[open_], price(part, mask[open_]), np.float64)
        objective[open_] = settled.objective
        bound[open_] = np.minimum(bound[open_], settled.bound)
    return Certificate(math.fsum(objective.tolist()), upper_sum(bound.tolist()))
