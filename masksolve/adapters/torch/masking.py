"""The mask of a weight as an operator that torch knows: it compiles, exports and traces."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch

import masksolve as ms
from masksolve.pruning.projection import layer_pattern

from ..plane import Plane
from .layout import KERNEL, as_matrices, from_matrices


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
        Which axes of ``w`` are outputs (its rows) and inputs (its columns). A weight of three axes may be a
        Conv1d kernel, ``Plane(0, 1)``, or a stack of matrices such as experts (experts, outputs, inputs),
        ``Plane(-2, -1)``: the one of the two that the pattern can be laid on is taken, and where both can be,
        ``plane`` must be given.
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
        As `masksolve.solve`, for a weight of fewer than two axes, and for one whose plane is not clear.

    Examples
    --------
    >>> import torch
    >>> mask(torch.tensor([[3., -1.], [2., -5.]]), "1:2-T")
    tensor([[ True, False],
            [False,  True]])
    """
    text = _checked(pattern) if isinstance(pattern, str) else str(layer_pattern(pattern))
    if not isinstance(w, torch.Tensor):
        model = isinstance(w, torch.nn.Module)
        remedy = "sparsify and adaprune take models" if model else "torch.as_tensor makes one"
        raise TypeError(f"w must be a torch.Tensor, got {type(w).__name__}; {remedy}")
    if plane is None:
        plane = _plane_of(text, *w.shape) if w.ndim == 3 else KERNEL
    # torch.func differentiates through a custom operator only if nothing asks for a gradient.
    kept: torch.Tensor = _mask(w.detach(), text, backend, workers, *_axes(plane))
    return kept


def _text(pattern: str) -> str:
    return str(layer_pattern(pattern))


_as_constant: Callable[..., Any] = torch.compiler.assume_constant_result
_checked = cast(Callable[[str], str], _as_constant(_text))
"""The same, without letting torch.compile trace the parser and its cache, about which it warns."""


def _fitting_plane(text: str, *shape: int) -> Plane:
    pattern = ms.Pattern.parse(text)
    planes = (KERNEL, Plane(-2, -1))
    fitting = [plane for plane in planes if pattern.misfit(plane.shape(shape)) is None]
    if len(fitting) != 1:
        raise ValueError(
            f"plane must say how w of shape {shape} multiplies under '{text}': Plane(0, 1) if it is a Conv1d "
            f"kernel (outputs, inputs, places), Plane(-2, -1) if it is a stack of matrices "
            f"(..., outputs, inputs)"
        )
    return fitting[0]


_plane_of = cast(Callable[..., Plane], _as_constant(_fitting_plane))


def _axes(plane: Plane) -> tuple[list[int], list[int], int]:
    """Write a plane in the types that torch knows arguments of operators by."""
    rows, columns = (cast(tuple[int, ...], axes) for axes in (plane.rows, plane.columns))
    return list(rows), list(columns), plane.parts


_SCHEMA = "(Tensor w, str pattern, str backend, int workers, int[] rows=[0], int[] columns=[1], int parts=1)"


@torch.library.custom_op("masksolve::mask", mutates_args=(), schema=f"{_SCHEMA} -> Tensor")
def _mask(
    w: torch.Tensor,
    pattern: str,
    backend: str,
    workers: int,
    rows: Sequence[int] = (0,),
    columns: Sequence[int] = (1,),
    parts: int = 1,
) -> torch.Tensor:
    options: dict[str, Any] = {"backend": backend, "workers": workers, "score": "magnitude"}
    plane = Plane(tuple(rows), tuple(columns), parts)
    found = ms.solve(as_matrices(w.detach(), plane), pattern, duals=False, tiles=False, **options).mask
    return from_matrices(found, plane, tuple(w.shape))


@_mask.register_fake
def _(w: torch.Tensor, *options: Any) -> torch.Tensor:
    return torch.empty(w.shape, dtype=torch.bool, device=w.device)


def _no_gradient(context: Any, gradient: torch.Tensor) -> tuple[None, ...]:
    return (None,) * 7


_mask.register_autograd(_no_gradient)


@_mask.register_vmap
def _(
    info: Any,
    in_dims: tuple[int | None, ...],
    w: torch.Tensor,
    pattern: str,
    backend: str,
    workers: int,
    rows: Sequence[int] = (0,),
    columns: Sequence[int] = (1,),
    parts: int = 1,
) -> tuple[torch.Tensor, int]:
    """Solve a batch of weights at once: to the solver it is one more axis of the kernel."""
    assert in_dims[0] is not None  # nothing else is a tensor
    last = w.ndim - 1
    from_front = ([axis % last for axis in axes] for axes in (rows, columns))
    return _mask(w.movedim(in_dims[0], -1), pattern, backend, workers, *from_front, parts), last
