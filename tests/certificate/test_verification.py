"""The check of masks: exactly the groups that keep too few or too many, in words."""

import itertools
from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import given
from hypothesis import strategies as st

import masksolve as ms
from masksolve import Pattern, Violation

BoolArray = npt.NDArray[np.bool_]


def circulant(shape: tuple[int, ...], n: int, m: int) -> BoolArray:
    """A mask that keeps exactly n of m in rows and columns."""
    rows, columns = np.ogrid[: shape[-2], : shape[-1]]
    return np.broadcast_to((columns - rows) % m < n, shape).copy()


def violations(mask: BoolArray, pattern: Pattern) -> list[Violation]:
    """What verify should find in a matrix, group by group."""
    found = []
    n, m = pattern.n, pattern.m
    height, width = mask.shape
    step = m if pattern.transposable else 1
    if pattern.remainder == "dense":
        height, width = height // step * step, width // m * m
    corners = itertools.product(range(0, height, step), range(0, width, m))
    for number, (top, left) in enumerate(corners):
        tile = mask[top : top + step, left : left + m]
        sides = [("row", tile), ("column", tile.T)] if pattern.transposable else [("group", tile)]
        for axis, lines in sides:
            for index, line in enumerate(lines):
                count = int(line.sum())
                exact = pattern.constraint == "exact" and len(line) == m
                if count > n or (exact and count < n):
                    found.append(Violation(number, axis, index, count))
    return found


@given(
    st.integers(1, 5).flatmap(lambda m: st.tuples(st.integers(1, m), st.just(m))),
    st.booleans(),
    st.sampled_from(["exact", "at_most"]),
    st.sampled_from(["pad", "dense"]),
    st.tuples(st.integers(0, 11), st.integers(0, 11)),
    st.lists(st.tuples(st.integers(0, 10), st.integers(0, 10)), max_size=4),
)
def test_verify_reports_exactly_the_planted_violations(
    amounts: tuple[int, int],
    transposable: bool,
    constraint: Any,
    remainder: Any,
    shape: tuple[int, int],
    flips: list[tuple[int, int]],
) -> None:
    pattern = Pattern(*amounts, transposable=transposable, constraint=constraint, remainder=remainder)
    mask = circulant(shape, *amounts)
    assert ms.verify(mask, pattern).ok
    for i, j in flips:
        if i < shape[0] and j < shape[1]:
            mask[i, j] ^= True
    report = ms.verify(mask, pattern)
    expected = violations(mask, pattern)
    assert report.violations == expected
    assert (len(report), report.ok, bool(report)) == (len(expected), not expected, not expected)


def test_both_orientations_are_checked() -> None:
    rows_right = np.array([[1, 1, 0, 0], [1, 1, 0, 0], [1, 1, 0, 0], [1, 1, 0, 0]], np.bool_)
    assert ms.verify(rows_right, "2:4").ok
    assert {v.axis for v in ms.verify(rows_right, "2:4-T").violations} == {"column"}
    assert {v.axis for v in ms.verify(rows_right.T, "2:4-T").violations} == {"row"}
    assert ms.verify(rows_right.T, "2:4 axis=0").ok


def test_tiles_are_numbered_across_the_batch() -> None:
    mask = circulant((2, 8, 12), 2, 4)
    mask[1, 4, 9] ^= True
    tile = 6 + 3 + 2  # second matrix, second tile row, third tile column
    assert {v.tile for v in ms.verify(mask, "2:4-T").violations} == {tile}


def test_verify_along_another_axis() -> None:
    mask = circulant((8, 3, 4), 2, 4).swapaxes(0, 2).copy()  # groups of 4 along axis 0, shape (4, 3, 8)
    assert ms.verify(mask, "2:4 axis=0").ok
    mask[:, 1, 5] = True
    assert ms.verify(mask, "2:4 axis=0").violations == [Violation(1 * 8 + 5, "group", 0, 4)]


def test_verify_of_nothing() -> None:
    assert str(ms.verify(np.empty((0, 8, 8), np.bool_), "4:8-T")) == "ok: 0 tiles follow '4:8-T'"


def test_verify_reads_any_memory() -> None:
    mask = circulant((8, 8), 2, 4)
    mask.flags.writeable = False
    assert ms.verify(mask[::-1], "2:4-T").ok
    assert ms.verify(mask.T, "2:4-T").ok
    assert ms.verify(mask.tolist(), "2:4-T").ok


def test_counts_of_the_longest_groups() -> None:
    report = ms.verify(np.ones((1, 128), np.bool_), "32:64")
    assert [v.count for v in report.violations] == [64, 64]


def test_report_is_readable() -> None:
    mask = circulant((8, 10), 2, 4)
    mask[0, 0] = False
    mask[7, 8:] = True
    mask[4:, 9] = [1, 1, 0, 1]
    assert str(ms.verify(mask, "2:4-T pad")).splitlines() == [
        "3 violations of '2:4-T pad' in 6 tiles:",
        "  tile 0, row 0 keeps 1, expected exactly 2",
        "  tile 0, column 0 keeps 1, expected exactly 2",
        "  tile 5, column 1 keeps 3, expected exactly 2",
    ]
    cut = np.ones((1, 7), np.bool_)
    assert str(ms.verify(cut, "2:4 pad")).splitlines()[1:] == [
        "  group 0 keeps 4, expected exactly 2",
        "  group 1 keeps 3, expected at most 2",
    ]


def test_long_reports_are_shortened() -> None:
    report = ms.verify(np.ones((8, 64), np.bool_), "2:4-T")
    lines = str(report).splitlines()
    assert len(lines) == 12
    assert lines[-1] == "  ... and 246 more"
    assert [f"tile {v.tile}, {v.axis} {v.index} " in line
            for v, line in zip(report.violations, lines[1:11], strict=False)] == [True] * 10  # fmt: skip
    assert repr(report) == "Verification(ok=False, violations=256, pattern='2:4-T')"


def test_huge_masks_need_no_memory_of_their_own() -> None:
    """Counts are taken where the mask is: here one entry, broadcast."""
    mask = np.broadcast_to(np.True_, (1 << 12, 1 << 12))
    report = ms.verify(mask, "4:4-T")
    assert report.ok
    assert report.tiles == 1 << 20
