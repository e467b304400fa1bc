"""Optima that ask no backend to be believed.

Tiles of at most 16 entries are searched exhaustively and single groups are sorted. For larger
tiles an optimum is proven: a mask whose lines are counted here and prices whose dual bound is
evaluated here enclose it, wherever they came from.
"""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..amounts import Budget
from ..pattern import Pattern
from ..solve import solve
from ..types import BoolArray, Bounds, Prices

Float64Array = npt.NDArray[np.float64]
TilePrices = tuple[Float64Array, Float64Array]

LARGEST_SEARCH = 16
_SINGLE = 2.0**-21
_DOUBLE = 1e-9
_DENORMAL = 5e-324


def demand(condition: object, message: str) -> None:
    """Raise AssertionError unless the condition holds; unlike ``assert``, also under ``python -O``."""
    if not condition:
        raise AssertionError(message)


class Tile(NamedTuple):
    """A tile of an array.

    Attributes
    ----------
    cells : ndarray of int, shape (r, c)
        Places of its entries in the array's C-order ravel.
    row_bounds, column_bounds : (int, int)
        Least and most kept entries of each row and of each column.
    """

    cells: npt.NDArray[np.intp]
    row_bounds: Bounds
    column_bounds: Bounds


class Forced(NamedTuple):
    """Forced choices, of the shape of the scores; None if there are none."""

    keep: BoolArray | None = None
    drop: BoolArray | None = None

    def within(self, tile: Tile) -> tuple[BoolArray, BoolArray]:
        """Cut out what concerns a tile."""
        none = np.zeros(tile.cells.shape, np.bool_)
        keep = none if self.keep is None else self.keep.ravel()[tile.cells]
        return keep, none if self.drop is None else self.drop.ravel()[tile.cells]


NOTHING = Forced()


class Optimum(NamedTuple):
    """Two numbers per tile that enclose its optimum: ``low`` is attained, ``high`` never exceeded."""

    low: Float64Array
    high: Float64Array


@functools.lru_cache(maxsize=1024)
def cut(shape: tuple[int, ...], pattern: Pattern) -> list[Tile]:
    """Cut an array into tiles, in the order of ``MaskResult.duals``; dense tails belong to none."""
    places = np.arange(math.prod(shape)).reshape(shape)
    if not pattern.transposable:
        places = np.moveaxis(places, pattern.axis, -1)[..., np.newaxis, :]
    tall, m = pattern.tile_shape
    height, width = places.shape[-2:]
    tiles = []
    for lead in np.ndindex(places.shape[:-2]):
        for top in range(0, height, tall):
            for left in range(0, width, m):
                cells = places[lead][top : top + tall, left : left + m]
                if pattern.remainder == "dense" and cells.shape != (tall, m):
                    continue
                columns = (0, 1)
                if pattern.transposable:
                    columns = _bounds(pattern, pattern.budgets[-2], cells.shape[0])
                rows = _bounds(pattern, Budget(pattern.n, pattern.m), cells.shape[1])
                tiles.append(Tile(cells, rows, columns))
    return tiles


def _bounds(pattern: Pattern, budget: Budget, length: int) -> Bounds:
    whole = length == budget.m and pattern.constraint == "exact"
    return (budget.n if whole else 0), min(budget.n, length)


def optimum(scores: npt.NDArray[Any], pattern: Pattern, forced: Forced, rounding: float | None) -> Optimum:
    """Find or prove the optimum of every tile.

    Raises
    ------
    AssertionError
        If no optimum could be proven to rounding.
    """
    tiles = cut(scores.shape, pattern)
    wide = scores.astype(np.float64).ravel()
    low, high = np.zeros(len(tiles)), np.zeros(len(tiles))
    proof: tuple[BoolArray, Prices] | None = None
    for number, tile in enumerate(tiles):
        values, (keep, drop) = wide[tile.cells], forced.within(tile)
        if tile.column_bounds == (0, 1) and len(values) == 1:
            low[number] = high[number] = _sorted(values[0], tile.row_bounds, keep[0], drop[0])
        elif values.size <= LARGEST_SEARCH:
            low[number] = high[number] = _searched(values, tile, keep, drop)
        else:
            proof = proof or _proof(scores, pattern, forced)
            mask, prices = proof[0].ravel()[tile.cells], prices_of(proof[1], number, tile)
            demand(miscount(tile, mask) is None, f"'exact' gave no feasible mask for tile {number}")
            low[number] = kept_sum(values, mask)
            high[number] = dual_bound(values, tile, prices, keep, drop)
            demand(
                high[number] - low[number] <= allowance(values, scores.dtype, rounding),
                f"the optimum of tile {number} under '{pattern}' could not be proven",
            )
    return Optimum(low, high)


