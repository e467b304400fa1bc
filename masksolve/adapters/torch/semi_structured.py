"""Handing 2:4 weights to torch's semi-structured sparse kernels, for both passes."""

from __future__ import annotations

from typing import NamedTuple

import torch

import masksolve as ms

_STEPS = {(2, 4): (16, 16), (1, 2): (32, 32)}
"""What outputs and inputs must be multiples of: cuSPARSELt for two bytes at 2:4, CUTLASS for float32 at 1:2,
as torch 2.13 has them in ``SparseSemiStructuredTensor._DTYPE_SHAPE_CONSTRAINTS``."""


class SemiStructured(NamedTuple):
    """A matrix compressed for sparse tensor cores, once for each pass.

    Attributes
    ----------
    weight : SparseSemiStructuredTensor, shape (outputs, inputs)
        W, for the forward pass: ``y = torch.nn.functional.linear(x, weight)``.
    transposed : SparseSemiStructuredTensor, shape (inputs, outputs), or None
        Wᵀ, for the backward pass: ``grad_x = torch.nn.functional.linear(grad_y, transposed)``.
        None for one-directional patterns.
    """

    weight: torch.Tensor
    transposed: torch.Tensor | None


def to_semi_structured(
    weight: torch.Tensor, mask_or_pattern: torch.Tensor | ms.Pattern | str = "2:4-T"
) -> SemiStructured:
    """Check that a weight is 2:4 and compress it for sparse tensor cores.

    Parameters
    ----------
    weight : Tensor, shape (outputs, inputs), on a CUDA device
        float16, bfloat16 or int8 for 2:4; float32 for 1:2, which is the pattern that its kernels
        read. Such as ``layer.weight`` after `Sparsifier.finalize`.
    mask_or_pattern : Tensor of bool, Pattern or str
        A mask: entries outside it are left out, and W and Wᵀ must follow 2:4 under it (1:2 for
        float32). A pattern: the entries that are not zero must follow it; ``"2:4-T"`` for both
        passes, ``"2:4"`` for the forward pass alone. Groups may keep fewer than two.

    Returns
    -------
    SemiStructured

    Raises
    ------
    PatternViolationError
        If W or Wᵀ does not follow the pattern; the message names the first groups that break it.
    TypeError
        If ``weight`` is no tensor, or of a dtype that no kernel reads.
    ValueError
        If the pattern is not the one that the kernels of this dtype read, or a shape or device is wrong.
    RuntimeError
        From torch, if the sides are not multiples of what its kernels take.

    Examples
    --------
    >>> import torch
    >>> to_semi_structured(torch.ones(4, 4, dtype=torch.float16), "2:4")
    Traceback (most recent call last):
        ...
    masksolve.errors.PatternViolationError: weight must follow '2:4 at_most', got 4 violations of ...
    """
    matrix, pattern = checked(weight, mask_or_pattern)
    if not _on_device(matrix):
        raise ValueError(
            f"weight must be on a CUDA device, whose kernels read this format, got {matrix.device}; "
            f"masksolve.pack holds it compressed on any device"
        )
    compress = torch.sparse.to_sparse_semi_structured
    transposed = compress(matrix.T.contiguous()) if pattern.transposable else None
    return SemiStructured(compress(matrix), transposed)


def checked(
    weight: torch.Tensor, mask_or_pattern: torch.Tensor | ms.Pattern | str
) -> tuple[torch.Tensor, ms.Pattern]:
    """Give the masked weight, contiguous, and the pattern that it follows; raise if it does not."""
    if not isinstance(weight, torch.Tensor):
        raise TypeError(f"weight must be a tensor, got {type(weight).__name__}")
    if weight.ndim != 2:
        raise ValueError(f"weight must be a matrix (outputs, inputs), got shape {tuple(weight.shape)}")
    n, m = _kernel(weight.dtype)
    weight = weight.detach()
    if isinstance(mask_or_pattern, torch.Tensor):
        mask, transposable = mask_or_pattern, True
        if mask.dtype != torch.bool:
            raise TypeError(f"mask must be boolean, got dtype {mask.dtype}")
        if mask.shape != weight.shape:
            raise ValueError(
                f"mask must have the weight's shape {tuple(weight.shape)}, got {tuple(mask.shape)}"
            )
        weight = torch.where(mask, weight, 0)
    else:
        asked = ms.Pattern.parse(mask_or_pattern)
        plain = asked.axis == -1 and asked.remainder == "error" and asked.columns is None and not asked.pair
        if (asked.n, asked.m) != (n, m) or not plain:
            raise ValueError(f"pattern must be '{n}:{m}' or '{n}:{m}-T' for {weight.dtype}, got '{asked}'")
        mask, transposable = weight != 0, asked.transposable
    pattern = ms.Pattern(n, m, transposable=transposable, constraint="at_most")
    verification = ms.verify(mask.cpu().numpy(), pattern)
    if not verification.ok:
        raise ms.PatternViolationError(f"weight must follow '{pattern}', got {verification}")
    return weight.contiguous(), pattern


def _kernel(dtype: torch.dtype) -> tuple[int, int]:
    """Give n and m of the kernels that read a dtype."""
    if dtype in (torch.float16, torch.bfloat16, torch.int8):
        return 2, 4
    if dtype == torch.float32:
        return 1, 2
    raise TypeError(
        f"weight must be float16, bfloat16, int8 (2:4) or float32 (1:2) for sparse tensor cores, got {dtype}"
    )


def kernel_misfit(shape: tuple[int, ...], pattern: ms.Pattern) -> str:
    """Why sparse tensor cores refuse matrices (..., outputs, inputs) of this shape; empty if they do not.

    Patterns that no kernel reads, and convolutions, which torch multiplies by no sparse kernel, are not
    judged here.
    """
    steps = _STEPS.get((pattern.n, pattern.m))
    if steps is None or len(shape) < 2:
        return ""
    outputs, inputs = shape[-2:]
    rows, columns = steps
    if outputs % rows or inputs % columns:
        return (
            f"sparse kernels refuse it: {outputs}x{inputs} is no multiple of {rows}x{columns}, "
            f"which they need"
        )
    return ""


def _on_device(matrix: torch.Tensor) -> bool:
    return matrix.is_cuda
