"""The pattern: how many of each M consecutive entries are kept, and along which axes."""

from __future__ import annotations

import difflib
import functools
import re
from dataclasses import dataclass
from typing import Any, Literal, overload

from .checks import boolean, choice, integer

Constraint = Literal["exact", "at_most"]
Remainder = Literal["error", "pad", "dense"]

LARGEST_M = 64
LARGEST_AXES = 61
"""NumPy's 64 axes, less those that cutting into tiles adds."""

_CONSTRAINTS = ("exact", "at_most")
_REMAINDERS = ("error", "pad", "dense")
_WORDS = ("at_most", "pad", "dense")
_GRAMMAR = re.compile(r"(?P<n>\d{1,3}):(?P<m>\d{1,3})(?P<transposable>-T)?(?P<words>( \S+)*)")
_NEARLY = re.compile(r"(?P<n>\d{1,3})\s*(?::|/|-|x|of)\s*(?P<m>\d{1,3})[\s_-]*(?P<rest>.*)", re.DOTALL)
"""What a text that was meant as a pattern begins with; only used to guess what it was meant to say."""


@dataclass(frozen=True, init=False, repr=False)
class Pattern:
    """Keep ``n`` of every ``m`` consecutive entries.

    ``Pattern("4:8-T")``, one text alone, is short for ``Pattern.parse("4:8-T")``.

    Parameters
    ----------
    n : int
        Entries **kept** in each group, 1 <= n <= m.
    m : int
        Group length, at most 64.
    transposable : bool
        If true, the last two axes are cut into m-by-m tiles and every row *and* every column
        of every tile keeps ``n``, so that a matrix and its transpose both follow n:m
        (Hubara et al. 2021, section 3). If false, groups run along ``axis`` only.
    constraint : {"exact", "at_most"}
        Whether a group keeps exactly ``n`` or at most ``n`` entries. At most is all that
        sparse hardware needs; it admits more masks and never a worse optimum.
    axis : int
        Axis along which one-directional groups run; must be left alone for transposable patterns.
    remainder : {"error", "pad", "dense"}
        For shapes that ``m`` does not divide: refuse; cut the last group short (a whole group
        keeps exactly ``n``, a cut one at most ``n``; always feasible); or keep the tail whole.

    Raises
    ------
    TypeError
        If an argument has the wrong type.
    ValueError
        If a value is out of range.

    Examples
    --------
    >>> Pattern(4, 8, transposable=True)
    Pattern('4:8-T', keep 4 of 8 in rows and columns, 50% zeros)
    >>> Pattern("4:8-T") == Pattern(4, 8, transposable=True)
    True
    >>> print(Pattern.parse("2:4"))
    2:4
    >>> Pattern.parse("1:4-T at_most pad") == Pattern(
    ...     1, 4, transposable=True, constraint="at_most", remainder="pad")
    True
    """

    n: int
    m: int
    transposable: bool = False
    constraint: Constraint = "exact"
    axis: int = -1
    remainder: Remainder = "error"

    @overload
    def __init__(self, n: str, /) -> None: ...

    @overload
    def __init__(
        self,
        n: int,
        m: int,
        *,
        transposable: bool = False,
        constraint: Constraint = "exact",
        axis: int = -1,
        remainder: Remainder = "error",
    ) -> None: ...

    def __init__(
        self,
        n: int | str,
        m: int | None = None,
        *,
        transposable: bool = False,
        constraint: Constraint = "exact",
        axis: int = -1,
        remainder: Remainder = "error",
    ) -> None:
        if isinstance(n, str):
            if (m, transposable, constraint, axis, remainder) != (None, False, "exact", -1, "error"):
                raise TypeError(f"a pattern in words takes no other argument; write them in the text {n!r}")
            object.__setattr__(self, "__dict__", dict(vars(_parsed(n))))
            return
        values = {
            "n": integer("n", n),
            "m": integer("m", m),
            "transposable": boolean("transposable", transposable),
            "constraint": choice("constraint", constraint, _CONSTRAINTS),
            "axis": integer("axis", axis),
            "remainder": choice("remainder", remainder, _REMAINDERS),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)
        if not 1 <= self.m <= LARGEST_M:
            raise ValueError(f"m must be between 1 and {LARGEST_M} (the group length), got m={self.m}")
        if not 1 <= self.n <= self.m:
            swapped = f"; to keep {self.m} of {self.n}, write n={self.m}, m={self.n}" if self.n > 1 else ""
            raise ValueError(
                f"n must be between 1 and m={self.m} (the number of entries kept), got n={self.n}{swapped}"
            )
        if self.transposable and self.axis != -1:
            raise ValueError(
                f"axis belongs to one-directional patterns; a transposable pattern works on the last "
                f"two axes, got axis={self.axis}"
            )

    @classmethod
    def parse(cls, text: str | tuple[int, int] | Pattern) -> Pattern:
        """Read a pattern from text; a Pattern is returned as it is.

        Parameters
        ----------
        text : str, pair of int, or Pattern
            ``"n:m"`` or ``"n:m-T"``, optionally followed by the words ``at_most``, ``pad``,
            ``dense`` and ``axis=K``, separated by single spaces; or ``(n, m)``.

        Raises
        ------
        TypeError
            If ``text`` is none of these.
        ValueError
            If the string does not follow the grammar; the message guesses what was meant.

        Examples
        --------
        >>> Pattern.parse("4:8t")
        Traceback (most recent call last):
            ...
        ValueError: pattern must look like '2:4' or '4:8-T' (kept:group, -T for transposable), optionally \
followed by 'at_most', 'pad' or 'dense', 'axis=K'; got '4:8t'; did you mean '4:8-T'?
        """
        if isinstance(text, Pattern):
            return text
        if isinstance(text, tuple) and len(text) == 2:
            return cls(*text)
        if not isinstance(text, str):
            raise TypeError(
                f"pattern must be a Pattern or a string such as '2:4' or '4:8-T', got {type(text).__name__}"
            )
        return _parsed(text)

    @property
    def axes(self) -> tuple[int, ...]:
        """Axes along which groups run."""
        return (-2, -1) if self.transposable else (self.axis,)

    def misfit(self, shape: tuple[int, ...]) -> str | None:
        """Why the pattern cannot be laid on an array of this shape; None if it can.

        Parameters
        ----------
        shape : tuple of int

        Returns
        -------
        str or None
            A reason that continues a sentence about the array, such as "has 6 entries along axis -1, ...".

        Examples
        --------
        >>> Pattern.parse("2:4").misfit((8, 6)).split(";")[0]
        'has 6 entries along axis -1, which m=4 does not divide (shape (8, 6))'
        >>> Pattern.parse("2:4 pad").misfit((8, 6))
        """
        least = 2 if self.transposable else 1
        if not least <= len(shape) <= LARGEST_AXES:
            return f"must have {least} to {LARGEST_AXES} axes for pattern '{self}', got shape {shape}"
        if not -len(shape) <= self.axis < len(shape):
            return f"has no axis {self.axis}, along which '{self}' runs (shape {shape})"
        if self.remainder != "error":
            return None
        for axis in self.axes:
            if shape[axis] % self.m:
                return (
                    f"has {shape[axis]} entries along axis {axis}, which m={self.m} does not divide "
                    f"(shape {shape}); choose remainder='pad' or remainder='dense' in the pattern"
                )
        return None

    @property
    def density(self) -> float:
        """Share of entries kept, n / m."""
        return self.n / self.m

    def __str__(self) -> str:
        words = [f"{self.n}:{self.m}{'-T' if self.transposable else ''}"]
        if self.constraint != "exact":
            words.append(self.constraint)
        if self.remainder != "error":
            words.append(self.remainder)
        if self.axis != -1:
            words.append(f"axis={self.axis}")
        return " ".join(words)

    def __repr__(self) -> str:
        amount, share = ("keep", "") if self.constraint == "exact" else ("keep at most", "at least ")
        where = " in rows and columns" if self.transposable else ""
        zeros = f"{share}{100 * (1 - self.density):.4g}% zeros"
        return f"Pattern('{self}', {amount} {self.n} of {self.m}{where}, {zeros})"


