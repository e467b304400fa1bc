"""Assertions about results that allow ties: they compare sums and counts, never mask bits.

Rounding is allowed for per tile of r rows and c columns, as a multiple of the tile's largest
magnitude:

    (r + c) * epsilon,  epsilon = 2**-21 for scores that float32 holds, 1e-9 for wider ones.

An augmenting path has at most r + c entries; backends may solve float32 scores in float32 (whose
relative rounding is 2**-24), and the integer and linear programmes of the others stay within 1e-9.
Float64 sums of many tiles may round further, by 1e-15 of the sum of magnitudes for each level of
the summation, for which 1e-13 of that sum is plenty. Denormal prices are rounded to the smallest
denormal, which every entry may add to the bound a few times.
"""

from __future__ import annotations

import math
from fractions import Fraction

import exactly
import numpy as np
import oracles

from masksolve import Status

_EPSILON_SINGLE = 2.0**-21
_EPSILON_DOUBLE = 1e-9
_SUMMATION = 1e-13
_DENORMAL = 5e-324
_DENORMAL_SINGLE = 1.5e-45


def epsilon(dtype):
    """Relative rounding allowed for scores of a dtype."""
    return _EPSILON_SINGLE if _fits_single(dtype) else _EPSILON_DOUBLE


def allowance(scores, pattern):
    """Rounding allowed for the sum over all tiles."""
    places = [tile.place for tile in oracles.tiles(scores.shape, pattern)]
    tiles = math.fsum(_tile_allowance(scores[place]) for place in places)
    denormal = _DENORMAL_SINGLE if _fits_single(scores.dtype) else _DENORMAL
    return tiles + _SUMMATION * _magnitude(scores) + 4 * scores.size * denormal


def assert_feasible(mask, pattern, *, keep=None, drop=None):
    """Every line of every tile keeps what it may, tails kept dense are kept, forced entries obeyed."""
    assert isinstance(mask, np.ndarray)
    assert mask.dtype == np.bool_, f"mask has dtype {mask.dtype}"
    covered = np.zeros(mask.shape, bool)
    for place, row_bounds, column_bounds in oracles.tiles(mask.shape, pattern):
        tile = np.atleast_2d(mask[place])
        covered[place] = True
        for name, counts, (least, most) in (
            ("row", tile.sum(axis=1), row_bounds),
            ("column", tile.sum(axis=0), column_bounds),
        ):
            assert least <= counts.min(), f"a {name} of the tile at {place} keeps {counts.min()} < {least}"
            assert counts.max() <= most, f"a {name} of the tile at {place} keeps {counts.max()} > {most}"
    assert mask[~covered].all(), "a dense tail is not kept whole"
    if keep is not None:
        assert mask[np.broadcast_to(keep, mask.shape)].all(), "an entry of keep is not kept"
    if drop is not None:
        assert not mask[np.broadcast_to(drop, mask.shape)].any(), "an entry of drop is kept"


def assert_valid(result, scores, *, keep=None, drop=None, best=None):
    """The mask is feasible, the objective is its kept sum, and the bound is above the optimum.

    ``best`` is an optimal mask; by default an oracle finds one.
    """
    assert result.mask.shape == scores.shape, f"the mask has shape {result.mask.shape}"
    assert_feasible(result.mask, result.pattern, keep=keep, drop=drop)
    best = oracles.solve(scores, result.pattern, keep, drop) if best is None else best
    rounding = _SUMMATION * _magnitude(scores)
    kept, optimum = oracles.value(scores, result.mask), oracles.value(scores, best)
    assert abs(result.objective - kept) <= rounding, (
        f"objective {result.objective} is not the kept sum {kept}"
    )
    assert result.bound >= optimum - rounding, f"bound {result.bound} is below the optimum {optimum}"
    relative = (result.bound - result.objective) / max(abs(result.bound), _DENORMAL)
    assert result.gap == (relative if result.bound < math.inf else math.inf), f"wrong gap {result.gap}"


