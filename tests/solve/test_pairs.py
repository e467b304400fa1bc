"""Patterns in pairs: the reduction to sums against integer programmes that know nothing of it."""

import io
import math
import sys
from fractions import Fraction

import exactly
import numpy as np
import oracles
import programmes
import pytest

import masksolve as ms

PATTERNS = {
    "4:8 pair": ([(-1, 4, 8, True)], [-1]),
    "2:8 pair at_most": ([(-1, 2, 8, False)], [-1]),
    "4:8 pair axis=0": ([(0, 4, 8, True)], [0]),
    "4:8-T pair": ([(-1, 4, 8, True), (-2, 4, 8, True)], [-1, -2]),
    "4:8-T pair at_most": ([(-1, 4, 8, False), (-2, 4, 8, False)], [-1, -2]),
    "2:4 x 4:8 pair": ([(-1, 2, 4, True), (-2, 4, 8, True)], [-1, -2]),
}
"""By text: every group's axis, n, m and whether it is exact, and the axes of the pairs."""


def exact_sums(scores, text, score="value"):
    """Pairs' sums as fractions, and the pattern that they follow."""
    worth = exactly.fractions(scores, score)
    for axis in PATTERNS[text][1]:
        lines = np.moveaxis(worth, axis, 0)
        worth = np.moveaxis(lines[::2] + lines[1::2], 0, axis)
    return worth, ms.Pattern(text).of_pairs


@pytest.mark.parametrize("text", PATTERNS)
def test_no_mask_of_the_integer_programme_keeps_more(text):
    groups, pairs = PATTERNS[text]
    for name, scores in programmes.families((16, 16)).items():
        result = ms.solve(scores, text)
        assert result.status is ms.Status.OPTIMAL, name
        assert ms.verify(result.mask, text).ok
        assert result.mask.shape == scores.shape
        assert result.objective == pytest.approx(oracles.value(scores, result.mask), rel=1e-12)
        if name == "forbidden entries":  # which HiGHS' absolute tolerances drown
            continue
        best = oracles.value(scores, programmes.keeps_most(scores, groups, pairs=pairs))
        # HiGHS' tolerances, and what float32 may lose where sums of narrow types are solved in it.
        allowed = 2e-6 * float(np.abs(scores.astype(np.float64)).max()) * 16
        assert best - result.objective <= allowed, name
        assert result.bound >= best - allowed, name


@pytest.mark.parametrize("score", ["value", "magnitude", "square"])
@pytest.mark.parametrize("text", PATTERNS)
def test_bounds_are_above_the_true_optimum_of_rational_sums(text, score):
    for name, scores in programmes.families((8, 16), seed=1).items():
        if score == "square" and name in ("huge", "denormal", "forbidden entries"):
            continue
        result = ms.solve(scores, text, score=score, tiles=True)
        sums, reduced = exact_sums(scores, text, score)
        assert result.status is ms.Status.OPTIMAL, name
        bounds, magnitudes = result.tiles.bound.ravel(), exactly.fractions(scores, score)
        optima = [exactly.optimum(np.atleast_2d(sums[place]), rows, columns)
                  for place, rows, columns in oracles.tiles(sums.shape, reduced)]  # fmt: skip
        kept = [magnitudes[place][result.mask[place]].ravel()
                for place, _, _ in oracles.tiles(scores.shape, ms.Pattern(text))]  # fmt: skip
        tolerance = Fraction(1e-6 if scores.dtype.itemsize <= 2 else 2e-12)
        for bound, best, entries in zip(bounds.tolist(), optima, kept, strict=True):
            assert Fraction(bound) >= best, f"{name}: {float(best - Fraction(bound))}"
            size = sum(abs(entries), start=Fraction(0))
            assert best - sum(entries, start=Fraction(0)) <= tolerance * size, name
        assert Fraction(result.bound) >= sum(optima), name


def test_sums_that_float64_does_not_hold_are_rounded_upwards():
    scores = np.array([[1.0, 2.0**-60, 1.0, 0.0, 0.5, 0.25, 3.0, -(2.0**-70)]])
    result = ms.solve(scores, "4:8 pair", tiles=True)
    assert Fraction(result.bound) >= Fraction(4) + Fraction(2.0**-60) - Fraction(2.0**-70)
    assert result.status is ms.Status.OPTIMAL
    assert result.gap <= 1e-14


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "int8"])
@pytest.mark.parametrize("text", ["4:8 pair", "4:8-T pair", "4:8 x 2:4 pair"])
def test_squares_of_narrow_types_whose_sums_float32_holds(text, dtype):
    whole = np.random.default_rng(5).integers(-9, 10, (16, 24))
    wanted = ms.solve((whole.astype(float) ** 2), text)
    kind = pytest.importorskip("ml_dtypes").bfloat16 if dtype == "bfloat16" else dtype
    result = ms.solve(whole.astype(kind), text, score="square", duals=True)
    assert result.objective == wanted.objective
    assert result.status is ms.Status.OPTIMAL


