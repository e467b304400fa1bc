"""Which entries of which weights a model contracts, seen from the products that torch computes.

Nothing here knows of layers or planes: every matrix product and convolution is watched while the model
runs, and an operand is known for a parameter's by the memory that it reads.
"""

import torch
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten
PRODUCTS = {  # place of each operand, and the axis along which it is summed
    aten.mm.default: ((0, 1), (1, 0)),
    aten.addmm.default: ((1, 1), (2, 0)),
    aten.bmm.default: ((0, 2), (1, 1)),
    aten.baddbmm.default: ((1, 2), (2, 1)),
    aten.mv.default: ((0, 1),),
}
if hasattr(aten, "_grouped_mm"):  # of the experts of a mixture, (experts, inputs, outputs)
    PRODUCTS[aten._grouped_mm.default] = ((1, 1),)


class Contracted(TorchDispatchMode):
    """Collects, by the names of parameters, arrays whose last axis a product sums over."""

    def __init__(self, model):
        super().__init__()
        self.names = {each.untyped_storage().data_ptr(): name for name, each in model.named_parameters()}
        self.seen = {}

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        for place, axis in PRODUCTS.get(function, ()):
            self.note(args[place], lambda w, axis=axis: w.movedim(axis, -1))
        if function is aten.convolution.default:
            transposed, groups = args[6], args[8]
            self.note(args[1], lambda w: inputs_last(w, groups) if transposed else w.movedim(1, -1))
        return function(*args, **(kwargs or {}))

    def note(self, operand, inputs):
        name = self.names.get(operand.untyped_storage().data_ptr())
        if name is not None:
            self.seen.setdefault(name, []).append(inputs(operand.detach()).clone())


def inputs_last(weight, groups):
    """A transposed convolution sums over its first axis, apart in each group."""
    return torch.stack(weight.chunk(groups)).movedim(1, -1)


def most_in_a_group(operand, m):
    """Largest number of entries that are not zero among m consecutive terms of one sum."""
    return int((operand.reshape(*operand.shape[:-1], -1, m) != 0).sum(-1).max())
