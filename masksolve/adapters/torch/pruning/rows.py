"""A weight as rows of features, and back."""

from __future__ import annotations

import math
from typing import Any, cast

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd

from ..layers import Choice
from ..layout import as_matrices, from_matrices


def weight_of(weight: Choice) -> torch.Tensor:
    """Give a weight without its gradient."""
    return cast(torch.Tensor, getattr(weight.layer, weight.parameter)).detach()


def places_of(layer: nn.Module) -> int:
    """How many matrices of a layer multiply side by side into the same outputs: the places of a kernel."""
    return math.prod(layer.kernel_size) if isinstance(layer, _ConvNd) else 1


def rows_of(weight: Choice) -> torch.Tensor:
    """Give a weight as (groups, outputs, features).

    Groups have inputs of their own: those of a grouped convolution, experts, or the three projections of
    an attention. The features of a convolution are its input channels at every place of the kernel, the
    place varying slowest.
    """
    places = places_of(weight.layer)
    matrices = as_matrices(weight_of(weight), weight.plane)
    split = matrices.reshape(-1, places, *matrices.shape[-2:])
    return split.movedim(1, 2).flatten(2)


def weight_from(rows: Any, weight: Choice) -> torch.Tensor:
    """Undo `rows_of`; dtype and device are those of ``rows``."""
    shape = tuple(weight_of(weight).shape)
    places, matrices = places_of(weight.layer), weight.plane.shape(shape)
    flat = torch.as_tensor(rows)
    split = flat.reshape(*flat.shape[:2], places, matrices[-1]).movedim(2, 1)
    return from_matrices(split.reshape(matrices), weight.plane, shape)