@pytest.mark.parametrize("backend", ["exact", "batched", "highs", "ortools", "networkx"])
@pytest.mark.parametrize("text", ["4:8 pair", "4:8-T pair", "4:8-T pair at_most"])
def test_backends_agree(backend, text):
    scores = np.random.default_rng(2).standard_normal((16, 24))
    reference = ms.solve(scores, text).objective
    result = ms.solve(scores, text, backend=backend)
    assert result.objective == pytest.approx(reference, rel=1e-9)
    assert ms.verify(result.mask, text).ok


@pytest.mark.parametrize("backend", ["greedy", "cover", "entropic"])
def test_heuristics_follow_the_pattern(backend):
    scores = np.random.default_rng(3).standard_normal((16, 24))
    assert ms.verify(ms.solve(scores, "4:8-T pair", backend=backend).mask, "4:8-T pair").ok


def test_rows_in_pairs_with_columns_of_entries_are_sums_as_well():
    """Where only the forward pass wants pairs: pairs along rows, and 2:4 in every column of entries."""
    scores = np.random.default_rng(4).standard_normal((8, 16))
    groups = [(-1, 4, 8, True), (-2, 2, 4, True)]
    best = oracles.value(scores, programmes.keeps_most(scores, groups, pairs=[-1]))
    mask = np.repeat(ms.solve(scores[:, ::2] + scores[:, 1::2], "2:4-T").mask, 2, axis=1)
    assert oracles.value(scores, mask) == pytest.approx(best, rel=1e-9)
    assert ms.verify(mask, "4:8 pair").ok
    assert ms.verify(mask.T, "2:4").ok


@pytest.mark.parametrize("text", ["4:8 pair pad", "4:8-T pair pad", "4:8-T pair at_most pad"])
def test_edges_cut_short(text):
    scores = np.random.default_rng(5).standard_normal((2, 12, 18))
    result = ms.solve(scores, text)
    assert ms.verify(result.mask, text).ok
    proof = ms.recompute_certificate(scores, result.mask, text, result.duals)
    assert proof.bound - proof.objective <= 1e-12 * proof.objective
    with pytest.raises(ValueError, match="are no pairs"):
        ms.solve(scores[..., :17], text)


@pytest.mark.parametrize("text", ["4:8 pair dense", "4:8-T pair dense"])
def test_tails_kept_whole(text):
    scores = np.random.default_rng(6).standard_normal((11, 19))
    result = ms.solve(scores, text)
    assert ms.verify(result.mask, text).ok
    assert result.mask[..., 16:].all()
    assert result.mask[8:].all() == text.startswith("4:8-T")
    assert result.objective == pytest.approx(oracles.value(scores, result.mask))
    proof = ms.recompute_certificate(scores, result.mask, text)
    assert proof.objective == pytest.approx(result.objective)
    result.mask[-1, -1] = False
    with pytest.raises(ValueError, match="must be True in the tail"):
        ms.recompute_certificate(scores, result.mask, text)


def test_arguments_are_about_entries():
    scores = np.random.default_rng(7).standard_normal((16, 16)).astype(np.float32)
    keep, drop = np.zeros((2, 16, 16), bool)
    keep[0, 5], drop[0, 0] = True, True
    out = np.zeros((16, 16), bool)
    result = ms.solve(scores, "4:8-T pair", keep=keep, drop=drop, out=out, duals=True, score="magnitude")
    assert result.mask is out
    assert out[:2, 4:6].all()
    assert not out[:2, :2].any()
    assert (str(result.pattern), result.score) == ("4:8-T pair", "magnitude")
    assert result.objective == pytest.approx(float(np.abs(scores.astype(float))[out].sum()))
    assert result.duals.rows.shape == result.duals.columns.shape == (4, 4)
    warm = ms.solve(scores, "4:8-T pair", warm_start=result, score="magnitude")
    assert warm.objective >= result.objective
    proof = ms.recompute_certificate(
        scores, out, "4:8-T pair", result.duals, keep=keep, drop=drop, score="magnitude"
    )
    assert proof.bound >= proof.objective == pytest.approx(result.objective)
    drop[1, 5] = True
    with pytest.raises(ValueError, match="must not both be True in a pair"):
        ms.solve(scores, "4:8-T pair", keep=keep, drop=drop)
    scores[3, 3] = np.nan
    with pytest.raises(ValueError, match=r"scores must be finite, got nan at index \[3, 3\]"):
        ms.solve(scores, "4:8-T pair")


def test_raw_weights_are_told_from_scores_by_the_entries():
    scores = np.random.default_rng(8).standard_normal((64, 64))
    with pytest.warns(ms.SignedScoresWarning):
        ms.solve(scores, "4:8 pair")


def test_files():
    scores = np.random.default_rng(9).random((16, 32))
    for text in ("4:8 pair", "4:8-T pair"):
        result = ms.solve(scores, text, duals=True, tiles=True)
        file = io.BytesIO()
        result.save(file)
        file.seek(0)
        again = ms.MaskResult.load(file)
        assert again.pattern == result.pattern
        assert np.array_equal(again.mask, result.mask)
        assert (
            ms.recompute_certificate(scores, again.mask, again.pattern, again.duals).bound >= again.objective
        )


