"""Results as pictures."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from . import digit_study, sentence_study
from .tables import unique

COLOURS = {
    "magnitude": "tab:grey",
    "Wanda": "tab:orange",
    "SparseGPT": "tab:blue",
    "AdaPrune": "tab:green",
    "ADMM": "tab:red",
    "one-shot": "tab:grey",
    "one-shot + BNT": "tab:blue",
    "BiasFix": "tab:orange",
    "BNT": "tab:blue",
    "AdaPrune + BNT": "darkgreen",
}


def _pyplot() -> Any:
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams["svg.hashsalt"] = "masksolve"
    from matplotlib import pyplot as plt

    return plt


def draw(rows: Mapping[str, Sequence[Any]], folder: Path) -> None:
    """Every picture there are rows for."""
    if rows["minilm"]:
        sentences(rows["minilm"], folder / "post_training_minilm.svg")
        layers(rows["minilm"], "2:4-T", folder / "post_training_layers.svg")
    if rows["resnet"]:
        digits(rows["resnet"], folder / "post_training_resnet.svg")
    if rows["convert"]:
        conversions(rows["convert"], folder / "post_training_convert.svg")


def _save(figure: Any, file: Path) -> None:
    figure.tight_layout()
    figure.savefig(
        file, dpi=150, bbox_inches="tight", metadata={"Date": None} if file.suffix == ".svg" else None
    )
    _pyplot().close(figure)


def sentences(rows: Sequence[sentence_study.Row], file: Path) -> None:
    """Error and agreement by pattern, a line a method: exact masks filled and solid, greedy ones hollow."""
    figure, axes = _pyplot().subplots(1, 3, figsize=(12, 4))
    patterns = unique(row.pattern for row in rows)
    panels = (
        ("error", "mean relative error of outputs, unseen sentences"),
        ("rank_correlation", "rank correlation of similarities"),
        ("agreement", "agreement of 10 nearest neighbours"),
    )
    for axis, (figure_of_merit, title) in zip(axes, panels, strict=True):
        for method in dict.fromkeys(row.method for row in rows):
            for masks, style in (("exact", "-"), ("greedy", ":")):
                mine = [row for row in rows if (row.method, row.masks) == (method, masks)]
                axis.plot(
                    [patterns.index(row.pattern) for row in mine],
                    [getattr(row, figure_of_merit) for row in mine],
                    style + "o",
                    color=COLOURS[method],
                    markerfacecolor=COLOURS[method] if masks == "exact" else "none",
                    linewidth=1,
                    markersize=5,
                    label=f"{method}, {masks} masks",
                )
        axis.set_xticks(range(len(patterns)), patterns, rotation=30)
        axis.set_title(title, fontsize=9)
        axis.grid(linewidth=0.4, alpha=0.6)
    axes[0].set_ylim(bottom=0)
    _legend(figure, axes[-1])
    _save(figure, file)


def layers(rows: Sequence[sentence_study.Row], pattern: str, file: Path) -> None:
    """Relative error of every matrix, exact masks, one panel a kind of matrix, by depth."""
    mine = [row for row in rows if (row.pattern, row.masks) == (pattern, "exact")]
    kinds = unique(name.rpartition(".")[2] for name in mine[0].errors)
    figure, axes = _pyplot().subplots(1, len(kinds), figsize=(12, 2.8), sharey=True, squeeze=False)
    for axis, kind in zip(axes[0], kinds, strict=True):
        for row in mine:
            errors = [error for name, error in row.errors.items() if name.rpartition(".")[2] == kind]
            axis.plot(
                range(1, len(errors) + 1), errors, "o-", color=COLOURS[row.method], label=row.method, ms=4
            )
        axis.set(title=kind, xlabel="layer", yscale="log")
        axis.set_xticks(range(1, len(errors) + 1))
        axis.grid(linewidth=0.4, alpha=0.6)
    axes[0][0].set_ylabel(f"relative error, {pattern}")
    _legend(figure, axes[0][-1])
    _save(figure, file)


def digits(rows: Sequence[digit_study.Row], file: Path) -> None:
    """Share misread by pattern and method: a mark for the mean, filled for exact masks, a dot a seed."""
    figure, axis = _pyplot().subplots(figsize=(9, 4))
    pruned = [row for row in rows if row.pattern]
    _misread(axis, pruned, [row for row in rows if row.method == "dense"], "dense")
    axis.set_ylabel("test images misread, %")
    _legend(figure, axis)
    _save(figure, file)


def conversions(rows: Sequence[digit_study.Row], file: Path) -> None:
    """Share misread after each conversion, a panel a pattern that was trained."""
    starts = unique([row.start for row in rows])
    figure, axes = _pyplot().subplots(1, len(starts), figsize=(9, 3.6), sharey=True, squeeze=False)
    for axis, start in zip(axes[0], starts, strict=True):
        mine = [row for row in rows if row.start == start]
        before = [row for row in mine if not row.pattern]
        _misread(axis, [row for row in mine if row.pattern], before, "before the conversion")
        axis.set_title(f"trained as {start}, converted to", fontsize=9)
    axes[0][0].set_ylabel("test images misread, %")
    _legend(figure, axes[0][-1])
    _save(figure, file)


def _misread(
    axis: Any, rows: Sequence[digit_study.Row], before: Sequence[digit_study.Row], label: str
) -> None:
    """Patterns across, methods side by side; the models that they started from as a line."""
    patterns = unique([row.pattern for row in rows])
    methods = unique([row.method for row in rows])
    for method, masks in itertools.product(methods, unique([row.masks for row in rows])):
        step = 0.8 / len(methods)
        shift = step * (methods.index(method) + 0.5) - 0.4 + (step / 3 if masks == "greedy" else 0)
        for place, pattern in enumerate(patterns):
            key = (pattern, masks, method)
            values = [100 - row.accuracy for row in rows if (row.pattern, row.masks, row.method) == key]
            if not values:
                continue
            colour = COLOURS[method]
            axis.plot(np.full(len(values), place + shift), values, ".", color=colour, markersize=3)
            axis.plot(
                place + shift,
                statistics.fmean(values),
                "o",
                color=colour,
                markerfacecolor=colour if masks == "exact" else "none",
                markersize=6,
                label=f"{method}, {masks} masks",
            )
    level = statistics.fmean(100 - row.accuracy for row in before)
    axis.axhline(level, color="black", linewidth=0.8, linestyle="--", label=label)
    axis.set_yscale("log")
    ticks = [1, 2, 3, 5, 10, 20, 50, 100]
    axis.set_yticks(ticks, [str(tick) for tick in ticks])
    axis.yaxis.set_minor_locator(_ticker().NullLocator())
    axis.set_ylim(1, 100)
    axis.set_xticks(range(len(patterns)), patterns)
    axis.grid(axis="y", linewidth=0.4, alpha=0.6)


def _legend(figure: Any, axis: Any) -> None:
    """To the right of all panels; every label once."""
    handles = {label: handle for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    figure.legend(
        handles.values(), handles, loc="center left", bbox_to_anchor=(1, 0.5), fontsize=8, frameon=False
    )


def _ticker() -> Any:
    from matplotlib import ticker

    return ticker
