"""A layer's weight as rows of features, and back."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import nn

from ..layout import as_matrices, from_matrices


def weight_of(layer: nn.Module) -> torch.Tensor:
    """Give a layer's weight without its gradient."""
    return cast(torch.Tensor, layer.weight).detach()


def rows_of(layer: nn.Module) -> torch.Tensor:
    """Give a layer's weight as (groups, outputs, features); features as in `layer_statistics`."""
    matrices = as_matrices(weight_of(layer))
    outputs_first = matrices.movedim(-2, 0).flatten(1)
    return outputs_first.reshape(getattr(layer, "groups", 1), -1, outputs_first.shape[1])


def weight_from(rows: Any, layer: nn.Module) -> torch.Tensor:
    """Undo `rows_of`; dtype and device are those of ``rows``."""
    outputs, inputs, *kernel = weight_of(layer).shape
    flat = torch.as_tensor(rows).reshape(outputs, *kernel, inputs)
    return from_matrices(flat.movedim(0, -2))
