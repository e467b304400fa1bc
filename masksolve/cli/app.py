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


class Commands(click.Group):
    """Commands that are all named where none of them was meant."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that the first argument names."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            names = ", ".join(self.list_commands(ctx))
            raise click.UsageError(f"{error.format_message()} The commands are {names}.", ctx) from error


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
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
