"""Pictures of masks, with matplotlib: ``pip install "masksolve[plot]"``.

Every function draws into ``ax`` if it is given one, into a new figure otherwise, and returns what it drew
into. Arrays of more than two axes are shown by their first matrix. Colours can be told apart in print and
with any colour vision.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .arrays import kept_array, real_array
from .errors import BackendUnavailableError
from .frameworks import to_numpy
from .layout.host import worth
from .pattern import Pattern
from .result import MaskResult
from .types import BoolArray, Float64Array, Score

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    PatternLike = Pattern | str | tuple[int, int]

__all__ = ["compare", "gaps", "mask", "retained", "scores"]

_KEPT, _DROPPED, _OTHER, _BOTH = "#1f5fa8", "#e4e7eb", "#d9822b", "#7a8794"
_COUNTED = 32
"""Rows and columns up to which counts are written beside a mask; the numbers of more would touch."""
_FAR = 1e6
"""Scores of more than so many times the median are off the scale, such as -1e20 for what must be dropped."""


def __dir__() -> list[str]:
    """Completion shows what draws, and no imports."""
    return __all__


def mask(
    mask: MaskResult | npt.ArrayLike,
    pattern: PatternLike | None = None,
    *,
    ax: Axes | None = None,
    counts: bool | None = None,
) -> Axes:
    """Draw a mask: kept entries filled, lines between tiles, and what each row and column of a tile keeps.

    Parameters
    ----------
    mask : MaskResult or array, shape (..., R, C)
        True, or not zero, = kept.
    pattern : Pattern or str
        What the mask follows; a result knows its own.
    ax : matplotlib Axes or None
    counts : bool or None
        Whether to write the counts; None: where there is room for them (up to 32 rows and columns).

    Returns
    -------
    matplotlib Axes

    Examples
    --------
    >>> import numpy as np, masksolve as ms
    >>> weights = np.random.default_rng(0).standard_normal((16, 16))
    >>> result = ms.solve(weights, "4:8-T", score="magnitude")
    >>> ms.plot.mask(result).figure.savefig("mask.png")  # doctest: +SKIP
    """
    shown = _shown("mask", mask, pattern)
    array = shown.mask
    ax = _axes(ax, array.shape)
    ax.imshow(array, cmap=_colours(_DROPPED, _KEPT), vmin=0, vmax=1, interpolation="none")
    _tile_lines(ax, shown)
    if counts or (counts is None and max(array.shape) <= _COUNTED):
        _write_counts(ax, shown)
    ax.set_title(f"{shown.pattern}: {array.mean():.0%} kept")
    return ax


def scores(
    scores: npt.ArrayLike, mask: MaskResult | npt.ArrayLike, pattern: PatternLike | None = None
) -> Figure:
    """Draw scores, and beside them what a mask keeps of them.

    Parameters
    ----------
    scores : array, shape (..., R, C)
        Shown as they are, or as what they are worth if ``mask`` is a result.
    mask, pattern
        As for `mask`.

    Returns
    -------
    matplotlib Figure
    """
    plt = _pyplot()
    shown = _shown("mask", mask, pattern)
    values = _values(scores, mask)
    figure: Figure
    height, width = values.shape
    size = (9.0, min(max(4.2 * height / width, 1.5), 8.0) + 0.6)
    figure, (left, right) = plt.subplots(1, 2, figsize=size, layout="constrained", sharey=True)
    most, beyond = _scale(values)
    limits: dict[str, Any] = {"vmin": 0 if values.min(initial=0.0) >= 0 else -most, "vmax": most}
    colours = plt.get_cmap("viridis" if limits["vmin"] == 0 else "RdBu").with_extremes(bad=_DROPPED)
    picture = left.imshow(values, cmap=colours, interpolation="none", **limits)
    right.imshow(np.ma.array(values, mask=~shown.mask), cmap=colours, interpolation="none", **limits)
    for ax in (left, right):
        _tile_lines(ax, shown)
    left.set_title("scores")
    right.set_title(f"kept by {shown.pattern}")
    figure.colorbar(picture, ax=[left, right], shrink=0.8, extend=beyond)
    return figure


def retained(scores: npt.ArrayLike, result: MaskResult, *, ax: Axes | None = None) -> Axes:
    """Draw, tile by tile, which share of its worth a mask keeps, as a heat map.

    Parameters
    ----------
    scores : array, shape (..., R, C)
        What was solved.
    result : MaskResult
        Its ``score`` says what entries are worth.
    ax : matplotlib Axes or None

    Returns
    -------
    matplotlib Axes
    """
    if not isinstance(result, MaskResult):
        raise TypeError(f"result must be a MaskResult, got {type(result).__name__}; scores come before it")
    shown = _shown("result", result, None)
    values = np.maximum(_values(scores, result), 0.0)
    kept, whole = (_tile_sums(part, shown.steps) for part in (np.where(shown.mask, values, 0.0), values))
    share = np.divide(kept, whole, out=np.ones_like(whole), where=whole > 0)
    ax = _axes(ax, share.shape)
    picture = ax.imshow(share, cmap="viridis", interpolation="none", aspect="auto")
    ax.figure.colorbar(picture, ax=ax, format=lambda value, _: f"{value:.0%}")
    ax.locator_params(integer=True, min_n_ticks=1)
    ax.set(xlabel="tile column", ylabel="tile row", title=f"retained score, {shown.pattern}")
    return ax


def gaps(*results: MaskResult, ax: Axes | None = None) -> Axes:
    """Draw how far each tile is, at most, from what it could keep, as a histogram.

    Parameters
    ----------
    *results : MaskResult
        With ``tiles``: solve with ``tiles=True``, and heuristics with ``bound=True``.
    ax : matplotlib Axes or None

    Returns
    -------
    matplotlib Axes
    """
    found = [_tile_gaps(result) for result in results]
    if not any(gap.size for gap in found):
        raise ValueError("results must have tiles to draw, got none")
    ax = _axes(ax, (3, 5))
    edges = np.linspace(0.0, max(*(float(gap.max(initial=0.0)) for gap in found), 1e-12), 41)
    proven = [np.mean(gap <= 1e-6) if gap.size else 1.0 for gap in found]
    labels = [
        f"{result.backend}, {result.pattern}: {share:.0%} of tiles within 1e-6"
        for result, share in zip(results, proven, strict=True)
    ]
    colours = list(itertools.islice(itertools.cycle((_KEPT, _OTHER, _BOTH)), len(found)))
    ax.hist(found, bins=edges.tolist(), color=colours, label=labels)  # side by side: none hides another
    ax.set(yscale="log", xlabel="gap of a tile", ylabel="tiles", title="proven distance from the optimum")
    ax.set_ylim(bottom=0.5)  # so that the bar of a single tile is seen
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:.3g}")
    ax.legend()
    return ax


def compare(
    first: MaskResult | npt.ArrayLike,
    second: MaskResult | npt.ArrayLike,
    pattern: PatternLike | None = None,
    *,
    names: tuple[str, str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw where two masks differ.

    Parameters
    ----------
    first, second : MaskResult or array, shape (..., R, C)
    pattern : Pattern or str
        For the lines between tiles; a result knows its own.
    names : pair of str
        What to call them; results are called by their backends.
    ax : matplotlib Axes or None

    Returns
    -------
    matplotlib Axes
    """
    _pyplot()
    from matplotlib.patches import Patch

    shown = _shown("first", first, pattern)
    one, other = shown.mask, _shown("second", second, shown.pattern).mask
    if one.shape != other.shape:
        raise ValueError(f"second must have the shape of first {one.shape}, got {other.shape}")
    called = names or (_name(first, "first"), _name(second, "second"))
    if called[0] == called[1]:
        called = f"first ({called[0]})", f"second ({called[1]})"
    ax = _axes(ax, one.shape)
    colours = (_DROPPED, _KEPT, _OTHER, _BOTH)
    ax.imshow(one + 2 * other, cmap=_colours(*colours), vmin=0, vmax=3, interpolation="none")
    _tile_lines(ax, shown)
    words = ("neither", f"only {called[0]}", f"only {called[1]}", "both")
    patches = [Patch(color=colour, label=word) for colour, word in zip(colours, words, strict=True)]
    ax.legend(handles=patches, loc="upper center", bbox_to_anchor=(0.5, -0.02), ncols=2, frameon=False)
    ax.set_title(f"{shown.pattern}: {np.mean(one != other):.1%} of entries differ")
    return ax


