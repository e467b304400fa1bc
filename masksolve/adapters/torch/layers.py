"""Which weights of a model to prune, and why not the others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple, cast

from torch import nn
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrize

import masksolve as ms

from ..patterns import LayerPatterns, Patterns, check_names
from ..plane import Plane
from .blocks import find_chains
from .kinds import adapters_of, kind_of, matrices_of, routers_of
from .layout import KERNEL


class Choice(NamedTuple):
    """A weight of two axes or more, and whether it is pruned.

    Attributes
    ----------
    name : str
        Of its layer, as in ``model.named_modules()``; of the parameter, as in
        ``model.named_parameters()``, unless that is the layer's ``weight``.
    layer : Module
    skipped : str
        Why it stays dense; empty if it is pruned.
    parameter : str
        The layer's name for it.
    plane : Plane
        Which of its axes are outputs (rows) and inputs (columns).
    pattern : Pattern or None
        What it is pruned to; None if it stays dense.
    """

    name: str
    layer: nn.Module
    skipped: str
    parameter: str = "weight"
    plane: Plane = KERNEL
    pattern: ms.Pattern | None = None

    @property
    def path(self) -> str:
        """Name of the layer, as in ``model.named_modules()``."""
        if self.parameter == "weight":
            return self.name
        return self.name.removesuffix(self.parameter).removesuffix(".")

    @property
    def full_name(self) -> str:
        """Name of the parameter, as in ``model.named_parameters()``."""
        return f"{self.path}.{self.parameter}".lstrip(".")


class _Found(NamedTuple):
    """A weight before the choice.

    ``hard`` says why it cannot be pruned, ``soft`` why it should not be unless it is asked for by name, and
    ``dense`` gives the one of them that tells a reader most.
    """

    name: str
    path: str
    layer: nn.Module
    parameter: str
    plane: Plane
    hard: str
    soft: str
    dense: str
    pattern: ms.Pattern | None

    @property
    def names(self) -> tuple[str, ...]:
        """What the weight may be called in a name or wildcard."""
        return self.name, self.path, f"{self.path}.{self.parameter}".lstrip(".")

    def matches(self, patterns: Iterable[str]) -> bool:
        """Whether a name or wildcard fits."""
        return any(fnmatchcase(each, pattern) for pattern in patterns for each in self.names)

    def named(self, patterns: Sequence[str]) -> bool:
        """Whether a name without wildcards is that of the weight or its layer."""
        return self.name in patterns or self.path in patterns


def choose_weights(
    model: nn.Module,
    pattern: Patterns,
    *,
    layers: Sequence[str] | None = None,
    skip: Sequence[str] = (),
    dense_ends: bool = True,
    planes: Mapping[str, Plane] | None = None,
) -> list[Choice]:
    """List every weight of two axes or more: those that `sparsify` masks, and why not the others.

    Parameters
    ----------
    model : Module
    pattern : Pattern or str, or mapping from str to them
        One for all, or one by names or wildcards of layers or parameters, the first that fits; ``"dense"``
        in place of a pattern, and no name that fits, leave a weight dense. `masksolve.allocate` finds them.
    layers : sequence of str, optional
        Names or shell-style wildcards (``"encoder.*.dense"``) of layers or parameters to prune, ends
        included, and embeddings, adapters and routers if they are named without a wildcard; one that names
        nothing, or what does not fit the pattern, is an error. By default, every weight that a
        layer multiplies by and that fits the pattern.
    skip : sequence of str
        Names or wildcards of those to leave dense.
    dense_ends : bool
        Leave dense what comes before the first and after the last block of the model, such as
        embeddings of patches and heads; in a model without blocks, the first and the last layer.
        They are small and sensitive.
    planes : mapping from str to Plane, optional
        How parameters of layers that masksolve does not know are multiplied, by their names in
        ``model.named_parameters()`` or wildcards. It goes before what is known.

    Returns
    -------
    list of Choice

    Raises
    ------
    TypeError, ValueError
        If a name matches nothing, a weight asked for cannot be pruned, or nothing is left to prune.
    """
    patterns = LayerPatterns.of(pattern)
    found = _find(model, patterns, planes or {})
    patterns.check_names([each.names for each in found])
    ends = _ends(model, found) if dense_ends and layers is None else {}
    return _choose(found, patterns, layers, skip, ends)


def known_weights(model: nn.Module) -> Iterator[Choice]:
    """Every weight of which it is known how its layer multiplies by it, whatever a pattern asks for."""
    for path, layer, parameter in matrices_of(model):
        kind = kind_of(layer, parameter, path)
        if kind.plane is not None and not kind.reason:
            name = path if parameter == "weight" else f"{path}.{parameter}".lstrip(".")
            yield Choice(name, layer, "", parameter, kind.plane)


def _choose(
    found: list[_Found],
    patterns: LayerPatterns,
    layers: Sequence[str] | None,
    skip: Sequence[str],
    ends: Mapping[str, str],
) -> list[Choice]:
    _check_names("layers", layers or (), found)
    _check_names("skip", skip, found)
    choices = []
    for each in found:
        if layers is not None and not each.matches(layers):
            reason = "is not among layers="
        elif each.matches(skip):
            reason = "is named in skip="
        elif each.pattern is None:
            reason = each.dense
        elif layers is not None and each.hard and (each.named(layers) or not each.soft):
            to = each.pattern or patterns
            raise ValueError(f"layers: '{each.name}' cannot be pruned to '{to}': it {each.hard}")
        else:
            # A wildcard over a whole encoder does not ask for the embeddings, adapters and routers in it.
            reason = each.hard if each.named(layers or ()) else each.dense or ends.get(each.name, "")
        own = None if reason else each.pattern
        choices.append(Choice(each.name, each.layer, reason, each.parameter, each.plane, own))
    if all(choice.skipped for choice in choices):
        listed = "; ".join(f"'{choice.name}' {choice.skipped}" for choice in choices[:5])
        remedy = "; dense_ends=False prunes the first and the last layer, too" if ends else ""
        raise ValueError(
            f"model has no layer to prune to '{patterns}': {listed or 'it has no Linear or Conv'}{remedy}"
        )
    return choices


def _find(model: nn.Module, patterns: LayerPatterns, planes: Mapping[str, Plane]) -> list[_Found]:
    shared, adapters, routers = _shared(model), adapters_of(model), routers_of(model)
    found, used = [], set()
    for path, layer, parameter in matrices_of(model):
        full = f"{path}.{parameter}".lstrip(".")
        kind = kind_of(layer, parameter, path)
        plane, soft = kind.plane, kind.reason
        declared = [name for name in planes if fnmatchcase(full, name)]
        used.update(declared)
        if declared:
            plane, soft = planes[declared[0]], ""
        if any(path == each or path.startswith(f"{each}.") for each in adapters):
            soft = soft or "is an adapter, which is added to a weight and not one of its own"
        if path in routers:
            soft = soft or "is a router, which chooses between few experts"
        tied = shared.get(full, "")
        own = patterns.of_weight((path, full))
        if isinstance(own, str):
            unfit, pattern = own, None
        else:
            unfit, pattern = soft if plane is None else _misfit(layer, parameter, plane, own), own
        hard, dense = unfit or tied, tied or soft or unfit
        name = path if parameter == "weight" else full
        found.append(_Found(name, path, layer, parameter, plane or KERNEL, hard, soft, dense, pattern))
    if unused := [name for name in planes if name not in used]:
        raise ValueError(
            f"planes: {unused[0]!r} matches no parameter of two axes or more; there are "
            f"{[f'{each.path}.{each.parameter}'.lstrip('.') for each in found][:8]}"
        )
    return found


def misfit(layer: nn.Module, pattern: ms.Pattern) -> str:
    """Why a layer's weight cannot follow ``pattern``; empty if it can."""
    plane = kind_of(layer, "weight", "").plane
    return "has no plane that is known" if plane is None else _misfit(layer, "weight", plane, pattern)


