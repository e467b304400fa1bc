"""Checking a checkpoint: whether its non-zeros follow the pattern, and whether its proof holds."""

from __future__ import annotations

import glob
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..certificate import Verification, verify
from ..errors import CheckpointError
from ..pattern import Pattern
from .certificates import Proof, prove, read_certificate
from .dense_grid import DenseGrid
from .entries import in_order, nonzero, read
from .folder import MANIFEST, Checkpoint, check_existence, open_checkpoint
from .plan import Plan, Step, make_plan
from .selection import Rule, Selection
from .work import dense_in, matrices, parts

_LISTED = 10
"""Violations of a tensor that are listed one by one."""

Told = Callable[[str, int, int], object]
"""Called with a tensor's name, and how many of all bytes are done."""


@dataclass(frozen=True)
class Verified:
    """What the check of one tensor found.

    Attributes
    ----------
    name, file : str
    shape : tuple of int
    pattern, skipped : str or None
        The pattern, or why the tensor was not checked.
    violations : int
        Groups that keep the wrong number of entries.
    first : tuple of str
        The first ten of them, in words.
    listed : tuple of mapping
        The same as mappings: ``tile``, ``axis``, ``index``, ``kept``, ``least`` and ``most``.
    """

    name: str
    file: str
    shape: tuple[int, ...]
    pattern: str | None = None
    skipped: str | None = None
    violations: int = 0
    first: tuple[str, ...] = ()
    listed: tuple[Mapping[str, Any], ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong with it."""
        return not self.violations


@dataclass(frozen=True)
class Findings:
    """What `masksolve.checkpoints.verify` found, one row a tensor."""

    tensors: tuple[Verified, ...] = ()
    proofs: tuple[Proof, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether every tensor follows its pattern, or every proof holds."""
        return all(row.ok for row in self.tensors) and all(proof.wrong is None for proof in self.proofs)


def check_patterns(plan: Plan, progress: Told | None = None) -> tuple[Verified, ...]:
    """Compare the non-zeros of every tensor of a plan with its pattern."""
    rows = []
    done = 0
    for step in plan.steps:
        rows.append(_verified(plan.checkpoint, step))
        done += step.entry.nbytes
        if progress is not None:
            progress(step.entry.name, done, plan.bytes)
    return tuple(rows)


def _verified(checkpoint: Checkpoint, step: Step) -> Verified:
    entry, treatment = step.entry, step.treatment
    row = (entry.name, step.file, entry.shape)
    if isinstance(treatment, str):
        return Verified(*row, skipped=treatment)
    path = checkpoint.weights[step.file].path
    count, tiles, first = 0, 0, list[str]()
    listed: list[Mapping[str, Any]] = []
    numbered = treatment.order == tuple(range(len(entry.shape))) and treatment.pattern.axis == -1
    # Tiles are numbered through the parts where these follow each other in the numbering.
    for start, size, shape, order, pattern in parts(entry, treatment):
        assert pattern is not None
        bits = matrices(read(path, entry, start, size), entry, shape, order)
        kept = nonzero(in_order(bits, entry))
        dense = dense_in(entry, treatment, start, shape, order)
        grid, size_of = (None, None) if dense is None else (dense.grid(kept.shape), dense.tile)
        outcome = verify(kept, pattern, dense=grid, tile=size_of)
        count += len(outcome)
        if len(outcome) and not first:
            first = _lines(outcome, tiles if numbered else 0)
            listed = _listed(outcome, tiles if numbered else 0)
        tiles += outcome.tiles + outcome.dense
    return Verified(
        *row, pattern=str(treatment.pattern), violations=count, first=tuple(first), listed=tuple(listed)
    )


def _listed(outcome: Verification, before: int) -> list[Mapping[str, Any]]:
    """Give the first violations in plain types, with the tiles before this part added to their numbers."""
    wanted = ("axis", "index", "kept", "least", "most")
    return [
        {"tile": found["tile"] + before, **{key: found[key] for key in wanted}}
        for found in outcome.to_dict(_LISTED)["violations"]
    ]


def _lines(outcome: Verification, before: int) -> list[str]:
    """Take the listed violations, with the tiles before this part added to their numbers."""
    lines = [line.strip() for line in str(outcome).splitlines()[1:] if "keeps" in line]

    def numbered(found: re.Match[str]) -> str:
        return f"{found[1]} {int(found[2]) + before}"

    return [re.sub(r"^(tile|group) (\d+)", numbered, line) for line in lines]


def check_certificate(
    path: Path, certificate: Path, original: Path | None, progress: Told | None = None
) -> tuple[Proof, ...]:
    """Prove every mask of a checkpoint again; see `masksolve.checkpoints.verify`."""
    if original is None:
        raise CheckpointError("original must be the checkpoint before pruning: the proof needs its weights")
    output, before = open_checkpoint(path), open_checkpoint(original)
    known = read_certificate(certificate)
    if not (output.is_folder or before.is_folder):  # files may be called anything
        output, before = (_renamed(each, known.content["tensors"]) for each in (output, before))
    proofs = []
    every = len(known.content["tensors"])
    for proof in prove(output.weights, before.weights, known):
        proofs.append(proof)
        if progress is not None:
            progress(proof.name, len(proofs), every)
    return tuple(proofs)


def _renamed(checkpoint: Checkpoint, keys: Iterable[str]) -> Checkpoint:
    """Call a file, and the one array of a ``.npy`` file, as the keys of a certificate do: ``file:tensor``."""
    (file,) = checkpoint.weights.values()
    name, _, tensor = next(iter(keys), "").partition(":")
    if file.suffix == ".npy" and tensor:
        file = replace(file, entries=(replace(file.entries[0], name=tensor),))
    return Checkpoint(checkpoint.path, False, {name: file})


def published_plan(path: Path) -> Plan:
    """Make the plan by which a folder says that it was pruned.

    Raises
    ------
    CheckpointError
        If it does not say so.
    """
    check_existence(path)
    manifest = path / MANIFEST
    if not manifest.is_file():
        raise CheckpointError(f"'{path}' has no {MANIFEST} that names patterns; give a pattern or a recipe")
    try:
        tensors = json.loads(manifest.read_bytes())["tensors"]
        rules = tuple(
            Rule(
                glob.escape(key.partition(":")[2]),
                Pattern.parse(said["pattern"]) if "pattern" in said else None,
                tuple(said["order"][-2:]) if "pattern" in said else None,
                DenseGrid.read(said),
            )
            for key, said in tensors.items()
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"'{manifest}' is not as masksolve writes it: {error!r}") from error
    checkpoint = open_checkpoint(path)
    return make_plan(checkpoint, Selection(None, rules, config=checkpoint.config), {})


def at_most(plan: Plan) -> Plan:
    """Let the patterns of a plan keep fewer entries than n."""
    steps = tuple(
        step
        if isinstance(step.treatment, str)
        else replace(
            step,
            treatment=replace(step.treatment, pattern=replace(step.treatment.pattern, constraint="at_most")),
        )
        for step in plan.steps
    )
    return replace(plan, steps=steps)
