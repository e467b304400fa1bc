"""V:N:M: columns for all rows of a tile, against a mixed-integer programme, and all that knows them."""

import itertools
import math

import numpy as np
import pytest
from scipy import optimize, sparse

import masksolve as ms
from masksolve.backends.columns import Columns
from masksolve.certificate.columns import bound_columns
from masksolve.testing.families import FAMILIES

SUMMABLE = sorted(set(FAMILIES) - {"huge_float64", "denormal", "denormal_float32"})


def milp(scores: np.ndarray, *, exact: bool) -> float:
    """The optimum of one tile by HiGHS: x_ij <= y_j, four y, two x in each row."""
    height, width = scores.shape
    entries = height * width
    scale = max(float(np.abs(scores).max()), 1e-300)
    rows = sparse.kron(sparse.eye(height), np.ones((1, width)))
    linked = sparse.hstack([sparse.eye(entries), -sparse.kron(np.ones((height, 1)), sparse.eye(width))])
    counted = sparse.hstack([rows, sparse.csr_matrix((height, width))])
    chosen = sparse.hstack([sparse.csr_matrix((1, entries)), np.ones((1, width))])
    kept = min(2, width)
    found = optimize.milp(
        -np.concatenate([scores.astype(float).ravel() / scale, np.zeros(width)]),
        integrality=np.ones(entries + width),
        bounds=optimize.Bounds(0, 1),
        constraints=[
            optimize.LinearConstraint(counted, kept if exact else 0, kept),
            optimize.LinearConstraint(linked.tocsr(), -np.inf, 0),
            optimize.LinearConstraint(chosen, 0, 4),
        ],
        options={"mip_rel_gap": 0.0},
    )
    assert found.status == 0, found.message
    mask = found.x[:entries].reshape(height, width) > 0.5
    return math.fsum(scores.astype(float)[mask].tolist())


@pytest.mark.parametrize("family", SUMMABLE)
@pytest.mark.parametrize("constraint", ["exact", "at_most"])
def test_no_mask_keeps_more(family: str, constraint: str) -> None:
    rng = np.random.default_rng(len(family))
    pattern = ms.Pattern(2, 8, vector=5, constraint=constraint)
    scores = FAMILIES[family](rng, (10, 16))
    result = ms.solve(scores, pattern, tiles=True)
    assert ms.verify(result.mask, pattern).ok
    kept = scores.astype(float)
    assert result.objective == pytest.approx(math.fsum(kept[result.mask].tolist()), rel=1e-12, abs=1e-300)
    assert result.status is ms.Status.OPTIMAL
    for (i, j), objective in np.ndenumerate(result.tiles.objective):
        tile = scores[5 * i : 5 * i + 5, 8 * j : 8 * j + 8]
        best = milp(tile, exact=constraint == "exact")
        assert objective == pytest.approx(best, rel=1e-7, abs=1e-9 * float(np.abs(tile.astype(float)).sum()))
        assert result.tiles.bound[i, j] >= best - 1e-12 * abs(best)
    proof = ms.recompute_certificate(scores, result.mask, pattern)
    assert proof.objective == pytest.approx(result.objective, rel=1e-12, abs=1e-300)
    assert result.objective <= proof.bound <= result.bound + 1e-11 * float(np.abs(kept).sum())


@pytest.mark.parametrize("forbidden", [-3e4, -1e9, -1e20, -3e37])
def test_forbidden_entries_hide_no_better_columns(forbidden: float) -> None:
    rng = np.random.default_rng(5)
    scores = rng.standard_normal((160, 16))
    scores[rng.random(scores.shape) < 0.4] = forbidden
    pattern = ms.Pattern(2, 8, vector=8)
    result = ms.solve(scores, pattern, tiles=True)
    for (i, j), objective in np.ndenumerate(result.tiles.objective):
        rows = scores[8 * i : 8 * i + 8, 8 * j : 8 * j + 8].tolist()
        best = max(
            math.fsum(value for row in rows for value in sorted(row[k] for k in columns)[-2:])
            for columns in itertools.combinations(range(8), 4)
        )
        kept = [
            abs(float(value))
            for value in scores[8 * i : 8 * i + 8, 8 * j : 8 * j + 8][
                result.mask[8 * i : 8 * i + 8, 8 * j : 8 * j + 8]
            ]
        ]
        assert best - objective <= 1e-12 * math.fsum(kept)
    assert result.status is ms.Status.OPTIMAL


