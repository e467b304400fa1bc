"""The mask of a weight as an operator that torch knows: it compiles, exports and traces."""

from __future__ import annotations

from typing import Any

import torch

import masksolve as ms

from .layout import as_matrices, from_matrices, weight_pattern


def mask(
    w: torch.Tensor,
    pattern: ms.Pattern | str,
    *,
    backend: str = "auto",
    workers: int = 1,
) -> torch.Tensor:
    """Find the mask that keeps the largest sum of ``abs(w)``; the operator ``torch.ops.masksolve.mask``.

    Parameters
    ----------
    w : Tensor of real numbers, shape ``(outputs, inputs)`` or ``(outputs, inputs, *kernel)``
        A Linear weight is masked as it is; a convolution's in the (outputs, inputs) plane of every
        place of its kernel. May require a gradient: the mask is a constant.
    pattern : Pattern or str
        One-directional patterns run along the inputs (``axis=-1``) unless their axis is -2.
    backend : str
        As for `masksolve.solve`.
    workers : int
        Threads on the host.

    Returns
    -------
    Tensor of bool
        Shape and device of ``w``; True = kept; contiguous.

    Raises
    ------
    TypeError, ValueError
        As `masksolve.solve`, and for a weight with fewer than two axes.

    Examples
    --------
    >>> import torch
    >>> mask(torch.tensor([[3., -1.], [2., -5.]]), "1:2-T")
    tensor([[ True, False],
            [False,  True]])
    """
    if not isinstance(w, torch.Tensor):
        raise TypeError(f"w must be a torch.Tensor, got {type(w).__name__}; torch.as_tensor makes one")
    # torch.func differentiates through a custom operator only if nothing asks for a gradient.
    kept: torch.Tensor = _mask(w.detach(), str(weight_pattern(pattern)), backend, workers)
    return kept


@torch.library.custom_op("masksolve::mask", mutates_args=())
def _mask(w: torch.Tensor, pattern: str, backend: str, workers: int) -> torch.Tensor:
    options: dict[str, Any] = {"backend": backend, "workers": workers, "score": "magnitude"}
    found = ms.solve(as_matrices(w.detach()), pattern, duals=False, tiles=False, **options).mask
    return from_matrices(found)


@_mask.register_fake
def _(w: torch.Tensor, pattern: str, backend: str, workers: int) -> torch.Tensor:
    return torch.empty(w.shape, dtype=torch.bool, device=w.device)


def _no_gradient(context: Any, gradient: torch.Tensor) -> tuple[None, None, None, None]:
    return None, None, None, None


_mask.register_autograd(_no_gradient)


@_mask.register_vmap
def _(info: Any, in_dims: tuple[int | None, ...], w: torch.Tensor, *options: Any) -> tuple[torch.Tensor, int]:
    """Solve a batch of weights at once: to the solver it is one more axis of the kernel."""
    assert in_dims[0] is not None  # nothing else is a tensor
    return _mask(w.movedim(in_dims[0], -1), *options), w.ndim - 1
