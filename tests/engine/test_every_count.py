"""Every n of every m, all m of m included: the same optimum, proven by the same kernels."""

import ml_dtypes
import numpy as np
import programmes
import pytest

import masksolve as ms
from masksolve._ext.tiles import instruction_sets

RUNNING = [name for name, runs in instruction_sets().items() if runs]
SIDES = (1, 2, 3, 4, 5, 7, 8, 9)
pytestmark = pytest.mark.filterwarnings("ignore::masksolve.SignedScoresWarning")

EXACT = ("1:1-T", "2:2-T", "3:3-T", "4:4-T", "7:7-T", "8:8-T", "9:9-T", "32:32-T", "64:64-T", "4:4 x 8:8",
         "16:16 x 4:4", "2:2-T pair", "8:8-T pair", "8:8", "64:64")  # fmt: skip
AT_MOST = (*(f"{m}:{m}-T at_most" for m in (1, 2, 3, 4, 7, 8, 32, 64)), "4:4 x 8:8 at_most",
           "8:8-T at_most pad", "8:8 at_most")  # fmt: skip
FREE_COLUMNS = ("2:4 x 8:8 at_most", "3:4 x 4:4 at_most", "15:32 x 8:8 at_most", "5:7 x 9:9 at_most")


def shape_of(text):
    height, width = ms.Pattern(text).tile_shape
    cut = (min(height - 1, 3), 1) if "pad" in text else (0, 0)
    return max(2, 24 // height) * height + cut[0], max(2, 24 // width) * width + cut[1]


def certified(scores, text, **options):
    """The result of the best engine: proven, and bit by bit that of the others."""
    results = [ms.solve(scores, text, duals=True, instruction_set=each, **options) for each in RUNNING]
    first = results[0]
    assert first.status is ms.Status.OPTIMAL
    assert ms.verify(first.mask, text).ok
    size = np.abs(scores.astype(np.float64))[first.mask].sum()
    proof = ms.recompute_certificate(scores, first.mask, text, first.duals)
    assert proof.objective == pytest.approx(first.objective, abs=1e-12 * size)
    assert proof.bound - proof.objective <= 1e-6 * size + 1e-300
    for other in results[1:]:
        assert np.array_equal(other.mask, first.mask)
        assert (other.objective, other.bound) == (first.objective, first.bound)
    return first


@pytest.mark.parametrize("constraint", ["", " at_most"])
@pytest.mark.parametrize("m", SIDES)
def test_integer_programmes_keep_no_more(m, constraint):
    for n in range(1, m + 1):
        text = f"{n}:{m}-T{constraint}"
        groups = [(axis, n, m, not constraint) for axis in (0, 1)]
        for name, scores in programmes.families((m, 2 * m), seed=n).items():
            if name in ("mixed magnitudes", "forbidden entries", "heavy tails"):
                continue  # beyond the tolerances of floating-point programmes
            result = certified(scores, text)
            wide = scores.astype(np.float64)
            best = programmes.keeps_most(wide * 2.0**1000 * 2.0**60 if name == "denormal" else wide, groups)
            size = np.abs(wide).sum()
            assert result.objective == pytest.approx(wide[best].sum(), abs=1e-6 * size), (text, name)


@pytest.mark.parametrize("text", EXACT)
def test_all_are_kept(text):
    for name, scores in programmes.families(shape_of(text)).items():
        result = certified(scores, text)
        wide = scores.astype(np.float64)
        assert result.mask.all(), name
        assert result.objective == pytest.approx(wide.sum(), abs=1e-12 * np.abs(wide).sum()), name


@pytest.mark.parametrize("text", AT_MOST)
def test_all_are_kept_that_are_worth_it(text):
    for name, scores in programmes.families(shape_of(text)).items():
        result = certified(scores, text)
        undecided = scores.astype(np.float64) == 0
        np.testing.assert_array_equal(result.mask | undecided, (scores > 0) | undecided, name)


@pytest.mark.parametrize("text", FREE_COLUMNS)
def test_rows_choose_alone_where_columns_have_no_limit(text):
    pattern = ms.Pattern(text)
    for name, scores in programmes.families(shape_of(text)).items():
        rows = ms.solve(scores, ms.Pattern(pattern.n, pattern.m, constraint="at_most"))
        result = certified(scores, text)
        size = np.abs(scores.astype(np.float64))[rows.mask].sum()
        assert result.objective == pytest.approx(rows.objective, abs=1e-12 * size), name


@pytest.mark.parametrize("n", range(1, 9))
@pytest.mark.parametrize("constraint", ["", " at_most"])
def test_no_count_needs_the_general_flow(n, constraint):
    scores = np.abs(np.random.default_rng(n).standard_normal((80, 160)))
    for text in (f"{n}:8-T{constraint}", f"{2 * n}:16-T{constraint}", f"{min(n, 5)}:5-T{constraint}"):
        for values in (scores, scores.astype(ml_dtypes.bfloat16)):
            stats = ms.solve(values, text, instruction_set="baseline").stats
            assert (stats["refined"], stats["exactly"]) == (0, 0), text
            if n == 8:
                assert stats["path_steps"] == 0


@pytest.mark.parametrize("text", ["8:8-T", "8:8-T at_most", "4:4-T", "7:8-T at_most", "30:32-T at_most"])
def test_every_score_order_and_start(text):
    rng = np.random.default_rng(9)
    weights = rng.standard_normal((2, 32, 64)).astype(np.float32)
    for score, worth in (("value", np.positive), ("magnitude", np.abs), ("square", np.square)):
        best = ms.solve(worth(weights.astype(np.float64)), text, duals=True, tiles=True)
        for array in (weights, np.asfortranarray(weights), weights[:, ::-1, ::-1].copy()[:, ::-1, ::-1]):
            result = ms.solve(array, text, score=score, warm_start=best, tiles=True, workers=2)
            np.testing.assert_array_equal(result.mask, best.mask)
            assert result.objective == pytest.approx(best.objective, rel=1e-6)
            np.testing.assert_allclose(result.tiles.objective, best.tiles.objective, rtol=1e-6, atol=1e-6)
            assert (result.tiles.bound >= result.tiles.objective).all()


def test_choices_and_limits_of_time_stand_beside_all_of_m():
    scores = np.random.default_rng(10).standard_normal((16, 16)).astype(ml_dtypes.bfloat16)
    drop = np.zeros(scores.shape, bool)
    drop[3, 5] = True
    with pytest.raises(ms.InfeasibleError):
        ms.solve(scores, "8:8-T", drop=drop)
    assert not ms.solve(-scores, "8:8-T at_most", drop=drop).mask[3, 5]
    ended = ms.solve(scores, "8:8-T", time_limit=1e-9)
    assert ended.mask.all()
    assert ended.status in (ms.Status.TIME_LIMIT, ms.Status.OPTIMAL)
