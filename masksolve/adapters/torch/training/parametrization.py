"""A layer whose weight is dense in training and N:M in use: attaching and removing the mask.

``layer.weight``, or another parameter that the layer multiplies by, becomes ``where(mask, dense, 0)``. The
dense weight stays the same Parameter, so an optimizer that holds it goes on; the mask is a buffer, so
``state_dict`` carries both.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import nn
from torch.nn.utils import parametrize

from .passes import Passes
from .passes import forward as forward_by_passes
from .sharding import gathered, laid_out, local
from .sparse_products import forward as forward_on_sparse_kernels


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
    passes : Passes, optional
        If backward products read something else; the mask of the backward pass is a buffer, too.

    References
    ----------
    Zhou, Ma, Zhu, Liu, Zhang, Yuan, Sun, Li. Learning N:M Fine-grained Structured Sparse Neural
    Networks From Scratch. ICLR 2021, equation 9.
    """

    mask: torch.Tensor
    semi_structured: bool = False
    """Whether the layer's products run on sparse kernels where they can."""
    backward_mask: torch.Tensor | None
    order: tuple[str, ...] = ()
    """Names of the layer's parameters before it had masks, so that they come back in that order."""

    def __init__(
        self, mask: torch.Tensor, *, straight_through: bool, decay: float, passes: Passes | None = None
    ) -> None:
        super().__init__()
        self.register_buffer("mask", mask)
        self.passes = passes
        self.register_buffer("backward_mask", mask.clone() if passes and passes.backward else None)
        self.straight_through = straight_through
        self.decay = decay

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        """Return the effective weight."""
        mask = gathered(self.mask, weight)
        if self.straight_through:
            apply = cast(Callable[..., torch.Tensor], _StraightThrough.apply)
            return apply(weight, mask, self.decay)
        return _masked(weight, mask)

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


def attach(layer: nn.Module, masking: MaskedWeight, name: str = "weight") -> None:
    """Put a mask on a parameter of a layer; copying and pickling the layer go on working."""
    ours = not parametrize.is_parametrized(layer) or len(masked_names(layer)) == len(_lists(layer))
    masking.order = next(
        (_masking(layer, other).order for other in masked_names(layer)), tuple(layer._parameters)
    )
    weight = getattr(layer, name)
    assert isinstance(weight, nn.Parameter)
    # Registering calls set_ on what it registers, which cuts the hooks by which DistributedDataParallel
    # learns of gradients, and which no sharded tensor can: let it have a stand-in without values.
    stand_in = torch.empty(weight.shape, dtype=weight.dtype, device="meta")
    setattr(layer, name, nn.Parameter(stand_in, requires_grad=weight.requires_grad))
    parametrize.register_parametrization(layer, name, masking, unsafe=True)
    _held(layer, name).original = weight
    if ours:
        # torch makes a class for this layer and lets copies share it, so that removing the
        # parametrization from one would break the others; and it refuses to pickle.
        made: Any = type(layer)
        made.__deepcopy__ = _deepcopy
        made.__reduce__ = _reduce
        made._load_from_state_dict = _load
    set_forward(layer, masking)


def set_forward(layer: nn.Module, masking: MaskedWeight) -> None:
    """Let a layer multiply by its weight as the mask asks for, or as its class does.

    Only the class is changed that torch made for this layer, which goes with the mask.
    """
    for kind in type(layer).__mro__:
        if vars(kind).get("forward") in (forward_by_passes, forward_on_sparse_kernels):
            del cast(Any, kind).forward
    made: Any = _made(layer, "weight") if masking.passes or masking.semi_structured else None
    if masking.passes is not None:
        made.forward = forward_by_passes
    elif masking.semi_structured:
        made.forward = forward_on_sparse_kernels


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
    masked = [(module, name) for module in model.modules() for name in masked_names(module)]
    if not masked:
        raise ValueError("model must have masks to bake in, but no layer has one")
    for layer, name in masked:
        prune(layer, name)
        detach(layer, name)
    return model


def prune(layer: nn.Module, name: str = "weight") -> None:
    """Set the dense weight to zero outside its mask."""
    weight, mask = dense_weight(layer, name), _masking(layer, name).mask
    with torch.no_grad():
        local(weight).masked_fill_(~local(laid_out(mask, weight)), 0)


