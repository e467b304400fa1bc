"""The registry: names to backend classes, found lazily, plug-ins included."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import EntryPoint, distributions
from typing import Any, NamedTuple

from ..checks import did_you_mean, keywords_of, known_options
from ..errors import BackendRefusedError, BackendUnavailableError
from ..pattern import Pattern
from ..types import BackendOptions
from .base import Backend
from .elsewhere import ARGUMENTS_ELSEWHERE, BACKENDS_ELSEWHERE

GROUP = "masksolve.backends"

_BUILT_IN = {
    "exact": "masksolve.backends.exact:Exact",
    "greedy": "masksolve.backends.greedy:Greedy",
    "cover": "masksolve.backends.cover:Cover",
    "columns": "masksolve.backends.columns:Columns",
    "enumerate": "masksolve.backends.enumeration:Enumerate",
    "batched": "masksolve.backends.batched.backend:Batched",
    "triton": "masksolve.backends.triton.backend:Triton",
    "entropic": "masksolve.backends.entropic:Entropic",
    "highs": "masksolve.backends.highs:Highs",
    "ortools": "masksolve.backends.ortools:Ortools",
    "networkx": "masksolve.backends.networkx:Networkx",
}

_COMPILED = ("exact", "greedy", "cover", "columns")
"""Backends whose compiled code works on blocks in place."""

_OF_PATTERNS = {
    "transposable": "4:8-T",
    "constraint": "4:8-T at_most",
    "remainder": "4:8-T pad",
    "axis": "2:4 axis=0",
    "dim": "2:4 axis=0",
    "n": "2:4",
    "m": "2:4",
    "density": "2:4",
    "sparsity": "2:4",
    "at_most": "4:8-T at_most",
    "pad": "4:8-T pad",
    "columns": "2:4 x 4:8",
    "pair": "4:8 pair",
    "vector": "64:2:8",
}
"""Arguments of `Pattern` that people pass as options, and a text of a pattern that says the same."""

_ARGUMENTS = (
    "backend",
    "keep",
    "drop",
    "warm_start",
    "workers",
    "time_limit",
    "progress",
    "duals",
    "tiles",
    "out",
    "score",
)
"""Arguments of `masksolve.solve` that a misspelt option may have meant."""

_offered: dict[str, type[Backend]] = {}


class BackendInfo(NamedTuple):
    """What a backend is, and why it cannot run here.

    Attributes
    ----------
    name : str
        What callers write in ``backend=``.
    exact : bool or None
        Whether it claims optimal masks; None if it could not be loaded.
    runs : str
        Patterns, constraints and forced choices that it can run, in words.
    guarantee : str
        What it promises, in words.
    options : mapping
        Its options and their defaults.
    unavailable : str or None
        Why it cannot run here, with the remedy; None if it is installed and ready.
    """

    name: str
    exact: bool | None
    runs: str
    guarantee: str
    options: Mapping[str, Any]
    unavailable: str | None


def backends() -> list[BackendInfo]:
    """Every known backend, built in or plugged in; nothing is solved.

    A plug-in that cannot be loaded is listed with the reason and disturbs no other.

    Examples
    --------
    >>> [info.name for info in backends()][:3]
    ['exact', 'greedy', 'cover']
    """
    return [_describe(name) for name in names()]


def names() -> list[str]:
    """Names of the known backends, without importing them."""
    plugged = {*_offered, *(entry.name for entry in _plug_ins())}
    return [*_BUILT_IN, *sorted(plugged - set(_BUILT_IN))]


def choose(
    name: str, *, away: bool, scores: Any = None, pattern: Pattern | None = None
) -> tuple[type[Backend], str]:
    """Find the class of the backend to run and say why it was chosen; an explicit name never falls back.

    No pattern, size or constraint makes ``auto`` favour another than ``exact``, which refuses nothing, needs
    nothing but NumPy, and takes less time than the heuristics. Arrays on an accelerator stay there.
    Plug-ins run only when they are asked for.

    Parameters
    ----------
    name : str
        ``"auto"``, or the name of a backend.
    away : bool
        Whether the arrays lie on an accelerator.
    scores : array
        The array itself, where it is away.
    pattern : Pattern
        V:N:M has a backend of its own, which copies arrays to the host.

    Raises
    ------
    TypeError
        If ``name`` is not a string.
    ValueError
        If no backend or more than one has this name.
    BackendUnavailableError
        If it could not be loaded, or a package that it needs is missing.
    """
    if not isinstance(name, str):
        raise TypeError(f"backend must be a name, one of {['auto', *names()]}; got {name!r}")
    if name != "auto":
        kind, reason = load(name), "asked for by name"
    elif pattern is not None and pattern.vector is not None:
        kind, reason = _built_in("columns"), "columns is the solver of patterns V:N:M"
    elif away and _suits_triton(scores):
        kind, reason = (
            _built_in("triton"),
            "triton solves torch's tensors on a GPU exactly, where they are and as they lie",
        )
    elif away:
        kind, reason = (
            _built_in("batched"),
            "batched solves arrays on an accelerator exactly, without copying them",
        )
    else:
        kind = _built_in("exact")
        reason = "exact runs every pattern, and its proven optimum takes less time than the heuristics"
    missing = _missing(kind)
    if missing is not None:
        raise BackendUnavailableError(f"backend '{kind.name}' {missing}")
    return kind, reason


def _where_it_belongs(option: str, known: Iterable[str]) -> str:
    """Words that end the message about an unknown option: whose it is, or which one was meant."""
    if option in _OF_PATTERNS:
        return f"; {option} belongs to the pattern, as in {_OF_PATTERNS[option]!r}"
    owners = [name for name in _BUILT_IN if option in defaults(load(name))]
    if owners:
        return f"; it is an option of {', '.join(map(repr, owners))}"
    return did_you_mean(option, [*known, *_ARGUMENTS], ARGUMENTS_ELSEWHERE)


def configure(kind: type[Backend], options: Mapping[str, Any], pattern: Pattern, *, forced: bool) -> Backend:
    """Make a backend with its options, for a pattern with forced choices or none.

    Raises
    ------
    TypeError
        If an option is unknown.
    ValueError
        If an option's value is bad.
    BackendRefusedError
        If it cannot run this problem.
    """
    if options:
        known = defaults(kind)
        known_options(f"backend '{kind.name}'", options, known, lambda name: _where_it_belongs(name, known))
    backend = kind(**options)
    refusal = backend.refuses(pattern, forced=forced)
    if pattern.vector is not None and not kind.chooses_columns:
        refusal = f"does not choose columns, got '{pattern}'; use backend='columns'"
    if refusal is not None:
        raise BackendRefusedError(f"backend '{kind.name}' {refusal}")
    return backend


def check_options(function: Callable[..., Any], backend: str, options: Iterable[str]) -> None:
    """Refuse an option that is neither a function's own nor one of the backend that it hands options on to.

    Raises
    ------
    TypeError
        If there is one.
    """
    if options:
        taken = BackendOptions.__annotations__ if backend == "auto" else defaults(load(backend))
        known = [*keywords_of(function), *taken]
        elsewhere = {**ARGUMENTS_ELSEWHERE, "density": "sparsity"}
        whose = f"{function.__name__} with backend '{backend}'"
        known_options(whose, options, known, lambda name: did_you_mean(name, known, elsewhere))


def is_built_in(kind: type[Backend]) -> bool:
    """Whether a backend is of this package."""
    return kind.name in _BUILT_IN and kind is _built_in(kind.name)


def is_trusted(kind: type[Backend]) -> bool:
    """Whether a backend certifies its own tiles: only the compiled ones of this package do."""
    return kind.name in _COMPILED and is_built_in(kind)


def finishes(kind: type[Backend]) -> bool:
    """Whether the engine finishes the tiles that a backend leaves open.

    It does so for the exact backends of this package, whose solvers calculate in floating point or in
    integers of 64 bits, which scores of very different magnitudes exceed. A plug-in's masks stand.
    """
    return kind.exact and kind.name in _BUILT_IN and issubclass(kind, _built_in(kind.name))


def load(name: str) -> type[Backend]:
    """Load the class of a backend.

    Raises
    ------
    ValueError
        If no backend or more than one has this name.
    BackendUnavailableError
        If it is a plug-in that cannot be loaded.
    """
    if name in _offered:
        return _offered[name]
    claims = [entry for entry in _plug_ins() if entry.name == name]
    claimants = ["masksolve itself"] * (name in _BUILT_IN or name == "auto")
    claimants += [f"{_package(entry)} ({entry.value})" for entry in claims]
    if len(claimants) > 1:
        raise ValueError(f"backend '{name}' is claimed by {' and by '.join(claimants)}; uninstall one")
    if name in _BUILT_IN:
        return _built_in(name)
    if not claims:
        hint = did_you_mean(name, ["auto", *names()], BACKENDS_ELSEWHERE)
        raise ValueError(f"backend must be one of {['auto', *names()]}, got {name!r}{hint}")
    return _plugged(claims[0])


@contextmanager
def offering(kind: type[Backend]) -> Iterator[None]:
    """Let a class that no package registers be asked for by its name, while the context lasts.

    Raises
    ------
    TypeError
        If it is not fit to be a backend.
    """
    fault = _fault(kind, getattr(kind, "name", ""))
    if fault is not None:
        raise TypeError(f"{kind!r} cannot be a backend: {fault}")
    before = dict(_offered)
    _offered[kind.name] = kind
    try:
        yield
    finally:
        _offered.clear()
        _offered.update(before)


def defaults(kind: type[Backend]) -> dict[str, Any]:
    """Collect a backend's options and their default values; MISSING where there is none."""
    if not dataclasses.is_dataclass(kind):
        return {}
    return {
        option.name: option.default
        if option.default_factory is dataclasses.MISSING
        else option.default_factory()
        for option in dataclasses.fields(kind)
        if option.init
    }


