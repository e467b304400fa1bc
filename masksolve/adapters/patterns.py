"""Which pattern each weight of a model follows: one for all, or one by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import masksolve as ms
from masksolve.pruning.projection import layer_pattern

Patterns = ms.Pattern | str | Mapping[str, ms.Pattern | str]
"""A pattern; or patterns by names or wildcards, the first of which that fits a weight counts."""

DENSE = "dense"
"""What stands in place of a pattern for weights that are to be left alone."""


@dataclass(frozen=True)
class LayerPatterns:
    """Patterns by names or wildcards of weights.

    Attributes
    ----------
    rules : tuple of (str, Pattern or None)
        The first one whose name fits counts; None leaves a weight dense.
    alone : bool
        Whether one pattern was given for all weights.
    """

    rules: tuple[tuple[str, ms.Pattern | None], ...]
    alone: bool

    @classmethod
    def of(cls, pattern: Patterns, *, any_axis: bool = False) -> LayerPatterns:
        """Read what a caller gave as ``pattern``.

        Parameters
        ----------
        pattern : Pattern or str, or mapping from str to them
        any_axis : bool
            Whether axes may be counted from the front, as `masksolve.solve` takes them. By default groups
            run along the last axis or the one before, so that they can be turned with a layer's matrix.

        Raises
        ------
        TypeError, ValueError
            If it holds something that is no pattern for weights, or nothing.

        Examples
        --------
        >>> print(LayerPatterns.of({"0": "2:4", "*": "dense"}))
        {'0': '2:4', '*': 'dense'}
        """
        parse = ms.Pattern.parse if any_axis else layer_pattern
        if not isinstance(pattern, Mapping):
            return cls((("*", parse(pattern)),), True)
        for glob in pattern:
            if not isinstance(glob, str):
                raise TypeError(f"pattern must be a pattern, or patterns by names of layers, got {glob!r}")
        rules = tuple((glob, None if of == DENSE else parse(of)) for glob, of in pattern.items())
        if all(each is None for _, each in rules):
            raise ValueError(f"pattern must name a layer to prune, got {dict(pattern)}")
        return cls(rules, False)

    def check_names(self, weights: Sequence[Sequence[str]]) -> None:
        """Refuse a name that fits none of the weights, which is most likely misspelt.

        Raises
        ------
        ValueError
            If there is one.
        """
        if not self.alone:
            check_names("pattern", [glob for glob, _ in self.rules], weights)

    @property
    def first(self) -> ms.Pattern:
        """The first pattern."""
        return next(each for _, each in self.rules if each is not None)

    def of_weight(self, names: Iterable[str]) -> ms.Pattern | str:
        """Give the pattern of a weight of these names, or say why it has none."""
        own = tuple(names)
        for glob, pattern in self.rules:
            if any(fnmatchcase(name, glob) for name in own):
                return f"is '{DENSE}' in pattern=" if pattern is None else pattern
        return "has no pattern in pattern="

    def __str__(self) -> str:
        if self.alone:
            return str(self.first)
        return str({glob: DENSE if each is None else str(each) for glob, each in self.rules})


def check_names(argument: str, globs: Iterable[str], weights: Sequence[Sequence[str]]) -> None:
    """Refuse a name or wildcard that fits none of the weights.

    Parameters
    ----------
    argument : str
        Whose names these are.
    globs : iterable of str
    weights : sequence of sequences of str
        Each weight's names; the first of them is shown.

    Raises
    ------
    ValueError
        If there is one.
    """
    for glob in globs:
        if not any(fnmatchcase(name, glob) for names in weights for name in names):
            raise ValueError(
                f"{argument}: {glob!r} matches no weight of two axes or more; there are "
                f"{[names[0] for names in weights[:8]]}"
            )


def refuse_names(pattern: object, reason: str) -> None:
    """Refuse patterns by names where only one pattern makes sense.

    Raises
    ------
    ValueError
        If ``pattern`` is a mapping.
    """
    if isinstance(pattern, Mapping):
        raise ValueError(f"pattern must be one pattern, {reason}, got {dict(pattern)}")
