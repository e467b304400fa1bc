"""What a run did, tensor by tensor, and as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..rounding import relative_gap
from ..whole_files import write_text
from .dense_grid import DenseGrid
from .digests import together
from .plan import Plan, Step, words_of
from .work import Record


@dataclass(frozen=True)
class TensorReport:
    """What became of a tensor.

    Attributes
    ----------
    name, file, dtype : str
        ``file`` is relative to the output; ``dtype`` as the file names it.
    shape, order : tuple of int
        ``order`` lists the axes with rows and columns of the matrices last; empty if it was left alone.
    pattern, skipped : str or None
        The pattern, or why the tensor was left alone.
    total, objective, bound : float
        Sum of all magnitudes, of those kept, and the proven upper bound on what any mask can keep (inf
        if none was computed).
    zeros, entries : int
        Entries that the mask drops, and all entries.
    status, backend : str
    input, output : str
        BLAKE3 of the bytes read and written; of a tensor that is handled in parts, of the parts'
        digests in hexadecimal.
    parts : int
    dense : DenseGrid or None
        Tiles that were left alone.
    worst : mapping or None
        The tile that keeps the smallest share of its magnitudes, if it was asked for.
    """

    name: str
    file: str
    dtype: str
    shape: tuple[int, ...]
    order: tuple[int, ...] = ()
    pattern: str | None = None
    skipped: str | None = None
    total: float = 0.0
    objective: float = 0.0
    bound: float = 0.0
    zeros: int = 0
    entries: int = 0
    status: str = ""
    backend: str = ""
    input: str = ""
    output: str = ""
    parts: int = 1
    dense: DenseGrid | None = None
    worst: Mapping[str, Any] | None = None

    @classmethod
    def of(cls, step: Step, records: Sequence[Record]) -> TensorReport:
        """Put the records of a tensor's parts together."""
        digests: dict[str, Any] = {
            side: together([record[side] for record in records]) for side in ("input", "output")
        }
        known: dict[str, Any] = {"name": step.entry.name, "file": step.file, "dtype": step.entry.dtype}
        known |= {"shape": step.entry.shape, "entries": math.prod(step.entry.shape), "parts": len(records)}
        if isinstance(step.treatment, str):
            return cls(**known, skipped=step.treatment, **digests)
        bounds = [math.inf if record["bound"] is None else record["bound"] for record in records]
        found = [record["worst"] for record in records if record.get("worst")]
        states = {record["status"] for record in records}
        return cls(
            **known,
            **digests,
            order=step.treatment.order,
            pattern=step.pattern,
            dense=step.treatment.dense,
            total=math.fsum(record["total"] for record in records),
            objective=math.fsum(record["objective"] for record in records),
            bound=math.fsum(bounds) if all(map(math.isfinite, bounds)) else math.inf,
            zeros=sum(record["zeros"] for record in records),
            status=next((state for state in ("TIME_LIMIT", "FEASIBLE") if state in states), "OPTIMAL"),
            backend=records[0]["backend"],
            worst=min(found, key=lambda tile: float(tile["share"]), default=None),
        )

    @classmethod
    def from_json(cls, key: str, said: Mapping[str, Any]) -> TensorReport:
        """Read what `as_json` wrote."""
        file, _, name = key.partition(":")
        known = {**said, "shape": tuple(said["shape"]), "skipped": said.get("left_alone")}
        known.pop("left_alone", None)
        if "pattern" in said:
            bound = math.inf if said["bound"] is None else said["bound"]
            known |= {"order": tuple(said["order"]), "bound": bound, "dense": DenseGrid.read(said)}
            known.pop("tile", None)
        return cls(name=name, entries=math.prod(said["shape"]), **{**known, "file": file})

    @property
    def words(self) -> str:
        """The pattern, and whether tiles are dense, for tables."""
        return "" if self.pattern is None else words_of(self.pattern, self.dense)

    @property
    def gap(self) -> float:
        """Relative gap between what is kept and the bound."""
        return relative_gap(self.objective, self.bound)

    def as_json(self) -> dict[str, Any]:
        """Everything but the picture; what was not computed is left out."""
        known: dict[str, Any] = {"file": self.file, "dtype": self.dtype, "shape": list(self.shape)}
        known |= {"parts": self.parts, "input": self.input, "output": self.output}
        if self.skipped is not None:
            return {**known, "left_alone": self.skipped}
        return {
            **known,
            "order": list(self.order),
            "pattern": self.pattern,
            "backend": self.backend,
            "status": self.status,
            "zeros": self.zeros,
            "total": self.total,
            "objective": self.objective,
            "bound": self.bound if math.isfinite(self.bound) else None,
            **({} if self.dense is None else self.dense.as_json()),
        }