def _pyplot() -> Any:
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise BackendUnavailableError.needing("masksolve.plot", "matplotlib", "plot") from error
    return plt


def _axes(ax: Axes | None, shape: tuple[int, ...]) -> Axes:
    """Give the axes to draw into, new ones in the proportions of the shape if there are none."""
    if ax is not None:
        return ax
    height, width = shape
    tall = min(max(5.0 * height / max(width, 1), 2.0), 10.0)
    axes: Axes = _pyplot().subplots(figsize=(6.0, tall + 0.8), layout="constrained")[1]
    return axes


class _Shown(NamedTuple):
    """First matrix of a mask, its pattern, and how many rows and columns of the matrix a tile has."""

    mask: BoolArray
    pattern: Pattern
    steps: tuple[int, int]


def _plane(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """First matrix of an array."""
    plane: npt.NDArray[Any] = np.atleast_2d(array)
    first: npt.NDArray[Any] = plane[(0,) * (plane.ndim - 2)]
    return first


def _shown(name: str, mask: Any, pattern: Any) -> _Shown:
    if isinstance(mask, MaskResult):
        pattern = mask.pattern if pattern is None else pattern
        mask = mask.mask
    if pattern is None:
        raise TypeError(f"pattern must be given with {name}, unless it is a MaskResult")
    array, pattern = kept_array(name, mask), Pattern.parse(pattern)
    if not array.size:
        raise ValueError(f"{name} must have entries to draw, got shape {array.shape}")
    lengths = {axis % array.ndim: m for axis, m in pattern.tile_lengths.items()}
    steps = lengths.get(array.ndim - 2, 1), lengths.get(array.ndim - 1, 1)
    return _Shown(_plane(array), pattern, steps)


def _values(scores: npt.ArrayLike, mask: object) -> Float64Array:
    """First matrix of what scores are worth, for the mask of a result; else of the scores themselves."""
    of: Score = mask.score if isinstance(mask, MaskResult) else "value"
    return worth(_plane(real_array("scores", scores)).astype(np.float64), of)


def _scale(values: Float64Array) -> tuple[float, str]:
    """Give the largest magnitude that colours tell apart, and on which sides scores lie beyond it."""
    sizes = np.abs(values[values != 0])
    usual = sizes[sizes <= _FAR * np.median(sizes)] if sizes.size else sizes
    most = float(usual.max(initial=0.0)) or 1.0
    sides = {(False, False): "neither", (True, False): "min", (False, True): "max", (True, True): "both"}
    return most, sides[bool((values < -most).any()), bool((values > most).any())]


def _name(mask: object, otherwise: str) -> str:
    return mask.backend if isinstance(mask, MaskResult) else otherwise


def _colours(*colours: str) -> Any:
    from matplotlib.colors import ListedColormap

    return ListedColormap(list(colours))


def _tile_lines(ax: Axes, shown: _Shown) -> None:
    """Draw lines between tiles; ticks at tiles only, as single entries need no numbers."""
    shape, (down, across) = shown.mask.shape, shown.steps
    style: dict[str, Any] = {"color": "#20262d", "linewidth": 0.8 if max(shape) <= 2 * _COUNTED else 0.3}
    if down > 1:
        ax.hlines(np.arange(down, shape[0], down) - 0.5, -0.5, shape[1] - 0.5, **style)
    if across > 1:
        ax.vlines(np.arange(across, shape[1], across) - 0.5, -0.5, shape[0] - 0.5, **style)
    ax.set(xlim=(-0.5, shape[1] - 0.5), ylim=(shape[0] - 0.5, -0.5), xticks=[], yticks=[])


def _write_counts(ax: Axes, shown: _Shown) -> None:
    """Write what rows keep on the right of each tile's last column, and what columns keep below each tile."""
    array, (down, across) = shown.mask, shown.steps
    size = max(4.0, 9.0 - max(array.shape) / 12)
    style: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": size, "clip_on": False}
    if across > 1:
        kept = np.add.reduceat(array, np.arange(0, array.shape[1], across), axis=1, dtype=int)
        for row, counts in enumerate(kept):
            ax.text(array.shape[1] + 0.1, row, " ".join(map(str, counts)), **{**style, "ha": "left"})
    if down > 1:
        kept = np.add.reduceat(array, np.arange(0, array.shape[0], down), axis=0, dtype=int)
        for column, counts in enumerate(kept.T):
            text = "\n".join(map(str, counts))
            ax.text(column, array.shape[0] - 0.2, text, **{**style, "va": "top"})


def _tile_sums(values: Float64Array, steps: tuple[int, int]) -> Float64Array:
    """Sum each tile of a matrix, cut ones included."""
    rows, columns = (np.arange(0, size, step) for size, step in zip(values.shape, steps, strict=True))
    sums: Float64Array = np.add.reduceat(np.add.reduceat(values, rows, axis=0), columns, axis=1)
    return sums


def _tile_gaps(result: MaskResult) -> Float64Array:
    if result.tiles is None:
        raise ValueError("results must hold their tiles; solve with tiles=True, heuristics with bound=True")
    objective, bound = (np.ravel(np.asarray(to_numpy("tiles", part))) for part in result.tiles)
    gap: Float64Array = np.zeros(bound.shape)
    np.divide(bound - objective, np.abs(bound), out=gap, where=bound != objective)
    return gap
