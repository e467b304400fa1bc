"""How channels pass through single operations."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from .atoms import Atoms, Ids

Shape = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Value:
    """A tensor of the model, and which channels its entries belong to.

    Attributes
    ----------
    shape : tuple of int
    factors : tuple of ndarray of int
        Each of as many axes as the tensor, of length 1 where the channel is the same along the axis. A
        weight matrix has two, one for its rows and one for its columns; an activation has one; what no
        reordering touches has none.
    """

    shape: Shape
    factors: tuple[Ids, ...] = ()

    def only(self) -> Ids | None:
        """Give the factor of a tensor that has at most one."""
        return self.factors[0] if len(self.factors) == 1 else None


def varying(factor: Ids) -> set[int]:
    """Axes along which the channel changes, counted from the end."""
    return {axis - factor.ndim for axis, length in enumerate(factor.shape) if length > 1}


def flat(factor: Ids, axis: int) -> Ids | None:
    """Give the channels along ``axis`` (from the end) of a factor that changes along no other one."""
    return factor.ravel() if varying(factor) <= {axis} else None


def pinned(atoms: Atoms, values: Sequence[Value], reason: str) -> None:
    """Let nothing move that goes into an operation."""
    for value in values:
        for factor in value.factors:
            atoms.pin(factor, reason)


def elementwise(atoms: Atoms, values: Sequence[Value], shape: Shape, reason: str) -> Value:
    """Unite what meets entry by entry; what meets constants that differ along the axis cannot move.

    If the channels change along other axes too, as heads' dimensions do along two, those that meet the same
    constants may still change places.
    """
    if not any(value.factors for value in values):
        return Value(shape)
    if len(values) == 1:
        return Value(shape, values[0].factors)
    factors = _meeting(atoms, values, reason)
    if factors is None:
        pinned(atoms, values, reason)
        return Value(shape)
    factors = [_to_rank(factor, len(shape)) for factor in factors]
    # A vector for each of a head's dimensions ties the heads together. One for each head does not: its order
    # stays, since whole heads that change places bring no mask anything.
    last = max(max(varying(factor), default=-len(shape)) for factor in factors)
    tied = [factor for factor in factors if last in varying(factor)] or factors
    for factor in tied[1:]:
        atoms.unite(tied[0], factor)
    joint = np.broadcast_arrays(*tied)[0]
    axes = varying(joint)
    constants = [
        {axis for axis in axes if -axis <= len(value.shape) and value.shape[axis] > 1}
        for value in values
        if not value.factors
    ]
    for factor in factors:
        if len(tied) < len(factors) and last not in varying(factor):
            atoms.pin(factor, reason)
            constants.append(varying(factor) & axes)
    for differing in constants:
        if differing == axes:
            atoms.pin(joint, reason)
        elif differing:
            atoms.count(_fibres(joint, axes - differing))
    return counted(atoms, Value(shape, (joint,)))


def _meeting(atoms: Atoms, values: Sequence[Value], reason: str) -> list[Ids] | None:
    """Give one factor of each value; None if it is not clear which.

    Of a matrix that meets a vector, such as a table of positions by channels, the axis along which the
    vector is the same stays as it is.
    """
    axes = set().union(*(varying(value.factors[0]) for value in values if len(value.factors) == 1))
    factors: list[Ids] = []
    for value in values:
        own = [f for f in value.factors if varying(f) & axes] if len(value.factors) > 1 else value.factors
        if len(value.factors) > 1 and len(own) != 1:
            return None
        factors += own
        for factor in value.factors:
            if not any(factor is each for each in own):
                atoms.pin(factor, reason)
    return factors


def counted(atoms: Atoms, value: Value) -> Value:
    """Tell the channels that a tensor has apart from those that it has not."""
    for factor in value.factors:
        atoms.count(factor.ravel())
    return value


def moved(atoms: Atoms, value: Value, move: Callable[[torch.Tensor], Any]) -> list[Value]:
    """Move channels as the operation moves entries."""
    outputs: list[list[Ids]] = []
    shapes: list[Shape] = []
    for factor in value.factors or (np.zeros([1] * len(value.shape), np.int64),):
        ids = torch.from_numpy(np.ascontiguousarray(factor)).expand(value.shape)
        result = move(ids)
        parts = list(result) if isinstance(result, (tuple, list)) else [result]
        shapes = [tuple(part.shape) for part in parts]
        outputs.append([_compressed(part) for part in parts])
    if not value.factors:
        return [Value(shape) for shape in shapes]
    return [
        counted(atoms, Value(shape, tuple(factors))) for shape, *factors in zip(shapes, *outputs, strict=True)
    ]


def joined(atoms: Atoms, values: Sequence[Value], axis: int, shape: Shape, reason: str) -> Value:
    """Concatenate along an axis (from the end)."""
    if not any(value.factors for value in values):
        return Value(shape)
    if any(len(value.factors) > 1 for value in values):
        pinned(atoms, values, reason)
        return Value(shape)
    if not any(axis in varying(value.factors[0]) for value in values if value.factors):
        stand_ins = [
            Value((*value.shape[:axis], 1, *value.shape[axis:][1:]), value.factors) for value in values
        ]
        return elementwise(atoms, stand_ins, shape, reason)
    parts = []
    for value in values:
        factor = value.only()
        if factor is None:  # constants beside channels: they are channels that cannot move
            length = [1] * len(shape)
            length[axis] = value.shape[axis]
            factor = atoms.fresh(value.shape[axis]).reshape(length)
            atoms.pin(factor, reason)
        parts.append(factor)
    common = [max(part.shape[k] for part in parts) for k in range(len(shape))]
    for part, value in zip(range(len(parts)), values, strict=True):
        target = list(common)
        target[axis] = value.shape[axis]
        parts[part] = np.broadcast_to(parts[part], target)
    return counted(atoms, Value(shape, (np.concatenate(parts, axis=axis),)))


def reduced(atoms: Atoms, value: Value, axes: set[int], shape: Shape, *, keep: bool, reason: str) -> Value:
    """Sum, average or normalise over ``axes`` (from the end), whatever the order of entries there."""
    factors = []
    for factor in value.factors:
        over = varying(factor) & axes
        if not over:
            factors.append(factor if keep else _dropped(factor, axes))
            continue
        atoms.count(_fibres(factor, axes))
    return Value(shape, tuple(factors))


def normalised(atoms: Atoms, value: Value, axes: set[int]) -> None:
    """Tell channels apart by the sums over ``axes`` that they are part of."""
    for factor in value.factors:
        if varying(factor) & axes:
            atoms.count(_fibres(factor, axes))


def contracted(atoms: Atoms, x: Value, y: Value, shape: Shape, reason: str) -> Value:
    """Multiply matrices (..., m, k) and (..., k, n)."""
    inner_x, outer_x = _split(x, -1)
    inner_y, outer_y = _split(y, -2)
    clean = all(-2 not in varying(f) for f in inner_x) and all(-1 not in varying(f) for f in inner_y)
    if len(inner_x) == len(inner_y) == 1 and clean:
        rows, columns = inner_x[0][..., 0, :], inner_y[0][..., :, 0]
        atoms.unite(rows, columns)
        joint = np.broadcast_arrays(rows, columns)[0]
        atoms.count(joint.reshape(-1, joint.shape[-1]))
    else:
        for factor in (*inner_x, *inner_y):
            atoms.pin(factor, reason)
    factors = []
    for factor in (*outer_x, *outer_y):
        if any(axis < -2 for axis in varying(factor)):  # one product for every place of a batch
            own = -2 if any(factor is each for each in outer_x) else -1
            atoms.count(_fibres(factor, {own}))
        factors.append(_to_rank(factor, len(shape)))
    return Value(shape, tuple(factors))


def _split(value: Value, axis: int) -> tuple[list[Ids], list[Ids]]:
    inner = [factor for factor in value.factors if axis in varying(factor)]
    return inner, [factor for factor in value.factors if axis not in varying(factor)]


def _fibres(factor: Ids, axes: set[int]) -> Ids:
    """Rows of entries along ``axes``, one row for every place of the other axes."""
    last = sorted(axes)
    moved_ = np.moveaxis(factor, last, range(-len(last), 0))
    return moved_.reshape(math.prod(moved_.shape[: moved_.ndim - len(last)]), -1)


def _dropped(factor: Ids, axes: set[int]) -> Ids:
    return factor.squeeze(tuple(axes))


def _to_rank(factor: Ids, rank: int) -> Ids:
    return factor.reshape((1,) * (rank - factor.ndim) + factor.shape)


def _compressed(ids: torch.Tensor) -> Ids:
    """Keep one entry along axes where all are the same."""
    array = ids.numpy()
    for axis in range(array.ndim):
        first = array.take([0], axis=axis) if array.shape[axis] else array
        if array.shape[axis] > 1 and bool((array == first).all()):
            array = first
    return np.ascontiguousarray(array)