@pytest.mark.parametrize("width", [1, 2, 3, 4, 5, 9, 13, 16])
def test_widths_against_enumeration(width: int) -> None:
    rng = np.random.default_rng(width)
    for exact in (True, False):
        scores = rng.standard_normal((6, width))
        values = scores if exact else np.maximum(scores, 0)
        best = max(
            np.sort(values[:, list(columns)], axis=1)[:, -2:].sum()
            for columns in itertools.combinations(range(width), min(4, width))
        )
        # A cut tile keeps at most two entries in each row, a whole one exactly two.
        m = max(width, 4) if exact and width >= 4 else width + 4
        pattern = ms.Pattern(2, m, vector=6, constraint="exact" if exact else "at_most", remainder="pad")
        if width < 4 and exact:
            best = np.sort(np.maximum(scores, 0), axis=1)[:, -2:].sum()
        assert ms.solve(scores, pattern).objective == pytest.approx(best)


def test_forbidden_entries_are_no_obstacle() -> None:
    rng = np.random.default_rng(0)
    scores = np.abs(rng.standard_normal((8, 12)))
    wall = np.where(rng.random((8, 12)) < 0.15, -1e20, scores)
    result = ms.solve(wall, "8:2:12 at_most")
    assert result.status is ms.Status.OPTIMAL
    assert result.objective == pytest.approx(milp(np.maximum(wall, 0), exact=False))
    exactly = ms.solve(wall, "8:2:12")
    kept = [math.fsum(row[mask].tolist()) for row, mask in zip(wall, exactly.mask, strict=True)]
    best = max(
        math.fsum(np.sort(wall[:, list(columns)], axis=1)[:, -2:].ravel().tolist())
        for columns in itertools.combinations(range(12), 4)
    )
    assert math.fsum(kept) == pytest.approx(best, rel=1e-15)


@pytest.mark.parametrize("m", [20, 40, 64])
def test_wide_tiles_have_a_bound_whatever_the_effort(m: int) -> None:
    rng = np.random.default_rng(m)
    scores = rng.random((2 * 16, m))
    results = [ms.solve(scores, ms.Pattern(2, m, vector=16), most=most) for most in (0, 10, 1_000_000)]
    assert results[-1].status is ms.Status.OPTIMAL
    best = results[-1].objective
    for result in results:
        assert result.objective <= best * (1 + 1e-12)
        assert result.bound >= best
        assert ms.verify(result.mask, result.pattern).ok
    assert results[0].status is ms.Status.FEASIBLE
    assert results[0].stats["open"] > 0
    tiles, mask = scores.reshape(2, 16, m), results[0].mask.reshape(2, 16, m)
    assert bound_columns(tiles, mask, exact=True).sum() >= best


def test_results_do_not_depend_on_workers_or_framework() -> None:
    weights = np.random.default_rng(1).standard_normal((2, 128, 64)).astype(np.float32)
    one = ms.solve(weights, "64:2:8", score="magnitude")
    two = ms.solve(weights, "64:2:8", score="magnitude", workers=2)
    assert np.array_equal(one.mask, two.mask)
    assert one.backend == "columns"
    assert one.duals is None
    torch = pytest.importorskip("torch")
    tensor = torch.from_numpy(weights)
    assert torch.equal(ms.solve(tensor, "64:2:8", score="magnitude").mask, torch.from_numpy(one.mask))


def test_a_time_limit_leaves_a_mask_that_follows_the_pattern() -> None:
    scores = np.random.default_rng(2).standard_normal((256, 2048))
    for pattern in ("64:2:16", "64:2:16 at_most"):
        result = ms.solve(scores, pattern, time_limit=1e-9)
        assert result.status is ms.Status.TIME_LIMIT
        assert ms.verify(result.mask, pattern).ok
        assert result.bound >= ms.solve(scores, pattern).objective


def test_verify_names_tiles_and_rows() -> None:
    mask = np.zeros((4, 8), bool)
    mask[0, [0, 1]] = mask[1, [2, 3]] = mask[2, [4, 5]] = mask[3, [0, 6]] = True
    found = ms.verify(mask, "2:2:8")
    assert [(v.tile, v.axis, v.count) for v in found.violations] == []
    wrong = ms.verify(mask, "4:2:8")
    assert [(v.tile, v.axis, v.count) for v in wrong.violations] == [(0, "tile", 7)]
    assert "tile 0 uses 7 columns, expected at most 4" in str(wrong)
    assert wrong.to_dict()["violations"][0]["most"] == 4
    mask[3, 7] = True
    rows = ms.verify(mask, "2:2:8")
    assert [(v.tile, v.axis, v.index, v.count) for v in rows.violations] == [
        (1, "row", 1, 3),
        (1, "tile", 0, 5),
    ]


