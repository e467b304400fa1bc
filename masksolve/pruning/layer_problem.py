"""A layer's reconstruction problem, checked once and scaled so that float32 suffices.

All methods of this package minimise ``sum((W' - W) H * (W' - W))`` over the weights W' that follow a
mask or a pattern, with H the damped Gram matrix of the inputs. They share these coordinates: input j
is divided by ``sqrt(H_jj)`` and column j of the weights multiplied by it. The error is the same, the
scaled H has ones on its diagonal, and inputs of very different size no longer spoil the condition of
the matrix. The weights are divided by a power of two, so that their squares stay in range.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..checks import number
from .space import Space, power_of_two

_ASYMMETRY = 1e-5
"""Largest difference of mirrored entries, relative to the largest entry: sums in float32 leave 1e-6."""


@dataclass(frozen=True)
class LayerProblem:
    """Weights and Gram matrix of a layer, in scaled coordinates.

    Attributes
    ----------
    space : Space
    shape : tuple of int
        Of the caller's weights, (..., outputs, inputs).
    weights : array, shape (outputs, columns)
        Scaled; with P leading places ``columns`` is P * inputs, the place varying slowest.
    gram : array, shape (columns, columns)
        Damped and scaled: symmetric, positive definite, ones on its diagonal.
    root : array, shape (columns,)
        Square roots of the diagonal of the damped Gram matrix.
    size : float
        The power of two that the weights are divided by.
    """

    space: Space
    shape: tuple[int, ...]
    weights: Any
    gram: Any
    root: Any
    size: float

    @classmethod
    def read(
        cls, w: Any, hessian: Any, damping: float, dtype: str | None, *, places: bool = False
    ) -> LayerProblem:
        """Check the caller's arguments and scale them. Call it inside ``Space.open``."""
        space = Space.of("w", w, dtype)
        xp, array = space.xp, space.real("w", w)
        if not places and array.ndim != 2:
            raise ValueError(f"w must be a matrix, got shape {tuple(array.shape)}")
        if array.ndim < 2:
            raise ValueError(f"w must have shape (..., outputs, inputs), got {tuple(array.shape)}")
        flat = outputs_first(xp, array)
        gram = damped_gram(space, hessian, damping, inputs=flat.shape[1])
        unit, root = unit_diagonal(space, gram)
        check_definite(space, unit, damping)
        largest = float(xp.max(xp.abs(flat))) if math.prod(flat.shape) else 0.0
        size = power_of_two(largest)
        return cls(space, tuple(array.shape), (flat / size) * root[None, :], unit, root, size)

    def shaped(self, flat: Any) -> Any:
        """Undo `outputs_first` for an array that belongs to the weights."""
        if len(self.shape) == 2:
            return flat
        xp, (*places, outputs, inputs) = self.space.xp, self.shape
        return xp.moveaxis(xp.reshape(flat, (outputs, *places, inputs)), 0, -2)

    def unscaled(self, flat: Any) -> Any:
        """Scaled weights as the caller's, in the caller's shape."""
        return self.shaped((flat / self.root[None, :]) * self.size)


def outputs_first(xp: Any, array: Any) -> Any:
    """View (..., outputs, inputs) as a matrix (outputs, columns); leading axes vary slowest."""
    if array.ndim == 2:
        return array
    *places, outputs, inputs = array.shape
    return xp.reshape(xp.moveaxis(array, -2, 0), (outputs, math.prod(places) * inputs))


def damped_gram(space: Space, hessian: Any, damping: float, *, inputs: int | None) -> Any:
    """Check a Gram matrix and add ``damping`` times the mean of its diagonal to the diagonal."""
    damping, xp = number("damping", damping, least=0.0), space.xp
    gram = space.matrix("hessian", hessian)
    size = gram.shape[0] if inputs is None else inputs
    if tuple(gram.shape) != (size, size):
        raise ValueError(
            f"hessian must have shape ({size}, {size}), one row for each input, got {tuple(gram.shape)}"
        )
    if not size:
        return gram
    largest = float(xp.max(xp.abs(gram)))
    if float(xp.max(xp.abs(gram - gram.T))) > _ASYMMETRY * largest:
        raise ValueError("hessian must be symmetric, as X X^T is")
    mean = float(xp.mean(xp.linalg.diagonal(gram)))
    return (gram + gram.T) / 2 + damping * (mean or 1.0) * space.eye(size)


def unit_diagonal(space: Space, gram: Any) -> tuple[Any, Any]:
    """Scale a Gram matrix to ones on its diagonal; also the roots that were divided out."""
    xp = space.xp
    with np.errstate(divide="ignore", invalid="ignore"):  # of a dead input; check_definite refuses it
        root = xp.sqrt(xp.linalg.diagonal(gram))
        return gram / (root[:, None] * root[None, :]), root


def check_definite(space: Space, unit: Any, damping: float) -> None:
    """Refuse a scaled matrix that a factorisation would take for one of full rank only by rounding."""
    xp, size = space.xp, unit.shape[0]
    if not size:
        return
    try:
        pivots = xp.linalg.diagonal(xp.linalg.cholesky(unit)) ** 2
        # Any damping makes the matrix definite, so that only its absence needs the strict test.
        least = float(xp.finfo(space.dtype).eps) * (1.0 if damping else size)
        definite = bool(xp.all(pivots > least))  # NaN, which JAX and CuPy answer with, is not above it
    except (np.linalg.LinAlgError, RuntimeError):  # NumPy's and torch's refusals
        definite = False
    if not definite:
        wider = "" if space.precision == "float64" else ', compute in dtype="float64"'
        raise ValueError(
            f"hessian must be positive definite with damping={damping:g} added, but it is singular: fewer "
            f"samples than inputs, or inputs that depend on each other; choose damping > 0 (such as 0.01)"
            f"{wider} or give more samples"
        )
