"""Both passes of a 2:4-T Linear layer on sparse tensor cores: which layers, and how they are multiplied.

A weight that follows 2:4 in rows and columns is compressed twice, as W and as its transpose: the forward pass
multiplies by the one, and the gradient of the inputs by the other. The gradient of the weight is a dense
product of dense matrices.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, cast

import torch
from torch import nn
from torch.nn import functional

import masksolve as ms

from ..semi_structured import kernel_misfit
from .sharding import is_sharded

DTYPES = (torch.float16, torch.bfloat16)
"""What the kernels for 2:4 multiply in; weights of float32 are cast to them by autocast."""

_CAPABILITY = (8, 0)
"""Ampere, the first with sparse tensor cores."""


class Kernels(NamedTuple):
    """Sparse kernels, or what stands in for them in tests.

    Attributes
    ----------
    refusal : callable
        From a weight to the reason why they cannot run where it is; empty if they can.
    pack : callable
        From a contiguous matrix that follows 2:4 to what ``torch.nn.functional.linear`` takes as a weight.
    """

    refusal: Callable[[torch.Tensor], str]
    pack: Callable[[torch.Tensor], Any]


def _refusal(weight: torch.Tensor) -> str:
    if not weight.is_cuda:
        return f"is on {weight.device}, and sparse tensor cores are those of a CUDA device"
    if torch.version.hip:
        return "is on a GPU of AMD, for which torch has no such kernels"
    found = torch.cuda.get_device_capability(weight.device)
    if found < _CAPABILITY:
        return f"is on a GPU of compute capability {found[0]}.{found[1]}, and sparse tensor cores need 8.0"
    return ""


def _pack(matrix: torch.Tensor) -> Any:
    return torch.sparse.to_sparse_semi_structured(matrix)


TENSOR_CORES = Kernels(_refusal, _pack)


def unfit(layer: nn.Module, parameter: str, weight: torch.Tensor, pattern: ms.Pattern) -> str:
    """Why no device could run a layer's products on sparse kernels; empty if one could."""
    if not pattern.is_square or (pattern.n, pattern.m) != (2, 4):
        return f"follows '{pattern}', and both passes run on 2:4-T"
    if parameter != "weight" or not isinstance(layer, nn.Linear):
        return "is not the weight of a torch.nn.Linear"
    own = next(each for each in type(layer).__mro__ if "forward" in vars(each) and not _is_ours(each))
    if own is not nn.Linear:
        return f"belongs to a {own.__name__}, whose forward is its own"
    if is_sharded(weight):
        return "is spread over processes"
    for shape in (tuple(weight.shape), tuple(weight.shape)[::-1]):
        if misfit := kernel_misfit(shape, pattern):
            return f"has no shape that they take: {misfit}"
    return ""


def _is_ours(kind: type) -> bool:
    return vars(kind).get("forward") is forward


def told(reason: str, weight: torch.Tensor) -> str:
    """Say in words how a layer's products run; ``reason`` is that of `unfit`."""
    reason = reason or TENSOR_CORES.refusal(weight)
    if reason:
        return f"dense products: it {reason}"
    return "sparse products" if weight.dtype in DTYPES else "sparse products under autocast to two bytes"


def forward(layer: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Compute what `torch.nn.Linear.forward` does, by sparse products where they can run.

    A compiled model computes dense products: torch.compile cannot see into compressed weights.
    """
    weight, bias = cast(torch.Tensor, layer.weight), cast("torch.Tensor | None", layer.bias)
    if torch.compiler.is_compiling() or TENSOR_CORES.refusal(weight):
        return functional.linear(x, weight, bias)
    device, dtype = x.device.type, x.dtype
    if torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
    elif weight.dtype != dtype:
        return functional.linear(x, weight, bias)  # raises as it always does
    if dtype not in DTYPES:
        return functional.linear(x, weight, bias)
    with torch.autocast(device, enabled=False):
        product = cast(Callable[..., torch.Tensor], _Product.apply)
        y = product(x.to(dtype), weight.to(dtype), TENSOR_CORES.pack)
        return y if bias is None else y + bias.to(dtype)


class _Product(torch.autograd.Function):
    """``x W^T`` with W compressed, and its gradients.

    Weights move at every step of an optimizer, and not all of them tell torch so, so they are compressed in
    every forward pass: a pass over the weight, beside a product with all rows of ``x``.
    """

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, pack: Callable[..., Any]) -> torch.Tensor:
        rows = x.reshape(-1, x.shape[-1])
        ctx.save_for_backward(rows)
        ctx.transposed = pack(weight.T.contiguous()) if ctx.needs_input_grad[0] else None
        return functional.linear(rows, pack(weight.contiguous())).reshape(*x.shape[:-1], weight.shape[0])

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor | None, None]:
        (gradient,), (rows,) = gradients, ctx.saved_tensors
        flat = gradient.reshape(-1, gradient.shape[-1])
        to_inputs = to_weight = None
        if ctx.needs_input_grad[0]:
            to_inputs = functional.linear(flat, ctx.transposed).reshape(*gradient.shape[:-1], rows.shape[-1])
        if ctx.needs_input_grad[1]:
            to_weight = flat.T @ rows
        return to_inputs, to_weight, None
