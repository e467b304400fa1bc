"""The interface of the mask counts; the counts themselves are proved in proofs/test_diversity_counts.py."""

import dataclasses
import itertools
import math
import tracemalloc

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

import masksolve as ms
from masksolve.diversity import count, log2
from masksolve.diversity import counting as matrices
from masksolve.execution import Execution


def test_tiles_multiply_over_shape_and_batch():
    assert count("2:4-T", (8, 12)) == 90**6
    assert count("2:4-T", (5, 8, 12)) == 90**30
    assert count("2:4-T", (3, 4, 4), method="paper") == 144**3
    assert count("2:4", (3, 8)) == 6**6
    assert count("2:4 axis=0", (8, 3)) == 6**6
    assert count(ms.Pattern(1, 3), [3]) == 3


@pytest.mark.parametrize("pattern", ["2:4-T", "2:4", "2:4-T at_most", "2:4-T dense", "2:4 pad"])
def test_an_empty_array_has_one_mask(pattern):
    assert count(pattern, (0, 4)) == 1
    assert log2(pattern, (0, 4)) == 0


def test_dense_tails_leave_no_choice():
    assert count("2:4-T dense", (5, 11)) == 90**2
    assert count("2:4 dense", (2, 7)) == 6**2


@pytest.mark.parametrize("constraint", ["exact", "at_most"])
@pytest.mark.parametrize(
    ("pattern", "shape"),
    [
        ("1:2-T pad", (3, 3)),
        ("1:2-T pad", (2, 5)),
        ("2:3-T pad", (4, 4)),
        ("2:3-T pad", (3, 5)),
        ("1:3-T pad", (5, 3)),
        ("1:2-T", (2, 2, 4)),
        ("2:4-T dense", (4, 4)),
        ("1:2-T dense", (3, 5)),
        ("2:3 pad", (2, 5)),
        ("2:3 pad axis=0", (5, 2)),
        ("2:2-T", (4, 4)),
    ],
)
def test_every_policy_by_enumeration(pattern, shape, constraint):
    pattern = dataclasses.replace(ms.Pattern.parse(pattern), constraint=constraint)
    size = math.prod(shape)
    bits = (np.arange(2**size)[:, np.newaxis] >> np.arange(size)) & 1
    masks = bits.astype(bool).reshape(-1, *shape)
    assert count(pattern, shape) == follows(masks, pattern).sum()


