"""Backward products that differ from the forward one: methods to compare transposable masks with.

A layer multiplies its weight by inputs in the forward pass, and by gradients in the backward pass. A
transposable mask is N:M in both products. These methods take a one-directional mask forward, and

- ``"double_pruned"`` (SLoPe) prunes what the mask keeps once more, along the other axis, for the backward
  pass;
- ``"bidirectional"`` (Bi-Mask) does so in the best of 100 random orders of that axis, so that less is lost.

Neither backward product is the derivative of what the layer computes. The third product, of gradients and
inputs, can be made N:M as well, by pruning gradients at random without bias (`masksolve.unbiased`).

All of it is emulated by dense kernels, and takes one more product in the forward pass: it tells how a
training ends, not how fast it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import nn
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear

import masksolve as ms
from masksolve.checks import choice

from ...plane import Plane
from ..layers import Choice
from ..layout import as_matrices, from_matrices

METHODS = ("double_pruned", "bidirectional")
ORDERS = 100
"""Random orders among which Bi-Mask looks for the best one, as its authors do."""

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


@dataclass(frozen=True)
class Passes:
    """What the backward products of one layer read.

    Attributes
    ----------
    plane : Plane
    pattern : Pattern
        Of the forward mask.
    backward : str or None
        One of `METHODS`; None: the forward mask.
    gradients : Pattern or None
        To which gradients are pruned at random for the product that gives those of the weight.

    References
    ----------
    Mozaffari, Yazdanbakhsh, Zhang, Mehri Dehnavi. SLoPe: Double-Pruned Sparse Plus Lazy Low-Rank Adapter
    Pretraining of LLMs. arXiv 2405.16325, 2024.
    Zhang, Luo, Lin, Zhong, Xie, Chao, Ji. Bi-directional Masks for Efficient N:M Sparse Training. ICML 2023.
    Chmiel, Hubara, Banner, Soudry. Minimum Variance Unbiased N:M Sparsity for the Neural Gradients. ICLR
    2023.
    """

    plane: Plane
    pattern: ms.Pattern
    backward: str | None
    gradients: ms.Pattern | None

    def backward_mask(
        self, weight: torch.Tensor, mask: torch.Tensor, pattern: ms.Pattern | None = None, seed: int = 0
    ) -> torch.Tensor:
        """Find the mask of the backward pass.

        Parameters
        ----------
        weight : Tensor
            Dense.
        mask : Tensor of bool
            Of the forward pass.
        pattern : Pattern, optional
            That the forward mask follows, if it is not the final one.
        seed : int
            Of the random orders.

        Returns
        -------
        Tensor of bool
            Shape of the weight; keeps nothing that ``mask`` does not.
        """
        across = _across(pattern or self.pattern)
        kept = as_matrices(mask, self.plane)
        size = torch.where(kept, as_matrices(weight.detach(), self.plane).abs(), 0)
        if self.backward == "bidirectional":
            order = _best_order(kept, across, seed)
            size = size.index_select(across.axis, order)
        found = torch.as_tensor(ms.solve(size, across, duals=False).mask, device=kept.device)
        if self.backward == "bidirectional":
            found = found.index_select(across.axis, order.argsort())
        return from_matrices(found & kept, self.plane, tuple(weight.shape))


def passes_of(
    chosen: Choice, pattern: ms.Pattern, backward: str | None, gradients: ms.Pattern | str | None
) -> Passes | None:
    """Check the options for one layer; None if its backward products are the usual ones.

    Raises
    ------
    TypeError, ValueError
        If an option is not what it should be, or the layer is not known to take it.
    """
    if backward is None and gradients is None:
        return None
    pruned = None if gradients is None else ms.Pattern.parse(gradients)
    if pruned is not None and (pruned.is_plane or pruned.pair):
        raise ValueError(f"gradients must be a one-directional pattern without pairs, got '{pruned}'")
    if _call_of(chosen.layer) is None or chosen.parameter != "weight":
        raise ValueError(
            f"backward= and gradients= know Linear, Conv1d, Conv2d, Conv3d and GPT-2's Conv1D, but "
            f"'{chosen.name}' is a parameter of {type(chosen.layer).__name__}; name it in skip="
        )
    if backward is not None:
        choice("backward", backward, METHODS)
        if pattern.transposable:
            raise ValueError(f"backward= is for one-directional patterns: '{pattern}' serves both passes")
        if pattern.vector is not None or pattern.pair:
            raise ValueError(f"backward= knows n:m along the inputs, without pairs, got '{pattern}'")
        shape = chosen.plane.shape(chosen.layer.weight.shape)  # type: ignore[arg-type]
        misfit = _across(pattern).misfit(shape)
        if misfit is not None:
            raise ValueError(f"backward={backward!r} does not fit '{chosen.name}', which {misfit}; see skip=")
    pruned = pruned and replace(pruned, axis=-1, remainder="pad")
    return Passes(chosen.plane, pattern, backward, pruned)


class _Call(NamedTuple):
    """How a layer multiplies: its function of (input, weight), and how many axes follow its outputs'."""

    product: Callable[..., torch.Tensor]
    places: int


