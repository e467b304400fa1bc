"""One layer under a mask: finding the mask from its scores, and putting it in place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

import masksolve as ms

from ...plane import Plane
from ..layers import Choice
from ..layout import as_matrices, from_matrices
from .parametrization import MaskedWeight, attach, dense_weight, masking_of
from .passes import Passes
from .sharding import (
    added_up,
    is_sharded,
    laid_out,
    largest,
    local,
    local_plane,
    place,
    spread,
    whole,
    wrapped,
)

Saliency = Callable[[torch.Tensor, str], torch.Tensor]
"""From a layer's dense weight and its name to scores of the same shape."""

_SMALL_M = 4
"""Up to this m a solve from prices is no faster than one without (measured on 2:4-T)."""


class Found(NamedTuple):
    """A solve of one layer.

    Attributes
    ----------
    mask : Tensor of bool
        Shape of the weight, sharded as it is.
    prices : (str, Prices) or None
        From which the next solve may start, with the pattern and the part of the weight that they are for.
    backward : Tensor of bool or None
        Mask of the backward pass, if it has one of its own.
    numbers : Tensor, shape (4,)
        Sum of the scores' absolute values, what is kept of them, proven distance to the best, and seconds;
        on the device of the weight, so that nobody has to wait for it layer by layer.
    """

    mask: torch.Tensor
    prices: tuple[str, ms.Prices] | None
    backward: torch.Tensor | None
    numbers: torch.Tensor


