"""Saliencies: weights, and statistics of what they multiply, turned into scores to keep."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
import numpy.typing as npt

from ..checks import integer
from ..problem import real_array

Float64Array = npt.NDArray[np.float64]

_CHUNK_ENTRIES = 1 << 20
"""Entries of a batch that are widened to float64 at a time."""


def magnitude(w: npt.ArrayLike) -> npt.NDArray[Any]:
    """Score every weight by its absolute value.

    Parameters
    ----------
    w : array of real numbers, any shape

    Returns
    -------
    ndarray
        Same shape; same dtype, except that signed integers become unsigned ones of the same
        size, which can hold the magnitude of the most negative value.

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
    size: npt.NDArray[Any] = np.abs(real_array("w", w))
    return size.astype(f"u{size.dtype.itemsize}") if size.dtype.kind == "i" else size


def wanda(w: npt.ArrayLike, x_norm: npt.ArrayLike) -> npt.NDArray[Any]:
    """Score every weight by ``|w|`` times the norm of the input that it multiplies.

    Parameters
    ----------
    w : array of real numbers, shape (..., outputs, inputs)
    x_norm : array of real numbers, shape (inputs,)
        Euclidean norm of each input feature over the calibration data; finite, not negative.

    Returns
    -------
    ndarray of float, shape of ``w``

    Raises
    ------
    TypeError
        If an argument does not hold real numbers.
    ValueError
        If ``x_norm`` has the wrong shape or holds a negative, infinite or NaN entry.

    References
    ----------
    Sun, Liu, Bair, Kolter. A Simple and Effective Pruning Approach for Large Language Models.
    ICLR 2024, equation 1.

    Examples
    --------
    >>> wanda([[1.0, -2.0]], [3.0, 0.5])
    array([[3., 1.]])
    """
    size, norm = magnitude(w), real_array("x_norm", x_norm)
    if size.ndim < 1 or norm.shape != size.shape[-1:]:
        raise ValueError(
            f"x_norm must have one entry for each input, the last axis of w {size.shape}, "
            f"got shape {norm.shape}"
        )
    bad = np.flatnonzero(~np.isfinite(norm) | (norm < 0))
    if len(bad):
        raise ValueError(f"x_norm must be finite and not negative, got {norm[bad[0]]} at index [{bad[0]}]")
    scale = norm.astype(np.float64) if norm.dtype.kind in "biu" else norm
    return np.asarray(size * scale)


