"""Counting 0/1 matrices by their row and column sums: the arithmetic behind `diversity`.

`regular` counts m by m matrices whose every line sums to n. It is the coefficient of
x_1^n ... x_m^n in e_n(x_1, ..., x_m)^m, with e_n the elementary symmetric polynomial (each row
chooses n columns), and is read off by evaluating at roots of unity: with q = min(n, m - n) + 1
no other monomial of the same degree has all exponents congruent to n modulo q, so

    count = q^-m  sum over x in {1, w, ..., w^(q-1)}^m  of  e_n(x)^m / (x_1 ... x_m)^n.

The summand depends only on how often each root occurs, which leaves C(m + q - 1, m) terms, and
turning all x by w does not change it, which leaves about one in q. The roots live in prime
fields small enough for exact float64 matrix products; the Chinese remainder theorem joins them.

`bounded` counts rectangular matrices whose line sums lie within bounds, row by row, by dynamic
programming over the multiset of column sums so far.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Float64Array = npt.NDArray[np.float64]
Bounds = tuple[int, int]

LARGEST_WORK = 5e9
"""Products modulo a prime that `regular` may take: a few minutes."""

LARGEST_STATES = 10_000
"""Multisets of column sums that `bounded` may distinguish."""

_CACHED = 1 << 15
"""Terms worked on at a time."""

_PRIME_BITS = 23
"""64 products of residues below 2^23 add up to less than 2^53."""


@lru_cache(maxsize=256)
def regular(m: int, n: int) -> int:
    """Count m by m 0/1 matrices with every row and column sum equal to n.

    Raises
    ------
    ValueError
        If it would take more than `LARGEST_WORK`.
    """
    n = min(n, m - n)
    if n == 0:
        return 1
    bits = m * math.log2(math.comb(m, n))
    q, shifts = n + 1, math.gcd(n + 1, m)
    work = math.comb(m + n, n) * shifts / q * bits / _PRIME_BITS
    if work > LARGEST_WORK:
        raise ValueError(
            f"pattern has too many transposable masks on {m} by {m} tiles to be counted exactly "
            f"(about {work:.1g} operations, at most {LARGEST_WORK:.0g} are allowed); "
            f"diversity.log2(..., method='estimate') gives their logarithm"
        )
    halves = _Half(range(q // 2), m, q), _Half(range(q // 2, q), m, q)
    value, modulus = 0, 1
    for prime in _primes(q, bits):
        residue = _regular_modulo(m, n, halves, prime)
        value += modulus * ((residue - value) * pow(modulus, -1, prime) % prime)
        modulus *= prime
    return value


class _Half:
    """Multisets of up to m of some q-th roots of unity, ordered by size and by their product.

    ``counts[s]`` (multisets, roots) tells how often each root occurs in each multiset of size
    s; ``places[s][r]`` are those whose product is w^r.
    """

    def __init__(self, exponents: range, m: int, q: int) -> None:
        self.exponents = exponents
        width = len(exponents)
        self.counts = [np.zeros((int(size == 0), width), np.uint8) for size in range(m + 1)]
        for one in np.eye(width, dtype=np.uint8):
            for size in range(1, m + 1):
                self.counts[size] = np.concatenate([self.counts[size], self.counts[size - 1] + one])
        products = [counts.astype(np.int64) @ np.array(exponents) % q for counts in self.counts]
        self.places = [[np.flatnonzero(product == r) for r in range(q)] for product in products]

    def polynomials(self, root: int, n: int, prime: int) -> list[Float64Array]:
        """Per size, the coefficients up to z^n of prod (1 + x z) over each multiset."""
        every = [np.zeros((int(size == 0), n + 1)) for size in range(len(self.counts))]
        every[0][0, 0] = 1.0
        for exponent in self.exponents:
            x = pow(root, exponent, prime)
            for size in range(1, len(every)):
                grown = every[size - 1].copy()
                grown[:, 1:] = _modulo(grown[:, 1:] + x * every[size - 1][:, :-1], prime)
                every[size] = np.concatenate([every[size], grown])
        return every

    def weights(self, inverse_factorials: Float64Array, prime: int) -> list[Float64Array]:
        """Per size, 1 / (c_1! c_2! ...) of each multiset."""
        every = []
        for counts in self.counts:
            weight = np.ones(len(counts))
            for column in counts.T:
                weight = _modulo(weight * inverse_factorials[column], prime)
            every.append(weight)
        return every


def _regular_modulo(m: int, n: int, halves: tuple[_Half, _Half], prime: int) -> int:
    """Count modulo a prime; e_n of a multiset comes from a product of polynomials of its halves."""
    q = n + 1
    root = _root_of_unity(q, prime)
    inverses = np.array([pow(math.factorial(c), -1, prime) for c in range(m + 1)], np.float64)
    (left, right), shifts = halves, math.gcd(q, m)
    left_polynomials, right_polynomials = (half.polynomials(root, n, prime) for half in halves)
    left_weights, right_weights = (half.weights(inverses, prime) for half in halves)
    total = 0
    for size in range(m + 1):
        rest = m - size
        # Turning x moves its product by m: products 0 to gcd(q, m) - 1 stand for all.
        for product, share in ((p, r) for p in range(shifts) for r in range(q)):
            a, b = left.places[size][share], right.places[rest][(product - share) % q]
            for part in np.array_split(a, max(1, len(a) * len(b) // _CACHED)):
                e_n = _modulo(left_polynomials[size][part] @ right_polynomials[rest][b, ::-1].T, prime)
                rows = _modulo(_power(e_n, m, prime) * right_weights[rest][b], prime).sum(axis=1)
                summed = _modulo(_modulo(rows, prime) * left_weights[size][part], prime).sum()
                total += int(summed) * pow(root, -n * product, prime)
    turns = q // shifts
    return int(total * math.factorial(m) * turns * pow(q, -m, prime) % prime)


def _modulo(values: Float64Array, prime: int) -> Float64Array:
    """Remainders of non-negative integers below 2^53; exact, and faster than ``%``."""
    return np.asarray(values - np.floor(values / prime) * prime)


def _power(values: Float64Array, exponent: int, prime: int) -> Float64Array:
    power: Float64Array = values
    for bit in f"{exponent:b}"[1:]:
        power = _modulo(power * power, prime)
        if bit == "1":
            power = _modulo(power * values, prime)
    return power


def _primes(q: int, bits: float) -> Iterator[int]:
    """Primes that are 1 modulo q, until their product exceeds 2^bits."""
    candidate = 2**_PRIME_BITS // q * q + 1
    while bits >= 0:
        candidate -= q
        if all(candidate % d for d in range(2, math.isqrt(candidate) + 1)):
            bits -= math.log2(candidate)
            yield candidate


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
    upright, lying = (math.comb(a + b[1], a) for a, b in ((width, column_bounds), (height, row_bounds)))
    if lying < upright:
        return bounded(width, height, column_bounds, row_bounds)
    if upright > LARGEST_STATES:
        raise ValueError(
            f"pattern has too many masks on {height} by {width} tiles to be counted exactly under "
            f"these bounds ({upright} states, at most {LARGEST_STATES} are allowed)"
        )
    least, most = column_bounds
    # states[c] = ways to fill the rows so far such that c[k] columns sum to k.
    states = {(width, *(0 for _ in range(most))): 1}
    for _ in range(height):
        states = _add_row(states, most, row_bounds)
    return sum(ways for state, ways in states.items() if not any(state[:least]))


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
