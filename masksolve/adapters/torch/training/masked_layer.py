"""One layer under a mask: finding the mask from its scores, and putting it in place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

import masksolve as ms

from ..layers import Choice
from ..layout import as_matrices, from_matrices
from .parametrization import MaskedWeight, attach, dense_weight, masking_of

Saliency = Callable[[torch.Tensor, str], torch.Tensor]
"""From a layer's dense weight and its name to scores of the same shape."""

_SMALL_M = 4
"""Up to this m a solve from prices is no faster than one without (measured on 2:4-T)."""


class Found(NamedTuple):
    """A solve of one layer, and the sum of its scores' absolute values."""

    result: ms.MaskResult
    scores: float


class MaskedLayer:
    """A layer of a model, one parameter of which is under a mask.

    Attributes
    ----------
    name : str
    layer : Module
    parameter : str
    plane : Plane
    prices : (str, Prices) or None
        Of the last solve, with the pattern that they are for.
    """

    def __init__(self, choice: Choice, *, straight_through: bool, decay: float) -> None:
        self.name, self.layer = choice.name, choice.layer
        self.parameter, self.plane = choice.parameter, choice.plane
        self.prices: tuple[str, ms.Prices] | None = None
        weight = getattr(self.layer, self.parameter)
        every = torch.ones_like(weight, dtype=torch.bool, requires_grad=False)
        masking = MaskedWeight(every, straight_through=straight_through, decay=decay)
        attach(self.layer, masking, self.parameter)

    @property
    def weight(self) -> nn.Parameter:
        """The dense weight."""
        return dense_weight(self.layer, self.parameter)

    @property
    def masking(self) -> MaskedWeight:
        """The mask and how gradients pass it."""
        masking = masking_of(self.layer, self.parameter)
        if masking is None:
            raise RuntimeError(f"layer '{self.name}' lost its mask; only finalize() may remove it")
        return masking

    def find(
        self,
        pattern: ms.Pattern,
        saliency: Saliency | None,
        *,
        warm_start: bool,
        options: Mapping[str, Any],
    ) -> Found:
        """Find the mask for the dense weight as it is; a note on an error names the layer."""
        warm = warm_start and pattern.transposable and pattern.m > _SMALL_M
        start = self.prices[1] if warm and self.prices and self.prices[0] == str(pattern) else None
        try:
            scores = self.weight.detach() if saliency is None else self._scores(saliency)
            result = ms.solve(
                self.matrices(scores),
                pattern,
                duals=warm,
                warm_start=start,
                score="magnitude" if saliency is None else "value",
                **options,
            )
        except (TypeError, ValueError) as error:
            error.add_note(f"while finding the mask of layer '{self.name}'")
            raise
        return Found(result, _magnitude(scores))

    def put(self, result: ms.MaskResult) -> float:
        """Put a mask in place, in the same buffer; return the share of entries that it flips."""
        mask = self.masking.mask
        new = from_matrices(torch.as_tensor(result.mask, device=mask.device), self.plane, tuple(mask.shape))
        flipped = torch.count_nonzero(mask != new).item() / max(mask.numel(), 1)
        mask.copy_(new)
        self.prices = None if result.duals is None else (str(result.pattern), result.duals)
        return flipped

    def matrices(self, weight: torch.Tensor) -> torch.Tensor:
        """View a tensor of the weight's shape as matrices (..., outputs, inputs)."""
        return as_matrices(weight, self.plane)

    def hidden(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Give the mask, eight entries a byte, and the dense weights outside of it in their order."""
        mask = self.masking.mask
        bits = np.packbits(mask.cpu().numpy(), axis=None)
        return torch.from_numpy(bits), self.weight.detach()[~mask].cpu()

    @torch.no_grad()
    def restore(self, bits: torch.Tensor, outside: torch.Tensor) -> None:
        """Put back what `hidden` gave; the weights inside of the mask stay as they are."""
        mask = self.masking.mask
        flat = np.unpackbits(bits.numpy(), count=mask.numel()).astype(bool)
        mask.copy_(torch.from_numpy(flat).view(mask.shape))
        self.weight[~mask] = outside.to(self.weight.device)

    def _scores(self, saliency: Saliency) -> torch.Tensor:
        weight = self.weight
        scores = saliency(weight, self.name)
        if not isinstance(scores, torch.Tensor):
            raise TypeError(f"saliency must return a tensor, got {type(scores).__name__}")
        if scores.shape != weight.shape:
            raise ValueError(
                f"saliency must return scores of the weight's shape {tuple(weight.shape)}, "
                f"got {tuple(scores.shape)}"
            )
        return scores.detach()


def _magnitude(scores: torch.Tensor) -> float:
    size = scores.abs() if scores.is_floating_point() else scores.double().abs()
    dtype = torch.float32 if scores.device.type == "mps" else torch.float64  # which has no float64
    return size.sum(dtype=dtype).item()