@functools.cache
def _built_in(name: str) -> type[Backend]:
    module, _, attribute = _BUILT_IN[name].partition(":")
    kind: type[Backend] = getattr(importlib.import_module(module), attribute)
    return kind


def _suits_triton(scores: Any) -> bool:
    from .triton.backend import Triton

    return Triton.suits(scores)


def _plugged(entry: EntryPoint) -> type[Backend]:
    failed = f"backend '{entry.name}' of {_package(entry)} ({entry.value}) could not be loaded"
    try:
        kind: type[Backend] = entry.load()
        fault = _fault(kind, entry.name)
    except (Exception, SystemExit) as error:  # a plug-in may fail in any way; nobody else shall feel it
        raise BackendUnavailableError(f"{failed}: {error!r}") from error
    if fault is not None:
        raise BackendUnavailableError(f"{failed}: {fault}")
    return kind


def _fault(kind: object, name: str) -> str | None:
    """Say what makes an object unfit to be the backend of this name; None if nothing does."""
    if not (isinstance(kind, type) and issubclass(kind, Backend)):
        return "it is not a subclass of masksolve.backends.base.Backend"
    if inspect.isabstract(kind):
        return f"it does not define {', '.join(sorted(kind.__abstractmethods__))}"
    for attribute, expected in {"name": str, "exact": bool, "guarantee": str, "runs": str}.items():
        if not isinstance(getattr(kind, attribute, None), expected):
            return f"its attribute {attribute} must be a {expected.__name__}"
    if kind.name != name:
        return f"its name is '{kind.name}'"
    bare = [option for option, value in defaults(kind).items() if value is dataclasses.MISSING]
    return f"its option {bare[0]} has no default" if bare else None


