"""The kept weights that come closest to the outputs of all weights, for a mask that is given."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple, get_args

from ..checks import choice
from .blas import in_threads
from .layer_problem import LayerProblem
from .space import Space

Solver = Literal["auto", "cholesky", "pcg"]
METHODS: tuple[Solver, ...] = get_args(Solver)

_CHUNK_ENTRIES = 1 << 23
"""Entries of the normal equations of a chunk of rows: 32 or 64 MiB, unless one row takes more."""

_LARGEST_EXACT = 128
"""Columns up to which ``auto`` factorises. Beyond, conjugate gradients take less time."""

_MOST_STEPS = 200
"""Of conjugate gradients; layers of a real encoder need 21 to 74, and 6 to 21 from ADMM's weights."""

_LEAST_GAIN = 3e-5
"""Conjugate gradients end when a step lowers the error by less than this share of it."""


def output_error(w: Any, other: Any, hessian: Any, *, dtype: str | None = None) -> Any:
    """Squared error of each output when one weight matrix stands in for another.

    Parameters
    ----------
    w, other : array of real numbers, shape (outputs, inputs)
    hessian : array of real numbers, shape (inputs, inputs)
        Gram matrix X X^T of the inputs.
    dtype : {"float32", "float64"}, optional
        By default float64 for float64 weights ``w``, else float32.

    Returns
    -------
    array of float32 or float64, shape (outputs,)
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
    space = Space.of("w", w, dtype)
    with space.open():
        change = space.matrix("other", other) - space.matrix("w", w)
        error = squared_errors(space.xp, change, space.matrix("hessian", hessian))
        return space.xp.where(error > 0, error, space.xp.zeros_like(error))


def squared_errors(xp: Any, change: Any, gram: Any) -> Any:
    """Error of each output for a change of the weights, (outputs,)."""
    return xp.sum((change @ gram) * change, axis=1)


def least_squares(
    w: Any,
    mask: Any,
    hessian: Any,
    *,
    damping: float = 0.01,
    method: Solver = "auto",
    dtype: str | None = None,
) -> Any:
    """Find the kept weights that come closest to the outputs of all weights: AdaPrune's optimum.

    Every row is the least-squares problem ``min ||(w' - w) X||^2 + damping' ||w' - w||^2`` over the
    w' that are zero outside of its mask, where ``damping'`` is ``damping`` times the mean of the
    Hessian's diagonal.

    Parameters
    ----------
    w : array of real numbers, shape (outputs, inputs)
        Of NumPy, torch, JAX, CuPy or another library of the array-API standard: it is computed there.
    mask : array of bool, shape (outputs, inputs)
        True = kept; rows may keep different numbers.
    hessian : array of real numbers, shape (inputs, inputs)
        Gram matrix X X^T of the inputs: symmetric and positive semidefinite.
    damping : float
        See `masksolve.saliency.damped`.
    method : {"auto", "cholesky", "pcg"}
        ``"cholesky"`` factorises the normal equations of every row, in chunks of rows: exact, at a cost
        of (kept inputs)^3 for each row. NumPy's arrays are shared out, by rows, to as many threads as BLAS
        uses, if the package threadpoolctl is installed. ``"pcg"`` runs conjugate gradients, preconditioned
        by the diagonal, for all rows at once: some dozen products (outputs x inputs^2), and an error
        above the optimum's by 0.1 % or less on layers of real models (0.5 % on random layers whose
        inputs nearly depend on each other). ``"auto"`` factorises up to 128 inputs.
    dtype : {"float32", "float64"}, optional
        By default float64 for float64 weights, else float32, whose rounding raises the error of a
        damped layer by less than 1e-5 of itself.

    Returns
    -------
    array of float32 or float64, shape (outputs, inputs)
        Zero where the mask is False; of the library and on the device of ``w``.

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
    method, space = choice("method", method, METHODS), Space.of("w", w, dtype)
    with space.open():
        layer = LayerProblem.read(w, hessian, damping, dtype)
        kept = space.boolean("mask", mask)
        if tuple(kept.shape) != layer.shape:
            raise ValueError(f"mask must have the shape of w {layer.shape}, got {tuple(kept.shape)}")
        return layer.unscaled(fit(layer, kept, method=method))


def fit(layer: LayerProblem, kept: Any, *, method: str, start: Any | None = None) -> Any:
    """Solve a scaled problem for the mask ``kept``; conjugate gradients go out from ``start``."""
    xp, (outputs, columns) = layer.space.xp, kept.shape
    zero = xp.zeros_like(layer.weights)
    begun = xp.where(kept, layer.weights if start is None else start, zero)
    if not outputs or not columns:
        return begun
    if method == "pcg" or (method == "auto" and columns > _LARGEST_EXACT):
        return _conjugate_gradients(layer, kept, begun)
    return _by_rows(layer, kept)


