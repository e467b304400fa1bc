"""The compiled engine on scores that are no numbers, or huge; and for ten minutes."""

from typing import Any

import ml_dtypes
import numpy as np
import pytest
import soak
from engine import (
    DENSE,
    FLOATS,
    RUNNING,
    WAYS,
    assert_certified,
    gaussian,
    shape_for,
)

import masksolve as ms


@pytest.mark.parametrize("dtype", FLOATS, ids=lambda dtype: np.dtype(dtype).name)
@pytest.mark.parametrize("pattern", [*WAYS, *DENSE])
def test_scores_that_are_not_finite_are_refused_wherever_they_are(pattern, dtype):
    clean = gaussian(shape_for(pattern), dtype)
    for place in (0, clean.size // 2 + 3, clean.size - 1):
        for bad in (np.nan, np.inf, -np.inf):
            scores = clean.copy()
            scores.flat[place] = bad
            index = ", ".join(map(str, np.unravel_index(place, clean.shape)))
            for workers in (1, 2):
                with pytest.raises(ValueError, match=rf"must be finite, got {bad} at index \[{index}\]"):
                    ms.solve(scores, pattern, workers=workers)


@pytest.mark.parametrize("option", ["keep", "drop", "warm_start"])
def test_nan_is_refused_whatever_the_options(option):
    scores = gaussian((16, 64))
    options: dict[str, Any] = {option: np.zeros(scores.shape, np.bool_)}
    if option == "warm_start":
        options[option] = ms.solve(scores, "4:8-T", duals=True)
    scores[9, 50] = np.nan
    with pytest.raises(ValueError, match=r"scores must be finite, got nan at index \[9, 50\]"):
        ms.solve(scores, "4:8-T", **options)


@pytest.mark.parametrize("dtype", [ml_dtypes.bfloat16, np.float32], ids=["bfloat16", "float32"])
@pytest.mark.parametrize("scale", [1.0, 2.0**100, 2.0**127])
@pytest.mark.parametrize("pattern", [*WAYS, *DENSE])
def test_huge_scores_are_solved_in_float64(pattern, scale, dtype):
    """Also where one of the last tiles alone is huge."""
    unit = np.random.default_rng(10).uniform(-1.5, 1.5, shape_for(pattern))
    for everywhere in (True, False):
        values = unit.copy()
        values[slice(None) if everywhere else (-1, -1, -1)] *= scale
        scores = values.astype(dtype)
        assert np.isfinite(scores.astype(np.float64)).all()
        result = ms.solve(scores, pattern, duals=True)
        assert result.duals.rows.dtype == (np.float64 if np.abs(values).max() > 2.0**97 else np.float32)
        assert result.status is ms.Status.OPTIMAL
        assert result.gap <= (1e-12 if result.duals.rows.dtype == np.float64 else 1e-6)
        assert_certified(result, scores)
        same = ms.solve(scores.astype(np.float64), pattern)
        assert result.objective == pytest.approx(same.objective, rel=1e-6)


def test_a_warm_start_from_huge_scores_and_back():
    huge, small = gaussian((16, 64)) * np.float32(5e37), gaussian((16, 64), seed=11)
    for first, then in ((huge, small), (small, huge)):
        start = ms.solve(first, "4:8-T", duals=True)
        cold, warm = ms.solve(then, "4:8-T"), ms.solve(then, "4:8-T", warm_start=start)
        assert warm.status is ms.Status.OPTIMAL
        assert warm.objective == pytest.approx(cold.objective, rel=1e-6)


@pytest.mark.soak
@pytest.mark.parametrize("instruction_set", RUNNING)
def test_soak(request, instruction_set):
    if "soak" not in request.config.getoption("markexpr"):
        pytest.skip("ten minutes for each instruction set: run it with -m soak")
    soak.run(minutes=10, instruction_set=instruction_set, seed=0)
