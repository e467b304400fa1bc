"""Fidelity of a sentence encoder that was pruned without training: method by pattern, exact by greedy."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from masksolve.adapters import torch as mt

from .encoder import Encoder, embed
from .fidelity import fidelity
from .masks import backend_of, mask_kinds

_EVERY = 4
"""Test batches on which outputs of every matrix are compared: every fourth, to save time."""

PATTERNS = ("2:4", "4:8", "2:4-T", "4:8-T", "8:16-T", "16:32-T")


@dataclass(frozen=True)
class Method:
    """A way to choose masks and what becomes of the kept weights, as options of ``mt.adaprune``."""

    name: str
    options: dict[str, Any]


METHODS = (
    Method("magnitude", {"saliency": "magnitude", "method": "none"}),
    Method("Wanda", {"saliency": "wanda", "method": "none"}),
    Method("SparseGPT", {"saliency": "sparsegpt", "method": "none"}),
    Method("AdaPrune", {"saliency": "magnitude", "method": "least_squares"}),
    Method("ADMM", {"method": "admm"}),
)


@dataclass(frozen=True)
class Row:
    """One pruned encoder.

    Attributes
    ----------
    cosine, rank_correlation, agreement : float
        On the test sentences; see `Fidelity`.
    fitted : dict
        For each matrix the squared error of its outputs on the calibration sentences, relative to
        their squared size; its inputs are those that the pruned encoder gives it.
    errors : dict
        The same on test sentences, which no method has seen.
    seconds : float
        Of processor time, for masks and weights of all matrices.
    """

    pattern: str
    method: str
    masks: str
    cosine: float
    rank_correlation: float
    agreement: float
    fitted: dict[str, float]
    errors: dict[str, float]
    seconds: float

    @property
    def fitted_error(self) -> float:
        """Mean of ``fitted``."""
        return sum(self.fitted.values()) / len(self.fitted)

    @property
    def error(self) -> float:
        """Mean of ``errors``."""
        return sum(self.errors.values()) / len(self.errors)

    def __str__(self) -> str:
        return (
            f"{self.pattern} {self.method}, {self.masks} masks: error {self.fitted_error:.4f}, unseen "
            f"{self.error:.4f}, cosine {self.cosine:.4f}, rank {self.rank_correlation:.4f}, agreement "
            f"{self.agreement:.4f}, {self.seconds:.0f} s"
        )


def prune(
    encoder: Encoder, calibration: Sequence[torch.Tensor], pattern: str, **options: Any
) -> dict[str, float]:
    """Prune all matrices of all layers in place; return relative errors by name."""
    report = mt.adaprune(encoder, list(calibration), pattern, dense_ends=False, **options)
    errors = {}
    for record in report.layers:
        assert record.error_after is not None  # there are calibration data
        errors[record.name] = record.error_after
    return errors


def output_errors(dense: Encoder, pruned: Encoder, test: Sequence[torch.Tensor]) -> dict[str, float]:
    """Squared error of the outputs of every matrix, on the inputs it has in the pruned encoder, relative."""
    sums: dict[str, tuple[float, float]] = {}

    def compare(
        name: str, _module: nn.Module, given: tuple[torch.Tensor, ...], _output: torch.Tensor
    ) -> None:
        whole = dense.get_parameter(f"{name}.weight")
        lost = whole - pruned.get_parameter(f"{name}.weight")
        sizes = [(given[0] @ w.T).square().sum().item() for w in (lost, whole)]
        before = sums.get(name, (0.0, 0.0))
        sums[name] = before[0] + sizes[0], before[1] + sizes[1]

    with ExitStack() as hooks:
        for name, module in pruned.named_modules():
            if isinstance(module, nn.Linear):
                hook = module.register_forward_hook(partial(compare, name))
                hooks.callback(hook.remove)
        embed(pruned, test)
    return {name: lost / whole for name, (lost, whole) in sums.items()}


def measure(
    encoder: Encoder,
    calibration: Sequence[torch.Tensor],
    test: Sequence[torch.Tensor],
    *,
    patterns: Sequence[str] = PATTERNS,
    done: Sequence[Row] = (),
) -> Iterator[Row]:
    """Prune a copy of the encoder in every way, and compare embeddings of the test sentences."""
    dense = embed(encoder, test)
    known = {(row.pattern, row.masks, row.method) for row in done}
    for pattern, masks, method in contests(patterns):
        if (pattern, masks, method.name) in known:
            continue
        pruned = copy.deepcopy(encoder)
        begun = time.process_time()
        fitted = prune(pruned, calibration, pattern, backend=backend_of(masks), **method.options)
        seconds = time.process_time() - begun
        close = fidelity(dense, embed(pruned, test))
        errors = output_errors(encoder, pruned, test[::_EVERY])
        yield Row(pattern, method.name, masks, **asdict(close), fitted=fitted, errors=errors, seconds=seconds)


def contests(patterns: Sequence[str]) -> Iterator[tuple[str, str, Method]]:
    """Patterns, masks and methods; greedy masks, last, only where they are not the exact ones."""
    for masks in ("exact", "greedy"):
        for pattern in patterns:
            if masks in mask_kinds(pattern):
                for method in METHODS:
                    yield pattern, masks, method
