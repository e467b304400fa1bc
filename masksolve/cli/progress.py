"""Progress on standard error: a bar in a terminal, a line now and then where there is none."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

import click
from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from ..checkpoints import Progress

_PAUSE = 10.0
"""Seconds between lines; short runs print none."""

Listener = Callable[[Progress], object]


@contextlib.contextmanager
def shown(total: int) -> Iterator[Listener]:
    """Show how far a run over ``total`` bytes is."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _Lines().tell
        return
    columns = (
        TextColumn("{task.fields[phase]:8}", style="bold"),
        BarColumn(bar_width=20),
        TextColumn("{task.fields[tensors]}  {task.fields[size]}", markup=False),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=total or None, phase="reading", tensors="", size="")

        def tell(now: Progress) -> None:
            tensors, size = _words(now)
            bar.update(task, completed=now.bytes, phase=now.phase, tensors=tensors, size=size)

        yield tell


class _Lines:
    """Prints a line when some time has passed since the last one."""

    def __init__(self) -> None:
        self._started = self._last = time.monotonic()

    def tell(self, now: Progress) -> None:
        moment = time.monotonic()
        if moment - self._last < _PAUSE:
            return
        self._last = moment
        spent = moment - self._started
        left = spent * (now.all_bytes - now.bytes) / max(now.bytes, 1)
        tensors, size = _words(now)
        click.echo(f"{now.phase}: {tensors}, {size}, about {_clock(left)} left", err=True)


def _words(now: Progress) -> tuple[str, str]:
    return f"{now.tensors}/{now.all_tensors} tensors", f"{size_of(now.bytes)} of {size_of(now.all_bytes)}"


def size_of(count: float) -> str:
    """Write a number of bytes for people."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.2f} TB"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
