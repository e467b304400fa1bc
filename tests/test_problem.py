"""The problem: what is accepted, in place, and the largest magnitude that one scan finds."""

import math
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from masksolve import Pattern
from masksolve._ext import arrays
from masksolve.arrays import check_shape, is_real
from masksolve.problem import MaskProblem

FLOATS = [np.float16, ml_dtypes.bfloat16, np.float32, np.float64]
INTEGERS = [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64]
DTYPES = pytest.mark.parametrize(
    "dtype", [*FLOATS, *INTEGERS, np.bool_], ids=lambda dtype: np.dtype(dtype).name
)


def values(dtype: npt.DTypeLike, shape: tuple[int, ...], seed: int = 0) -> npt.NDArray[Any]:
    """Any finite bit patterns."""
    size = np.dtype(dtype).itemsize
    rng = np.random.default_rng(seed)
    if np.dtype(dtype) == np.bool_:
        return rng.random(shape) < 0.1
    array = rng.integers(0, 256, (*shape, size), dtype=np.uint8).view(dtype)[..., 0]
    with np.errstate(invalid="ignore"):  # bfloat16's signalling NaNs
        array[~np.isfinite(array)] = 0
    return array


def largest(array: npt.NDArray[Any]) -> float:
    return float(max((abs(entry) for entry in array.ravel().tolist()), default=0))


@DTYPES
def test_scan_finds_the_largest_magnitude(dtype: npt.DTypeLike) -> None:
    array = values(dtype, (5, 7, 131))
    views = [
        array,
        array[0, 0],
        array[0, 0, 0],
        array[:, :, :1],
        array[::-1, ::2, ::-3],
        array.T,
        np.asfortranarray(array),
        array.swapaxes(0, 1),
        np.broadcast_to(array[2], (3, 7, 131)),
        np.broadcast_to(array[:, :, 3:4], (5, 7, 4)),
        array[:0],
    ]
    for view in views:
        assert arrays.largest_magnitude(view) == largest(np.asarray(view))


@DTYPES
def test_scan_sees_every_entry(dtype: npt.DTypeLike) -> None:
    array = np.zeros(300, dtype)
    for index in range(300):
        array[index] = 1
        assert arrays.largest_magnitude(array) == 1.0
        assert arrays.largest_magnitude(array[::-1]) == 1.0
        array[index] = 0
    assert arrays.largest_magnitude(array) == 0.0


@pytest.mark.parametrize("dtype", FLOATS, ids=lambda dtype: np.dtype(dtype).name)
@pytest.mark.parametrize("value", [float("nan"), -float("nan"), float("inf"), -float("inf")])
def test_scan_sees_every_value_that_is_not_finite(dtype: npt.DTypeLike, value: float) -> None:
    largest_finite = ml_dtypes.finfo(dtype).max
    for index in (0, 63, 64, 199):
        array = np.full(200, largest_finite, dtype)
        assert arrays.largest_magnitude(array) == float(largest_finite)
        array[index] = value
        assert not np.isfinite(arrays.largest_magnitude(array))
        assert not np.isfinite(arrays.largest_magnitude(array.reshape(10, 20).T))


@pytest.mark.parametrize("dtype", INTEGERS, ids=lambda dtype: np.dtype(dtype).name)
def test_scan_of_the_least_and_greatest_integers(dtype: npt.DTypeLike) -> None:
    least, greatest = np.iinfo(dtype).min, np.iinfo(dtype).max
    assert arrays.largest_magnitude(np.array([least, 0], dtype)) == float(-least)
    assert arrays.largest_magnitude(np.array([greatest, 0], dtype)) == float(greatest)


def test_scan_of_unaligned_memory() -> None:
    array = np.zeros(4 * 301 + 1, np.uint8)[1:].view(np.float32)
    array[:] = values(np.float32, (301,))
    assert not array.flags.aligned
    assert arrays.largest_magnitude(array) == largest(array)
    assert arrays.largest_magnitude(array[::-2]) == largest(array[::-2])


@DTYPES
def test_scores_stay_where_they_are(dtype: npt.DTypeLike) -> None:
    array = np.ones((8, 8), dtype).T[::-1]
    array.flags.writeable = False
    problem = MaskProblem.of(array, "2:4-T")
    assert problem.scores.dtype == dtype
    assert problem.scores.strides == array.strides
    assert np.shares_memory(problem.scores, array)
    assert problem.largest >= 1.0
    assert not problem.checked
    read = problem.read()
    assert np.shares_memory(read.scores, array)
    assert read.checked
    assert read.read() is read
    assert np.dtype(dtype).kind not in "fV" or read.largest == 1.0


