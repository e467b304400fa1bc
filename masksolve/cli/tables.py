"""Tables for the terminal; plain text where there is none."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import NamedTuple, Protocol, TypeVar

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from ..backends import BackendInfo
from ..budgets import Allocation, DenseTiles
from ..checkpoints import Plan, Report, TensorReport
from ..checkpoints.certificates import Proof
from ..checkpoints.plan import Step
from ..checkpoints.report import gap_of, share
from ..checkpoints.verifying import Verified

_ROUNDING = 1e-15
_NAMED = 4
"""Kinds of tensors named in one row."""


def table(headings: Sequence[str], numbers: Sequence[str] = (), title: str | None = None) -> Table:
    """Make an empty table; the columns named in ``numbers`` are set flush right and never wrapped."""
    made = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False)
    for heading in headings:
        number = heading in numbers
        made.add_column(
            heading,
            justify="right" if number else "left",
            no_wrap=number,
            overflow="ellipsis" if number else "fold",
        )
    return made


def percent(share: float) -> str:
    """Write a share as a percentage."""
    return f"{100 * share:.2f} %"


def gap(value: float) -> str:
    """Write a relative gap; below the rounding of float64 its digits, even its sign, mean nothing."""
    if not math.isfinite(value):
        return "unproven"
    return f"{value:.1e}" if value > _ROUNDING else "< 1e-15"


def prune_table(report: Report) -> Table:
    """Tell what the masks keep, one row for the same tensor of all layers."""
    patterns = {tensor.words for tensor in report.pruned}
    title = f"Pruned to {patterns.pop()}" if len(patterns) == 1 else "Pruned"
    numbers = ("#", "kept |w|", "gap")
    headings = ["tensor", "shape", *(["pattern"] if patterns else []), *numbers]
    made = table(headings, numbers, title)
    for name, rows in by_layer(report.pruned):
        pattern = [rows[0].words] if patterns else []
        made.add_row(Text(name), _shape(rows[0].shape), *pattern, *_kept(rows))
    if len(report.pruned) > 1:
        made.add_section()
        made.add_row("together", "", *([""] if patterns else []), *_kept(report.pruned), style="bold")
    return made


def plan_table(plan: Plan) -> Table:
    """Tell what would be pruned, one row for the same tensor of all layers."""
    made = table(["tensor", "shape", "pattern", "#"], ["#"], "Would be pruned")
    steps = [step for step in plan.steps if step.skipped is None]
    rows = [_Planned(step.entry.name, step.entry.shape, step.words) for step in steps]
    for name, same in by_layer(rows):
        made.add_row(Text(name), _shape(same[0].shape), same[0].pattern or "", str(len(same)))
    return made


def allocation_table(found: Allocation) -> Table:
    """Tell which patterns were chosen for the same tensor of all layers."""
    made = table(["tensor", "shape", "#", "patterns"], ["#"], "Chosen")
    rows = [
        _Planned(name, shape, None) for name, shape in zip(found.patterns, found.form.shapes, strict=True)
    ]
    for name, same in by_layer(rows):
        counts = Counter(found.patterns[row.name] for row in same)
        chosen = ", ".join(f"{counts[each]} x {each}" for each in sorted(counts, key=lambda each: each.n))
        made.add_row(Text(name), _shape(same[0].shape), str(len(same)), chosen)
    return made


def dense_table(found: DenseTiles) -> Table:
    """Tell how many tiles of the same tensor of all layers stay dense."""
    title = f"Chosen; other tiles follow {found.pattern}"
    made = table(["tensor", "shape", "#", "dense tiles"], ["#", "dense tiles"], title)
    rows = [_Planned(name, shape, None) for name, shape in zip(found.dense, found.form.shapes, strict=True)]
    for name, same in by_layer(rows):
        grids = [found.dense[row.name] for row in same]
        dense, every = sum(int(grid.sum()) for grid in grids), sum(grid.size for grid in grids)
        made.add_row(Text(name), _shape(same[0].shape), str(len(same)), f"{dense} of {every}")
    return made


def left_alone_table(rows: Sequence[TensorReport] | Sequence[Step] | Sequence[Verified]) -> Table:
    """Tell which tensors were left alone, by reason."""
    names: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        if row.skipped is not None:
            names[row.skipped].append(row.entry.name if isinstance(row, Step) else row.name)
    made = table(["left alone", "#", "which"], ["#"])
    for reason, every in names.items():
        layers = list(dict.fromkeys(_layerless(name) for name in every))
        more = f" and {len(layers) - _NAMED} more kinds" if len(layers) > _NAMED else ""
        shown = every if len(every) == 1 else layers[:_NAMED]
        made.add_row(
            Text(reason), str(len(every)), Text(", ".join(map(printable, shown)) + more), style="dim"
        )
    return made


def summary(report: Report) -> str:
    """Say in a sentence what was done."""
    ways = Counter(
        f"{tensor.status.lower().replace('_', ' ')} ({tensor.backend})" for tensor in report.pruned
    )
    how = ", ".join(way if len(ways) == 1 else f"{count} {way}" for way, count in ways.items())
    zeros = sum(tensor.zeros for tensor in report.pruned)
    resumed = ", gone on with earlier work" if report.resumed else ""
    count = f"{len(report.pruned)} of {len(report.tensors)}"
    return f"{count} tensors pruned, {zeros:,} weights set to zero: {how}{resumed}"


def verify_table(rows: Sequence[Verified]) -> Table:
    """Tell whether the tensors follow the pattern, one row for the same tensor of all layers."""
    made = table(["tensor", "shape", "#", "outcome"], ["#"], "Non-zeros against the pattern")
    checked = [row for row in rows if row.skipped is None]
    for name, same in by_layer(checked):
        broken = sum(1 for row in same if not row.ok)
        outcome = Text("ok", "green")
        if broken:
            count = sum(row.violations for row in same)
            where = f" in {broken} tensors" if len(same) > 1 else ""
            outcome = Text(f"{count} violations{where}", "bold red")
        made.add_row(Text(name), _shape(same[0].shape), str(len(same)), outcome)
    for reason, count in Counter(row.skipped for row in rows if row.skipped is not None).items():
        made.add_row(Text(f"left alone: {reason}"), "", str(count), "", style="dim")
    return made


def proof_table(rows: Sequence[Proof]) -> Table:
    """Tell what was proven, one row for the same tensor of all layers."""
    numbers = ("#", "gap")
    made = table(["tensor", *numbers, "outcome"], numbers, "Proven again, without a solver")
    planned = [_Planned(row.name, (), row.pattern, row) for row in rows]
    for name, same in by_layer([row for row in planned if row.pattern is not None]):
        proofs = [row.proof for row in same if row.proof is not None]
        wrong = sum(1 for proof in proofs if proof.wrong is not None)
        widest = max(proof.gap for proof in proofs)
        outcome = Text("optimal", "green") if all(proof.optimal for proof in proofs) else Text("bounded")
        if wrong:
            outcome = Text(f"{wrong} wrong", "bold red")
        made.add_row(Text(name), str(len(proofs)), gap(widest), outcome)
    for word, right in (("unchanged", True), ("changed", False)):
        count = sum(1 for row in rows if row.pattern is None and (row.wrong is None) == right)
        if count:
            made.add_row("left alone", str(count), "", word, style="dim" if right else "bold red")
    return made


def backend_table(rows: Sequence[BackendInfo]) -> Table:
    """List the backends."""
    made = table(["name", "kind", "guarantee, and what it runs", "options", "available"], title="Backends")
    kinds = {True: "exact", False: "heuristic", None: "unknown"}
    for row in rows:
        options = "\n".join(f"{name}={value!r}" for name, value in row.options.items()) or "-"
        available = Text("yes", "green") if row.unavailable is None else Text("no", "yellow")
        promise = Text(f"{row.guarantee}\nruns {row.runs}" if row.runs else row.guarantee)
        made.add_row(Text(row.name, "bold"), kinds[row.exact], promise, Text(options), available)
    return made


class _Planned(NamedTuple):
    """A tensor as `by_layer` wants it."""

    name: str
    shape: tuple[int, ...]
    pattern: str | None
    proof: Proof | None = None


class _Named(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def pattern(self) -> str | None: ...


Row = TypeVar("Row", bound=_Named)


def by_layer(rows: Sequence[Row]) -> list[tuple[str, list[Row]]]:
    """Put the same tensor of all layers together: names that differ in numbers between dots only.

    A model has hundreds of tensors and about ten kinds of them.
    """
    groups: dict[tuple[str, tuple[int, ...], str | None], list[Row]] = defaultdict(list)
    for row in rows:
        groups[_layerless(row.name), row.shape, row.pattern].append(row)
    return [(printable(kind if len(same) > 1 else same[0].name), same) for (kind, *_), same in groups.items()]


def _layerless(name: str) -> str:
    return re.sub(r"(?<![^.])\d+(?![^.])", "*", name)


def printable(name: str) -> str:
    """Write a name with nothing in it that a terminal would obey."""
    return name if name.isprintable() else repr(name)


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "scalar"


def _kept(rows: Sequence[TensorReport]) -> tuple[str, str, str]:
    """Give the number of tensors, the share of the scores they keep together, and the gap."""
    return str(len(rows)), percent(share(rows)), gap(gap_of(rows))
