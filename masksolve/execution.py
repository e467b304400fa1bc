"""Running a backend over many tiles: chunks, threads, deadline, progress, interruption."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future
from contextlib import closing, suppress
from dataclasses import dataclass, field
from numbers import Real
from threading import Semaphore, Thread
from typing import TypeVar

from .checks import integer

Answer = TypeVar("Answer")
Task = Callable[[], Answer]
Waiting = deque[tuple[Future[Answer], Task[Answer]]]


@dataclass(frozen=True)
class Control:
    """How a solve runs.

    Attributes
    ----------
    workers : int
        Number of threads.
    deadline : float
        Instant on ``time.perf_counter``'s clock after which no chunk is begun.
    progress : callable or None
        Called in the caller's thread as ``progress(done, total)``, in tiles.
    """

    workers: int = 1
    deadline: float = float("inf")
    progress: Callable[[int, int], object] | None = None
    started: float = field(default_factory=time.perf_counter)

    @classmethod
    def check(
        cls, workers: int, time_limit: float | None, progress: Callable[[int, int], object] | None
    ) -> Control:
        """Validate ``solve``'s arguments of the same names."""
        workers = integer("workers", workers)
        if workers < 1 and workers != -1:
            raise ValueError(f"workers must be at least 1, or -1 for all processors; got {workers}")
        if progress is not None and not callable(progress):
            raise TypeError(f"progress must be callable as progress(done, total), got {progress!r}")
        started = time.perf_counter()
        deadline = float("inf")
        if time_limit is not None:
            if isinstance(time_limit, bool) or not isinstance(time_limit, Real):
                raise TypeError(f"time_limit must be a number of seconds or None, got {time_limit!r}")
            if not time_limit > 0:
                raise ValueError(f"time_limit must be a positive number of seconds, got {time_limit}")
            deadline = started + float(time_limit)
        count = workers if workers > 0 else _processors()
        return cls(count, deadline, progress, started)

    def run(self, tasks: list[tuple[int, Task[Answer]]]) -> Generator[Answer]:
        """Answers of ``(tiles, task)`` pairs in their order, ending early at the deadline.

        The answers do not depend on the number of workers. An exception of a task or of
        ``progress``, KeyboardInterrupt included, leaves as soon as the tasks already begun are done.
        """
        total = sum(tiles for tiles, _ in tasks)
        done = 0
        answers = self._serial(tasks) if self.workers == 1 else self._threaded(tasks)
        with suppress(_DeadlinePassed), closing(answers):
            for (tiles, _), answer in zip(tasks, answers, strict=True):
                yield answer
                done += tiles
                if self.progress is not None:
                    self.progress(done, total)

    def _begin(self, task: Task[Answer]) -> Answer:
        if time.perf_counter() >= self.deadline:
            raise _DeadlinePassed
        return task()

    def _serial(self, tasks: list[tuple[int, Task[Answer]]]) -> Generator[Answer]:
        for _, task in tasks:
            yield self._begin(task)

    def _threaded(self, tasks: list[tuple[int, Task[Answer]]]) -> Generator[Answer]:
        """Share the tasks out; the caller's thread works too, lest it take a processor from those that do."""
        futures: list[Future[Answer]] = [Future() for _ in tasks]
        waiting = deque(zip(futures, (task for _, task in tasks), strict=True))
        room = Semaphore(2 * self.workers)  # how many answers may be begun and not yet handed out
        helpers: list[Thread] = []  # those that run
        try:
            for _ in range(min(self.workers, len(tasks)) - 1):
                helper = Thread(target=self._help, args=(waiting, room))
                helper.start()
                helpers.append(helper)
            for future in futures:
                while not future.done() and room.acquire(blocking=False) and self._work(waiting):
                    pass
                yield future.result()
                room.release()
        finally:
            waiting.clear()
            room.release(self.workers)
            for helper in helpers:
                helper.join()

    def _help(self, waiting: Waiting[Answer], room: Semaphore) -> None:
        with suppress(BaseException):  # the future holds it for the caller's thread
            while room.acquire() and self._work(waiting):
                pass

    def _work(self, waiting: Waiting[Answer]) -> bool:
        """Do the first task that nobody has begun; False if there is none."""
        try:
            future, task = waiting.popleft()
        except IndexError:
            return False
        try:
            future.set_result(self._begin(task))
        except BaseException as error:
            future.set_exception(error)
            if not isinstance(error, Exception):
                raise
        return True


class _DeadlinePassed(Exception):
    """Raised in place of beginning a task too late."""


def _processors() -> int:
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
