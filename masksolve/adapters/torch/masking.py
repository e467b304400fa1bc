"""The mask of a weight as an operator that torch knows: it compiles, exports and traces."""

from __future__ import annotations

from typing import Any

import torch

import masksolve as ms

from ..plane import Plane
from .layout import KERNEL, as_matrices, from_matrices, weight_pattern


def mask(
    w: torch.Tensor,
    pattern: ms.Pattern | str,
    *,
    plane: Plane | None = None,
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
    plane : Plane, optional
        Which axes of ``w`` are outputs (its rows) and inputs (its columns). A weight of three axes needs
        it, since its shape does not tell a Conv1d kernel, ``Plane(0, 1)``, from a stack of matrices
        such as experts (experts, outputs, inputs), ``Plane(-2, -1)``.
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
        As `masksolve.solve`, for a weight with fewer than two axes, and for one of three without a plane.

    Examples
    --------
    >>> import torch
    >>> mask(torch.tensor([[3., -1.], [2., -5.]]), "1:2-T")
    tensor([[ True, False],
            [False,  True]])
    """
    if not isinstance(w, torch.Tensor):
        raise TypeError(f"w must be a torch.Tensor, got {type(w).__name__}; torch.as_tensor makes one")
    if w.layout == torch.strided and plane is None:
        plane = _plane_of(w)
    # torch.func differentiates through a custom operator only if nothing asks for a gradient.
    values = w.detach()
    matrices = values if plane is None else as_matrices(values, plane)  # solve() says what a layout lacks
    kept: torch.Tensor = _mask(matrices, str(weight_pattern(pattern)), backend, workers)
    return kept if plane is None else from_matrices(kept, plane, tuple(w.shape))


def _plane_of(w: torch.Tensor) -> Plane:
    if w.ndim == 3:
        raise ValueError(
            f"plane must say how w of shape {tuple(w.shape)} multiplies: Plane(0, 1) if it is a Conv1d "
            f"kernel (outputs, inputs, places), Plane(-2, -1) if it is a stack of matrices "
            f"(..., outputs, inputs)"
        )
    return KERNEL


@torch.library.custom_op("masksolve::mask", mutates_args=())
def _mask(w: torch.Tensor, pattern: str, backend: str, workers: int) -> torch.Tensor:
    """Mask matrices (..., outputs, inputs); layouts of layers are views that `mask` makes around it."""
    options: dict[str, Any] = {"backend": backend, "workers": workers, "score": "magnitude"}
    found: torch.Tensor = ms.solve(w.detach(), pattern, duals=False, tiles=False, **options).mask
    return found.contiguous()


@_mask.register_fake
def _(w: torch.Tensor, pattern: str, backend: str, workers: int) -> torch.Tensor:
    return torch.empty(w.shape, dtype=torch.bool, device=w.device)


def _no_gradient(context: Any, gradient: torch.Tensor) -> tuple[None, None, None, None]:
    return None, None, None, None


_mask.register_autograd(_no_gradient)


@_mask.register_vmap
def _(info: Any, in_dims: tuple[int | None, ...], w: torch.Tensor, *options: Any) -> tuple[torch.Tensor, int]:
    """Solve a batch of weights at once: to the solver it is one more axis in front."""
    assert in_dims[0] is not None  # nothing else is a tensor
    return _mask(w.movedim(in_dims[0], 0), *options), 0
