"""Methods and patterns, and what each makes of the model's perplexity."""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import nn

import masksolve as ms
from masksolve.adapters import torch as mt

from .model import perplexity

PATTERNS = ("2:4", "4:8", "2:4-T", "4:8-T", "8:16-T", "16:32-T")

METHODS: dict[str, dict[str, Any]] = {
    "magnitude": {"saliency": "magnitude", "method": "none"},
    "Wanda": {"saliency": "wanda", "method": "none"},
    "SparseGPT": {"saliency": "sparsegpt", "method": "none"},
    "AdaPrune": {"saliency": "magnitude", "method": "least_squares"},
    "Wanda + least squares": {"saliency": "wanda", "method": "least_squares"},
    "ADMM": {"method": "admm"},
}
PERMUTED = {f"permuted {name}": METHODS[name] | {"permute": True} for name in ("magnitude", "ADMM")}
"""The same after channels were reordered, which is measured for one pattern."""
MASKS = {"exact": "auto", "greedy": "greedy", "entropic": "entropic"}


class Contest(NamedTuple):
    """A way to prune the model."""

    pattern: str
    method: str
    masks: str = "exact"
    split: int = 0


TABLE = [
    *(Contest(pattern, "ADMM") for pattern in PATTERNS),
    *(Contest("2:4-T", "ADMM", split=split) for split in (1, 2)),
    *(Contest("2:4-T", method) for method in PERMUTED),
    *(Contest(pattern, "ADMM", masks) for masks in ("greedy", "entropic") for pattern in ("2:4-T", "8:16-T")),
    *(
        Contest(pattern, method)
        for method in ("AdaPrune", "SparseGPT", "Wanda", "magnitude")
        for pattern in PATTERNS
    ),
]
"""The rows of the documentation's table, those first that tell most."""


@dataclass(frozen=True)
class Row:
    """One pruned model.

    Attributes
    ----------
    error : float
        Mean relative squared output error of the layers on the calibration text, each on the inputs
        that the pruned layers before it give.
    perplexities : dict
        By text.
    seconds, processor_seconds : float
        Wall time and time of all processors, for pruning alone.
    """

    pattern: str
    method: str
    masks: str
    split: int
    samples: int
    error: float
    perplexities: dict[str, float]
    seconds: float
    processor_seconds: float

    @property
    def key(self) -> tuple[Any, ...]:
        """What distinguishes it from other rows."""
        return self.pattern, self.method, self.masks, self.split, self.samples

    def __str__(self) -> str:
        found = ", ".join(f"{name} {value:.1f}" for name, value in self.perplexities.items())
        return (
            f"{self.pattern} {self.method}, {self.masks} masks, split {self.split}, {self.samples} windows: "
            f"error {self.error:.4f}, perplexity {found}, {self.seconds:.0f} s"
        )


def in_order(rows: Sequence[Row]) -> list[Row]:
    """Rows as they are told, in whatever order they were measured: by pattern, method, masks and split."""
    patterns, methods, masks = list(PATTERNS), [*METHODS, *PERMUTED], list(MASKS)

    def place(row: Row) -> tuple[int, int, int, int]:
        lists = ((patterns, row.pattern), (methods, row.method), (masks, row.masks))
        return (*(names.index(name) if name in names else len(names) for names, name in lists), row.split)

    return sorted(rows, key=place)


def dense(model: nn.Module, tests: dict[str, torch.Tensor]) -> Row:
    """The row of the model as it is."""
    return Row("dense", "dense", "", 0, 0, 0.0, _measured(model, tests), 0.0, 0.0)


def pruned(
    model: nn.Module,
    calibration: torch.Tensor,
    tests: dict[str, torch.Tensor],
    contest: Contest,
    **options: Any,
) -> Row:
    """Prune a copy of the model, and measure it."""
    pattern, method, masks, split = contest
    twin = copy.deepcopy(model)
    begun, processor = time.perf_counter(), time.process_time()
    report = mt.adaprune(
        twin,
        [{"input_ids": window[None]} for window in calibration],
        pattern,
        backend=MASKS[masks],
        **(METHODS | PERMUTED)[method],
        **options,
    )
    seconds, processor = time.perf_counter() - begun, time.process_time() - processor
    for name, mask in report.masks.items():
        if not ms.verify(mask.numpy(), pattern).ok:
            raise AssertionError(f"{name} does not follow {pattern}")
    assert report.error_after is not None  # there are calibration data
    found = _measured(twin, tests)
    return Row(pattern, method, masks, split, len(calibration), report.error_after, found, seconds, processor)


def _measured(model: nn.Module, tests: dict[str, torch.Tensor]) -> dict[str, float]:
    return {name: perplexity(model, tokens) for name, tokens in tests.items()}


def contests(
    patterns: Sequence[str], methods: Sequence[str], masks: Sequence[str], splits: Sequence[int]
) -> list[Contest]:
    """Every combination; other masks than exact ones only where they differ."""
    return [
        Contest(pattern, method, kind, split)
        for split in splits
        for kind in masks
        for pattern in patterns
        for method in methods
        if kind == "exact" or ms.Pattern.parse(pattern).transposable
    ]
