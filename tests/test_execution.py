"""Execution: order, early end, exceptions, progress and Ctrl-C, with tiny tasks."""

import os
import signal
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

from masksolve.execution import Execution, Interruption, Task, catching

WORKERS = pytest.mark.parametrize("workers", [1, 3])
FOREVER = float("inf")


def forbidden() -> int:
    raise AssertionError("this task must not begin")


def failing(error: BaseException) -> int:
    raise error


def collect(execution: Execution, tasks: list[tuple[int, Task[Any]]]) -> list[Any]:
    answers: list[Any] = []
    execution.collect(tasks, answers)
    return answers


class Recorder:
    """Tasks that note when they have run."""

    def __init__(self) -> None:
        self.ran: list[int] = []

    def task(self, number: int) -> int:
        self.ran.append(number)
        return number


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Any:
    before = set(threading.enumerate())  # one that an earlier test left behind may end meanwhile
    yield
    assert set(threading.enumerate()) <= before


@WORKERS
def test_answers_come_in_order(workers: int) -> None:
    def slow_when_even(number: int) -> int:
        time.sleep(0.002 * (number % 2 == 0))
        return number

    tasks: list[tuple[int, Task[int]]] = [(1, partial(slow_when_even, number)) for number in range(40)]
    assert collect(Execution(workers), tasks) == list(range(40))


@WORKERS
def test_no_tasks(workers: int) -> None:
    calls: list[tuple[int, int]] = []
    assert collect(Execution(workers, FOREVER, lambda *call: calls.append(call)), []) == []
    assert calls == []


@WORKERS
def test_progress_counts_tiles_in_the_callers_thread(workers: int) -> None:
    calls: list[tuple[int, int]] = []
    threads = set()

    def progress(done: int, total: int) -> None:
        calls.append((done, total))
        threads.add(threading.get_ident())

    tasks = [(tiles, partial(int, tiles)) for tiles in (3, 5, 2)]
    assert collect(Execution(workers, FOREVER, progress), tasks) == [3, 5, 2]
    assert calls == [(3, 10), (8, 10), (10, 10)]
    assert threads == {threading.get_ident()}


@WORKERS
def test_nothing_begins_after_the_deadline(workers: int) -> None:
    assert collect(Execution(workers, time.perf_counter()), [(1, forbidden)] * 10) == []


@WORKERS
def test_ends_early_at_the_deadline(workers: int) -> None:
    recorder = Recorder()

    def slow(number: int) -> int:
        time.sleep(0.02)
        return recorder.task(number)

    execution = Execution(workers, time.perf_counter() + 0.05)
    answers = collect(execution, [(1, partial(slow, number)) for number in range(1000)])
    assert answers == list(range(len(answers)))
    assert set(answers) <= set(recorder.ran)
    assert len(recorder.ran) < 1000
    assert len(recorder.ran) < len(answers) + 2 * workers  # a thread may halt between taking and beginning


@WORKERS
def test_nothing_begins_after_an_interruption(workers: int) -> None:
    interruption, answers = Interruption(), []
    recorder = Recorder()

    def task(number: int) -> int:
        if number == 5:
            interruption.happened = True
        time.sleep(0.001)
        return recorder.task(number)

    tasks: list[tuple[int, Task[int]]] = [(1, partial(task, number)) for number in range(100)]
    Execution(workers).collect(tasks, answers, interruption)
    assert answers == list(range(len(answers)))
    assert 6 <= len(answers) <= len(recorder.ran) <= 5 + 2 * workers
    assert set(answers) <= set(recorder.ran)
    assert workers > 1 or recorder.ran == answers


@WORKERS
@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()])
def test_an_exception_of_a_task_leaves(workers: int, error: BaseException) -> None:
    """What was answered before it is not lost."""
    tasks: list[tuple[int, Callable[[], int]]] = [(1, partial(int, 7)), (1, partial(failing, error))]
    answers: list[int] = []
    with pytest.raises(type(error)) as caught:
        Execution(workers).collect(tasks + [(1, partial(int, 7))] * 100, answers)
    assert caught.value is error
    assert answers == [7]


@WORKERS
@pytest.mark.parametrize("error", [ValueError, StopIteration, KeyboardInterrupt])
def test_an_exception_of_progress_leaves_after_its_answer(workers: int, error: type[BaseException]) -> None:
    recorder = Recorder()

    def progress(done: int, total: int) -> None:
        if done == 2:
            raise error("of progress")

    answers: list[int] = []
    with pytest.raises(BaseException) as caught:  # noqa: PT011
        Execution(workers, FOREVER, progress).collect(
            [(1, partial(recorder.task, number)) for number in range(100)], answers
        )
    assert type(caught.value) is error
    assert answers == [0, 1]
    assert len(recorder.ran) <= 2 + 2 * workers
    assert caught.tb is not None  # its frames are alive, and yet the threads have ended


@WORKERS
def test_what_is_queued_is_given_up(workers: int) -> None:
    """After an exception, tasks that have begun are waited for, and no other begins."""
    recorder = Recorder()

    def slow(number: int) -> int:
        time.sleep(0.005)
        return recorder.task(number)

    tasks: list[tuple[int, Task[int]]] = [(1, partial(failing, ValueError()))]
    with pytest.raises(ValueError):  # noqa: PT011
        collect(Execution(workers), tasks + [(1, partial(slow, number)) for number in range(100)])
    ran = list(recorder.ran)
    assert len(ran) <= 2 * workers
    time.sleep(0.02)
    assert recorder.ran == ran


def test_threads_work_at_the_same_time() -> None:
    meeting = threading.Barrier(3, timeout=20)
    assert sorted(collect(Execution(3), [(1, meeting.wait)] * 3)) == [0, 1, 2]


def test_the_arguments_are_read() -> None:
    execution = Execution.of(np.int64(2), np.float32(1.5), None)
    assert execution.workers == 2
    assert type(execution.workers) is int
    assert execution.deadline == execution.started + 1.5
    assert Execution.of(-1, None, None).workers >= 1
    assert Execution.of(1, None, None).deadline == FOREVER
    assert Execution.of(1, FOREVER, None).deadline == FOREVER


# Ctrl-C


def press() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_ctrl_c_is_noted_however_often_it_is_pressed() -> None:
    with catching() as interruption:
        assert not interruption.happened
        for _ in range(3):
            press()
        time.sleep(0.001)
        assert interruption.happened
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012
        press()
        time.sleep(1)


def test_python_s_handler_is_put_back_after_an_exception() -> None:
    with pytest.raises(ZeroDivisionError), catching():
        raise ZeroDivisionError
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_another_handler_is_left_in_place() -> None:
    seen = []
    before = signal.signal(signal.SIGINT, lambda *_: seen.append(1))
    try:
        with catching() as interruption:
            press()
            time.sleep(0.001)
        assert (seen, interruption.happened) == ([1], False)
    finally:
        signal.signal(signal.SIGINT, before)


def test_other_threads_catch_nothing() -> None:
    seen = []

    def other() -> None:
        with catching():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert seen == [signal.default_int_handler]
