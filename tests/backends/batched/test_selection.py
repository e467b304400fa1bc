"""Order statistics by comparator networks: the zero-one principle, and sorting as the oracle."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from masksolve.backends.batched.selection import largest, network


@pytest.mark.parametrize("length", range(1, 11))
def test_every_rank_of_every_zero_one_list(length):
    """A comparator network that selects from all lists of zeros and ones selects from all lists."""
    lists = np.array(list(itertools.product([0, 1], repeat=length)), dtype=np.int8)
    ordered = -np.sort(-lists, axis=1)
    for rank in range(length):
        (found,) = largest(np, list(lists.T), [rank])
        np.testing.assert_array_equal(found, ordered[:, rank])


@pytest.mark.parametrize("length", [16, 33, 64, 65])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_long_lists_with_ties_and_infinities(length, dtype):
    rng = np.random.default_rng(length)
    lists = rng.integers(-9, 9, (length, 3, 50)).astype(dtype)
    lists[rng.random(lists.shape) < 0.1] = np.inf
    lists[rng.random(lists.shape) < 0.1] = -np.inf
    before = lists.copy()
    ordered = -np.sort(-lists, axis=0)
    ranks = [0, 1, length // 2 - 1, length // 2, length - 1]
    for rank, found in zip(ranks, largest(np, list(lists), ranks), strict=True):
        np.testing.assert_array_equal(found, ordered[rank])
    np.testing.assert_array_equal(lists, before)


@pytest.mark.parametrize(("length", "operations"), [(4, 8), (8, 28), (16, 92)])
def test_only_what_the_middle_depends_on_is_compared(length, operations):
    """Two halves are sorted by Batcher's network (2 operations for 5 and 19 comparators, of 4 and 8), and
    of the merge only the middle is done."""
    comparators = network(length, (length // 2 - 1, length // 2))
    assert sum(c.wants_larger + c.wants_smaller for c in comparators) == operations
