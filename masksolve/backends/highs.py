"""HiGHS through SciPy: the linear programme with its dual prices, and the paper's integer programme."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from ..checks import choice
from ..layout import Chunk
from ..types import BoolArray, Float64Array, Prices
from .base import ChunkBackend
from .feasibility import failure

_TOLERANCE = 1e-10
"""The tightest that HiGHS accepts."""

_BITS = 20
"""Each tile's largest magnitude is brought between 2**19 and 2**20."""


@dataclass(frozen=True)
class Highs(ChunkBackend):
    """Linear (``"lp"``) or integer (``"milp"``) programming, all tiles of a chunk in one model.

    The constraint matrix is totally unimodular, so the vertex at which the dual simplex method
    stops is a mask, and its marginals are the prices of the certificate. The integer programme
    has no prices; they are derived from its mask. HiGHS' tolerances are absolute, at most 1e-6 on
    costs and on the gap, so scores are scaled by powers of two until each tile's largest magnitude
    is at least 2**19: a tile may lose 2e-12 of that magnitude for each entry.

    Parameters
    ----------
    method : {"lp", "milp"}

    References
    ----------
    Huangfu, Hall. Parallelizing the dual revised simplex method. Mathematical Programming
    Computation 10, 2018. The integer programme: Hubara et al. 2021, section 4.
    """

    method: str = "lp"

    name: ClassVar[str] = "highs"
    exact: ClassVar[bool] = True
    guarantee: ClassVar[str] = "optimal to HiGHS' tolerances"
    requires: ClassVar[str] = "scipy"
    extra: ClassVar[str] = "highs"
    chunk_entries: ClassVar[int] = 1 << 12

    def __post_init__(self) -> None:
        choice("method", self.method, ("lp", "milp"))

    def solve_chunk(self, chunk: Chunk) -> BoolArray | tuple[BoolArray, Prices]:
        """Masks, and under ``method="lp"`` their prices."""
        tiles, height, _ = chunk.scores.shape
        _, exponents = np.frexp(np.abs(chunk.scores).max(axis=(1, 2)))
        scaled = np.ldexp(chunk.scores, (_BITS - exponents)[:, np.newaxis, np.newaxis])
        model = _model(chunk, -scaled.ravel())
        values, prices, message = _linear(model) if self.method == "lp" else _integer(model)
        if values is None:
            raise failure(self.name, chunk, message)
        mask = values.reshape(chunk.scores.shape) > 0.5
        if prices is None:
            return mask
        prices = np.ldexp(prices.reshape(tiles, -1), (exponents - _BITS)[:, np.newaxis])
        return mask, Prices(prices[:, :height], prices[:, height:])


class _Model(NamedTuple):
    """Minimise costs @ x with lower <= x <= upper and least <= lines @ x <= most."""

    costs: Float64Array
    lower: Float64Array
    upper: Float64Array
    lines: Any  # scipy.sparse.csr_array, shape (tiles * (r + c), entries): a tile's rows, then its columns
    least: Float64Array
    most: Float64Array


class _Answer(NamedTuple):
    values: Float64Array | None
    prices: Float64Array | None
    message: str


def _model(chunk: Chunk, costs: Float64Array) -> _Model:
    from scipy import sparse

    tiles, height, width = chunk.scores.shape
    rows, columns = np.divmod(np.arange(height * width), width)
    first_line = (height + width) * np.arange(tiles)[:, np.newaxis]
    line = np.stack([first_line + rows, first_line + height + columns])
    entry = np.broadcast_to(np.arange(costs.size).reshape(tiles, -1), line.shape)
    lines = sparse.csr_array((np.ones(line.size), (line.ravel(), entry.ravel())))
    bounds = np.repeat(np.array([chunk.row_bounds, chunk.column_bounds], float), [height, width], axis=0)
    least, most = np.tile(bounds, (tiles, 1)).T
    lower = np.zeros(costs.size) if chunk.keep is None else chunk.keep.ravel().astype(np.float64)
    upper = np.ones(costs.size) if chunk.drop is None else (~chunk.drop).ravel().astype(np.float64)
    return _Model(costs, lower, upper, lines, least, most)


def _linear(model: _Model) -> _Answer:
    """Solve the linear programme; a line's price is what one more entry allowed there would be worth."""
    from scipy import optimize, sparse

    equal = np.flatnonzero(model.least == model.most)
    above = np.flatnonzero(model.least < model.most)
    below = above[model.least[above] > 0]
    result = optimize.linprog(
        model.costs,
        A_eq=model.lines[equal],
        b_eq=model.most[equal],
        A_ub=sparse.vstack([model.lines[above], -model.lines[below]], format="csr"),
        b_ub=np.concatenate([model.most[above], -model.least[below]]),
        bounds=np.stack([model.lower, model.upper], axis=1),
        method="highs-ds",
        options={
            "primal_feasibility_tolerance": _TOLERANCE,
            "dual_feasibility_tolerance": _TOLERANCE,
        },
    )
    if result.status:
        return _Answer(None, None, result.message)
    prices = np.zeros(len(model.most))
    prices[equal] = -result.eqlin.marginals
    prices[above] = -result.ineqlin.marginals[: len(above)]
    prices[below] += result.ineqlin.marginals[len(above) :]
    return _Answer(result.x, prices, result.message)


def _integer(model: _Model) -> _Answer:
    """Solve the integer programme to a gap of zero."""
    from scipy import optimize

    result = optimize.milp(
        model.costs,
        integrality=np.ones(model.costs.size),
        bounds=optimize.Bounds(model.lower, model.upper),
        constraints=optimize.LinearConstraint(model.lines, model.least, model.most),
        options={"mip_rel_gap": 0.0},
    )
    return _Answer(None if result.status else result.x, None, result.message)
