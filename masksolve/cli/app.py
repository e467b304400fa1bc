"""The group of commands."""

from __future__ import annotations

import click
from rich.console import Console

from .. import backends
from .._version import __version__
from . import demo as demonstration
from .allocate import allocate_command
from .options import failures
from .pack import pack_command
from .prune import prune_command
from .tables import backend_table
from .verify import verify_command


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="masksolve", message="%(prog)s %(version)s")
def cli() -> None:
    """Optimal N:M and transposable N:M sparsity masks, with a certificate."""


@cli.command()
def demo() -> None:
    """Prune a small trained network that comes with the package, and show what it costs."""
    with failures():
        demonstration.run(Console())


@cli.command("backends")
def backends_command() -> None:
    """List the solvers: what each guarantees, its options, and why it cannot run here."""
    console = Console()
    rows = backends()
    console.print(backend_table(rows))
    for row in rows:
        if row.unavailable is not None:  # whole lines, so that the command in them can be copied
            console.print(f"{row.name}: {row.unavailable}", markup=False, highlight=False, soft_wrap=True)


cli.add_command(allocate_command)
cli.add_command(prune_command)
cli.add_command(pack_command)
cli.add_command(verify_command)
