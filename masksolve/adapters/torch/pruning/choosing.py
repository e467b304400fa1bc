"""Which layers of a model to prune without training, and why not the others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import nn

import masksolve as ms

from ..blocks import Chain
from ..layers import PRUNABLE, Choice, choose_layers


def choose(
    model: nn.Module,
    pattern: ms.Pattern,
    chains: Sequence[Chain],
    *,
    layers: Sequence[str] | None,
    skip: Sequence[str],
    dense_ends: bool,
) -> list[Choice]:
    """Choose layers as `choose_layers` does, but find a model's ends by its blocks.

    In a model of blocks, what lies outside of them is its ends: embeddings of patches, poolers, heads. In a
    model without blocks they are its first and last layers.
    """
    by_blocks = dense_ends and bool(chains) and layers is None
    choices = choose_layers(model, pattern, layers=layers, skip=skip, dense_ends=dense_ends and not by_blocks)
    if layers is None:
        choices = [_checked(model, choice, chains if by_blocks else ()) for choice in choices]
    if all(choice.skipped for choice in choices):
        listed = "; ".join(f"'{choice.name}' {choice.skipped}" for choice in choices[:5])
        raise ValueError(
            f"model has no layer to prune to '{pattern}': {listed}; dense_ends=False takes its ends too, and "
            f"layers= any layer"
        )
    return choices


def _checked(model: nn.Module, choice: Choice, chains: Sequence[Chain]) -> Choice:
    """Leave out what lies outside of the chains, if there are any, and what never runs by itself."""
    if choice.skipped:
        return choice
    if chains and not any(chain.holds(choice.name) for chain in chains):
        return choice._replace(skipped="lies outside of the blocks, as embeddings and heads do (dense_ends)")
    owner = choice.name.rpartition(".")[0]
    if choice.name and isinstance(model.get_submodule(owner), nn.MultiheadAttention):
        return choice._replace(skipped="is read by its MultiheadAttention, which never calls it")
    return choice


def left_alone(model: nn.Module) -> dict[str, str]:
    """Modules with weights of two axes or more that no method here prunes, and why."""
    reasons = {}
    for name, module in model.named_modules():
        if isinstance(module, PRUNABLE) or not any(True for _ in _matrices(module)):
            continue
        kind = type(module).__name__
        embedding = isinstance(module, (nn.Embedding, nn.EmbeddingBag))
        reasons[name] = (
            "is an embedding" if embedding else f"is a {kind}, neither Linear nor Conv1d nor Conv2d"
        )
    return reasons


def _matrices(module: nn.Module) -> Iterator[nn.Parameter]:
    return (parameter for parameter in module.parameters(recurse=False) if parameter.ndim > 1)
