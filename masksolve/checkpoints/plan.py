"""The plan of a run: what becomes of each tensor and why, before anything is written."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .._version import __version__
from ..errors import CheckpointError
from ..solve import solve
from .dense_grid import DenseGrid
from .digests import NAME
from .entries import Entry, read, weights_of
from .folder import Checkpoint
from .selection import Selection, Treatment
from .work import Piece, dense_in, matrices, parts

_REASONS = 3
_SAMPLE = 1 << 19
_SMALL_TILE = 4


@dataclass(frozen=True)
class Step:
    """A tensor of the plan; ``treatment`` says how it is pruned, or is the reason why it is not."""

    file: str
    entry: Entry
    place: int
    treatment: Treatment | str

    @property
    def pattern(self) -> str | None:
        """The pattern, or None if the tensor is left alone."""
        return None if isinstance(self.treatment, str) else str(self.treatment.pattern)

    @property
    def words(self) -> str:
        """The pattern, and whether tiles are dense, for tables."""
        if isinstance(self.treatment, str):
            return ""
        return words_of(str(self.treatment.pattern), self.treatment.dense)

    @property
    def skipped(self) -> str | None:
        """Why the tensor is left alone."""
        return self.treatment if isinstance(self.treatment, str) else None


def words_of(pattern: str, dense: DenseGrid | None) -> str:
    """Say which pattern a tensor follows, and that some tiles do not."""
    if dense is None:
        return pattern
    return f"{pattern}, tiles of {dense.tile[0]} x {dense.tile[1]} dense"


@dataclass(frozen=True)
class Plan:
    """What a run will do.

    Attributes
    ----------
    checkpoint : Checkpoint
    selection : Selection
    steps : tuple of Step
        One a tensor, file by file.
    how : mapping
        Backend and its options.
    """

    checkpoint: Checkpoint
    selection: Selection
    steps: tuple[Step, ...]
    how: Mapping[str, Any]

    @property
    def bytes(self) -> int:
        """Bytes of all tensors."""
        return sum(step.entry.nbytes for step in self.steps)

    def identity(self) -> dict[str, Any]:
        """Name what decides about the bytes of the output: settings, version, layout of the inputs."""
        inputs = {
            name: {
                "bytes": file.path.stat().st_size,
                "tensors": hashlib.sha256(repr(file.entries).encode()).hexdigest(),
            }
            for name, file in self.checkpoint.weights.items()
        }
        settings = {**self.selection.settings(), "backend": self.how["backend"]}
        settings["options"] = {name: value for name, value in self.how.items() if name != "backend"}
        return {"masksolve": __version__, "digests": NAME, "settings": settings, "inputs": inputs}

    def pieces(
        self, step: Step, folder: Path, *, prices: Path | None = None, worst: bool = False
    ) -> Iterator[Piece]:
        """Cut a step into pieces that write below ``folder``."""
        treatment = None if isinstance(step.treatment, str) else step.treatment
        source = self.checkpoint.weights[step.file].path
        for number, (first, count, shape, order, pattern) in enumerate(parts(step.entry, treatment)):
            key = f"{step.file}:{step.entry.name}:{number}"
            stored = None
            if prices is not None and treatment is not None and stores_prices(treatment):
                stored = prices / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.npz"
            yield Piece(
                key=key,
                source=source.absolute(),
                target=(folder / step.file).absolute(),
                entry=step.entry,
                first=first,
                count=count,
                place=step.place + first,
                shape=shape,
                order=order,
                pattern=pattern,
                how=self.how,
                prices=stored,
                worst=worst,
                dense=dense_in(step.entry, treatment, first, shape, order),
            )

    def seconds(self) -> float:
        """Estimate how long solving takes with one worker, from a part of one tensor of each pattern."""
        total = 0.0
        speeds: dict[tuple[str, str], float] = {}
        for step in self.steps:
            kind = (step.pattern or "", step.entry.dtype)
            if isinstance(step.treatment, str):
                continue
            if kind not in speeds:
                speeds[kind] = self._speed(step, step.treatment)
            total += speeds[kind] * step.entry.nbytes
        return total

    def _speed(self, step: Step, treatment: Treatment) -> float:
        """Seconds a byte."""
        first, count, shape, order, pattern = next(parts(step.entry, treatment))
        if not count or pattern is None:
            return 0.0
        buffer = read(self.checkpoint.weights[step.file].path, step.entry, first, count)
        started = time.perf_counter()
        bits = matrices(buffer, step.entry, shape, order)
        height = (pattern.budgets.get(-2) or pattern).m
        rows = max(1, _SAMPLE // max(1, bits[0].size) // height) * height
        sample = np.ascontiguousarray(bits[:rows] if bits.ndim == 2 else bits)
        weights = weights_of(sample, step.entry.dtype)
        solve(weights, pattern, score="magnitude", duals=False, tiles=False, **self.how)
        return (time.perf_counter() - started) / sample.nbytes


def make_plan(checkpoint: Checkpoint, selection: Selection, how: Mapping[str, Any]) -> Plan:
    """Decide about every tensor.

    Raises
    ------
    CheckpointError
        If every tensor would be left alone.
    """
    steps = tuple(
        Step(name, entry, place, selection.treat(entry, named=file.suffix != ".npy"))
        for name, file in checkpoint.weights.items()
        for entry, place in zip(file.entries, file.places, strict=True)
    )
    skipped = [step for step in steps if step.skipped is not None]
    if len(skipped) == len(steps):
        reasons = [f"'{step.entry.name}': {step.skipped}" for step in steps[:_REASONS]] or ["none at all"]
        more = f"; and {len(steps) - _REASONS} more" if len(steps) > _REASONS else ""
        what = "folder" if checkpoint.is_folder else "file"
        raise CheckpointError(
            f"{what} '{checkpoint.path}' has no tensor that the pattern can be laid on: "
            f"{'; '.join(reasons)}{more}"
        )
    return Plan(checkpoint, selection, steps, how)


def stores_prices(treatment: Treatment) -> bool:
    """Whether a certificate keeps the prices of a tensor.

    Prices of small tiles take as much room as the weights themselves (2:4-T in bfloat16: 2 bytes an
    entry), and those of one-directional patterns follow from one sort. They are found again from the mask.
    """
    return treatment.pattern.transposable and max(treatment.pattern.tile_shape) > _SMALL_TILE
