"""The problem: scores, pattern and forced choices, checked once, here and nowhere else."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from . import frameworks as arrays
from ._ext import scan
from .pattern import Pattern

BoolArray = npt.NDArray[np.bool_]

_REAL = {
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "bfloat16", "float32", "float64"),
}
LARGEST_SINGLE = 2.0**96
"""Scores up to this are solved in float32 if it holds them exactly."""

LARGEST_SUM = 1e300
"""Sums of scores stay below this."""

_MOST_AXES = 61
"""NumPy's 64, less those that cutting into tiles adds."""


class UnfitScoresError(Exception):
    """A backend met a score that is not finite, or larger than it was told to expect."""


@dataclass(frozen=True, eq=False)
class MaskProblem:
    """Validated input of a solve.

    Attributes
    ----------
    scores : ndarray, shape (..., R, C)
        Real and finite, in the caller's own memory: never copied, never written.
    pattern : Pattern
    keep, drop : ndarray of bool, shape of ``scores``, or None
        Forced choices; no entry is in both.
    largest : float
        The largest absolute score (0 for an empty array); if ``checked`` is false, what ordinary
        scores of this dtype stay below, and whoever reads them must make sure of it.
    checked : bool
        Whether the scores have been read and found finite.
    """

    scores: npt.NDArray[Any]
    pattern: Pattern
    keep: BoolArray | None
    drop: BoolArray | None
    largest: float
    checked: bool = True

    on_device: ClassVar[bool] = False

    @classmethod
    def check(
        cls,
        scores: npt.ArrayLike,
        pattern: Pattern | str,
        keep: npt.ArrayLike | None = None,
        drop: npt.ArrayLike | None = None,
        *,
        read_scores: bool = True,
    ) -> MaskProblem:
        """Validate the caller's arguments.

        ``read_scores=False`` leaves the scores' values to `read`, or to a backend that looks at
        each one anyway: reading a large array once more costs as much as solving small tiles.

        Raises
        ------
        TypeError
            For arrays or dtypes that are not real numbers.
        ValueError
            For shapes, values or forced choices that no mask can satisfy.
        """
        pattern = Pattern.parse(pattern)
        array = real_array("scores", scores)
        check_shape("scores", array.shape, pattern)
        forced_keep = check_forced("keep", keep, array.shape)
        forced_drop = check_forced("drop", drop, array.shape)
        if forced_keep is not None and forced_drop is not None:
            both = np.argwhere(forced_keep & forced_drop)
            if len(both):
                raise ValueError(
                    f"keep and drop must not both be True for an entry; they are at {_index(both[0])}"
                )
        if forced_drop is not None and pattern.remainder == "dense":
            _check_tail(forced_drop, pattern)
        problem = cls(array, pattern, forced_keep, forced_drop, _ordinary(array), checked=False)
        return problem.read() if read_scores or array.dtype.kind in "biu" else problem

    def read(self) -> MaskProblem:
        """Read the scores; the same problem with them found finite and small enough to be summed.

        Raises
        ------
        ValueError
            If a score is NaN or infinite, or sums would leave float64.
        """
        return self if self.checked else replace(self, largest=_largest("scores", self.scores), checked=True)


def real_array(name: str, value: npt.ArrayLike) -> npt.NDArray[Any]:
    """``value`` as an ndarray of real numbers (bfloat16 included), without copying an ndarray."""
    array = _ndarray(name, value)
    if not is_real(array.dtype.name):
        raise TypeError(
            f"{name} must hold real numbers (bool, integer, float16, bfloat16, float32 or float64), "
            f"got dtype {array.dtype}"
        )
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def is_real(dtype: str) -> bool:
    """Whether scores may have the dtype of this name."""
    return dtype in _REAL


def boolean_array(name: str, value: npt.ArrayLike) -> BoolArray:
    """``value`` as an ndarray of bool; any other dtype is refused."""
    array = _ndarray(name, value)
    if array.dtype != np.bool_:
        raise TypeError(f"{name} must be boolean (True and False), got dtype {array.dtype}")
    return array


