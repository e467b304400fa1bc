"""The registry: names to backend classes, found lazily, plug-ins included."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import sys
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any, NamedTuple

from ..errors import BackendRefusedError, BackendUnavailableError
from ..problem import MaskProblem
from .base import Backend

GROUP = "masksolve.backends"

_BUILT_IN = {
    "exact": "masksolve.backends.exact:Exact",
    "greedy": "masksolve.backends.greedy:Greedy",
    "cover": "masksolve.backends.cover:Cover",
    "enumerate": "masksolve.backends.enumeration:Enumerate",
    "highs": "masksolve.backends.highs:Highs",
    "ortools": "masksolve.backends.ortools:Ortools",
    "networkx": "masksolve.backends.networkx:Networkx",
}


class BackendInfo(NamedTuple):
    """One line of `backends`: what a backend is, and why it cannot run here (or None)."""

    name: str
    exact: bool | None
    guarantee: str
    options: Mapping[str, Any]
    unavailable: str | None


def backends() -> list[BackendInfo]:
    """Every known backend, built in or plugged in; nothing is solved.

    Examples
    --------
    >>> [info.name for info in backends()][:3]
    ['exact', 'greedy', 'cover']
    """
    return [_describe(name) for name in names()]


def names() -> list[str]:
    """Names of the known backends, without importing them."""
    plugged = sorted({entry.name for entry in _plug_ins()} - set(_BUILT_IN))
    return [*_BUILT_IN, *plugged]


def select(name: str, problem: MaskProblem, options: Mapping[str, Any]) -> tuple[Backend, str]:
    """The backend to run and why it was chosen; an explicit name never falls back.

    Raises
    ------
    TypeError
        If ``name`` is not a string or an option is unknown.
    ValueError
        If no backend has this name, or an option's value is bad.
    BackendUnavailableError
        If a package that it needs is missing.
    BackendRefusedError
        If it cannot run this problem.
    """
    if not isinstance(name, str):
        raise TypeError(f"backend must be a name, one of {['auto', *names()]}; got {name!r}")
    reason = "asked for by name"
    if name == "auto":
        name, reason = "exact", "exact runs every pattern and costs less than the heuristics"
    kind = load(name)
    missing = kind.unavailable()
    if missing is not None:
        raise BackendUnavailableError(f"backend '{name}' {missing}")
    known = defaults(kind)
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise TypeError(f"backend '{name}' has no option {unknown[0]!r}; its options are {sorted(known)}")
    backend = kind(**options)
    refusal = backend.refuses(
        problem.pattern, forced=problem.keep is not None or problem.drop is not None
    )
    if refusal is not None:
        raise BackendRefusedError(f"backend '{name}' {refusal}")
    return backend, reason


def load(name: str) -> type[Backend]:
    """The class of a backend."""
    clashing = [entry for entry in _plug_ins() if entry.name == name]
    if len(clashing) + (name in _BUILT_IN) > 1:
        raise ValueError(
            f"backend '{name}' is claimed more than once, by {[entry.value for entry in clashing]}"
            f"{' and by masksolve itself' if name in _BUILT_IN else ''}; uninstall one"
        )
    if name in _BUILT_IN:
        module, _, attribute = _BUILT_IN[name].partition(":")
        kind: type[Backend] = getattr(importlib.import_module(module), attribute)
        return kind
    if not clashing:
        raise ValueError(f"backend must be one of {['auto', *names()]}, got {name!r}")
    try:
        plugged = clashing[0].load()
    except Exception as error:
        raise BackendUnavailableError(f"backend '{name}' could not be loaded: {error!r}") from error
    if not (isinstance(plugged, type) and issubclass(plugged, Backend) and plugged.name == name):
        raise BackendUnavailableError(
            f"backend '{name}' could not be loaded: {clashing[0].value} is not a Backend named '{name}'"
        )
    return plugged


def defaults(kind: type[Backend]) -> dict[str, Any]:
    """A backend's options and their default values."""
    if not dataclasses.is_dataclass(kind):
        return {}
    return {option.name: option.default for option in dataclasses.fields(kind)}


def _describe(name: str) -> BackendInfo:
    try:
        kind = load(name)
    except (ImportError, ValueError) as error:
        return BackendInfo(name, None, "", {}, str(error))
    return BackendInfo(name, kind.exact, kind.guarantee, defaults(kind), kind.unavailable())


def _plug_ins() -> tuple[EntryPoint, ...]:
    return _scan(tuple(sys.path))


@functools.lru_cache(maxsize=1)
def _scan(_: tuple[str, ...]) -> tuple[EntryPoint, ...]:
    """Read the metadata of every installed package: milliseconds, so once for a ``sys.path``."""
    return tuple(entry_points(group=GROUP))
