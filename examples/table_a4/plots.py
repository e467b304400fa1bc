"""Figures: accuracy against diversity, and what exact masks gain over others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

from .masks import SEQUENTIAL
from .report import NAMES, SHOWN, TITLES, Results, bits
from .runs import COMPARED, DENSE, RULES, SOLVERS
from .training import Regime

mpl.use("Agg")
mpl.rcParams["svg.hashsalt"] = "masksolve"

from matplotlib import pyplot as plt  # noqa: E402  (the canvas is chosen first)


def diversity(results: Results, file: Path) -> None:
    """Draw accuracy against the number of masks, as the paper's Figure A.3, one panel a mode."""
    regime = Regime(**results.setting["regime"])
    exact, paper = ([bits(rule, regime, method) for rule in RULES] for method in ("exact", "paper"))
    figure, axes = plt.subplots(1, len(SHOWN), figsize=(12, 4.2), sharex=True)
    for axis, mode in zip(axes, SHOWN, strict=True):
        gains = [results.difference(mode, (rule, "exact"), (DENSE, "exact")) for rule in RULES]
        means, halves = ([getattr(gain, name) for gain in gains] for name in ("mean", "half"))
        axis.errorbar(exact, means, halves, fmt="o", color="tab:blue", capsize=2, label="counted exactly")
        for row, rule in enumerate(RULES):
            if paper[row] != exact[row]:
                both = [exact[row], paper[row]]
                axis.plot(both, [means[row]] * 2, color="tab:orange", linewidth=0.8, zorder=0)
                axis.plot(paper[row], means[row], "o", mfc="none", color="tab:orange")
            up = not rule.endswith(SEQUENTIAL)
            axis.annotate(
                rule.replace(SEQUENTIAL, " seq."),
                (exact[row], means[row] + (halves[row] if up else -halves[row])),
                xytext=(0, 5 if up else -5),
                textcoords="offset points",
                ha="center",
                va="bottom" if up else "top",
                rotation=90,
                fontsize=7,
            )
        axis.plot([], [], "o", mfc="none", color="tab:orange", label="as published")
        axis.axhline(0, color="grey", linestyle=":", label="dense")
        axis.set_title(f"{TITLES[mode]}, {len(results.seeds[mode])} seeds", fontsize=10)
        axis.set_xlabel("masks of 64 entries, log2")
        axis.margins(x=0.08, y=0.3)
    axes[0].set_ylabel("percentage points against dense\nmean and 95 % interval, paired", fontsize=9)
    axes[0].legend(fontsize=7, loc="lower right")
    _save(figure, file)


def solvers(results: Results, file: Path) -> None:
    """Draw the accuracy of other masks less that of exact ones, paired over seeds, one panel a mode."""
    figure, axes = plt.subplots(1, len(SHOWN), figsize=(12, 3.4))
    for axis, mode in zip(axes, SHOWN, strict=True):
        for offset, solver, colour in zip((-0.2, 0.2), SOLVERS, ("tab:green", "tab:red"), strict=True):
            gains = [results.difference(mode, (rule, solver), (rule, "exact")) for rule in COMPARED]
            axis.bar(
                np.arange(len(COMPARED)) + offset,
                [gain.mean for gain in gains],
                0.36,
                yerr=[gain.half for gain in gains],
                capsize=3,
                color=colour,
                alpha=0.75,
                label=NAMES[solver],
            )
        axis.axhline(0, color="black", linewidth=0.8)
        axis.set_xticks(range(len(COMPARED)), COMPARED)
        axis.set_title(f"{TITLES[mode]}, {len(results.seeds[mode])} seeds", fontsize=10)
    axes[0].set_ylabel("percentage points against exact masks\nmean and 95 % interval, paired", fontsize=9)
    axes[0].legend(fontsize=8)
    _save(figure, file)


def _save(figure: Any, file: Path) -> None:
    figure.tight_layout()
    figure.savefig(file, dpi=150, metadata={"Date": None} if file.suffix == ".svg" else None)
    plt.close(figure)