@dataclass(frozen=True)
class Report:
    """What a run did.

    Attributes
    ----------
    source, target : Path
    tensors : tuple of TensorReport
    carried : tuple of str
        Files copied as they are.
    left_out : mapping of str to str
        Files that the output did not get, and why.
    identity : mapping
        Settings, version and layout of the inputs.
    seconds : float
    resumed : int
        Pieces of work that an earlier run had finished.
    complete_before : bool
        Whether the output was complete already, so that there was nothing to do.
    """

    source: Path
    target: Path
    tensors: tuple[TensorReport, ...]
    carried: tuple[str, ...]
    left_out: Mapping[str, str]
    identity: Mapping[str, Any] = field(repr=False)
    seconds: float = 0.0
    resumed: int = 0
    complete_before: bool = False

    @property
    def pruned(self) -> tuple[TensorReport, ...]:
        """The tensors that were pruned."""
        return tuple(tensor for tensor in self.tensors if tensor.skipped is None)

    @property
    def left_alone(self) -> tuple[TensorReport, ...]:
        """The tensors that were not."""
        return tuple(tensor for tensor in self.tensors if tensor.skipped is not None)

    @property
    def retained(self) -> float:
        """Share of the magnitudes of all pruned tensors that their masks keep."""
        return share(self.pruned)

    @property
    def gap(self) -> float:
        """Relative gap over all pruned tensors."""
        return gap_of(self.pruned)

    def manifest(self) -> dict[str, Any]:
        """Give what runs with the same settings and inputs have in common: no paths, no times."""
        tensors = {f"{tensor.file}:{tensor.name}": tensor.as_json() for tensor in self.tensors}
        return {"format": 1, **self.identity, "tensors": tensors, "files_left_out": dict(self.left_out)}

    def write(self, path: str | Path) -> None:
        """Write everything as JSON."""
        content = {**self.manifest(), "source": str(self.source), "target": str(self.target)}
        content |= {"seconds": self.seconds, "carried": list(self.carried)}
        content |= {"retained": self.retained, "gap": self.gap if math.isfinite(self.gap) else None}
        write_text(path, json.dumps(content, indent=1) + "\n")


def share(tensors: Sequence[TensorReport]) -> float:
    """Share of the magnitudes of some tensors together that their masks keep."""
    total = sum(tensor.total for tensor in tensors)
    return sum(tensor.objective for tensor in tensors) / total if total else 1.0


def gap_of(tensors: Sequence[TensorReport]) -> float:
    """Relative gap of some tensors together."""
    return relative_gap(sum(tensor.objective for tensor in tensors), sum(tensor.bound for tensor in tensors))


def make_report(
    plan: Plan,
    target: Path,
    records: Mapping[str, Sequence[Record]],
    *,
    seconds: float = 0.0,
    resumed: int = 0,
) -> Report:
    """Put the records of all pieces, by file and tensor, together."""
    return Report(
        source=plan.checkpoint.path,
        target=target,
        tensors=tuple(
            TensorReport.of(step, records[f"{step.file}:{step.entry.name}"]) for step in plan.steps
        ),
        carried=plan.checkpoint.carried,
        left_out=plan.checkpoint.left_out,
        identity=plan.identity(),
        seconds=seconds,
        resumed=resumed,
    )


def report_from(content: Mapping[str, Any], plan: Plan, target: Path) -> Report:
    """Read the report of an output that is complete from its manifest."""
    return Report(
        source=plan.checkpoint.path,
        target=target,
        tensors=tuple(TensorReport.from_json(key, said) for key, said in content["tensors"].items()),
        carried=plan.checkpoint.carried,
        left_out=plan.checkpoint.left_out,
        identity=plan.identity(),
        complete_before=True,
    )
