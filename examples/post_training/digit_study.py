"""The paper's Tables A.1 and A.2 scaled down: a small ResNet that reads digits, pruned without training."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from masksolve.adapters import torch as mt

from .digits import Images, Plan, accuracy, train_sparse
from .masks import backend_of, mask_kinds

PATTERNS = ("2:4", "4:8", "2:4-T", "4:8-T", "8:16-T", "2:8-T")

CONVERSIONS: dict[str, tuple[tuple[str, ...], ...]] = {
    "4:8": (("2:4",), ("1:2",), ("2:4", "1:2"), ("4:8-T",)),
    "4:8-T": (("2:4-T",), ("1:2-T",), ("2:4-T", "1:2-T")),
}
"""Patterns that models are trained with, and the ways on which they are taken to others."""


@dataclass(frozen=True)
class Row:
    """One model.

    Attributes
    ----------
    seed : int
        Of its training.
    start : str
        What it was made from: ``"dense"``, or the pattern that it was trained with.
    pattern : str
        What it was pruned or converted to; empty for the model itself.
    masks : str
        ``"exact"`` or ``"greedy"``.
    method : str
    accuracy : float
        Per cent of the test images read rightly.
    error : float or None
        Mean over the pruned layers of the squared error of the outputs on the calibration images,
        relative to their squared size.
    violating : float or None
        Share of the entries that the old mask kept and the new one drops.
    """

    seed: int
    start: str
    pattern: str
    masks: str
    method: str
    accuracy: float
    error: float | None = None
    violating: float | None = None


def from_dense(
    dense: nn.Module,
    images: Images,
    plan: Plan,
    seed: int,
    *,
    patterns: Sequence[str] = PATTERNS,
    tell: Callable[[str], None] = print,
) -> list[Row]:
    """Table A.1: the dense model, and what each method leaves of it under each pattern."""
    calibration = images.train[: plan.calibration]

    def row(model: nn.Module, pattern: str, masks: str, method: str, error: float | None = None) -> Row:
        found = Row(seed, "dense", pattern, masks, method, accuracy(model, images), error)
        tell(f"seed {seed}: {pattern} {method} {masks}: {found.accuracy:.1f} %")
        return found

    rows = [row(dense, "", "", "dense"), row(retuned(dense, calibration), "", "", "dense + BNT")]
    for pattern in patterns:
        for masks in mask_kinds(pattern):
            backend = backend_of(masks)
            cut, repaired = copy.deepcopy(dense), copy.deepcopy(dense)
            left = mt.adaprune(cut, calibration, pattern, method="none", backend=backend).error_after
            now = mt.adaprune(
                repaired, calibration, pattern, method="least_squares", backend=backend
            ).error_after
            fixed = copy.deepcopy(cut)
            mt.absorb_mean(fixed, dense, calibration)
            rows += [
                row(cut, pattern, masks, "one-shot", left),
                row(fixed, pattern, masks, "BiasFix", left),
                row(retuned(cut, calibration), pattern, masks, "BNT", left),
                row(repaired, pattern, masks, "AdaPrune", now),
                row(retuned(repaired, calibration), pattern, masks, "AdaPrune + BNT", now),
            ]
    return rows


def converted(
    dense: nn.Module,
    images: Images,
    plan: Plan,
    seed: int,
    *,
    conversions: dict[str, tuple[tuple[str, ...], ...]] = CONVERSIONS,
    tell: Callable[[str], None] = print,
) -> list[Row]:
    """Table A.2: models trained with one pattern, taken to others."""
    calibration = images.train[: plan.calibration]
    rows = []
    for start, ways in conversions.items():
        trained = train_sparse(dense, images, plan, start, seed)
        rows.append(Row(seed, start, "", "exact", "trained", accuracy(trained, images)))
        for way in ways:
            for method, data in (("one-shot", None), ("AdaPrune", calibration)):
                model = copy.deepcopy(trained)
                violating, error = walk(model, (start, *way), data)
                shared = (seed, start, " → ".join(way), "exact")
                for label, tested in ((method, model), (f"{method} + BNT", retuned(model, calibration))):
                    rows.append(Row(*shared, label, accuracy(tested, images), error, violating))
                    tell(f"seed {seed}: {start} → {shared[2]} {label}: {rows[-1].accuracy:.1f} %")
    return rows


def walk(
    model: nn.Module, way: Sequence[str], calibration: torch.Tensor | None
) -> tuple[float, float | None]:
    """Convert in place from pattern to pattern; the share of kept entries lost on the way, the last error."""
    lost, kept = 0, 0.0
    for before, after in itertools.pairwise(way):
        method = None if calibration is None else "least_squares"
        report = mt.convert(model, before, after, calibration=calibration, method=method)
        sizes = [torch.Size(layer.shape).numel() * layer.kept for layer in report.layers]
        kept = kept or sum(sizes)
        lost += sum(layer.violations for layer in report.layers)
    return lost / kept, report.error_after


def retuned(model: nn.Module, calibration: torch.Tensor) -> nn.Module:
    """A copy whose batch normalisation was estimated again."""
    tuned = copy.deepcopy(model)
    mt.retune_batchnorm(tuned, calibration)
    return tuned
