"""Pictures: what is drawn is what is there."""

from __future__ import annotations

import numpy as np
import pytest

import masksolve as ms

mpl = pytest.importorskip("matplotlib")
mpl.use("Agg")
plt = pytest.importorskip("matplotlib.pyplot")


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def solved(shape=(16, 16), pattern="4:8-T", **options):
    weights = np.random.default_rng(0).standard_normal(shape)
    return weights, ms.solve(weights, pattern, score="magnitude", **({"backend": "highs"} | options))


def image(ax) -> np.ndarray:
    return np.asarray(ax.get_images()[0].get_array())


def lines(ax) -> list[int]:
    """Numbers of horizontal and vertical lines."""
    return [len(part.get_segments()) for part in ax.collections]


@pytest.mark.parametrize(
    ("pattern", "shape", "drawn"),
    [
        ("4:8-T", (16, 24), [1, 2]),
        ("2:4", (16, 24), [5]),
        ("2:4 axis=0", (16, 24), [3]),
        ("2:4 axis=-2", (3, 16, 24), [3]),
        ("2:4 axis=2", (3, 16, 24), [5]),
        ("1:3 axis=0", (3, 16, 24), []),
        ("4:8-T pad", (15, 20), [1, 2]),
    ],
)
def test_mask_with_its_tiles(pattern, shape, drawn) -> None:
    _, result = solved(shape, pattern)
    ax = ms.plot.mask(result)
    first = result.mask if result.mask.ndim == 2 else result.mask[0]
    assert np.array_equal(image(ax), first)
    assert lines(ax) == drawn
    assert f"{first.mean():.0%} kept" in ax.get_title()
    ax.figure.canvas.draw()


def test_counts_are_those_of_the_tiles() -> None:
    mask = np.random.default_rng(1).random((8, 16)) < 0.5
    ax = ms.plot.mask(mask, "4:8-T")
    texts = [text.get_text() for text in ax.texts]
    rows = [f"{row[:8].sum()} {row[8:].sum()}" for row in mask]
    assert texts == rows + [str(column.sum()) for column in mask.T]
    assert len(ms.plot.mask(mask, "4:8-T", counts=False).texts) == 0
    assert len(ms.plot.mask(np.ones((128, 128), bool), "8:8").texts) == 0


def test_scores_and_what_is_kept() -> None:
    weights, result = solved()
    left, right = ms.plot.scores(weights, result).axes[:2]
    assert np.allclose(image(left), abs(weights))
    kept = right.get_images()[0].get_array()
    assert np.array_equal(~np.ma.getmaskarray(kept), result.mask)
    signed = ms.plot.scores(weights, result.mask, "4:8-T").axes[0].get_images()[0]
    assert signed.get_clim() == (-abs(weights).max(), abs(weights).max())