def test_verification_wants_whole_pairs():
    mask = ms.solve(np.random.default_rng(10).random((8, 8)), "4:8-T pair").mask.copy()
    assert ms.verify(mask, "4:8-T pair").ok
    assert ms.verify(mask, "4:8-T").ok
    row, column = np.argwhere(mask)[0]
    mask[row, column] = False
    report = ms.verify(mask, "4:8-T pair")
    assert not report.ok
    assert {(each.axis, each.index, each.count) for each in report.violations} == {
        ("row", row // 2 * 2, 2), ("column", column // 2 * 2, 2)
    }  # fmt: skip
    assert "row 0 keeps 2, expected exactly 4" in str(report)
    assert ms.verify(mask, "4:8-T pair at_most").ok
    assert not ms.verify(np.array([[1, 0, 1, 0, 1, 0, 0, 0]], bool), "4:8 pair at_most").ok
    single = np.array([[1, 0, 1, 0, 1, 1, 0, 0]], bool)
    assert ms.verify(single, "4:8").ok
    assert "keeps 6, expected exactly 4" in str(ms.verify(single, "4:8 pair"))


@pytest.mark.parametrize(
    "text", ["4:8 pair", "4:8-T pair", "2:8 pair at_most", "4:8 pair pad", "4:8-T pair dense"]
)
def test_packed_with_a_nibble_for_eight_entries(text):
    rng = np.random.default_rng(11)
    weights = rng.standard_normal((16, 32) if text.count(" ") == 1 or "at_most" in text else (18, 28))
    mask = ms.solve(weights, text, score="magnitude").mask
    if "at_most" in text:
        mask &= rng.random(mask.shape) < 0.7  # pairs of which one entry is zero
    packed = ms.pack(weights, mask, text)
    for side, held in (("rows", packed.rows), ("columns", packed.columns)):
        if held is None:
            continue
        assert held.pair
        assert np.array_equal(held.indices[..., 1::2], held.indices[..., ::2] + 1)
        assert np.array_equal(ms.unpack(packed, side=side), np.where(mask, weights, 0))
        for encoding in ("positions", "bitmap", "rank"):
            stream = ms.hardware.metadata(held, encoding)
            assert np.array_equal(ms.hardware.positions(stream), held.indices)
        if held.n == 4:
            assert ms.hardware.metadata(held).field_bits == 4
            assert held.nbytes == held.values.nbytes + -(-held.indices.size // 8)


def test_nibbles_bit_by_bit():
    mask = np.array([[0, 0, 1, 1, 0, 0, 1, 1, 1, 1, 0, 0, 1, 1, 0, 0]], bool)  # pairs 1, 3 and 0, 2
    side = ms.pack(np.ones((1, 16), np.int8), mask, "4:8 pair").rows
    assert ms.hardware.metadata(side).data.tolist() == [[0b10_00_11_01]]
    with pytest.raises(ValueError, match="4:8 in pairs with 8-bit weights"):
        ms.hardware.cutlass_metadata(side)


def test_counted_and_costed():
    assert ms.diversity.count("4:8 pair", (1, 16)) == math.comb(4, 2) ** 2
    assert ms.diversity.count("4:8-T pair", (8, 8)) == 90
    assert ms.diversity.log2("4:8-T pair", (8, 8), method="estimate") == pytest.approx(
        ms.diversity.log2("2:4-T", (4, 4), method="estimate")
    )
    with pytest.raises(ValueError, match="count '2:4-T'"):
        ms.diversity.count("4:8-T pair", (8, 8), method="paper")
    assert ms.hardware.cost("4:8 pair") == ms.hardware.cost("2:4")
    with pytest.raises(ValueError, match="formulate '2:4-T' on sums of pairs"):
        ms.formulation(np.ones((8, 8)), "4:8-T pair")


def test_batches_and_empty_arrays():
    scores = np.random.default_rng(12).random((2, 3, 8, 16))
    whole = ms.solve(scores, "4:8-T pair")
    assert whole.objective == pytest.approx(
        sum(ms.solve(x, "4:8-T pair").objective for y in scores for x in y)
    )
    assert ms.solve(np.zeros((0, 8)), "4:8-T pair").mask.shape == (0, 8)
    assert ms.solve(np.zeros(16), "4:8 pair").mask.sum() == 8


@pytest.mark.parametrize("text", ["4:8 pair", "4:8-T pair", "4:8-T pair dense", "2:4 x 4:8"])
def test_where_the_arrays_are(text):
    torch = pytest.importorskip("torch")
    scores = torch.from_numpy(np.random.default_rng(13).standard_normal((16, 24)).astype(np.float32))
    reference = ms.solve(scores.numpy(), text)
    out = torch.zeros((16, 24), dtype=torch.bool)
    result = ms.solve(scores, text, backend="batched", out=out)
    assert result.mask is out
    assert ms.verify(out.numpy(), text).ok
    assert result.objective == pytest.approx(reference.objective, rel=1e-6)
    if sys.modules.get("jax") is not None:
        import jax.numpy as jnp

        there = ms.solve(jnp.asarray(scores.numpy()), text, backend="batched")
        assert there.objective == pytest.approx(reference.objective, rel=1e-6)
