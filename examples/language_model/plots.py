"""Results as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from examples.post_training.tables import unique

from .study import METHODS, Row, in_order

_COLOURS = ("#b0b0b0", "#7f9fbf", "#3f7fbf", "#e0a030", "#d07030", "#b01030")


def draw(rows: Sequence[Row], folder: Path, text: str = "handbook") -> None:
    """Perplexity by pattern and method, exact masks, on a logarithmic scale."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    (whole,) = (row for row in rows if row.pattern == "dense")
    least = min(row.samples for row in rows if row.pattern != "dense")
    mine = [row for row in in_order(rows) if row.masks == "exact" and row.split == 0 and row.samples == least]
    patterns = unique([row.pattern for row in mine])
    methods = [method for method in METHODS if any(row.method == method for row in mine)]
    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    width = 0.8 / len(methods)
    for number, method in enumerate(methods):
        found = {row.pattern: row.perplexities[text] for row in mine if row.method == method}
        places = [patterns.index(p) + (number - (len(methods) - 1) / 2) * width for p in found]
        axes.bar(places, list(found.values()), width, label=method, color=_COLOURS[number % 6])
    axes.axhline(whole.perplexities[text], color="black", linewidth=1, linestyle="--", label="dense")
    axes.set_yscale("log")
    axes.set_xticks(range(len(patterns)), patterns)
    axes.set_ylabel("perplexity on unseen text (logarithmic)")
    axes.set_title("SmolLM2-135M, pruned without training")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9)
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / "language_model.png", dpi=150)
    plt.close(figure)
