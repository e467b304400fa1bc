"""The unit of work: a tensor or a part of one, from a place in one file to a place in another.

A piece travels to its worker as paths and byte ranges, never as arrays. Doing it twice writes the same
bytes to the same place, so that a worker may die or a piece be done again at any time.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .._ext.arrays import magnitude_sum
from ..errors import CheckpointError, MaskSolveError
from ..pattern import Pattern
from ..result import MaskResult
from ..solve import solve
from .dense_grid import DenseGrid
from .digests import digest
from .entries import WIDTHS, Bits, Entry, in_order, magnitudes_of, read, weights_of
from .selection import Treatment
from .writing import write

ENTRIES = 1 << 21
"""Entries of a part. Memory grows with it and with the number of workers; below a million the fixed
costs of a solve begin to show."""

COPIED = 1 << 23
"""Bytes of a part of a tensor that is only copied."""

Record = dict[str, Any]
"""What became of a piece, as JSON can hold it."""


@dataclass(frozen=True)
class Piece:
    """A part of a tensor, and what to do with it.

    Attributes
    ----------
    key : str
        The new file's name, the tensor's and the number of the part: unique in a checkpoint.
    source, target : Path
    entry : Entry
        The tensor that it is a part of.
    first, count : int
        Its bytes, counted from the beginning of the tensor.
    place : int
        Where they go in ``target``.
    shape : tuple of int
        Stored shape of the part.
    order : tuple of int
        Axes of ``shape``, rows and columns of the matrices last.
    pattern : Pattern or None
        None: it is copied.
    how : mapping
        Backend and its options.
    prices : Path or None
        File that receives the dual prices.
    worst : bool
        Whether to look for the tile that loses most, for a picture.
    dense : DenseGrid or None
        Tiles of the part that are left alone.
    """

    key: str
    source: Path
    target: Path
    entry: Entry
    first: int
    count: int
    place: int
    shape: tuple[int, ...] = ()
    order: tuple[int, ...] = ()
    pattern: Pattern | None = None
    how: Mapping[str, Any] | None = None
    prices: Path | None = None
    worst: bool = False
    dense: DenseGrid | None = None


def parts(
    entry: Entry, treatment: Treatment | None
) -> Iterator[tuple[int, int, tuple[int, ...], tuple[int, ...], Pattern | None]]:
    """Cut a tensor: first byte, bytes, stored shape, order of axes and pattern of each part.

    Tiles are never cut: a part takes a multiple of m (of a large tile, where some are dense) along the axis
    that varies slowest, the last part what is left as well. The cut depends on nothing but the tensor and
    how it is treated.
    """
    if treatment is None:
        step = entry.nbytes if entry.member else COPIED
        for first in range(0, max(entry.nbytes, 1), max(step, 1)):
            yield first, min(step, entry.nbytes - first), (), (), None
        return
    shape, order, pattern = _flattened(entry, treatment)
    row = math.prod(shape[1:])
    dense = treatment.dense
    unit = _group_length(0, order, pattern) if dense is None else dense.tile[order.index(0)]
    step = max(1, ENTRIES // max(row, 1) // unit) * unit
    count = max(1, shape[0] // step) if entry.member is None else 1
    width = WIDTHS[entry.dtype]
    for part in range(count):
        top = part * step
        rows = shape[0] - top if part == count - 1 else step
        yield top * row * width, rows * row * width, (rows, *shape[1:]), order, pattern


def dense_in(
    entry: Entry, treatment: Treatment | None, first: int, shape: tuple[int, ...], order: tuple[int, ...]
) -> DenseGrid | None:
    """Give the dense tiles of a part that begins at a byte, as `parts` cuts it; None if none can be."""
    if treatment is None or treatment.dense is None:
        return None
    whole = tuple(entry.shape[axis] for axis in treatment.order)
    row = math.prod(shape[1:]) * WIDTHS[entry.dtype]
    return treatment.dense.part(whole, order.index(0), first // max(row, 1), shape[0])


def _group_length(axis: int, order: tuple[int, ...], pattern: Pattern) -> int:
    """Length of the groups along a stored axis; 1 if there are none."""
    lengths = {along % len(order): m for along, m in pattern.tile_lengths.items()}
    return lengths.get(order.index(axis), 1)


def _flattened(entry: Entry, treatment: Treatment) -> tuple[tuple[int, ...], tuple[int, ...], Pattern]:
    """Take a batch of matrices as one tall matrix, if no tile would lie across two of them."""
    shape, pattern = entry.stored_shape, treatment.pattern
    count = len(shape)
    order = tuple(count - 1 - axis for axis in treatment.order) if entry.fortran else treatment.order
    height = pattern.tile_lengths.get(-2, pattern.m)
    axis = pattern.axis - count if pattern.axis >= 0 else pattern.axis
    whole = order == tuple(range(count)) and axis >= -2 and shape[-2] % height == 0
    if count == 2 or not whole:
        return shape, order, pattern
    return (math.prod(shape[:-1]), shape[-1]), (0, 1), replace(pattern, axis=axis)


def do(piece: Piece, gate: AbstractContextManager[Any] | None = None) -> Record:
    """Prune or copy a piece.

    Parameters
    ----------
    piece : Piece
    gate : context manager, optional
        Held while solving. Threads that wait for it read and write for the one that solves.

    Returns
    -------
    dict
        Digests of the bytes read and written and, if the piece was pruned, ``objective``, ``bound``,
        ``total`` (sum of all scores), ``zeros`` (entries dropped), ``status`` and ``backend``.

    Raises
    ------
    CheckpointError
        If a file cannot be read or written.
    ValueError
        If `masksolve.solve` refuses the scores; the message names the tensor.
    """
    buffer = read(piece.source, piece.entry, piece.first, piece.count, place=piece.place)
    record: Record = {"input": digest(buffer)}
    if piece.pattern is None:
        record["output"] = record["input"]
    else:
        record |= _prune(piece, buffer, gate or contextlib.nullcontext())
        record["output"] = digest(buffer)
    try:
        write(piece.target, piece.place, buffer)
    except OSError as error:
        raise CheckpointError(f"OUT '{piece.target}' cannot be written: {error.strerror or error}") from error
    return record


def check(piece: Piece, record: Record) -> str | None:
    """Which side of a finished piece is not what its record says: ``"input"``, ``"output"`` or None."""
    if digest(read(piece.source, piece.entry, piece.first, piece.count)) != record["input"]:
        return "input"
    try:
        done = digest(read_output(piece)) == record["output"]
    except CheckpointError:
        return "output"
    proven = piece.prices is None or record["bound"] is None or piece.prices.exists()
    return None if done and proven else "output"


def read_output(piece: Piece) -> npt.NDArray[np.uint8]:
    """Read the bytes that a piece has written."""
    return read(piece.target, Entry(piece.entry.name, piece.entry.dtype, (), piece.place, piece.count))


def matrices(
    buffer: npt.NDArray[np.uint8], entry: Entry, shape: tuple[int, ...], order: tuple[int, ...]
) -> Bits:
    """View bytes as the bits of numbers, with the matrices on the last two axes."""
    bits: Bits = buffer.view(f"u{WIDTHS[entry.dtype]}")
    return bits.reshape(shape).transpose(order)


def _prune(piece: Piece, buffer: npt.NDArray[np.uint8], gate: AbstractContextManager[Any]) -> Record:
    """Set the dropped numbers in a buffer to zero."""
    assert piece.pattern is not None
    bits = matrices(buffer, piece.entry, piece.shape, piece.order)
    stored = in_order(bits, piece.entry)
    dense, kept = taken_out(stored, piece.entry.dtype, piece.dense)
    whole = weights_of(stored, piece.entry.dtype)
    weights = whole if dense is None else weights_of(np.where(dense, 0, stored), piece.entry.dtype)
    wanted: dict[str, Any] = {"duals": piece.prices is not None, "tiles": False}
    try:
        with gate:
            result = solve(weights, piece.pattern, score="magnitude", **wanted, **(piece.how or {}))
            if not math.isfinite(kept):
                raise ValueError("scores must be finite, got NaN or infinity in a dense tile")
    except (ValueError, TypeError, MaskSolveError) as error:
        part = f", part of it from byte {piece.first}" if piece.first else ""
        raise ValueError(f"tensor '{piece.entry.name}'{part}: {error}") from error
    mask = result.mask if dense is None else result.mask | dense
    objective = result.objective + kept
    record: Record = {
        "objective": objective,
        "bound": max(result.bound + kept, objective) if math.isfinite(result.bound) else None,
        "total": max(magnitude_sum(whole), objective),  # whatever is rounded
        "zeros": mask.size - int(np.count_nonzero(mask)),
        "status": result.status.name,
        "backend": result.backend,
    }
    if piece.worst:
        record["worst"] = worst_tile(magnitudes_of(stored, piece.entry.dtype), mask, piece.pattern)
        if record["worst"] is not None and len(piece.shape) == 2:
            record["worst"]["at"][1] += piece.first // (piece.shape[1] * WIDTHS[piece.entry.dtype])
    if piece.prices is not None:
        _save_prices(piece.prices, result)
    np.multiply(bits, mask, out=bits)
    return record


def taken_out(bits: Bits, dtype: str, dense: DenseGrid | None) -> tuple[npt.NDArray[np.bool_] | None, float]:
    """Tell which entries of a part lie in dense tiles, and the sum of their magnitudes.

    With zeros in their place, whatever mask a solve finds there is worth nothing, and its bound is one on the
    other tiles.
    """
    if dense is None:
        return None, 0.0
    entries = dense.entries(bits.shape)
    return entries, float(np.where(entries, magnitudes_of(bits, dtype), 0.0).sum(dtype=np.float64))


def _save_prices(path: Path, result: MaskResult) -> None:
    """Keep prices in a file of their own, which appears whole or not at all."""
    if result.duals is None:
        return
    rows, columns = result.duals
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as stream:
            np.savez(stream, rows=rows, columns=rows[:, :0] if columns is None else columns)
        os.replace(temporary, path)
    except OSError as error:
        raise CheckpointError(f"OUT '{path}' cannot be written: {error.strerror or error}") from error


def worst_tile(scores: npt.NDArray[Any], mask: npt.NDArray[np.bool_], pattern: Pattern) -> Record | None:
    """Find the tile that keeps the smallest share of its scores; None if there is no whole tile.

    Groups are looked at m rows together.
    """
    tall, wide = pattern.tile_shape if pattern.is_plane else (pattern.m, pattern.m)
    rows, columns = scores.shape[-2] // tall, scores.shape[-1] // wide
    if not rows * columns * scores.size:
        return None
    flat = [
        array.reshape(-1, *array.shape[-2:])[:, : rows * tall, : columns * wide] for array in (scores, mask)
    ]
    tiles = [array.reshape(-1, rows, tall, columns, wide) for array in flat]
    whole = tiles[0].sum(axis=(2, 4), dtype=np.float64)
    kept = np.einsum(
        "bricj,bricj->brc", tiles[0], tiles[1].view(np.uint8), dtype=np.float64, casting="unsafe"
    )
    share = kept / np.where(whole > 0, whole, np.inf)
    share[whole <= 0] = 1
    batch, row, column = (int(index) for index in np.unravel_index(np.argmin(share), share.shape))
    return {
        "share": float(share[batch, row, column]),
        "at": [batch, row * tall, column * wide],
        "scores": [
            [float(f"{value:.4g}") for value in line] for line in tiles[0][batch, row, :, column].tolist()
        ],
        "mask": tiles[1][batch, row, :, column].astype(int).tolist(),
    }
