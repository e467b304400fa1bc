"""A batch of equal tiles on its way to optimal masks: what tiles have in common, and what each has."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, NamedTuple

from ...frameworks import framework_of
from ...types import Bounds

Compiler = Callable[[Callable[..., Any]], Callable[..., Any]]

_SMALLEST_BATCH = 256
"""Tiles that a compiled batch is filled up to, at least."""

_CPU_ENTRIES = 1 << 19
"""Scores in a chunk on a processor: operations long enough to start, short enough for its cache."""

_DEVICE_ENTRIES = 1 << 24
"""Scores in a chunk on an accelerator: long kernels, and temporaries of some GiB at most."""

_FEWEST_TILES = 256
"""Tiles in a chunk of large tiles: operations run over this many neighbouring numbers."""


class Tiles(NamedTuple):
    """Equal tiles and their constraints; every array has the same namespace and device.

    Attributes
    ----------
    scores : array (T, r, c) of float32 or float64
        Finite, of magnitudes up to about 1e34 in float32 and 1e300 in float64.
    row_bounds, column_bounds : (int, int)
        Least and most kept in every row and column; columns (0, r) are free, as those of
        one-directional groups (r = 1) are.
    keep, drop : array (T, r, c) of bool, or None
        Forced choices; no entry is in both.
    """

    scores: Any
    row_bounds: Bounds
    column_bounds: Bounds
    keep: Any | None = None
    drop: Any | None = None

    def part(self, first: int, last: int) -> Tiles:
        """Tiles ``first`` to ``last`` - 1."""
        return self._replace(
            scores=self.scores[first:last, ...],
            keep=None if self.keep is None else self.keep[first:last, ...],
            drop=None if self.drop is None else self.drop[first:last, ...],
        )


@dataclass(frozen=True)
class Frame:
    """What the tiles of a batch have in common, and arrays beside them.

    Attributes
    ----------
    xp, dtype, device
        Namespace, type of the scores and device of all arrays.
    height, width : int
        Rows and columns of a tile.
    row_bounds, column_bounds : (int, int)
    forced : bool
        Whether scores may be infinite: kept and dropped entries.
    compiler : callable or None
        What `run` makes functions quick with.
    on_host : bool
        Whether the arrays lie in the processor's memory.
    """

    xp: Any
    dtype: Any
    device: Any
    height: int
    width: int
    row_bounds: Bounds
    column_bounds: Bounds
    forced: bool
    compiler: Compiler | None = None
    on_host: bool = True

    @classmethod
    def of(cls, xp: Any, tiles: Tiles, compiler: Compiler | None = None) -> Frame:
        """Describe the tiles; refuses impossible bounds."""
        _, height, width = tiles.scores.shape
        for name, length in (("row_bounds", width), ("column_bounds", height)):
            least, most = getattr(tiles, name)
            if not 0 <= least <= most <= length:
                raise ValueError(f"{name} must be 0 <= least <= most <= {length}, got ({least}, {most})")
        framework = framework_of(tiles.scores)
        return cls(
            xp,
            tiles.scores.dtype,
            tiles.scores.device,
            height,
            width,
            tiles.row_bounds,
            tiles.column_bounds,
            forced=tiles.keep is not None or tiles.drop is not None,
            compiler=compiler,
            on_host=framework is None or framework.on_host(tiles.scores),
        )

    def run(self, function: Callable[..., Any], *arrays: Any, **options: Any) -> Any:
        """Call ``function(frame, *arrays, **options)``, compiled once for all frames equal to this one.

        Options are constants to the compiler; where it compiles for every shape, `size` keeps shapes few.
        """
        return _staged(self, function, tuple(options.items()))(*arrays)

    def chunks(self, tiles: int) -> Iterator[tuple[int, int]]:
        """Spans of tiles to work on at a time."""
        entries = _CPU_ENTRIES if self.on_host and self.compiler is None else _DEVICE_ENTRIES
        step = max(_FEWEST_TILES, entries // max(self.height * self.width, 1))
        for first in range(0, max(tiles, 1), step):
            yield first, min(first + step, tiles)

    @property
    def free(self) -> bool:
        """Whether columns may keep anything, so that rows stand alone."""
        return self.column_bounds == (0, self.height)

    @property
    def slack(self) -> bool:
        """Whether some line may keep fewer or more."""
        return any(least < most for least, most in (self.row_bounds, self.column_bounds))

    @property
    def unreachable(self) -> float:
        """A distance beyond any path's; twice it is still finite or infinite, never NaN."""
        return float(self.xp.finfo(self.dtype).max) / 4

    def size(self, tiles: int) -> int:
        """Size of a batch for so many tiles: with a compiler one of few."""
        if not tiles or self.compiler is None:
            return tiles
        return int(max(4 ** math.ceil(math.log(tiles, 4)), _SMALLEST_BATCH))

    @property
    def small(self) -> Any:
        """Type of counts and indices within a tile: narrow, to be fast."""
        fits = 2 * max(self.height, self.width) + 2 < 128
        return self.xp.int8 if fits else self.xp.int32

    def number(self, value: float) -> Any:
        """Make a scalar array."""
        return self.xp.asarray(value, dtype=self.dtype, device=self.device)

    def integer(self, value: int) -> Any:
        """Make a scalar array of the small type."""
        return self.xp.asarray(value, dtype=self.small, device=self.device)

    def counting(self, length: int) -> Any:
        """Make 0, 1, ... of the small type."""
        return self.xp.arange(length, dtype=self.small, device=self.device)

    def count(self, mask: Any, axis: int) -> Any:
        """Count True along an axis, in the small type."""
        return self.xp.sum(self.xp.astype(mask, self.small), axis=axis, dtype=self.small)

    def cost(self, mask: Any) -> Any:
        """Zero where False, unreachable where True."""
        return self.xp.astype(mask, self.dtype) * self.unreachable


