"""Single tiles with any bounds and forced choices, more than patterns have, for the tests of certificates."""

from __future__ import annotations

import exactly
import numpy as np
import oracles
from hypothesis import strategies as st

from masksolve.layout import Chunk


def chunk_of(scores, row_bounds, column_bounds, keep=None, drop=None) -> Chunk:
    """One tile."""
    return Chunk(
        scores=np.asarray(scores, np.float64)[np.newaxis],
        keep=None if keep is None else np.asarray(keep, np.bool_)[np.newaxis],
        drop=None if drop is None else np.asarray(drop, np.bool_)[np.newaxis],
        row_bounds=row_bounds,
        column_bounds=column_bounds,
        numbers=[0],
    )


def optimum(chunk: Chunk):
    """The most that a mask of the chunk's only tile keeps, exactly; None if there is no mask."""
    keep, drop = (None if choice is None else choice[0] for choice in (chunk.keep, chunk.drop))
    return exactly.optimum(chunk.scores[0], chunk.row_bounds, chunk.column_bounds, keep, drop)


def best_mask(chunk: Chunk):
    """An optimal mask by the linear programme or brute force, in float64."""
    keep, drop = (None if choice is None else choice[0] for choice in (chunk.keep, chunk.drop))
    mask = oracles.best_mask(chunk.scores[0], chunk.row_bounds, chunk.column_bounds, keep, drop)
    return None if mask is None else mask[np.newaxis]


ORDINARY = st.integers(-4, 4).map(float) | st.floats(-100, 100, allow_subnormal=False)
EXTREME = (
    st.sampled_from(
        [0.0, -0.0, 5e-324, -5e-324, 1.0, 1.0 + 2**-52, -1e20, 1e15, -1e17, 2.0**900, -(2.0**900)]
    )
    | st.floats(-1e280, 1e280)
    | st.integers(-3, 3).map(float)
)


@st.composite
def any_chunk(draw, entries=ORDINARY) -> Chunk:
    """One tile with any bounds, forced entries perhaps; feasible or not."""
    height, width = draw(st.integers(1, 5)), draw(st.integers(1, 5))

    def grid(entry):
        row = st.lists(entry, min_size=width, max_size=width)
        return draw(st.lists(row, min_size=height, max_size=height))

    def bounds(length):
        most = draw(st.integers(1, length))
        return draw(st.sampled_from([0, most])), most

    choices = np.array(grid(st.sampled_from("..........kd"))) if draw(st.booleans()) else None
    return chunk_of(
        grid(entries),
        bounds(width),
        bounds(height),
        None if choices is None else choices == "k",
        None if choices is None else choices == "d",
    )


def feasible_mask(chunk: Chunk, seed: int):
    """Some feasible mask of the tile, by chance; None if there is none."""
    shape = chunk.scores.shape[1:]
    keep, drop = (None if choice is None else choice[0] for choice in (chunk.keep, chunk.drop))
    other = np.random.default_rng(seed).integers(-9, 9, shape).astype(float)
    mask = oracles.best_mask(other, chunk.row_bounds, chunk.column_bounds, keep, drop)
    return None if mask is None else mask[np.newaxis]