def _misfit(layer: nn.Module, parameter: str, plane: Plane, pattern: ms.Pattern) -> str:
    if parametrize.is_parametrized(layer, parameter):
        return "has a parametrised weight already"
    weight = cast(nn.Parameter, getattr(layer, parameter))
    if is_lazy(weight):
        return "has no values yet: run the model on one batch first"
    if not weight.is_floating_point():
        return f"holds {str(weight.dtype).removeprefix('torch.')}, not floating-point numbers"
    outputs, inputs = plane.shape(weight.shape)[-2:]
    sides = {-2: ("outputs", outputs, plane.rows), -1: ("inputs", inputs, plane.columns)}
    for axis, m in pattern.tile_lengths.items():
        side, length, axes = sides[axis]
        crossing = plane.parts > 1 and 0 in cast(tuple[int, ...], axes)
        if length % m and (pattern.remainder == "error" or crossing):
            return f"has {length} {side}{' in a group' * crossing}, which {m} does not divide"
        if pattern.pair and pattern.remainder == "pad" and length % 2:
            return f"has {length} {side}{' in a group' * crossing}, which are no pairs"
    return ""


def _shared(model: nn.Module) -> dict[str, str]:
    """Parameters that another module uses too: a mask would prune both."""
    owners: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        owners.setdefault(id(parameter), []).append(name)
    reasons = {}
    for names in owners.values():
        for name in names if len(names) > 1 else ():
            other = next((each for each in names if each != name), name)
            reasons[name] = f"shares its weight with '{other}'"
    return reasons


def _ends(model: nn.Module, found: list[_Found]) -> dict[str, str]:
    """Weights outside the model's blocks, in the order in which its modules were made."""
    chains = find_chains(model)
    held = [n for n, each in enumerate(found) if any(chain.holds(each.path) for chain in chains)]
    if not held:
        return _first_and_last(found)
    outside = (*found[: held[0]], *found[held[-1] + 1 :])
    reason = "lies before or after the model's blocks, as embeddings and heads do (dense_ends)"
    return {each.name: reason for each in outside}


def _first_and_last(found: list[_Found]) -> dict[str, str]:
    layers = [each.name for each in found if not each.soft]
    return dict.fromkeys([*layers[:1], *layers[-1:]], "is the first or the last layer")


def _check_names(argument: str, patterns: Sequence[str], found: list[_Found]) -> None:
    if isinstance(patterns, str):
        raise TypeError(f"{argument} must be a sequence of names, got the string {patterns!r}")
    check_names(argument, patterns, [each.names for each in found])
