"""Counting 0/1 matrices by their row and column sums: the arithmetic behind `diversity`.

`regular` counts m by m matrices whose every line sums to n, for n <= m / 2 (else zeros are counted).
It is the coefficient of x_1^n ... x_m^n in e_n(x_1, ..., x_m)^m, with e_n the elementary symmetric
polynomial (each row chooses n columns), and is read off by evaluating at roots of unity: for q > n
no other monomial of the same degree has all exponents congruent to n modulo q, so

    count = q^-m  sum over x in {1, w, ..., w^(q-1)}^m  of  e_n(x)^m / (x_1 ... x_m)^n.

The summand depends only on how often each root occurs, which leaves C(m + q - 1, m) terms; turning
all x by w does not change it, which leaves about one in q; and for m = 2 n conjugating all x does
not change it where x_1 ... x_m = 1, which leaves about half. e_n of a multiset comes from the
polynomials prod (1 + x y) of its parts in two halves of the roots: for each size of the parts the
fewer polynomials are stored, the others are made one after the other and meet all of them
(``power_sum.hpp``). All this is done in prime fields small enough for exact float64 arithmetic; the
Chinese remainder theorem joins them.

`bounded` counts rectangular matrices whose line sums lie within bounds, row by row, by dynamic
programming over the multiset of column sums so far.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
import numpy.typing as npt

from .._ext.counting import PANEL_WIDTH, sum_of_powers
from ..execution import Execution, Task

Float64Array = npt.NDArray[np.float64]
Bounds = tuple[int, int]
Panels = tuple[Float64Array, Float64Array, npt.NDArray[np.intp]]
"""Polynomials by class, (panels, length, PANEL_WIDTH); their weights; where each class begins."""

LARGEST_WORK = 6e12
"""Powers modulo a prime that `regular` may take, one or two nanoseconds each; enough for every m <= 32."""

LARGEST_STATES = 10_000
"""Multisets of column sums that `bounded` may distinguish."""

_counted: dict[tuple[int, int], int] = {}


def regular(m: int, n: int, execution: Execution | None = None) -> int:
    """Count m by m 0/1 matrices with every row and column sum equal to n.

    ``execution`` runs the sums: in threads, and reporting progress in powers.

    Raises
    ------
    ValueError
        If it would take more than `LARGEST_WORK`.
    """
    n = min(n, m - n)
    if n == 0:
        return 1
    if (m, n) not in _counted:
        _counted[m, n] = count_by_sum(Sum.cheapest(m, n), execution or Execution())
    return _counted[m, n]


@dataclass(frozen=True)
class Sum:
    """Which roots of unity to sum over.

    Attributes
    ----------
    m, n : int
        Matrices are m by m, lines sum to n.
    q : int
        Order of the roots, larger than n.
    """

    m: int
    n: int
    q: int

    @classmethod
    def cheapest(cls, m: int, n: int) -> Sum:
        """Take roots of the order that leaves the fewest terms."""
        return min((cls(m, n, q) for q in range(n + 1, n + 4)), key=lambda sum_: sum_.terms)

    @property
    def products(self) -> int:
        """Turning x moves the exponent of its product by m: 0 to this - 1 stand for all."""
        return math.gcd(self.q, self.m)

    @property
    def mirrored(self) -> bool:
        """Whether conjugate multisets contribute alike."""
        return self.m == 2 * self.n and self.products == 1

    @property
    def terms(self) -> float:
        """Multisets to go through."""
        every = math.comb(self.m + self.q - 1, self.m) * self.products / self.q
        return every * (self.q // 2 + 1) / self.q if self.mirrored else every

    @property
    def alike(self) -> int:
        """First rows and first columns, which all have as many matrices: it divides the count."""
        return math.comb(self.m, self.n) * math.comb(self.m - 1, self.n - 1)

    @property
    def bits(self) -> float:
        """More than the bits of the count over `alike`: how the other rows can be filled."""
        kept, dropped = math.comb(self.m - 1, self.n - 1), math.comb(self.m - 1, self.n)
        return (self.n - 1) * math.log2(kept) + (self.m - self.n) * math.log2(dropped)

    def primes(self) -> list[int]:
        """Primes that are 1 modulo q, until their product exceeds 2^bits.

        They are so small that sums of n + 1 products of residues stay below 2^53.
        """
        bits = self.bits
        largest = min(2 * (math.isqrt(2**53 // (self.n + 1)) - 2), 2**26)
        primes, candidate = [], largest // self.q * self.q + 1
        while bits >= 0:
            candidate -= self.q
            if all(candidate % d for d in range(2, math.isqrt(candidate) + 1)):
                bits -= math.log2(candidate)
                primes.append(candidate)
        return primes

    def factors(self) -> npt.NDArray[np.intc]:
        """How many multisets one of each class of halves stands for."""
        factors = np.ones(self.q, np.intc)
        if self.mirrored:
            factors[self.q // 2 + 1 :] = 0
            factors[1 : (self.q + 1) // 2] = 2
        return factors

    def halves(self) -> tuple[list[int], list[int]]:
        """Exponents of the roots in two parts, each with its conjugates."""
        by_distance = sorted(range(self.q), key=lambda k: min(k, self.q - k))
        middle = self.q // 2 + (self.q // 2 + 1) % 2
        return by_distance[:middle], by_distance[middle:]


def count_by_sum(sum_: Sum, execution: Execution) -> int:
    """Count as `regular` does, by roots of unity of a given order."""
    primes = sum_.primes()
    if sum_.terms * len(primes) > LARGEST_WORK:
        raise ValueError(
            f"pattern has too many transposable masks on {sum_.m} by {sum_.m} tiles to be counted exactly "
            f"(about {sum_.terms * len(primes):.1g} powers, at most {LARGEST_WORK:.0g} are allowed); "
            f"diversity.log2(..., method='estimate') gives their logarithm"
        )
    tasks: list[tuple[int, Task[int]]] = [
        (weight, partial(_part, sum_, prime, *part)) for prime in primes for weight, part in _parts(sum_)
    ]
    answers: list[int] = []
    execution.collect(tasks, answers)
    residues = [0] * len(primes)
    for k, residue in enumerate(answers):
        residues[k * len(primes) // len(tasks)] += residue
    value, modulus = 0, 1
    for prime, residue in zip(primes, residues, strict=True):
        share = residue * pow(sum_.alike, -1, prime)
        value += modulus * ((share - value) * pow(modulus, -1, prime) % prime)
        modulus *= prime
    return value * sum_.alike


def _parts(sum_: Sum) -> Iterator[tuple[int, tuple[bool, int]]]:
    """Cut the sum by sizes: (powers, (which half is streamed, how many roots of it))."""
    for size in range(sum_.m + 1):
        sizes = size, sum_.m - size
        ways = [
            math.comb(size + len(half) - 1, size) for size, half in zip(sizes, sum_.halves(), strict=True)
        ]
        streams_second = ways[1] > ways[0]
        yield ways[0] * ways[1], (streams_second, sizes[streams_second])


def _part(sum_: Sum, prime: int, streams_second: bool, size: int) -> int:
    """One part of the sum, modulo a prime."""
    streamed = sum_.halves()[streams_second]
    root = _root_of_unity(sum_.q, prime)
    totals = sum_of_powers(
        prime,
        sum_.m,
        _residues([pow(root, k, prime) for k in streamed], prime),
        np.array(streamed, np.intc),
        size,
        _inverse_factorials(sum_.m, prime),
        *_stored(sum_, prime, not streams_second)[sum_.m - size],
        sum_.factors(),
        sum_.products,
    )
    total: int = sum(total * pow(root, -sum_.n * product, prime) for product, total in enumerate(totals))
    turns = sum_.q // sum_.products
    return total * math.factorial(sum_.m) * turns * pow(sum_.q, -sum_.m, prime) % prime


@lru_cache(maxsize=4)
def _stored(sum_: Sum, prime: int, second: bool) -> list[Panels]:
    """For each size that is stored: polynomials of the multisets of a half's roots, in panels by class."""
    exponents, length = sum_.halves()[second], sum_.n + 1
    largest = max(sum_.m - size for _, (streams_second, size) in _parts(sum_) if streams_second != second)
    root, inverses = _root_of_unity(sum_.q, prime), _inverse_factorials(sum_.m, prime)
    counts = _multisets(len(exponents), largest)
    polynomials = [np.zeros((int(size == 0), length)) for size in range(largest + 1)]
    polynomials[0][0, 0] = 1
    for x in _residues([pow(root, exponent, prime) for exponent in exponents], prime):
        for size in range(1, largest + 1):
            grown = polynomials[size - 1].copy()
            grown[:, 1:] = _residue(grown[:, 1:] + x * polynomials[size - 1][:, :-1], prime)
            polynomials[size] = np.concatenate([polynomials[size], grown])
    stored = []
    for times, rows in zip(counts, polynomials, strict=True):
        weights = np.ones(len(rows))
        for column in times.T:
            weights = _residue(weights * inverses[column], prime)
        classes = times.astype(np.int64) @ np.array(exponents, np.int64) % sum_.q
        stored.append(_in_panels(rows, weights, classes, sum_.q))
    return stored


