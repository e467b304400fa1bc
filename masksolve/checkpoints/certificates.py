"""The proof as a file: dual prices, objectives and bounds, and proving them again without a solver.

A certificate is a safetensors file. Its metadata hold the report of the run; its tensors are the dual
prices of each part of each tensor, ``FILE:TENSOR:PART:rows`` and ``...:columns``. Where prices would take
as much room as the weights (tiles of 4 by 4 and smaller) or follow from one sort (one-directional
patterns) there are none, and they are found again from the mask.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..certificate import recompute, verify
from ..errors import CheckpointError
from ..pattern import Pattern
from ..rounding import relative_gap
from ..solve import solve
from ..types import Prices
from ..whole_files import written_whole
from .dense_grid import DenseGrid
from .entries import Entry, in_order, read, weights_of
from .folder import check_existence
from .formats import WeightFile, open_weights, safetensors_head
from .journal import Workspace, naming_output
from .plan import Plan, stores_prices
from .report import Report
from .selection import Treatment
from .work import ENTRIES, dense_in, matrices, parts, taken_out

_KEY = "masksolve.certificate"
_PROVEN = 1e-6
"""Relative gap up to which a mask counts as proven optimal; prices in float32 leave about 1e-9."""

_SUMS = 1e-9
"""Relative difference that summing in another order may leave."""


def check_place(path: Path, target: Path) -> None:
    """Refuse, before any work is done, a certificate that could not be written in the end.

    Raises
    ------
    CheckpointError
    """
    _check_suffix(path)
    if not path.absolute().parent.is_dir():
        raise CheckpointError(f"certificate '{path}' must lie in a folder that exists")
    if Path(os.path.realpath(path)).is_relative_to(target):
        raise CheckpointError(
            f"certificate '{path}' must not lie in OUT '{target}', which appears in one step; put it beside"
        )


def _check_suffix(path: Path) -> None:
    if path.suffix.lower() != ".safetensors":
        raise CheckpointError(f"certificate '{path}' must end in .safetensors, got suffix {path.suffix!r}")


def write_certificate(path: Path, plan: Plan, report: Report, space: Workspace) -> None:
    """Write the certificate of a run, whole or not at all.

    Raises
    ------
    CheckpointError
        If it cannot be written.
    """
    stored = {
        f"{piece.key}:{side}": (piece.prices, side)
        for step in plan.steps
        for piece in plan.pieces(step, space.files, prices=space.prices)
        if piece.prices is not None and piece.prices.exists()
        for side in ("rows", "columns")
    }
    entries = []
    for key, (place, side) in stored.items():
        array = _load(place, side)
        entries.append(Entry(key, {4: "F32", 8: "F64"}[array.dtype.itemsize], array.shape, 0, array.nbytes))
    head = safetensors_head(entries, {_KEY: json.dumps({"entries": ENTRIES, **report.manifest()})})
    # Named after the output, whose lock is held: a run that is killed here writes over it the next time.
    owner = hashlib.sha256(str(space.target).encode()).hexdigest()[:12]
    with naming_output(path), written_whole(path, f".masksolve-{owner}.tmp") as stream:
        stream.write(head)
        for place, side in stored.values():
            stream.write(_load(place, side).tobytes())


def _load(path: Path, side: str) -> npt.NDArray[Any]:
    with np.load(path) as archive:
        return np.asarray(archive[side])


@dataclass(frozen=True)
class Certificate:
    """A certificate that was read: the report of the run, and where the prices are."""

    path: Path
    content: Mapping[str, Any]
    prices: Mapping[str, Entry]

    def duals(self, key: str) -> Prices | None:
        """Prices of a part; None if the certificate keeps none."""
        if f"{key}:rows" not in self.prices:
            return None
        rows, columns = (self._array(self.prices[f"{key}:{side}"]) for side in ("rows", "columns"))
        return Prices(rows, columns)

    def _array(self, entry: Entry) -> npt.NDArray[Any]:
        kind = {"F32": np.float32, "F64": np.float64}[entry.dtype]
        return read(self.path, entry).view(kind).reshape(entry.shape)


def read_certificate(path: Path) -> Certificate:
    """Read a certificate; prices stay in the file until they are asked for.

    Raises
    ------
    CheckpointError
        If it is no certificate, or one of another release that cut tensors in other places.
    """
    check_existence(path, "certificate")
    _check_suffix(path)
    file = open_weights(path)
    text = json.loads(file.head[8:]).get("__metadata__", {}).get(_KEY)
    try:
        content = json.loads(text or "null")
    except ValueError:
        content = None
    content = content if isinstance(content, dict) else {}
    known = (content.get("format"), content.get("entries")) == (1, ENTRIES)
    if not (known and isinstance(content.get("tensors"), dict)):
        raise CheckpointError(f"certificate '{path}' must be one that this release of masksolve can read")
    return Certificate(path, content, {entry.name: entry for entry in file.entries})


@dataclass(frozen=True)
class Proof:
    """What proving one tensor again found.

    Attributes
    ----------
    name, file : str
    pattern : str or None
        None: the tensor was left alone, and is the original one.
    objective, bound : float
        Computed again.
    wrong : str or None
        Why the certificate does not hold.
    """

    name: str
    file: str
    pattern: str | None = None
    objective: float = 0.0
    bound: float = 0.0
    wrong: str | None = None

    @property
    def gap(self) -> float:
        """Relative gap that was proven."""
        return relative_gap(self.objective, self.bound)

    @property
    def optimal(self) -> bool:
        """Whether no other mask keeps more."""
        return self.wrong is None and self.pattern is not None and self.gap <= _PROVEN


def prove(
    output: Mapping[str, WeightFile], original: Mapping[str, WeightFile], certificate: Certificate
) -> Iterator[Proof]:
    """Prove every mask again in plain NumPy, tensor by tensor.

    Checked for each tensor: kept weights are the original ones bit for bit, the mask follows the pattern,
    its sum is the stated one, and the prices bound what any other mask can keep as the certificate says.
    Dense tiles are the original ones; that no other choice of tiles keeps more is no part of the certificate.
    """
    for key, stated in certificate.content["tensors"].items():
        file, _, name = key.partition(":")
        pair = [_find(files, file, name) for files in (output, original)]
        try:
            proof = Proof(name, file, stated.get("pattern"))
            if pair[0] is None or pair[1] is None:
                side = "the output" if pair[0] is None else "the original"
                yield replace(proof, wrong=f"{side} has no such tensor")
            else:
                yield _prove(proof, pair[0], pair[1], stated, certificate)
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            yield Proof(name, file, wrong=f"the certificate is not as masksolve writes it: {error!r}")
    stated_keys = set(certificate.content["tensors"])
    for file, weights in output.items():
        for entry in weights.entries:
            if f"{file}:{entry.name}" not in stated_keys:
                yield Proof(entry.name, file, wrong="the certificate does not know this tensor")


def _find(files: Mapping[str, WeightFile], file: str, name: str) -> tuple[Path, Entry] | None:
    if file not in files:
        return None
    found = next((entry for entry in files[file].entries if entry.name == name), None)
    return None if found is None else (files[file].path, found)


def _prove(
    proof: Proof,
    output: tuple[Path, Entry],
    original: tuple[Path, Entry],
    stated: Mapping[str, Any],
    certificate: Certificate,
) -> Proof:
    entry = original[1]
    same = [(each.dtype, each.shape, each.fortran, each.swapped) for each in (output[1], entry)]
    if same[0] != same[1]:
        return replace(proof, wrong="it has another shape or number format than the original")
    treatment = None
    if proof.pattern is not None:
        treatment = Treatment(Pattern.parse(proof.pattern), tuple(stated["order"]), DenseGrid.read(stated))
    objectives, bounds = [], []
    for number, (first, count, shape, order, pattern) in enumerate(parts(entry, treatment)):
        before, after = (read(path, each, first, count) for path, each in (original, output))
        if pattern is None:
            if not np.array_equal(before, after):
                return replace(proof, wrong="it was left alone, and is not the original one")
            continue
        old, new = (matrices(buffer, entry, shape, order) for buffer in (before, after))
        dense = dense_in(entry, treatment, first, shape, order)
        entries, kept = taken_out(in_order(old, entry), entry.dtype, dense)
        if entries is not None:
            if not np.array_equal(old[entries], new[entries]):
                return replace(proof, wrong="a dense tile is not the original one")
            old, new = (np.where(entries, 0, each) for each in (old, new))
        mask = new != 0
        if not np.array_equal(np.where(mask, old, 0), new):
            return replace(proof, wrong="kept weights are not the original ones")
        weights = weights_of(in_order(old, entry), entry.dtype)
        key = f"{proof.file}:{proof.name}:{number}"
        duals = certificate.duals(key) if treatment is not None and stores_prices(treatment) else None
        try:
            found = _recompute(weights, mask, pattern, duals)
        except ValueError as error:
            return replace(proof, wrong=str(error))
        objectives.append(found.objective + kept)
        bounds.append(found.bound + kept)
    proof = replace(proof, objective=math.fsum(objectives), bound=math.fsum(bounds))
    return replace(proof, wrong=None if treatment is None else _disagreement(proof, stated))


def _recompute(
    weights: npt.NDArray[Any], mask: npt.NDArray[np.bool_], pattern: Pattern, duals: Prices | None
) -> Any:
    """Objective and bound of the non-zeros as a mask.

    A kept weight may be zero, so that the non-zeros may fall short of a pattern that wants exactly n.
    They are then completed with entries that are zero. Whoever finds these entries need not be trusted:
    what counts is that the completed mask follows the pattern, which is checked, and has the same sum.
    """
    broken = verify(mask, dataclasses.replace(pattern, constraint="at_most"))
    if not broken:
        raise ValueError(str(broken).splitlines()[0])
    if not verify(mask, pattern):
        drop = (weights != 0) & ~mask
        mask = solve(weights, pattern, keep=mask, drop=drop, duals=False, score="magnitude").mask
    return recompute(weights, mask, pattern, duals, score="magnitude")


def _disagreement(proof: Proof, stated: Mapping[str, Any]) -> str | None:
    scale = max(abs(proof.objective), abs(stated["objective"]))
    if abs(proof.objective - stated["objective"]) > _SUMS * scale:
        return f"its mask keeps {proof.objective:.9g}, the certificate says {stated['objective']:.9g}"
    if stated["bound"] is None:
        return None
    allowed = max(_PROVEN, 2 * relative_gap(stated["objective"], stated["bound"]))
    if not -_SUMS <= proof.gap <= allowed:
        said = relative_gap(stated["objective"], stated["bound"])
        return f"its gap is {proof.gap:.1e}, the certificate says {said:.1e}"
    return None
