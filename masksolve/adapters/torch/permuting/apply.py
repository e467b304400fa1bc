"""Writing orders into a model, as long as its outputs stay what they were."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils import _pytree

from .atoms import Ids
from .dimensions import Dimension
from .report import Reordered

Result = tuple[Dimension, Reordered, Ids]
"""A dimension, what was gained, and which channel takes every channel's places."""


def outputs_of(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[torch.Tensor]:
    """Run the model; the tensors that it returns."""
    leaves = _pytree.tree_leaves(model(*args, **kwargs))
    return [leaf.detach().clone() for leaf in leaves if isinstance(leaf, torch.Tensor)]


def tolerance_for(outputs: list[torch.Tensor]) -> float:
    """How far outputs may be apart: 1e-5 for float32, as many roundings for other types."""
    floating = [output.dtype for output in outputs if output.is_floating_point()]
    return max(
        (1e-5 * (torch.finfo(dtype).eps / torch.finfo(torch.float32).eps) for dtype in floating), default=0.0
    )


def _difference(outputs: list[torch.Tensor], expected: list[torch.Tensor]) -> float:
    worst = 0.0
    for one, other in zip(outputs, expected, strict=True):
        if not one.numel():
            continue
        change = float((one.to(torch.float64) - other.to(torch.float64)).abs().max())
        worst = max(worst, change / (float(other.to(torch.float64).abs().max()) or 1.0))
        if math.isnan(change):
            return float("inf")
    return worst


def apply(
    model: nn.Module,
    results: list[Result],
    *,
    outputs: Callable[[], list[torch.Tensor]],
    expected: list[torch.Tensor],
    bound: float,
    gains: Callable[[list[Result]], bool],
) -> tuple[list[Result], list[Dimension], float]:
    """Apply all orders; if that changes the outputs, apply them one by one and undo those that do.

    The model is as it was if anything is raised. Gives the results applied, the dimensions refused, and the
    largest change of an output.
    """
    saved = {name: tensor for name, tensor in _tensors(model).items()}
    copies = {name: tensor.detach().clone() for name, tensor in saved.items()}

    def attempt(chosen: list[Result]) -> float:
        _write(saved, copies)
        for (name, axis), order in orders_of(chosen).items():
            tensor = saved[name]
            tensor.copy_(tensor.index_select(axis, torch.from_numpy(order).to(tensor.device)))
        return _difference(outputs(), expected)

    try:
        error = attempt(results)
        if error <= bound:
            return results, [], error
        kept: list[Result] = []
        refused: list[Dimension] = []
        error = 0.0
        for result in results:
            now = attempt([*kept, result])
            if now <= bound:
                kept, error = [*kept, result], now
            else:
                refused.append(result[0])
        if not gains(kept):  # what was found beside a refused order may be worth nothing without it
            kept = []
        error = attempt(kept)
    except BaseException:
        _write(saved, copies)
        raise
    return kept, refused, error


def _write(tensors: dict[str, torch.Tensor], values: dict[str, torch.Tensor]) -> None:
    for name, tensor in tensors.items():
        tensor.copy_(values[name])


def _tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    """All parameters and buffers, each under its first name and under all others."""
    named = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
    return {name: tensor.data for name, tensor in named}


def orders_of(results: list[Result]) -> dict[tuple[str, int], Ids]:
    """Which index to take for every place, for every parameter and axis."""
    orders: dict[tuple[str, int], Ids] = {}
    for dimension, _, order in results:
        for place in dimension.places:
            index = orders.setdefault((place.parameter, place.axis), np.arange(place.length))
            index[place.places] = place.places[order]
    return orders
