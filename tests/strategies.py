"""Instance families, and hypothesis strategies for patterns and scores."""

from __future__ import annotations

import ml_dtypes
import numpy as np
from hypothesis import strategies as st

from masksolve import Pattern


def _gaussian(rng, shape):
    return np.abs(rng.standard_normal(shape, dtype=np.float32))


def _signed(rng, shape):
    return rng.standard_normal(shape)


def _heavy_tailed(rng, shape):
    return np.abs(rng.standard_t(1.5, shape)).astype(np.float32)


def _bfloat16_rounded(rng, shape):
    return _gaussian(rng, shape).astype(ml_dtypes.bfloat16).astype(np.float32)


def _small_integers(rng, shape):
    return rng.integers(-3, 7, shape).astype(np.int32)


def _int8(rng, shape):
    return rng.integers(-128, 128, shape, dtype=np.int8)


def _constant(rng, shape):
    return np.full(shape, rng.uniform(0.1, 2.0), np.float32)


def _zeros(rng, shape):
    return np.zeros(shape, np.float32)


def _mostly_zero(rng, shape):
    return np.where(rng.random(shape) < 0.85, 0.0, rng.standard_normal(shape))


def _negative(rng, shape):
    return -np.abs(rng.standard_normal(shape)) - 0.01


def _huge_float32(rng, shape):
    return (1e30 * np.abs(rng.standard_normal(shape))).astype(np.float32)


def _huge_float64(rng, shape):
    return 1e299 / max(1, np.prod(shape)) * rng.uniform(-1.0, 1.0, shape)


def _denormal(rng, shape):
    return rng.integers(0, 1000, shape) * 5e-324


def _denormal_float32(rng, shape):
    return rng.integers(0, 1000, shape).astype(np.float32) * np.float32(1e-45)


def _one_dominating(rng, shape):
    scores = np.abs(rng.standard_normal(shape))
    scores.flat[rng.integers(scores.size)] = 1e6
    return scores


FAMILIES = {
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
    "huge_float32": _huge_float32,
    "huge_float64": _huge_float64,
    "denormal": _denormal,
    "denormal_float32": _denormal_float32,
    "one_dominating": _one_dominating,
}
"""Name to function(rng, shape) -> array of that shape; the dtype is the family's."""


@st.composite
def patterns(draw, largest_m=8, transposable=None, remainders=("error", "pad", "dense")):
    """Patterns with m up to ``largest_m``; one-directional ones run along axis 0, 1, -2 or -1."""
    m = draw(st.integers(1, largest_m))
    both = draw(st.booleans()) if transposable is None else transposable
    return Pattern(
        draw(st.integers(1, m)),
        m,
        transposable=both,
        constraint=draw(st.sampled_from(["exact", "at_most"])),
        axis=-1 if both else draw(st.sampled_from([-1, -2, 0, 1])),
        remainder=draw(st.sampled_from(remainders)),
    )


@st.composite
def shapes(draw, pattern, largest_tiles=2):
    """Two-dimensional shapes that a pattern can be laid on, cut tiles included where it allows them."""
    grouped = {0, 1} if pattern.transposable else {pattern.axis % 2}
    sizes = []
    for axis in range(2):
        if axis not in grouped:
            sizes.append(draw(st.integers(1, 3)))
        elif pattern.remainder == "error":
            sizes.append(pattern.m * draw(st.integers(1, largest_tiles)))
        else:
            sizes.append(draw(st.integers(1, pattern.m * largest_tiles)))
    return tuple(sizes)


def scores(shape):
    """Scores of a shape from any family."""
    return st.builds(
        lambda family, seed: FAMILIES[family](np.random.default_rng(seed), shape),
        st.sampled_from(sorted(FAMILIES)),
        st.integers(0, 2**32 - 1),
    )


@st.composite
def problems(draw, **options):
    """``(pattern, scores)``; the options are those of ``patterns``."""
    pattern = draw(patterns(**options))
    return pattern, draw(scores(draw(shapes(pattern))))
