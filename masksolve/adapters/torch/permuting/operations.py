"""How channels pass through the operations of an exported graph."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from .atoms import Ids
from .graph import KERNEL, Graph, UnknownUseError
from .values import Value, contracted, elementwise, flat, joined, moved, normalised, pinned, reduced

_ELEMENTWISE = frozenset((
    "abs", "add", "alias", "clamp", "clamp_max", "clamp_min", "clone", "contiguous", "cos",
    "detach", "div", "dropout", "elu", "erf", "exp", "feature_dropout", "gelu", "hardsigmoid",
    "hardswish", "hardtanh", "leaky_relu", "lerp", "lift_fresh_copy", "log", "masked_fill",
    "maximum", "minimum", "mish", "mul", "neg", "pow", "reciprocal", "relu", "relu6", "rsqrt",
    "rsub", "sigmoid", "silu", "sin", "softplus", "sqrt", "square", "sub", "tanh", "threshold",
    "to", "type_as", "where", "_to_copy",
))  # fmt: skip
_MOVING = frozenset((
    "chunk", "expand", "expand_as", "flatten", "flip", "movedim", "narrow", "permute", "repeat",
    "repeat_interleave", "reshape", "select", "slice", "split", "split_with_sizes", "squeeze",
    "swapaxes", "t", "transpose", "unbind", "unflatten", "unsqueeze", "view", "view_as",
    "_unsafe_view", "roll",
))  # fmt: skip
_REDUCING = frozenset((
    "amax", "amin", "mean", "sum", "var", "std", "norm", "linalg_vector_norm",
))  # fmt: skip
_SPATIAL = frozenset((
    "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_max_pool2d", "avg_pool1d", "avg_pool2d",
    "max_pool1d", "max_pool2d", "upsample_nearest2d", "upsample_bilinear2d", "pad",
    "constant_pad_nd",
))  # fmt: skip
IGNORED = frozenset((
    "_assert_tensor_metadata", "_assert_async", "sym_size", "size", "numel",
))  # fmt: skip


def name_of(node: Any) -> str:
    """Name an operation as ATen does, without the underscore of those that work in place."""
    if node.target is operator.getitem:
        return "getitem"
    text = getattr(node.target, "_opname", None) or getattr(node.target, "__name__", str(node.target))
    return str(text).rstrip("_") if not str(text).startswith("__") else str(text)


def flattened(values: Any) -> list[Any]:
    """List what nested lists hold."""
    flat_: list[Any] = []
    for value in values:
        flat_ += flattened(value) if isinstance(value, (list, tuple)) else [value]
    return flat_


def fixed(node: Any) -> Any:
    """Give the outputs of an operation through which nothing moves."""
    val = node.meta.get("val")
    if isinstance(val, (list, tuple)):
        return [Value(tuple(each.shape)) if isinstance(each, torch.Tensor) else None for each in val]
    return Value(tuple(val.shape)) if isinstance(val, torch.Tensor) else Value(())


def _shape(node: Any) -> tuple[int, ...]:
    return tuple(int(length) for length in node.meta["val"].shape)


Handler = Callable[[Graph, Any, str], Any]


def handler_for(name: str) -> Handler | None:
    """Give what follows an operation; None if nobody knows it."""
    if name in _ELEMENTWISE:
        return _elementwise
    if name in _MOVING:
        return _moving
    if name in _REDUCING:
        return _reducing
    if name in _SPATIAL:
        return _spatial
    return _HANDLERS.get(name)


def _elementwise(graph: Graph, node: Any, reason: str) -> Value:
    values = [graph.of(arg) for arg in node.args if isinstance(arg, torch.fx.Node)]
    return elementwise(graph.atoms, values, _shape(node), reason)


def _moving(graph: Graph, node: Any, reason: str) -> Any:
    value = graph.of(node.args[0])
    rest = [_shape(arg) if name_is_as(node) else arg for arg in node.args[1:]]
    if any(isinstance(arg, torch.fx.Node) for arg in flattened(rest)):
        raise UnknownUseError
    if name_is_as(node):
        results = moved(
            graph.atoms,
            value,
            lambda ids: ids.expand(*rest[0]) if "expand" in reason else ids.reshape(*rest[0]),
        )
    else:
        operation = (
            torch.ops.aten.reshape.default if name_of(node) in ("view", "_unsafe_view") else node.target
        )
        results = moved(graph.atoms, value, lambda ids: operation(ids, *rest, **node.kwargs))
    return results if isinstance(node.meta["val"], (list, tuple)) else results[0]


def name_is_as(node: Any) -> bool:
    """Whether an operation takes the shape of another tensor."""
    return name_of(node) in ("expand_as", "view_as")


def _reducing(graph: Graph, node: Any, reason: str) -> Value:
    value, shape = graph.of(node.args[0]), _shape(node)
    named = {argument.name: number for number, argument in enumerate(node.target._schema.arguments)}

    def argument(name: str) -> Any:
        place = named.get(name, len(node.args))
        return node.args[place] if place < len(node.args) else node.kwargs.get(name)

    dims = argument("dim")
    rank = len(value.shape)
    chosen = range(rank) if dims in (None, []) else dims if isinstance(dims, (list, tuple)) else [dims]
    axes = {axis % rank - rank for axis in chosen}
    return reduced(graph.atoms, value, axes, shape, keep=bool(argument("keepdim")), reason=reason)


def _spatial(graph: Graph, node: Any, reason: str) -> Value:
    value, shape = graph.of(node.args[0]), _shape(node)
    trailing = 1 if "1d" in reason else 2
    if name_of(node) in ("pad", "constant_pad_nd"):
        trailing = len(node.args[1]) // 2
    for factor in value.factors:
        if any(factor.shape[-trailing:][k] > 1 for k in range(trailing)):
            raise UnknownUseError
    return Value(shape, value.factors)


def _linear(graph: Graph, node: Any, reason: str) -> Value:
    x, weight = graph.of(node.args[0]), graph.of(node.args[1])
    bias = graph.of(node.args[2]) if len(node.args) > 2 and node.args[2] is not None else None
    if len(x.shape) < 2:
        raise UnknownUseError
    turned = Value(weight.shape[::-1], tuple(factor.swapaxes(-1, -2) for factor in weight.factors))
    return _with_bias(graph, contracted(graph.atoms, x, turned, _shape(node), reason), bias, reason)


def _with_bias(graph: Graph, value: Value, bias: Value | None, reason: str) -> Value:
    return value if bias is None else elementwise(graph.atoms, [value, bias], value.shape, reason)


def _matmul(graph: Graph, node: Any, reason: str) -> Value:
    x, y = graph.of(node.args[0]), graph.of(node.args[1])
    if min(len(x.shape), len(y.shape)) < 2:
        raise UnknownUseError
    return contracted(graph.atoms, x, y, _shape(node), reason)


def _addmm(graph: Graph, node: Any, reason: str) -> Value:
    bias, x, y = (graph.of(arg) for arg in node.args[:3])
    return _with_bias(graph, contracted(graph.atoms, x, y, _shape(node), reason), bias, reason)


def _attention(graph: Graph, node: Any, reason: str) -> Value:
    query, key, value = (graph.of(arg) for arg in node.args[:3])
    heads = query.shape[-3] if len(query.shape) > 3 else 1
    if heads > 1 and key.shape[-3] != heads:  # grouped queries: a key's head serves several
        times = heads // key.shape[-3]
        key, value = (
            moved(graph.atoms, each, lambda ids: ids.repeat_interleave(times, dim=-3))[0]
            for each in (key, value)
        )
    turned = Value(
        (*key.shape[:-2], key.shape[-1], key.shape[-2]), tuple(f.swapaxes(-1, -2) for f in key.factors)
    )
    weights = contracted(graph.atoms, query, turned, (*query.shape[:-1], key.shape[-2]), reason)
    pinned(graph.atoms, [weights], reason)  # the softmax tells rows and heads apart
    return contracted(graph.atoms, Value(weights.shape), value, _shape(node), reason)


def _softmax(graph: Graph, node: Any, reason: str) -> Value:
    value = graph.of(node.args[0])
    normalised(graph.atoms, value, {node.args[1] % len(value.shape) - len(value.shape)})
    return value


def _layer_norm(graph: Graph, node: Any, reason: str) -> Any:
    value = graph.of(node.args[0])
    axes = set(range(-len(node.args[1]), 0))
    normalised(graph.atoms, value, axes)
    affine = [graph.of(arg) for arg in node.args[2:4] if isinstance(arg, torch.fx.Node)]
    normal = elementwise(graph.atoms, [value, *affine], value.shape, reason)
    return _first(node, normal)


def _first(node: Any, value: Value) -> Any:
    """Give the value as the first of several outputs, if there are several."""
    if not isinstance(node.meta["val"], (list, tuple)):
        return value
    return [value, *fixed(node)[1:]]


def _batch_norm(graph: Graph, node: Any, reason: str) -> Any:
    value = graph.of(node.args[0])
    channels = [graph.of(arg) for arg in node.args[1:5] if isinstance(arg, torch.fx.Node)]
    return _first(node, _by_channel(graph, value, channels, reason))


def _prelu(graph: Graph, node: Any, reason: str) -> Value:
    value = graph.of(node.args[0])
    return _by_channel(graph, value, [graph.of(node.args[1])], reason)


def _by_channel(graph: Graph, value: Value, vectors: list[Value], reason: str) -> Value:
    """Unite vectors with the channels on axis 1."""
    shape = (-1, *([1] * (len(value.shape) - 2)))
    spread = [
        Value((each.shape[0], *shape[1:]), tuple(factor.reshape(shape) for factor in each.factors))
        for each in vectors
    ]
    return elementwise(graph.atoms, [value, *spread], value.shape, reason)


def _group_norm(graph: Graph, node: Any, reason: str) -> Value:
    value, groups = graph.of(node.args[0]), node.args[1]
    for factor in value.factors:
        ids = flat(factor, 1 - len(value.shape))
        if ids is None:
            raise UnknownUseError
        graph.atoms.count(ids.reshape(groups, -1))
    vectors = [graph.of(arg) for arg in node.args[2:4] if isinstance(arg, torch.fx.Node)]
    return _by_channel(graph, value, vectors, reason)


def _convolution(graph: Graph, node: Any, reason: str) -> Value:
    arguments = {
        a.name: node.args[k] for k, a in enumerate(node.target._schema.arguments) if k < len(node.args)
    }
    arguments |= node.kwargs
    x, weight = graph.of(arguments["input"]), graph.of(arguments["weight"])
    bias = graph.of(arguments["bias"]) if arguments.get("bias") is not None else None
    groups, channels = arguments.get("groups", 1), 1 - len(weight.shape)
    if len(x.shape) != len(weight.shape) or (
        any(length > 1 for length in weight.shape[2:]) and len(x.factors) > 1
    ):
        raise UnknownUseError
    if any(flat(factor, channels) is None for factor in x.factors):
        raise UnknownUseError
    outputs, inputs = _weight_atoms(weight)
    depthwise = groups > 1 and weight.shape[1] == 1
    if not depthwise:
        graph.atoms.count(outputs.reshape(groups, -1))
    for place in range(2, len(weight.shape)):  # places of the kernel never move
        for factor in weight.factors:
            if factor.shape[place] > 1:
                graph.atoms.pin(factor, KERNEL)
    ids = x.factors[0].ravel() if x.factors else None
    if ids is None:
        graph.atoms.pin(inputs, reason)
    if groups == 1 and ids is not None:
        graph.atoms.unite(ids, inputs)
    elif depthwise and ids is not None:
        graph.atoms.unite(outputs.reshape(groups, -1), ids.reshape(groups, 1))
    elif groups > 1:
        if ids is not None:  # one order of a weight's inputs serves all groups
            graph.atoms.count(ids.reshape(groups, -1))
            graph.atoms.unite(ids.reshape(groups, -1), inputs[None])
        elif depthwise:
            graph.atoms.pin(outputs, reason)
    shape = _shape(node)
    value = (
        Value(shape, (outputs.reshape(-1, *([1] * (len(shape) - 2))),)) if len(outputs) > 1 else Value(shape)
    )
    value = Value(shape, tuple(f.reshape((1,) * (len(shape) - f.ndim) + f.shape) for f in value.factors))
    return value if bias is None else _by_channel(graph, value, [bias], reason)


def _weight_atoms(weight: Value) -> tuple[Ids, Ids]:
    """Atoms of a weight's outputs and inputs."""
    found: list[Ids] = []
    for axis in (0, 1):
        here = [factor for factor in weight.factors if factor.shape[axis] > 1]
        if len(here) > 1 or (here and here[0].size != weight.shape[axis]):
            raise UnknownUseError
        if weight.shape[axis] > 1 and not here:
            raise UnknownUseError
        found.append(here[0].ravel() if here else np.zeros(0, np.int64))
    return found[0], found[1]


