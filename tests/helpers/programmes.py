"""Integer programmes over whole arrays, written from the words of a pattern and from nothing else.

HiGHS is given one binary variable an entry and one constraint a group, for all groups along every axis.
Tiles, pairs of entries that are summed, and every other consequence of the constraints are left to it.
"""

from __future__ import annotations

import numpy as np
from scipy import optimize, sparse


def keeps_most(scores, groups, *, pairs=(), keep=None, drop=None):
    """The mask that keeps the largest sum.

    Parameters
    ----------
    scores : array (R, C)
    groups : sequence of (axis, n, m, exact)
        Of every m consecutive entries along the axis, n or at most n are kept.
    pairs : sequence of int
        Axes along which entries 2 k and 2 k + 1 are the same.
    keep, drop : array of bool or None
    """
    wide = scores.astype(np.float64)
    _, exponent = np.frexp(np.abs(wide).max(initial=1.0))
    place = np.arange(wide.size).reshape(wide.shape)
    lines, least, most = [], [], []
    for axis, n, m, exact in groups:
        for group in np.moveaxis(place, axis, -1).reshape(-1, m):
            lines.append((group, np.ones(m)))
            least.append(n if exact else 0)
            most.append(n)
    for axis in pairs:
        for pair in np.moveaxis(place, axis, -1).reshape(-1, 2):
            lines.append((pair, np.array([1.0, -1.0])))
            least.append(0)
            most.append(0)
    rows = np.repeat(np.arange(len(lines)), [len(entries) for entries, _ in lines])
    columns = np.concatenate([entries for entries, _ in lines])
    values = np.concatenate([factors for _, factors in lines])
    matrix = sparse.csr_array((values, (rows, columns)), shape=(len(lines), wide.size))
    lower = np.zeros(wide.size) if keep is None else keep.ravel().astype(float)
    upper = np.ones(wide.size) if drop is None else (~drop).ravel().astype(float)
    answer = optimize.milp(
        -np.ldexp(wide, 20 - exponent).ravel(),  # HiGHS' tolerances are absolute
        integrality=np.ones(wide.size),
        bounds=optimize.Bounds(lower, upper),
        constraints=optimize.LinearConstraint(matrix, least, most),
        options={"mip_rel_gap": 0.0},
    )
    assert answer.status == 0, answer.message
    return answer.x.reshape(wide.shape) > 0.5


def families(shape, seed=0):
    """Scores of many kinds, by name."""
    import ml_dtypes

    rng = np.random.default_rng(seed)
    normal = rng.standard_normal(shape)
    forbidden = np.where(rng.random(shape) < 0.2, -1e20, normal)
    return {
        "gaussian": normal.astype(np.float32),
        "magnitudes": np.abs(normal),
        "negative": -np.abs(normal).astype(np.float32),
        "zeros": np.where(rng.random(shape) < 0.6, 0.0, normal).astype(np.float32),
        "constant": np.full(shape, 0.7, np.float32),
        "ties": rng.integers(-2, 3, shape).astype(np.int8),
        "bfloat16": normal.astype(ml_dtypes.bfloat16),
        "float16": normal.astype(np.float16),
        "integers": rng.integers(-(2**40), 2**40, shape),
        "heavy tails": (normal / np.maximum(np.abs(rng.standard_normal(shape)), 1e-3)).astype(np.float32),
        "mixed magnitudes": normal * 10.0 ** rng.integers(-6, 7, shape),
        "forbidden entries": forbidden,
        "huge": normal * 2.0**300,
        "denormal": normal * 2.0**-1050,
    }
