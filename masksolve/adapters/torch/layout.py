"""Weights of layers as the matrices that they multiply by, for every place of a kernel."""

from __future__ import annotations

import torch

import masksolve as ms


def as_matrices(weight: torch.Tensor) -> torch.Tensor:
    """View a layer's weight as matrices (..., outputs, inputs).

    Parameters
    ----------
    weight : Tensor
        ``(outputs, inputs)`` of a Linear layer, as it is; ``(outputs, inputs, *kernel)`` of a convolution
        becomes ``(*kernel, outputs, inputs)``: one matrix for every place of the kernel, which is how
        N:M kernels for convolutions read it.

    Returns
    -------
    Tensor
        A view: nothing is copied.

    Raises
    ------
    ValueError
        If the weight has fewer than two axes.
    """
    if weight.ndim < 2:
        raise ValueError(
            f"w must be a weight (outputs, inputs) or (outputs, inputs, *kernel), "
            f"got shape {tuple(weight.shape)}"
        )
    return weight.permute(*range(2, weight.ndim), 0, 1)


def from_matrices(matrices: torch.Tensor) -> torch.Tensor:
    """Undo `as_matrices`: (..., outputs, inputs) becomes (outputs, inputs, ...), contiguous."""
    places = range(matrices.ndim - 2)
    return matrices.permute(matrices.ndim - 2, matrices.ndim - 1, *places).contiguous()


def weight_pattern(pattern: ms.Pattern | str) -> ms.Pattern:
    """Parse a pattern for weights, whose groups run along the inputs (axis -1) or the outputs (-2).

    Raises
    ------
    TypeError, ValueError
        If it is not a pattern, or its axis is another.
    """
    pattern = ms.Pattern.parse(pattern)
    if pattern.axis not in (-1, -2):
        raise ValueError(f"pattern axis must be -1 (inputs) or -2 (outputs) for a weight, got {pattern.axis}")
    return pattern