def assert_optimal(result, scores, *, keep=None, drop=None, best=None):
    """As ``assert_valid``; besides, every tile keeps its optimum and the bound proves it."""
    best = oracles.solve(scores, result.pattern, keep, drop) if best is None else best
    assert_valid(result, scores, keep=keep, drop=drop, best=best)
    for place, _, _ in oracles.tiles(scores.shape, result.pattern):
        tile = scores[place]
        kept, optimum = (oracles.value(tile, mask[place]) for mask in (result.mask, best))
        assert abs(kept - optimum) <= _tile_allowance(tile), (
            f"the tile at {place} keeps {kept}, its optimum is {optimum}"
        )
    allowed = allowance(scores, result.pattern)
    assert result.bound - result.objective <= allowed, (
        f"bound {result.bound} leaves a gap of {result.bound - result.objective} > {allowed}"
    )


def _fits_single(dtype):
    return np.dtype(dtype).itemsize <= 2 or dtype == np.float32


def _magnitude(scores):
    return float(np.abs(scores.astype(np.float64)).sum())


def _tile_allowance(tile):
    lines = sum(np.atleast_2d(tile).shape)
    return lines * epsilon(tile.dtype) * float(np.abs(tile.astype(np.float64)).max())


def assert_proven(result, scores, *, tolerance=None, score="value", keep=None, drop=None):
    """The result is OPTIMAL, and that is true of every tile, in rational arithmetic.

    No bound, whether of a tile or of the whole array, is below the optimum, not by the last bit; a tile keeps
    its optimum to ``tolerance``, relative to its own kept sum of magnitudes (by default what
    ``Status.OPTIMAL`` promises for the dtype).
    """
    scores = np.asarray(scores)
    assert result.status is Status.OPTIMAL, f"{result!r}, {dict(result.stats)}"
    best = assert_bounded(result, scores, score=score, keep=keep, drop=drop)
    if tolerance is None:
        tolerance = 1e-6 if _fits_single(scores.dtype) and score != "square" else 1e-12
    kept = exactly.kept(scores, result.mask, result.pattern, score)
    scale = exactly.kept(scores, result.mask, result.pattern, "square" if score == "square" else "magnitude")
    for number, (worth, most, size) in enumerate(zip(kept, best, scale, strict=True)):
        assert most - worth <= Fraction(tolerance) * size, (
            f"tile {number} keeps {float(worth)}, its optimum is {float(most)}, and it is called OPTIMAL"
        )
    allowed = (tolerance + _SUMMATION) * float(sum(scale)) + 8 * scores.size * _DENORMAL
    assert result.bound - result.objective <= allowed, f"the bound leaves a gap of {result.gap}"


def assert_bounded(result, scores, *, score="value", keep=None, drop=None):
    """The mask is feasible, sums are true, no bound is below an optimum; return the tiles' optima."""
    assert result.mask.shape == scores.shape, f"the mask has shape {result.mask.shape}"
    assert_feasible(result.mask, result.pattern, keep=keep, drop=drop)
    best = exactly.optima(scores, result.pattern, keep, drop, score)
    kept = exactly.kept(scores, result.mask, result.pattern, score)
    rest = exactly.tails(scores, result.pattern, score)
    size = sum(abs(worth) for worth in exactly.fractions(scores, score)[result.mask])
    assert abs(Fraction(result.objective) - sum(kept) - rest) <= Fraction(_SUMMATION) * size, (
        "wrong objective"
    )
    if result.bound == math.inf:
        return best
    assert Fraction(result.bound) >= sum(best) + rest, (
        f"the bound is {float(sum(best) + rest - Fraction(result.bound))} below the optimum"
    )
    if result.tiles is not None:
        objectives, bounds = (np.asarray(part).ravel().tolist() for part in result.tiles)
        assert len(bounds) == len(best)
        exact = np.abs(exactly.fractions(scores, score))
        sizes = [
            exact[place][result.mask[place]].ravel()
            for place, _, _ in oracles.tiles(scores.shape, result.pattern)
        ]
        for number, (worth, most) in enumerate(zip(kept, best, strict=True)):
            assert Fraction(bounds[number]) >= most, f"the bound of tile {number} is below its optimum"
            size = sum(sizes[number], start=Fraction(0))
            assert abs(Fraction(objectives[number]) - worth) <= Fraction(_SUMMATION) * size, (
                f"the objective of tile {number} is not what it keeps"
            )
    return best
