"""The pass over a model's layers that `adaprune` and `convert` share: all of them, or none."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any

import torch
from torch import nn

import masksolve as ms
from masksolve.pruning.layer import Pruned, prune_layer
from masksolve.pruning.recipe import Recipe

from ..blocks import Chain
from ..layers import Choice
from .absorb import absorb, absorber
from .calibration import Calibration, call
from .checkpoint import Checkpoint, LayerState
from .fingerprint import function_digest
from .inputs import Inputs
from .prune_report import AdaPruneReport, PrunedLayer
from .rows import places_of, rows_of, weight_from, weight_of
from .state import Changes, digest_of, evaluating, tensor_of, without_cache


@dataclass(frozen=True)
class Run:
    """A pass over a model, beside the recipe for each layer.

    Attributes
    ----------
    title : str
        Of the report.
    chains : sequence of Chain
        Blocks to walk along.
    strict : bool
        Whether the caller named them.
    bias_correction, checkpoint, progress
        As for `adaprune`.
    """

    title: str
    chains: Sequence[Chain] = ()
    strict: bool = False
    bias_correction: bool = False
    checkpoint: str | PathLike[str] | None = None
    progress: Callable[[int, int], object] | None = None

    def __post_init__(self) -> None:
        if self.progress is not None and not callable(self.progress):
            raise TypeError(f"progress must be callable as progress(done, total), got {self.progress!r}")


def prune(
    model: nn.Module, choices: Sequence[Choice], data: Calibration | None, recipe: Recipe, run: Run
) -> AdaPruneReport:
    """Prune the chosen layers one after another, in the order in which the data reach them.

    Without data, only masks are found and applied.
    """
    weights = [choice for choice in choices if not choice.skipped]
    records: list[PrunedLayer] = []
    masks: dict[str, torch.Tensor] = {}
    with Changes() as changes, evaluating(model), without_cache(model):
        inputs, file = None, None
        if data is not None:
            inputs = Inputs(
                model, data, weights, run.chains, dtype=precision_of(weights, recipe), strict=run.strict
            )
            if run.checkpoint is not None:
                fingerprint = _fingerprint(model, data, weights, inputs.order, recipe, run)
                file = Checkpoint(run.checkpoint, fingerprint)
        for weight in weights if inputs is None else inputs.weights():
            number = len(records)
            state = None if file is None else file.read(number, weight.name)
            if state is None:
                state = _prune_one(model, weight, inputs, recipe, bias_correction=run.bias_correction)
                if file is not None:
                    file.write(number, weight.name, state)
            for place, value in state["values"].items():
                changes.set(tensor_of(model, place), value)
            masks[weight.name] = state["mask"].to(weight_of(weight).device)
            records.append(PrunedLayer(**state["record"]))
            if run.progress is not None:
                run.progress(len(records), len(weights))
    skipped = {choice.name: choice.skipped for choice in choices if choice.skipped}
    return AdaPruneReport(title=run.title, layers=tuple(records), skipped=skipped, masks=masks)


def _prune_one(
    model: nn.Module, weight: Choice, inputs: Inputs | None, recipe: Recipe, *, bias_correction: bool
) -> LayerState:
    """Find what a weight is to become; nothing is changed."""
    started = time.perf_counter()
    target = absorber(model, weight, inputs.survey) if bias_correction and inputs is not None else ""
    statistics = None if inputs is None else inputs.statistics(weight)
    rows, own = rows_of(weight), weight.pattern or recipe.pattern
    try:
        pruned = prune_layer(
            rows,
            statistics,
            recipe.to(own),
            inputs=rows.shape[2] // places_of(weight.layer),
            shifts=bool(target),
        )
    except ValueError as error:
        raise ValueError(f"layer '{weight.name}': {error}") from error
    values = {weight.full_name: weight_from(pruned.weights, weight)}
    if target and pruned.shift is not None:
        values[target] = absorb(model, target, pruned.shift.flatten())
    mask = weight_from(pruned.mask, weight)
    record = _record(weight.name, weight_of(weight) != 0, mask, pruned) | {
        "unseen": sum(not seen.count for seen in statistics or ()),
        "absorbed": target,
        "seconds": time.perf_counter() - started,
    }
    return {"values": values, "mask": mask, "record": record}


def _record(name: str, old: torch.Tensor, mask: torch.Tensor, pruned: Pruned) -> dict[str, Any]:
    """Give the fields of a `PrunedLayer` that the weights decide."""
    return {
        "name": name,
        "shape": tuple(old.shape),
        "kept": float(mask.float().mean()),
        "violations": int((old & ~mask).sum()),
        "revived": int((mask & ~old).sum()),
        "error_before": pruned.error_before,
        "error_after": pruned.error_after,
        "exchanged": pruned.exchanged,
    }


def precision_of(weights: Sequence[Choice], recipe: Recipe) -> str:
    """Precision of the statistics: that of the recipe, or of the widest weight."""
    dtypes = {weight_of(weight).dtype for weight in weights}
    return recipe.dtype or ("float64" if torch.float64 in dtypes else "float32")


def _fingerprint(
    model: nn.Module,
    data: Calibration,
    weights: Sequence[Choice],
    order: Sequence[str],
    recipe: Recipe,
    run: Run,
) -> dict[str, str]:
    """Everything that the pruned weights depend on."""
    planes = {weight.name: weight.plane for weight in weights}
    arguments = {key: str(value) for key, value in vars(recipe).items()}
    if len({weight.pattern for weight in weights}) > 1:
        arguments["pattern"] = " ".join(f"{weight.name}: {weight.pattern}" for weight in weights)
    if callable(recipe.saliency):
        arguments["saliency"] = function_digest("saliency", recipe.saliency)
    forward = "" if data.forward is call else function_digest("forward", data.forward)
    return arguments | {
        "masksolve": ms.__version__,
        "bias_correction": str(run.bias_correction),
        "blocks": " ".join(chain.name for chain in run.chains),
        "forward": forward,
        "layers": " ".join(f"{name}: {planes[name]}" for name in order),
        "model": digest_of(model),
        "calibration": data.digest(),
    }
