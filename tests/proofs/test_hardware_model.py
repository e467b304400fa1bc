"""The multiplexer model (Hubara et al. 2021, A.5): what is logarithmic and what is not.

Statement. Let N = m - n be the entries dropped from a group of m.

    1. The j-th kept entry of a group stands at one of the N + 1 positions j, ..., j + N, and each
       of them occurs: an (N+1):1 multiplexer is necessary and sufficient for each operand.
    2. Every tree of 2:1 multiplexers that selects one of k inputs has k - 1 of them.
    3. The shallowest such tree has depth ceil(log2 k).

So for k = N + 1 the delay grows with the logarithm of N, as the paper says of the area, while the
area itself, counted in 2:1 multiplexers, is N: 4:8 has 5/3 the inputs of 2:4, 3/2 the depth and
twice the area.
"""

import itertools
import math
from functools import cache

import pytest

from masksolve.hardware import cost, group_cells, multiplexer


@cache
def trees(inputs):
    """(cells, depth) of every shape of binary tree over so many inputs."""
    if inputs == 1:
        return {(0, 0)}
    return {
        (a + b + 1, max(c, d) + 1)
        for left in range(1, inputs)
        for (a, c), (b, d) in itertools.product(trees(left), trees(inputs - left))
    }


@pytest.mark.parametrize("inputs", range(1, 25))
def test_cells_and_depth_of_all_trees(inputs):
    cells, depths = zip(*trees(inputs), strict=True)
    assert set(cells) == {multiplexer(inputs).cells}
    assert min(depths) == multiplexer(inputs).depth


@pytest.mark.parametrize(("m", "n"), [(m, n) for m in range(1, 11) for n in range(1, m + 1)])
def test_each_operand_comes_from_one_of_the_papers_inputs(m, n):
    for places in zip(*itertools.combinations(range(m), n), strict=True):
        assert len(set(places)) == cost(f"{n}:{m}").inputs == m - n + 1
    assert group_cells(f"{n}:{m}") == n * (m - n)


@pytest.mark.parametrize("inputs", [1, 2, 3, 4, 5, 8, 9, 16, 17, 33, 64, 65])
def test_depth_and_select_bits_are_the_logarithm(inputs):
    assert multiplexer(inputs).depth == multiplexer(inputs).select_bits == math.ceil(math.log2(inputs))


def test_area_is_linear_and_delay_logarithmic_at_half_density():
    for exponent in range(1, 6):
        half = 2**exponent
        assert cost(f"{half}:{2 * half}").cells == half
        assert cost(f"{half}:{2 * half}").depth == exponent + 1


def test_from_2_of_4_to_4_of_8():
    small, large = cost("2:4"), cost("4:8")
    assert (small.inputs, large.inputs) == (3, 5)
    assert large.cells == 2 * small.cells
    assert (small.depth, large.depth) == (2, 3)