class Batch(NamedTuple):
    """Tiles, last axis, on their way to an optimal mask.

    Attributes
    ----------
    ids : int array (T,)
        Their places in the caller's array.
    scores : array (r, c, T)
        Infinite where forced; a last row and column of zeros where lines have slack.
    amounts : array (r, c, T), bool or the small type
        What is kept of each entry; those of the last row and column count the slack.
    rows, columns : arrays (r, T) and (c, T)
        Prices.
    excess : array (c, T) of int32
        What each column keeps beyond what it should; zero for all columns of a finished tile.
    hopeless : array (T,) of bool
        Whether no mask is feasible.
    """

    ids: Any
    scores: Any
    amounts: Any
    rows: Any
    columns: Any
    excess: Any
    hopeless: Any


def span(batch: Batch, first: int, last: int) -> Batch:
    """Tiles ``first`` to ``last`` - 1."""
    if last - first == batch.ids.shape[0]:
        return batch
    return Batch(*(array[..., first:last] for array in batch))


def select(frame: Frame, batch: Batch, where: Any) -> Batch:
    """Take the tiles for which ``where`` (T,) is True.

    With a compiler the batch is filled up to one of few sizes with tiles of id -1 that are finished.
    """
    order, count = frame.run(_order, where)
    count, tiles = int(count), where.shape[0]
    if count == tiles:
        return batch
    taken: Batch = frame.run(_taken, batch, order[: min(frame.size(count), tiles)], count)
    return taken


def _order(frame: Frame, where: Any) -> tuple[Any, Any]:
    """Places of the True ones, followed by last places without meaning; and how many are True."""
    xp, tiles = frame.xp, where.shape[0]
    numbers = xp.cumulative_sum(xp.astype(where, xp.int32), dtype=xp.int32)
    wanted = xp.arange(1, tiles + 1, dtype=xp.int32, device=frame.device)
    places = xp.searchsorted(numbers, wanted)
    return xp.clip(places, 0, max(tiles - 1, 0)), xp.sum(xp.astype(where, xp.int32))


def _taken(frame: Frame, batch: Batch, index: Any, count: int) -> Batch:
    xp = frame.xp
    taken = Batch(*(xp.take(array, index, axis=array.ndim - 1) for array in batch))
    if frame.compiler is None:
        return taken
    real = xp.arange(index.shape[0], device=frame.device) < count
    ids = xp.where(real, taken.ids, xp.full_like(taken.ids, -1))
    return taken._replace(ids=ids, excess=taken.excess * xp.astype(real, xp.int32))


def widen(frame: Frame, batch: Batch) -> Batch:
    """Append the row and column that hold the lines' slack, if there is any."""
    if not frame.slack:
        return batch
    xp = frame.xp
    (_, row_most), (_, column_most) = frame.row_bounds, frame.column_bounds
    amounts = xp.astype(batch.amounts, frame.small)
    right = row_most - xp.sum(amounts, axis=1, dtype=frame.small)
    below = xp.astype(batch.excess + column_most - xp.sum(amounts, axis=0, dtype=xp.int32), frame.small)
    edge = xp.zeros_like(right[:1, :])
    amounts = xp.concat([amounts, right[:, None, :]], axis=1)
    amounts = xp.concat([amounts, xp.concat([below, edge])[None, :, :]])
    scores = xp.concat([batch.scores, xp.zeros_like(batch.scores[:, :1, :])], axis=1)
    scores = xp.concat([scores, xp.zeros_like(scores[:1, :, :])])
    free = xp.zeros_like(batch.rows[:1, :])
    return batch._replace(
        scores=scores,
        amounts=amounts,
        rows=xp.concat([batch.rows, free]),
        columns=xp.concat([batch.columns, free]),
        excess=xp.concat([batch.excess, -xp.sum(batch.excess, axis=0, keepdims=True, dtype=xp.int32)]),
    )


def narrow(frame: Frame, batch: Batch) -> Batch:
    """Undo `widen`: the slack's own prices, opposite numbers, become zero."""
    if batch.rows.shape[0] == frame.height:
        return batch
    return batch._replace(
        amounts=batch.amounts[:-1, :-1, :] > 0,
        rows=batch.rows[:-1, :] + batch.columns[-1:, :],
        columns=batch.columns[:-1, :] + batch.rows[-1:, :],
    )


def tiles_last(xp: Any, array: Any) -> Any:
    """Move the first axis last, and the numbers with it: reshaping to one axis orders them."""
    turned = xp.permute_dims(array, (*range(1, array.ndim), 0))
    return xp.reshape(xp.reshape(turned, (-1,)), turned.shape)


def tiles_first(xp: Any, array: Any) -> Any:
    """Move the last axis first, and the numbers with it."""
    turned = xp.permute_dims(array, (array.ndim - 1, *range(array.ndim - 1)))
    return xp.reshape(xp.reshape(turned, (-1,)), turned.shape)


@lru_cache(maxsize=512)
def _staged(
    frame: Frame, function: Callable[..., Any], options: tuple[tuple[str, Any], ...]
) -> Callable[..., Any]:
    bound = partial(function, frame, **dict(options))
    return bound if frame.compiler is None else frame.compiler(bound)