class MaskedLayer:
    """A layer of a model, one parameter of which is under a mask.

    Attributes
    ----------
    name : str
    layer : Module
    parameter : str
    plane : Plane
    pattern : Pattern
        At the end of a ramp, if there is one.
    prices : (str, Prices) or None
        Of the last solve, with the pattern and the part of the weight that they are for.
    gathered : bool
        Whether that solve was of the weight of all processes, since their shards cut through tiles.
    """

    def __init__(
        self, choice: Choice, *, straight_through: bool, decay: float, passes: Passes | None = None
    ) -> None:
        self.name, self.layer = choice.name, choice.layer
        self.parameter, self.plane = choice.parameter, choice.plane
        assert choice.pattern is not None
        self.pattern = choice.pattern
        self.prices: tuple[str, ms.Prices] | None = None
        weight = getattr(self.layer, self.parameter)
        self.gathered = False
        every = torch.ones_like(weight, dtype=torch.bool, requires_grad=False)
        masking = MaskedWeight(every, straight_through=straight_through, decay=decay, passes=passes)
        attach(self.layer, masking, self.parameter)

    @property
    def weight(self) -> nn.Parameter:
        """The dense weight."""
        if masking_of(self.layer, self.parameter) is None:
            raise self._lost()
        return dense_weight(self.layer, self.parameter)

    @property
    def masking(self) -> MaskedWeight:
        """The mask and how gradients pass it."""
        masking = masking_of(self.layer, self.parameter)
        if masking is None:
            raise self._lost()
        return masking

    def _lost(self) -> RuntimeError:
        return RuntimeError(f"layer '{self.name}' lost its mask; only finalize() may remove it")

    def find(
        self,
        pattern: ms.Pattern,
        saliency: Saliency | None,
        *,
        warm_start: bool,
        options: Mapping[str, Any],
        seed: int = 0,
    ) -> Found:
        """Find the mask for the dense weight as it is; a note on an error names the layer."""
        self.follow()
        warm = warm_start and pattern.transposable and max(pattern.tile_shape) > _SMALL_M
        try:
            scores = self.weight.detach() if saliency is None else self._scores(saliency)
            plane = local_plane(scores, self.plane, pattern)
            self.gathered = plane is None
            mine = whole(scores) if plane is None else local(scores)
            key = f"{pattern}{place(scores) if plane is not None else ''}"
            start = self.prices[1] if warm and self.prices and self.prices[0] == key else None
            result = ms.solve(
                as_matrices(mine, plane or self.plane),
                pattern,
                duals=warm,
                warm_start=start,
                score="magnitude" if saliency is None else "value",
                **options,
            )
        except (TypeError, ValueError) as error:
            error.add_note(f"while finding the mask of layer '{self.name}'")
            raise
        found = self._found(result, scores, mine, plane)
        passes, backward = self.masking.passes, None
        if passes is not None and passes.backward is not None:
            backward = passes.backward_mask(self.weight, found.mask, pattern, seed)
        prices = None if result.duals is None else (key, result.duals)
        return found._replace(prices=prices, backward=backward)

    def _found(
        self, result: ms.MaskResult, scores: torch.Tensor, mine: torch.Tensor, plane: Plane | None
    ) -> Found:
        """Make a mask like the weight of a mask of this process's part or, without ``plane``, of all."""
        mask = torch.as_tensor(result.mask, device=mine.device)
        mask = from_matrices(mask, plane or self.plane, tuple(mine.shape))
        size = _magnitude(mine)
        told = (result.objective, result.gap, result.stats["seconds"])
        numbers = torch.stack([size, *(size.new_full((), each) for each in told)])
        if is_sharded(scores):
            if plane is None:
                mask = spread(mask, scores)
            else:
                mask = wrapped(mask, scores)
                numbers = torch.cat([added_up(scores, numbers[:2]), largest(scores, numbers[2:])])
        return Found(mask, None, None, numbers)

    @torch.no_grad()
    def put(self, found: Found) -> torch.Tensor:
        """Put a mask in place, in the same buffer; return the number of entries that it flips, (1,)."""
        masking, new = self.masking, found.mask
        flipped = torch.count_nonzero(local(masking.mask) != local(new))[None].to(found.numbers.dtype)
        if is_sharded(new):
            flipped = added_up(new, flipped)
        local(masking.mask).copy_(local(new))
        if masking.backward_mask is not None and found.backward is not None:
            masking.backward_mask.copy_(found.backward)
        self.prices = found.prices
        return flipped

    @torch.no_grad()
    def follow(self) -> None:
        """Shard the mask as the weight is, if the model was sharded after it was masked."""
        if is_sharded(self.weight):
            if self.masking.passes is not None:
                raise ValueError(
                    f"backward= and gradients= know no sharded weights, as layer '{self.name}' has"
                )
            self.masking.mask = laid_out(self.masking.mask, self.weight)

    def matrices(self, weight: torch.Tensor) -> torch.Tensor:
        """View a tensor of the weight's shape as matrices (..., outputs, inputs)."""
        return as_matrices(weight, self.plane)

    def hidden(self) -> tuple[torch.Tensor, ...]:
        """Give the mask, eight entries a byte, and the dense weights outside of it in their order.

        A mask of the backward pass comes third. They are gathered from all processes; each must call.
        """
        mask, weight = whole(self.masking.mask), whole(self.weight.detach())
        backward = self.masking.backward_mask
        return (_bits(mask), weight[~mask].cpu(), *([] if backward is None else [_bits(backward)]))

    @torch.no_grad()
    def restore(
        self, bits: torch.Tensor, outside: torch.Tensor, backward: torch.Tensor | None = None
    ) -> None:
        """Put back what `hidden` gave; the weights inside of the mask stay as they are."""
        mask, weight = self.masking.mask, self.weight
        new, full = _mask_of(bits, mask.shape).to(local(mask).device), whole(weight.detach()).clone()
        full[~new] = outside.to(full.device)
        local(mask).copy_(local(spread(new, mask)))
        local(weight.detach()).copy_(local(spread(full, weight)))
        if self.masking.backward_mask is not None and backward is not None:
            self.masking.backward_mask.copy_(_mask_of(backward, mask.shape))

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


def _bits(mask: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(np.packbits(mask.cpu().numpy(), axis=None))


def _mask_of(bits: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    return torch.from_numpy(np.unpackbits(bits.numpy(), count=shape.numel()).astype(bool)).view(shape)


def _magnitude(scores: torch.Tensor) -> torch.Tensor:
    size = scores.abs() if scores.is_floating_point() else scores.double().abs()
    dtype = torch.float32 if scores.device.type == "mps" else torch.float64  # which has no float64
    return size.sum(dtype=dtype)
