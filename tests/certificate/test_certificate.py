"""Proofs: the dual bound against an LP solver, prices for masks, and the check of masks."""

import itertools
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import scipy.optimize
from hypothesis import assume, given
from hypothesis import strategies as st

import masksolve as ms
from masksolve import Pattern, Violation
from masksolve.certificate import certify, feasible, price, recompute
from masksolve.layout import Chunk
from masksolve.types import Bounds, Prices

BoolArray = npt.NDArray[np.bool_]


def chunk_of(
    scores: npt.ArrayLike,
    row_bounds: Bounds,
    column_bounds: Bounds,
    keep: npt.ArrayLike | None = None,
    drop: npt.ArrayLike | None = None,
) -> Chunk:
    """One tile."""
    return Chunk(
        scores=np.asarray(scores, np.float64)[np.newaxis],
        keep=None if keep is None else np.asarray(keep, np.bool_)[np.newaxis],
        drop=None if drop is None else np.asarray(drop, np.bool_)[np.newaxis],
        row_bounds=row_bounds,
        column_bounds=column_bounds,
        numbers=[0],
    )


def linear_programme(chunk: Chunk) -> tuple[float, BoolArray] | None:
    """Optimum of a one-tile chunk by HiGHS and a mask that attains it; None if infeasible."""
    (scores,) = chunk.scores
    height, width = scores.shape
    sums = [
        (np.kron(np.eye(height), np.ones(width)), chunk.row_bounds),
        (np.tile(np.eye(width), height), chunk.column_bounds),
    ]
    bounds = np.zeros((scores.size, 2))
    bounds[:, 1] = 1
    if chunk.keep is not None:
        bounds[chunk.keep.ravel(), 0] = 1
    if chunk.drop is not None:
        bounds[chunk.drop.ravel(), 1] = 0
    answer = scipy.optimize.linprog(
        -scores.ravel(),
        A_ub=np.concatenate([sign * matrix for matrix, _ in sums for sign in (1, -1)]),
        b_ub=np.concatenate([
            np.full(len(matrix), limit) for matrix, (least, most) in sums for limit in (most, -least)
        ]),
        bounds=bounds,
        method="highs-ds",
    )  # fmt: skip
    if answer.status == 2:
        return None
    assert answer.status == 0
    mask = answer.x.reshape(1, height, width) > 0.5
    assert np.abs(answer.x.reshape(mask.shape) - mask).max() < 1e-9  # total unimodularity
    return -answer.fun, mask


SCORES = st.integers(-4, 4).map(float) | st.floats(-100, 100, allow_subnormal=False)


@st.composite
def any_chunk(draw: st.DrawFn) -> Chunk:
    """One tile with any bounds, forced entries perhaps; feasible or not."""
    height, width = draw(st.integers(1, 5)), draw(st.integers(1, 5))

    def grid(entry: st.SearchStrategy[Any]) -> list[list[Any]]:
        return draw(
            st.lists(st.lists(entry, min_size=width, max_size=width), min_size=height, max_size=height)
        )

    def bounds(length: int) -> Bounds:
        most = draw(st.integers(1, length))
        return draw(st.sampled_from([0, most])), most

    force = draw(st.booleans())
    choices = np.array(grid(st.sampled_from("..........kd"))) if force else None
    return chunk_of(
        grid(SCORES),
        bounds(width),
        bounds(height),
        None if choices is None else choices == "k",
        None if choices is None else choices == "d",
    )


def scale(chunk: Chunk) -> float:
    return float(np.abs(chunk.scores).sum()) + 1.0


@given(any_chunk(), st.lists(st.floats(-150, 150), min_size=10, max_size=10))
def test_any_prices_bound_the_optimum(chunk: Chunk, values: list[float]) -> None:
    solved = linear_programme(chunk)
    assume(solved is not None)
    assert solved is not None
    optimum, mask = solved
    height, width = chunk.scores.shape[1:]
    prices = Prices(np.array([values[:height]]), np.array([values[5 : 5 + width]]))
    certificate = certify(chunk, mask, prices)
    assert certificate.bound >= optimum - 1e-9 * scale(chunk)
    assert certificate.objective == pytest.approx(optimum, abs=1e-9 * scale(chunk))