def _call_of(layer: nn.Module) -> _Call | None:
    if isinstance(layer, NonDynamicallyQuantizableLinear):
        return None  # a part of MultiheadAttention, which reads its weight and never calls it
    if isinstance(layer, nn.Linear):
        return _Call(nn.functional.linear, 0)
    if isinstance(layer, _CONVOLUTIONS):
        convolve: Any = layer._conv_forward
        return _Call(lambda x, weight: convolve(x, weight, None), len(layer.kernel_size))
    if any(each.__module__ == "transformers.pytorch_utils" for each in type(layer).__mro__):
        return _Call(torch.matmul, 0)  # GPT-2's Conv1D
    return None


def forward(layer: Any, x: torch.Tensor) -> torch.Tensor:
    """Compute a layer whose gradients take other ways: it stands for ``forward`` of the layer's class."""
    masking = layer.parametrizations.weight[0]
    call = _call_of(layer)
    assert call is not None  # since passes_of
    outputs = -1 - call.places
    y: torch.Tensor = call.product(x.detach(), layer.weight)
    if torch.is_grad_enabled():
        mask = masking.mask if masking.backward_mask is None else masking.backward_mask
        dense = layer.parametrizations.weight.original.detach()
        z = call.product(x, torch.where(mask, dense, 0))
        join = cast(Callable[..., torch.Tensor], _Joined.apply)
        y = join(y, z, masking.passes.gradients, outputs)
    if layer.bias is None:
        return y
    bias: torch.Tensor = layer.bias.to(y.dtype)
    return y + bias.reshape(-1, *[1] * call.places)


class _Joined(torch.autograd.Function):
    """The first product, with the gradient of the weight by it and that of the input by the second."""

    @staticmethod
    def forward(
        ctx: Any, y: torch.Tensor, z: torch.Tensor, gradients: ms.Pattern | None, outputs: int
    ) -> torch.Tensor:
        ctx.gradients, ctx.outputs = gradients, outputs
        return y.view_as(y)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (gradient,) = gradients
        estimate = gradient
        if ctx.gradients is not None and ctx.needs_input_grad[0]:
            estimate = pruned_at_random(gradient, ctx.gradients, ctx.outputs)
        return estimate, gradient, None, None


def pruned_at_random(gradient: torch.Tensor, pattern: ms.Pattern, outputs: int) -> torch.Tensor:
    """Prune the gradient of a layer's outputs in groups of places that the weight's gradient sums over."""
    moved = gradient.movedim(outputs, 0)
    flat = moved.reshape(len(moved), -1)
    draws = torch.rand(len(flat), -(-flat.shape[1] // pattern.m), device=flat.device)
    drawn: torch.Tensor = ms.unbiased.sample(flat, pattern, draws)
    return drawn.to(gradient.dtype).reshape(moved.shape).movedim(0, outputs)


def _across(pattern: ms.Pattern) -> ms.Pattern:
    return replace(pattern, axis=-3 - pattern.axis)  # -1 and -2 change places


def _best_order(kept: torch.Tensor, across: ms.Pattern, seed: int) -> torch.Tensor:
    """Order of an axis in which groups along it lose fewest entries: the given one, or one of many at random.

    A group loses what it has above n, whatever its values.
    """
    moved = kept.movedim(across.axis, -1)
    random = np.random.default_rng(seed)
    length = moved.shape[-1]
    best, most = torch.arange(length), -1.0
    if length % across.m:
        return best.to(kept.device)  # groups of other lengths would change places
    for number in range(1 + ORDERS):
        order = torch.from_numpy(random.permutation(length)) if number else best
        groups = moved[..., order.to(kept.device)].reshape(*moved.shape[:-1], -1, across.m)
        count = groups.sum(-1).clamp(max=across.n).sum().item()
        if count > most:
            best, most = order, count
    return best.to(kept.device)
