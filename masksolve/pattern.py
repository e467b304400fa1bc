"""The pattern: how many of each M consecutive entries are kept, and along which axes."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal, overload

from .amounts import COLUMNS, LARGEST_VECTOR, Budget, check_budget, column_budget
from .checks import boolean, choice, integer
from .misfit import Misfit
from .wording import LIKE, describe_wrong_type, guess, read

Constraint = Literal["exact", "at_most"]
Remainder = Literal["error", "pad", "dense"]

LARGEST_AXES = 61
"""NumPy's 64 axes, less those that cutting into tiles adds."""

_ROUNDING = 1e-9
"""How much a density may exceed a multiple of 1 / m and still count as it."""
_CONSTRAINTS = ("exact", "at_most")
_REMAINDERS = ("error", "pad", "dense")


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
    columns : (int, int) or None
        The columns' own n and m, for a transposable pattern whose columns follow another n:m than its
        rows: tiles are then as high as the columns' m and as wide as the rows'. It implies
        ``transposable``; None, and the rows' own (n, m), mean that columns follow the rows' n:m. Rows and
        columns that keep exactly their n must keep the same share, n / m.
    pair : bool
        Whether entries are kept in pairs: along every axis on which groups run, entries 2 k and 2 k + 1
        are both kept or both dropped. ``n`` and ``m`` still count entries and must be even. Under a
        transposable pattern that makes blocks of 2 by 2 entries, since the transpose wants pairs as well.
    vector : int or None
        V of the pattern V:N:M (VENOM, Castro et al. 2023, arXiv:2310.02065): the last two axes are cut into
        tiles of V rows and m columns; the rows of a tile all use the same four of its columns, and each
        keeps ``n`` = 2 of these four, so that 2:4 hardware runs it with the columns gathered.

    Raises
    ------
    TypeError
        If an argument has the wrong type.
    ValueError
        If a value is out of range, or if no mask can follow the pattern.

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
    >>> Pattern(2, 4, columns=(4, 8))
    Pattern('2:4 x 4:8', keep 2 of 4 in rows and 4 of 8 in columns, 50% zeros)
    >>> Pattern("4:8 pair")
    Pattern('4:8 pair', keep 4 of 8 in pairs, 50% zeros)
    >>> Pattern("64:2:8") == Pattern(2, 8, vector=64)
    True
    """

    n: int
    m: int
    transposable: bool = False
    constraint: Constraint = "exact"
    axis: int = -1
    remainder: Remainder = "error"
    columns: Budget | None = None
    pair: bool = False
    vector: int | None = None

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
        columns: tuple[int, int] | None = None,
        pair: bool = False,
        vector: int | None = None,
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
        columns: tuple[int, int] | None = None,
        pair: bool = False,
        vector: int | None = None,
    ) -> None:
        if isinstance(n, str):
            others = (m, transposable, constraint, axis, remainder, columns, pair, vector)
            if others != (None, False, "exact", -1, "error", None, False, None):
                raise TypeError(f"a pattern in words takes no other argument; write them in the text {n!r}")
            object.__setattr__(self, "__dict__", dict(vars(_parsed(n))))
            return
        own = column_budget(columns)
        rows = Budget(integer("n", n), integer("m", m))
        values = {
            "n": rows.n,
            "m": rows.m,
            "transposable": boolean("transposable", transposable) or own is not None,
            "constraint": choice("constraint", constraint, _CONSTRAINTS),
            "axis": integer("axis", axis),
            "remainder": choice("remainder", remainder, _REMAINDERS),
            "columns": None if own == rows else own,
            "pair": boolean("pair", pair),
            "vector": None if vector is None else integer("vector", vector, least=1, most=LARGEST_VECTOR),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)
        self._check()

    def _check(self) -> None:
        """Refuse numbers that are out of range, or that do not go together."""
        check_budget(Budget(self.n, self.m), "")
        if self.columns is not None:
            check_budget(self.columns, "the columns' ")
        if self.vector is not None:
            self._check_vector()
        if self.transposable and self.axis != -1:
            raise ValueError(
                f"axis belongs to one-directional patterns; a transposable pattern works on the last "
                f"two axes, got axis={self.axis}"
            )
        budgets = self.budgets.values()
        if self.constraint == "exact" and len({Fraction(n, m) for n, m in budgets}) > 1:
            raise ValueError(
                f"rows and columns that keep exactly their n must keep the same share, got {self.n}:{self.m} "
                f"in rows and {self.columns} in columns; use constraint='at_most'"
            )
        if self.pair and any(number % 2 for budget in budgets for number in budget):
            raise ValueError(f"n and m must be even for pairs, got {' x '.join(map(str, budgets))}")

    def _check_vector(self) -> None:
        if self.transposable or self.pair or self.axis != -1:
            words = "transposable, columns, pair and axis must be left alone"
            raise ValueError(f"a pattern V:N:M runs along the last two axes; {words}, got '{self}'")
        if self.n != COLUMNS // 2 or self.m < COLUMNS:
            numbers = f"n={self.n}, m={self.m}"
            raise ValueError(f"a pattern V:N:M keeps n=2 of four columns out of m >= 4, got {numbers}")

    @classmethod
    def parse(cls, text: str | tuple[int, int] | Pattern) -> Pattern:
        """Read a pattern from text; a Pattern is returned as it is.

        Parameters
        ----------
        text : str, pair of int, or Pattern
            ``"n:m"``, ``"n:m-T"``, ``"n:m x n:m"`` (rows x columns) or ``"V:2:m"``, optionally followed by
            the words ``pair``, ``at_most``, ``pad`` or ``dense``, and ``axis=K``, separated by single
            spaces; or ``(n, m)``.

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
        ValueError: pattern must look like '2:4', '4:8-T', '2:4 x 4:8' or '64:2:8' (kept:group, -T for \
transposable, rows x columns, V:kept:group), optionally followed by 'pair', 'at_most', 'pad' or 'dense', \
'axis=K'; got '4:8t'; did you mean '4:8-T'?
        """
        if isinstance(text, Pattern):
            return text
        if isinstance(text, tuple) and len(text) == 2 and not any(isinstance(part, str) for part in text):
            return cls(*text)
        if not isinstance(text, str):
            raise TypeError(describe_wrong_type(text))
        return _parsed(text)

    @property
    def axes(self) -> tuple[int, ...]:
        """Axes along which tiles extend."""
        return tuple(self.tile_lengths)

    @property
    def is_plane(self) -> bool:
        """Whether tiles have rows and columns, on the last two axes; others are groups on one axis."""
        return self.transposable or self.vector is not None

    @property
    def tile_lengths(self) -> dict[int, int]:
        """Entries of a whole tile along each axis on which it extends."""
        height, width = self.tile_shape
        return {-2: height, -1: width} if self.is_plane else {self.axis: width}

    @property
    def budgets(self) -> dict[int, Budget]:
        """What the groups along each axis keep. Rows are groups along the last axis, columns along axis -2.

        Examples
        --------
        >>> Pattern("2:4 x 4:8").budgets
        {-2: Budget(n=4, m=8), -1: Budget(n=2, m=4)}
        """
        rows = Budget(self.n, self.m)
        return {-2: self.columns or rows, -1: rows} if self.transposable else {self.axis: rows}

    @property
    def tile_shape(self) -> tuple[int, int]:
        """Rows and columns of a whole tile; a group along any axis is a tile of one row."""
        return ((self.columns or self).m if self.transposable else self.vector or 1), self.m

    @property
    def lines(self) -> tuple[int, int]:
        """Row prices and column prices of a whole tile; groups have one price and no columns'.

        Two lines whose entries are pairs share a price. Which columns V:N:M uses is proven without prices.
        """
        if self.vector is not None:
            return 0, 0
        height, width = self.tile_shape
        unit = 2 if self.pair else 1
        return (height // unit, width // unit) if self.transposable else (1, 0)

    @property
    def of_pairs(self) -> Pattern:
        """What pairs follow if each counts as one entry; see `masksolve.pairs`.

        Examples
        --------
        >>> print(Pattern("4:8-T pair").of_pairs)
        2:4-T
        """
        if not self.pair:
            return self
        columns = None if self.columns is None else Budget(self.columns.n // 2, self.columns.m // 2)
        remainder: Remainder = "error" if self.remainder == "dense" else self.remainder
        return replace(self, n=self.n // 2, m=self.m // 2, columns=columns, pair=False, remainder=remainder)

    @property
    def is_square(self) -> bool:
        """Whether rows and columns both follow n:m, in tiles of m by m."""
        return self.transposable and self.columns is None

    def relaxed(self, density: float) -> Pattern:
        """Keep more: the same pattern with the least n of rows and columns that reach a density.

        Parameters
        ----------
        density : float
            Between 0 and 1. No n falls below its own, nor exceeds its m.

        Examples
        --------
        >>> str(Pattern("2:4 x 4:8").relaxed(0.6)), str(Pattern("2:4 at_most").relaxed(0.0))
        ('3:4 x 6:8', '2:4 at_most')
        """
        if self.vector is not None:
            raise ValueError(f"pattern must have an n that can grow, got '{self}'")
        lengths = [m for _, m in self.budgets.values()]
        steps = lengths if self.constraint == "at_most" else [math.gcd(*lengths)] * len(lengths)
        unit = 2 if self.pair else 1
        *columns, rows = (
            max(n, m // (step // unit) * math.ceil(step // unit * density - _ROUNDING))
            for (n, m), step in zip(self.budgets.values(), steps, strict=True)
        )
        own = None if self.columns is None else Budget(columns[0], self.columns.m)
        return replace(self, n=rows, columns=own)

    def misfit(self, shape: tuple[int, ...]) -> Misfit | None:
        """Why the pattern cannot be laid on an array of this shape; None if it can.

        Parameters
        ----------
        shape : tuple of int

        Returns
        -------
        Misfit or None
            ``reason``, ``shape`` and ``remedy``; as text, they continue a sentence about the array.

        Examples
        --------
        >>> Pattern.parse("2:4").misfit((8, 6)).reason
        'has 6 entries along axis -1, which m=4 does not divide'
        >>> Pattern.parse("2:4 pad").misfit((8, 6))
        """
        least = 2 if self.is_plane else 1
        if not least <= len(shape) <= LARGEST_AXES:
            return Misfit(f"must have {least} to {LARGEST_AXES} axes for pattern '{self}'", shape)
        if not -len(shape) <= self.axis < len(shape):
            return Misfit(f"has no axis {self.axis}, along which '{self}' runs", shape)
        odd = [axis for axis in self.axes if shape[axis] % 2] if self.pair else []
        if odd and self.remainder == "pad":
            return Misfit(f"has {shape[odd[0]]} entries along axis {odd[0]}, which are no pairs", shape)
        if self.remainder != "error":
            return None
        for axis, length in self.tile_lengths.items():
            if shape[axis] % length:
                name = "m" if axis in self.budgets else "V"
                return Misfit(
                    f"has {shape[axis]} entries along axis {axis}, which {name}={length} does not divide",
                    shape,
                    "choose remainder='pad' or remainder='dense' in the pattern",
                )
        return None

    @property
    def density(self) -> float:
        """Share of entries kept at most, n / m; the smaller one of rows and columns."""
        return min(n / m for n, m in self.budgets.values())

    def __str__(self) -> str:
        across = f" x {self.columns}" if self.columns else "-T" if self.transposable else ""
        words = [f"{'' if self.vector is None else f'{self.vector}:'}{self.n}:{self.m}{across}"]
        if self.pair:
            words.append("pair")
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
        if self.columns is not None:
            where = f" in rows and {self.columns.n} of {self.columns.m} in columns"
        if self.vector is not None:
            where = f", in the same {COLUMNS} columns for {self.vector} rows"
        zeros = f"{share}{100 * (1 - self.density):.4g}% zeros"
        pairs = " in pairs" if self.pair else ""
        return f"Pattern('{self}', {amount} {self.n} of {self.m}{where}{pairs}, {zeros})"


@functools.lru_cache(maxsize=512)
def _parsed(text: str) -> Pattern:
    arguments = read(text)
    if arguments is None:
        raise ValueError(f"{LIKE}; got {text!r}{_hint(text)}")
    for n, m in ((arguments["n"], arguments["m"]), arguments.get("columns") or (1, 1)):
        if n > m > 0:
            raise ValueError(
                f"n must be between 1 and m={m} (the number of entries kept), got n={n} in "
                f"{text!r}{_hint(text)}"
            )
    return Pattern(**arguments)


def _hint(text: str) -> str:
    """Guess which pattern a text was meant to be; empty if nothing is near, or it would be none."""
    arguments = read(guess(text))
    try:
        return "" if arguments is None else f"; did you mean {str(Pattern(**arguments))!r}?"
    except ValueError:
        return ""
