"""Mask and weights for a layer's outputs: ADMM with exact projections onto the pattern."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from ..checks import choice, integer, number
from ..pattern import Pattern
from .exchanges import check_exchanges, exchange
from .layer_problem import LayerProblem, outputs_first
from .least_squares import METHODS, Solver, fit
from .projection import best_mask, layer_pattern
from .space import Space

_EVERY = 3
"""Iterations between two comparisons of the mask, and so between changes of rho."""

_GROWTH = ((0.1, 1.3), (0.005, 1.2), (0.0, 1.1))
"""If at least this share of the kept entries changed, rho grows by this factor."""

_SETTLED = 1e-3
"""Share of changed entries at which the mask counts as settled. On layers of real models, waiting for the
last entries takes a fifth to a third more iterations and lowers the error by less than 1e-4 of itself."""

_MANY = 50_000
"""Kept entries from which on a share of them counts as settled. In smaller layers, in which the last two
or three entries can be worth a per cent of the error, all of them must be."""


class Iteration(NamedTuple):
    """What `admm` tells its caller after each iteration.

    Attributes
    ----------
    number : int
        Counted from 1.
    rho : float
        Penalty of this iteration.
    residual : float
        Norm of the difference between the unconstrained and the projected weights, relative to that
        of the layer's weights (both scaled by the inputs' norms). It falls towards zero.
    changed : float or None
        Share of the kept entries that are others than at the last comparison; None between
        comparisons, which come every third iteration. The method ends when it is 0, with 50,000 kept
        entries or more when it is at most 0.001.
    mask : array of bool, shape of the weights
        Of this iteration.
    """

    number: int
    rho: float
    residual: float
    changed: float | None
    mask: Any


def admm(
    w: Any,
    hessian: Any,
    pattern: Pattern | str,
    *,
    damping: float = 0.01,
    iterations: int = 100,
    rho: float = 0.1,
    exchanges: int = 0,
    keep: Any | None = None,
    method: Solver = "auto",
    backend: str = "auto",
    dtype: str | None = None,
    progress: Callable[[Iteration], object] | None = None,
) -> tuple[Any, Any]:
    """Find mask and weights together, for the least error of the layer's outputs.

    The problem is ``min ||(W' - W) X||^2 + damping' ||W' - W||^2`` over all W' that follow the
    pattern. It is split into W', which minimises, and a copy that follows the pattern; the multiplier
    V and the penalty rho pull the two together::

        W' = W + (rho (B - W) - V) (H + rho)^-1     the minimum, B and V fixed
        B  = nearest to W' + V / rho under the pattern   `masksolve.solve` of the squares
        V  = V + rho (W' - B)

    all in coordinates in which H has ones on its diagonal. As rho grows the mask settles, and the
    weights on it are then fitted by least squares. The projection is exact for every pattern that
    `masksolve.solve` knows, transposable ones included. No optimum is claimed for the whole: which
    mask is best for a layer's outputs is a hard problem.

    Parameters
    ----------
    w : array of real numbers, shape (outputs, inputs) or (..., outputs, inputs)
        Leading axes are the places of a convolution's kernel. Of NumPy, torch, JAX, CuPy or another
        library of the array-API standard: everything is computed in it, on the device of ``w``.
    hessian : array of real numbers, shape (inputs, inputs)
        Gram matrix X X^T; with P leading places (P * inputs, P * inputs), the place varying slowest.
    pattern : Pattern or str
        A one-directional pattern must run along the inputs (axis -1) or the outputs (axis -2).
    damping : float
        See `masksolve.saliency.damped`.
    iterations : int
        At most so many; layers of real models end by themselves after about 30.
    rho : float
        First penalty. A smaller one takes more iterations and rarely ends at a better mask.
    exchanges : int
        Rounds of exchanges after the iterations, at most one in each row in each round: a kept entry for a
        dropped one, within a group or, in a transposable tile, by two rows that exchange opposite columns.
        The error falls with each, altogether by 1 to 2 % on layers of real models within 30 to 50 rounds;
        then they end by themselves. Each row is factorised, which takes 20 times as long as the iterations
        at 384 inputs and 65 times at 1536. Pairs, V:N:M and patterns along axis -2 have no exchanges.
    keep : array of bool, broadcastable to ``w``, optional
        Entries that every mask must keep.
    method : {"auto", "cholesky", "pcg"}
        Of the least squares at the end: see `least_squares`.
    backend : str
        Of the projection, as for `masksolve.solve`.
    dtype : {"float32", "float64"}, optional
        By default float64 for float64 weights, else float32, whose errors are within 0.2 % of those
        of float64 in either direction: rounding leads to other masks, not to worse ones.
    progress : callable
        Called as ``progress(iteration)`` with an `Iteration` after each one.

    Returns
    -------
    weights : array of float32 or float64, shape of ``w``
        Zero where the mask is False.
    mask : array of bool, shape of ``w``
        True = kept.

    Raises
    ------
    TypeError, ValueError
        If an argument is not what it should be, or the damped Hessian is singular; and as
        `masksolve.solve`.

    References
    ----------
    Meng, Behdin, Wang, Mazumder. ALPS: Improved Optimization for Highly Sparse One-Shot Pruning for
    Large Language Models. NeurIPS 2024; the projection there is onto unstructured and
    one-directional masks.
    Boyd, Parikh, Chu, Peleato, Eckstein. Distributed Optimization and Statistical Learning via the
    Alternating Direction Method of Multipliers. 2011, section 9.1.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> w, x = rng.standard_normal((8, 8)), rng.standard_normal((50, 8)) @ rng.uniform(-1, 1, (8, 8))
    >>> weights, mask = admm(w, x.T @ x, "2:4-T")
    >>> mask.sum(axis=0).tolist()
    [4, 4, 4, 4, 4, 4, 4, 4]
    """
    pattern, method = layer_pattern(pattern), choice("method", method, METHODS)
    iterations, rho = integer("iterations", iterations, least=1), number("rho", rho, above=0.0)
    check_exchanges(pattern, integer("exchanges", exchanges, least=0))
    if progress is not None and not callable(progress):
        raise TypeError(f"progress must be callable as progress(iteration), got {progress!r}")
    space = Space.of("w", w, dtype)
    with space.open():
        layer = LayerProblem.read(w, hessian, damping, dtype, places=True)
        xp = space.xp
        forced = None if keep is None else space.boolean("keep", keep)

        def project(scores: Any) -> Any:
            mask = best_mask(layer.shaped(scores), pattern, backend=backend, keep=forced)
            return outputs_first(xp, mask)

        kept, found = iterate(layer, project, iterations, rho=rho, progress=progress)
        found = fit(layer, kept, method=method, start=found)
        held = None if forced is None else outputs_first(xp, xp.broadcast_to(forced, layer.shape))
        done = exchange(
            layer, kept, found, pattern, exchanges, method=method, inputs=layer.shape[-1], held=held
        )
        return layer.unscaled(done.weights), layer.shaped(done.mask)


def iterate(
    layer: LayerProblem,
    project: Callable[[Any], Any],
    iterations: int,
    *,
    rho: float = 0.1,
    progress: Callable[[Iteration], object] | None = None,
) -> tuple[Any, Any]:
    """Iterate until the mask has settled: the mask, and weights on it to go on from.

    ``project`` gives the best mask (outputs, columns) for scores of that shape.

    The textbook's step is ``(W H - V + rho B) (H + rho)^-1``. Written as a change of W it takes no
    product with H, and what rounding spoils is the small change alone. The inverse, by one
    factorisation for each value of rho, costs less than the eigendecomposition that would serve all
    of them, and halves the products of an iteration.
    """
    xp, dense = layer.space.xp, layer.weights
    zero, identity = xp.zeros_like(dense), layer.space.eye(dense.shape[1])
    kept = compared = project(dense**2)
    copy, multiplier = xp.where(kept, dense, zero), zero
    size = float(xp.sum(dense**2)) ** 0.5 or 1.0
    inverse = None
    settled = _SETTLED if _count(xp, kept) >= _MANY else 0.0
    for step in range(1, iterations + 1 if dense.shape[0] and dense.shape[1] else 1):
        if inverse is None:
            inverse = xp.linalg.inv(layer.gram + rho * identity)
        free = dense + (rho * (copy - dense) - multiplier) @ inverse
        target = free + multiplier / rho
        kept = project(target**2)
        copy = xp.where(kept, target, zero)
        multiplier = multiplier + rho * (free - copy)
        changed = _changed(xp, kept, compared) if step % _EVERY == 0 else None
        if progress is not None:
            residual = float(xp.sum((free - copy) ** 2)) ** 0.5 / size
            progress(Iteration(step, rho, residual, changed, layer.shaped(kept)))
        if changed is None:
            continue
        if changed <= settled:
            break
        compared, inverse = kept, None
        rho *= next(factor for share, factor in _GROWTH if changed >= share)
    return kept, copy


def _changed(xp: Any, mask: Any, before: Any) -> float:
    """Share of the kept entries that were not kept before."""
    return _count(xp, mask & ~before) / max(_count(xp, mask), 1)


def _count(xp: Any, mask: Any) -> int:
    return int(xp.sum(xp.astype(mask, xp.int64)))
