"""Following the channels of a model's parameters through its exported graph."""

from __future__ import annotations

from typing import Any

import torch
from torch.export.graph_signature import InputKind

from .graph import Graph, UnknownUseError
from .operations import IGNORED, fixed, flattened, handler_for, name_of
from .values import Value, pinned


def follow(model: torch.nn.Module, exported: Any, *, unsaved: bool = False) -> Graph:
    """Follow the channels of all parameters through an exported model.

    Parameters
    ----------
    model : Module
        Whose own tensors are looked up by name.
    exported : ExportedProgram
        Of ``torch.export.export``.
    unsaved : bool
        Whether buffers that are not saved with the model may be reordered.
    """
    graph = Graph()
    inputs = {
        spec.arg.name: spec for spec in exported.graph_signature.input_specs if hasattr(spec.arg, "name")
    }
    for node in exported.graph.nodes:
        if node.op == "placeholder":
            graph.values[node] = _given(graph, node, inputs.get(node.name), model, unsaved)
        elif node.op == "call_function":
            _follow(graph, node)
        elif node.op == "output":
            values = [graph.values[arg] for arg in node.all_input_nodes if arg in graph.values]
            pinned(graph.atoms, [v for v in flattened(values) if isinstance(v, Value)], "the model's output")
        else:
            graph.values[node] = fixed(node)
    return graph


def _given(graph: Graph, node: Any, spec: Any, model: torch.nn.Module, unsaved: bool) -> Any:
    """Give the value of a parameter, a buffer or an input of the model."""
    if spec is None or spec.target is None or spec.kind not in (InputKind.PARAMETER, InputKind.BUFFER):
        return fixed(node)
    if spec.kind == InputKind.BUFFER and not node.users:
        return fixed(node)
    tensor = _tensor(model, spec.target)
    if spec.kind == InputKind.PARAMETER or spec.persistent:
        return graph.parameter(spec.target, tensor)
    # A buffer that is not saved would be back in its old order when the model is loaded. Of those with one
    # axis, such as the frequencies of rotary embeddings, the report names the buffer; tables and masks are
    # constants like any other.
    if not tensor.is_floating_point() or sum(length > 1 for length in tensor.shape) != 1:
        return fixed(node)
    value = graph.parameter(spec.target, tensor)
    if not unsaved:
        pinned(graph.atoms, [value], f"{spec.target}, a buffer that is not saved with the model")
    return value


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
