"""Exchanges of single kept entries for dropped ones: the last percent of a layer's error.

ADMM ends at a mask that its own iteration leaves as it is. Some exchanges of one kept entry for one dropped
entry still lower the error, and the inverse of the Gram matrix on a row's kept inputs tells what each of
them is worth once all other weights of the row are fitted anew, without fitting any.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from ..pattern import Pattern
from ..tiling import Segment, tiling_of
from .blas import in_threads
from .exchange_state import RowState
from .layer_problem import LayerProblem
from .least_squares import fit, squared_errors

_LEAST_GAIN = 1e-5
"""An exchange must lower the error of its rows by this share of it, which is more than rounding pretends."""

_ON_HOST, _ON_DEVICE = 1 << 20, 1 << 24
"""Entries of the inverses of a chunk of rows, if a row of tiles takes no more: on the host what a processor's
cache holds (two thirds of the time of 32 MiB), on an accelerator enough to keep it busy."""


class Exchanged(NamedTuple):
    """What exchanges led to.

    Attributes
    ----------
    weights, mask : array, shape (outputs, columns)
        Scaled weights, fitted to the mask.
    exchanged : int
        Entries that the mask keeps now and did not keep before.
    """

    weights: Any
    mask: Any
    exchanged: int


def check_exchanges(pattern: Pattern, rounds: int) -> None:
    """Refuse rounds of exchanges for a pattern whose entries cannot be exchanged one by one.

    Raises
    ------
    ValueError
        For pairs, V:N:M and groups along the outputs.
    """
    if rounds and (pattern.pair or pattern.vector is not None or pattern.axis != -1):
        raise ValueError(
            f"exchanges must be 0 for pattern '{pattern}', got {rounds}: single entries are exchanged within "
            f"groups along the inputs or transposable tiles; pairs, V:N:M and axis=-2 have none"
        )


def exchange(
    layer: LayerProblem,
    kept: Any,
    weights: Any,
    pattern: Pattern,
    rounds: int,
    *,
    method: str,
    inputs: int,
    held: Any | None = None,
) -> Exchanged:
    """Exchange entries as long as that lowers the error, at most one in each row in each round.

    In a group any kept entry may be exchanged for any dropped one. In a transposable tile two rows exchange
    together: row i drops column p for q, and row k drops q for p, so that every line keeps as many as before.
    Each row (or pair of rows) makes its best exchange of the round. Rows do not depend on each other, so that
    what `RowState.changes` says of a row is exact, and the changes of two rows add up.

    Parameters
    ----------
    layer : LayerProblem
    kept : array of bool, shape (outputs, columns)
        A mask that follows the pattern.
    weights : array, shape (outputs, columns)
        Scaled, fitted to it.
    pattern : Pattern
        That `check_exchanges` lets pass.
    rounds : int
        At most so many; they end when no exchange lowers the error any more.
    method : {"auto", "cholesky", "pcg"}
        Of the least squares at the end.
    inputs : int
        Columns of one place of a kernel, at whose end groups end, too.
    held : array of bool, shape (outputs, columns), optional
        Entries that stay.

    Returns
    -------
    Exchanged
        Where the error of a row (of a row of tiles) has not fallen, measured anew with fitted weights, all
        is as it was.
    """
    xp, (outputs, columns) = layer.space.xp, kept.shape
    if not rounds or not outputs or not columns:
        return Exchanged(weights, kept, 0)
    done = []
    for band in _bands(pattern, outputs, columns, inputs):
        part = _Part(replace(layer, weights=layer.weights[band.rows, :]), band, kept[band.rows, :])
        own = None if held is None else held[band.rows, :]
        done.append(part.exchanged(own, weights[band.rows, :], rounds, method))
    rest = sum(each[0].shape[0] for each in done)  # rows of a tail that is kept whole follow
    new = xp.concat([each[0] for each in done] + [weights[rest:, :]])
    mask = xp.concat([each[1] for each in done] + [kept[rest:, :]])
    return Exchanged(new, mask, int(xp.sum(xp.astype(mask & ~kept, xp.int64))))


@dataclass(frozen=True)
class _Bands:
    """Equal rows of tiles, one below the other.

    Attributes
    ----------
    rows : slice
        Of the weights.
    height : int
        Rows of a tile, which exchange with each other; 1 for groups.
    slots : ndarray of int, shape (tiles, width)
        Columns of the tiles; -1 where a tile is narrower than others.
    """

    rows: slice
    height: int
    slots: np.ndarray[Any, np.dtype[np.int64]]


def _bands(pattern: Pattern, outputs: int, columns: int, inputs: int) -> Iterator[_Bands]:
    """Lay the pattern on the weights, place by place of a kernel."""
    regions = tiling_of(pattern, (outputs, inputs)).regions
    downs = dict.fromkeys(region.down for region in regions)
    for down in downs:
        across = [region.across for region in regions if region.down == down]
        one = np.concatenate([_columns(segment, pattern.m) for segment in across])
        first = np.arange(0, columns, inputs)[:, None, None]
        slots = np.where(one[None] < 0, -1, one[None] + first).reshape(-1, pattern.m)
        rows = down if pattern.transposable else Segment(0, outputs, 1, 0)
        if rows.runs:
            yield _Bands(rows.entries, rows.length, slots)


def _columns(segment: Segment, width: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Columns of each tile of a segment, filled up with -1."""
    places = np.arange(width)
    first = segment.start + segment.length * np.arange(segment.runs)
    return np.where(places < segment.length, first[:, None] + places, -1)


