"""The compiled engine under time limits and Ctrl-C, and the choice of the instruction set."""

import itertools
import signal
from types import SimpleNamespace

import numpy as np
import pytest
from assertions import assert_feasible
from engine import (
    RUNNING,
    gaussian,
)

import masksolve as ms
from masksolve import execution
from masksolve._ext.tiles import instruction_sets
from masksolve.backends import exact


@pytest.mark.parametrize("workers", [1, 2])
def test_a_time_limit_leaves_a_feasible_mask_and_a_valid_bound(workers, monkeypatch):
    """The clock stands still until the first chunk is done, however long that takes."""
    scores = gaussian((512, 512))
    clock = 0.0
    calls = []
    monkeypatch.setattr(execution, "time", SimpleNamespace(perf_counter=lambda: clock))

    def progress(done, total):
        nonlocal clock
        calls.append((done, total))
        clock = 0.5

    result = ms.solve(scores, "4:8-T", time_limit=0.4, progress=progress, workers=workers, duals=True)
    best = ms.solve(scores, "4:8-T")
    unreached = result.stats["unreached"]
    assert result.status is ms.Status.TIME_LIMIT
    assert calls[0][1] == result.stats["tiles"] == 64 * 64
    assert 0 < unreached < result.stats["tiles"]
    assert unreached == result.stats["tiles"] - calls[-1][0]
    assert_unfinished(result, scores, best)


@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_brings_what_was_solved(workers):
    scores = gaussian((512, 512))

    def progress(done, total):
        if done > total // 2:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(ms.SolveInterrupted) as caught:
        ms.solve(scores, "4:8-T", progress=progress, workers=workers, duals=True)
    result = caught.value.result
    assert 0 < result.stats["unreached"] < 64 * 64 // 2
    assert_unfinished(result, scores, ms.solve(scores, "4:8-T"))


def assert_unfinished(result, scores, best):
    """The tiles that were reached are those of the optimum; mask and bound are sound as a whole."""
    reached = result.stats["tiles"] - result.stats["unreached"]
    rows = 8 * (reached // 64)
    assert np.array_equal(result.mask[:rows], best.mask[:rows])
    assert_feasible(result.mask, result.pattern)
    again = ms.recompute_certificate(scores, result.mask, result.pattern, result.duals)
    assert again.objective == pytest.approx(result.objective, rel=1e-13)
    assert again.bound <= result.bound * (1 + 1e-13)
    assert result.objective <= best.objective * (1 + 1e-6)
    assert result.bound >= best.objective


def test_progress_counts_every_tile():
    calls = []
    ms.solve(gaussian((512, 512)), "4:8-T", progress=lambda *call: calls.append(call), workers=2)
    assert [total for _, total in calls] == [64 * 64] * len(calls)
    assert len(calls) > 10
    assert calls[-1][0] == 64 * 64
    assert all(before[0] < after[0] for before, after in itertools.pairwise(calls))


@pytest.fixture
def used(monkeypatch):
    """The instruction sets that were run."""
    seen = []
    solve_tiles = exact.engine.solve_tiles

    def spy(block, first, last, instruction_set):
        seen.append(instruction_set)
        return solve_tiles(block, first, last, instruction_set)

    monkeypatch.setattr(exact.engine, "solve_tiles", spy)
    return seen


@pytest.mark.parametrize("name", RUNNING)
def test_the_environment_or_the_option_chooses(monkeypatch, used, name):
    scores = np.eye(8)
    ms.solve(scores, "4:8-T", backend="exact", instruction_set=name)
    monkeypatch.setenv(exact.VARIABLE, name)
    ms.solve(scores, "4:8-T")
    assert used == [name, name]
    for other in RUNNING:
        ms.solve(scores, "4:8-T", backend="exact", instruction_set=other)  # the option goes first
        assert used[-1] == other


def test_the_best_that_runs_is_the_default(used):
    ms.solve(np.eye(8), "4:8-T")
    assert used == [next(name for name, runs in instruction_sets().items() if runs)]


def test_a_wrong_instruction_set_is_refused(monkeypatch):
    missing = [name for name, runs in instruction_sets().items() if not runs]
    for name, reason in [("mmx", "was not compiled"), *((name, "does not run") for name in missing)]:
        message = f"instruction_set must be one of .*'baseline'.*, got '{name}', which {reason}"
        with pytest.raises(ValueError, match=message):
            ms.solve(np.eye(8), "4:8-T", backend="exact", instruction_set=name)
        monkeypatch.setenv(exact.VARIABLE, name)
        with pytest.raises(ValueError, match=message):
            ms.solve(np.eye(8), "4:8-T")
        monkeypatch.delenv(exact.VARIABLE)