@pytest.mark.parametrize("pattern", ["16:2:8", "16:2:16 at_most", "12:2:10 pad", "12:2:10 dense", "1:2:4"])
@pytest.mark.parametrize("dtype", [np.float32, np.int8, np.complex64])
def test_packing_goes_there_and_back(pattern: str, dtype: type) -> None:
    rng = np.random.default_rng(3)
    weights = (100 * rng.standard_normal((2, 32, 48))).astype(dtype)
    mask = ms.solve(np.abs(weights).astype(np.float64), pattern).mask
    packed = ms.pack(weights, mask, pattern)
    assert np.array_equal(ms.unpack(packed), np.where(mask, weights, 0))
    assert (packed.rows.n, packed.rows.m) == (2, 4)
    assert packed.used.shape[-1] == 4
    assert (np.diff(packed.used.astype(int), axis=-1) > 0).all()
    assert packed.rows.indices.max() < 4
    stream = ms.hardware.metadata(packed.rows)
    assert np.array_equal(ms.hardware.positions(stream), packed.rows.indices)
    if pattern == "16:2:8":
        assert packed.used.shape == (2, 2, 6, 4)
        assert packed.nbytes < ms.pack(weights, ms.solve(np.abs(weights), "2:4").mask, "2:4").nbytes


def test_words_and_objects() -> None:
    pattern = ms.Pattern("64:2:8 at_most pad")
    assert pattern == ms.Pattern(2, 8, vector=64, constraint="at_most", remainder="pad")
    assert ms.Pattern(str(pattern)) == pattern
    assert "in the same 4 columns for 64 rows" in repr(pattern)
    assert pattern.density == 0.25
    misfit = ms.Pattern("64:2:8").misfit((32, 8))
    assert misfit.reason == "has 32 entries along axis -2, which V=64 does not divide"
    for text, message in {
        "64:3:8": "keeps n=2 of four columns",
        "64:2:3": "keeps n=2 of four columns",
        "0:2:8": "vector must be between 1 and 1024, got 0",
        "64:2:8-T": "must be left alone",
        "64:2:8 pair": "must be left alone",
        "64:2:8 axis=0": "must be left alone",
        "64:8:2": "did you mean '64:2:8'",
        "64:2:8 pads": "did you mean '64:2:8 pad'",
    }.items():
        with pytest.raises(ValueError, match=message):
            ms.Pattern(text)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s: ms.solve(s, "8:2:8", backend="exact"), "use backend='columns'"),
        (lambda s: ms.solve(s, "2:4", backend="columns"), "use backend='exact'"),
        (lambda s: ms.solve(s, "8:2:8", warm_start=ms.solve(s, "8:2:8")), "has no prices"),
        (lambda s: ms.allocate([s], "8:2:8"), "pattern must have an n to choose"),
        (lambda s: ms.diversity.count("8:2:8", s.shape, "paper"), "does not speak of V:N:M"),
        (
            lambda s: ms.diversity.count("8:2:8", s.shape, kind="sequential"),
            "needs a one-directional pattern",
        ),
        (lambda s: ms.formulation(s, "8:2:8"), "flow network"),
        (lambda s: ms.permutation.search(s, "8:2:8"), "no search for orders"),
        (lambda s: ms.reconstruction.sparsegpt(s, np.eye(16), "8:2:8"), "from left to right"),
        (lambda s: ms.pack(s, s > -9, "8:2:8"), "mask must follow '8:2:8'"),
        (lambda s: ms.recompute_certificate(s, s > -9, "8:2:8"), "mask must follow '8:2:8'"),
        (lambda s: ms.Pattern("8:2:8").relaxed(0.5), "an n that can grow"),
        (lambda s: Columns(most=-1), "most must be at least 0"),
    ],
)
def test_what_cannot_be_is_refused_with_a_reason(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(np.random.default_rng(4).standard_normal((16, 16)))


def test_hardware_and_dense_tiles_know_it() -> None:
    assert ms.hardware.cost("64:2:8") == ms.hardware.cost("2:4")
    scores = np.random.default_rng(5).random((32, 32))
    found = ms.dense_tiles(scores, "8:2:8", share=0.25, tile=16)
    assert scores[found.masks].sum() == pytest.approx(found.objective)
    assert ms.verify(found.masks, "8:2:8", dense=found.dense, tile=16).ok


def test_layers_are_repaired_and_saved(tmp_path) -> None:
    rng = np.random.default_rng(6)
    w, x = rng.standard_normal((16, 16)), rng.standard_normal((64, 16))
    weights, mask = ms.reconstruction.admm(w, x.T @ x, "8:2:8")
    assert ms.verify(mask, "8:2:8").ok
    assert np.array_equal(weights != 0, mask)
    result = ms.solve(np.abs(w), "8:2:8")
    result.save(tmp_path / "result.npz")
    again = ms.MaskResult.load(tmp_path / "result.npz")
    assert np.array_equal(again.mask, result.mask)
    assert again.pattern == result.pattern
