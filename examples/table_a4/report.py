"""Tables of what came out: means, deviations, paired differences, rank correlations."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from benchmarks.instances import Array
from masksolve import diversity
from masksolve.adapters import torch as mt

from .masks import ALL_FIT, SEQUENTIAL, UNSTRUCTURED
from .runs import (
    BACKWARD,
    BACKWARD_MODES,
    COMPARED,
    DENSE,
    MODES,
    RULES,
    SOLVERS,
    Run,
    network,
    plan,
    plan_backward,
)
from .training import Regime

Line = dict[str, Any]
TITLES = {
    "pruned": "pruned only",
    "tuned": "tuned, static masks",
    "scratch": "from scratch, dynamic masks",
    "fixed": "from scratch, static masks",
}
SHOWN = ("pruned", "tuned", "scratch")
PRODUCTS = {  # which of outputs, inputs' gradients and weights' gradients are N:M products
    "2:4": "first",
    "2:4 double-pruned": "first two",
    "2:4 bidirectional": "first two",
    "2:4-T": "first two",
    "2:4 MVUE": "first and third",
    "2:4-T MVUE": "all three",
}
NAMES = {"exact": "exact", "greedy": "greedy", "cover": "Algorithm 1", "random": "random scores"}


class Difference(NamedTuple):
    """Mean of paired differences in percentage points, and half its 95 % confidence interval."""

    mean: float
    half: float
    pairs: int


class Results:
    """Lines of complete seeds, by sort of run.

    Parameters
    ----------
    lines : sequence of dict
        From `runs.read`. A seed counts in a mode when all of the plan's runs of that mode are there.
    planned, modes
        `runs.plan` and its modes, or another plan.
    """

    def __init__(
        self,
        lines: Sequence[Line],
        planned: Callable[[Sequence[int]], list[Run]] = plan,
        modes: Sequence[str] = MODES,
    ) -> None:
        found = {Run(*(line[name] for name in Run._fields)): line for line in lines}
        self.seeds: dict[str, list[int]] = {}
        for mode in modes:
            seeds = sorted({run.seed for run in found if run.mode == mode})
            self.seeds[mode] = [
                seed for seed in seeds if all(run in found for run in planned([seed]) if run.mode == mode)
            ]
            if not self.seeds[mode]:
                raise ValueError(
                    f"lines must hold all runs of some seed in mode '{mode}', but no seed is complete"
                )
        self._found = found
        self.setting = {name: lines[0][name] for name in ("data", "part", "regime")}

    def lines(self, rule: str, solver: str, mode: str) -> list[Line]:
        """Lines of the complete seeds, in their order."""
        return [self._found[Run(rule, solver, mode, seed)] for seed in self.seeds[mode]]

    def accuracies(self, rule: str, solver: str, mode: str) -> Array:
        """Accuracies in per cent, one a complete seed."""
        return np.array([line["accuracy"] for line in self.lines(rule, solver, mode)])

    def difference(self, mode: str, one: tuple[str, str], other: tuple[str, str]) -> Difference:
        """Accuracy of one (rule, solver) less another's, paired over the seeds."""
        gains = self.accuracies(*one, mode) - self.accuracies(*other, mode)
        return Difference(float(gains.mean()), _half(gains), len(gains))

    def first(self, name: str, rule: str, solver: str, mode: str) -> float:
        """Mean over the seeds of a mask statistic when masks are first made."""
        return float(np.mean([line[name][0] for line in self.lines(rule, solver, mode)]))

    def last(self, name: str, rule: str, solver: str, mode: str) -> float:
        """Mean over the seeds of a mask statistic at the last refresh."""
        return float(np.mean([line[name][-1] for line in self.lines(rule, solver, mode)]))


def bits(rule: str, regime: Regime, method: diversity.Method) -> float:
    """Base-2 logarithm of the number of masks for each 64 entries, over all masked layers."""
    kind: diversity.Kind = "pattern"
    pattern = rule
    if rule == UNSTRUCTURED:
        kind, pattern = "unstructured", "2:4"
    elif rule.endswith(SEQUENTIAL):
        kind, pattern = "sequential", rule.removesuffix(SEQUENTIAL)
    chosen = [choice.layer for choice in mt.choose_weights(network(regime, 0), ALL_FIT) if not choice.skipped]
    shapes = [mt.as_matrices(layer.weight).shape for layer in chosen]
    counted = math.fsum(diversity.log2(pattern, shape, method, kind=kind) for shape in shapes)
    return 64 * counted / sum(math.prod(shape) for shape in shapes)


def by_diversity(regime: Regime) -> list[str]:
    """All rules, from the one with most masks to the one with fewest, counted exactly."""
    return sorted(RULES, key=lambda rule: -bits(rule, regime, "exact"))


def accuracy_table(results: Results) -> str:
    """Mean and standard deviation over seeds for each rule and mode, in Markdown."""
    regime = Regime(**results.setting["regime"])
    titles = [f"{TITLES[mode]} ({len(results.seeds[mode])} seeds)" for mode in SHOWN]
    rows = [["", "bits", "as published", "kept", *titles]]
    sorts = [(DENSE, "exact")] + [(rule, "exact") for rule in by_diversity(regime)]
    for rule, solver in [*sorts, ("4:8-T", "random")]:
        name = rule if solver == "exact" else f"{rule}, {NAMES[solver]}"
        row = [name, "", "", "100 %"]
        if rule != DENSE:
            counts = [f"{bits(rule, regime, method):.1f}" for method in ("exact", "paper")]
            row = [name, *counts, f"{100 * results.first('retained', rule, solver, 'pruned'):.1f} %"]
        rows.append(row + [_mean_deviation(results.accuracies(rule, solver, mode)) for mode in SHOWN])
    return markdown(rows)


