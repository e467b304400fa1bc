"""Patterns in pairs as patterns of sums.

Entries that are kept or dropped together count as one entry that is worth their sum, so an array under
``"4:8 pair"`` is an array of half as many columns under ``"2:4"``, and one under ``"4:8-T pair"`` an array of
blocks of 2 by 2 under ``"2:4-T"``. Every mask of the sums is a mask of the entries that keeps as much, and
the other way round, so that optimum, prices and proof carry over.

On the host the sums are made a few tiles at a time while these are solved (`masksolve.layout.paired`); in
other libraries they are an array.

The proof is of the true sums, although float64 may round them: a sum that is not exact is rounded upwards.
What no mask of the rounded sums exceeds, no mask of the entries does; and what a mask keeps of them is too
much by less than 2**-49 of the magnitudes that it keeps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .pattern import Pattern


def shape_of(pattern: Pattern, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of the array of pairs; what ``remainder="dense"`` keeps whole is left out of it."""
    lengths = _lengths(pattern, shape)
    return tuple(lengths[axis] // 2 if axis in lengths else length for axis, length in enumerate(shape))


def firsts(array: Any, pattern: Pattern) -> Any:
    """View the first entry of each pair, or of each block of two pairs."""
    return _joined(array, pattern, lambda first, _: first)


def apart(array: Any, pattern: Pattern) -> tuple[int, ...]:
    """Bytes from a first entry of a NumPy array to the other one, along each axis of pairs."""
    return tuple(array.strides[axis] for axis in _lengths(pattern, array.shape))


def sums(xp: Any, values: Any, pattern: Pattern) -> Any:
    """Add up the pairs of float64 values; no sum is below the true one."""
    return _joined(values, pattern, lambda one, other: _rounded_up(xp, one, other))


def touched(mask: Any, pattern: Pattern) -> Any:
    """Whether any entry of each pair is True."""
    return _joined(mask, pattern, lambda one, other: one | other)


def whole(mask: Any, pattern: Pattern) -> Any:
    """Whether all entries of each pair are True."""
    return _joined(mask, pattern, lambda one, other: one & other)


def spread(xp: Any, mask: Any, pattern: Pattern, shape: tuple[int, ...]) -> Any:
    """Mask of an array of this shape from one of its pairs; what is left over at the edges is kept."""
    for axis in _lengths(pattern, shape):
        twice = xp.stack([mask, mask], axis=axis + 1)
        mask = xp.reshape(twice, (*mask.shape[:axis], 2 * mask.shape[axis], *mask.shape[axis + 1 :]))
        over = shape[axis] - mask.shape[axis]
        if over:
            edge = (*mask.shape[:axis], over, *mask.shape[axis + 1 :])
            mask = xp.concat([mask, xp.ones(edge, dtype=xp.bool, device=mask.device)], axis=axis)
    return mask


def _lengths(pattern: Pattern, shape: tuple[int, ...]) -> dict[int, int]:
    """Entries that are paired along each paired axis, counted from the front."""
    found = {}
    for axis, (_, m) in pattern.budgets.items():
        length = shape[axis]
        found[axis % len(shape)] = length // m * m if pattern.remainder == "dense" else length
    return found


def _joined(array: Any, pattern: Pattern, join: Callable[[Any, Any], Any]) -> Any:
    """Join neighbours along every paired axis."""
    for axis, length in _lengths(pattern, tuple(array.shape)).items():
        before = (slice(None),) * axis
        array = join(array[(*before, slice(0, length, 2), ...)], array[(*before, slice(1, length, 2), ...)])
    return array


def _rounded_up(xp: Any, one: Any, other: Any) -> Any:
    """Sum of two numbers, or the least that is certainly above it where float64 does not hold it.

    What rounding has left out is itself a float64 number (Knuth, The Art of Computer Programming, volume 2,
    section 4.2.2, theorem B). The step up is one or two units in the last place; sums of denormal numbers
    need none.
    """
    total = one + other
    second = total - one
    lost = (one - (total - second)) + (other - second)
    return xp.where(lost > 0, total + xp.abs(total) * 2.0**-52, total)
