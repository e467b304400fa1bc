"""Dense and sparse tiles in one matrix: which ones stay dense, for a share of them or for one total."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from glob import escape
from typing import Any, Unpack

import numpy as np

from .. import checks
from ..arrays import check_shape
from ..backends import check_options
from ..frameworks import framework_of, to_numpy
from ..large_tiles import LargeTiles
from ..pattern import Pattern
from ..result import MaskResult
from ..rounding import HALF_ULP, relative_gap
from ..solve import solve
from ..tiling import tiling_of
from ..types import BackendName, BackendOptions, BoolArray, Float64Array, Score
from .allocation import with_n
from .core import Integers
from .knapsack import Levels, choose
from .parts import Form, kept_entries, taken


@dataclass(frozen=True, eq=False)
class DenseTiles:
    """Masks whose tiles are dense or follow a pattern, and the proof of how good the choice is.

    What belongs to one array comes in the form of the scores: by name, one after the other, or alone.

    Attributes
    ----------
    masks : dict, tuple or array of bool, or None
        Shape, array type and device of the scores; True = kept. None if the choice is one for a checkpoint,
        which is pruned by `recipe`.
    dense : dict, tuple or ndarray of bool
        Grid of tiles ``(..., tile rows, tile columns)`` of each array; True = dense.
    objective : float
        What the masks keep together.
    bound : float
        Proven upper bound on what any choice of dense tiles within the budget keeps, whatever the masks of
        the others; inf if the backend computes no bounds.
    price : float
        What one more dense tile (``share``) or kept entry (``sparsity``) can add at most.
    budget, used : int
        Dense tiles (``share``) or kept entries (``sparsity``) that are allowed, and that the choice takes.
    pattern : Pattern
    tile : (int, int)
        Rows and columns of a tile.
    levels : Levels
        Cost, value and bound of every tile as it follows the pattern (level 0) and as it is dense (1),
        array after array, row-major.
    """

    masks: Any
    dense: Any
    objective: float
    bound: float
    price: float
    budget: int
    used: int
    pattern: Pattern
    tile: tuple[int, int]
    levels: Levels
    form: Form = field(repr=False)

    @property
    def gap(self) -> float:
        """How far the choice may be from the best one, relative to the bound."""
        return relative_gap(self.objective, self.bound)

    @property
    def share(self) -> float:
        """Share of the tiles that are dense."""
        grids = self.form.listed(self.dense)
        dense = sum(int(np.count_nonzero(grid)) for grid in grids)
        return dense / max(sum(int(grid.size) for grid in grids), 1)

    @property
    def uniform(self) -> float:
        """What the pattern keeps without dense tiles, for comparison."""
        return math.fsum(self.levels.value[:, 0].tolist())

    def recipe(self) -> dict[str, str | dict[str, Any]]:
        """Patterns and dense tiles by name, as `masksolve.checkpoints.prune` takes them for its ``recipe``.

        Raises
        ------
        ValueError
            If the scores had no names, or are no matrices.
        """
        if self.form.names is None or any(len(shape) != 2 for shape in self.form.shapes):
            raise ValueError("recipe needs scores by name, each of them a matrix")
        pattern = str(self.pattern)
        return {
            escape(str(name)): {"pattern": pattern, "dense": grid_text(grid), "tile": list(self.tile)}
            if grid.any()
            else pattern
            for name, grid in self.dense.items()
        }

    def __repr__(self) -> str:
        height, width = self.tile
        return (
            f"DenseTiles('{self.pattern}', {100 * self.share:.4g}% of {len(self.levels.cost)} tiles of "
            f"{height} x {width} dense, objective={self.objective:.9g}, gap={self.gap:.2g})"
        )


def dense_tiles(
    scores: Any,
    pattern: Pattern | str | tuple[int, int],
    *,
    share: float | None = None,
    sparsity: float | None = None,
    tile: int | tuple[int, int] = 128,
    score: Score = "value",
    backend: BackendName | str = "auto",
    workers: int = 1,
    progress: Callable[[int, int], object] | None = None,
    **options: Unpack[BackendOptions],
) -> DenseTiles:
    """Choose the tiles that stay dense, so that most is kept; all others follow the pattern optimally.

    Kernels that load a matrix tile by tile may multiply some tiles dense and others sparse. A tile gains by
    being dense what its optimal mask loses; the tiles with the largest gains are the best choice, over
    several arrays at once as well.

    Parameters
    ----------
    scores : mapping of arrays, sequence of arrays, or array; shapes (..., R, C)
        What each entry is worth, comparable between arrays. Arrays of any library that `masksolve.solve`
        takes.
    pattern : Pattern or str
        Of the tiles that are not dense.
    share : float
        Share of all tiles that may be dense, 0 to 1.
    sparsity : float
        In place of ``share``: share of all entries that must be zero.
    tile : int or (int, int)
        Rows and columns of a tile; a multiple of m along the axes of the pattern. Tiles at the edges may be
        cut short.
    score : {"value", "magnitude", "square"}
        What an entry x of the scores is worth, as for `masksolve.solve`.
    backend, workers, **options
        As for `masksolve.solve`. The bound is one on all masks only for backends that compute bounds.
    progress : callable
        Called as ``progress(done, total)``, in arrays.

    Returns
    -------
    DenseTiles

    Raises
    ------
    TypeError, ValueError
        If an argument is not what it should be, or the pattern alone keeps more than ``sparsity`` leaves.

    References
    ----------
    Hourri, Mozaffari and Mehri Dehnavi. PATCH: Learnable Tile-level Hybrid Sparsity for LLMs.
    arXiv:2509.23410, 2025, which learns the choice.

    Examples
    --------
    >>> import numpy as np, masksolve as ms
    >>> weights = np.random.default_rng(0).standard_normal((64, 64))
    >>> found = ms.dense_tiles(weights, "2:4", share=0.25, tile=16, score="magnitude")
    >>> found
    DenseTiles('2:4', 25% of 16 tiles of 16 x 16 dense, objective=..., gap=...)
    >>> print(ms.verify(found.masks, "2:4", dense=found.dense, tile=found.tile))
    ok: 768 groups follow '2:4', 256 may be dense
    """
    check_options(dense_tiles, backend, options)
    pattern = Pattern.parse(pattern)
    form, arrays = taken(scores)
    check_amount(share, sparsity)
    large = []
    for number, shape in enumerate(form.shapes):
        check_shape(form.called(number), shape, pattern)
        large.append(LargeTiles.of(form.called(number), tiling_of(pattern, shape), tile))
    how: dict[str, Any] = {"score": score, "workers": workers}
    levels, masks = [], []
    for number, (array, each) in enumerate(zip(arrays, large, strict=True)):
        sparse, full = solved_both(array, pattern, how, {"backend": backend, **options})
        levels.append(tile_levels(each, sparse, full, entries=share is None))
        masks.append((sparse.mask, full.mask))
        if progress is not None:
            progress(number + 1, len(arrays))
    chosen = chosen_tiles(form, pattern, large, levels, share=share, sparsity=sparsity)
    found = [
        _mixed(*pair, each.entries(flags), array)
        for pair, each, flags, array in zip(masks, large, form.listed(chosen.dense), arrays, strict=True)
    ]
    return replace(chosen, masks=form.answer(found))


def check_amount(share: float | None, sparsity: float | None) -> None:
    """Refuse neither and both."""
    if (share is None) == (sparsity is None):
        raise ValueError(f"share or sparsity must be given, and not both, got {share} and {sparsity}")


def solved_both(
    array: Any, pattern: Pattern, how: dict[str, Any], options: dict[str, Any]
) -> tuple[MaskResult, MaskResult]:
    """Solve an array by its pattern, and as if all of it were dense, which no backend need be asked for."""
    how = {"duals": False, "tiles": True, **how}
    # The second keeps everything, or under at_most what is worth it.
    return solve(array, pattern, **how, **options), solve(array, _full(pattern), **how)


def chosen_tiles(
    form: Form,
    pattern: Pattern,
    large: Sequence[LargeTiles],
    levels: Sequence[Levels],
    *,
    share: float | None,
    sparsity: float | None,
) -> DenseTiles:
    """Choose among the tiles of all arrays; the result has no masks."""
    together = Levels(*map(np.concatenate, zip(*levels, strict=True)))
    budget = _budget(together, share, sparsity, form.entries)
    choice = choose(together, budget)
    dense, first = [], 0
    for each in large:
        count = math.prod(each.grid)
        dense.append((choice.level[first : first + count] == 1).reshape(each.grid))
        first += count
    return DenseTiles(
        masks=None,
        dense=form.answer(dense),
        objective=choice.objective,
        bound=choice.bound,
        price=choice.price,
        budget=budget,
        used=choice.cost,
        pattern=pattern,
        tile=large[0].shape,
        levels=together,
        form=form,
    )


def grid_text(grid: BoolArray) -> str:
    """Write a grid of tiles as hexadecimal digits: a bit for each tile, row by row, the highest one first."""
    return np.packbits(grid).tobytes().hex()


def _full(pattern: Pattern) -> Pattern:
    """Give the pattern of a dense tile, m of m."""
    if pattern.vector is not None:
        pattern = replace(pattern, vector=None)
    return with_n(pattern, pattern.m)


def _budget(levels: Levels, share: float | None, sparsity: float | None, entries: int) -> int:
    if share is not None:
        allowed = Fraction(repr(checks.number("share", share, least=0.0, most=1.0)))
        return math.floor(allowed * len(levels.cost))
    budget, least = kept_entries(sparsity, entries), int(levels.cost[:, 0].sum())
    if budget < least:
        raise ValueError(
            f"sparsity must leave the {least} of {entries} entries that the pattern keeps without dense "
            f"tiles; it leaves {budget}"
        )
    return budget


def tile_levels(large: LargeTiles, sparse: MaskResult, full: MaskResult, *, entries: bool) -> Levels:
    """Cost, value and bound of every large tile, sparse and dense."""
    parts = []
    for level, result in enumerate((sparse, full)):
        assert result.tiles is not None
        tiles = LargeTiles(tiling_of(result.pattern, large.tiling.shape), large.shape)
        value, bound = (np.asarray(to_numpy("tiles", part)) for part in result.tiles)
        cost = _entries(tiles) if entries else np.full(large.grid, level)
        parts.append([part.ravel() for part in (cost, tiles.sums(value), _upper(tiles, bound))])
    cost, value, bound = (np.stack(column, axis=1) for column in zip(*parts, strict=True))
    return Levels(cost.astype(np.int64), value, bound)


def _entries(large: LargeTiles) -> Integers:
    """Entries that the pattern may keep of every large tile."""
    tiles = np.empty(large.tiling.grid, np.int64)
    for region in large.tiling.regions:
        tiles[..., region.down.tiles, region.across.tiles] = region.capacity
    sums: Integers = large.sums(tiles)
    return sums


def _upper(large: LargeTiles, bound: Float64Array) -> Float64Array:
    """Sum bounds, with what rounding can have lost on top."""
    terms = np.prod(large.shape)
    upper: Float64Array = large.sums(bound) + HALF_ULP * terms * large.sums(np.abs(bound))
    return upper


def _mixed(sparse: Any, full: Any, dense: BoolArray, like: Any) -> Any:
    """Take one mask where tiles are dense, and the other one elsewhere."""
    framework = framework_of(like)
    where: Any = dense if framework is None else framework.from_numpy(np.ascontiguousarray(dense), like)
    return (full & where) | (sparse & ~where)
