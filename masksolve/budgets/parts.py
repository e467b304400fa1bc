"""Arrays as callers hold them: by name, one after the other, or a single one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from .. import checks
from ..frameworks import framework_of


@dataclass(frozen=True)
class Form:
    """The form in which arrays came, so that answers can be handed out in it.

    Attributes
    ----------
    shapes : tuple of tuple of int
        Of the arrays.
    names : tuple or None
        Keys of a mapping; None: they came as a sequence, or as a single array.
    single : bool
        Whether a single array came.
    """

    shapes: tuple[tuple[int, ...], ...]
    names: tuple[Any, ...] | None = None
    single: bool = False

    @property
    def entries(self) -> int:
        """Entries of all arrays."""
        return sum(map(math.prod, self.shapes))

    def called(self, number: int) -> str:
        """Name an array in an error message."""
        return _called(number, self.names, single=self.single)

    def answer(self, values: Sequence[Any]) -> Any:
        """One value for each array, in the form in which the arrays came."""
        if self.single:
            return values[0]
        return tuple(values) if self.names is None else dict(zip(self.names, values, strict=True))

    def listed(self, answer: Any) -> list[Any]:
        """Undo `answer`."""
        if self.single:
            return [answer]
        return list(answer if self.names is None else answer.values())

    def same(self, arrays: Any) -> list[Any]:
        """Take other arrays of the same form, such as weights for scores.

        Raises
        ------
        TypeError, ValueError
            If names, number or shapes differ.
        """
        form, found = taken(arrays)
        if form != self:
            raise ValueError(f"scores must be those that were given before, {self}, got {form}")
        return found


def taken(scores: Any) -> tuple[Form, list[Any]]:
    """Take the arrays of a mapping or of a sequence, or a single array.

    Raises
    ------
    TypeError
        If it is none of these, or holds something else than arrays.
    ValueError
        If it is empty.
    """
    names: tuple[Any, ...] | None = None
    single = framework_of(scores) is not None or hasattr(scores, "shape")
    if single:
        arrays = [scores]
    elif isinstance(scores, Mapping):
        names, arrays = tuple(scores), list(scores.values())
    elif isinstance(scores, Sequence) and not isinstance(scores, (str, bytes)):
        arrays = list(scores)
    else:
        raise TypeError(
            f"scores must be arrays by name, a sequence of arrays, or an array, got {type(scores).__name__}"
        )
    if not arrays:
        raise ValueError("scores must hold at least one array, got none")
    for number, array in enumerate(arrays):
        if not hasattr(array, "shape"):
            raise TypeError(
                f"{_called(number, names, single=single)} must be an array, got {type(array).__name__}"
            )
    return Form(tuple(tuple(array.shape) for array in arrays), names, single), arrays


def kept_entries(sparsity: object, entries: int) -> int:
    """Count the entries that are left if a share of them, taken as the decimal that was written, is zero."""
    share = checks.number("sparsity", sparsity, least=0.0, most=1.0)
    return math.floor((1 - Fraction(repr(share))) * entries)


def _called(number: int, names: tuple[Any, ...] | None, *, single: bool) -> str:
    if single:
        return "scores"
    return f"scores[{number if names is None else repr(names[number])}]"
