"""How solves end: at the deadline, on Ctrl-C, by an exception, or in a second pass."""

import math
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from assertions import assert_bounded
from hypothesis import given
from hypothesis import strategies as st
from plug_ins import Band
from solving import gaussian

import masksolve as ms
from masksolve import execution
from masksolve.backends import offering
from masksolve.backends.base import Backend, Chunk
from masksolve.certificate import recompute

WORKERS = pytest.mark.parametrize("workers", [1, 2])


def solve(kind: type[Backend], scores: Any, **options: Any) -> ms.MaskResult:
    with offering(kind):
        return ms.solve(scores, "2:4-T", backend="fake", **options)


def check_unfinished(result: ms.MaskResult, scores: npt.NDArray[Any]) -> None:
    assert result.status is ms.Status.TIME_LIMIT
    assert math.isfinite(result.bound)
    assert_bounded(result, scores)
    again = recompute(scores, result.mask, result.pattern, result.duals)
    assert again.objective == pytest.approx(result.objective, rel=1e-12)
    rounding = 1e-12 * float(np.abs(scores).sum())
    assert again.bound <= result.bound + rounding  # better prices may be found than those at hand


# the deadline


@WORKERS
def test_time_limit(workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a clock that every tile moves on by the same time, however slow the machine is."""
    solved: list[Chunk] = []

    class Ticking(Band):
        def solve_chunk(self, chunk: Chunk) -> Any:
            solved.append(chunk)
            return super().solve_chunk(chunk)

    monkeypatch.setattr(execution, "time", SimpleNamespace(perf_counter=lambda: 0.005 * len(solved)))
    scores = gaussian(64, 64)
    result = solve(Ticking, scores, time_limit=0.1, workers=workers, tiles=True)
    check_unfinished(result, scores)
    assert 0 < result.stats["unreached"] < 256
    assert result.stats["open"] >= result.stats["unreached"]


@st.composite
def shapes_and_patterns(draw: st.DrawFn) -> tuple[tuple[int, int], ms.Pattern]:
    m = draw(st.integers(1, 6))
    pattern = ms.Pattern(
        draw(st.integers(1, m)),
        m,
        transposable=draw(st.booleans()),
        constraint=draw(st.sampled_from(["exact", "at_most"])),
        remainder=draw(st.sampled_from(["pad", "dense"])),
    )
    return (draw(st.integers(1, 13)), draw(st.integers(1, 13))), pattern


@given(shapes_and_patterns())
def test_tiles_that_were_not_reached_are_feasible(case: tuple[tuple[int, int], ms.Pattern]) -> None:
    shape, pattern = case
    scores = gaussian(*shape)
    result = ms.solve(scores, pattern, time_limit=1e-9)
    if result.stats["tiles"]:
        assert result.stats["unreached"] == result.stats["tiles"]
        check_unfinished(result, scores)
    else:
        assert result.mask.all()


def test_time_limit_with_forced_choices() -> None:
    scores = gaussian(64, 64)
    keep = np.eye(64) > 0
    with pytest.raises(
        ms.TimeLimitError, match=r"time_limit .* 0 of 1 chunks, .*raise time_limit or workers"
    ):
        ms.solve(scores, "2:4-T", keep=keep, time_limit=1e-9)
    assert ms.solve(scores, "2:4-T", keep=keep, time_limit=60).status is ms.Status.OPTIMAL


def test_scores_that_were_not_reached_are_looked_at() -> None:
    scores = gaussian(64, 64)
    scores[63, 63] = np.nan
    with pytest.raises(ValueError, match=r"scores must be finite, got nan at index \[63, 63\]"):
        ms.solve(scores, "2:4-T", time_limit=1e-9)


# Ctrl-C


def interrupting(tile: int, times: int = 1) -> type[Band]:
    """Ctrl-C is pressed while this tile is being solved."""

    class Interrupting(Band):
        def solve_chunk(self, chunk: Chunk) -> Any:
            if tile in chunk.numbers:
                for _ in range(times):
                    os.kill(os.getpid(), signal.SIGINT)
                time.sleep(0.01)
            return super().solve_chunk(chunk)

    return Interrupting


@WORKERS
@pytest.mark.parametrize("times", [1, 3])
def test_ctrl_c_brings_what_was_solved(workers: int, times: int) -> None:
    scores = gaussian(64, 64)
    with pytest.raises(ms.SolveInterrupted) as caught:
        solve(interrupting(9, times), scores, workers=workers)
    check_unfinished(caught.value.result, scores)
    assert caught.value.result.stats["unreached"] >= 256 - 10 - 4 * workers
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ctrl_c_in_the_last_tile_brings_all() -> None:
    scores = gaussian(16, 16)
    with pytest.raises(ms.SolveInterrupted) as caught:
        solve(interrupting(15), scores)
    result = caught.value.result
    assert result.status is ms.Status.FEASIBLE
    assert "unreached" not in result.stats
    assert_bounded(result, scores)


@WORKERS
def test_ctrl_c_with_forced_choices_is_plain(workers: int) -> None:
    with pytest.raises(KeyboardInterrupt) as caught:
        solve(interrupting(9), gaussian(64, 64), workers=workers, drop=np.zeros((64, 64), np.bool_))
    assert not isinstance(caught.value, ms.SolveInterrupted)


def test_ctrl_c_in_progress() -> None:
    scores = gaussian(64, 64)

    def progress(done: int, total: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(ms.SolveInterrupted) as caught:
        solve(Band, scores, progress=progress)
    check_unfinished(caught.value.result, scores)
    assert caught.value.result.stats["unreached"] == 256 - 5


PRESSED = """
import os, signal
import numpy as np, masksolve as ms

scores = np.random.default_rng(0).random((2048, 2048), dtype=np.float32)
for chunk in range(16):
    calls = 0

    def progress(done, total):
        global calls
        calls += 1
        if calls == chunk + 1:
            for _ in range(3):
                os.kill(os.getpid(), signal.SIGINT)

    try:
        ms.solve(scores, "8:16-T", progress=progress, workers=WORKERS)
        raise AssertionError("the solve was not interrupted")
    except ms.SolveInterrupted as interrupted:
        result = interrupted.result
    assert calls > chunk
    assert ms.verify(result.mask, "8:16-T").ok
    assert result.objective <= result.bound < 1e9
    assert result.stats.get("unreached", 0) < 2**14 - chunk * 2**10 + 1
print("nothing lost")
"""


@WORKERS
def test_three_ctrl_c_in_quick_succession_lose_nothing(workers: int) -> None:
    """After whichever chunk they come, in a process of its own."""
    code = textwrap.dedent(PRESSED).replace("WORKERS", str(workers))
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=300
    )
    assert (ran.returncode, ran.stdout.strip()) == (0, "nothing lost"), ran.stderr


def test_solves_in_other_threads_leave_ctrl_c_alone() -> None:
    seen = []

    def run() -> None:
        seen.append(ms.solve(gaussian(8, 8), "2:4-T").status)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [ms.Status.OPTIMAL]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


# exceptions


@WORKERS
@pytest.mark.parametrize("error", [StopIteration, GeneratorExit, ZeroDivisionError, SystemExit])
def test_an_exception_of_progress_comes_out_as_it_is(error: type[BaseException], workers: int) -> None:
    def progress(done: int, total: int) -> None:
        raise error("mine")

    for pattern in ("2:4-T", "2:4"):
        with pytest.raises(BaseException) as caught:  # noqa: PT011
            ms.solve(gaussian(64, 64), pattern, progress=progress, workers=workers)
        assert type(caught.value) is error
        assert str(caught.value) == "mine"


@WORKERS
@pytest.mark.parametrize("value", [np.nan, np.inf, 1e38])
def test_scores_that_change_during_a_solve_leak_nothing_private(
    value: float, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Written to again and again, they are refused, or solved, in public words."""
    from masksolve.backends.exact import Exact

    monkeypatch.setattr(Exact, "chunk_entries", 1 << 8)
    monkeypatch.setattr(sys.modules["masksolve.solve"], "_SMALL", 1 << 8)
    scores = gaussian(64, 64).astype(np.float32)

    def progress(done: int, total: int) -> None:
        scores[-1, -1] = value if scores[-1, -1] != np.float32(value) else 0.5

    try:
        result = ms.solve(scores, "2:4-T", progress=progress, workers=workers)
    except ValueError as error:
        assert type(error) is ValueError  # noqa: PT017
        assert str(error).startswith("scores must ")  # noqa: PT017
        assert error.__cause__ is None  # noqa: PT017
    else:
        assert ms.verify(result.mask, "2:4-T").ok


# progress


@WORKERS
def test_progress_reaches_every_tile(workers: int) -> None:
    calls: list[tuple[int, int]] = []
    ms.solve(gaussian(6, 256, 256), "4:8-T", progress=lambda *call: calls.append(call), workers=workers)
    done = [call[0] for call in calls]
    assert {call[1] for call in calls} == {6 * 32 * 32}
    assert done == sorted(set(done))
    assert done[-1] == 6 * 32 * 32


@WORKERS
def test_progress_never_goes_back_when_prices_must_be_double(
    workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last tile holds a score beyond what float32 is used for, so that everything is solved again."""
    from masksolve.backends.exact import Exact

    monkeypatch.setattr(Exact, "chunk_entries", 1 << 8)
    monkeypatch.setattr(sys.modules["masksolve.solve"], "_SMALL", 1 << 8)
    scores = gaussian(64, 64).astype(np.float32)
    scores[-1, -1] = 1e38
    calls: list[tuple[int, int]] = []
    result = ms.solve(scores, "2:4-T", progress=lambda *call: calls.append(call), workers=workers)
    assert result.duals is not None
    assert result.duals.rows.dtype == np.float64
    done = [call[0] for call in calls]
    assert len(done) > 4
    assert done == sorted(set(done))
    assert done[-1] == calls[-1][1] == 256
