"""Order statistics of many short lists at once, by comparators instead of branches.

The lists stand side by side: lane k is an array of every list's k-th number. A sorting network
compares whole lanes, and of its comparators only those remain that the wanted ranks depend on. They
grow as m log(m)**2: for a hundred numbers, not for thousands.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple


class Comparator(NamedTuple):
    """Lanes to compare; the larger goes to ``high``, the smaller to ``low``, if anyone asks for it."""

    high: int
    low: int
    wants_larger: bool
    wants_smaller: bool


def largest(xp: Any, lanes: Sequence[Any], ranks: Sequence[int]) -> list[Any]:
    """Return each list's number of every rank; rank 0 is the largest.

    Parameters
    ----------
    xp : namespace of the array-API standard
    lanes : sequence of m arrays of one shape
        Without NaN.
    ranks : sequence of int
        Between 0 and m - 1.

    References
    ----------
    Batcher. Sorting networks and their applications. AFIPS 1968; merge exchange as in Knuth, The Art
    of Computer Programming 3, 5.2.2, algorithm M.
    """
    held = list(lanes)
    for high, low, wants_larger, wants_smaller in network(len(held), tuple(ranks)):
        one, other = held[high], held[low]
        if wants_larger:
            held[high] = xp.maximum(one, other)
        if wants_smaller:
            held[low] = xp.minimum(one, other)
    return [held[rank] for rank in ranks]


@lru_cache(maxsize=128)
def network(length: int, ranks: tuple[int, ...]) -> tuple[Comparator, ...]:
    """List the comparators, in order, that bring the numbers of the wanted ranks into their lanes."""
    wanted = set(ranks)
    chosen = []
    for high, low in reversed(list(_merge_exchange(length))):
        if high in wanted or low in wanted:
            chosen.append(Comparator(high, low, high in wanted, low in wanted))
            wanted |= {high, low}
    return tuple(reversed(chosen))


def _merge_exchange(length: int) -> Iterator[tuple[int, int]]:
    """Batcher's network for any number of lanes."""
    top = 1 << max(length - 1, 0).bit_length() >> 1
    p = top
    while p:
        q, r, distance = top, 0, p
        while distance:
            yield from ((i, i + distance) for i in range(length - distance) if i & p == r)
            distance, q, r = q - p, q >> 1, p
        p >>= 1
