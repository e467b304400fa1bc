"""Control: order, early end, exceptions and progress, with tiny tasks."""

import threading
import time
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import pytest

from masksolve.execution import Control

WORKERS = pytest.mark.parametrize("workers", [1, 3])
FOREVER = float("inf")


def forbidden() -> int:
    raise AssertionError("this task must not begin")


def failing(error: BaseException) -> int:
    raise error


def pool_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if "ThreadPool" in thread.name]


class Recorder:
    """Tasks that note when they have run."""

    def __init__(self) -> None:
        self.ran: list[int] = []

    def task(self, number: int) -> int:
        self.ran.append(number)
        return number


@WORKERS
def test_answers_come_in_order(workers: int) -> None:
    def slow_when_even(number: int) -> int:
        time.sleep(0.002 * (number % 2 == 0))
        return number

    tasks = [(1, partial(slow_when_even, number)) for number in range(40)]
    assert list(Control(workers).run(tasks)) == list(range(40))


@WORKERS
def test_no_tasks(workers: int) -> None:
    calls: list[tuple[int, int]] = []
    control = Control(workers, FOREVER, lambda done, total: calls.append((done, total)))
    assert list(control.run([])) == []
    assert calls == []


@WORKERS
def test_progress_counts_tiles_in_the_callers_thread(workers: int) -> None:
    calls: list[tuple[int, int]] = []
    threads = set()

    def progress(done: int, total: int) -> None:
        calls.append((done, total))
        threads.add(threading.get_ident())

    tasks = [(tiles, partial(int, tiles)) for tiles in (3, 5, 2)]
    assert list(Control(workers, FOREVER, progress).run(tasks)) == [3, 5, 2]
    assert calls == [(3, 10), (8, 10), (10, 10)]
    assert threads == {threading.get_ident()}


@WORKERS
def test_nothing_begins_after_the_deadline(workers: int) -> None:
    control = Control(workers, time.perf_counter())
    assert list(control.run([(1, forbidden)] * 10)) == []


@WORKERS
def test_ends_early_at_the_deadline(workers: int) -> None:
    recorder = Recorder()
    control = Control(workers, time.perf_counter() + 0.05)

    def slow(number: int) -> int:
        time.sleep(0.02)
        return recorder.task(number)

    answers = list(control.run([(1, partial(slow, number)) for number in range(1000)]))
    assert answers == list(range(len(answers)))
    assert set(answers) <= set(recorder.ran)
    assert len(recorder.ran) < 1000
    assert len(answers) > len(recorder.ran) - workers


@WORKERS
@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()])
def test_an_exception_of_a_task_leaves(workers: int, error: BaseException) -> None:
    tasks: list[tuple[int, Callable[[], int]]] = [(1, partial(int, 7)), (1, partial(failing, error))]
    answers = Control(workers).run(tasks + [(1, partial(int, 7))] * 100)
    assert next(answers) == 7
    with pytest.raises(type(error)) as caught:
        next(answers)
    assert caught.value is error
    assert pool_threads() == []


@WORKERS
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_exception_of_progress_leaves_after_its_answer(workers: int, error: type[BaseException]) -> None:
    recorder = Recorder()

    def progress(done: int, total: int) -> None:
        if done == 2:
            raise error

    answers: Iterator[int] = Control(workers, FOREVER, progress).run(
        [(1, partial(recorder.task, number)) for number in range(100)]
    )
    seen: list[int] = []
    with pytest.raises(error) as caught:
        seen.extend(answers)
    assert seen == [0, 1]
    assert len(recorder.ran) <= 2 + 2 * workers
    assert pool_threads() == []
    assert caught.tb is not None  # its frames are alive, and yet the threads have ended


def test_what_is_queued_is_cancelled() -> None:
    recorder = Recorder()
    gate = threading.Event()

    def gated(number: int) -> int:
        gate.wait(20)
        return recorder.task(number)

    answers = Control(2).run([(1, partial(int, 7))] + [(1, partial(gated, number)) for number in range(50)])
    next(answers)
    opening = threading.Timer(0.5, gate.set)
    opening.start()
    answers.close()
    opening.join()
    assert len(recorder.ran) <= 2


@WORKERS
def test_closing_early_waits_for_what_has_begun(workers: int) -> None:
    recorder = Recorder()

    def slow(number: int) -> int:
        time.sleep(0.005)
        return recorder.task(number)

    answers = Control(workers).run([(1, partial(slow, number)) for number in range(100)])
    next(answers)
    answers.close()
    ran = list(recorder.ran)
    assert len(ran) <= 1 + 2 * workers
    assert pool_threads() == []


def test_threads_work_at_the_same_time() -> None:
    meeting = threading.Barrier(3, timeout=20)
    tasks = [(1, meeting.wait)] * 3
    assert sorted(Control(3).run(tasks)) == [0, 1, 2]


def test_check_reads_the_arguments() -> None:
    control = Control.check(np.int64(2), np.float32(1.5), None)
    assert control.workers == 2
    assert type(control.workers) is int
    assert control.deadline == control.started + 1.5
    assert Control.check(-1, None, None).workers >= 1
    assert Control.check(1, None, None).deadline == FOREVER
