"""The command ``masksolve pack``."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import click

from .. import checkpoints
from ..packing.metadata import Encoding
from .options import failures, selecting
from .tables import printable


@click.command("pack")
@click.argument("source", metavar="IN", type=click.Path(path_type=Path))
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
        described = checkpoints.pack(source, target, encoding=encoding, align=align, **choice)
    for name, said in described.items():
        groups, bits = said["rows"]["groups"], said["rows"]["field_bits"]
        click.echo(f"{printable(name)}: {said['pattern']}, {groups} groups a row, {bits} bits each")
    click.echo(f"wrote {target}")
