"""How many of how many: the n and m of a group."""

from __future__ import annotations

from typing import NamedTuple

from .checks import integer

LARGEST_M = 64
LARGEST_VECTOR = 1024

COLUMNS = 4
"""Columns of a V:N:M tile that are used, and entries of them in a row that 2:4 hardware chooses from."""


class Budget(NamedTuple):
    """``n`` of every ``m`` consecutive entries along an axis are kept."""

    n: int
    m: int

    def __str__(self) -> str:
        return f"{self.n}:{self.m}"


def column_budget(columns: object) -> Budget | None:
    """Read a pair (n, m); TypeError if it is none."""
    if columns is None:
        return None
    if not isinstance(columns, (tuple, list)) or len(columns) != 2:
        raise TypeError(f"columns must be a pair (n, m) of integers or None, got {columns!r}")
    return Budget(integer("the columns' n", columns[0]), integer("the columns' m", columns[1]))


def check_budget(budget: Budget, whose: str) -> None:
    """Refuse numbers that are out of range; ``whose`` goes before their names."""
    n, m = budget
    if not 1 <= m <= LARGEST_M:
        raise ValueError(f"{whose}m must be between 1 and {LARGEST_M} (the group length), got m={m}")
    if not 1 <= n <= m:
        swapped = f"; to keep {m} of {n}, write n={m}, m={n}" if n > 1 else ""
        raise ValueError(
            f"{whose}n must be between 1 and m={m} (the number of entries kept), got n={n}{swapped}"
        )
