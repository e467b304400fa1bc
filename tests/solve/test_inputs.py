"""Arrays of every dtype, size of scores and memory order are solved as they are."""

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest
from solving import check, gaussian

import masksolve as ms


@pytest.mark.parametrize("pattern", ["2:4-T", "4:8-T", "3:8-T at_most", "2:4", "1:4 at_most axis=-2"])
@pytest.mark.parametrize(
    "dtype",
    [np.bool_, np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64,
     np.float16, ml_dtypes.bfloat16, np.float32, np.float64, ">f4", ">i8", "<f8"],
    ids=lambda dtype: np.dtype(dtype).name,
)  # fmt: skip
def test_dtypes(dtype: npt.DTypeLike, pattern: str) -> None:
    wide = 100 * gaussian(2, 16, 24)
    scores = (
        wide > 0 if dtype is np.bool_ else np.abs(wide) if np.dtype(dtype).kind == "u" else wide
    ).astype(dtype)
    before = scores.copy()
    check(ms.solve(scores, pattern), scores, gap=1e-12 if np.dtype(dtype).itemsize == 8 else 1e-6)
    assert np.array_equal(scores, before)


@pytest.mark.parametrize(
    "scores",
    [
        np.full((8, 8), np.iinfo(np.int64).min),
        np.where(gaussian(8, 8) > 0, np.iinfo(np.int64).max, np.iinfo(np.int64).min),
        np.where(gaussian(8, 8) > 0, np.uint64((1 << 64) - 1), np.uint64(0)),
        np.full((8, 8), np.iinfo(np.int8).min, np.int8),
        (gaussian(8, 8) * 1e296),
        (gaussian(8, 8) * 1e-300),
        np.arange(64).reshape(8, 8) * 5e-324,
        (gaussian(8, 8) * 1e37).astype(np.float32),
        np.where(gaussian(8, 8) > 0, np.finfo(np.float32).max, -np.finfo(np.float32).max),
        (np.arange(64).reshape(8, 8) * 1.5e-45).astype(np.float32),
        np.where(gaussian(8, 8) > 0, np.float16(65504), np.float16(-65504)),
        (gaussian(8, 8) * 1e38).astype(ml_dtypes.bfloat16),
        np.where(np.eye(8) > 0, 1e30, np.abs(gaussian(8, 8))),
        np.zeros((8, 8)),
        np.full((8, 8), 0.1),
        np.full((8, 8), -0.1, np.float32),
    ],
    ids=[
        "int64-min", "int64-both", "uint64-max", "int8-min", "float64-huge", "float64-tiny",
        "float64-denormal", "float32-huge", "float32-largest", "float32-denormal", "float16-largest",
        "bfloat16-huge", "dominated", "zero", "constant", "constant-negative",
    ],
)  # fmt: skip
@pytest.mark.parametrize("pattern", ["2:4-T", "4:8-T", "2:4-T at_most", "2:4", "5:8-T pad"])
def test_extreme_scores(scores: npt.NDArray[Any], pattern: str) -> None:
    check(ms.solve(scores, pattern), scores)


BASE = gaussian(16, 16, seed=3).astype(np.float32)


def unaligned(array: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    raw = np.zeros(array.nbytes + 1, np.uint8)[1:].view(np.float32).reshape(array.shape)
    raw[...] = array
    assert not raw.flags.aligned
    return raw


@pytest.mark.parametrize(
    "scores",
    [
        np.asfortranarray(BASE),
        BASE.T,
        BASE[::-1],
        BASE[:, ::-2],
        np.broadcast_to(BASE[0], (8, 16)),
        np.broadcast_to(BASE[:, :1], (16, 16)),
        np.broadcast_to(np.float32(2), (8, 8)),
        BASE.reshape(2, 8, 2, 8).swapaxes(1, 2),
        np.stack([BASE, -BASE], axis=-1)[..., 1],
        BASE.astype(">f4"),
        unaligned(BASE),
    ],
    ids=["fortran", "transposed", "reversed", "stepped", "row", "column", "one", "blocked", "interleaved",
         "big-endian", "unaligned"],
)  # fmt: skip
@pytest.mark.parametrize("pattern", ["4:8-T", "2:4", "2:4 axis=-2"])
def test_memory_order_does_not_matter(scores: npt.NDArray[Any], pattern: str) -> None:
    plain = np.array(scores, np.float32, order="C")
    result = ms.solve(scores, pattern)
    check(result, plain)
    assert type(result.mask) is np.ndarray
    assert np.array_equal(result.mask, ms.solve(plain, pattern).mask)


def test_read_only_and_memory_mapped(tmp_path: Path) -> None:
    np.save(tmp_path / "scores.npy", BASE)
    mapped = np.load(tmp_path / "scores.npy", mmap_mode="r")
    assert not mapped.flags.writeable
    result = ms.solve(mapped, "4:8-T")
    check(result, BASE)
    assert type(result.mask) is np.ndarray
    assert np.array_equal(np.load(tmp_path / "scores.npy"), BASE)


def test_nested_lists() -> None:
    scores = [[3, -1], [2, -5]]
    result = ms.solve(scores, "1:2-T")
    assert result.mask.tolist() == [[False, True], [True, False]]
    assert (result.objective, result.bound) == (1.0, pytest.approx(1.0, rel=1e-12))
    assert np.array_equal(ms.solve(tuple(map(tuple, scores)), "1:2-T").mask, result.mask)


@pytest.mark.parametrize("pattern", ["2:4-T", "2:4", "2:4-T pad", "2:4-T dense", "2:4 axis=0 pad"])
@pytest.mark.parametrize("shape", [(0, 4, 4), (4, 0), (0, 4), (0, 0), (2, 0, 4, 8)])
def test_empty(shape: tuple[int, ...], pattern: str) -> None:
    result = ms.solve(np.empty(shape, np.float32), pattern, duals=True)
    assert result.mask.shape == shape
    assert (result.objective, result.bound, result.gap) == (0.0, 0.0, 0.0)
    assert result.status is ms.Status.OPTIMAL
    assert result.stats["tiles"] == 0
    again = ms.solve(np.empty(shape, np.float32), pattern, warm_start=result)
    assert again.mask.shape == shape
