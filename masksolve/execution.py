"""Running tasks over many tiles: chunks, threads, deadline, progress, interruption."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field, replace
from threading import Semaphore, Thread
from typing import TypeVar

from .checks import integer, number

Answer = TypeVar("Answer")
Task = Callable[[], Answer]
Waiting = deque[tuple[Future[Answer], Task[Answer]]]


@dataclass
class Interruption:
    """Whether the user pressed Ctrl-C while `catching` was open."""

    happened: bool = False


@dataclass(frozen=True)
class Execution:
    """How a solve runs.

    Attributes
    ----------
    workers : int
        Number of threads.
    deadline : float
        Instant on ``time.perf_counter``'s clock after which no task is begun.
    progress : callable or None
        Called in the caller's thread as ``progress(done, total)``, in tiles.
    """

    workers: int = 1
    deadline: float = float("inf")
    progress: Callable[[int, int], object] | None = None
    started: float = field(default_factory=time.perf_counter)

    @classmethod
    def of(
        cls, workers: int, time_limit: float | None, progress: Callable[[int, int], object] | None
    ) -> Execution:
        """Validate ``solve``'s arguments of the same names."""
        started = time.perf_counter()
        workers = integer("workers", workers)
        if workers < 1 and workers != -1:
            raise ValueError(f"workers must be at least 1, or -1 for all processors; got {workers}")
        if progress is not None and not callable(progress):
            raise TypeError(f"progress must be callable as progress(done, total), got {progress!r}")
        deadline = float("inf")
        if time_limit is not None and time_limit != deadline:
            deadline = started + number("time_limit", time_limit, above=0)
        return cls(workers if workers > 0 else processors(), deadline, progress, started)

    def collect(
        self,
        tasks: Sequence[tuple[int, Task[Answer]]],
        into: list[Answer],
        interruption: Interruption | None = None,
    ) -> None:
        """Append the answers of ``(tiles, task)`` pairs, in their order, and report progress.

        Ends early at the deadline or on Ctrl-C: then there are fewer answers than tasks. The answers do not
        depend on the number of workers. An exception of a task or of ``progress`` leaves as soon as the
        tasks already begun are done; ``into`` holds what was answered before.
        """
        stop = Interruption() if interruption is None else interruption
        total, done = sum([tiles for tiles, _ in tasks]), 0
        answers = self._serial(tasks, stop) if self.workers == 1 else self._threaded(tasks, stop)
        try:
            for (tiles, _), answer in zip(tasks, answers, strict=True):
                into.append(answer)
                done += tiles
                if self.progress is not None:
                    self.progress(done, total)
        except _NotBegun:
            pass
        finally:
            answers.close()

    def advancing(self) -> Execution:
        """Give the same execution with a ``progress`` that never goes back where work is done twice."""
        if self.progress is None:
            return self
        report, shown = self.progress, 0

        def progress(done: int, total: int) -> None:
            nonlocal shown
            if done > shown:
                shown = done
                report(done, total)

        return replace(self, progress=progress)

    def _begin(self, task: Task[Answer], stop: Interruption) -> Answer:
        if stop.happened or time.perf_counter() >= self.deadline:
            raise _NotBegun
        return task()

    def _serial(self, tasks: Sequence[tuple[int, Task[Answer]]], stop: Interruption) -> Generator[Answer]:
        for _, task in tasks:
            yield self._begin(task, stop)

    def _threaded(self, tasks: Sequence[tuple[int, Task[Answer]]], stop: Interruption) -> Generator[Answer]:
        """Share the tasks out.

        The caller's thread works too: if it only waited, it would wake up for every answer and take a
        processor from a thread that works.
        """
        futures: list[Future[Answer]] = [Future() for _ in tasks]
        waiting = deque(zip(futures, (task for _, task in tasks), strict=True))
        room = Semaphore(2 * self.workers)  # how many answers may be begun and not yet handed out
        helpers: list[Thread] = []
        try:
            for _ in range(min(self.workers, len(tasks)) - 1):
                helper = Thread(target=self._help, args=(waiting, room, stop))
                helper.start()
                helpers.append(helper)
            for future in futures:
                while not future.done() and room.acquire(blocking=False) and self._work(waiting, stop):
                    pass
                yield future.result()
                room.release()
        finally:
            waiting.clear()
            room.release(self.workers)
            for helper in helpers:
                helper.join()

    def _help(self, waiting: Waiting[Answer], room: Semaphore, stop: Interruption) -> None:
        with suppress(BaseException):  # the future holds it for the caller's thread
            while room.acquire() and self._work(waiting, stop):
                pass

    def _work(self, waiting: Waiting[Answer], stop: Interruption) -> bool:
        """Do the first task that nobody has begun; False if there is none."""
        try:
            future, task = waiting.popleft()
        except IndexError:
            return False
        try:
            future.set_result(self._begin(task, stop))
        except BaseException as error:
            future.set_exception(error)
            if not isinstance(error, Exception):
                raise
        return True


class catching:
    """Note Ctrl-C instead of raising KeyboardInterrupt, however often it is pressed, while this is open.

    A KeyboardInterrupt can come between any two instructions, so what was solved so far could be lost on its
    way to the caller. Only Python's own handler is replaced, and only in the main thread, which alone gets
    signals; whoever has set another handler keeps it.

    Parameters
    ----------
    unless : bool
        Leave Ctrl-C as it is: for work that is over in no time.
    """

    def __init__(self, *, unless: bool = False) -> None:
        self._interruption = Interruption()
        self._notes = not unless

    def __enter__(self) -> Interruption:
        self._notes = (
            self._notes
            and threading.current_thread() is threading.main_thread()
            and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        )
        if self._notes:
            signal.signal(signal.SIGINT, self._note)
        return self._interruption

    def __exit__(self, *_: object) -> None:
        if self._notes:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def _note(self, *_: object) -> None:
        self._interruption.happened = True


class _NotBegun(Exception):
    """Raised in place of beginning a task after the deadline or Ctrl-C."""


def processors() -> int:
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