def detach(layer: nn.Module, name: str = "weight") -> None:
    """Remove the mask; the parameter is the dense weight again, at its place among the others."""
    order = _masking(layer, name).order
    weight, made = dense_weight(layer, name), _made(layer, name)
    del _lists(layer)[name]
    delattr(made, name)  # the property that computes the effective weight
    layer.register_parameter(name, weight)
    if not _lists(layer):
        del layer.parametrizations
        layer.__class__ = _without(type(layer), made)
    for other in order:
        if other in layer._parameters:
            layer._parameters[other] = layer._parameters.pop(other)


def _made(layer: nn.Module, name: str) -> type[nn.Module]:
    """Give the class that torch made for a layer with parametrizations."""
    return next(each for each in type(layer).__mro__ if name in vars(each))


def _without(kind: type[nn.Module], made: type[nn.Module]) -> type[nn.Module]:
    """Take a layer's class back to what it was; FSDP2 may have made one of its own on top since.

    `torch.nn.utils.parametrize.remove_parametrizations` would take the wrong one of the two away.
    """
    base = made.__bases__[0]
    if kind is made:
        return base
    bases = tuple(base if each is made else each for each in kind.__bases__)
    own = {key: value for key, value in vars(kind).items() if key not in {"__dict__", "__weakref__"}}
    return type(kind.__name__.replace(made.__name__, base.__name__), bases, own)


def masked_names(layer: nn.Module) -> list[str]:
    """Names of a layer's parameters that have a mask."""
    return [name for name in _lists(layer) if masking_of(layer, name) is not None]


def masking_of(layer: nn.Module, name: str = "weight") -> MaskedWeight | None:
    """Return the mask on a parameter of a layer, or None."""
    if not parametrize.is_parametrized(layer, name):
        return None
    first = _held(layer, name)[0]
    return first if isinstance(first, MaskedWeight) else None


def dense_weight(layer: nn.Module, name: str = "weight") -> nn.Parameter:
    """Return the Parameter under the mask, which the optimizer updates."""
    return cast(nn.Parameter, _held(layer, name).original)


def _masking(layer: nn.Module, name: str) -> MaskedWeight:
    masking = masking_of(layer, name)
    assert masking is not None
    return masking


def _lists(layer: nn.Module) -> nn.ModuleDict | dict[str, nn.Module]:
    """Give the parametrizations of a layer, by the names of its parameters."""
    return cast(nn.ModuleDict, layer.parametrizations) if parametrize.is_parametrized(layer) else {}


def _held(layer: nn.Module, name: str) -> parametrize.ParametrizationList:
    return cast(parametrize.ParametrizationList, _lists(layer)[name])


def plain(layer: nn.Module) -> nn.Module:
    """Return the layer as it was without its masks; parameters and buffers are shared with it."""
    without: nn.Module = object.__new__(type(layer).__bases__[0])
    modules = {name: each for name, each in layer._modules.items() if name != "parametrizations"}
    names = masked_names(layer)
    held = {**layer._parameters, **{name: dense_weight(layer, name) for name in names}}
    parameters = {name: held[name] for name in (*_masking(layer, names[0]).order, *held) if name in held}
    without.__dict__.update(layer.__dict__, _modules=modules, _parameters=parameters)
    return without


def _load(layer: nn.Module, state: dict[str, Any], prefix: str, *rest: Any) -> None:
    """Load a layer's state; one without masks, such as a finished checkpoint's, is taken as it is.

    Its zeros become the mask, so that the layer computes what that of the checkpoint did until the next
    refresh, and `Sparsifier.finalize` sees whether they follow the pattern.
    """
    for name in masked_names(layer):
        weight = state.pop(f"{prefix}{name}", None)
        if weight is not None:
            state.setdefault(f"{prefix}parametrizations.{name}.original", weight)
            state.setdefault(f"{prefix}parametrizations.{name}.0.mask", weight != 0)
            masking = _masking(layer, name)
            if masking.passes is not None and masking.backward_mask is not None:
                backward = masking.passes.backward_mask(weight, weight != 0)
                state.setdefault(f"{prefix}parametrizations.{name}.0.backward_mask", backward)
    nn.Module._load_from_state_dict(layer, state, prefix, *rest)


def _split(layer: nn.Module) -> tuple[nn.Module, dict[str, MaskedWeight]]:
    return plain(layer), {name: _masking(layer, name) for name in masked_names(layer)}


def _join(layer: nn.Module, maskings: dict[str, MaskedWeight]) -> nn.Module:
    for name, masking in maskings.items():
        attach(layer, masking, name)
    return layer


def _reduce(layer: nn.Module) -> tuple[Any, ...]:
    return _join, _split(layer)


def _deepcopy(layer: nn.Module, memo: dict[int, Any]) -> nn.Module:
    return _join(*copy.deepcopy(_split(layer), memo))