def follows(masks, pattern):
    """Whether each mask follows the pattern, straight from the definition."""
    good = np.ones(len(masks), bool)
    axes = (-2, -1) if pattern.transposable else (pattern.axis - (pattern.axis >= 0) * (masks.ndim - 1),)
    if pattern.remainder == "dense":
        body = [slice(None)] * masks.ndim
        for axis in axes:
            body[axis] = slice(masks.shape[axis] // pattern.m * pattern.m)
        outside = np.ones(masks.shape[1:], bool)
        outside[*body[1:]] = False
        good &= masks[:, outside].all(axis=1)
        masks = masks[*body]
    for axis in axes:
        for start in range(0, masks.shape[axis], pattern.m):
            group = np.moveaxis(masks, axis, -1)[..., start : start + pattern.m]
            kept = group.sum(axis=-1).reshape(len(masks), -1)
            exact = pattern.constraint == "exact" and group.shape[-1] == pattern.m
            good &= ((kept == pattern.n) if exact else (kept <= pattern.n)).all(axis=1)
    return good


@given(st.integers(1, 7), st.data())
@settings(deadline=None, max_examples=60)
def test_roots_of_unity_agree_with_dynamic_programming(m, data):
    n = data.draw(st.integers(0, m))
    assert matrices.regular(m, n) == matrices.bounded(m, m, (n, n), (n, n))


@pytest.mark.parametrize(("m", "n"), [(9, 4), (10, 3), (12, 2), (20, 1)])
def test_roots_of_unity_agree_with_dynamic_programming_on_larger_tiles(m, n):
    assert matrices.regular(m, n) == matrices.bounded(m, m, (n, n), (n, n))


@given(st.integers(1, 5), st.integers(1, 5), st.data())
@settings(deadline=None, max_examples=60)
def test_bounded_counts_match_row_and_column_sums_of_all_matrices(height, width, data):
    def bounds(largest):
        low, high = sorted(data.draw(st.tuples(st.integers(0, largest), st.integers(0, largest))))
        return low, high

    row_bounds, column_bounds = bounds(width), bounds(height)
    rows = [r for r in itertools.product((0, 1), repeat=width) if row_bounds[0] <= sum(r) <= row_bounds[1]]
    ways = {(0,) * width: 1}
    for _ in range(height):
        grown = {}
        for sums, number in ways.items():
            for row in rows:
                place = tuple(a + b for a, b in zip(sums, row, strict=True))
                grown[place] = grown.get(place, 0) + number
        ways = grown
    low, high = column_bounds
    expected = sum(number for sums, number in ways.items() if all(low <= s <= high for s in sums))
    assert matrices.bounded(height, width, row_bounds, column_bounds) == expected


def test_at_most_admits_more_than_exact():
    for pattern, shape in (("1:2-T", (2, 2)), ("2:4-T", (4, 4)), ("4:8-T", (8, 8)), ("2:4", (1, 4))):
        assert count(f"{pattern} at_most", shape) > count(pattern, shape)
    assert count("1:2-T at_most", (2, 2)) == 7
    assert count("8:8-T at_most", (8, 8)) == 2**64
    assert count("2:4 at_most", (1, 4)) == 1 + 4 + 6


@pytest.mark.parametrize("pattern", ["1:2-T", "2:4-T", "4:8-T", "3:7-T", "2:4", "3:8-T", "2:4-T at_most"])
def test_log2_is_the_logarithm_of_count(pattern):
    m = ms.Pattern.parse(pattern).m
    assert log2(pattern, (2 * m, m)) == pytest.approx(math.log2(count(pattern, (2 * m, m))), rel=1e-14)


def test_log2_of_a_large_matrix():
    assert log2("2:4-T", (4096, 4096)) == pytest.approx(1024**2 * math.log2(90), rel=1e-14)
    assert log2("2:4-T", (4096, 4096), method="paper") == pytest.approx(1024**2 * math.log2(144), rel=1e-14)


def test_unstructured():
    assert count("2:4", (4, 4), kind="unstructured") == math.comb(16, 8)
    assert count("1:4-T", (4, 4), kind="unstructured", method="paper") == math.comb(16, 4)
    assert log2("4:8", (8, 8), kind="unstructured") == pytest.approx(math.log2(math.comb(64, 32)), rel=1e-13)
    assert log2("4:8", (4096, 4096), kind="unstructured") == pytest.approx(4096**2 - 12.3, abs=0.1)
    with pytest.raises(ValueError, match="shape must hold a whole number of kept entries at 1/4"):
        count("1:4", (1, 3), kind="unstructured")


def test_sequential():
    assert count("2:4", (4, 4), kind="sequential") == 3**4
    assert count("1:8", (1, 8), kind="sequential") == 8
    assert log2("4:8", (8, 8), kind="sequential") == pytest.approx(8 * math.log2(5))
    with pytest.raises(ValueError, match="kind='sequential' needs a one-directional pattern"):
        count("2:4-T", (4, 4), kind="sequential")


@pytest.mark.parametrize("pattern", ["1:2-T", "2:4-T", "3:6-T", "4:8-T", "2:8-T", "8:16-T", "10:20-T"])
def test_the_estimate_is_close_and_below(pattern):
    m = ms.Pattern.parse(pattern).m
    error = log2(pattern, (m, m)) - log2(pattern, (m, m), method="estimate")
    assert 0 < error < 0.8 / m


def test_what_is_out_of_reach_is_refused_and_estimated():
    with pytest.raises(ValueError, match=r"64 by 64 tiles.*method='estimate'"):
        count("32:64-T", (64, 64))
    with pytest.raises(ValueError, match=r"16 by 16 tiles.*states"):
        count("8:16-T at_most", (16, 16))
    assert 847 < log2("16:32-T", (32, 32), method="estimate") < 847.1
    assert log2("3:3-T", (3, 3), method="estimate") == 0


@pytest.mark.parametrize("m", [30, 31, 32])
def test_every_tile_up_to_32_is_in_reach(m):
    for n in range(m // 2 - 3, m // 2 + 1):
        sum_ = matrices.Sum.cheapest(m, n)
        assert sum_.terms * len(sum_.primes()) <= matrices.LARGEST_WORK


@pytest.mark.parametrize("pattern", ["7:14-T", "6:16-T", "9:18-T"])  # with and without conjugates and turns
def test_threads_and_progress(pattern, monkeypatch):
    m = ms.Pattern.parse(pattern).m
    expected = count(pattern, (m, m))
    monkeypatch.setattr(matrices, "_counted", {})
    calls = []
    number = count(pattern, (m, m), workers=3, progress=lambda done, total: calls.append((done, total)))
    assert number == expected
    assert calls == sorted(calls)
    assert calls[-1][0] == calls[-1][1] == calls[0][1]


@pytest.mark.parametrize(("q", "m"), [(5, 8), (6, 10), (7, 9), (9, 11)])
def test_any_root_of_larger_order_gives_the_same_count(q, m):
    assert matrices.count_by_sum(matrices.Sum(m, 4, q), Execution()) == matrices.bounded(m, m, (4, 4), (4, 4))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"workers": 0}, ValueError, "workers must be at least 1"),
        ({"progress": 3}, TypeError, "progress must be callable"),
        ({"pattern": "2:4-X"}, ValueError, "pattern must look like"),
        ({"shape": (6, 4)}, ValueError, "shape has 6 entries along axis -2, which m=4 does not divide"),
        ({"shape": (4,)}, ValueError, "shape must have .*axes"),
        ({"shape": (4, -4)}, ValueError, "shape must not be negative"),
        ({"shape": 16}, TypeError, "shape must be a sequence of integers, got 16"),
        ({"shape": (4.0, 4)}, TypeError, "shape must be a sequence of integers"),
        ({"method": "guess"}, ValueError, "method must be one of 'exact', 'paper'"),
        ({"method": "estimate"}, ValueError, "method must be one of 'exact', 'paper'"),
        ({"kind": "random"}, ValueError, "kind must be one of"),
        ({"pattern": "2:4-T at_most", "method": "paper"}, ValueError, "exactly n kept, got '2:4-T at_most'"),
        ({"pattern": "2:4-T pad", "method": "paper", "shape": (6, 4)}, ValueError, "shape that m=4 divides"),
        ({"pattern": "2:4 at_most", "kind": "sequential"}, ValueError, "exactly n kept"),
    ],
)
def test_bad_input(arguments, error, message):
    with pytest.raises(error, match=message):
        count(**({"pattern": "2:4-T", "shape": (4, 4)} | arguments))


