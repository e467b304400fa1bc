"""Geometry: a pattern laid on a shape, without any array.

An array is cut into *tiles*: for transposable patterns m by m, or, where columns have a budget of their own,
as many rows as its m says; for V:N:M V by m; for all others 1 by m (a group along the pattern's axis). Tiles
of one shape form a *region*: all whole tiles and, under ``remainder="pad"``, up to three more regions of
tiles that the edges cut short. What ``remainder="dense"`` keeps whole belongs to no tile and is called a
*tail*. Everybody who needs a tile, a bound or a tail asks here, so that there is one answer.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any, NamedTuple

from .amounts import Budget
from .pattern import Pattern
from .types import Bounds

_TOGETHER = 8
"""So many tiles along an axis make solving them together worth while: half of a widest register's lanes."""


class Segment(NamedTuple):
    """``runs`` of ``length`` entries along an axis, the first at entry ``start`` and in tile ``tile``."""

    start: int
    runs: int
    length: int
    tile: int

    @property
    def entries(self) -> slice:
        """The entries that the segment covers."""
        return slice(self.start, self.start + self.runs * self.length)

    @property
    def tiles(self) -> slice:
        """The tiles that the segment covers."""
        return slice(self.tile, self.tile + self.runs)


class Region(NamedTuple):
    """Equal tiles: where they lie, and what their lines may keep.

    Attributes
    ----------
    down, across : Segment
        Tiles along the rows and along the columns of the grouped array.
    row_bounds, column_bounds : (int, int)
        Least and most kept entries of each row and of each column.
    """

    down: Segment
    across: Segment
    row_bounds: Bounds
    column_bounds: Bounds

    @property
    def tile_shape(self) -> tuple[int, int]:
        """Rows and columns of a tile."""
        return self.down.length, self.across.length

    @property
    def capacity(self) -> int:
        """The most entries that a tile may keep.

        r rows with at most a entries each and c columns with at most b keep at most min(r a, c b) and, as
        a <= c and b <= r, some mask keeps as many (Gale and Ryser's theorem, for equal lines).
        """
        height, width = self.tile_shape
        return min(height * self.row_bounds[1], width * self.column_bounds[1])


class Cut(NamedTuple):
    """How to view the tiles of a region in arrays of the whole shape, or of the whole grid.

    Attributes
    ----------
    region : Region
    axes : tuple of int or None
        Which axis of the whole grid each axis of the view's grid is; None: the same.
    entries : tuple
        Index of the region's entries in a grouped array, see `Tiling.grouped`; that part, reshaped to
        ``shape`` and transposed to ``order``, is the tiles: ``(*grid, r, c)``.
    shape, order : tuple of int
    tiles : tuple or None
        Index of the region's tiles in an array of the whole grid; transposed to ``axes``, that part is in the
        order of the tiles' view. None: the whole array is it.
    """

    region: Region
    axes: tuple[int, ...] | None
    entries: tuple[Any, ...]
    shape: tuple[int, ...]
    order: tuple[int, ...]
    tiles: tuple[Any, ...] | None


