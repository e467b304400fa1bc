"""Tables for the terminal; plain text where there is none."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from ..backends import BackendInfo
from ..checkpoints.weights import Pruned, Verified

_ROUNDING = 1e-15


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


def prune_table(rows: Sequence[Pruned]) -> Table:
    """Tell what became of each tensor, and of all together."""
    numbers = ("zeros set", "kept |w|", "proven gap")
    made = table(
        ["tensor", "shape", *numbers, "outcome"], numbers, "Scores |w|: the share that the mask keeps"
    )
    for row in rows:
        if row.result is None:
            made.add_row(*_which(row), "", "", "", Text(f"skipped: {row.skipped}"), style="dim")
            continue
        outcome = f"{row.result.status.name.lower().replace('_', ' ')} ({row.result.backend})"
        made.add_row(*_which(row), *_kept([row]), outcome)
    pruned = [row for row in rows if row.result is not None]
    if len(pruned) > 1:
        made.add_section()
        made.add_row(f"{len(pruned)} of {len(rows)}", "", *_kept(pruned), "", style="bold")
    return made


def verify_table(rows: Sequence[Verified]) -> Table:
    """Tell whether each tensor follows the pattern."""
    made = table(["tensor", "shape", "outcome"], title="Non-zeros against the pattern")
    for row in rows:
        if row.outcome is None:
            made.add_row(*_which(row), Text(f"skipped: {row.skipped}"), style="dim")
        elif row.outcome.ok:
            made.add_row(*_which(row), Text("ok", "green"))
        else:
            made.add_row(*_which(row), Text(f"{len(row.outcome)} violations", "bold red"))
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


def _which(row: Pruned | Verified) -> tuple[Text, str]:
    """Name and shape of a tensor, with nothing in the name that a terminal would obey."""
    name = row.tensor if row.tensor.isprintable() else repr(row.tensor)
    return Text(name), "x".join(map(str, row.shape)) or "scalar"


def _kept(rows: Sequence[Pruned]) -> tuple[str, str, str]:
    """Zeros set, share of the scores kept, and gap, of some tensors together."""
    results = [row.result for row in rows if row.result is not None]
    objective = sum(result.objective for result in results)
    bound = sum(result.bound for result in results)
    total = sum(row.total for row in rows)
    return (
        f"{sum(row.dropped for row in rows):,}",
        percent(objective / total if total else 1.0),
        gap((bound - objective) / bound if bound else 0.0),
    )
