"""The command ``masksolve verify``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from .. import checkpoints
from ..checkpoints.verifying import Findings
from ..whole_files import write_text
from .options import Failure, existing, failures, selecting
from .tables import printable, proof_table, verify_table

_SHOWN_TENSORS, _SHOWN_LINES = 3, 3
_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command("verify")
@click.argument("source", metavar="FILE", type=click.Path(path_type=Path), callback=existing)
@selecting
@click.option(
    "--exactly", is_flag=True, help="Also report groups with fewer non-zeros than the pattern keeps."
)
@click.option("--certificate", type=_FILE, metavar="FILE", help="Prove again that every mask is optimal.")
@click.option("--original", type=click.Path(path_type=Path), metavar="IN", help="The weights before pruning.")
@click.option("--report", type=_FILE, metavar="FILE", help="Write everything that was found as JSON.")
@click.option("--json", "as_json", is_flag=True, help="Print the same JSON instead of tables.")
@click.pass_context
def verify_command(
    context: click.Context,
    /,
    *,
    source: Path,
    report: Path | None,
    as_json: bool,
    certificate: Path | None,
    original: Path | None,
    exactly: bool,
    **choice: Any,
) -> None:
    """Check that the non-zeros of a file or folder of weights follow a pattern.

    With --certificate and --original, prove again that every mask is the best one, without a solver.

    Exit status 0: they do; 1: they do not; 2: it cannot be checked. A kept weight may be zero, so fewer
    non-zeros than the pattern keeps are no violation unless --exactly is given.
    """
    console = Console()
    with failures():
        if (certificate is None) != (original is None):
            raise Failure("--certificate and --original must be given together")
        found = checkpoints.verify(
            source, exactly=exactly, certificate=certificate, original=original, **choice
        )
        if report is not None:
            _write(report, found)
    if as_json:
        click.echo(_as_json(found))
    elif certificate is not None:
        console.print(proof_table(found.proofs))
    else:
        console.print(verify_table(found.tensors))
    if not as_json:
        _tell(console, found)
    if not found.ok:
        context.exit(1)


def _tell(console: Console, found: Findings) -> None:
    """Name the first tensors that are wrong, and how."""
    wrong = [(row.name, f"{row.violations} violations", row.first) for row in found.tensors if not row.ok]
    wrong += [(proof.name, proof.wrong, ()) for proof in found.proofs if proof.wrong is not None]
    lines: list[str] = []
    for name, what, first in wrong[:_SHOWN_TENSORS]:
        lines.append(f"{printable(name)}: {what}")
        lines += [f"  {line}" for line in first[:_SHOWN_LINES]]
    if len(wrong) > _SHOWN_TENSORS:
        lines.append(f"and {len(wrong) - _SHOWN_TENSORS} more tensors; --report FILE lists all")
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _as_json(found: Findings) -> str:
    tensors: dict[str, Any] = {
        f"{row.file}:{row.name}": {
            "pattern": row.pattern,
            "left_alone": row.skipped,
            "violations": row.violations,
            "first": [dict(found) for found in row.listed],
        }
        for row in found.tensors
    }
    tensors |= {
        f"{proof.file}:{proof.name}": {
            "pattern": proof.pattern,
            "objective": proof.objective,
            "bound": proof.bound,
            "optimal": proof.optimal,
            "wrong": proof.wrong,
        }
        for proof in found.proofs
    }
    return json.dumps({"ok": found.ok, "tensors": tensors}, indent=1)


def _write(path: Path, found: Findings) -> None:
    try:
        write_text(path, _as_json(found) + "\n")
    except OSError as error:
        raise Failure(f"'{path}' cannot be written: {error.strerror or error}") from error
