"""Packed weights as a file: the kept values of each tensor, and their positions as a stream of bits.

The file is a safetensors file. For a tensor NAME of the checkpoint it holds

- ``NAME:rows.values``: the kept numbers, group after group, in the tensor's own format, bit for bit;
- ``NAME:rows.metadata``: bytes, their positions as `masksolve.packing.metadata` lays them out;
- ``NAME:columns.values`` and ``NAME:columns.metadata``: the same of the transpose, for transposable patterns;
- ``NAME:used``: bytes, the four columns that each tile uses, ascending, for V:N:M;
- ``NAME:tails.K``: what a pattern with ``dense`` keeps whole.

Its metadata hold, as JSON under ``masksolve.packed``, how to read each tensor.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import CheckpointError
from ..packing import Compressed, Packed
from ..packing import pack as compressed
from ..packing.metadata import Encoding, metadata
from ..whole_files import written_whole
from .entries import Entry, in_order, nonzero, read
from .formats import safetensors_head
from .journal import naming_output
from .plan import Plan, Step
from .selection import Treatment
from .verifying import at_most
from .work import matrices

_KEY = "masksolve.packed"

Stored = dict[str, tuple[str, npt.NDArray[Any]]]
"""Format, as safetensors names it, and content of each tensor of the new file."""


def write_packed(plan: Plan, target: Path, encoding: Encoding, align: int) -> dict[str, dict[str, Any]]:
    """Pack the tensors that a plan would prune, by their non-zeros; see `masksolve.checkpoints.pack`."""
    if target.suffix.lower() != ".safetensors":
        raise CheckpointError(f"OUT '{target}' must end in .safetensors, got {target.suffix!r}")
    stored: Stored = {}
    described: dict[str, dict[str, Any]] = {}
    for step in at_most(plan).steps:
        if isinstance(step.treatment, str):
            continue
        name = step.entry.name
        if name in described:
            raise CheckpointError(f"tensor '{name}' is in several files of '{plan.checkpoint.path}'")
        made = _packed(plan, step, step.treatment)
        sides = {"rows": made.rows} | ({} if made.columns is None else {"columns": made.columns})
        described[name] = {
            "pattern": str(step.treatment.pattern),
            "dtype": step.entry.dtype,
            "shape": list(step.entry.shape),
            "order": list(step.treatment.order),
        }
        for side, part in sides.items():
            stored[f"{name}:{side}.values"] = (step.entry.dtype, part.values)
            described[name][side] = _put_metadata(stored, f"{name}:{side}.metadata", part, encoding, align)
        if made.used is not None:  # without them nobody could tell where a row's positions lie
            stored[f"{name}:used"] = ("U8", made.used)
        for number, tail in enumerate(made.tails):
            stored[f"{name}:tails.{number}"] = (step.entry.dtype, tail)
    _write(target, stored, {"format": 1, "encoding": encoding, "align": align, "tensors": described})
    return described


def _packed(plan: Plan, step: Step, treatment: Treatment) -> Packed:
    entry = step.entry
    if treatment.dense is not None:
        raise CheckpointError(
            f"tensor '{entry.name}' has dense tiles, for which this file has no place; "
            f"masksolve.pack(dense=, tile=) packs it in memory"
        )
    buffer = read(plan.checkpoint.weights[step.file].path, entry)
    whole = tuple(range(len(entry.shape)))
    bits = matrices(buffer, entry, entry.stored_shape, whole[::-1] if entry.fortran else whole)
    bits = in_order(bits, entry).transpose(treatment.order)
    try:
        return compressed(bits, nonzero(bits), treatment.pattern)
    except ValueError as error:
        raise CheckpointError(f"tensor '{entry.name}': {error}") from error


def _put_metadata(
    stored: Stored, key: str, side: Compressed, encoding: Encoding, align: int
) -> dict[str, int]:
    stream = metadata(side, encoding, align=align)
    stored[key] = ("U8", stream.data)
    return {"n": stream.n, "m": stream.m, "groups": stream.groups, "field_bits": stream.field_bits}


def _write(target: Path, stored: Stored, description: dict[str, Any]) -> None:
    entries = {key: Entry(key, dtype, array.shape, 0, array.nbytes) for key, (dtype, array) in stored.items()}
    with naming_output(target), written_whole(target) as stream:
        stream.write(safetensors_head(list(entries.values()), {_KEY: json.dumps(description)}))
        for _, array in stored.values():
            stream.write(np.ascontiguousarray(array).tobytes())
