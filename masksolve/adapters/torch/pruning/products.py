"""What a module multiplies one of its weights by, where its code alone knows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from ..layers import Choice
from ..layout import as_matrices
from .rows import weight_of

_ATEN = torch.ops.aten
_FACTORS = {_ATEN.mm: 0, _ATEN.bmm: 0, _ATEN.addmm: 1, _ATEN.baddbmm: 1, _ATEN._grouped_mm: 0}
"""Products of matrices, and which of their arguments is the first factor: what torch makes of linear layers
and of ``@``."""


class Products(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """While it is entered, tells of every product with a weight what the other factor is.

    Layers that multiply by slices of a weight, such as the experts of a mixture or the projections of an
    attention, prepare the inputs of each slice on the way: routed, gated, or attended to. A slice is
    recognised by where it lies in memory, so that it does not matter how the module comes by it, as long
    as it does not copy.

    Parameters
    ----------
    weight : Choice
    take : callable
        Called as ``take(group, samples)`` for every group of `rows_of`; samples are (number, inputs).
    """

    def __init__(self, weight: Choice, take: Callable[[int, torch.Tensor], object]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        tensor = weight_of(weight)
        matrices = as_matrices(tensor, weight.plane)
        self._memory = tensor.untyped_storage().data_ptr()
        self._groups = [matrices[index] for index in np.ndindex(tuple(matrices.shape[:-2]))]
        self._take = take

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operator, and look at its factors if it is a product."""
        first = _FACTORS.get(function.overloadpacket)
        if first is not None:
            left, right = args[first], args[first + 1]
            offsets = (*args, None)[2] if function.overloadpacket is _ATEN._grouped_mm else None
            # W may be either factor: x W^T is the rule, W x is the same with both transposed.
            for inputs, factor in ((left, right), (right.mT, left.mT)):
                if factor.untyped_storage().data_ptr() == self._memory and factor.ndim > 1:
                    for samples, matrix in _pairs(inputs, factor, offsets):
                        for group in self._within(matrix):
                            self._take(group, samples)
        return function(*args, **(kwargs or {}))

    def _within(self, factor: torch.Tensor) -> Iterator[int]:
        """Give the groups whose first row a factor (inputs, outputs) begins at or runs through."""
        for number, group in enumerate(self._groups):
            if factor.stride() != group.mT.stride() or len(factor) != group.shape[1]:
                continue
            row, apart = group.stride(0), group.storage_offset() - factor.storage_offset()
            if apart % row == 0 and 0 <= apart // row < factor.shape[1]:
                yield number


def _pairs(
    inputs: torch.Tensor, factor: torch.Tensor, offsets: torch.Tensor | None
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Split a product of stacks into products of matrices."""
    if factor.ndim == 2:
        yield inputs, factor
    elif offsets is not None and inputs.ndim == 2:  # the rows of all experts one below the other
        ends = offsets.tolist()
        for first, last, matrix in zip([0, *ends], ends, factor, strict=False):
            yield inputs[first:last], matrix
    elif factor.stride(0) == 0:  # one matrix for the whole batch
        yield inputs.flatten(0, 1), factor[0]
    else:
        yield from zip(inputs, factor, strict=True)