def _by_rows(layer: LayerProblem, kept: Any) -> Any:
    """Factorise the normal equations of every row, rows that keep about as much together."""
    xp = layer.space.xp
    held = xp.where(kept, layer.weights, xp.zeros_like(layer.weights))
    # The optimum moves the kept weights by d with H_kk d = H_kr w_r, r the removed ones.
    pull = (layer.weights - held) @ layer.gram
    counts = xp.sum(xp.astype(kept, xp.int64), axis=1)
    order = xp.argsort(counts)

    def moves(rows: Any) -> Any:
        return _moves(layer, xp.take(kept, rows, axis=0), xp.take(pull, rows, axis=0))

    most = int(xp.max(counts))
    found = in_threads(xp, moves, lambda threads: _chunks(order, most, threads))
    return held + xp.take(xp.concat(found), xp.argsort(order), axis=0)


def _chunks(order: Any, most: int, threads: int) -> Iterator[Any]:
    rows = order.shape[0]
    step = max(1, min(_CHUNK_ENTRIES // max(most, 1) ** 2, rows) // threads)
    for first in range(0, rows, step):
        yield order[first : min(first + step, rows)]


def _moves(layer: LayerProblem, kept: Any, pull: Any) -> Any:
    """Solve ``gram[k, k] d = pull[k]`` for every row's kept columns k; zero elsewhere."""
    xp, equations = layer.space.xp, NormalEquations.of(layer, kept)
    if not equations.support.shape[1]:
        return xp.zeros_like(pull)
    right = xp.take_along_axis(pull, equations.support, axis=1) * equations.real
    return equations.spread(xp.linalg.solve(equations.matrix, right[:, :, None])[:, :, 0])


class NormalEquations(NamedTuple):
    """Gram matrices of the kept columns of some rows.

    Rows that keep fewer than the others are filled up with equations ``d = 0``.

    Attributes
    ----------
    space : Space
    support : array of int, shape (rows, most)
        Kept columns of each row in their order, then others.
    real : array, shape (rows, most)
        1 for kept columns, 0 for those that fill up.
    matrix : array, shape (rows, most, most)
    back : array of int, shape (rows, columns)
        Place of each column in ``support``; beyond it if the column is not there.
    """

    space: Space
    support: Any
    real: Any
    matrix: Any
    back: Any

    @classmethod
    def of(cls, layer: LayerProblem, kept: Any) -> NormalEquations:
        """Gather the equations of rows with the mask ``kept`` (rows, columns)."""
        xp, columns = layer.space.xp, kept.shape[1]
        most = int(xp.max(xp.sum(xp.astype(kept, xp.int64), axis=1)))
        order = xp.argsort(xp.astype(~kept, xp.int8), axis=1)  # stable: columns stay in order
        support = order[:, :most]
        real = xp.astype(xp.take_along_axis(kept, support, axis=1), layer.gram.dtype)
        places = support[:, :, None] * columns + support[:, None, :]
        normal = xp.reshape(
            xp.take(xp.reshape(layer.gram, (-1,)), xp.reshape(places, (-1,)), axis=0), places.shape
        )
        # A place that is no kept column gets a row of the identity; others keep the unit diagonal.
        both, one = real[:, :, None] * real[:, None, :], layer.space.eye(most)[None, :, :]
        matrix = normal * both + one * (1 - real)[:, :, None]
        return cls(layer.space, support, real, matrix, xp.argsort(order, axis=1))

    def spread(self, values: Any) -> Any:
        """Values at the support as values of all columns, zero elsewhere."""
        xp, (rows, columns) = self.space.xp, self.back.shape
        rest = xp.zeros((rows, columns - values.shape[1]), dtype=values.dtype, device=self.space.device)
        return xp.take_along_axis(xp.concat([values, rest], axis=1), self.back, axis=1)


def _conjugate_gradients(layer: LayerProblem, kept: Any, begun: Any) -> Any:
    """Run conjugate gradients for all rows at once; each row has its own step lengths.

    The scaled Hessian has ones on its diagonal, so that the diagonal preconditioner is the identity.
    Every step lowers the error of a row by ``length * residual^2``. The sum over the rows tells when
    another step is no longer worth its product, without a product of its own.
    """
    xp = layer.space.xp
    on = xp.astype(kept, begun.dtype)
    found, removed = begun, layer.weights - begun
    pull = removed @ layer.gram
    error = float(xp.sum(pull * removed))
    residual = pull * on
    direction, size = residual, xp.sum(residual * residual, axis=1, keepdims=True)
    for _ in range(_MOST_STEPS):
        image = (direction @ layer.gram) * on
        curvature = xp.sum(direction * image, axis=1, keepdims=True)
        # A row that is solved has neither residual nor curvature, and stays where it is.
        length = xp.where(curvature > 0, size / xp.where(curvature > 0, curvature, 1.0), 0.0)
        found = found + length * direction
        residual = residual - length * image
        gain = float(xp.sum(length * size))
        error -= gain
        if not gain > _LEAST_GAIN * max(error, 0.0):
            break
        before, size = size, xp.sum(residual * residual, axis=1, keepdims=True)
        turn = xp.where(before > 0, size / xp.where(before > 0, before, 1.0), 0.0)
        direction = residual + turn * direction
    return found