@functools.lru_cache(maxsize=512)
def _parsed(text: str) -> Pattern:
    words = _read(text)
    if words is None:
        raise ValueError(
            f"pattern must look like '2:4' or '4:8-T' (kept:group, -T for transposable), optionally "
            f"followed by 'at_most', 'pad' or 'dense', 'axis=K'; got {text!r}{_hint(text)}"
        )
    if words["n"] > words["m"] > 0:
        raise ValueError(
            f"n must be between 1 and m={words['m']} (the number of entries kept), got n={words['n']} in "
            f"{text!r}{_hint(text)}"
        )
    return Pattern(**words)


def _read(text: str) -> dict[str, Any] | None:
    """Read the arguments of a pattern off its text; None if the text does not follow the grammar."""
    match = _GRAMMAR.fullmatch(text)
    if match is None or not text.isascii():
        return None
    options: dict[str, Any] = {}
    for word in match["words"].split():
        if word == "at_most" and "constraint" not in options:
            options["constraint"] = word
        elif word in ("pad", "dense") and "remainder" not in options:
            options["remainder"] = word
        elif re.fullmatch(r"axis=-?\d{1,2}", word) and "axis" not in options:
            options["axis"] = int(word.removeprefix("axis="))
        else:
            return None
    return {
        "n": int(match["n"]),
        "m": int(match["m"]),
        "transposable": match["transposable"] is not None,
        **options,
    }


def _hint(text: str) -> str:
    """Guess which pattern a text was meant to be; empty if nothing is near."""
    match = _NEARLY.fullmatch(text.strip().lower()) if text.isascii() else None
    if match is None:
        return ""
    least, most = sorted((int(match["n"]), int(match["m"])))
    guess, words = f"{least}:{most}", re.split(r"[\s,]+", match["rest"].replace("at most", "at_most"))
    if words[0] in ("t", "transpose", "transposed", "transposable"):
        guess += "-T"
        del words[0]
    for word in filter(None, words):
        near = [word] if word.startswith("axis=") else difflib.get_close_matches(word, _WORDS, 1)
        guess += f" {near[0]}" if near else " ?"  # which no pattern has
    return f"; did you mean {guess!r}?" if _read(guess) is not None and least >= 1 else ""
