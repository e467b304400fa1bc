"""Instance families: the kinds of scores on which solvers go wrong."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Scores = npt.NDArray[Any]
Family = Callable[[np.random.Generator, tuple[int, ...]], Scores]


def bfloat16_rounded(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Round finite float32 numbers to the nearest bfloat16, ties to even; the dtype stays float32."""
    bits = values.view(np.uint32)
    carry = ((bits >> 16) & 1) + np.uint32(0x7FFF)
    rounded: npt.NDArray[np.float32] = ((bits + carry) & np.uint32(0xFFFF0000)).view(np.float32)
    return rounded


def _gaussian(rng: np.random.Generator, shape: tuple[int, ...]) -> Scores:
    return np.abs(rng.standard_normal(shape, dtype=np.float32))


def _signed(rng: np.random.Generator, shape: tuple[int, ...]) -> Scores:
    return rng.standard_normal(shape)


def _heavy_tailed(rng: np.random.Generator, shape: tuple[int, ...]) -> Scores:
    return np.abs(rng.standard_t(1.5, shape)).astype(np.float32)


def _bfloat16_rounded(rng: np.random.Generator, shape: tuple[int, ...]) -> Scores:
    return bfloat16_rounded(_gaussian(rng, shape))


def _small_integers(rng: np.random.Generator, shape: tuple[int, ...]) -> Scores:
    return rng.integers(-3, 7, shape).astype(np.int32)


def _int8(rng: np.random.Generator, shape: tuple[int, ...]) -> Scores:
    return rng.integers(-128, 128, shape, dtype=np.int8)


def _constant(rng: np.random.Generator, shape: tuple[int, ...]) -> Scores:
    return np.full(shape, rng.uniform(0.1, 2.0), np.float32)


def _zeros(rng: np.random.Generator, shape: tuple[int, ...]) -> Scores:
    return np.zeros(shape, np.float32)


def _mostly_zero(rng: np.random.Generator, shape: tuple[int, ...]) -> Scores:
    return np.where(rng.random(shape) < 0.85, 0.0, rng.standard_normal(shape))


def _negative(rng: np.random.Generator, shape: tuple[int, ...]) -> Scores:
    return -np.abs(rng.standard_normal(shape)) - 0.01


def _nearly_equal(rng: np.random.Generator, shape: tuple[int, ...]) -> Scores:
    """Differences that float64 sees and float32 does not."""
    return 1.0 + 1e-8 * rng.integers(0, 6, shape)


def _huge_float32(rng: np.random.Generator, shape: tuple[int, ...]) -> Scores:
    return (1e30 * np.abs(rng.standard_normal(shape))).astype(np.float32)


def _huge_float64(rng: np.random.Generator, shape: tuple[int, ...]) -> Scores:
    return 1e299 / max(1, math.prod(shape)) * rng.uniform(-1.0, 1.0, shape)


def _denormal(rng: np.random.Generator, shape: tuple[int, ...]) -> Scores:
    return rng.integers(0, 1000, shape) * 5e-324


def _denormal_float32(rng: np.random.Generator, shape: tuple[int, ...]) -> Scores:
    return rng.integers(0, 1000, shape).astype(np.float32) * np.float32(1e-45)


def _one_dominating(rng: np.random.Generator, shape: tuple[int, ...]) -> Scores:
    scores = np.abs(rng.standard_normal(shape))
    scores.flat[rng.integers(scores.size)] = 1e6
    return scores


FAMILIES: dict[str, Family] = {
    "gaussian": _gaussian,
    "signed": _signed,
    "heavy_tailed": _heavy_tailed,
    "bfloat16_rounded": _bfloat16_rounded,
    "small_integers": _small_integers,
    "int8": _int8,
    "constant": _constant,
    "zeros": _zeros,
    "mostly_zero": _mostly_zero,
    "negative": _negative,
    "nearly_equal": _nearly_equal,
    "huge_float32": _huge_float32,
    "huge_float64": _huge_float64,
    "denormal": _denormal,
    "denormal_float32": _denormal_float32,
    "one_dominating": _one_dominating,
}
"""Name to function(rng, shape) -> array of that shape; the dtype is the family's."""
