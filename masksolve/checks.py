"""Checks of single arguments, shared by everything that takes some.

Each returns its value, or raises an error that names the argument, the value and what was expected.
Arrays are checked in `masksolve.arrays`.
"""

from __future__ import annotations

import difflib
import inspect
import math
import operator
from collections.abc import Callable, Iterable, Mapping
from numbers import Real
from types import MappingProxyType
from typing import Any, TypeVar, cast

Chosen = TypeVar("Chosen", bound=str)

_NONE: Mapping[str, str] = MappingProxyType({})


def integer(name: str, value: object, *, least: int | None = None, most: int | None = None) -> int:
    """``value`` as an int; only integers (NumPy's included, bool excluded) between the limits will do."""
    try:
        if isinstance(value, bool):
            raise TypeError
        number = operator.index(cast(Any, value))
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {value!r}") from None
    _within(name, number, least, most)
    return number


def boolean(name: str, value: object) -> bool:
    """``value`` if it is True or False."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, got {value!r}")
    return value


def number(
    name: str,
    value: object,
    *,
    above: float | None = None,
    least: float | None = None,
    most: float | None = None,
) -> float:
    """``value`` as a float; only finite real numbers (bool excluded) between the limits will do."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a number, got {value!r}")
    if not math.isfinite(value):
        raise ValueError(f"{name} must be finite, got {value}")
    value = float(value)
    if above is not None and not value > above:
        raise ValueError(f"{name} must be above {above:g}, got {value}")
    _within(name, value, least, most)
    return value


def choice(
    name: str, value: object, choices: tuple[Chosen, ...], elsewhere: Mapping[str, str] = _NONE
) -> Chosen:
    """``value`` if it is one of the strings; ``elsewhere`` is as for `did_you_mean`."""
    if isinstance(value, str) and value in choices:
        return choices[choices.index(value)]
    expected = f"{name} must be one of {', '.join(map(repr, choices))}"
    if not isinstance(value, str):
        raise TypeError(f"{expected}; got {value!r}")
    raise ValueError(f"{expected}; got {value!r}{did_you_mean(value, choices, elsewhere)}")


def did_you_mean(value: str, known: Iterable[str], elsewhere: Mapping[str, str] = _NONE) -> str:
    """Words that end an error message with the nearest known name, in any case; empty if none is near.

    ``elsewhere`` maps what other tools and papers call something to its name here. Misspelling such a word
    finds that name as well.
    """
    names = {**elsewhere, **{name.lower(): name for name in known}}
    near = difflib.get_close_matches(value.lower(), list(names), 1)
    return f"; did you mean {names[near[0]]!r}?" if near else ""


def known_options(
    whose: str,
    options: Iterable[str],
    known: Iterable[str],
    hint: Callable[[str], str] | None = None,
    *,
    beside: Iterable[str] = (),
) -> None:
    """Refuse keyword arguments that nobody would take, before they are handed on.

    Parameters
    ----------
    whose : str
        What takes them, as the message begins.
    options : iterable of str
        Names that were given.
    known : iterable of str
        Names that are taken.
    hint : callable, optional
        Words that end the message about a name; by default the nearest name, as by `did_you_mean`.
    beside : iterable of str
        Names of other arguments, which a misspelt option may have meant as well.

    Raises
    ------
    TypeError
        If one is not known; the message names the nearest one.
    """
    known = sorted(known)
    for name in sorted(set(options) - set(known)):
        end = did_you_mean(name, [*known, *beside]) if hint is None else hint(name)
        raise TypeError(f"{whose} has no option {name!r}; its options are {known}{end}")


def keywords_of(function: Callable[..., Any]) -> list[str]:
    """Names of a function's keyword arguments.

    Examples
    --------
    >>> keywords_of(boolean), keywords_of(integer)
    ([], ['least', 'most'])
    """
    parameters = inspect.signature(function).parameters.values()
    return [each.name for each in parameters if each.kind is inspect.Parameter.KEYWORD_ONLY]


def _within(name: str, value: float, least: float | None, most: float | None) -> None:
    if least is not None and most is not None and not least <= value <= most:
        raise ValueError(f"{name} must be between {least:g} and {most:g}, got {value:g}")
    if least is not None and value < least:
        raise ValueError(f"{name} must be at least {least:g}, got {value:g}")
    if most is not None and value > most:
        raise ValueError(f"{name} must be at most {most:g}, got {value:g}")
