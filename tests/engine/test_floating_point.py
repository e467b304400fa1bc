"""The engine computes as IEEE 754 has it, whatever mode another library has left the processor in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from engine_tiles import RUNNING, solve

import masksolve as ms
from masksolve._ext.arrays import DefaultArithmetic

TINY = np.float32(1e-40)


def product(a: np.float32, b: np.float32) -> float:
    return float((np.full(64, a) * np.full(64, b))[0])


@pytest.fixture
def flushing() -> Iterator[None]:
    """Flush denormal numbers to zero, as PyTorch offers to, for the length of a test."""
    torch = pytest.importorskip("torch")
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor cannot flush denormal numbers")
    yield
    torch.set_flush_denormal(False)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("pattern", ["2:4-T", "4:8-T", "2:4", "4:8-T at_most", "4:4-T"])
def test_flushing_changes_nothing(flushing: object, pattern: str, dtype: type[np.floating[Any]]) -> None:
    scale = 2e-6 if dtype == np.float16 else 1e-40
    with DefaultArithmetic():
        scores = (scale * np.abs(np.random.default_rng(0).standard_normal((64, 64)))).astype(dtype)
        wide = scores.astype(np.float64)
        best, _ = solve(wide, pattern)
    for instruction_set in RUNNING:
        answer, block = solve(scores, pattern, "value", instruction_set)
        with DefaultArithmetic():
            assert block.scores[block.mask].astype(np.float64).sum() == pytest.approx(
                best.objective, rel=1e-6
            )
            assert answer.objective == pytest.approx(best.objective, rel=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("pattern", ["4:8 pair", "4:8-T pair", "4:8-T", "2:4-T dense", "2:4 x 4:8", "64:2:8"])
@pytest.mark.parametrize("workers", [1, 2])
def test_flushing_changes_nothing_in_whole_solves(
    pattern: str, dtype: type[np.floating[Any]], workers: int
) -> None:
    torch = pytest.importorskip("torch")
    tiny = {np.float32: 1e-40, np.float64: 1e-310}[dtype]
    shape = (64, 66) if "dense" in pattern else (64, 64)
    scores = (tiny * np.abs(np.random.default_rng(0).standard_normal(shape))).astype(dtype)
    plain = ms.solve(scores, pattern, workers=workers)
    assert plain.objective > 0
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor cannot flush denormal numbers")
    try:
        flushed = ms.solve(scores, pattern, workers=workers)
        proof = ms.recompute_certificate(scores, flushed.mask, pattern, flushed.duals)
    finally:
        torch.set_flush_denormal(False)
    assert np.array_equal(flushed.mask, plain.mask)
    assert (flushed.objective, flushed.bound) == (plain.objective, plain.bound)
    assert proof.objective == pytest.approx(plain.objective, rel=1e-9)


def test_the_context_is_left_as_it_was_entered(flushing: object) -> None:
    assert product(TINY, np.float32(0.5)) == 0
    with DefaultArithmetic():
        assert product(TINY, np.float32(0.5)) > 0
        with DefaultArithmetic():
            assert product(TINY, np.float32(0.5)) > 0
        assert product(TINY, np.float32(0.5)) > 0
    assert product(TINY, np.float32(0.5)) == 0


def test_the_context_is_left_after_an_error(flushing: object) -> None:
    with pytest.raises(ZeroDivisionError), DefaultArithmetic():
        raise ZeroDivisionError
    assert product(TINY, np.float32(0.5)) == 0


def test_the_context_does_nothing_to_default_arithmetic() -> None:
    with DefaultArithmetic():
        assert product(TINY, np.float32(0.5)) > 0
    assert product(TINY, np.float32(0.5)) > 0
