"""N:M pruning at random that is right on average, with the least variance: for gradients.

Rounding a gradient to its largest entries shifts it the same way in every step. An estimator that keeps at
most n entries of every m, and whose mean is the gradient, does not; of all of those, the one here has the
least variance.

If entry i of a group is kept with probability p_i, it must be worth ``v_i / p_i`` on average where it is
kept for the mean to be right, so that its variance is at least ``v_i**2 / p_i - v_i**2`` (Jensen's
inequality), with equality if it is worth just that. At most n are kept, so the p_i add up to n at most.
The least sum of ``v_i**2 / p_i`` under that is at ``p_i = min(1, |v_i| / level)``, with the level at
which they add up to n: the derivatives ``-v_i**2 / p_i**2`` are then equal wherever p_i < 1, and larger
in size where it is 1. Any such p_i can be had with n entries in every draw: laid end to end they cover
an interval of length n, in which points at distance 1, the first of them drawn from [0, 1), meet each
one with its probability, at most once.

For 1:2 and 2:4 these are the estimators of Chmiel, Hubara, Banner, Soudry. Minimum Variance Unbiased N:M
Sparsity for the Neural Gradients. ICLR 2023, where the probabilities of pairs are given case by case.
"""

from __future__ import annotations

from typing import Any

from ..pattern import Pattern
from .space import Space

__all__ = ["probabilities", "sample"]


def probabilities(values: Any, pattern: Pattern | str) -> Any:
    """Probability with which `sample` keeps each entry.

    Parameters
    ----------
    values : array of real numbers, any shape
    pattern : Pattern or str
        One-directional, such as ``"2:4"``; the last group is filled up with zeros if need be.

    Returns
    -------
    array of float32 or float64, shape of ``values``
        They add up to n in every group, or to the number of its entries that are not zero. 0 for values
        that are not finite, which `sample` leaves as they are.

    Raises
    ------
    TypeError, ValueError
        If ``values`` does not hold real numbers, or the pattern is transposable or has another axis.

    Examples
    --------
    >>> probabilities([3.0, -1.0, 0.0, 1.0], "1:4")
    array([0.6, 0.2, 0. , 0.2])
    >>> probabilities([3.0, -1.0, 0.0, 1.0], "2:4")
    array([1. , 0.5, 0. , 0.5])
    """
    groups = _Groups.of(values, pattern)
    with groups.space.open():
        xp, size = groups.space.xp, groups.sizes()
        sure, level = _levels(xp, size, groups.pattern.n)
        return groups.back(_chances(xp, size, sure, level))


def sample(values: Any, pattern: Pattern | str, draws: Any) -> Any:
    """Prune at random to n:m so that the mean over the draws is ``values``, with the least variance.

    Parameters
    ----------
    values : array of real numbers, any shape
        Values that are not finite come out as they are.
    pattern : Pattern or str
        As for `probabilities`.
    draws : array of real numbers in [0, 1)
        One for each group: the shape of ``values`` with the length of the grouped axis divided by m, rounded
        up. Uniform and independent.

    Returns
    -------
    array of float32 or float64, shape of ``values``
        At most n of every m entries are not zero.

    Raises
    ------
    TypeError, ValueError
        As `probabilities`, and if ``draws`` has another shape.

    Examples
    --------
    >>> sample([3.0, -1.0, 0.0, 1.0], "2:4", [0.2])
    array([ 3., -2.,  0.,  0.])
    >>> sample([3.0, -1.0, 0.0, 1.0], "2:4", [0.7])
    array([3., 0., 0., 2.])
    """
    groups = _Groups.of(values, pattern)
    space = groups.space
    with space.open():
        xp, signed, size = space.xp, groups.values, groups.sizes()
        sure, level = _levels(xp, size, groups.pattern.n)
        starts = groups.draws(draws)
        chosen = _systematic(xp, _chances(xp, size, sure, level), sure, starts, groups.pattern.n)
        drawn = xp.where(chosen, xp.sign(signed) * level[..., None], xp.zeros_like(signed))
        return groups.back(xp.where(sure | ~xp.isfinite(signed), signed, drawn))


