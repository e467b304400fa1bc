"""What a weight is multiplied by, from what its module is given."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from ..kinds import is_linear
from ..layers import Choice

_CHUNK_ENTRIES = 1 << 21
"""Entries of a convolution's inputs that are unfolded at a time."""


def caller_of(model: nn.Module, weight: Choice) -> str:
    """Name the module in whose ``forward`` a weight is multiplied.

    It is the weight's own, but for the output layer of an attention, which reads it without a call.
    """
    owner = weight.path.rpartition(".")[0]
    inner = weight.path and isinstance(model.get_submodule(owner), nn.MultiheadAttention)
    return owner if inner else weight.path


def is_simple(weight: Choice, caller: nn.Module) -> bool:
    """Whether a weight multiplies every row that the module ``caller`` is given."""
    return is_linear(caller) and caller is weight.layer and weight.parameter == "weight"


def is_kernel(weight: Choice) -> bool:
    """Whether a weight is the kernel of a convolution."""
    return isinstance(weight.layer, _ConvNd) and weight.parameter == "weight"


def features(weight: Choice, x: torch.Tensor) -> Iterator[tuple[int, torch.Tensor]]:
    """Give (group, samples) of a layer that is simple or a convolution, a chunk at a time.

    Samples are (number, features), the features as in `rows_of`.
    """
    layer = weight.layer
    if not isinstance(layer, _ConvNd):
        yield 0, x.reshape(-1, x.shape[-1])
        return
    batch = x if x.ndim == len(layer.kernel_size) + 2 else x.unsqueeze(0)
    entries = math.prod(batch.shape[1:]) * math.prod(layer.kernel_size)
    for chunk in torch.split(batch, max(1, _CHUNK_ENTRIES // entries)):
        yield from enumerate(_unfolded(layer, chunk))


def _unfolded(layer: _ConvNd, x: torch.Tensor) -> torch.Tensor:
    """Every patch that a convolution's kernel covers, as a sample: (groups, samples, features)."""
    spatial = len(layer.kernel_size)
    transposed = isinstance(layer, _ConvTransposeNd)
    patches = _spread(layer, x) if isinstance(layer, _ConvTransposeNd) else _padded(layer, x)
    stride = (1,) * spatial if transposed else layer.stride
    for axis, (size, dilation) in enumerate(zip(layer.kernel_size, layer.dilation, strict=True), start=2):
        windows = patches.unfold(axis, dilation * (size - 1) + 1, stride[axis - 2])
        patches = windows[..., ::dilation]
    if transposed:  # which sees its kernel mirrored
        patches = patches.flip(tuple(range(-spatial, 0)))
    places, channels = math.prod(layer.kernel_size), layer.in_channels // layer.groups
    parts = patches.reshape(len(x), layer.groups, channels, -1, places)
    return parts.permute(1, 0, 3, 4, 2).reshape(layer.groups, -1, places * channels)


def _padded(layer: _ConvNd, x: torch.Tensor) -> torch.Tensor:
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    return nn.functional.pad(x, layer._reversed_padding_repeated_twice, mode=mode)


def _spread(layer: _ConvTransposeNd, x: torch.Tensor) -> torch.Tensor:
    """Put zeros between inputs: a transposed convolution is a plain one of stride 1 on those."""
    sides = zip(x.shape[2:], layer.stride, strict=True)
    spread = x.new_zeros(*x.shape[:2], *((size - 1) * stride + 1 for size, stride in sides))
    every = tuple(slice(None, None, stride) for stride in layer.stride)
    spread[(slice(None), slice(None), *every)] = x
    widths = []
    for axis in reversed(range(len(layer.kernel_size))):
        before = layer.dilation[axis] * (layer.kernel_size[axis] - 1) - int(layer.padding[axis])
        widths += [before, before + layer.output_padding[axis]]
    return nn.functional.pad(spread, widths)


def without_padding(x: torch.Tensor, tokens: torch.Tensor | None) -> torch.Tensor:
    """Leave out padding where the first axes of a layer's input are those of the tokens."""
    if tokens is None:
        return x
    if x.ndim > 2 and x.shape[:2] == tokens.shape:
        return x[tokens.to(x.device)]
    # Layers behind a flattening, such as routers of experts, see all tokens in one axis.
    if x.ndim == 2 and tokens.shape[1] > 1 and len(x) == tokens.numel():
        return x[tokens.to(x.device).flatten()]
    return x


def routed_without_padding(
    args: tuple[Any, ...], kwargs: dict[str, Any], tokens: torch.Tensor | None
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Leave padding out of what experts are given: all tokens, their experts, and their shares."""
    given = [each for each in (*args, *kwargs.values()) if isinstance(each, torch.Tensor)]
    if tokens is None or any(each.ndim != 2 or len(each) != tokens.numel() for each in given):
        return args, kwargs
    short = [without_padding(each, tokens) if isinstance(each, torch.Tensor) else each for each in args]
    named = {
        key: without_padding(each, tokens) if isinstance(each, torch.Tensor) else each
        for key, each in kwargs.items()
    }
    return tuple(short), named