@given(any_chunk())
def test_price_proves_an_optimal_mask(chunk: Chunk) -> None:
    solved = linear_programme(chunk)
    assume(solved is not None)
    assert solved is not None
    optimum, mask = solved
    assert feasible(chunk, mask).all()
    bound = certify(chunk, mask, price(chunk, mask)).bound
    assert bound == pytest.approx(optimum, abs=1e-9 * scale(chunk))


@given(any_chunk(), st.permutations(range(5)), st.permutations(range(5)))
def test_price_bounds_whatever_mask_it_is_given(chunk: Chunk, rows: list[int], columns: list[int]) -> None:
    solved = linear_programme(chunk)
    assume(solved is not None)
    assert solved is not None
    optimum, mask = solved
    _, height, width = mask.shape
    other = mask[:, [row for row in rows if row < height]]
    other = other[:, :, [column for column in columns if column < width]]
    certificate = certify(chunk, other, price(chunk, other))
    assert np.isfinite(certificate.bound)
    assert certificate.bound >= optimum - 1e-9 * scale(chunk)


@pytest.mark.parametrize("pattern", ["8:16-T", "3:16-T at_most", "8:16-T pad"])
@pytest.mark.parametrize("step", [0.0, 0.5])
def test_price_proves_optimal_masks_of_larger_tiles(pattern: str, step: float) -> None:
    scores = np.random.default_rng(2).normal(size=(3, 32, 48))
    if step:
        scores = np.round(scores / step) * step
    if "pad" in pattern:
        scores = scores[:, 3:, 5:]
    mask = ms.solve(scores, pattern).mask
    objective, bound = recompute(scores, mask, pattern)
    assert bound == pytest.approx(objective, rel=1e-13)


def test_one_directional_prices_do_not_depend_on_the_mask() -> None:
    scores = np.random.default_rng(3).normal(size=(6, 8))
    for pattern in ("2:4", "3:4 at_most"):
        optimum = ms.solve(scores, pattern).objective
        poor = circulant((6, 8), 2, 4)
        assert recompute(scores, poor, pattern).bound == pytest.approx(optimum, rel=1e-13)


def test_a_chunk_is_certified_as_the_sum_of_its_tiles() -> None:
    rng = np.random.default_rng(1)
    scores = rng.normal(size=(7, 4, 4))
    prices = Prices(rng.normal(size=(7, 4)), rng.normal(size=(7, 4)))
    mask = np.array([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1]], np.bool_)
    masks = np.broadcast_to(mask, scores.shape)
    parts = [
        certify(chunk_of(s, (2, 2), (2, 2)), mask[np.newaxis], Prices(u[np.newaxis], v[np.newaxis]))
        for s, u, v in zip(scores, prices.rows, prices.columns, strict=True)
    ]
    whole = certify(Chunk(scores, None, None, (2, 2), (2, 2), list(range(7))), masks, prices)
    assert whole == pytest.approx((sum(p.objective for p in parts), sum(p.bound for p in parts)), rel=1e-14)


def test_the_bound_is_the_formula() -> None:
    scores = [[3.0, -1.0], [2.0, 5.0]]
    u, v = [1.0, -2.0], [0.5, -0.25]
    chunk = chunk_of(scores, (0, 1), (1, 1), keep=[[0, 1], [0, 0]], drop=[[0, 0], [1, 0]])
    expected = (
        (max(0, 1.0) + max(0, -2.0))  # rows keep 0 to 1
        + (0.5 - 0.25)  # columns keep exactly 1
        + max(0, 3.0 - 1.0 - 0.5)
        + (-1.0 - 1.0 + 0.25)  # forced
        + 0  # forbidden
        + max(0, 5.0 + 2.0 + 0.25)
    )
    mask = np.array([[[False, True], [False, False]]])
    certificate = certify(chunk, mask, Prices(np.array([u]), np.array([v])))
    assert certificate == (-1.0, expected)


def test_no_prices_no_bound() -> None:
    chunk = chunk_of([[1.0, 2.0]], (1, 1), (0, 1))
    assert certify(chunk, np.array([[[False, True]]]), None) == (2.0, np.inf)


