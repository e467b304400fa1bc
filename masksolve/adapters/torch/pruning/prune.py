"""The pass over a model's layers that `adaprune` and `convert` share: all of them, or none."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from os import PathLike
from typing import cast

import torch
from torch import nn

import masksolve as ms

from ..layers import Choice
from .absorb import absorb, absorber
from .calibration import Calibration
from .checkpoint import Checkpoint, LayerState
from .observe import layer_statistics, survey
from .prune_report import AdaPruneReport, PrunedLayer
from .reconstruct import Pruned, Settings, best_mask, prune_layer, rows_of, weight_from
from .state import Changes, digest_of, evaluating, tensor_of


def prune(
    model: nn.Module,
    choices: Sequence[Choice],
    data: Calibration | None,
    settings: Settings,
    *,
    title: str,
    bias_correction: bool = False,
    checkpoint: str | PathLike[str] | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> AdaPruneReport:
    """Prune the chosen layers one after another, in the order in which the data reach them.

    Without data, only masks are found and applied.
    """
    if progress is not None and not callable(progress):
        raise TypeError(f"progress must be callable as progress(done, total), got {progress!r}")
    names = [choice.name for choice in choices if not choice.skipped]
    saved: dict[str, LayerState] = {}
    file, inputs = None, None
    with Changes() as changes, evaluating(model):
        if data is not None:
            inputs = _Inputs(model, data, names)
            names = inputs.survey.order
            if checkpoint is not None:
                file = Checkpoint(checkpoint, _fingerprint(model, data, names, settings, bias_correction))
                saved = file.read()
        for done, name in enumerate(names, start=1):
            if name not in saved:
                saved[name] = _prune_one(model, name, inputs, settings, bias_correction=bias_correction)
                if file is not None:
                    file.write(saved)
            for place, value in saved[name]["values"].items():
                changes.set(tensor_of(model, place), value)
            if file is None:  # the model holds them
                saved[name]["values"].clear()
            if progress is not None:
                progress(done, len(names))
    masks = {name: saved[name]["mask"].to(tensor_of(model, weight_name(name)).device) for name in names}
    return AdaPruneReport(
        title=title,
        layers=tuple(PrunedLayer(**saved[name]["record"]) for name in names),
        skipped={choice.name: choice.skipped for choice in choices if choice.skipped},
        masks=masks,
    )


class _Inputs:
    """What the layers of a model are given, as far as it is pruned by then."""

    def __init__(self, model: nn.Module, data: Calibration, names: Sequence[str]) -> None:
        self.survey = survey(model, data, names)
        self._model = model
        self._data = data
        self._latest: tuple[str, list[ms.saliency.Statistics]] = ("", [])

    def statistics(self, name: str) -> list[ms.saliency.Statistics]:
        """One for each group; in memory is only the last layer's."""
        before = self.survey.order[self.survey.order.index(name) - 1]
        found = self._latest[1] if self._latest[0] == before and self.survey.repeats(name) else None
        if found is None:
            self._latest = "", []
            layer = self._model.get_submodule(name)
            found = layer_statistics(self._model, self._data, layer, self.survey.calls[name])
        self._latest = name, found
        return found


def _prune_one(
    model: nn.Module, name: str, inputs: _Inputs | None, settings: Settings, *, bias_correction: bool
) -> LayerState:
    """Find what a layer is to become; nothing is changed."""
    started = time.perf_counter()
    layer = model.get_submodule(name)
    target = absorber(model, name, inputs.survey) if bias_correction and inputs is not None else ""
    try:
        if inputs is None:
            pruned = _masked(layer, settings)
        else:
            pruned = prune_layer(layer, inputs.statistics(name), settings, shifts=bool(target))
    except ValueError as error:
        raise ValueError(f"layer '{name}': {error}") from error
    old = cast(torch.Tensor, layer.weight).detach() != 0
    record = PrunedLayer(
        name=name,
        shape=tuple(old.shape),
        kept=float(pruned.mask.double().mean()),
        violations=int((old & ~pruned.mask).sum()),
        revived=int((pruned.mask & ~old).sum()),
        error_before=pruned.error_before,
        error_after=pruned.error_after,
        absorbed=target,
        seconds=time.perf_counter() - started,
    )
    values = {weight_name(name): pruned.weight}
    if target and pruned.shift is not None:
        values[target] = absorb(model, target, pruned.shift)
    return {"values": values, "mask": pruned.mask, "record": asdict(record)}


def _masked(layer: nn.Module, settings: Settings) -> Pruned:
    """Prune a layer of which nothing is known but its weight."""
    weight = cast(torch.Tensor, layer.weight).detach()
    rows = rows_of(layer)
    mask = weight_from(best_mask(rows, None, weight.shape[1], settings), layer).to(weight.device)
    return Pruned(weight.where(mask, torch.zeros_like(weight)), mask)


def weight_name(layer: str) -> str:
    """Name of a layer's weight in the model, which may be the layer itself."""
    return f"{layer}.weight".lstrip(".")


def _fingerprint(
    model: nn.Module, data: Calibration, names: Sequence[str], settings: Settings, bias_correction: bool
) -> dict[str, str]:
    """Everything that the pruned weights depend on."""
    arguments = {key: str(value) for key, value in vars(settings).items()}
    if callable(settings.saliency):
        arguments["saliency"] = getattr(settings.saliency, "__qualname__", type(settings.saliency).__name__)
    return arguments | {
        "masksolve": ms.__version__,
        "bias_correction": str(bias_correction),
        "layers": " ".join(names),
        "model": digest_of(model),
        "calibration": data.digest(),
    }