def test_foreign_byte_order_is_converted() -> None:
    array = np.arange(16).astype(">i4").reshape(4, 4)
    problem = MaskProblem.of(array, "2:4-T")
    assert problem.scores.dtype == np.int32
    assert problem.scores.dtype.isnative
    assert np.array_equal(problem.scores, array)


def test_forced_choices_are_broadcast_without_a_copy() -> None:
    row = np.array([True, False, False, False])
    problem = MaskProblem.of(np.zeros((2, 8, 4)), "2:4-T", keep=row, drop=[[[False]]])
    assert problem.keep is not None
    assert problem.drop is not None
    assert problem.keep.shape == problem.drop.shape == (2, 8, 4)
    assert np.shares_memory(problem.keep, row)
    assert problem.keep[1, 5].tolist() == row.tolist()
    assert MaskProblem.of(np.zeros((4, 4)), "2:4").keep is None


def test_dense_tail_may_be_kept_and_left() -> None:
    keep = np.arange(5) == 4
    assert MaskProblem.of(np.zeros((4, 5)), "2:4 dense", keep=keep).keep is not None
    assert MaskProblem.of(np.zeros((4, 5)), "2:4 dense", drop=np.arange(5) == 3).drop is not None
    assert MaskProblem.of(np.zeros((5, 4)), "2:4 dense", drop=np.arange(5)[:, None] == 4).drop is not None


def test_what_may_be_a_score() -> None:
    assert all(is_real(np.dtype(dtype).name) for dtype in [*FLOATS, *INTEGERS, np.bool_])
    refused = [complex, object, str, "M8[s]", "m8[s]", "V2", ml_dtypes.float8_e5m2, ml_dtypes.int4]
    assert not any(is_real(np.dtype(dtype).name) for dtype in refused)


@pytest.mark.parametrize("dtype", [*FLOATS, "i1", "i2", "i4", "i8"])
@pytest.mark.parametrize("shape", [(1000,), (40, 60), (6, 20, 24), (3, 4, 8, 12)])
def test_the_share_of_negative_entries_is_that_of_a_sample(dtype: Any, shape: tuple[int, ...]) -> None:
    """Entries at equal distances along every axis, of any strides; -0.0 is not negative."""
    rng = np.random.default_rng(3)
    values = rng.integers(-2, 2, shape) * np.where(rng.random(shape) < 0.7, 1.0, -0.0)
    per_axis = math.ceil(256 ** (1 / len(shape)))
    sample = values[tuple(slice(None, None, -(-extent // per_axis)) for extent in shape)]
    expected = (sample < 0).mean()
    assert 0 < expected < 0.5
    for array in (
        values.astype(dtype),
        values.T.astype(dtype).T,
        np.stack([values] * 2, -1).astype(dtype)[..., 0],
    ):
        found = MaskProblem.of(array, Pattern(1, 1)).negative_share()
        assert found == pytest.approx(expected, rel=1e-12)


HUGE = 1 << 40


@pytest.mark.parametrize(
    ("shape", "pattern"),
    [
        ((HUGE, HUGE), "4:8-T"),
        ((HUGE, 3, 8), "4:8"),
        ((HUGE + 1, HUGE + 3), "2:4-T pad"),
        ((0, HUGE, HUGE), "2:4-T"),
        ((HUGE, 4), "2:4 axis=0"),
    ],
)
def test_shapes_beyond_32_bits_are_no_matter(shape: tuple[int, ...], pattern: str) -> None:
    check_shape("scores", shape, Pattern.parse(pattern))


@pytest.mark.parametrize(
    ("shape", "pattern"),
    [((HUGE + 1, HUGE), "2:4-T"), ((HUGE, HUGE + 4), "4:8-T"), ((3, HUGE), "2:3"), ((1 << 32, 3), "2:3-T")],
)
def test_shapes_beyond_32_bits_are_checked(shape: tuple[int, ...], pattern: str) -> None:
    with pytest.raises(ValueError, match=r"which m=\d does not divide"):
        check_shape("scores", shape, Pattern.parse(pattern))


@given(st.lists(st.integers(0, 70), min_size=1, max_size=4), st.integers(1, 9), st.integers(-5, 5))
def test_check_shape_is_the_definition(shape: list[int], m: int, axis: int) -> None:
    refusal = ""
    try:
        check_shape("scores", tuple(shape), Pattern(1, m, axis=axis))
    except ValueError as error:
        refusal = str(error)
    exists = -len(shape) <= axis < len(shape)
    assert bool(refusal) == (not exists or shape[axis] % m != 0)
    assert ("has no axis" in refusal) == (not exists)
