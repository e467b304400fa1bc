"""Weights that make up for those that a mask removes, from the Gram matrix of a layer's inputs.

All of it minimises the output error ``||(W' - W) X||^2 = sum((W' - W) H * (W' - W))`` with
``H = X X^T``, in float64: calibration data enter as `masksolve.pruning.saliency.Statistics.gram` and in no
other way, so that their number costs neither memory nor time here.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from ..checks import integer
from ..pattern import Pattern
from ..problem import boolean_array, real_array
from ..solve import solve
from ..types import BoolArray
from .saliency import Float64Array, damped, matrix

_CHUNK_ENTRIES = 1 << 23
"""Entries of the normal equations of a chunk of rows: 64 MiB, unless one row takes more."""


def output_error(w: npt.ArrayLike, other: npt.ArrayLike, hessian: npt.ArrayLike) -> Float64Array:
    """Squared error of each output when one weight matrix stands in for another.

    Parameters
    ----------
    w, other : array of real numbers, shape (outputs, inputs)
    hessian : array of real numbers, shape (inputs, inputs)
        Gram matrix X X^T of the inputs.

    Returns
    -------
    ndarray of float64, shape (outputs,)
        ``||(other - w) X||^2`` for each row, summed over the samples.

    Raises
    ------
    TypeError, ValueError
        If an argument is not what it should be.

    Examples
    --------
    >>> output_error([[1.0, 2.0]], [[1.0, 0.0]], [[3.0, 0.0], [0.0, 5.0]])
    array([20.])
    """
    change = matrix("other", other) - matrix("w", w)
    error = np.einsum("oi,oi->o", change @ matrix("hessian", hessian), change)
    return np.asarray(np.maximum(error, 0.0))


def least_squares(
    w: npt.ArrayLike, mask: npt.ArrayLike, hessian: npt.ArrayLike, *, damping: float = 0.01
) -> Float64Array:
    """Find the kept weights that come closest to the outputs of all weights: AdaPrune's optimum.

    Every row is the least-squares problem ``min ||(w' - w) X||^2 + damping' ||w' - w||^2`` over the
    w' that are zero outside of its mask, solved exactly by its normal equations on the kept inputs,
    where ``damping'`` is ``damping`` times the mean of the Hessian's diagonal. Rows go in batches
    of normal equations of 64 MiB, the largest masks last.

    Parameters
    ----------
    w : array of real numbers, shape (outputs, inputs)
    mask : array of bool, shape (outputs, inputs)
        True = kept; rows may keep different numbers.
    hessian : array of real numbers, shape (inputs, inputs)
        Gram matrix X X^T of the inputs: symmetric and positive semidefinite.
    damping : float
        See `masksolve.pruning.saliency.damped`.

    Returns
    -------
    ndarray of float64, shape (outputs, inputs)
        Zero where the mask is False.

    Raises
    ------
    TypeError, ValueError
        If an argument is not what it should be, or the damped Hessian is singular.

    References
    ----------
    Hubara, Chmiel, Island, Banner, Naor, Soudry. Accelerated Sparse Neural Training: A Provable
    and Efficient Method to Find N:M Transposable Masks. NeurIPS 2021, section 5 (AdaPrune), where
    gradient descent approaches this optimum.

    Examples
    --------
    Two inputs that are always equal: the kept weight takes over the other's work.

    >>> equal = [[1.0, 1.0], [1.0, 1.0]]
    >>> least_squares([[1.0, 2.0]], [[False, True]], equal, damping=1e-9).round(6)
    array([[0., 3.]])
    """
    weights, kept = matrix("w", w), boolean_array("mask", mask)
    if kept.shape != weights.shape:
        raise ValueError(f"mask must have the shape of w {weights.shape}, got {kept.shape}")
    gram = damped(hessian, damping, inputs=weights.shape[1])
    # The optimum moves the kept weights by d with H_kk d = H_kr w_r, r the removed ones.
    pull = np.where(kept, 0.0, weights) @ gram
    counts = kept.sum(axis=1)
    order = np.argsort(counts, kind="stable")
    result = np.where(kept, weights, 0.0)
    first = 0
    while first < len(order):
        last = first + 1
        while last < len(order) and (last + 1 - first) * int(counts[order[last]]) ** 2 <= _CHUNK_ENTRIES:
            last += 1
        rows = order[first:last]
        result[rows] += _moves(kept[rows], pull[rows], gram)
        first = last
    return result


def _moves(kept: BoolArray, pull: Float64Array, gram: Float64Array) -> Float64Array:
    """Solve ``gram[k, k] d = pull[k]`` for every row's kept inputs k; zero elsewhere.

    Rows that keep fewer than the others are filled up with equations ``d = 0``.
    """
    most = int(kept.sum(axis=1).max(initial=0))
    support = np.argsort(~kept, axis=1, kind="stable")[:, :most]
    real = np.take_along_axis(kept, support, axis=1)
    normal = gram[support[:, :, np.newaxis], support[:, np.newaxis, :]]
    if not real.all():
        normal *= real[:, :, np.newaxis] & real[:, np.newaxis, :]
        np.einsum("rii->ri", normal)[~real] = 1.0
    right = np.take_along_axis(pull, support, axis=1) * real
    moves = np.zeros_like(pull)
    np.put_along_axis(moves, support, np.linalg.solve(normal, right[..., np.newaxis])[..., 0], axis=1)
    return moves


def sparsegpt(
    w: npt.ArrayLike,
    hessian: npt.ArrayLike,
    pattern: Pattern | str,
    *,
    damping: float = 0.01,
    block: int = 128,
    backend: str = "auto",
) -> tuple[Float64Array, BoolArray]:
    """Prune a layer by SparseGPT, with optimal masks, transposable ones included.

    Inputs are settled from left to right, m at a time: `masksolve.solve` finds the mask of these m
    columns, the pruned weights become zero, and all later weights of the row make up for the error
    as far as they can. The score of a weight is ``w**2 / U_jj**2`` of its current value, U the upper
    Cholesky factor of the inverse Hessian: what removing it costs if only later weights react (see
    `masksolve.pruning.saliency.obs`). A transposable pattern takes its m x m tiles from the m columns at hand.

    Parameters
    ----------
    w : array of real numbers, shape (outputs, inputs) or (..., outputs, inputs)
        Leading axes are the places of a convolution's kernel, which are settled one after another.
    hessian : array of real numbers, shape (inputs, inputs)
        Gram matrix X X^T; with P leading places (P * inputs, P * inputs), the place varying slowest.
    pattern : Pattern or str
        A one-directional pattern must run along the inputs (axis -1) or the outputs (axis -2).
    damping : float
        See `masksolve.pruning.saliency.damped`.
    block : int
        Columns after which the rest of the matrix is brought up to date: a multiple of m, for speed only.
    backend : str
        As for `masksolve.solve`.

    Returns
    -------
    weights : ndarray of float64, shape of ``w``
        Zero where the mask is False.
    mask : ndarray of bool, shape of ``w``
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
    pattern, block = _check_pattern(pattern), integer("block", block)
    if block < 1 or block % pattern.m:
        raise ValueError(f"block must be a positive multiple of m={pattern.m}, got {block}")
    array = real_array("w", w)
    if array.ndim < 2:
        raise ValueError(f"w must have shape (..., outputs, inputs), got {array.shape}")
    *places, outputs, inputs = array.shape
    columns = math.prod(places) * inputs
    flat = matrix("w", np.moveaxis(array, -2, 0).reshape(outputs, columns)).copy()
    inverse = np.linalg.inv(damped(hessian, damping, inputs=columns))
    factor = np.linalg.cholesky((inverse + inverse.T) / 2).T.astype(np.float64, copy=False)
    mask = np.empty(flat.shape, np.bool_)
    for first in range(0, columns, inputs):
        for start in range(first, first + inputs, block):
            stop = min(start + block, first + inputs)
            errors = _settle(
                flat[:, start:stop], mask[:, start:stop], factor[start:stop, start:stop], pattern, backend
            )
            flat[:, stop:] -= errors @ factor[start:stop, stop:]
    shape = (outputs, *places, inputs)
    return np.moveaxis(flat.reshape(shape), 0, -2), np.moveaxis(mask.reshape(shape), 0, -2)


def _check_pattern(pattern: Pattern | str) -> Pattern:
    """Refuse an axis that does not mean the same for a slice of columns as for the whole array."""
    pattern = Pattern.parse(pattern)
    if pattern.axis not in (-1, -2):
        raise ValueError(f"pattern axis must be -1 (inputs) or -2 (outputs), got {pattern.axis}")
    return pattern


def _settle(
    w: Float64Array, mask: BoolArray, factor: Float64Array, pattern: Pattern, backend: str
) -> Float64Array:
    """Settle a block of columns in place; return the errors that later columns are to make up for."""
    errors = np.zeros_like(w)
    pivots = np.diagonal(factor)
    for first in range(0, w.shape[1], pattern.m):
        group = slice(first, first + pattern.m)
        scores = np.square(w[:, group] / pivots[group])
        mask[:, group] = solve(scores, pattern, backend=backend, duals=False).mask
        for column in range(first, min(first + pattern.m, w.shape[1])):
            errors[:, column] = np.where(mask[:, column], 0.0, w[:, column] / pivots[column])
            w[:, column:] -= np.outer(errors[:, column], factor[column, column:])
            w[~mask[:, column], column] = 0.0
    return errors