@dataclass(frozen=True)
class _Part:
    """Rows of equal tiles: their problem, where the tiles are, and their mask."""

    layer: LayerProblem
    bands: _Bands
    kept: Any

    def exchanged(self, held: Any | None, weights: Any, rounds: int, method: str) -> tuple[Any, Any]:
        """Weights and mask after all rounds; rows of tiles that did not gain are as they were."""
        layer, xp = self.layer, self.layer.space.xp
        slots = layer.space.here("slots", np.maximum(self.bands.slots, 0))
        real = layer.space.here("slots", self.bands.slots >= 0)

        def settle(rows: slice) -> tuple[Any, Any]:
            state = RowState.of(layer, layer.weights[rows, :], self.kept[rows, :], slots)
            own = None if held is None else held[rows, :]
            return _settle(state, own, real, self.bands.height, rounds)

        found = in_threads(xp, settle, self._chunks)
        mask, start = (xp.concat([each[part] for each in found]) for part in (0, 1))
        new = fit(layer, mask, method=method, start=start)
        after, before = (squared_errors(xp, layer.weights - each, layer.gram) for each in (new, weights))
        better = self._sums(after) < self._sums(before)
        return xp.where(better, new, weights), xp.where(better, mask, self.kept)

    def _sums(self, errors: Any) -> Any:
        """Sum over the rows of each tile, given to each of them, (rows, 1)."""
        xp, height = self.layer.space.xp, self.bands.height
        sums = xp.sum(xp.reshape(errors, (-1, height)), axis=1, keepdims=True)
        return xp.reshape(xp.broadcast_to(sums, (sums.shape[0], height)), (-1, 1))

    def _chunks(self, threads: int) -> Iterator[slice]:
        (rows, columns), height = self.kept.shape, self.bands.height
        entries = _ON_HOST if self.layer.space.on_host else _ON_DEVICE
        tiles = min(entries // (columns**2 * height), rows // height // threads)
        step = max(1, tiles) * height
        for first in range(0, rows, step):
            yield slice(first, min(first + step, rows))


def _settle(state: RowState, held: Any | None, real: Any, height: int, rounds: int) -> tuple[Any, Any]:
    """Exchange round by round, until no exchange is left that lowers the error: mask and weights."""
    xp = state.layer.space.xp
    for _ in range(rounds):
        changes = state.changes(state.kept if held is None else state.kept & ~held, real)
        least = _LEAST_GAIN * state.errors()
        swaps = _in_groups(xp, changes, least) if height == 1 else _in_tiles(xp, changes, least, height)
        if not bool(xp.any(swaps.active)):
            break
        state = state.after(*swaps)
    return state.kept, state.weights


class _Swaps(NamedTuple):
    """What each row drops and adds.

    Attributes
    ----------
    drop, add : array of int, shape (rows,)
        Numbers of slots, counted through all tiles.
    active : array of bool, shape (rows,)
        Whether the row exchanges anything.
    """

    drop: Any
    add: Any
    active: Any


def _slots(place: Any, width: int) -> tuple[Any, Any]:
    """Slots of a place in (tiles, width, width), row-major."""
    tile, dropped = place // width**2, place // width % width
    return tile * width + dropped, tile * width + place % width


def _in_groups(xp: Any, changes: Any, least: Any) -> _Swaps:
    """Choose the best exchange of each row."""
    flat = xp.reshape(changes, (changes.shape[0], -1))
    active = xp.min(flat, axis=1) < -least
    return _Swaps(*_slots(xp.argmin(flat, axis=1), changes.shape[2]), active)


def _in_tiles(xp: Any, changes: Any, least: Any, height: int) -> _Swaps:
    """Choose pairs of rows of a tile: each the best one for both of its rows, so that no row is in two.

    The pair (i, s) is row i, which drops p and adds q, and row i + s (modulo the height), which does the
    opposite. The two may look at equal changes in another order, so that row i alone says which p and q.
    """
    rows, tiles, width, _ = changes.shape
    bands = xp.reshape(changes, (rows // height, height, tiles, width, width))
    least, shifts = xp.reshape(least, (-1, height)), range(1, height // 2 + 1)
    values, places = [], []
    for shift in shifts:
        other = xp.roll(bands, -shift, axis=1)
        both = xp.reshape(bands + xp.matrix_transpose(other), (*bands.shape[:2], -1))
        value = xp.min(both, axis=2) + least + xp.roll(least, -shift, axis=1)
        if 2 * shift == height:  # rows i and i + height / 2 would meet twice
            value = xp.concat([value[:, :shift], xp.full_like(value[:, shift:], xp.inf)], axis=1)
        values.append(value)
        places.append(xp.argmin(both, axis=2))
    seconds = [xp.roll(value, shift, axis=1) for shift, value in zip(shifts, values, strict=True)]
    candidates = xp.stack(values + seconds, axis=2)
    choice, good = xp.argmin(candidates, axis=2), xp.min(candidates, axis=2) < 0
    drop = add = xp.zeros_like(choice)
    active = good & ~good
    for number, (shift, place) in enumerate(zip(shifts, places, strict=True)):
        wanted = xp.roll(choice, -shift, axis=1) == number + len(places)
        first = good & (choice == number) & wanted
        second = xp.roll(first, shift, axis=1)
        p, q = _slots(place, width)
        other_p, other_q = (xp.roll(each, shift, axis=1) for each in (q, p))
        drop = xp.where(first, p, xp.where(second, other_p, drop))
        add = xp.where(first, q, xp.where(second, other_q, add))
        active = active | first | second
    return _Swaps(*(xp.reshape(each, (-1,)) for each in (drop, add, active)))
