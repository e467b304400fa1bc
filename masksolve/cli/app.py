"""The commands: arguments in, tables out, one line and exit status 2 for whatever is wrong."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

import masksolve as ms

from .._version import __version__
from ..checkpoints.files import FileError, check_target, size
from ..checkpoints.weights import Selection, prune, verify
from . import demo as demonstration
from .tables import backend_table, prune_table, verify_table

_SOLVE_ARGUMENTS = frozenset(inspect.signature(ms.solve).parameters)

Command = TypeVar("Command", bound=Callable[..., Any])


class _Failure(click.ClickException):
    """Bad input: one line on standard error, exit status 2."""

    exit_code = 2

    def show(self, file: Any = None) -> None:
        """Print the message."""
        click.echo(f"masksolve: {' '.join(self.message.split())}", err=True)


@contextlib.contextmanager
def _failures() -> Iterator[None]:
    """Report what a user can do something about as one line instead of a traceback."""
    try:
        yield
    except (FileError, ms.MaskSolveError, ValueError, TypeError) as error:
        raise _Failure(str(error)) from error


def _axes(_: click.Context, __: click.Parameter, text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    try:
        row, column = map(int, text.split(","))
    except ValueError:
        raise _Failure(f"--axes must be two axis numbers such as -2,-1 or 0,1; got {text!r}") from None
    if row == column:
        raise _Failure(f"--axes must be two different axes; got {text!r}")
    return row, column


def _options(_: click.Context, __: click.Parameter, texts: tuple[str, ...]) -> dict[str, Any]:
    """Read values as JSON where they are JSON (numbers, true, false), and as text otherwise."""
    options = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (equals and name.isidentifier()) or name in _SOLVE_ARGUMENTS:
            raise _Failure(f"--option must be NAME=VALUE with an option of the backend; got {text!r}")
        try:
            options[name] = json.loads(value)
        except ValueError:
            options[name] = value
    return options


def _selecting(command: Command) -> Command:
    """Add the options that ``prune`` and ``verify`` share."""
    for option in (
        click.option(
            "--axes",
            callback=_axes,
            metavar="ROW,COLUMN",
            help="Which two axes of tensors with more than two form the matrices, e.g. -2,-1 "
            "for a batch or 0,1 for convolutions; without it they are skipped.",
        ),
        click.option(
            "--exclude",
            multiple=True,
            metavar="GLOB",
            help="Leave alone tensors whose name matches; may be repeated.",
        ),
        click.option(
            "--include",
            multiple=True,
            metavar="GLOB",
            help="Only tensors whose name matches; may be repeated.",
        ),
        click.option(
            "--pattern",
            required=True,
            metavar="PATTERN",
            help="'2:4' keeps 2 of 4; '4:8-T' in rows and columns; may be followed by "
            "at_most, pad or dense, axis=K, as in '4:8-T pad'.",
        ),
    ):
        command = option(command)
    return command


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="masksolve", message="%(prog)s %(version)s")
def cli() -> None:
    """Optimal N:M and transposable N:M sparsity masks, with a certificate."""


@cli.command()
def demo() -> None:
    """Prune a small trained network that comes with the package, and show what it costs."""
    with _failures():
        demonstration.run(Console())


@cli.command("prune")
@click.argument("source", metavar="IN", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    "target",
    metavar="OUT",
    required=True,
    type=click.Path(path_type=Path),
    help="File to write, of the same kind as IN; replaced only when it is complete.",
)
@click.option("--backend", default="auto", show_default=True, help="See 'masksolve backends'.")
@click.option(
    "--option",
    "options",
    multiple=True,
    callback=_options,
    metavar="NAME=VALUE",
    help="Option of the backend, such as bound=true for greedy; may be repeated.",
)
@click.option("--workers", type=int, default=1, show_default=True, help="Threads; -1 for all processors.")
@click.option("--force", is_flag=True, help="Allow OUT to be IN itself.")
@_selecting
def prune_command(
    *,
    source: Path,
    target: Path,
    backend: str,
    options: dict[str, Any],
    workers: int,
    force: bool,
    pattern: str,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    axes: tuple[int, int] | None,
) -> None:
    """Set to zero, in a .npy, .npz or .safetensors file, the weights that an optimal mask drops.

    The scores are the magnitudes |w|. Kept weights, other tensors and metadata do not change.
    """
    console = Console()
    with _failures():
        selection = Selection(ms.Pattern.parse(pattern), include, exclude, axes)
        target = check_target(source, target, force=force)
        with _progress(size(source)) as progress:
            rows = prune(
                source,
                target,
                selection,
                backend=backend,
                workers=workers,
                options=options,
                progress=progress,
            )
    console.print(prune_table(rows))
    console.print(f"wrote {target}", markup=False, highlight=False, soft_wrap=True)


@cli.command("verify")
@click.argument("source", metavar="FILE", type=click.Path(path_type=Path))
@_selecting
@click.option(
    "--exactly", is_flag=True, help="Also report groups with fewer non-zeros than the pattern keeps."
)
@click.pass_context
def verify_command(
    context: click.Context,
    *,
    source: Path,
    pattern: str,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    axes: tuple[int, int] | None,
    exactly: bool,
) -> None:
    """Check that the non-zeros of a weight file follow a pattern.

    Exit status 0: they do; 1: they do not; 2: the file cannot be checked. A kept weight may be
    zero, so fewer non-zeros than the pattern keeps are no violation unless --exactly is given.
    """
    console = Console()
    with _failures():
        parsed = ms.Pattern.parse(pattern)
        if not exactly:
            parsed = dataclasses.replace(parsed, constraint="at_most")
        rows = verify(source, Selection(parsed, include, exclude, axes))
    console.print(verify_table(rows))
    broken = [row for row in rows if row.outcome is not None and not row.outcome.ok]
    for row in broken:
        console.print(f"{row.tensor}: {row.outcome}", markup=False, highlight=False, soft_wrap=True)
    if broken:
        context.exit(1)


@cli.command("backends")
def backends_command() -> None:
    """List the solvers: what each guarantees, its options, and why it cannot run here."""
    console = Console()
    rows = ms.backends()
    console.print(backend_table(rows))
    for row in rows:
        if row.unavailable is not None:  # whole lines, so that the command in them can be copied
            console.print(f"{row.name}: {row.unavailable}", markup=False, highlight=False, soft_wrap=True)


@contextlib.contextmanager
def _progress(total: int) -> Iterator[Any]:
    """Show a bar on standard error while there is a terminal to see it."""
    name = TextColumn("{task.fields[tensor]}", markup=False)
    columns = (name, BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=total or None, tensor="")
        yield lambda tensor, done: bar.update(task, completed=done, tensor=tensor)
