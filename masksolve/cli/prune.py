"""The command ``masksolve prune``."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from concurrent.futures import Executor
from pathlib import Path
from types import FrameType
from typing import Any

import click
from rich.console import Console

from .. import checkpoints
from ..checkpoints.cluster import dask_executor
from ..checkpoints.page import write_page
from ..checkpoints.run import carry_out
from .options import Failure, existing, failures, selecting, solving
from .progress import shown, size_of
from .tables import left_alone_table, plan_table, prune_table, summary

_FILE = click.Path(path_type=Path, dir_okay=False)


class Stopped(BaseException):
    """A signal that asks the process to end."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


@contextlib.contextmanager
def orderly() -> Iterator[None]:
    """Let SIGTERM and SIGHUP unwind the stack like Ctrl-C, so that unfinished files are taken care of.

    A signal that the process was started to ignore, as under nohup, stays ignored.
    """

    def stop(number: int, _: FrameType | None) -> None:
        raise Stopped(number)

    wanted = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in wanted}
    try:
        for number, handler in before.items():
            if handler is signal.SIG_DFL:
                signal.signal(number, stop)
        yield
    except (Stopped, KeyboardInterrupt) as error:
        notes = getattr(error, "__notes__", ["nothing was written"])
        click.echo(f"masksolve: stopped; {'; '.join(notes)}", err=True)
        if isinstance(error, Stopped):
            raise SystemExit(128 + error.number) from None
        raise
    finally:
        for number, handler in before.items():
            if handler is signal.SIG_DFL:
                signal.signal(number, handler)


@click.command("prune")
@click.argument("source", metavar="IN", type=click.Path(path_type=Path), callback=existing)
@click.option(
    "-o",
    "--output",
    "target",
    metavar="OUT",
    type=click.Path(path_type=Path),
    help="File or folder to write, of the same kind as IN; appears when it is complete.",
)
@solving
@click.option("--dask", metavar="ADDRESS", help="Let the workers of a Dask scheduler do the work.")
@click.option("--dry-run", is_flag=True, help="Say what would happen, and how long it would take.")
@click.option("--force", is_flag=True, help="Allow OUT to be IN itself, or the output of other settings.")
@click.option("--restart", is_flag=True, help="Discard what an interrupted run has finished.")
@click.option("--report", type=_FILE, metavar="FILE", help="Write what was done as JSON.")
@click.option("--html", type=_FILE, metavar="FILE", help="Write what was done as a page with pictures.")
@click.option("--certificate", type=_FILE, metavar="FILE", help="Keep the proof, for 'masksolve verify'.")
@selecting
def prune_command(
    *,
    source: Path,
    target: Path | None,
    workers: int,
    dask: str | None,
    dry_run: bool,
    force: bool,
    restart: bool,
    report: Path | None,
    html: Path | None,
    certificate: Path | None,
    **choice: Any,
) -> None:
    """Set to zero, in a file or folder of weights, those that an optimal mask drops.

    IN is a .safetensors, .npy, .npz, .pt, .pth or .bin file, a folder of them, or its *.index.json. The
    scores are the magnitudes |w|. Kept weights, other tensors and metadata do not change. An interrupted
    run goes on where it was when the same command is given again.
    """
    console = Console()
    with orderly(), failures(), contextlib.ExitStack() as stack:
        plan = checkpoints.plan(source, **choice)
        if dry_run:
            _announce(console, plan)
            return
        if target is None:
            raise Failure("--output must be given, unless with --dry-run")
        for path in (report, html):
            if path is not None and not path.absolute().parent.is_dir():
                raise Failure(f"'{path}' must lie in a folder that exists")
        if dask is not None and ":" not in dask and not dask.endswith(".json"):
            example = "tcp://10.0.0.5:8786, or its scheduler file (.json)"
            raise Failure(f"--dask must be the address of a scheduler, such as {example}; got '{dask}'")
        executor: Executor | None = stack.enter_context(dask_executor(dask)) if dask else None
        listener = stack.enter_context(shown(plan.bytes))
        done = carry_out(
            plan,
            target,
            workers=workers,
            executor=executor,
            resume=not restart,
            force=force,
            certificate=certificate,
            worst=html is not None,
            progress=listener,
        )
        with _writing(report):
            if report is not None:
                done.write(report)
        with _writing(html):
            if html is not None:
                write_page(done, html)
    _show(console, done)
    for what, path in (("certificate", certificate), ("report", report), ("page", html)):
        if path is not None and not (done.complete_before and path is certificate):
            console.print(f"wrote the {what} {path}", markup=False, highlight=False, soft_wrap=True)


@contextlib.contextmanager
def _writing(path: Path | None) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Failure(f"'{path}' cannot be written: {error.strerror or error}") from error


def _announce(console: Console, plan: checkpoints.Plan) -> None:
    console.print(plan_table(plan))
    console.print(left_alone_table(plan.steps))
    pruned = sum(step.entry.nbytes for step in plan.steps if step.skipped is None)
    console.print(
        f"{size_of(pruned)} to be pruned of {size_of(plan.bytes)} to be written. Solving takes about "
        f"{plan.seconds():.1f} s of processor time here. Nothing was written.",
        highlight=False,
        soft_wrap=True,
    )


def _show(console: Console, done: checkpoints.Report) -> None:
    console.print(prune_table(done))
    if done.left_alone:
        console.print(left_alone_table(done.left_alone))
    lines = [summary(done)]
    lines += [f"left out '{name}': {reason}" for name, reason in done.left_out.items()]
    if done.complete_before:
        lines.append(f"{done.target} was complete already; nothing was written")
    else:
        lines.append(f"wrote {done.target}")
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
