"""Adapters such as LoRA on sparse layers: merging them keeps the pattern.

PEFT is not imported: its layers are known by the name of their base class.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import register_module_module_registration_hook
from torch.utils.hooks import RemovableHandle

import masksolve as ms
from masksolve.pruning.projection import layer_pattern

from ..kinds import is_tuner, kind_of
from ..training.parametrization import masked_names, masking_of, plain


def keep_pattern(model: nn.Module, pattern: ms.Pattern | str) -> list[str]:
    """Let adapters be merged into sparse layers without filling their zeros.

    For a model that was sparse before it got adapters. `sparsify` does it for layers that have adapters
    already, and `Sparsifier.finalize` leaves it in place. ``merge``, ``unmerge`` and
    ``merge_and_unload`` then change kept entries only, so that the merged model computes with
    ``mask * (W + B A)``, which is not what it did before they were merged: judge it after merging.

    Parameters
    ----------
    model : Module
        With adapters of PEFT.
    pattern : Pattern or str
        That the sparse layers follow; others are merged as usual.

    Returns
    -------
    list of str
        Names of the layers that keep the pattern.

    Raises
    ------
    ValueError
        If no layer with adapters follows the pattern.
    """
    pattern = replace(layer_pattern(pattern), constraint="at_most")
    kept = []
    for name, layer in _tuners(model):
        base = layer.get_base_layer()
        if "weight" in masked_names(base) or _follows(base, pattern):
            _guard(layer)
            kept.append(name)
    if not kept:
        raise ValueError(f"model must have adapters on layers that follow '{pattern}', but none does")
    return kept


def guard_masked(model: nn.Module) -> RemovableHandle:
    """Do as `keep_pattern` for the layers that have masks, and for adapters that such layers are given later.

    PEFT would merge these into the weight that the mask computes, where they are lost without a word. So
    torch is asked to tell of every module that is put into another, until the handle is removed.
    """
    for _, layer in _tuners(model):
        _guard_if_masked(layer, "base_layer", layer.get_base_layer())
    return register_module_module_registration_hook(_guard_if_masked)


def _guard_if_masked(layer: nn.Module, name: str, base: nn.Module | None) -> None:
    if name == "base_layer" and base is not None and "weight" in masked_names(base) and is_tuner(layer):
        _guard(layer)


class _Masked:
    """A method of an adapter's layer that changes the weight below it, followed by the mask.

    It stands in the layer's ``__dict__``, before the method of its class; a copy takes it along.
    """

    def __init__(self, layer: Any, method: str) -> None:
        self.layer, self.method = layer, method
        layer.__dict__[method] = self

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        base = self.layer.get_base_layer()
        change = getattr(type(self.layer), self.method)
        if masking_of(base) is None:
            mask = base.weight != 0
            result = change(self.layer, *args, **kwargs)
            with torch.no_grad():
                base.weight.masked_fill_(~mask, 0)
            return result
        if self.layer.base_layer is not base:
            raise ValueError(f"{self.method}() reaches no masked weight through adapters of adapters")
        # PEFT assigns to base_layer.weight.data, which is lost where the weight is computed from another.
        # It is given the layer without its mask, which shares the dense weight; the mask stays.
        self.layer.base_layer = plain(base)
        try:
            return change(self.layer, *args, **kwargs)
        finally:
            self.layer.base_layer = base


def _guard(layer: Any) -> None:
    for method in ("merge", "unmerge"):
        _Masked(layer, method)


def _tuners(model: nn.Module) -> Iterator[tuple[str, Any]]:
    for name, module in model.named_modules():
        if is_tuner(module) and isinstance(getattr(module, "base_layer", None), nn.Module):
            yield name, module


def _follows(base: nn.Module, pattern: ms.Pattern) -> bool:
    plane = kind_of(base, "weight", "").plane
    weight = base.weight
    if plane is None or not isinstance(weight, torch.Tensor) or pattern.misfit(plane.shape(weight.shape)):
        return False
    return ms.verify((plane.matrices(weight.detach()) != 0).cpu().numpy(), pattern).ok
