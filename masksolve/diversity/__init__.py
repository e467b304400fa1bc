"""Mask diversity: how many masks a pattern admits, exactly and as published.

The paper (Hubara et al. 2021, Eq. 2 and supplement A.6) counts, for T entries,

    (a) unstructured    C(T, T N/M)
    (b) N:M             C(M, N)^(T/M)
    (c) transposable    (M! (M-1)! ... (M-N+1)!)^(T/M^2)
    (d) sequential      (M-N+1)^(T/M)

(a), (b) and (d) are exact. (c) is exact at N = 1 only. It builds a tile from N permutations laid
down one after the other, with M!, (M-1)!, ... choices. Many such sequences give the same tile,
so (c) overcounts (2:4: 144 for 90); but from M = 4 on the second permutation has more than (M-1)!
choices, so that at N = 2 and M >= 10 it falls short. The exact number is that of M by M 0/1
matrices whose rows and columns all sum to N.

N is the number before the colon. The paper lets it count the zeros, this package the kept
entries; exchanging zeros and ones shows that either way the number of masks is the same.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Literal

from ..amounts import COLUMNS
from ..arrays import check_shape
from ..checks import choice
from ..execution import Execution
from ..pairs import shape_of
from ..pattern import Pattern
from ..tiling import Region, tiling_of
from .counting import bounded, regular

Method = Literal["exact", "paper"]
Kind = Literal["pattern", "unstructured", "sequential"]


def count(
    pattern: Pattern | str,
    shape: Sequence[int],
    method: Method = "exact",
    *,
    kind: Kind = "pattern",
    workers: int = 1,
    progress: Callable[[int, int], object] | None = None,
) -> int:
    """Count the masks of an array.

    Parameters
    ----------
    pattern : Pattern or str
        For ``kind="pattern"``, ``constraint`` and ``remainder`` are honoured.
    shape : sequence of int
        Shape of the array, leading axes a batch.
    method : {"exact", "paper"}
        The true number, or Eq. 2 as published; they differ for transposable patterns only.
    kind : {"pattern", "unstructured", "sequential"}
        Masks that follow the pattern, Eq. 2 (b) or (c); masks that keep the same share n/m
        anywhere in the array, (a); masks whose n kept entries of each m are consecutive, (d).
    workers : int
        Number of threads for large tiles; -1 for all processors.
    progress : callable
        Called as ``progress(done, total)`` while a large tile is counted: 12:24-T takes seconds,
        16:32-T the better part of an hour with two processors.

    Returns
    -------
    int
        Exact, of any size.

    Raises
    ------
    TypeError, ValueError
        If an argument is not what it should be, or the formula does not cover the pattern.
    ValueError
        If the exact count is out of reach: every m up to 32 can be counted, 32:64-T cannot.

    Examples
    --------
    >>> count("2:4-T", (4, 4)), count("2:4-T", (4, 4), method="paper")
    (90, 144)
    >>> count("2:4", (4, 4)), count("2:4", (4, 4), kind="unstructured")
    (1296, 12870)
    """
    choice("method", method, ("exact", "paper"))
    execution = Execution.of(workers, None, progress)
    return math.prod(ways**times for ways, times in _factors(pattern, shape, method, kind, execution))


def log2(
    pattern: Pattern | str,
    shape: Sequence[int],
    method: Method | Literal["estimate"] = "exact",
    *,
    kind: Kind = "pattern",
    workers: int = 1,
    progress: Callable[[int, int], object] | None = None,
) -> float:
    """Base-2 logarithm of `count`: the bits that it takes to name one mask.

    Parameters
    ----------
    pattern, shape, kind, workers, progress
        As for `count`; the large integer itself is not built.
    method : {"exact", "paper", "estimate"}
        "estimate" serves transposable patterns of any size. It replaces, for each tile of r rows and c
        columns that keep a and b entries each, the number of masks by its asymptotic value
        C(c, a)^r C(r, b)^c / C(r c, r a) exp(-1/2) [1]_, which for square tiles lies
        below the exact count by 0.31 bits a tile for 1:2, 0.09 for 4:8 and 0.045 for 8:16.

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        As for `count`.

    References
    ----------
    .. [1] Canfield, Greenhill, McKay. Asymptotic enumeration of dense 0-1 matrices with
       specified line sums. Journal of Combinatorial Theory A 115 (2008).

    Examples
    --------
    >>> log2("1:2-T", (1024, 1024))
    262144.0
    """
    choice("method", method, ("exact", "paper", "estimate"))
    execution = Execution.of(workers, None, progress)
    if kind == "unstructured" and method != "estimate":
        return _log2_choose(*_share(Pattern.parse(pattern), _sizes(shape)))
    if method == "estimate":
        pattern = Pattern.parse(pattern)
        if not pattern.transposable or kind != "pattern":
            raise ValueError(
                f"method='estimate' is for masks of a transposable pattern, got '{pattern}', kind={kind!r}"
            )
        tiles = _published(pattern, _sizes(shape), method)
        return _log2_regular(pattern.of_pairs) * tiles
    factors = _factors(pattern, shape, method, kind, execution)
    return math.fsum(times * math.log2(ways) for ways, times in factors)


def _factors(
    pattern: Pattern | str, shape: Sequence[int], method: Method, kind: Kind, execution: Execution
) -> list[tuple[int, int]]:
    """List (masks of a part, number of such parts) for every sort of part."""
    choice("kind", kind, ("pattern", "unstructured", "sequential"))
    pattern, sizes = Pattern.parse(pattern), _sizes(shape)
    if kind == "unstructured":
        return [(math.comb(*_share(pattern, sizes)), 1)]
    if pattern.pair and method == "exact":
        check_shape("shape", sizes, pattern)
        pattern, sizes = pattern.of_pairs, shape_of(pattern, sizes)
    elif pattern.pair:
        raise ValueError(
            f"method={method!r} does not speak of pairs, got '{pattern}'; count '{pattern.of_pairs}'"
        )
    if kind == "sequential":
        if pattern.transposable or pattern.vector is not None:
            raise ValueError(f"kind='sequential' needs a one-directional pattern, got '{pattern}'")
        return [(pattern.m - pattern.n + 1, _published(pattern, sizes, kind))]
    if pattern.vector is not None and method == "paper":
        raise ValueError(f"method='paper' does not speak of V:N:M, got '{pattern}'")
    if method == "paper":
        return [(_published_tile(pattern), _published(pattern, sizes, method))]
    check_shape("shape", sizes, pattern)
    tiling = tiling_of(pattern, sizes)
    counts = [(region, math.prod(tiling.region_grid(region))) for region in tiling.regions]
    return [(_exact_tile(pattern, region, execution), tiles) for region, tiles in counts if tiles]


def _published_tile(pattern: Pattern) -> int:
    if pattern.columns is not None:
        raise ValueError(f"method='paper' speaks of one n:m for rows and columns, got '{pattern}'")
    if not pattern.transposable:
        return math.comb(pattern.m, pattern.n)
    return math.prod(math.factorial(pattern.m - chosen) for chosen in range(pattern.n))


def _exact_tile(pattern: Pattern, region: Region, execution: Execution) -> int:
    height, width = region.tile_shape
    least, most = region.row_bounds
    if pattern.vector is not None:
        return _of_few_columns(height, width, range(least, most + 1))
    if not pattern.transposable:
        return sum(math.comb(width, kept) for kept in range(least, most + 1))
    if height == width and least == most and region.row_bounds == region.column_bounds:
        return regular(width, most, execution)
    return bounded(height, width, region.row_bounds, region.column_bounds)


def _of_few_columns(height: int, width: int, kept: range) -> int:
    """Count the masks of a tile whose rows use four columns together, or fewer.

    A mask that uses fewer follows from several choices of four columns. So masks are counted by the columns
    that they use: those of exactly u columns follow, by inclusion and exclusion, from those within k columns.
    """
    within = [sum(math.comb(k, each) for each in kept) ** height for k in range(COLUMNS + 1)]
    return sum(
        math.comb(width, u) * sum((-1) ** (u - k) * math.comb(u, k) * within[k] for k in range(u + 1))
        for u in range(COLUMNS + 1)
    )


def _log2_regular(pattern: Pattern) -> float:
    (column_n, height), (row_n, width) = pattern.budgets.values()
    if row_n == width:
        return 0.0
    ways = height * _log2_choose(width, row_n) + width * _log2_choose(height, column_n)
    return ways - _log2_choose(height * width, height * row_n) - 0.5 / math.log(2)


def _log2_choose(total: int, chosen: int) -> float:
    terms = math.lgamma(total + 1), -math.lgamma(chosen + 1), -math.lgamma(total - chosen + 1)
    return math.fsum(terms) / math.log(2)


def _share(pattern: Pattern, sizes: tuple[int, ...]) -> tuple[int, int]:
    """Entries of the array, and how many of them are kept."""
    entries = math.prod(sizes)
    share = min(Fraction(n, m) for n, m in pattern.budgets.values())
    kept = entries * share
    if kept.denominator > 1:
        raise ValueError(f"shape must hold a whole number of kept entries at {share}, got {sizes}")
    return entries, kept.numerator


def _published(pattern: Pattern, sizes: tuple[int, ...], what: str) -> int:
    """Count the tiles; refuse what Eq. 2 does not speak of: at most n, and shapes that m does not divide."""
    if pattern.constraint != "exact":
        raise ValueError(f"{what!r} counts masks with exactly n kept, got '{pattern}'")
    check_shape("shape", sizes, pattern)
    for axis, (_, m) in pattern.budgets.items():
        if sizes[axis] % m:
            raise ValueError(f"{what!r} needs a shape that m={m} divides, got {sizes}")
    return tiling_of(pattern, sizes).tiles


def _sizes(shape: Sequence[int]) -> tuple[int, ...]:
    try:
        sizes = tuple(operator.index(size) for size in shape)
    except TypeError:
        raise TypeError(f"shape must be a sequence of integers, got {shape!r}") from None
    if any(size < 0 for size in sizes):
        raise ValueError(f"shape must not be negative, got {sizes}")
    return sizes
