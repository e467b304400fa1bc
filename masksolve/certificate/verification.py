"""The check of a mask against its pattern, in both orientations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .. import pairs
from ..amounts import COLUMNS
from ..arrays import boolean_array, check_shape, kept_array
from ..large_tiles import LargeTiles
from ..layout.host import cut_tiles, tile_numbers
from ..pattern import Pattern
from ..tiling import Cut, Tiling, tiling_of
from ..types import BoolArray, Bounds

_SHOWN = 10


@dataclass(frozen=True)
class Violation:
    """A group that keeps the wrong number of entries.

    ``tile`` counts row-major over (batch, tile row, tile column); ``axis`` is ``"row"`` or
    ``"column"`` of a tile, or ``"group"`` for one-directional patterns (then ``tile`` is the
    group's number and ``index`` is 0); ``count`` is the number of entries kept. Under V:N:M it may be
    ``"tile"``: then ``count`` is the number of columns that the tile's rows use together.
    """

    tile: int
    axis: str
    index: int
    count: int


class Verification:
    """The outcome of `verify`.

    Attributes
    ----------
    ok : bool
        Whether the mask follows the pattern.
    pattern : Pattern
    tiles : int
        Number of tiles (groups) examined.
    dense : int
        Number of tiles (groups) that may be dense and were not examined.
    """

    def __init__(self, tiling: Tiling, found: list[_Found], dense: int = 0) -> None:
        self.pattern = tiling.pattern
        self.tiles = tiling.tiles - dense
        self.dense = dense
        self._grid = tiling.grid
        self._found = found
        self.ok = not any(len(part.table) for part in found)

    def __len__(self) -> int:
        """Return the number of violations."""
        return sum(len(part.table) for part in self._found)

    def __bool__(self) -> bool:
        return self.ok

    @property
    def violations(self) -> list[Violation]:
        """Every violation, ordered by tile, rows before columns."""
        return [violation for violation, _ in self._listed(len(self))]

    def to_dict(self, limit: int | None = None) -> dict[str, Any]:
        """Give what was found in plain types, which ``json.dumps`` takes.

        Parameters
        ----------
        limit : int or None
            List no more violations than these; None: all. ``count`` counts them all.

        Returns
        -------
        dict
            ``ok``; ``pattern``; ``shape`` of the grid of tiles; ``tiles``; ``count``; and ``violations``,
            each with ``tile``, its ``place`` in the grid, ``axis``, ``index``, ``kept``, and what was
            allowed, ``least`` and ``most``.

        Examples
        --------
        >>> verify([[True, True, False, False], [True, True, True, False]], "2:4").to_dict()["violations"]
        [{'tile': 1, 'place': [1, 0, 0], 'axis': 'group', 'index': 0, 'kept': 3, 'least': 2, 'most': 2}]
        """
        violations = [
            {
                "tile": found.tile,
                "place": [int(each) for each in np.unravel_index(found.tile, self._grid)],
                "axis": found.axis,
                "index": found.index,
                "kept": found.count,
                "least": least,
                "most": most,
            }
            for found, (least, most) in self._listed(len(self) if limit is None else limit)
        ]
        return {
            "ok": self.ok,
            "pattern": str(self.pattern),
            "shape": list(self._grid),
            "tiles": self.tiles,
            "count": len(self),
            "violations": violations,
        }

    def __str__(self) -> str:
        unit = "tiles" if self.pattern.is_plane else "groups"
        if self.ok:
            return f"ok: {self.tiles} {unit} follow '{self.pattern}'" + (
                f", {self.dense} may be dense" if self.dense else ""
            )
        lines = [f"{len(self)} violations of '{self.pattern}' in {self.tiles} {unit}:"]
        for found, (least, most) in self._listed(_SHOWN):
            line = f"group {found.tile}"
            if found.axis != "group":
                line = f"tile {found.tile}, {found.axis} {found.index}"
            if found.axis == "tile":
                lines.append(f"  tile {found.tile} uses {found.count} columns, expected at most {most}")
                continue
            amount = "exactly" if least == most else "at most"
            lines.append(f"  {line} keeps {found.count}, expected {amount} {most}")
        if len(self) > _SHOWN:
            lines.append(f"  ... and {len(self) - _SHOWN} more")
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"Verification(ok={self.ok}, violations={len(self)}, pattern='{self.pattern}')"

    def _listed(self, limit: int) -> list[tuple[Violation, Bounds]]:
        """List the first violations, with what was allowed; tables are ordered, so their heads suffice."""
        every = [
            (Violation(int(tile), part.axis, int(index), int(count)), part.bounds)
            for part in self._found
            for tile, index, count in part.table[:limit]
        ]
        every.sort(key=lambda pair: (pair[0].tile, pair[0].axis != "row", pair[0].index))
        return every[:limit]


class _Found(NamedTuple):
    """Violations along one axis of one block: a table of tile, index and count."""

    axis: str
    bounds: Bounds
    table: npt.NDArray[np.int64]

    def in_entries(self) -> _Found:
        """Count entries and lines of entries in place of pairs; of two lines the first is named."""
        least, most = self.bounds
        return _Found(self.axis, (2 * least, 2 * most), self.table * np.array([1, 2, 2]))


def verify(
    mask: npt.ArrayLike,
    pattern: Pattern | str | tuple[int, int],
    *,
    dense: npt.ArrayLike | None = None,
    tile: int | tuple[int, int] | None = None,
) -> Verification:
    """Check that a mask, or pruned weights, follow a pattern, in both orientations if it is transposable.

    Parameters
    ----------
    mask : array of bool or of numbers, shape (..., R, C)
        True = kept; of numbers, such as pruned weights, those are kept that are not zero. Weights that
        happen to be zero count as dropped, so pruned weights are best checked with ``at_most``.
    pattern : Pattern or str
        ``constraint`` tells exactly n from at most n; groups that ``remainder="pad"`` cuts
        short may keep at most n; the tail that ``remainder="dense"`` keeps whole is in no group
        and is not examined. In pairs, counts are of entries in whole pairs: a pair of which only one entry
        is kept counts as two where there are too many, and as none where there are too few.
    dense : array of bool, shape (..., tile rows, tile columns), optional
        Which large tiles may be dense, as in `DenseTiles.dense`; all others must follow the pattern.
    tile : int or (int, int), optional
        Rows and columns of a large tile; goes with ``dense``.

    Returns
    -------
    Verification
        ``.ok``, ``.violations``, and a readable ``str()``.

    Raises
    ------
    TypeError
        If ``mask`` holds neither booleans nor numbers.
    ValueError
        If the pattern cannot be laid on its shape.

    Examples
    --------
    >>> print(verify([[0.0, -1.5, 0.0, 0.3]], "2:4"))
    ok: 1 groups follow '2:4'
    >>> print(verify([[True, False], [True, False]], "1:2-T"))
    2 violations of '1:2-T' in 1 tiles:
      tile 0, column 0 keeps 2, expected exactly 1
      tile 0, column 1 keeps 0, expected exactly 1
    """
    pattern = Pattern.parse(pattern)
    array = kept_array("mask", mask)
    check_shape("mask", array.shape, pattern)
    whole = tiling_of(pattern, array.shape)
    axes = ("row", "column") if pattern.transposable else ("group",) if pattern.vector is None else ("row",)
    if (dense is None) != (tile is None):
        raise ValueError("dense and tile must be given together: which tiles may be dense, and their size")
    if not pattern.pair:
        found = [_count(array, array, whole, cut, axis) for axis in axes for cut in whole.numbered_cuts]
    else:
        # A pair of which only one entry is kept takes the place of a pair and does the service of none.
        most, least = pairs.touched(array, pattern), pairs.whole(array, pattern)
        halved = tiling_of(pattern.of_pairs, most.shape)
        counted = [_count(most, least, halved, cut, axis) for axis in axes for cut in halved.numbered_cuts]
        found = [part.in_entries() for part in counted]
    if pattern.vector is not None:
        found += [_count_columns(array, whole, cut) for cut in whole.numbered_cuts]
    if dense is None or tile is None:
        return Verification(whole, found)
    flags = _dense_tiles(whole, dense, tile).ravel()
    found = [part._replace(table=part.table[~flags[part.table[:, 0]]]) for part in found]
    return Verification(whole, found, int(flags.sum()))


def _count_columns(array: BoolArray, tiling: Tiling, cut: Cut) -> _Found:
    """Find the tiles whose rows use more than four columns together."""
    used = cut_tiles(tiling, array, cut).any(axis=-2).sum(axis=-1)
    place = np.nonzero(used > COLUMNS)
    numbers = tile_numbers(tiling, cut.region, place)
    table = np.stack([numbers, np.zeros(len(place[0]), int), used[place]], axis=1)
    return _Found("tile", (0, COLUMNS), table[np.argsort(table[:, 0], kind="stable")])


def _dense_tiles(tiling: Tiling, dense: npt.ArrayLike, tile: int | tuple[int, int]) -> BoolArray:
    """Tell of every tile whether it may be dense."""
    large = LargeTiles.of("mask", tiling, tile)
    flags = boolean_array("dense", dense)
    if flags.shape != large.grid:
        raise ValueError(
            f"dense must have one entry for each tile of {large.shape} of a mask of shape {tiling.shape}, "
            f"{large.grid}, got shape {flags.shape}"
        )
    return large.tiles(flags)


def _count(most: BoolArray, least: BoolArray, tiling: Tiling, cut: Cut, axis: str) -> _Found:
    """Find the lines that keep more than they may of one mask, or less than they must of the other."""
    bounds = cut.region.column_bounds if axis == "column" else cut.region.row_bounds
    along = -2 if axis == "column" else -1
    counts = cut_tiles(tiling, most, cut).sum(axis=along, dtype=np.int8)
    full = counts if least is most else cut_tiles(tiling, least, cut).sum(axis=along, dtype=np.int8)
    *place, index = np.nonzero((full < bounds[0]) | (counts > bounds[1]))
    wrong = np.where(counts > bounds[1], counts, full)[*place, index]
    numbers = tile_numbers(tiling, cut.region, tuple(place[: len(tiling.grid)]))
    table = np.stack([numbers, index, wrong], axis=1)
    return _Found(axis, bounds, table[np.argsort(table[:, 0], kind="stable")])
