"""The only validation of what `search` is given."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ... import checks
from ...arrays import check_shape, real_array
from ...execution import Execution
from ...pattern import Pattern
from ...types import SCORES, SCORES_ELSEWHERE, Float64Array
from .members import Dimension, Int64Array, Matrices, Member


@dataclass(frozen=True, eq=False)
class Request:
    """A checked request.

    Attributes
    ----------
    scores : list of ndarray of float64, shape (batch, R, C)
        What entries are worth.
    pattern : Pattern
        Its axis is -1 or -2.
    dimensions : list of Dimension
    single : bool
        Whether one array was given, whose axes are reordered each on its own; otherwise, several
        matrices share one order.
    """

    scores: list[Float64Array]
    pattern: Pattern
    dimensions: list[Dimension]
    single: bool

    def matrices(self, execution: Execution) -> Matrices:
        """Scale the scores to at most 1 and round them to float32, for the search.

        What is far below all that a tile can keep, such as -1e20 for an entry that must not be kept, is
        raised so far that float32 still resolves the sums of the other entries beside it.
        """
        least = -(self.pattern.m**2) * max(self._largest, 0.0) or -np.inf
        arrays = [(np.maximum(scores, least) / self.scale).astype(np.float32) for scores in self.scores]
        return Matrices(arrays, self.pattern, self.dimensions, execution)

    @property
    def scale(self) -> float:
        """The largest magnitude that counts: of the largest score, or if there is no positive one, of all."""
        if self._largest > 0:
            return self._largest
        return max((float(np.abs(each).max(initial=0.0)) for each in self.scores), default=0.0) or 1.0

    @property
    def _largest(self) -> float:
        return max((float(each.max(initial=-np.inf)) for each in self.scores), default=0.0)

    def axes(self, matrix: int) -> tuple[int, ...]:
        """Axes of a matrix that are reordered and matter."""
        members = (member for dimension in self.dimensions for member in dimension.members)
        return tuple(sorted({m.axis for m in members if m.matrix == matrix and m.grouped}))


def check_pattern(pattern: Pattern) -> None:
    """Raise ValueError for a pattern for which no orders can be searched."""
    if pattern.vector is not None:
        raise ValueError(f"pattern must be one of n:m, V:N:M has no search for orders, got '{pattern}'")
    if pattern.columns is not None or pattern.pair:
        raise ValueError(
            f"pattern must have one n:m, without pairs, to search for permutations, got '{pattern}'; search "
            f"with '{pattern.n}:{pattern.m}' or '{pattern.n}:{pattern.m}-T', then solve"
        )


def read(scores: Any, pattern: Pattern | str, axes: Any, units: Any, labels: Any, score: str) -> Request:
    """Check the arguments of `search`; TypeError or ValueError if one is not what it should be."""
    pattern = Pattern.parse(pattern)
    check_pattern(pattern)
    checks.choice("score", score, SCORES, SCORES_ELSEWHERE)
    if isinstance(scores, (list, tuple)) and scores and all(isinstance(each, tuple) for each in scores):
        return _shared(scores, pattern, units, labels, score)
    array, pattern = _worth("scores", scores, pattern, score)
    if isinstance(axes, int) and not isinstance(axes, bool):
        axes = (axes,)
    if not isinstance(axes, (tuple, list)) or not axes or any(axis not in (-2, -1) for axis in axes):
        raise ValueError(f"axes must be (-1,), (-2,) or (-2, -1), got {axes!r}")
    dimensions = []
    for axis in sorted(set(axes), reverse=True):
        places = _places(f"units[{axis}]", _of_axis(units, axis), array.shape[axis])
        member = _member(0, axis, places, array, pattern)
        dimensions.append(_dimension([member], _of_axis(labels, axis), pattern))
    return Request([array], pattern, dimensions, single=True)


def _shared(members: Any, pattern: Pattern, units: Any, labels: Any, score: str) -> Request:
    """Read a list of (matrix, axis) or (matrix, axis, places); one array may be listed twice."""
    if units is not None:
        raise ValueError("units must be left out for a list of matrices: give (matrix, axis, places) instead")
    arrays: list[Float64Array] = []
    numbers: dict[int, int] = {}
    found = []
    patterns = set()
    for index, entry in enumerate(members):
        if len(entry) not in (2, 3) or entry[1] not in (-2, -1):
            raise ValueError(
                f"scores[{index}] must be (matrix, axis) or (matrix, axis, places) with axis -1 or -2, "
                f"got {len(entry)} entries and axis {entry[1] if len(entry) > 1 else None!r}"
            )
        if id(entry[0]) not in numbers:
            array, seen = _worth(f"scores[{index}]", entry[0], pattern, score)
            numbers[id(entry[0])] = len(arrays)
            arrays.append(array)
            patterns.add(seen)
        number = numbers[id(entry[0])]
        places = _places(
            f"scores[{index}]", entry[2] if len(entry) > 2 else None, arrays[number].shape[entry[1]]
        )
        found.append(_member(number, entry[1], places, arrays[number], seen))
    if len(patterns) > 1:
        raise ValueError("pattern must count its axis from the end for matrices of different numbers of axes")
    counts = {len(member.places) for member in found}
    if len(counts) > 1:
        raise ValueError(f"scores must share the reordered axis, got axes of {sorted(counts)} units")
    return Request(arrays, seen, [_dimension(found, labels, seen)], single=False)


def _worth(name: str, scores: Any, pattern: Pattern, score: str) -> tuple[Float64Array, Pattern]:
    array = real_array(name, scores)
    if array.ndim < 2:
        raise ValueError(f"{name} must have at least two axes (..., R, C), got shape {array.shape}")
    check_shape(name, array.shape, pattern)
    axis = pattern.axis - array.ndim if pattern.axis >= 0 else pattern.axis
    if axis not in (-1, -2):
        raise ValueError(f"pattern must group along one of the last two axes, got axis={pattern.axis}")
    values = array.astype(np.float64)
    if not np.isfinite(values).all():
        raise ValueError(f"{name} must be finite, got NaN or infinity")
    if score != "value":
        values = np.abs(values) if score == "magnitude" else np.square(values)
    return values.reshape(math.prod(array.shape[:-2]), *array.shape[-2:]), replace_axis(pattern, axis)


def replace_axis(pattern: Pattern, axis: int) -> Pattern:
    """Turn the pattern to another axis."""
    return replace(pattern, axis=axis)


def _of_axis(value: Any, axis: int) -> Any:
    return value.get(axis) if isinstance(value, Mapping) else value


def _places(name: str, value: Any, length: int) -> Int64Array:
    if value is None:
        return np.arange(length)[:, None]
    places = np.asarray(value)
    if places.dtype.kind not in "iu" or places.ndim not in (1, 2):
        raise TypeError(
            f"{name}: places must be integers of shape (units,) or (units, k), got {places.dtype} "
            f"of shape {places.shape}"
        )
    places = places.astype(np.int64).reshape(len(places), -1)
    if places.size and (places.min() < 0 or places.max() >= length or len(np.unique(places)) < places.size):
        raise ValueError(f"{name}: places must be distinct and between 0 and {length - 1}")
    return places


def _member(number: int, axis: int, places: Int64Array, array: Float64Array, pattern: Pattern) -> Member:
    grouped = axis in pattern.axes
    return Member(number, axis, places, grouped, np.arange(array.shape[axis]))


def _dimension(members: list[Member], labels: Any, pattern: Pattern) -> Dimension:
    units = len(members[0].places)
    marks = np.zeros(units, np.int64) if labels is None else np.asarray(labels)
    if marks.dtype.kind not in "iu" or marks.shape != (units,):
        raise ValueError(
            f"labels must be integers, one for each of {units} units, got {marks.dtype} {marks.shape}"
        )
    marks = marks.astype(np.int64)
    for member in members:  # what lies in a cut group stays there
        whole = len(member.content) // pattern.m * pattern.m
        if member.grouped:
            marks[(member.places >= whole).any(axis=1)] = -1
    return Dimension(members, marks, np.arange(units))
