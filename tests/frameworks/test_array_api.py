"""Any other library that follows the array-API standard: on the host, and where the host cannot read."""

import importlib
import sys
from dataclasses import replace

import frameworks
import numpy as np
import pytest
from assertions import assert_optimal
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import problems

import masksolve as ms

xp = pytest.importorskip("array_api_strict")
pytest.importorskip("array_api_compat")

HOST, DEVICE = (frameworks.strict_arrays(name) for name in ("CPU_DEVICE", "device1"))


def gaussian(shape: tuple[int, ...] = (16, 24)) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape)


def read(result: ms.MaskResult) -> ms.MaskResult:
    return replace(result, mask=DEVICE.read(result.mask))


@pytest.fixture
def no_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever asks for an array of a device on the host fails."""
    adapter = importlib.import_module("masksolve.frameworks.standard")

    def refuse(name, array):
        raise AssertionError(f"{name} of shape {array.shape} was copied to the host")

    monkeypatch.setattr(adapter, "to_numpy", refuse)


def test_the_stand_in_for_an_accelerator_cannot_be_read() -> None:
    with pytest.raises(RuntimeError):
        np.asarray(DEVICE.make(gaussian()))


@pytest.mark.usefixtures("no_copies")
@pytest.mark.parametrize(
    "pattern", ["2:4", "2:4 axis=1", "4:8-T", "3:8-T at_most", "5:8-T pad", "2:4-T dense"]
)
def test_device_arrays_are_solved_where_they_are(pattern: str) -> None:
    scores = gaussian((2, 16, 24))
    found = ms.solve(DEVICE.make(scores), pattern, duals=True)
    assert found.backend == "batched"
    assert "without copying" in found.stats["chosen_because"]
    assert all(part is None or DEVICE.is_ours(part) for part in found.duals)
    again = ms.solve(DEVICE.make(scores), pattern, warm_start=found)
    assert DEVICE.is_ours(again.mask)
    assert_optimal(read(again), scores)


@pytest.mark.usefixtures("no_copies")
def test_forced_choices_stay_on_the_device() -> None:
    scores, keep = gaussian(), np.eye(16, 24, dtype=bool)
    drop = np.roll(keep, 1, axis=1)
    found = ms.solve(DEVICE.make(scores), "4:8-T", keep=DEVICE.make(keep), drop=DEVICE.make(drop))
    assert_optimal(read(found), scores, keep=keep, drop=drop)


@pytest.mark.usefixtures("no_copies")
@pytest.mark.parametrize(
    ("rows", "columns", "kind", "message"),
    [
        (np.full((24, 4), np.nan), np.zeros((24, 4)), ValueError, "warm_start.rows must be finite, got nan"),
        (np.zeros((24, 4)), np.full((24, 4), np.inf), ValueError, "warm_start.columns must be finite"),
        (np.zeros((24, 8)), np.zeros((24, 4)), ValueError, r"warm_start must be .* of shapes .* got"),
        (np.zeros((24, 4)), None, ValueError, r"warm_start must be .* of shapes .*, None\]"),
        (None, np.zeros((24, 4)), TypeError, "warm_start.rows must be an array"),
    ],
)
def test_wrong_prices_on_the_device_are_refused(rows, columns, kind, message) -> None:
    prices = tuple(None if part is None else DEVICE.make(part) for part in (rows, columns))
    with pytest.raises(kind, match=message):
        ms.solve(DEVICE.make(gaussian()), "2:4-T", warm_start=prices)


@settings(max_examples=25, deadline=None)
@given(problems(), st.integers(0, 1))
def test_any_problem_on_the_device(problem, rounds: int) -> None:
    pattern, scores = problem
    found = ms.solve(DEVICE.make(scores), pattern, backend="batched", rounds=rounds)
    assert_optimal(read(found), scores)


def test_prices_on_the_device_prove_the_mask() -> None:
    scores = gaussian((2, 19, 21)).astype(np.float32)
    found = ms.solve(DEVICE.make(scores), "4:8-T pad", duals=True)
    proof = ms.recompute_certificate(DEVICE.make(scores), found.mask, "4:8-T pad", found.duals)
    assert proof.bound == pytest.approx(found.bound, rel=1e-12)
    assert ms.verify(found.mask, "4:8-T pad").ok


def test_forced_choices_on_another_device_are_refused() -> None:
    scores, keep = gaussian(), np.eye(16, 24, dtype=bool)
    with pytest.raises(ValueError, match="keep must be on the device of scores"):
        ms.solve(DEVICE.make(scores), "4:8-T", keep=HOST.make(keep))


def test_contradictions_on_the_device_are_described() -> None:
    drop = np.zeros((19, 21), bool)
    drop[18, 0] = True
    with pytest.raises(ValueError, match="drop must be False in the tail"):
        ms.solve(DEVICE.make(gaussian((19, 21))), "4:8-T dense", drop=DEVICE.make(drop))
    drop[:, :8] = True
    with pytest.raises(ms.InfeasibleError, match="drop"):
        ms.solve(DEVICE.make(gaussian((16, 24))), "4:8-T", drop=DEVICE.make(drop[:16, :8].repeat(3, axis=1)))


def test_time_limits_fill_what_was_not_reached() -> None:
    scores = gaussian((16, 24))
    found = ms.solve(DEVICE.make(scores), "4:8-T", time_limit=1e-9, duals=True)
    assert found.status is ms.Status.TIME_LIMIT
    assert DEVICE.is_ours(found.mask)
    assert ms.verify(found.mask, "4:8-T").ok
    assert found.objective == pytest.approx(scores[DEVICE.read(found.mask)].sum())
    assert found.bound >= ms.solve(scores, "4:8-T").objective


def test_host_arrays_are_read_in_place() -> None:
    adapter = importlib.import_module("masksolve.frameworks.standard")
    array = gaussian()
    shared = xp.asarray(array, copy=False)
    assert np.shares_memory(adapter.to_numpy("scores", shared), array)
    assert np.shares_memory(adapter.to_numpy("scores", shared.T), array)


def test_what_dlpack_cannot_read_is_refused() -> None:
    class Deferred:
        """An array of the standard that has not been computed."""

        shape, dtype, device = (16, 16), "float32", "cpu"

        def __array_namespace__(self, api_version=None):
            return xp

    with pytest.raises(TypeError, match="scores must be an array that DLPack can read, got Deferred"):
        ms.solve(Deferred(), "4:8-T")


def test_missing_array_api_compat_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = DEVICE.make(gaussian())
    monkeypatch.setitem(sys.modules, "array_api_compat", None)
    with pytest.raises(ms.BackendUnavailableError, match=r'pip install ".*\[arrays\]"; or move the array'):
        ms.solve(scores, "4:8-T")
