"""Weights of layers as the matrices that they multiply by, for every place of a kernel."""

from __future__ import annotations

import torch

from ..plane import Plane

KERNEL = Plane()
"""Of a Linear layer (outputs, inputs) or a convolution (outputs, inputs, *kernel)."""


def as_matrices(weight: torch.Tensor, plane: Plane = KERNEL) -> torch.Tensor:
    """View a layer's weight as matrices (..., outputs, inputs).

    Parameters
    ----------
    weight : Tensor
        ``(outputs, inputs)`` of a Linear layer, as it is; ``(outputs, inputs, *kernel)`` of a convolution
        becomes ``(*kernel, outputs, inputs)``: one matrix for every place of the kernel, which is how
        N:M kernels for convolutions read it.
    plane : Plane
        Which axes are outputs and inputs, if not these: ``Plane(rows=-2, columns=-1)`` for a stack of
        matrices (experts, outputs, inputs).

    Returns
    -------
    Tensor
        A view: nothing is copied.

    Raises
    ------
    ValueError
        If the weight has fewer than two axes, or not those of the plane.
    """
    if weight.ndim < 2:
        raise ValueError(
            f"w must be a weight (outputs, inputs) or (outputs, inputs, *kernel), "
            f"got shape {tuple(weight.shape)}"
        )
    matrices: torch.Tensor = plane.matrices(weight)
    return matrices


def from_matrices(
    matrices: torch.Tensor, plane: Plane = KERNEL, shape: tuple[int, ...] | None = None
) -> torch.Tensor:
    """Undo `as_matrices`: (..., outputs, inputs) becomes the weight, contiguous.

    ``shape`` is that of the weight. It may be left out for the plane of a Linear or convolution layer.
    """
    if shape is None:
        if plane != KERNEL:
            raise TypeError(f"shape must be given for a weight of {plane}")
        shape = (*matrices.shape[-2:], *matrices.shape[:-2])
    weight: torch.Tensor = plane.weight(matrices, shape).contiguous()
    return weight
