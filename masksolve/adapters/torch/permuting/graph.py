"""What is known of a model's graph while it is walked through: which atoms each node's entries belong to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

from .atoms import Atoms, Ids
from .values import Value

KERNEL = "the place in a convolution's kernel"
"""Why kernels' own axes stay: nobody would expect them to move, so reports leave them out."""


@dataclass(eq=False)
class Parameter:
    """A parameter or buffer, and the atoms of its axes."""

    name: str
    tensor: torch.Tensor
    atoms: list[Ids]


@dataclass(eq=False)
class Graph:
    """A model's graph as far as it has been walked through."""

    atoms: Atoms = field(default_factory=Atoms)
    parameters: dict[int, Parameter] = field(default_factory=dict)
    values: dict[Any, Any] = field(default_factory=dict)

    def parameter(self, name: str, tensor: torch.Tensor) -> Value:
        """Give a parameter's value; a tensor with two names has one set of atoms."""
        found = self.parameters.get(id(tensor))
        if found is None:
            found = Parameter(name, tensor, [self.atoms.fresh(length) for length in tensor.shape])
            self.parameters[id(tensor)] = found
            for ids in found.atoms:
                self.atoms.count(ids)
        factors = []
        for axis, ids in enumerate(found.atoms):
            shape = [1] * tensor.ndim
            shape[axis] = len(ids)
            if len(ids) > 1:
                factors.append(ids.reshape(shape))
        return Value(tuple(tensor.shape), tuple(factors))

    def of(self, arg: Any) -> Value:
        """Give the value of a node, or of a number."""
        value = self.values.get(arg) if isinstance(arg, torch.fx.Node) else None
        if isinstance(value, Value):
            return value
        if arg is None or not isinstance(arg, torch.fx.Node):
            return Value(())
        raise UnknownUseError


class UnknownUseError(Exception):
    """An operation is used in a way that is not followed: what goes in is pinned."""
