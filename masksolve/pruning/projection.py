"""The nearest array that follows a pattern: the best mask for squares or other scores."""

from __future__ import annotations

import math
from typing import Any

from ..pattern import Pattern
from ..solve import solve


def layer_pattern(pattern: Pattern | str) -> Pattern:
    """Parse a pattern for weights, whose groups run along the last axis of their matrices or the one before.

    Raises
    ------
    TypeError, ValueError
        If it is not a pattern, or its axis is another.
    """
    pattern = Pattern.parse(pattern)
    if pattern.axis not in (-1, -2):
        raise ValueError(f"pattern axis must be -1 or -2, of a weight's matrices, got {pattern.axis}")
    return pattern


def best_mask(scores: Any, pattern: Pattern, *, backend: str = "auto", keep: Any | None = None) -> Any:
    """Find the mask that keeps the largest sum of scores, an array like ``scores``.

    Scores on the host go to ``exact``, scores on an accelerator are solved there by ``auto``. Between the
    iterations of ADMM no prices are handed on: measured at 2:4-T, 8:16-T and 16:32-T, keeping and reading
    them takes 1.2 to 1.5 times as long as starting anew, which is 4 to 30 % of an iteration.
    """
    return solve(scores, pattern, backend=backend, keep=keep, duals=False).mask


def prefer(xp: Any, scores: Any, old: Any, pattern: Pattern) -> Any:
    """Rank every entry of an old mask above all others, whatever the scores.

    A sum of these scores over a tile first counts the old entries it keeps, and only then compares
    scores. So a tile keeps nothing but old entries wherever that can be done, as under ``drop=~old``,
    and elsewhere as many as can be, where ``drop`` would leave no mask at all.
    """
    wide = xp.astype(scores, xp.float64)
    largest = float(xp.max(xp.abs(wide))) if wide.shape[-1] and wide.shape[-2] else 0.0
    # The scores of a tile stay below 1/2 in sum; groups that may keep fewer leave out what is below 0.
    return (
        2.0 * xp.astype(old, xp.float64)
        - 1.0
        + wide / (2.0 * (largest or 1.0) * math.prod(pattern.tile_shape))
    )