def solver_table(results: Results) -> str:
    """Exact masks against greedy and Algorithm 1's, in Markdown; differences are paired over seeds."""
    rows = [["", "against", "of optimum", "entries kept", *(TITLES[mode] for mode in SHOWN)]]
    for rule in COMPARED:
        for solver in SOLVERS:
            row = [rule, NAMES[solver]]
            row.append(f"{100 * results.first('optimal', rule, solver, 'pruned'):.2f} %")
            row.append(f"{100 * results.first('density', rule, solver, 'pruned'):.1f} %")
            gains = [results.difference(mode, (rule, "exact"), (rule, solver)) for mode in SHOWN]
            rows.append(row + [f"{gain.mean:+.2f} ± {gain.half:.2f}" for gain in gains])
    for solver in SOLVERS:
        rows.append(["all three", NAMES[solver], "", "", *(_pooled(results, solver, mode) for mode in SHOWN)])
    return markdown(rows)


def correlation_table(results: Results) -> str:
    """Rank correlation of accuracy over the rules with diversity and with the kept magnitude."""
    regime = Regime(**results.setting["regime"])
    measures = {
        "bits, exact": [bits(rule, regime, "exact") for rule in RULES],
        "bits, as published": [bits(rule, regime, "paper") for rule in RULES],
        "kept magnitude": [results.first("retained", rule, "exact", "pruned") for rule in RULES],
    }
    rows = [["Spearman's ρ with", *(f"{TITLES[mode]}" for mode in SHOWN)]]
    for name, measure in measures.items():
        row = [name]
        for mode in SHOWN:
            table = np.array([results.accuracies(rule, "exact", mode) for rule in RULES])
            rho, chance = _rank_correlation(measure, table.mean(axis=1))
            single = np.array([_rank_correlation(measure, column)[0] for column in table.T])
            row.append(f"{rho:.2f} (p = {chance:.2g}); {_mean_deviation(single)}")
        rows.append(row)
    return markdown(rows)


def backward_table(lines: Sequence[Line]) -> str:
    """Accuracy by what the backward products read, and less that of 2:4-T, in Markdown; paired over seeds."""
    results = Results(lines, plan_backward, BACKWARD_MODES)
    titles = [f"{TITLES[mode]} ({len(results.seeds[mode])} seeds)" for mode in BACKWARD_MODES]
    rows = [
        ["", "N:M products", "kept backward", *(each for title in titles for each in (title, "less 2:4-T"))]
    ]
    for rule in (DENSE, *BACKWARD):
        shares = [line["backward"] for line in results.lines(rule, "exact", "tuned")]
        share = "" if None in shares else f"{100 * float(np.mean(shares)):.1f} %"
        row = [rule, PRODUCTS.get(rule, "none"), share]
        for mode in BACKWARD_MODES:
            if rule == DENSE and mode == "fixed":
                row += ["", ""]
                continue
            row.append(_mean_deviation(results.accuracies(rule, "exact", mode)))
            gain = results.difference(mode, (rule, "exact"), ("2:4-T", "exact"))
            row.append("" if rule == "2:4-T" else f"{gain.mean:+.2f} ± {gain.half:.2f}")
        rows.append(row)
    return markdown(rows)


def everything(results: Results) -> str:
    """All tables, one after the other."""
    return "\n\n".join([accuracy_table(results), solver_table(results), correlation_table(results)])


def markdown(rows: list[list[str]]) -> str:
    """Lay out rows of cells, the first of them the titles; numbers to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(f"{cell:{'>' if k else '<'}{widths[k]}}" for k, cell in enumerate(row)) + " |"
        for row in rows
    ]
    rule = "|" + "|".join("-" * (width + 1) + (":" if k else "-") for k, width in enumerate(widths)) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])


def _pooled(results: Results, solver: str, mode: str) -> str:
    """Differences averaged over the patterns first, so that seeds stay the independent units."""
    exact, other = (
        np.mean([results.accuracies(rule, which, mode) for rule in COMPARED], axis=0)
        for which in ("exact", solver)
    )
    gains = exact - other
    return f"{gains.mean():+.2f} ± {_half(gains):.2f}"


def _rank_correlation(measure: list[float], accuracies: Array) -> tuple[float, float]:
    """Spearman's rho and its p-value; not defined if all accuracies are equal."""
    if np.ptp(accuracies) == 0:
        return math.nan, math.nan
    found = stats.spearmanr(measure, accuracies)
    return float(found.statistic), float(found.pvalue)


def _half(gains: Array) -> float:
    if len(gains) < 2:
        return math.nan
    return float(stats.t.ppf(0.975, len(gains) - 1) * gains.std(ddof=1) / math.sqrt(len(gains)))


def _mean_deviation(values: Array) -> str:
    deviation = values.std(ddof=1) if len(values) > 1 else math.nan
    return f"{values.mean():.2f} ± {deviation:.2f}"
