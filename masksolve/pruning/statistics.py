"""Calibration data as far as a layer's methods need them: number, mean, and centred Gram matrix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..checks import integer
from .space import Space, first_true

_CHUNK_ENTRIES = 1 << 20
"""Entries of a batch that are widened at a time."""

_CHUNK_ROWS = 256
"""Samples in a chunk at least: a matrix product of fewer would be bound by memory."""


@dataclass(eq=False)
class Statistics:
    """What saliencies and reconstructions need to know of calibration data, gathered batch by batch.

    Memory is that of one (inputs, inputs) matrix, however many samples there are. The *centred* Gram
    matrix is gathered, batch after batch by the rule of Chan, Golub and LeVeque: the uncentred one is
    its sum with ``count * mean mean^T``, where nothing cancels. The other way round, ``gram - count *
    mean mean^T``, loses every digit where the mean is large compared with the deviation.

    Attributes
    ----------
    count : int
        Samples so far.
    mean : array, shape (inputs,)
        Mean of each input.
    covariance : array, shape (inputs, inputs)
        Gram matrix of the centred inputs: the sum over samples of ``(x - mean) (x - mean)^T``, not
        divided by their number.

    References
    ----------
    Chan, Golub, LeVeque. Updating formulae and a pairwise algorithm for computing sample variances.
    COMPSTAT 1982.

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
    >>> seen.gram
    array([[10.,  2.],
           [ 2.,  4.]])
    """

    count: int
    mean: Any
    covariance: Any

    @classmethod
    def empty(cls, inputs: int, *, like: Any = None, dtype: str = "float64") -> Statistics:
        """No samples yet.

        Parameters
        ----------
        inputs : int
            At least 1.
        like : array, optional
            Sums are kept in the library and on the device of this array; by default they are NumPy's.
        dtype : {"float64", "float32"}
            Of the sums. float32 takes half of the time and memory; its rounding, about 1e-6 of the
            largest entry, is far below any damping in use.

        Raises
        ------
        TypeError, ValueError
            If an argument is not what it should be.
        """
        size = integer("inputs", inputs, least=1)
        space = Space.of("like", np.zeros(0) if like is None else like, dtype)
        with space.open():
            return cls(0, space.zeros(size), space.zeros(size, size))

    def update(self, x: Any) -> None:
        """Take in a batch.

        Parameters
        ----------
        x : array of real numbers, shape (..., inputs)
            Every entry of the leading axes is a sample.

        Raises
        ------
        TypeError, ValueError
            If ``x`` does not hold finite real numbers, its last axis is not the inputs, or its products
            overflow; what was gathered stays as it was.
        """
        space, inputs = self._space(), self.mean.shape[0]
        with space.open():
            array = space.here("x", x)
            if array.ndim < 1 or array.shape[-1] != inputs:
                raise ValueError(
                    f"x must have shape (..., {inputs}), its last axis the inputs, got {tuple(array.shape)}"
                )
            samples = space.xp.reshape(array, (-1, inputs))
            gathered = self
            rows = max(_CHUNK_ROWS, _CHUNK_ENTRIES // inputs)
            for first in range(0, samples.shape[0], rows):
                last = min(first + rows, samples.shape[0])
                chunk = _finite(space, samples[first:last, :], first)
                gathered = gathered.merged(_of_chunk(space.xp, chunk))
            if not bool(space.xp.all(space.xp.isfinite(gathered.covariance))):
                largest = float(space.xp.max(space.xp.abs(space.xp.astype(samples, space.dtype))))
                raise ValueError(
                    f"x must be small enough for its products to be summed in {space.precision}, got "
                    f"magnitude {largest:.3g}; scale the inputs down"
                )
        self.count, self.mean, self.covariance = gathered.count, gathered.mean, gathered.covariance

    def merged(self, other: Statistics) -> Statistics:
        """Statistics of the samples of both, which may have been gathered apart.

        Parameters
        ----------
        other : Statistics
            Of the same inputs, in the same library, on the same device.
        """
        total = self.count + other.count
        if not self.count or not other.count:
            return self if self.count else other
        share = other.count / total
        with np.errstate(over="ignore", invalid="ignore"):  # overflow is looked for once, by `update`
            apart = other.mean - self.mean
            between = apart[:, None] * apart[None, :] * (self.count * share)
            covariance = self.covariance + other.covariance + between
        return Statistics(total, self.mean + apart * share, covariance)

    @property
    def total(self) -> Any:
        """Sum of each input, shape (inputs,)."""
        return self.mean * self.count

    @property
    def gram(self) -> Any:
        """X X^T, uncentred: the sum over samples of x x^T, shape (inputs, inputs).

        Raises
        ------
        ValueError
            If an entry is beyond the range of the precision.
        """
        space = self._space()
        with space.open(), np.errstate(over="ignore", invalid="ignore"):
            gram = self.covariance + self.mean[:, None] * (self.mean[None, :] * self.count)
            if not bool(space.xp.all(space.xp.isfinite(gram))):
                raise ValueError(
                    f"x must be small enough for its products to be summed in {space.precision}; scale the "
                    f"inputs down"
                )
            return gram

    @property
    def norm(self) -> Any:
        """Euclidean norm of each input over all samples, shape (inputs,): what `wanda` takes."""
        space = self._space()
        with space.open():
            spread = space.xp.linalg.diagonal(self.covariance)
            return space.xp.sqrt(spread + self.count * self.mean**2)

    def _space(self) -> Space:
        precision = str(self.mean.dtype).rpartition(".")[2]
        return Space.of("mean", self.mean, precision)


def _finite(space: Space, samples: Any, first: int) -> Any:
    """Widen a chunk to the precision of the sums; ``first`` is the number of its first sample."""
    xp = space.xp
    wide = xp.astype(samples, space.dtype)
    finite = xp.all(xp.isfinite(wide), axis=1)
    if not bool(xp.all(finite)):
        raise ValueError(f"x must be finite, got NaN or infinity in sample {first + first_true(xp, ~finite)}")
    return wide


def _of_chunk(xp: Any, samples: Any) -> Statistics:
    with np.errstate(over="ignore", invalid="ignore"):  # overflow is looked for once, at the end
        mean = xp.mean(samples, axis=0)
        centred = samples - mean[None, :]
        return Statistics(samples.shape[0], mean, centred.T @ centred)
