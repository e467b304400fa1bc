"""Pruning and verifying the tensors of a file."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import masksolve as ms

from .files import FileError, Tensor, staged, tensors

_REASONS = 3

Progress = Callable[[str, int], None]
"""Called with a tensor's name and the bytes of the file that are done."""


@dataclass(frozen=True)
class Selection:
    """Which tensors are matrices to be pruned, and along which axes.

    Attributes
    ----------
    pattern : Pattern
    include, exclude : tuple of str
        Globs on tensor names; an empty ``include`` admits every name.
    axes : (int, int) or None
        Row and column axis of tensors with more than two axes, the others being a batch;
        None: such tensors are skipped.
    """

    pattern: ms.Pattern
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    axes: tuple[int, int] | None = None

    def skips(self, tensor: Tensor) -> str | None:
        """Why a tensor is left alone; None if it is to be pruned."""
        if self.include and not _matches(tensor.name, self.include):
            return "not included"
        if _matches(tensor.name, self.exclude):
            return "excluded"
        if tensor.array is None:
            lost = " (bfloat16? NumPy files lose its name)" if tensor.dtype == "|V2" else ""
            return f"dtype {tensor.dtype}{lost} is not float16, bfloat16, float32 or float64"
        if len(tensor.shape) < 2:
            return f"{len(tensor.shape)} axes" if len(tensor.shape) != 1 else "1 axis"
        if len(tensor.shape) > 2 and self.axes is None:
            return f"{len(tensor.shape)} axes (see --axes)"
        return self._misfit(tensor)

    def matrices(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """View an array with its matrices on the last two axes."""
        return array if array.ndim == 2 or self.axes is None else np.moveaxis(array, self.axes, (-2, -1))

    def _misfit(self, tensor: Tensor) -> str | None:
        assert tensor.array is not None
        pattern = self.pattern
        count = len(tensor.shape)
        if count > 2 and self.axes is not None:
            row, column = self.axes
            if not (-count <= row < count and -count <= column < count and (row - column) % count):
                return f"has no two axes {row},{column}"
        shape = self.matrices(tensor.array).shape
        if not -count <= pattern.axis < count:
            return f"has no axis {pattern.axis}"
        grouped = shape[-2:] if pattern.transposable else (shape[pattern.axis],)
        odd = [extent for extent in grouped if extent % pattern.m]
        if odd and pattern.remainder == "error":
            return f"{odd[0]} is not a multiple of {pattern.m}"
        return None


@dataclass(frozen=True)
class Pruned:
    """What became of one tensor: why it was skipped, or what its mask keeps."""

    tensor: str
    shape: tuple[int, ...]
    skipped: str | None = None
    total: float = 0.0
    dropped: int = 0
    result: ms.MaskResult | None = None


@dataclass(frozen=True)
class Verified:
    """What the check of one tensor found: why it was skipped, or its verification."""

    tensor: str
    shape: tuple[int, ...]
    skipped: str | None = None
    outcome: ms.Verification | None = None


def prune(
    source: Path,
    target: Path,
    selection: Selection,
    *,
    backend: str = "auto",
    workers: int = 1,
    options: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> list[Pruned]:
    """Write to ``target`` the file ``source`` with the dropped weights of its matrices set to zero.

    Returns
    -------
    list of Pruned
        One a tensor, in the order of the file.

    Raises
    ------
    FileError
        If a file cannot be read or written, or every tensor was skipped; nothing is written then.
    ValueError
        If `masksolve.solve` refuses a tensor, which the message names.
    """
    rows: list[Pruned] = []
    done = 0
    how = {"backend": backend, "workers": workers, **(options or {})}
    with staged(target) as temporary:
        for tensor in tensors(source, temporary):
            report = partial(_report, progress, done, tensor)
            rows.append(_prune(tensor, selection, how, report))
            done += 0 if tensor.array is None else tensor.array.nbytes
        _refuse_if_all_skipped(source, rows)
    return rows


def verify(source: Path, selection: Selection) -> list[Verified]:
    """Check the non-zeros of the matrices of a file against the pattern.

    Raises
    ------
    FileError
        If the file cannot be read, or every tensor was skipped.
    """
    rows = []
    for tensor in tensors(source):
        skipped = selection.skips(tensor)
        outcome = None
        if skipped is None and tensor.array is not None:
            outcome = ms.verify(selection.matrices(tensor.array) != 0, selection.pattern)
        rows.append(Verified(tensor.name, tensor.shape, skipped, outcome))
    _refuse_if_all_skipped(source, rows)
    return rows


def _prune(
    tensor: Tensor, selection: Selection, how: Mapping[str, Any], report: Callable[[int, int], None]
) -> Pruned:
    """Zero in place what the mask of one tensor drops; the scores are the magnitudes."""
    skipped = selection.skips(tensor)
    if skipped is not None or tensor.array is None:
        return Pruned(tensor.name, tensor.shape, skipped)
    weights = selection.matrices(tensor.array)
    scores = np.abs(weights)
    try:
        result = ms.solve(scores, selection.pattern, progress=report, **how)
    except (ValueError, TypeError, ms.MaskSolveError) as error:
        raise ValueError(f"tensor '{tensor.name}': {error}") from error
    weights[~result.mask] = 0
    total = float(scores.sum(dtype=np.float64))
    dropped = result.mask.size - int(np.count_nonzero(result.mask))
    # The mask and the prices of every tensor of a large file need not be held at once.
    result = dataclasses.replace(result, mask=result.mask[:0], duals=None)
    return Pruned(tensor.name, tensor.shape, None, total, dropped, result)


def _report(progress: Progress | None, before: int, tensor: Tensor, done: int, total: int) -> None:
    if progress is not None and tensor.array is not None:
        progress(tensor.name, before + tensor.array.nbytes * done // max(total, 1))


def _refuse_if_all_skipped(source: Path, rows: Sequence[Pruned] | Sequence[Verified]) -> None:
    if all(row.skipped for row in rows):
        reasons = [f"'{row.tensor}': {row.skipped}" for row in rows[:_REASONS]] or ["none at all"]
        more = f"; and {len(rows) - _REASONS} more" if len(rows) > _REASONS else ""
        raise FileError(
            f"file '{source}' has no tensor that the pattern can be laid on: {'; '.join(reasons)}{more}"
        )


def _matches(name: str, globs: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, glob) for glob in globs)
