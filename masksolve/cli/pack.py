"""The command ``masksolve pack``."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import click

from .. import MaskSolveError, PatternViolationError, checkpoints
from ..packing.metadata import Encoding
from .options import Failure, existing, failures, selecting
from .tables import printable


@click.command("pack")
@click.argument("source", metavar="IN", type=click.Path(path_type=Path), callback=existing)
@click.option(
    "-o",
    "--output",
    "target",
    metavar="OUT",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="A .safetensors file with the values and the streams.",
)
@click.option(
    "--encoding",
    type=click.Choice(get_args(Encoding)),
    default="positions",
    show_default=True,
    help="What the bits of a group say: n positions, a bit for each entry, or the number of the choice.",
)
@click.option("--align", type=int, default=8, show_default=True, help="Bits that a row is a multiple of.")
@selecting
def pack_command(*, source: Path, target: Path, encoding: Encoding, align: int, **choice: Any) -> None:
    """Write the values that a pruned file or folder keeps, and where they stand, as streams of bits.

    IN is what 'masksolve prune' wrote, or any file or folder whose non-zeros follow the pattern.
    """
    with failures():
        try:
            described = checkpoints.pack(source, target, encoding=encoding, align=align, **choice)
        except MaskSolveError as error:
            if not isinstance(error.__cause__, PatternViolationError):
                raise
            lines = str(error).splitlines()  # what is wrong, and then every violation on a line of its own
            raise Failure(f"{lines[0]} {lines[1].strip()}; 'masksolve verify' lists the others") from error
    for name, said in described.items():
        groups, bits = said["rows"]["groups"], said["rows"]["field_bits"]
        click.echo(f"{printable(name)}: {said['pattern']}, {groups} groups a row, {bits} bits each")
    click.echo(f"wrote {target}")
