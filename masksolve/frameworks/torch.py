"""torch tensors."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch._subclasses import FakeTensor
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from .compat import array_api_compat


def on_host(array: torch.Tensor) -> bool:
    """Whether it is on the CPU, or on a device without float64, which a certificate needs."""
    return array.device.type in ("cpu", "mps")


def to_numpy(name: str, array: torch.Tensor) -> npt.NDArray[Any]:
    """Read a tensor in place; from another device, copy it."""
    tensor = native(name, array).cpu()
    if tensor.dtype != torch.bfloat16:
        return tensor.numpy()
    try:
        import ml_dtypes
    except ImportError:  # float32 holds every bfloat16
        return tensor.float().numpy()
    return tensor.view(torch.int16).numpy().view(ml_dtypes.bfloat16)


def from_numpy(array: npt.NDArray[Any], like: torch.Tensor) -> torch.Tensor:
    """Make a tensor that shares the array's memory if ``like`` is on the CPU."""
    return torch.from_numpy(np.ascontiguousarray(array)).to(like.device)


def namespace(array: torch.Tensor) -> Any:
    """Give array-api-compat's rendering of torch."""
    return array_api_compat().array_namespace(array)


def native(name: str, array: torch.Tensor) -> torch.Tensor:
    """Give the plain strided tensor, without a gradient."""
    reason = _unreadable(array)
    if reason:
        raise TypeError(f"{name} must be a dense tensor with values, got {reason}")
    with torch._C.DisableTorchFunctionSubclass():
        return array.detach().as_subclass(torch.Tensor).resolve_neg()


def double_precision() -> AbstractContextManager[object]:
    """Open an empty context: torch always has float64 where `on_host` is false."""
    return nullcontext()


def compiler() -> None:
    """Give none: operations run as they come."""


def _unreadable(array: torch.Tensor) -> str:
    """Say what a tensor is that has no entries to read, with the remedy; empty if it has them."""
    traced = isinstance(array, FakeTensor) or torch._C._functorch.is_functorch_wrapped_tensor(array)
    wraps = is_traceable_wrapper_subclass(array)
    tiny = array.is_floating_point() and array.dtype.itemsize == 1
    reasons = {
        "one that is being traced; call masksolve.adapters.torch.mask there, which is an operator": traced,
        "one on the meta device; materialise the model first": array.is_meta,
        f"a quantised one ({array.dtype}); call its dequantize() first": array.is_quantized,
        "a nested one; solve its tensors one by one": array.is_nested,
        f"layout {array.layout}; call its to_dense() first": array.layout != torch.strided,
        f"a {type(array).__name__}, which wraps others; unwrap it first": wraps,
        f"dtype {array.dtype}; convert it to real numbers of two bytes or more": array.is_complex() or tiny,
    }
    return next((reason for reason, applies in reasons.items() if applies), "")