@dataclass(frozen=True)
class Tiling:
    """A pattern on a shape.

    Attributes
    ----------
    pattern : Pattern
    shape : tuple of int
        Of the array.
    grid : tuple of int
        Number of tiles along every batch axis, down and across. One-directional patterns: the other
        axes, 1, and the groups. Tiles are numbered row-major in it.
    regions : tuple of Region
        Row by row of regions; the first one holds the whole tiles.
    """

    pattern: Pattern
    shape: tuple[int, ...]
    grid: tuple[int, ...]
    regions: tuple[Region, ...]

    @functools.cached_property
    def tiles(self) -> int:
        """Number of tiles."""
        return math.prod(self.grid)

    @functools.cached_property
    def capacity(self) -> int:
        """The most entries that a mask may keep; what ``remainder="dense"`` keeps whole counts."""
        dropped = sum(
            (math.prod(region.tile_shape) - region.capacity) * math.prod(self.region_grid(region))
            for region in self.regions
        )
        return math.prod(self.shape) - dropped

    @functools.cached_property
    def lines(self) -> tuple[int, int]:
        """Row prices and column prices of a whole tile; groups have one price and no columns'."""
        return self.pattern.lines

    @functools.cached_property
    def price_share(self) -> int:
        """Bytes that a tile's prices may take: as many as its mask, if both sides have prices."""
        return math.prod(self.pattern.tile_shape) if self.pattern.transposable else 0

    @functools.cached_property
    def _along_last(self) -> bool:
        return self.pattern.axis in (-1, len(self.shape) - 1)

    def grouped(self, xp: Any, array: Any) -> Any:
        """View with the grouped axis last and at least two axes: (..., R, C) or (..., 1, L)."""
        if self.pattern.is_plane:
            return array
        if not self._along_last:
            array = xp.moveaxis(array, self.pattern.axis, -1)
        return array[..., None, :]

    def ungrouped(self, xp: Any, array: Any) -> Any:
        """Undo `grouped`."""
        if self.pattern.is_plane:
            return array
        array = array[..., 0, :]
        return array if self._along_last else xp.moveaxis(array, -1, self.pattern.axis)

    def tails(self, grouped: Any) -> list[Any]:
        """View what ``remainder="dense"`` keeps whole of a grouped array; none under other policies."""
        if self.pattern.remainder != "dense":
            return []
        bottom, right = self.regions[0].down.entries.stop, self.regions[0].across.entries.stop
        return [grouped[..., bottom:, :], grouped[..., :bottom, right:]]

    def region_grid(self, region: Region) -> tuple[int, ...]:
        """Shape of the region's own grid of tiles."""
        return (*self.grid[:-2], region.down.runs, region.across.runs)

    @functools.cached_property
    def grid_axes(self) -> tuple[int, ...]:
        """Order of a grid's axes in which tiles that lie side by side in memory are neighbours.

        Groups stand where the grouped axis stands in the array. Last comes the innermost axis that is
        long enough to half fill a vector register, or else the longest: tiles along it are solved together.
        """
        axes = list(range(len(self.grid)))
        if not self.pattern.is_plane:
            *others, row, groups = axes
            place = self.pattern.axis % (len(self.grid) - 1)
            axes = [row, *others[:place], groups, *others[place:]]
        enough = [axis for axis in axes if self.grid[axis] >= _TOGETHER]
        along = enough[-1] if enough else max(reversed(axes), key=self.grid.__getitem__)
        axes.remove(along)
        return (*axes, along)

    @functools.cached_property
    def cuts(self) -> tuple[Cut, ...]:
        """How to view the tiles of each region, in the order of `grid_axes`."""
        return tuple(self._cut(region, self.grid_axes) for region in self.regions)

    @functools.cached_property
    def numbered_cuts(self) -> tuple[Cut, ...]:
        """How to view the tiles of each region, in the order of their numbers."""
        return tuple(self._cut(region, None) for region in self.regions)

    def _cut(self, region: Region, axes: tuple[int, ...] | None) -> Cut:
        down, across = region.down, region.across
        lead, row = self.grid[:-2], len(self.grid) - 2
        # Reshaped, the axes are the batch's, tiles down, rows of a tile, tiles across, columns of a tile.
        grid = (*range(row), row, row + 2)
        same = axes is None or axes == tuple(range(len(axes)))
        return Cut(
            region=region,
            axes=axes,
            entries=(..., down.entries, across.entries),
            shape=(*lead, down.runs, down.length, across.runs, across.length),
            order=(*(grid if axes is None else (grid[axis] for axis in axes)), row + 1, row + 3),
            tiles=None
            if same and len(self.regions) == 1
            else (*[slice(None)] * row, down.tiles, across.tiles),
        )


@functools.lru_cache(maxsize=512)
def tiling_of(pattern: Pattern, shape: tuple[int, ...]) -> Tiling:
    """Lay a pattern on a shape.

    Raises
    ------
    ValueError
        With what `Pattern.misfit` says, if it cannot be laid on it.
    """
    misfit = pattern.misfit(shape)
    if misfit is not None:
        raise ValueError(f"pattern '{pattern}' cannot be laid on shape {shape}: it {misfit}")
    if pattern.is_plane:
        lead, height, width = shape[:-2], shape[-2], shape[-1]
    else:
        axis = pattern.axis % len(shape)
        lead, height, width = shape[:axis] + shape[axis + 1 :], 1, shape[axis]
    tile_height, tile_width = pattern.tile_shape
    down, across = _segments(height, tile_height, pattern), _segments(width, tile_width, pattern)
    regions = tuple(_region(pattern, row, column) for row in down for column in across)
    grid = (*lead, sum(part.runs for part in down), sum(part.runs for part in across))
    return Tiling(pattern, shape, grid, regions)


def _segments(extent: int, length: int, pattern: Pattern) -> list[Segment]:
    """Cut an axis into runs of whole tiles and, under ``remainder="pad"``, a shorter one at the edge."""
    count, rest = divmod(extent, length)
    parts = [Segment(0, count, length, 0)]
    if rest and pattern.remainder == "pad":
        parts.append(Segment(count * length, 1, rest, count))
    return parts


def _region(pattern: Pattern, down: Segment, across: Segment) -> Region:
    """Bound the lines of a region's tiles: a row is whole if its columns are, and vice versa."""
    columns, rows = (0, 1), Budget(pattern.n, pattern.m)
    if pattern.transposable:
        columns = _group_bounds(pattern, pattern.budgets[-2], down.length)
    elif pattern.vector is not None:
        columns = (0, down.length)
    return Region(down, across, _group_bounds(pattern, rows, across.length), columns)


def _group_bounds(pattern: Pattern, budget: Budget, length: int) -> Bounds:
    exact = pattern.constraint == "exact" and length == budget.m
    return (budget.n if exact else 0), min(budget.n, length)
