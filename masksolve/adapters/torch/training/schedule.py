"""Schedules: how many weights are kept at each step of a gradual pruning."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import masksolve as ms

Schedule = Callable[[int], float]
"""From the number of optimizer steps to the share of weights that are kept."""


@dataclass(frozen=True)
class CubicRamp:
    """A density that falls fast at first and slowly at the end.

    ``final + (initial - final) * (1 - (step - begin) / steps) ** 3``, constant before and after.

    Parameters
    ----------
    final : float
        Share of weights kept at the end, usually ``pattern.density``.
    steps : int
        Length of the ramp, in optimizer steps.
    begin : int
        Step at which it begins.
    initial : float
        Share of weights kept before it; 1 is dense.

    Raises
    ------
    ValueError
        If not ``0 < final <= initial <= 1``, or ``steps < 1``, or ``begin < 0``.

    References
    ----------
    Zhu, Gupta. To prune, or not to prune: exploring the efficacy of pruning for model compression.
    2017, equation 1.

    Examples
    --------
    >>> ramp = CubicRamp(final=0.5, steps=100)
    >>> [ramp(step) for step in (0, 50, 100, 1000)]
    [1.0, 0.5625, 0.5, 0.5]
    """

    final: float
    steps: int
    begin: int = 0
    initial: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.final <= self.initial <= 1:
            raise ValueError(
                f"final and initial must be densities with 0 < final <= initial <= 1, "
                f"got final={self.final}, initial={self.initial}"
            )
        if self.steps < 1 or self.begin < 0:
            raise ValueError(
                f"steps must be positive and begin not negative, got steps={self.steps}, begin={self.begin}"
            )

    def __call__(self, step: int) -> float:
        """Return the share of weights kept after ``step`` optimizer steps."""
        left = 1 - min(max((step - self.begin) / self.steps, 0.0), 1.0)
        return self.final + (self.initial - self.final) * left**3


def pattern_at(pattern: ms.Pattern, schedule: Schedule | None, step: int) -> ms.Pattern:
    """Return the pattern of a step: as ``pattern``, with the least n that reaches the density.

    n is never below that of ``pattern`` and never above m.

    Raises
    ------
    ValueError
        If the schedule returns anything but a number between 0 and 1.
    """
    if schedule is None:
        return pattern
    density = schedule(step)
    if not isinstance(density, (int, float)) or not 0 <= density <= 1:
        raise ValueError(f"density must return a number between 0 and 1, got {density!r} for step {step}")
    return pattern.relaxed(density)
