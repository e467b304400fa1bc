"""The command ``masksolve allocate``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.console import Console

from .. import checkpoints
from ..checkpoints.journal import naming_output
from ..whole_files import write_text
from .options import Failure, choosing, existing, failures, solving
from .tables import allocation_table, gap, percent


def _integers(_: click.Context, __: click.Parameter, text: str | None) -> tuple[int, ...] | None:
    """Read ``N,N,...``."""
    if text is None:
        return None
    try:
        return tuple(map(int, text.split(",")))
    except ValueError:
        raise Failure(f"--choices must be numbers such as 2,4; got {text!r}") from None


@click.command("allocate")
@click.argument("source", metavar="IN", type=click.Path(path_type=Path), callback=existing)
@click.option(
    "-o",
    "--output",
    "target",
    metavar="RECIPE",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="TOML file to write, for 'masksolve prune --recipe'.",
)
@click.option(
    "--sparsity",
    type=float,
    metavar="SHARE",
    help="Share of the pruned tensors' weights that must be zero; by default the pattern's.",
)
@click.option(
    "--choices",
    callback=_integers,
    metavar="N,N,...",
    help="Numbers to choose from, such as 2,4; by default 1 to m, where m is dense.",
)
@solving
@choosing
def allocate_command(*, source: Path, target: Path, **choice: Any) -> None:
    """Choose how many of every m weights each tensor keeps, so that all together keep most.

    IN is as for 'masksolve prune', and is only read. The scores are the magnitudes |w|. 'masksolve prune IN
    --recipe RECIPE -o OUT' then prunes by the choice.
    """
    console = Console()
    with failures():
        if choice["pattern"] is None:
            raise Failure("--pattern must be given, such as 4:8-T")
        found = checkpoints.allocate(source, **choice)
        with naming_output(target):
            write_text(target, checkpoints.recipe_text(found.recipe()))
    console.print(allocation_table(found))
    more = found.objective / found.uniform - 1 if found.uniform else 0.0
    for line in (
        f"{percent(found.sparsity)} zeros keep {found.objective:.6g}, {100 * more:.2f} % more than one n for "
        f"all, and no choice keeps more than {found.bound:.6g} (gap {gap(found.gap)})",
        f"wrote the recipe {target}",
    ):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
