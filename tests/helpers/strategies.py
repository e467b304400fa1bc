"""Hypothesis strategies for patterns and scores; the families are those of the conformance kit."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from masksolve import Pattern
from masksolve.testing import FAMILIES


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


@st.composite
def laid_patterns(draw):
    """``(pattern, shape)``: any pattern with m up to 5 on a shape of up to four axes, empty ones included."""
    transposable = draw(st.booleans())
    ndim = draw(st.integers(2 if transposable else 1, 4))
    m = draw(st.integers(1, 5))
    pattern = Pattern(
        draw(st.integers(1, m)),
        m,
        transposable=transposable,
        constraint=draw(st.sampled_from(["exact", "at_most"])),
        axis=-1 if transposable else draw(st.integers(-ndim, ndim - 1)),
        remainder=draw(st.sampled_from(["error", "pad", "dense"])),
    )
    shape = [draw(st.integers(0, 3)) for _ in range(ndim)]
    for axis in (-2, -1) if transposable else (pattern.axis,):
        whole = m * draw(st.integers(0, 3))
        shape[axis] = whole if pattern.remainder == "error" else whole + draw(st.integers(0, m - 1))
    return pattern, tuple(shape)