def _proof(scores: npt.NDArray[Any], pattern: Pattern, forced: Forced) -> tuple[BoolArray, Prices]:
    result = solve(scores, pattern, backend="auto", duals=True, keep=forced.keep, drop=forced.drop)
    if result.duals is None:
        raise AssertionError("'exact' gave no prices")
    return result.mask, result.duals


def kept_sum(values: Float64Array, mask: BoolArray) -> float:
    """Sum the kept scores, correctly rounded."""
    return math.fsum(values[mask].tolist())


def miscount(tile: Tile, mask: BoolArray) -> str | None:
    """Name the first line of a tile that keeps too few or too many; None if all is well."""
    for axis, name, (least, most) in ((1, "row", tile.row_bounds), (0, "column", tile.column_bounds)):
        counts = mask.sum(axis=axis)
        for line in np.flatnonzero((counts < least) | (counts > most)):
            amount = "exactly" if least == most else f"between {least} and"
            return f"{name} {line} keeps {counts[line]}, expected {amount} {most}"
    return None


def prices_of(prices: Prices, number: int, tile: Tile) -> TilePrices:
    """Pick a tile's prices in float64; cut tiles have fewer lines, columns of groups are free."""
    height, width = tile.cells.shape
    rows = prices.rows[number, :height].astype(np.float64)
    if prices.columns is None:
        return rows, np.zeros(width)
    return rows, prices.columns[number, :width].astype(np.float64)


def dual_bound(
    values: Float64Array, tile: Tile, prices: TilePrices, keep: BoolArray, drop: BoolArray
) -> float:
    """Evaluate the weak-duality bound of one tile for any prices."""
    terms = []
    for line_prices, (least, most) in zip(prices, (tile.row_bounds, tile.column_bounds), strict=True):
        terms += [max(least * price, most * price) for price in line_prices.tolist()]
    profit = values - prices[0][:, np.newaxis] - prices[1]
    terms += profit[keep | ((profit > 0) & ~drop)].tolist()
    return math.fsum(terms)


def allowance(values: npt.NDArray[Any], dtype: np.dtype[Any], rounding: float | None) -> float:
    """Allow for rounding in one tile: ``rounding`` of its largest magnitude for each of its lines.

    By default 2**-21 for scores that float32 holds, which may be solved in float32, and 1e-9 for
    wider ones; besides, every entry may cost a few of the smallest denormals.
    """
    if rounding is None:
        rounding = _SINGLE if dtype.itemsize <= 2 or dtype == np.float32 else _DOUBLE
    largest = float(np.abs(values).max(initial=0.0))
    return sum(values.shape) * rounding * largest + 4 * values.size * _DENORMAL


def _sorted(values: Float64Array, bounds: Bounds, keep: BoolArray, drop: BoolArray) -> float:
    """Fill one group: what is forced, then the best of the rest."""
    least, most = (bound - int(keep.sum()) for bound in bounds)
    ranked = np.sort(values[~keep & ~drop])[::-1]
    chosen = [value for place, value in enumerate(ranked[:most]) if place < least or value > 0]
    return math.fsum([*values[keep], *chosen])


def _searched(values: Float64Array, tile: Tile, keep: BoolArray, drop: BoolArray) -> float:
    masks = _masks(values.shape, tile.row_bounds, tile.column_bounds)
    fits = (masks | ~keep.ravel()).all(axis=1) & ~(masks & drop.ravel()).any(axis=1)
    masks = masks[fits]
    best = masks[np.argmax(masks.astype(np.float64) @ values.ravel())]
    return kept_sum(values.ravel(), best)


@functools.lru_cache(maxsize=64)
def _masks(shape: tuple[int, ...], row_bounds: Bounds, column_bounds: Bounds) -> BoolArray:
    """Every feasible mask of a tile, flattened, one a row."""
    size = math.prod(shape)
    every = (np.arange(1 << size)[:, np.newaxis] >> np.arange(size)) & 1 == 1
    good = np.ones(len(every), np.bool_)
    for axis, (least, most) in ((2, row_bounds), (1, column_bounds)):
        counts = every.reshape(-1, *shape).sum(axis=axis)
        good &= ((counts >= least) & (counts <= most)).all(axis=1)
    feasible: BoolArray = every[good]
    return feasible