def check_shape(name: str, shape: tuple[int, ...], pattern: Pattern) -> None:
    """Refuse shapes that ``pattern`` cannot be laid on.

    Raises
    ------
    ValueError
        If there are too few axes or too many, ``pattern.axis`` does not exist, or ``m`` does not divide
        the grouped axes under ``remainder="error"``.
    """
    least = 2 if pattern.transposable else 1
    if not least <= len(shape) <= _MOST_AXES:
        raise ValueError(
            f"{name} must have {least} to {_MOST_AXES} axes for pattern '{pattern}', got shape {shape}"
        )
    if not -len(shape) <= pattern.axis < len(shape):
        raise ValueError(f"pattern axis={pattern.axis} does not exist in {name} of shape {shape}")
    if pattern.remainder != "error":
        return
    for axis in _grouped_axes(pattern):
        if shape[axis] % pattern.m:
            raise ValueError(
                f"{name} has {shape[axis]} entries along axis {axis}, which m={pattern.m} does not "
                f"divide (shape {shape}); choose remainder='pad' or remainder='dense' in the pattern"
            )


def _grouped_axes(pattern: Pattern) -> tuple[int, ...]:
    return (-2, -1) if pattern.transposable else (pattern.axis,)


def _ndarray(name: str, value: npt.ArrayLike) -> npt.NDArray[Any]:
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{name} must be a plain array, got a masked array; call its filled() first")
    native = arrays.to_numpy(name, value)
    if not isinstance(native, (np.ndarray, list, tuple)):
        raise TypeError(
            f"{name} must be an array or nested lists, got {type(value).__name__}; "
            f"convert it with numpy.asarray"
        )
    try:
        return np.asarray(native)
    except ValueError as error:
        raise ValueError(f"{name} must be rectangular, got nested lists of unequal length") from error


def check_forced(name: str, value: npt.ArrayLike | None, shape: tuple[int, ...]) -> BoolArray | None:
    """``value`` as boolean forced choices for scores of this shape."""
    if value is None:
        return None
    array = boolean_array(name, value)
    try:
        return np.broadcast_to(array, shape)
    except ValueError:
        raise ValueError(
            f"{name} must be broadcastable to the shape of scores {shape}, got shape {array.shape}"
        ) from None


def _check_tail(drop: BoolArray, pattern: Pattern) -> None:
    for axis in _grouped_axes(pattern):
        whole = drop.shape[axis] // pattern.m * pattern.m
        if np.moveaxis(drop, axis, 0)[whole:].any():
            raise ValueError(
                f"drop must be False in the tail that remainder='dense' keeps whole, from entry {whole} "
                f"on along axis {axis}; it is True there"
            )


def _ordinary(array: npt.NDArray[Any]) -> float:
    """Return what ordinary scores stay below; sums of a tile's are far from overflow, also in float32."""
    return LARGEST_SINGLE if array.dtype.itemsize <= 4 else LARGEST_SUM / max(array.size, 1)


def _largest(name: str, array: npt.NDArray[Any]) -> float:
    """Return the largest absolute value; refuse NaN, infinities and sums beyond float64."""
    largest = scan.largest_magnitude(array)
    if not math.isfinite(largest):
        with np.errstate(invalid="ignore"):  # bfloat16's signalling NaNs
            where = np.argwhere(~np.isfinite(array))[0]
        raise ValueError(f"{name} must be finite, got {array[tuple(where)]} at {_index(where)}")
    if largest * array.size > LARGEST_SUM:
        raise ValueError(
            f"{name} must be small enough to be summed in float64, got magnitude {largest:.3g} in "
            f"{array.size} entries; scale them down"
        )
    return largest


def _index(where: npt.NDArray[np.intp]) -> str:
    return f"index [{', '.join(map(str, where))}]"
