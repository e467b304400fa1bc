"""Options that commands share, and how they fail: one line on standard error and exit status 2."""

from __future__ import annotations

import contextlib
import inspect
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import click

from .. import MaskSolveError, solve
from ..checkpoints.folder import check_existence

_SOLVE_ARGUMENTS = frozenset(inspect.signature(solve).parameters)

Command = TypeVar("Command", bound=Callable[..., Any])


class Failure(click.ClickException):
    """Bad input: one line on standard error, exit status 2."""

    exit_code = 2

    def show(self, file: Any = None) -> None:
        """Print the message."""
        click.echo(f"masksolve: {' '.join(self.message.split())}", err=True)


@contextlib.contextmanager
def failures() -> Iterator[None]:
    """Report what a user can do something about as one line instead of a traceback."""
    try:
        yield
    except (MaskSolveError, ValueError, TypeError) as error:
        raise Failure("; ".join([str(error), *getattr(error, "__notes__", [])])) from error


def existing(_: click.Context, __: click.Parameter, path: Path) -> Path:
    """Refuse what is not there, before anybody judges it by its name."""
    with failures():
        check_existence(path)
    return path


def axes_of(_: click.Context, __: click.Parameter, text: str | None) -> tuple[int, int] | None:
    """Read ``ROW,COLUMN``."""
    if text is None:
        return None
    try:
        row, column = map(int, text.split(","))
    except ValueError:
        raise Failure(f"--axes must be two axis numbers such as -2,-1 or 0,1; got {text!r}") from None
    if row == column:
        raise Failure(f"--axes must be two different axes; got {text!r}")
    return row, column


def backend_options(_: click.Context, __: click.Parameter, texts: tuple[str, ...]) -> dict[str, Any]:
    """Read values as JSON where they are JSON (numbers, true, false), and as text otherwise."""
    options = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (equals and name.isidentifier()) or name in _SOLVE_ARGUMENTS:
            raise Failure(f"--option must be NAME=VALUE with an option of the backend; got {text!r}")
        try:
            options[name] = json.loads(value)
        except ValueError:
            options[name] = value
    return options


def solving(command: Command) -> Command:
    """Add the options that say how tensors are solved."""
    for option in (
        click.option(
            "--workers", type=int, default=1, show_default=True, help="Threads; -1 for all processors."
        ),
        click.option(
            "--option",
            "options",
            multiple=True,
            callback=backend_options,
            metavar="NAME=VALUE",
            help="Option of the backend, such as bound=true for greedy; may be repeated.",
        ),
        click.option("--backend", default="auto", show_default=True, help="See 'masksolve backends'."),
    ):
        command = option(command)
    return command


def selecting(command: Command) -> Command:
    """Add the options that ``prune`` and ``verify`` share."""
    return click.option(
        "--recipe",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="TOML file with a table [patterns] of patterns by glob; the first match counts.",
    )(choosing(command))


def choosing(command: Command) -> Command:
    """Add the options that choose tensors, and a pattern for them."""
    for option in (
        click.option(
            "--axes",
            callback=axes_of,
            metavar="ROW,COLUMN",
            help="Which two axes of tensors with more than two form the matrices, e.g. -2,-1 "
            "for a batch or 0,1 for convolutions; without it only stacks of experts are pruned.",
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
            help="Only tensors whose name matches; may be repeated. Embeddings, heads, norms and "
            "routers are pruned only if a glob names them, such as 'lm_head*'.",
        ),
        click.option(
            "--pattern",
            metavar="PATTERN",
            help="'2:4' keeps 2 of 4; '4:8-T' in rows and columns; '64:2:8' is V:N:M; may be followed by "
            "at_most, pad or dense, axis=K, as in '4:8-T pad'.",
        ),
    ):
        command = option(command)
    return command
