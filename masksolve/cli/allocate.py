"""The command ``masksolve allocate``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.console import Console

from .. import checkpoints
from ..budgets import Allocation, DenseTiles
from ..checkpoints.journal import naming_output
from ..whole_files import write_text
from .options import Failure, choosing, existing, failures, solving
from .tables import allocation_table, dense_table, gap, percent


def _integers(_: click.Context, __: click.Parameter, text: str | None) -> tuple[int, ...] | None:
    """Read ``N,N,...``."""
    if text is None:
        return None
    try:
        return tuple(map(int, text.split(",")))
    except ValueError:
        raise Failure(f"--choices must be numbers such as 2,4; got {text!r}") from None


def _tile(_: click.Context, __: click.Parameter, text: str | None) -> tuple[int, int] | None:
    """Read ``ROWS,COLUMNS``."""
    if text is None:
        return None
    try:
        rows, columns = map(int, text.split(","))
    except ValueError:
        raise Failure(f"--tile must be rows and columns such as 128,128; got {text!r}") from None
    return rows, columns


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
@click.option(
    "--dense-tiles",
    "share",
    type=float,
    metavar="SHARE",
    help="Choose this share of all tiles instead, to stay dense; the others follow the pattern.",
)
@click.option(
    "--tile",
    callback=_tile,
    metavar="ROWS,COLUMNS",
    help="Size of these tiles; by default 128,128.",
)
@solving
@choosing
def allocate_command(*, source: Path, target: Path, share: float | None, tile: Any, **choice: Any) -> None:
    """Choose how many of every m weights each tensor keeps, so that all together keep most.

    With --dense-tiles, choose instead which tiles of the tensors stay dense.

    IN is as for 'masksolve prune', and is only read. The scores are the magnitudes |w|. 'masksolve prune IN
    --recipe RECIPE -o OUT' then prunes by the choice.
    """
    console = Console()
    with failures():
        if choice["pattern"] is None:
            raise Failure("--pattern must be given, such as 4:8-T")
        if share is None and tile is not None:
            raise Failure("--tile goes with --dense-tiles")
        found: Allocation | DenseTiles
        if share is None:
            found = checkpoints.allocate(source, **choice)
        else:
            found = _dense(source, share, tile or (128, 128), choice)
        with naming_output(target):
            write_text(target, checkpoints.recipe_text(found.recipe()))
    more = f"{100 * (found.objective / found.uniform - 1) if found.uniform else 0.0:.2f} % more than"
    if isinstance(found, Allocation):
        console.print(allocation_table(found))
        kept = f"{percent(found.sparsity)} zeros keep {found.objective:.6g}, {more} one n for all"
    else:
        console.print(dense_table(found))
        kept = f"{percent(found.share)} dense tiles keep {found.objective:.6g}, {more} none"
    for line in (
        f"{kept}, and no choice keeps more than {found.bound:.6g} (gap {gap(found.gap)})",
        f"wrote the recipe {target}",
    ):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _dense(source: Path, share: float, tile: tuple[int, int], choice: dict[str, Any]) -> DenseTiles:
    for name in ("sparsity", "choices", "axes"):
        if choice.pop(name) is not None:
            raise Failure(f"--{name} does not go with --dense-tiles")
    return checkpoints.dense_tiles(source, share=share, tile=tile, **choice)