def _levels(xp: Any, size: Any, n: int) -> tuple[Any, Any]:
    """Find which entries of each group are kept for sure, and the level that divides the others' size.

    The sizes of the others add up to as many levels as there is room for others. An entry above the level is
    kept for sure; without it the level falls, so that more may be above. With room for one other the level is
    the sum of all that are left, and none is above: there are n - 1 rounds at most.
    """
    nothing, sure, room = xp.zeros_like(size), size < 0, n
    for _ in range(n):
        level = xp.sum(xp.where(sure, nothing, size), axis=-1) / room
        sure = size > level[..., None]
        # Rounding may put more entries above the level than there is room for, such as n equal ones.
        room = xp.clip(n - xp.sum(xp.astype(sure, size.dtype), axis=-1), 1, n)
    return (size >= level[..., None]) & (size > 0), level


def _chances(xp: Any, size: Any, sure: Any, level: Any) -> Any:
    divisor = xp.where(level > 0, level, xp.ones_like(level))  # a level of 0 has zeros below it
    return xp.where(sure, xp.ones_like(size), size / divisor[..., None])


def _systematic(xp: Any, chances: Any, sure: Any, starts: Any, n: int) -> Any:
    """Choose among the entries that are not kept for sure, as many as their chances add up to."""
    certain = xp.sum(xp.astype(sure, chances.dtype), axis=-1)
    end, before, chosen = xp.zeros_like(starts), xp.ceil(-starts), []
    for place in range(chances.shape[-1]):
        step = xp.where(sure[..., place], xp.zeros_like(end), chances[..., place])
        # Rounding must not lead past the end, where there is one entry too many.
        end = xp.where(end + step > n - certain, n - certain, end + step)
        after = xp.ceil(end - starts)
        chosen.append(after > before)
        before = after
    return xp.stack(chosen, axis=-1)


class _Groups:
    """Values seen as groups of m along the last axis, filled up with zeros at the end."""

    def __init__(self, space: Space, pattern: Pattern) -> None:
        self.space, self.pattern, self.shape = space, pattern, tuple(space.like.shape)
        if pattern.transposable:
            raise ValueError(f"pattern must be one-directional, got '{pattern}'")
        axes = len(self.shape)
        if not -axes <= pattern.axis < axes:
            raise ValueError(
                f"values must have the axis {pattern.axis} of '{pattern}', got shape {self.shape}"
            )
        xp = space.xp
        moved = xp.moveaxis(xp.astype(space.like, space.dtype), pattern.axis, -1)
        self.moved = tuple(moved.shape)
        self.count = -(-self.moved[-1] // pattern.m)
        missing = self.count * pattern.m - self.moved[-1]
        if missing:
            moved = xp.concat([moved, space.zeros(*self.moved[:-1], missing)], axis=-1)
        self.values = xp.reshape(moved, (*self.moved[:-1], self.count, pattern.m))

    @classmethod
    def of(cls, values: Any, pattern: Pattern | str) -> _Groups:
        return cls(Space.of("values", values), Pattern.parse(pattern))

    def sizes(self) -> Any:
        """Give the sizes of the entries; 0 for those that are not finite and take no part in the choice."""
        xp, values = self.space.xp, self.values
        return xp.abs(xp.where(xp.isfinite(values), values, xp.zeros_like(values)))

    def draws(self, draws: Any) -> Any:
        axis = self.pattern.axis % len(self.shape)
        expected = (*self.shape[:axis], self.count, *self.shape[axis + 1 :])
        found = self.space.here("draws", draws)
        if tuple(found.shape) != expected:
            raise ValueError(
                f"draws must have shape {expected}, one for each group, got {tuple(found.shape)}"
            )
        xp = self.space.xp
        return xp.moveaxis(xp.astype(found, self.space.dtype), self.pattern.axis, -1)

    def back(self, groups: Any) -> Any:
        xp = self.space.xp
        flat = xp.reshape(groups, (*self.moved[:-1], self.count * self.pattern.m))
        return xp.moveaxis(flat[..., : self.moved[-1]], -1, self.pattern.axis)
