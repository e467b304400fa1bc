"""Results on paper: archives that hold a mask with its certificate, and tables for notebooks."""

from __future__ import annotations

import html
import json
import math
import os
import zipfile
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from . import checks
from .arrays import check_prices
from .frameworks import to_numpy
from .pattern import Pattern
from .tiling import tiling_of
from .types import SCORES, Status, TileSums
from .whole_files import written_whole

_FORMAT = "masksolve result 1"

_SHOWN = 32
"""Rows and columns of a mask that a notebook shows."""


def save(result: Mapping[str, Any], file: str | os.PathLike[str] | BinaryIO) -> None:
    """Write a result, given as its attributes by their names; see `MaskResult.save`."""
    mask: Any = to_numpy("mask", result["mask"])
    stats = {key: value for key, value in result["stats"].items() if isinstance(value, (str, int, float))}
    head = {
        "format": _FORMAT,
        "shape": list(mask.shape),
        "pattern": str(result["pattern"]),
        "status": result["status"].name,
        "backend": result["backend"],
        "score": result["score"],
        "objective": result["objective"].hex(),
        "bound": result["bound"].hex(),
        "stats": stats,
    }
    arrays = {
        "head": np.frombuffer(json.dumps(head).encode(), np.uint8),
        "mask_bits": np.packbits(np.ascontiguousarray(mask).reshape(-1)),
    }
    for name, parts in (("duals", result["duals"]), ("tiles", result["tiles"])):
        for key, part in (parts._asdict() if parts is not None else {}).items():
            if part is not None:
                arrays[f"{name}_{key}"] = np.asarray(to_numpy(f"{name}.{key}", part))
    with _written(file) as stream:
        np.savez(stream, allow_pickle=False, **arrays)


def load(file: str | os.PathLike[str] | BinaryIO) -> dict[str, Any]:
    """Read a result, as its attributes by their names; see `MaskResult.load`."""
    name = getattr(file, "name", "the stream") if hasattr(file, "read") else file
    with _read(file) as stream:
        try:
            with np.load(stream, allow_pickle=False) as archive:
                arrays = {key: archive[key] for key in archive.files}
            return _attributes(arrays)
        except (ValueError, TypeError, KeyError, AttributeError, EOFError, zipfile.BadZipFile) as error:
            raise ValueError(
                f"file must be an archive that MaskResult.save wrote, {name}: {error}"
            ) from error


def _written(file: Any) -> AbstractContextManager[Any]:
    """Replace a path's file when the new one is complete; a file that is open already is left open."""
    return written_whole(file) if isinstance(file, (str, os.PathLike)) else nullcontext(file)


def _read(file: Any) -> AbstractContextManager[Any]:
    return open(file, "rb") if isinstance(file, (str, os.PathLike)) else nullcontext(file)


def _attributes(arrays: Mapping[str, npt.NDArray[Any]]) -> dict[str, Any]:
    head = json.loads(arrays["head"].tobytes())
    if head["format"] != _FORMAT:
        raise ValueError(f"format must be {_FORMAT!r}, got {head['format']!r}")
    shape = tuple(checks.integer("shape", size, least=0) for size in head["shape"])
    bits, size = arrays["mask_bits"], math.prod(shape)
    if bits.dtype != np.uint8 or bits.shape != (-(-size // 8),):
        raise ValueError(f"the mask of shape {shape} must have {-(-size // 8)} bytes, got {bits.shape}")
    pattern = Pattern.parse(head["pattern"])
    tiling = tiling_of(pattern, shape)
    duals = tiles = None
    if "duals_rows" in arrays:
        duals = check_prices("duals", (arrays["duals_rows"], arrays.get("duals_columns")), tiling)
    if "tiles_objective" in arrays:
        tiles = TileSums(arrays["tiles_objective"], arrays["tiles_bound"])
        if any(part.shape != tiling.grid or part.dtype != np.float64 for part in tiles):
            raise ValueError(f"tiles must be float64 of shape {tiling.grid}, got {tiles.objective.shape}")
    return {
        "mask": np.unpackbits(bits, count=size).view(np.bool_).reshape(shape),
        "objective": float.fromhex(head["objective"]),
        "bound": float.fromhex(head["bound"]),
        "status": Status[head["status"]],
        "backend": str(head["backend"]),
        "pattern": pattern,
        "duals": duals,
        "tiles": tiles,
        "stats": dict(head["stats"]),
        "score": checks.choice("score", head["score"], SCORES),
    }


def as_html(heading: str, rows: Mapping[str, str], mask: Any, pattern: Pattern) -> str:
    """Lay out what there is to say of a mask beside a corner of it; colours are those of the page."""
    cells = "".join(
        f"<tr><th style='text-align:left'>{html.escape(name)}</th>"
        f"<td style='text-align:left'>{html.escape(text)}</td></tr>"
        for name, text in rows.items()
    )
    return (
        f"<div style='display:flex;gap:1em;align-items:flex-start'><div><b>{html.escape(heading)}</b>"
        f"<table>{cells}</table></div>{_corner(to_numpy('mask', mask), pattern)}</div>"
    )


def _corner(mask: Any, pattern: Pattern) -> str:
    """First rows and columns of a mask as a picture: kept entries filled, lines between tiles."""
    if mask.ndim < 1 or not mask.size:
        return ""
    plane = np.atleast_2d(mask[(0,) * max(mask.ndim - 2, 0)])[:_SHOWN, :_SHOWN]
    height, width = plane.shape
    kept = "".join(f"M{column} {row}h1v1h-1z" for row, column in np.argwhere(plane).tolist())
    tall, wide = pattern.tile_shape
    across = range(0, width + 1, wide) if pattern.axis == -1 else ()
    down = range(0, height + 1, tall) if pattern.transposable else ()
    lines = "".join([*(f"M{x} 0V{height}" for x in across), *(f"M0 {y}H{width}" for y in down)])
    return (
        f"<svg width='{5 * width}' height='{5 * height}' viewBox='0 0 {width} {height}' role='img' "
        f"aria-label='{height} by {width} corner of the mask'><path d='{kept}' fill='currentColor' "
        f"opacity='.7'/><path d='{lines}' stroke='currentColor' stroke-width='.12' fill='none'/></svg>"
    )
