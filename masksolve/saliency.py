"""Saliencies: weights, and statistics of what they multiply, turned into scores to keep."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .problem import real_array


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
    """Score every weight by |w| times the norm of the input that it multiplies.

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
