"""How a weight of any layer is seen as the matrices that the layer multiplies by, and back."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import masksolve as ms


@dataclass(frozen=True)
class Plane:
    """The axes of a weight that are a matrix's rows and columns; all other axes count matrices.

    An N:M mask is of use only in the plane of the matrix product. Which axes of a weight span it is a
    convention of the layer, not of the shape: ``(8, 16, 4)`` is eight experts of (16, 4) or a convolution
    of eight outputs, sixteen inputs and a kernel of four places.

    In the torch adapter rows are outputs and columns inputs, as in a Linear weight. In the JAX adapter
    rows are inputs and columns outputs, as in a Dense kernel of Flax.

    Parameters
    ----------
    rows, columns : int or tuple of int
        Axes of the weight, from the front or, negative, from the end. Several are taken as one, the
        first of them varying slowest, as where an attention layer's outputs are (heads, features).
    parts : int
        Number of equal pieces of axis 0 that are matrices of their own: 3 for the query, key and
        value projections in one weight, the number of groups for a grouped convolution.

    Raises
    ------
    TypeError, ValueError
        If an axis is no integer or named twice, there is none, or ``parts`` is not positive.

    Examples
    --------
    >>> Plane().shape((32, 16, 3, 3))                      # a convolution: (outputs, inputs, 3, 3)
    (3, 3, 32, 16)
    >>> Plane(rows=-2, columns=-1).shape((8, 32, 16))      # eight experts
    (8, 32, 16)
    >>> Plane(parts=3).shape((48, 16))                     # query, key and value in one
    (3, 16, 16)
    >>> Plane(rows=0, columns=(1, 2)).shape((16, 4, 8))    # to four heads of eight features
    (16, 32)
    """

    rows: int | tuple[int, ...] = 0
    columns: int | tuple[int, ...] = 1
    parts: int = 1

    def __post_init__(self) -> None:
        for name in ("rows", "columns"):
            axes = getattr(self, name)
            axes = axes if isinstance(axes, tuple) else (axes,)
            if not all(isinstance(axis, int) and not isinstance(axis, bool) for axis in axes):
                raise TypeError(f"{name} must be an axis or a tuple of axes, got {getattr(self, name)!r}")
            if not axes:
                raise ValueError(f"{name} must name at least one axis, got ()")
            object.__setattr__(self, name, axes)
        if isinstance(self.parts, bool) or not isinstance(self.parts, int):
            raise TypeError(f"parts must be an integer, got {self.parts!r}")
        if self.parts < 1:
            raise ValueError(f"parts must be at least 1, got {self.parts}")
        if len({*self._rows, *self._columns}) < len(self._rows) + len(self._columns):
            raise ValueError(f"rows and columns must be different axes, got {self._rows} and {self._columns}")

    def shape(self, weight: Sequence[int]) -> tuple[int, ...]:
        """Shape of the matrices (..., rows, columns) in a weight of this shape.

        Raises
        ------
        ValueError
            If the weight has too few axes, or ``parts`` does not divide its first.
        """
        return self._view(weight).matrices

    def matrices(self, weight: Any) -> Any:
        """View an array of any library as matrices (..., rows, columns).

        Nothing is copied, unless several axes that are not neighbours are taken as one.
        """
        view = self._view(weight.shape)
        return _reshaped(_transposed(_reshaped(weight, view.split), view.order), view.matrices)

    def weight(self, matrices: Any, shape: Sequence[int]) -> Any:
        """Undo `matrices`, for a weight of the given shape."""
        view = self._view(shape)
        inverse = [view.order.index(axis) for axis in range(len(view.order))]
        moved = _reshaped(matrices, tuple(view.split[axis] for axis in view.order))
        return _reshaped(_transposed(moved, inverse), tuple(shape))

    @property
    def _rows(self) -> tuple[int, ...]:
        assert isinstance(self.rows, tuple)  # since __post_init__
        return self.rows

    @property
    def _columns(self) -> tuple[int, ...]:
        assert isinstance(self.columns, tuple)
        return self.columns

    def _view(self, weight: Sequence[int]) -> _View:
        shape = tuple(weight)
        rows, columns = self._axes(self._rows, shape), self._axes(self._columns, shape)
        if set(rows) & set(columns):
            raise ValueError(
                f"rows and columns must be different axes, got {self.rows} and {self.columns} of {shape}"
            )
        if shape[0] % self.parts:
            raise ValueError(f"weight must have a first axis that {self.parts} parts divide, got {shape}")
        # The parts become an axis of their own in front, so that every other axis moves up by one.
        new = int(self.parts > 1)
        split = (self.parts, shape[0] // self.parts, *shape[1:]) if new else shape
        rows, columns = tuple(axis + new for axis in rows), tuple(axis + new for axis in columns)
        batch = tuple(axis for axis in range(len(split)) if axis not in (*rows, *columns))
        matrix = tuple(math.prod(split[axis] for axis in axes) for axes in (rows, columns))
        return _View(split, (*batch, *rows, *columns), (*(split[axis] for axis in batch), *matrix))

    def _axes(self, axes: tuple[int, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
        if min(axes) < -len(shape) or max(axes) >= len(shape):
            raise ValueError(f"weight must have the axes {axes} of its plane, got shape {shape}")
        return tuple(axis % len(shape) for axis in axes)


def whole_tiles(
    shape: Sequence[int], plane: Plane, pattern: ms.Pattern, cut: Mapping[int, Sequence[int]]
) -> bool:
    """Whether the parts of a weight that is spread over devices hold whole tiles.

    Parameters
    ----------
    shape : sequence of int
        Of the whole weight.
    plane : Plane
    pattern : Pattern
    cut : mapping from int to sequence of int
        Which axes of the weight are cut, and into how many parts by each axis of the mesh.
    """
    sides = {-2: plane.rows, -1: plane.columns}
    grouped = {each % len(shape) for axis in pattern.axes for each in cast(tuple[int, ...], sides[axis])}
    alone = all(len(cast(tuple[int, ...], side)) == 1 for side in sides.values())
    for axis, parts in cut.items():
        length, total = shape[axis], math.prod(parts)
        # Cut by one axis of the mesh, all parts but the last are of one length; by several, as by FSDP2 over
        # tensor parallelism, parts begin where they should only if all are.
        even = len(parts) == 1 or length % total == 0
        chunk = -(-length // total)
        if axis in grouped and (not alone or not even or chunk % pattern.m or length % pattern.m):
            return False
    return True


@dataclass(frozen=True)
class _View:
    """How to get from a weight to its matrices: reshape to ``split``, transpose by ``order``, reshape."""

    split: tuple[int, ...]
    order: tuple[int, ...]
    matrices: tuple[int, ...]


def _reshaped(array: Any, shape: tuple[int, ...]) -> Any:
    """Leave an array of this shape as it is, since not every layout can be reshaped."""
    return array if tuple(array.shape) == shape else array.reshape(shape)


def _transposed(array: Any, order: Sequence[int]) -> Any:
    """Torch calls permute what NumPy and JAX call transpose, and swaps two axes by transpose."""
    return array.permute(tuple(order)) if hasattr(array, "permute") else array.transpose(tuple(order))