@pytest.mark.parametrize("pattern", ["4:8-T", "2:4", "2:4 axis=0", "3:7-T pad"])
def test_heat_map_of_what_is_retained(pattern) -> None:
    weights, result = solved((16, 24), pattern)
    share = image(ms.plot.retained(weights, result))
    m = result.pattern.m
    down, across = (
        m if axis in result.pattern.axes or axis - 2 in result.pattern.axes else 1 for axis in (0, 1)
    )
    first = (slice(down), slice(across))
    worth = abs(weights)[first]
    assert share[0, 0] == pytest.approx(worth[result.mask[first]].sum() / worth.sum())
    assert share.shape == (-(-16 // down), -(-24 // across))


def test_gaps_count_every_tile() -> None:
    weights, exact = solved((64, 64), tiles=True)
    greedy = ms.solve(abs(weights), "4:8-T", backend="greedy", bound=True, tiles=True)
    ax = ms.plot.gaps(exact, greedy)
    heights = [sum(bar.get_height() for bar in bars) for bars in ax.containers]
    assert heights == [64, 64]
    assert [text.get_text().split(",")[0] for text in ax.get_legend().get_texts()] == ["highs", "greedy"]
    with pytest.raises(ValueError, match="solve with tiles=True"):
        ms.plot.gaps(ms.solve(weights, "4:8-T", backend="greedy"))
    for nothing in ([], [ms.solve(np.zeros((0, 8)), "4:8", backend="highs", tiles=True)]):
        with pytest.raises(ValueError, match="results must have tiles to draw, got none"):
            ms.plot.gaps(*nothing)


def test_no_result_hides_another() -> None:
    """Neither by its name, which two layers of one backend and pattern share, nor by its bars."""
    _, one = solved((64, 64), tiles=True)
    ax = ms.plot.gaps(one, one, one, one)
    assert [sum(bar.get_height() for bar in bars) for bars in ax.containers] == [64] * 4
    left = [round(bars[0].get_x(), 16) for bars in ax.containers]
    assert len(set(left)) == 4
    assert ax.get_ylim()[0] < 1  # so that one tile has a bar


def test_forbidden_entries_leave_the_colours_to_the_others() -> None:
    scores = np.random.default_rng(2).random((8, 8))
    usual = scores[:, 1:].max()
    scores[:, 0] = -1e20
    picture = ms.plot.scores(scores, scores > 0.5, "4:8").axes[0].get_images()[0]
    assert picture.get_clim() == (-usual, usual)
    assert picture.colorbar.extend == "min"
    for whole in (np.zeros((8, 8)), np.ones((8, 8)), np.full((8, 8), -1e20)):
        assert ms.plot.scores(whole, whole == 0, "4:8").axes[0].get_images()[0].colorbar.extend == "neither"


@pytest.mark.parametrize("shape", [(8, 8), (8, 16), (1, 8), (24, 40)])
def test_tiles_are_numbered_by_integers(shape) -> None:
    weights, result = solved(shape, "4:8-T pad")
    ax = ms.plot.retained(weights, result)
    ax.figure.canvas.draw()
    for axis, tiles in ((ax.xaxis, -(-shape[1] // 8)), (ax.yaxis, -(-shape[0] // 8))):
        seen = [tick for tick in axis.get_ticklocs() if -0.5 <= tick <= tiles - 0.5]
        assert seen == [round(tick) for tick in seen] != []


def test_exchanged_arguments_and_completion() -> None:
    weights, exact = solved((8, 8))
    with pytest.raises(TypeError, match="result must be a MaskResult, got ndarray; scores come before it"):
        ms.plot.retained(exact, weights)  # type: ignore[arg-type]
    assert dir(ms.plot) == ["compare", "gaps", "mask", "retained", "scores"]


def test_comparison_shows_every_difference() -> None:
    weights, exact = solved((32, 32))
    greedy = ms.solve(weights, "4:8-T", score="magnitude", backend="greedy")
    ax = ms.plot.compare(exact, greedy)
    assert np.array_equal(image(ax) % 3 != 0, exact.mask != greedy.mask)
    words = [text.get_text() for text in ax.get_legend().get_texts()]
    assert words == ["neither", "only highs", "only greedy", "both"]
    words = [text.get_text() for text in ms.plot.compare(exact, exact).get_legend().get_texts()]
    assert words == ["neither", "only first (highs)", "only second (highs)", "both"]
    with pytest.raises(ValueError, match=r"second must have the shape of first \(32, 32\), got \(8, 8\)"):
        ms.plot.compare(exact, np.ones((8, 8)))


def test_axes_of_the_caller_are_used() -> None:
    weights, result = solved()
    figure, axes = plt.subplots(1, 3)
    assert ms.plot.mask(result, ax=axes[0]) is axes[0]
    assert ms.plot.retained(weights, result, ax=axes[1]) is axes[1]
    assert ms.plot.compare(result, ~result.mask, ax=axes[2]) is axes[2]
    assert plt.get_fignums() == [figure.number]


def test_a_bare_mask_needs_a_pattern() -> None:
    with pytest.raises(TypeError, match="pattern must be given with mask, unless it is a MaskResult"):
        ms.plot.mask(np.ones((4, 4), bool))


@pytest.mark.parametrize("shape", [(0, 8), (8, 0)])
def test_nothing_to_draw(shape) -> None:
    with pytest.raises(ValueError, match="mask must have entries to draw"):
        ms.plot.mask(np.ones(shape, bool), "4:8")
