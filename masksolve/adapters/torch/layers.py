"""Which layers of a model to prune, and why not the others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple

from torch import nn
from torch.nn.utils import parametrize

import masksolve as ms

from .layout import weight_pattern

PRUNABLE = (nn.Linear, nn.Conv1d, nn.Conv2d)


class Choice(NamedTuple):
    """A layer that could be pruned, and whether it is.

    Attributes
    ----------
    name : str
        As in ``model.named_modules()``.
    layer : Linear, Conv1d or Conv2d
    skipped : str
        Why it stays dense; empty if it is pruned.
    """

    name: str
    layer: nn.Linear | nn.Conv1d | nn.Conv2d
    skipped: str


def choose_layers(
    model: nn.Module,
    pattern: ms.Pattern | str,
    *,
    layers: Sequence[str] | None = None,
    skip: Sequence[str] = (),
    dense_ends: bool = True,
) -> list[Choice]:
    """List the layers that N:M masks can go on, in the order of the model's modules.

    Parameters
    ----------
    model : Module
    pattern : Pattern or str
    layers : sequence of str, optional
        Names or shell-style wildcards (``"encoder.*.dense"``) of the layers to prune, first and last
        included; one that names no layer, or one that cannot be pruned, is an error. By default,
        every Linear, Conv1d and Conv2d layer that fits the pattern.
    skip : sequence of str
        Names or wildcards of layers to leave dense.
    dense_ends : bool
        Leave the first and the last of them dense, as is usual: they are small and sensitive.

    Returns
    -------
    list of Choice
        Chosen and skipped ones.

    Raises
    ------
    ValueError
        If a name matches nothing, a layer asked for cannot be pruned, or nothing is left to prune.
    """
    pattern = weight_pattern(pattern)
    found = [(name, module) for name, module in model.named_modules() if isinstance(module, PRUNABLE)]
    names = [name for name, _ in found]
    _check_names("layers", layers or (), names)
    _check_names("skip", skip, names)
    unfit = _shared(model) | {name: reason for name, layer in found if (reason := misfit(layer, pattern))}
    ends = {names[0], names[-1]} if dense_ends and layers is None and names else set()
    choices = []
    for name, layer in found:
        if layers is not None and not _matches(name, layers):
            reason = "is not among layers="
        elif _matches(name, skip):
            reason = "is named in skip="
        elif layers is not None and name in unfit:
            raise ValueError(f"layers: '{name}' cannot be pruned to '{pattern}': it {unfit[name]}")
        else:
            reason = unfit.get(name, "is the first or the last layer" if name in ends else "")
        choices.append(Choice(name, layer, reason))
    if all(choice.skipped for choice in choices):
        listed = "; ".join(f"'{choice.name}' {choice.skipped}" for choice in choices[:5])
        raise ValueError(
            f"model has no layer to prune to '{pattern}': {listed or 'it has no Linear or Conv'}"
        )
    return choices


def misfit(layer: nn.Module, pattern: ms.Pattern) -> str:
    """Why a layer's weight cannot follow ``pattern``; empty if it can."""
    if parametrize.is_parametrized(layer, "weight"):
        return "has a parametrised weight already"
    weight = layer.weight
    assert isinstance(weight, nn.Parameter)
    groups = getattr(layer, "groups", 1)
    sides = {"outputs": weight.shape[0] // groups, "inputs": weight.shape[1]}
    if not pattern.transposable:
        sides.pop("inputs" if pattern.axis == -2 else "outputs")
    for side, length in sides.items():
        crossing = groups > 1 and side == "outputs"
        if length % pattern.m and (pattern.remainder == "error" or crossing):
            return f"has {length} {side}{' in a group' * crossing}, which {pattern.m} does not divide"
    return ""


def _shared(model: nn.Module) -> dict[str, str]:
    """Layers whose weight another module uses too: a mask would prune both."""
    owners: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        owners.setdefault(id(parameter), []).append(name)
    reasons = {}
    for names in owners.values():
        for name in names if len(names) > 1 else ():
            other = next((each for each in names if each != name), name)
            reasons[name.removesuffix(".weight")] = f"shares its weight with '{other}'"
    return reasons


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _check_names(argument: str, patterns: Sequence[str], names: list[str]) -> None:
    if isinstance(patterns, str):
        raise TypeError(f"{argument} must be a sequence of names, got the string {patterns!r}")
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise ValueError(
                f"{argument}: {pattern!r} matches no Linear, Conv1d or Conv2d layer; there are {names[:8]}"
            )