@pytest.mark.parametrize(
    ("pattern", "shape", "bits"),
    [
        ("1:2", (1 << 22, 1 << 22), 2.0**43),
        ("1:2-T pad", (1 << 40, 1 << 40), 2.0**78),
        ("2:4", (1 << 70, 4), math.log2(6) * 2.0**70),
        ("1:2 axis=0", (2, 3, 1 << 62), 3 * 2.0**62),
    ],
)
def test_no_shape_is_too_large(pattern, shape, bits):
    """Masks of these shapes would fit no memory, so none is made to learn where tiles lie."""
    tracemalloc.start()
    found = log2(pattern, shape)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found == pytest.approx(bits, rel=1e-12)
    assert peak < 1 << 20


def test_the_estimate_is_for_transposable_patterns():
    with pytest.raises(ValueError, match="transposable pattern, got '2:4'"):
        log2("2:4", (4, 4), method="estimate")
    with pytest.raises(ValueError, match="kind='unstructured'"):
        log2("2:4-T", (4, 4), method="estimate", kind="unstructured")


@pytest.mark.parametrize(
    ("pattern", "shape"),
    [
        ("2:2:4", (2, 4)),
        ("2:2:6", (2, 6)),
        ("3:2:5 at_most", (3, 5)),
        ("3:2:5 pad", (4, 7)),
        ("3:2:5 dense", (4, 7)),
        ("2:2:7 at_most", (2, 7)),
    ],
)
def test_vectors_by_enumeration(pattern, shape):
    """Rows keep two entries, or at most two where an edge cuts their columns, in four columns at most."""
    kept = ms.Pattern(pattern)
    height, width = kept.tile_shape
    ways = 1
    for top in range(0, shape[0], height):
        for left in range(0, shape[1], width):
            rows, columns = min(height, shape[0] - top), min(width, shape[1] - left)
            whole = (rows, columns) == (height, width)
            if kept.remainder == "dense" and not whole:
                continue
            exact = kept.constraint == "exact" and columns == width
            choices = [
                set(each)
                for size in ([2] if exact else range(min(2, columns) + 1))
                for each in itertools.combinations(range(columns), size)
            ]
            ways *= sum(len(set().union(*mask)) <= 4 for mask in itertools.product(choices, repeat=rows))
    assert count(pattern, shape) == ways
    assert log2(pattern, shape) == pytest.approx(math.log2(ways))