def _missing(kind: type[Backend]) -> str | None:
    try:
        return kind.unavailable()
    except Exception as error:
        return f"cannot tell whether it can run: {error!r}"


def _describe(name: str) -> BackendInfo:
    try:
        kind = load(name)
    except (BackendUnavailableError, ValueError) as error:
        return BackendInfo(name, None, "", "", {}, str(error))
    return BackendInfo(name, kind.exact, kind.runs, kind.guarantee, defaults(kind), _missing(kind))


def _package(entry: EntryPoint) -> str:
    return "a package" if entry.dist is None else f"package '{entry.dist.name}'"


def _plug_ins() -> tuple[EntryPoint, ...]:
    return _scan(tuple(sys.path))


@functools.lru_cache(maxsize=1)
def _scan(_: tuple[str, ...]) -> tuple[EntryPoint, ...]:
    """Read the metadata of every installed package: milliseconds, so once for a ``sys.path``.

    The first copy of a package on the path counts, as for imports. One whose metadata cannot be read
    is passed over; `importlib.metadata.entry_points` would fail for all of them.
    """
    found: dict[str, tuple[EntryPoint, ...]] = {}
    for package in distributions():
        try:
            entries = tuple(package.entry_points.select(group=GROUP))
            if entries:
                found.setdefault(package.name, entries)
        except Exception:
            continue
    return tuple(entry for entries in found.values() for entry in entries)