@given(any_chunk(), st.randoms(use_true_random=False))
def test_feasible_is_the_definition(chunk: Chunk, random: Any) -> None:
    (scores,) = chunk.scores
    height, width = scores.shape
    mask = np.array([[random.random() < 0.5 for _ in range(width)] for _ in range(height)])
    expected = all(chunk.row_bounds[0] <= sum(row) <= chunk.row_bounds[1] for row in mask.tolist())
    expected &= all(chunk.column_bounds[0] <= sum(line) <= chunk.column_bounds[1] for line in mask.T.tolist())
    for i, j in np.ndindex(height, width):
        expected &= chunk.keep is None or mask[i, j] or not chunk.keep[0, i, j]
        expected &= chunk.drop is None or not mask[i, j] or not chunk.drop[0, i, j]
    assert feasible(chunk, mask[np.newaxis]).tolist() == [bool(expected)]


# verify


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


# recompute


def test_recompute_proves_an_optimum_without_duals() -> None:
    scores = np.array([[[9.0, 1.0], [1.0, 1.0]], [[1.0, 2.0], [2.0, 1.0]]])
    mask = np.array([[[1, 0], [0, 1]], [[0, 1], [1, 0]]], np.bool_)
    assert recompute(scores, mask, "1:2-T") == (14.0, 14.0)
    objective, bound = recompute(scores, ~mask, "1:2-T")
    assert objective == 4.0
    assert bound >= 14.0


def test_recompute_uses_the_duals_it_is_given() -> None:
    scores = np.array([[3.0, 1.0], [1.0, 3.0]])
    zero = Prices(np.zeros((1, 2)), np.zeros((1, 2)))
    good = Prices(np.ones((1, 2)), np.zeros((1, 2)))
    assert recompute(scores, np.eye(2, dtype=np.bool_), "1:2-T", zero) == (6.0, 8.0)
    assert recompute(scores, np.eye(2, dtype=np.bool_), "1:2-T", good) == (6.0, 6.0)


def test_recompute_counts_dense_tails() -> None:
    scores = np.array([[3.0, 1.0, -0.5]])
    mask = np.array([[True, False, True]])
    assert recompute(scores, mask, "1:2 dense") == (2.5, 2.5)


def test_recompute_of_nothing() -> None:
    scores, mask = np.empty((0, 4, 4)), np.empty((0, 4, 4), np.bool_)
    assert recompute(scores, mask, "2:4-T") == (0.0, 0.0)
    assert recompute(scores, mask, "2:4-T", Prices(np.empty((0, 4)), np.empty((0, 4)))) == (0.0, 0.0)


DIAGONAL = np.eye(2, dtype=np.bool_)


@pytest.mark.parametrize(
    ("mask", "pattern", "options", "message"),
    [
        (DIAGONAL[:1], "1:2-T", {}, r"mask must have the shape of scores \(2, 2\), got \(1, 2\)"),
        (~np.tri(2, dtype=bool), "1:2-T", {}, r"mask must follow '1:2-T' and the forced choices, tile 0"),
        (DIAGONAL, "1:2-T", {"drop": DIAGONAL}, r"mask must follow '1:2-T' and the forced choices, tile 0"),
        (DIAGONAL, "1:2-T", {"keep": ~DIAGONAL}, r"mask must follow '1:2-T' and the forced choices, tile 0"),
        (DIAGONAL, "1:3-T dense", {}, r"mask must be True in the tail that remainder='dense'"),
        (DIAGONAL, "1:2-T", {"duals": Prices(np.zeros((2, 2)), np.zeros((1, 2)))},
         r"duals must be \(rows, columns\) of shapes \[\(1, 2\), \(1, 2\)\].*got \[\(2, 2\), \(1, 2\)\]"),
        (DIAGONAL, "1:2", {"duals": Prices(np.zeros((2, 1)), np.zeros((2, 2)))},
         r"duals must be \(rows, columns\) of shapes \[\(2, 1\), None\].*got"),
    ],
)  # fmt: skip
def test_recompute_refuses(mask: BoolArray, pattern: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        recompute(np.ones((2, 2)), mask, pattern, **options)