def _embedding(graph: Graph, node: Any, reason: str) -> Value:
    weight, shape = graph.of(node.args[0]), _shape(node)
    factors = []
    for factor in weight.factors:
        if factor.shape[0] > 1:
            graph.atoms.pin(factor, reason)
        else:
            factors.append(factor.reshape((1,) * (len(shape) - 1) + factor.shape[1:]))
    return Value(shape, tuple(factors))


def _cat(graph: Graph, node: Any, reason: str) -> Value:
    values, shape = [graph.of(arg) for arg in node.args[0]], _shape(node)
    axis = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim", 0)
    return joined(graph.atoms, values, axis % len(shape) - len(shape), shape, reason)


def _getitem(graph: Graph, node: Any, reason: str) -> Any:
    return graph.values[node.args[0]][node.args[1]]


_HANDLERS: dict[str, Handler] = {
    "linear": _linear,
    "matmul": _matmul,
    "mm": _matmul,
    "bmm": _matmul,
    "addmm": _addmm,
    "scaled_dot_product_attention": _attention,
    "softmax": _softmax,
    "_softmax": _softmax,
    "log_softmax": _softmax,
    "layer_norm": _layer_norm,
    "native_layer_norm": _layer_norm,
    "rms_norm": _layer_norm,
    "batch_norm": _batch_norm,
    "instance_norm": _batch_norm,
    "prelu": _prelu,
    "_native_batch_norm_legit_no_training": _batch_norm,
    "group_norm": _group_norm,
    "conv1d": _convolution,
    "conv2d": _convolution,
    "conv3d": _convolution,
    "embedding": _embedding,
    "cat": _cat,
    "getitem": _getitem,
}
