"""Scores on which bounds and optima go wrong: of every type, and of many magnitudes in one tile."""

from __future__ import annotations

import ml_dtypes
import numpy as np


def _forbidden(value, dtype=np.float64):
    """A third of the entries must not be kept, by the idiom of a huge negative score."""

    def make(rng, shape):
        scores = np.abs(rng.standard_normal(shape))
        return np.where(rng.random(shape) < 0.3, value, scores).astype(dtype)

    return make


def _spread(exponent, dtype=np.float64, signed=True):
    """Magnitudes from 10**-exponent to 10**exponent in every tile."""

    def make(rng, shape):
        signs = rng.choice([-1.0, 1.0], shape) if signed else 1.0
        return (signs * 10.0 ** rng.uniform(-exponent, exponent, shape)).astype(dtype)

    return make


def _dominated(value, dtype=np.float64):
    """One entry in a dozen outweighs everything else."""

    def make(rng, shape):
        return np.where(rng.random(shape) < 0.08, value, rng.standard_normal(shape)).astype(dtype)

    return make


def _normal(dtype, scale=1.0):
    return lambda rng, shape: (scale * rng.standard_normal(shape)).astype(dtype)


def _integers(least, greatest, dtype):
    return lambda rng, shape: rng.integers(least, greatest, shape, endpoint=True).astype(dtype)


MIXTURES = {
    "gaussian float32": _normal(np.float32),
    "gaussian float64": _normal(np.float64),
    "bfloat16": _normal(ml_dtypes.bfloat16),
    "float16": _normal(np.float16, 100.0),
    "ties": _integers(0, 2, np.float32),
    "zeros": lambda rng, shape: np.zeros(shape),
    "mostly zeros": lambda rng, shape: np.where(rng.random(shape) < 0.8, 0.0, rng.standard_normal(shape)),
    "bool": _integers(0, 1, np.bool_),
    "int8": _integers(-128, 127, np.int8),
    "int64": _integers(-(2**62), 2**62, np.int64),
    "uint64": _integers(0, 2**63 - 1, np.uint64),
    "heavy tails": lambda rng, shape: rng.standard_t(0.7, shape),
    "negative": lambda rng, shape: -np.abs(rng.standard_normal(shape)) - 0.1,
    "nearly equal": lambda rng, shape: 1.0 + rng.integers(0, 9, shape) * 2.0**-52,
    "nearly equal float32": lambda rng, shape: (1.0 + rng.integers(0, 9, shape) * 2.0**-23).astype(
        np.float32
    ),
    "forbidden -1e9": _forbidden(-1e9),
    "forbidden -1e17": _forbidden(-1e17),
    "forbidden -1e20": _forbidden(-1e20),
    "forbidden -1e20 float32": _forbidden(-1e20, np.float32),
    "forbidden least float32": _forbidden(float(np.finfo(np.float32).min), np.float32),
    "forbidden -1e300": _forbidden(-1e300 / 2**12),
    "spread 8": _spread(8),
    "spread 8 float32": _spread(8, np.float32),
    "spread 30 float32": _spread(30, np.float32),
    "spread 250": _spread(250),
    "dominated 1e9": _dominated(1e9),
    "dominated 1e15": _dominated(1e15),
    "dominated 1e12 float32": _dominated(1e12, np.float32),
    "huge": _normal(np.float64, 1e290),
    "huge float32": _normal(np.float32, 3e37),
    "denormal": lambda rng, shape: rng.integers(-900, 900, shape) * 5e-324,
    "denormal float32": lambda rng, shape: (
        rng.integers(-900, 900, shape).astype(np.float32) * np.float32(1e-45)
    ),
}
"""Name to function(rng, shape) -> array."""

SINGLE_TOLERANCE, DOUBLE_TOLERANCE = 1e-6, 1e-12
