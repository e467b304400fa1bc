"""SparseGPT with optimal masks, transposable ones included."""

from __future__ import annotations

import math
from typing import Any

from ..checks import integer
from ..pattern import Pattern
from .layer_problem import LayerProblem
from .projection import best_mask, layer_pattern
from .space import Space


def sparsegpt(
    w: Any,
    hessian: Any,
    pattern: Pattern | str,
    *,
    damping: float = 0.01,
    block: int = 128,
    backend: str = "auto",
    dtype: str | None = None,
) -> tuple[Any, Any]:
    """Prune a layer by SparseGPT, with optimal masks, transposable ones included.

    Inputs are settled from left to right, m at a time: `masksolve.solve` finds the mask of these m
    columns, the pruned weights become zero, and all later weights of the row make up for the error
    as far as they can. The score of a weight is ``w**2 / U_jj**2`` of its current value, U the upper
    Cholesky factor of the inverse Hessian: what removing it costs if only later weights react (see
    `masksolve.saliency.obs`). A transposable pattern takes its m x m tiles from the m columns at hand.

    Parameters
    ----------
    w : array of real numbers, shape (outputs, inputs) or (..., outputs, inputs)
        Leading axes are the places of a convolution's kernel, which are settled one after another.
        Of NumPy, torch, JAX, CuPy or another library of the array-API standard: it is computed there.
    hessian : array of real numbers, shape (inputs, inputs)
        Gram matrix X X^T; with P leading places (P * inputs, P * inputs), the place varying slowest.
    pattern : Pattern or str
        A one-directional pattern must run along the inputs (axis -1) or the outputs (axis -2).
    damping : float
        See `masksolve.saliency.damped`.
    block : int
        Columns after which the rest of the matrix is brought up to date: a multiple of m, for speed only.
    backend : str
        As for `masksolve.solve`.
    dtype : {"float32", "float64"}, optional
        By default float64 for float64 weights, else float32.

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
    Frantar, Alistarh. SparseGPT: Massive Language Models Can be Accurately Pruned in One-Shot.
    ICML 2023, Algorithm 1.
    Meng et al. TSENOR: Highly-Efficient Algorithm for Finding Transposable N:M Sparse Masks. 2025,
    which plugs transposable masks into it.

    Examples
    --------
    >>> weights, mask = sparsegpt([[1.0, 2.0]], [[1.0, 0.9], [0.9, 1.0]], "1:2", damping=0.0)
    >>> mask
    array([[False,  True]])
    >>> weights.round(6)
    array([[0. , 2.9]])
    """
    pattern, block = layer_pattern(pattern), integer("block", block)
    if pattern.vector is not None:
        raise ValueError(
            f"pattern must be one whose groups can be pruned from left to right, got '{pattern}'; use "
            f"masksolve.reconstruction.admm"
        )
    if block < 1 or block % pattern.m:
        raise ValueError(f"block must be a positive multiple of m={pattern.m}, got {block}")
    space = Space.of("w", w, dtype)
    with space.open():
        layer = LayerProblem.read(w, hessian, damping, dtype, places=True)
        xp, rest = space.xp, layer.weights
        outputs, columns = rest.shape
        factor = _factor(space, layer.gram)
        inputs = layer.shape[-1]
        settled, masks = [space.zeros(outputs, 0)], [xp.astype(space.zeros(outputs, 0), xp.bool)]
        for first in range(0, math.prod(layer.shape[:-2]) * inputs, max(inputs, 1)):
            for start in range(first, first + inputs, block):
                stop = min(start + block, first + inputs)
                weights, mask, errors = _settle(
                    xp, rest[:, : stop - start], factor[start:stop, start:stop], pattern, backend
                )
                settled.append(weights)
                masks.append(mask)
                rest = rest[:, stop - start :] - errors @ factor[start:stop, stop:columns]
        return layer.unscaled(xp.concat(settled, axis=1)), layer.shaped(xp.concat(masks, axis=1))


def _factor(space: Space, gram: Any) -> Any:
    """Upper Cholesky factor of the inverse."""
    if not gram.shape[0]:
        return gram
    inverse = space.xp.linalg.inv(gram)
    return space.xp.linalg.cholesky((inverse + inverse.T) / 2, upper=True)


def _settle(xp: Any, w: Any, factor: Any, pattern: Pattern, backend: str) -> tuple[Any, Any, Any]:
    """Settle a block of columns, m at a time: its weights, mask, and errors for later columns."""
    pivots = xp.linalg.diagonal(factor)
    settled, masks, errors = [], [], []
    columns = w.shape[1]
    for first in range(0, columns, pattern.m):
        last = min(first + pattern.m, columns)
        own = slice(first, last)
        group = w[:, : last - first]
        mask = best_mask((group / pivots[own][None, :]) ** 2, pattern, backend=backend)
        group, error = _settle_group(xp, group, mask, factor[own, own])
        w = w[:, last - first :] - error @ factor[own, last:columns]
        settled.append(group)
        masks.append(mask)
        errors.append(error)
    return xp.concat(settled, axis=1), xp.concat(masks, axis=1), xp.concat(errors, axis=1)


def _settle_group(xp: Any, w: Any, mask: Any, factor: Any) -> tuple[Any, Any]:
    """Settle the columns of one group from left to right, for a mask that is found."""
    dropped = xp.astype(~mask, w.dtype)
    settled, errors = [], []
    for column in range(w.shape[1]):
        pivot = factor[column : column + 1, column : column + 1]
        error = w[:, :1] * dropped[:, column : column + 1] / pivot
        settled.append(w[:, :1] * (1 - dropped[:, column : column + 1]))
        errors.append(error)
        w = w[:, 1:] - error * factor[column : column + 1, column + 1 :]
    return xp.concat(settled, axis=1), xp.concat(errors, axis=1)