def obs(w: npt.ArrayLike, hessian: npt.ArrayLike, *, damping: float = 0.01) -> Float64Array:
    """Score every weight by the output error that its removal costs once the others make up for it.

    The score is ``w**2 / diag(inverse(H))``: with H = X X^T it is exactly the least
    ``||(W' - W) X||**2`` over all W' whose entry is zero (Optimal Brain Surgeon; its own formula
    has a factor 1/2 more, which changes no mask).

    SparseGPT's criterion looks alike but divides by the squared diagonal of the *Cholesky factor* U
    of the inverse, ``inverse(H) = U^T U``. That square is the diagonal of the inverse that is left
    when all earlier inputs are frozen: the same cost, but with only the later weights to make up for
    it. `masksolve.pruning.reconstruction.sparsegpt` uses it, since there the earlier weights are settled.

    Parameters
    ----------
    w : array of real numbers, shape (outputs, inputs)
    hessian : array of real numbers, shape (inputs, inputs)
        Gram matrix X X^T of the inputs, as in `Statistics.gram`: symmetric and positive semidefinite.
    damping : float
        See `damped`.

    Returns
    -------
    ndarray of float64, shape of ``w``

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
    weights = matrix("w", w)
    inverse = np.linalg.inv(damped(hessian, damping, inputs=weights.shape[1]))
    return np.asarray(np.square(weights) / np.diagonal(inverse))


def damped(hessian: npt.ArrayLike, damping: float, *, inputs: int | None = None) -> Float64Array:
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

    Returns
    -------
    ndarray of float64, shape (inputs, inputs)
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
    if isinstance(damping, bool) or not isinstance(damping, Real):
        raise TypeError(f"damping must be a number, got {damping!r}")
    if not 0 <= damping < np.inf:
        raise ValueError(f"damping must be finite and not negative, got {damping}")
    gram = matrix("hessian", hessian).copy()
    size = len(gram) if inputs is None else inputs
    if gram.shape != (size, size):
        raise ValueError(
            f"hessian must have shape ({size}, {size}), one row for each input, got {gram.shape}"
        )
    largest = np.abs(gram).max(initial=0.0)
    if np.abs(gram - gram.T).max(initial=0.0) > 1e-6 * largest:
        raise ValueError("hessian must be symmetric, as X X^T is")
    diagonal = np.einsum("ii->i", gram)
    diagonal += float(damping) * (diagonal.mean() or 1.0) if size else 0.0
    _check_definite(gram, float(damping))
    return gram


def _check_definite(gram: Float64Array, damping: float) -> None:
    """Refuse what a factorisation would take for a matrix of full rank only by rounding."""
    try:
        pivots = np.square(np.diagonal(np.linalg.cholesky(gram)))
        singular = bool((pivots <= len(gram) * np.finfo(np.float64).eps * np.diagonal(gram)).any())
    except np.linalg.LinAlgError:
        singular = True
    if singular:
        raise ValueError(
            f"hessian must be positive definite with damping={damping:g} added, but it is singular: fewer "
            f"samples than inputs, or inputs that depend on each other; choose damping > 0 (such as 0.01) "
            f"or give more samples"
        )


def matrix(name: str, value: npt.ArrayLike) -> Float64Array:
    """``value`` as a finite float64 matrix."""
    array = real_array(name, value)
    if array.ndim != 2:
        raise ValueError(f"{name} must be a matrix, got shape {array.shape}")
    wide = array.astype(np.float64, copy=False)
    bad = np.argwhere(~np.isfinite(wide))
    if len(bad):
        raise ValueError(f"{name} must be finite, got {wide[tuple(bad[0])]} at index {bad[0].tolist()}")
    return wide


@dataclass(eq=False)
class Statistics:
    """What saliencies and reconstructions need to know of calibration data, gathered batch by batch.

    Memory is that of one (inputs, inputs) matrix, however many samples there are; sums are in float64.

    Attributes
    ----------
    count : int
        Samples so far.
    total : ndarray of float64, shape (inputs,)
        Sum of each input.
    gram : ndarray of float64, shape (inputs, inputs)
        X X^T, uncentred: sum over samples of x x^T.

    Examples
    --------
    >>> seen = Statistics.empty(2)
    >>> for batch in ([[1.0, 2.0]], [[3.0, 0.0]]):
    ...     seen.update(batch)
    >>> seen.count, seen.mean, seen.norm
    (2, array([2., 1.]), array([3.16227766, 2.        ]))
    >>> seen.covariance
    array([[ 2., -2.],
           [-2.,  2.]])
    """

    count: int
    total: Float64Array
    gram: Float64Array

    @classmethod
    def empty(cls, inputs: int) -> Statistics:
        """No samples yet."""
        size = integer("inputs", inputs)
        if size < 1:
            raise ValueError(f"inputs must be at least 1, got {size}")
        return cls(0, np.zeros(size), np.zeros((size, size)))

    def update(self, x: npt.ArrayLike) -> None:
        """Take in a batch.

        Parameters
        ----------
        x : array of real numbers, shape (..., inputs)
            Every entry of the leading axes is a sample.

        Raises
        ------
        TypeError, ValueError
            If ``x`` does not hold finite real numbers, or its last axis is not the inputs; what was
            gathered stays as it was.
        """
        array, inputs = real_array("x", x), len(self.total)
        if array.ndim < 1 or array.shape[-1] != inputs:
            raise ValueError(
                f"x must have shape (..., {inputs}), its last axis the inputs, got {array.shape}"
            )
        samples = array.reshape(-1, inputs)
        rows = max(1, _CHUNK_ENTRIES // inputs)
        chunks = [samples[first : first + rows] for first in range(0, len(samples), rows)]
        for index, chunk in enumerate(chunks):
            finite = np.isfinite(chunk).all(axis=1)
            if not finite.all():
                bad = index * rows + int(np.argmin(finite))
                raise ValueError(f"x must be finite, got NaN or infinity in sample {bad}")
        for chunk in chunks:
            wide = chunk.astype(np.float64)
            self.total += wide.sum(axis=0)
            self.gram += wide.T @ wide
        self.count += len(samples)

    @property
    def mean(self) -> Float64Array:
        """Mean of each input, shape (inputs,)."""
        return self.total / max(self.count, 1)

    @property
    def norm(self) -> Float64Array:
        """Euclidean norm of each input over all samples, shape (inputs,): what `wanda` takes."""
        return np.sqrt(np.diagonal(self.gram))

    @property
    def covariance(self) -> Float64Array:
        """Gram matrix of the centred inputs, ``gram - count * mean mean^T``, shape (inputs, inputs)."""
        return self.gram - np.outer(self.total, self.mean)
