"""A layer whose weight is dense in training and N:M in use: attaching and removing the mask.

``layer.weight`` becomes ``where(mask, dense, 0)``. The dense weight stays the same Parameter, so an
optimizer that holds it goes on; the mask is a buffer, so ``state_dict`` carries both.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import nn
from torch.nn.utils import parametrize


class MaskedWeight(nn.Module):
    """The parametrization: a weight with zeros outside its mask.

    Parameters
    ----------
    mask : Tensor of bool
        Shape of the weight; True = kept. A buffer, changed in place.
    straight_through : bool
        Whether the dense weight receives the gradient of every entry, or of the kept ones only.
    decay : float
        Added to the straight-through gradient: ``decay * dense`` outside the mask (SR-STE).

    References
    ----------
    Zhou, Ma, Zhu, Liu, Zhang, Yuan, Sun, Li. Learning N:M Fine-grained Structured Sparse Neural
    Networks From Scratch. ICLR 2021, equation 9.
    """

    mask: torch.Tensor

    def __init__(self, mask: torch.Tensor, *, straight_through: bool, decay: float) -> None:
        super().__init__()
        self.register_buffer("mask", mask)
        self.straight_through = straight_through
        self.decay = decay

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        """Return the effective weight."""
        if self.straight_through:
            apply = cast(Callable[..., torch.Tensor], _StraightThrough.apply)
            return apply(weight, self.mask, self.decay)
        return _masked(weight, self.mask)

    def right_inverse(self, weight: torch.Tensor) -> torch.Tensor:
        """Return the dense weight that ``layer.weight = weight`` sets: all of it."""
        return weight

    def extra_repr(self) -> str:
        """Shape and gradient, for ``print(model)``."""
        gradient = "straight-through" if self.straight_through else "masked"
        return f"{tuple(self.mask.shape)}, {gradient} gradient, decay={self.decay:g}"


class _StraightThrough(torch.autograd.Function):
    """Mask forwards, identity backwards, plus the decay of what the mask leaves out."""

    generate_vmap_rule = True

    @staticmethod
    def forward(weight: torch.Tensor, mask: torch.Tensor, decay: float) -> torch.Tensor:
        return _masked(weight, mask)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[torch.Tensor, torch.Tensor, float], output: Any) -> None:
        weight, mask, ctx.decay = inputs
        if ctx.decay:
            ctx.save_for_backward(weight, mask)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        (gradient,) = gradients
        if ctx.decay:
            weight, mask = ctx.saved_tensors
            gradient = gradient + ctx.decay * _masked(weight, ~mask)
        return gradient, None, None


def _masked(weight: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Not ``weight * mask``, which would let an infinite weight outside the mask through as NaN."""
    return torch.where(mask, weight, 0)


def attach(layer: nn.Module, masking: MaskedWeight) -> None:
    """Put a mask on ``layer.weight``; copying and pickling the layer go on working."""
    alone = not parametrize.is_parametrized(layer)
    weight = layer.weight
    assert isinstance(weight, nn.Parameter)
    # Registering calls set_ on what it registers, which cuts the hooks by which DistributedDataParallel
    # learns of gradients: let it have a stand-in.
    layer.weight = nn.Parameter(weight.detach(), requires_grad=weight.requires_grad)
    parametrize.register_parametrization(layer, "weight", masking)
    _held(layer).original = weight
    if alone:
        # torch makes a class for this layer and lets copies share it, so that removing the
        # parametrization from one would break the others; and it refuses to pickle.
        made: Any = type(layer)
        made.__deepcopy__ = _deepcopy
        made.__reduce__ = _reduce


def finalize(model: nn.Module) -> nn.Module:
    """Bake every mask into a model's weights and remove it, without the model's Sparsifier.

    For copies of a model, such as an average of its weights, or one that `load_state_dict` filled for
    inference. The Sparsifier of the model, if there is one, cannot go on.

    Parameters
    ----------
    model : Module
        Changed in place.

    Returns
    -------
    Module
        The model; as a dense one, with zeros.

    Raises
    ------
    ValueError
        If no layer has a mask.

    Examples
    --------
    >>> import torch
    >>> from masksolve.adapters.torch import finalize, sparsify
    >>> model = torch.nn.Sequential(torch.nn.Linear(8, 8))
    >>> sparsifier = sparsify(model, "2:4", dense_ends=False)
    >>> twin = finalize(copy.deepcopy(model))
    >>> type(twin[0]).__name__, int(twin[0].weight.count_nonzero())
    ('Linear', 32)
    """
    masked = [module for module in model.modules() if masking_of(module) is not None]
    if not masked:
        raise ValueError("model must have masks to bake in, but no layer has one")
    for layer in masked:
        prune(layer)
        detach(layer)
    return model


def prune(layer: nn.Module) -> None:
    """Set the dense weight to zero outside its mask."""
    masking = masking_of(layer)
    assert masking is not None
    with torch.no_grad():
        dense_weight(layer).masked_fill_(~masking.mask, 0)


def detach(layer: nn.Module) -> None:
    """Remove the mask; ``layer.weight`` is the dense weight again, at its place among the parameters."""
    parametrize.remove_parametrizations(layer, "weight", leave_parametrized=False)
    others = {name: each for name, each in layer._parameters.items() if name != "weight"}
    for name in others:
        del layer._parameters[name]
    layer._parameters.update(others)


def masking_of(layer: nn.Module) -> MaskedWeight | None:
    """Return the mask on ``layer.weight``, or None."""
    if not parametrize.is_parametrized(layer, "weight"):
        return None
    first = _held(layer)[0]
    return first if isinstance(first, MaskedWeight) else None


def dense_weight(layer: nn.Module) -> nn.Parameter:
    """Return the Parameter under the mask, which the optimizer updates."""
    return cast(nn.Parameter, _held(layer).original)


def _held(layer: nn.Module) -> parametrize.ParametrizationList:
    lists = cast(nn.ModuleDict, layer.parametrizations)
    return cast(parametrize.ParametrizationList, lists["weight"])


def _split(layer: nn.Module) -> tuple[nn.Module, MaskedWeight]:
    """Return the layer as it was without its mask, sharing everything with it; and the mask."""
    masking = masking_of(layer)
    assert masking is not None
    plain: nn.Module = object.__new__(type(layer).__bases__[0])
    modules = {name: each for name, each in layer._modules.items() if name != "parametrizations"}
    parameters = {"weight": dense_weight(layer), **layer._parameters}
    plain.__dict__.update(layer.__dict__, _modules=modules, _parameters=parameters)
    return plain, masking


def _join(plain: nn.Module, masking: MaskedWeight) -> nn.Module:
    attach(plain, masking)
    return plain


def _reduce(layer: nn.Module) -> tuple[Any, ...]:
    return _join, _split(layer)


def _deepcopy(layer: nn.Module, memo: dict[int, Any]) -> nn.Module:
    return _join(*copy.deepcopy(_split(layer), memo))