def _in_panels(
    rows: Float64Array, weights: Float64Array, classes: npt.NDArray[np.int64], count: int
) -> Panels:
    """Sort by class, fill every class up to whole panels, and turn polynomials and panels over."""
    sizes = np.bincount(classes, minlength=count)
    begin = np.concatenate([[0], np.cumsum(-(-sizes // PANEL_WIDTH))])
    order = np.argsort(classes, kind="stable")
    firsts = np.cumsum(sizes) - sizes
    places = (PANEL_WIDTH * begin[:-1] - firsts)[classes[order]] + np.arange(len(order))
    total = int(begin[-1])
    panels = np.zeros((total * PANEL_WIDTH, rows.shape[1]))
    panels[places] = rows[order, ::-1]
    panel_weights = np.zeros(total * PANEL_WIDTH)
    panel_weights[places] = weights[order]
    return (
        np.ascontiguousarray(panels.reshape(total, PANEL_WIDTH, -1).transpose(0, 2, 1)),
        panel_weights.reshape(total, PANEL_WIDTH),
        begin.astype(np.intp),
    )


@lru_cache(maxsize=4)
def _multisets(kinds: int, largest: int) -> list[npt.NDArray[np.uint8]]:
    """For each size: how often each kind occurs, one row a multiset, in the order in which they grow."""
    counts = [np.zeros((int(size == 0), kinds), np.uint8) for size in range(largest + 1)]
    for one in np.eye(kinds, dtype=np.uint8):
        for size in range(1, largest + 1):
            counts[size] = np.concatenate([counts[size], counts[size - 1] + one])
    return counts


@lru_cache(maxsize=64)
def _inverse_factorials(m: int, prime: int) -> Float64Array:
    return _residues([pow(math.factorial(times), -1, prime) for times in range(m + 1)], prime)


def _residues(values: list[int], prime: int) -> Float64Array:
    return _residue(np.array(values, np.float64), prime)


def _residue(values: Float64Array, prime: int) -> Float64Array:
    """Reduce integers below 2^53 to their residues nearest to 0."""
    return np.asarray(values - np.rint(values / prime) * prime)


@lru_cache(maxsize=64)
def _root_of_unity(q: int, prime: int) -> int:
    """Find an element of order exactly q."""
    return next(
        root
        for base in range(2, prime)
        for root in [pow(base, (prime - 1) // q, prime)]
        if all(pow(root, d, prime) != 1 for d in range(1, q))
    )


@lru_cache(maxsize=256)
def bounded(height: int, width: int, row_bounds: Bounds, column_bounds: Bounds) -> int:
    """Count height by width 0/1 matrices whose line sums lie within (least, most), inclusive.

    Raises
    ------
    ValueError
        If there are more than `LARGEST_STATES` multisets of column sums.
    """
    if row_bounds == (0, width):
        least, most = column_bounds
        return int(sum(math.comb(height, kept) for kept in range(least, most + 1)) ** width)
    if column_bounds == (0, height):
        return bounded(width, height, column_bounds, row_bounds)
    states, swapped = (math.comb(a + b[1], a) for a, b in ((width, column_bounds), (height, row_bounds)))
    if swapped < states:
        return bounded(width, height, column_bounds, row_bounds)
    if states > LARGEST_STATES:
        raise ValueError(
            f"pattern has too many masks on {height} by {width} tiles to be counted exactly under "
            f"these bounds ({states} states, at most {LARGEST_STATES} are allowed)"
        )
    least, most = column_bounds
    # filled[c] = ways to fill the rows so far such that c[k] columns sum to k.
    filled = {(width, *(0 for _ in range(most))): 1}
    for _ in range(height):
        filled = _add_row(filled, most, row_bounds)
    return sum(ways for state, ways in filled.items() if not any(state[:least]))


def _add_row(
    states: dict[tuple[int, ...], int], largest: int, row_bounds: Bounds
) -> dict[tuple[int, ...], int]:
    least, most = row_bounds
    partial = {(state, 0): ways for state, ways in states.items()}
    for k in reversed(range(largest)):  # fullest columns first, so that none is chosen twice
        grown: Counter[tuple[tuple[int, ...], int]] = Counter()
        for (state, kept), ways in partial.items():
            before, here, above, after = state[:k], state[k], state[k + 1], state[k + 2 :]
            for chosen in range(min(here, most - kept) + 1):
                place = (*before, here - chosen, above + chosen, *after)
                grown[place, kept + chosen] += ways * math.comb(here, chosen)
        partial = grown
    total: Counter[tuple[int, ...]] = Counter()
    for (state, kept), ways in partial.items():
        if kept >= least:
            total[state] += ways
    return total
