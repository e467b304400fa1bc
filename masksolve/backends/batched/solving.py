"""The solver: price, fill, and augment what is left until nothing is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from .augmenting import augment
from .frame import Batch, Compiler, Frame, Tiles, narrow, select, span, tiles_first, widen
from .pricing import begin

_STEPS = 4
"""Steps in the first pass at most, twice as many in the next two, and so on: few tiles need more."""


class Answer(NamedTuple):
    """Masks and the prices that prove them.

    Attributes
    ----------
    mask : array (T, r, c) of bool
        True = kept; arbitrary for tiles that are not solved.
    rows, columns : arrays (T, r) and (T, c) of the scores' dtype
        Dual prices.
    solved : array (T,) of bool
        False where no mask is feasible.
    passes, steps : int
        How often unfinished tiles were given paths, and the min-plus steps which that took.
    """

    mask: Any
    rows: Any
    columns: Any
    solved: Any
    passes: int
    steps: int


def solve_tiles(
    xp: Any,
    tiles: Tiles,
    *,
    start: tuple[Any, Any] | None = None,
    rounds: int = 3,
    compiler: Compiler | None = None,
) -> Answer:
    """Find an optimal mask of every tile, with prices that prove it.

    Parameters
    ----------
    xp : namespace of the array-API standard 2023.12
        As ``array_api_compat.array_namespace(tiles.scores)`` gives it.
    tiles : Tiles
    start : (rows, columns), arrays (T, r) and (T, c)
        Finite prices to begin with, say those of slightly different scores. The first rows' prices
        follow from the columns'.
    rounds : int
        How often prices are improved by order statistics before paths are sought; more of them
        leave fewer paths.
    compiler : callable or None
        Makes functions of arrays quick, as ``jax.jit`` does, which JAX needs badly. The functions are
        compiled anew for every shape, so batches are brought to few sizes.

    Returns
    -------
    Answer
        A tile's mask does not depend on the other tiles. Of equal entries, row i of r keeps those
        that come first from column i * c // r on, circularly, unless columns need others.

    Raises
    ------
    ValueError
        If bounds are not 0 <= least <= most <= length of the line.

    References
    ----------
    Ahuja, Magnanti, Orlin. Network Flows, 1993, section 9.7: successive shortest paths.

    Examples
    --------
    >>> import numpy as np
    >>> answer = solve_tiles(np, Tiles(np.array([[[3., 1.], [2., 5.]]]), (1, 1), (1, 1)))
    >>> answer.mask
    array([[[ True, False],
            [False,  True]]])
    """
    frame = Frame.of(xp, tiles, compiler)
    parts, pending = _parted(frame, _begun(frame, tiles, None if start is None else start[1], rounds))
    batch: Batch = frame.run(widen, _joined(frame, pending))
    passes = steps = 0
    while batch.ids.shape[0]:
        most_steps = min(_STEPS << (passes + 1) // 2, batch.columns.shape[0] + 1)
        moved = []
        for first, last in frame.chunks(batch.ids.shape[0]):
            part, taken = frame.run(augment, span(batch, first, last), most_steps=most_steps)
            moved.append(part)
            steps += int(taken)
        passes += 1
        done, pending = _parted(frame, moved)
        parts += done
        batch = _joined(frame, pending)
    mask, rows, columns, solved = frame.run(_ordered, parts, whole=tiles.scores.shape[0])
    return Answer(mask, rows, columns, solved, passes, steps)


class _Part(NamedTuple):
    """Finished tiles, first axis."""

    ids: Any
    mask: Any
    rows: Any
    columns: Any
    solved: Any


def _begun(frame: Frame, tiles: Tiles, start: Any | None, rounds: int) -> Iterator[Batch]:
    for first, last in frame.chunks(tiles.scores.shape[0]):
        scores, _, _, keep, drop = tiles.part(first, last)
        part = scores, keep, drop, None if start is None else start[first:last, ...]
        yield frame.run(begin, part, first, rounds=rounds)


def _parted(frame: Frame, batches: Iterable[Batch]) -> tuple[list[_Part], list[Batch]]:
    """Finished tiles, and the others."""
    parts, pending = [], []
    for batch in batches:
        done, open_ = frame.run(_status, batch)
        parts.append(frame.run(_finished, select(frame, batch, done)))
        pending.append(select(frame, batch, open_))
    return parts, pending


def _status(frame: Frame, batch: Batch) -> tuple[Any, Any]:
    done = frame.xp.all(batch.excess == 0, axis=0) | batch.hopeless
    return done & (batch.ids >= 0), ~done


def _finished(frame: Frame, batch: Batch) -> _Part:
    batch = narrow(frame, batch)
    mask, rows, columns = (
        tiles_first(frame.xp, array) for array in (batch.amounts, batch.rows, batch.columns)
    )
    return _Part(batch.ids, mask, rows, columns, ~batch.hopeless)


def _joined(frame: Frame, batches: Sequence[Batch]) -> Batch:
    if len(batches) == 1:
        return batches[0]
    joined = Batch(*(frame.xp.concat(arrays, axis=-1) for arrays in zip(*batches, strict=True)))
    return select(frame, joined, joined.ids >= 0)


def _ordered(frame: Frame, parts: list[_Part], *, whole: int) -> list[Any]:
    """Masks, prices and verdicts in the caller's order; what batches were filled up with comes first."""
    xp = frame.xp
    ids, *arrays = (xp.concat(pieces) for pieces in zip(*parts, strict=True))
    order = xp.argsort(ids)
    return [xp.take(array, order[order.shape[0] - whole :], axis=0) for array in arrays]
