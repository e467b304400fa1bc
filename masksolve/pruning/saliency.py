"""Saliencies: weights, and statistics of what they multiply, turned into scores to keep.

Arrays of any library that masksolve reads go in; scores of the same library, on the same device, come
out.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .layer_problem import LayerProblem, check_definite, damped_gram, unit_diagonal
from .space import Space, first_true
from .statistics import Statistics

__all__ = ["Statistics", "damped", "magnitude", "obs", "wanda"]


def magnitude(w: Any) -> Any:
    """Score every weight by its absolute value.

    Parameters
    ----------
    w : array of real numbers, any shape

    Returns
    -------
    array
        Same shape, library and device; same dtype, except that signed integers become unsigned ones
        of the same size, which can hold the magnitude of the most negative value.

    Raises
    ------
    TypeError
        If ``w`` does not hold real numbers.

    Examples
    --------
    >>> import numpy as np
    >>> magnitude(np.array([-128, 3], dtype=np.int8))
    array([128,   3], dtype=uint8)
    """
    space = Space.of("w", w)
    xp, array = space.xp, space.like
    name = str(array.dtype).rpartition(".")[2]
    with space.open():
        if name == "bool" or name.startswith("uint"):
            return array
        size = xp.abs(array)
        return xp.astype(size, getattr(xp, f"u{name}")) if name.startswith("int") else size


def wanda(w: Any, x_norm: Any, *, dtype: str | None = None) -> Any:
    """Score every weight by ``|w|`` times the norm of the input that it multiplies.

    Parameters
    ----------
    w : array of real numbers, shape (..., outputs, inputs)
    x_norm : array of real numbers, shape (inputs,)
        Euclidean norm of each input feature over the calibration data; finite, not negative.
    dtype : {"float32", "float64"}, optional
        Of the computation and the scores. By default float64 for float64 weights and float32 for
        narrower ones, whose own range the products would leave.

    Returns
    -------
    array of float32 or float64, shape of ``w``

    Raises
    ------
    TypeError
        If an argument does not hold real numbers.
    ValueError
        If ``x_norm`` has the wrong shape or holds a negative, infinite or NaN entry, or a score
        overflows.

    References
    ----------
    Sun, Liu, Bair, Kolter. A Simple and Effective Pruning Approach for Large Language Models.
    ICLR 2024, equation 1.

    Examples
    --------
    >>> wanda([[1.0, -2.0]], [3.0, 0.5])
    array([[3., 1.]])
    """
    space = Space.of("w", w, dtype)
    with space.open():
        xp, weights, norm = space.xp, space.real("w", w), space.here("x_norm", x_norm)
        if weights.ndim < 1 or tuple(norm.shape) != tuple(weights.shape[-1:]):
            raise ValueError(
                f"x_norm must have one entry for each input, the last axis of w {tuple(weights.shape)}, "
                f"got shape {tuple(norm.shape)}"
            )
        norm = xp.astype(norm, space.dtype)
        good = xp.isfinite(norm) & (norm >= 0)
        if not bool(xp.all(good)):
            first = first_true(xp, ~good)
            raise ValueError(
                f"x_norm must be finite and not negative, got {float(norm[first])} at index [{first}]"
            )
        # The product is checked like an argument: it overflows where weights and norms are huge.
        with np.errstate(over="ignore"):
            scores = xp.abs(weights) * norm
        return space.real("w times x_norm", scores)


def obs(w: Any, hessian: Any, *, damping: float = 0.01, dtype: str | None = None) -> Any:
    """Score every weight by the output error that its removal costs once the others make up for it.

    The score is ``w**2 / diag(inverse(H))``: with H = X X^T it is exactly the least
    ``||(W' - W) X||**2`` over all W' whose entry is zero (Optimal Brain Surgeon; its own formula
    has a factor 1/2 more, which changes no mask).

    SparseGPT's criterion looks alike but divides by the squared diagonal of the *Cholesky factor* U
    of the inverse, ``inverse(H) = U^T U``. That square is the diagonal of the inverse that is left
    when all earlier inputs are frozen: the same cost, but with only the later weights to make up for
    it. `masksolve.reconstruction.sparsegpt` uses it, since there the earlier weights are settled.

    Parameters
    ----------
    w : array of real numbers, shape (outputs, inputs)
    hessian : array of real numbers, shape (inputs, inputs)
        Gram matrix X X^T of the inputs, as in `Statistics.gram`: symmetric and positive semidefinite.
    damping : float
        See `damped`.
    dtype : {"float32", "float64"}, optional
        By default float64 for float64 weights, else float32.

    Returns
    -------
    array of float32 or float64, shape of ``w``

    Raises
    ------
    TypeError, ValueError
        If an argument is not what it should be, or the damped Hessian is singular.

    References
    ----------
    Hassibi, Stork. Second order derivatives for network pruning: Optimal Brain Surgeon. NIPS 1992
    (published 1993), equation 5.
    Frantar, Alistarh. SparseGPT: Massive Language Models Can be Accurately Pruned in One-Shot.
    ICML 2023, Algorithm 1.

    Examples
    --------
    >>> obs([[1.0, -2.0]], [[4.0, 0.0], [0.0, 1.0]], damping=0.0)
    array([[4., 4.]])
    """
    space = Space.of("w", w, dtype)
    with space.open():
        layer = LayerProblem.read(w, hessian, damping, dtype)
        xp = space.xp
        inverse = xp.linalg.inv(layer.gram) if layer.gram.shape[0] else layer.gram
        # Of the scaled matrix: its inverse's diagonal is that of inverse(H) times H_jj.
        cost = layer.root / xp.sqrt(xp.linalg.diagonal(inverse))
        return space.real("w**2 / diag(inverse(hessian))", (space.real("w", w) * cost[None, :]) ** 2)


def damped(hessian: Any, damping: float, *, inputs: int | None = None, dtype: str | None = None) -> Any:
    """Check a Gram matrix and add ``damping`` times the mean of its diagonal to the diagonal.

    With fewer samples than inputs, or inputs that depend on each other, the Gram matrix is singular,
    and so are the problems built on it; any positive damping makes them solvable. It also draws
    reconstructed weights towards the original ones, the less the more samples there are of each.

    Parameters
    ----------
    hessian : array of real numbers, shape (inputs, inputs)
        Symmetric and positive semidefinite.
    damping : float
        Not negative. If all inputs are zero, ``damping`` itself is added.
    inputs : int, optional
        The size that is expected.
    dtype : {"float32", "float64"}, optional
        By default float64 for a float64 matrix, else float32.

    Returns
    -------
    array of float32 or float64, shape (inputs, inputs)
        A new array, positive definite.

    Raises
    ------
    TypeError, ValueError
        If an argument is not what it should be, or the result is singular.

    Examples
    --------
    >>> damped([[1.0, 1.0], [1.0, 1.0]], 0.5)
    array([[1.5, 1. ],
           [1. , 1.5]])
    """
    space = Space.of("hessian", hessian, dtype)
    with space.open():
        gram = damped_gram(space, hessian, damping, inputs=inputs)
        check_definite(space, unit_diagonal(space, gram)[0], damping)
        return gram
