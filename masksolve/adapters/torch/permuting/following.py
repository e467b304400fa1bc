"""Following the channels of a model's parameters through its exported graph."""

from __future__ import annotations

from typing import Any

import torch
from torch.export.graph_signature import InputKind

from .graph import Graph, UnknownUseError
from .operations import IGNORED, fixed, flattened, handler_for, name_of
from .values import Value, pinned


def follow(model: torch.nn.Module, exported: Any) -> Graph:
    """Follow the channels of all parameters through an exported model.

    Parameters
    ----------
    model : Module
        Whose own tensors are looked up by name.
    exported : ExportedProgram
        Of ``torch.export.export``.
    """
    graph = Graph()
    inputs = {
        spec.arg.name: spec for spec in exported.graph_signature.input_specs if hasattr(spec.arg, "name")
    }
    for node in exported.graph.nodes:
        if node.op == "placeholder":
            spec = inputs.get(node.name)
            lasting = spec is not None and (
                spec.kind == InputKind.PARAMETER or (spec.kind == InputKind.BUFFER and spec.persistent)
            )
            if spec is not None and spec.target is not None and lasting:
                # A buffer that is not saved with the model would come back in its old order: it stays.
                graph.values[node] = graph.parameter(spec.target, _tensor(model, spec.target))
            else:
                graph.values[node] = fixed(node)
        elif node.op == "call_function":
            _follow(graph, node)
        elif node.op == "output":
            values = [graph.values[arg] for arg in node.all_input_nodes if arg in graph.values]
            pinned(graph.atoms, [v for v in flattened(values) if isinstance(v, Value)], "the model's output")
        else:
            graph.values[node] = fixed(node)
    return graph


def _follow(graph: Graph, node: Any) -> None:
    """Take one operation into account."""
    name = name_of(node)
    reason = f"{name} ({node.name})"
    handler = handler_for(name)
    tensors = [graph.values[arg] for arg in node.all_input_nodes if arg in graph.values]
    values = [value for value in flattened(tensors) if isinstance(value, Value)]
    if name in IGNORED or not _produces(node):
        return
    if handler is None:
        if any(value.factors for value in values):
            pinned(graph.atoms, values, reason)
        graph.values[node] = fixed(node)
        return
    try:
        graph.values[node] = handler(graph, node, reason)
    except UnknownUseError:
        pinned(graph.atoms, values, reason)
        graph.values[node] = fixed(node)


def _produces(node: Any) -> bool:
    return any(isinstance(each, torch.Tensor) for each in flattened([node.meta.get("val")]))


def _tensor(model: torch.nn.Module, name: str) -> torch.Tensor:
    path, _, last = name.rpartition(".")
    tensor: torch.Tensor = getattr(model.get_submodule(path), last)
    return tensor
