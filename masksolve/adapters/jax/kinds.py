"""Which leaves of a tree of parameters are matrices, in which plane, and why the others are left alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

import masksolve as ms

from ..patterns import LayerPatterns, Patterns
from ..plane import Plane

Where = Callable[[str, Any], bool]
"""Whether to mask a leaf, from its path such as ``"params/Dense_0/kernel"`` and the leaf."""

LAST_TWO = Plane(rows=-2, columns=-1)
"""Of a Dense kernel (inputs, outputs) and a convolution's (*kernel, inputs, outputs)."""

_INWARD = Plane(rows=0, columns=(1, 2))
_OUTWARD = Plane(rows=(0, 1), columns=2)


class Choice(NamedTuple):
    """A leaf of two axes or more, and whether it is masked.

    Attributes
    ----------
    path : str
        Keys of the leaf joined by slashes, such as ``"params/Dense_0/kernel"``.
    shape : tuple of int
    plane : Plane or None
        Which of its axes are inputs (rows) and outputs (columns); None if that is not known.
    skipped : str
        Why it is left alone; empty if it is masked.
    pattern : Pattern or None
        What it is masked to; None if it is left alone.
    """

    path: str
    shape: tuple[int, ...]
    plane: Plane | None
    skipped: str
    pattern: ms.Pattern | None = None


def choose(
    params: Any,
    pattern: Patterns,
    *,
    where: Where | None = None,
    planes: Mapping[str, Plane] | None = None,
) -> list[Choice]:
    """List every leaf of two axes or more: those that `sparsify` masks, and why not the others.

    Parameters
    ----------
    params : pytree of arrays
    pattern : Pattern or str, or mapping from str to them
    where, planes
        As for `mask_tree`.

    Returns
    -------
    list of Choice

    Raises
    ------
    TypeError, ValueError
        If ``pattern`` is not what it should be, or a path in ``pattern`` or ``planes`` fits no leaf.

    Examples
    --------
    >>> params = {"attention": {"query": {"kernel": jnp.ones((8, 2, 4))}}, "embedding": jnp.ones((16, 8))}
    >>> [(choice.path, choice.skipped) for choice in choose(params, "2:4 axis=-2")]
    [('attention/query/kernel', ''), ('embedding', 'is an embedding, which is looked up and not multiplied')]
    """
    patterns = LayerPatterns.of(pattern, any_axis=True)
    listed = [choice for choice, _ in found(params, where, planes)]
    patterns.check_names([(choice.path,) for choice in listed])
    choices = []
    for choice in listed:
        reason = choice.skipped
        if not reason and choice.plane is None:
            reason = AMBIGUOUS
        own = patterns.of_weight((choice.path,))
        if not reason and isinstance(own, str):
            reason = own
        elif not reason and choice.plane is not None and isinstance(own, ms.Pattern):
            misfit = own.misfit(choice.plane.shape(choice.shape))
            reason = "" if misfit is None else str(misfit)
        chosen = own if isinstance(own, ms.Pattern) and not reason else None
        choices.append(choice._replace(skipped=reason, pattern=chosen))
    return choices


AMBIGUOUS = (
    "has three axes, which may be a convolution's (places, inputs, outputs) or several inputs or outputs: "
    "planes= says which"
)


def found(params: Any, where: Where | None, planes: Mapping[str, Plane] | None) -> list[tuple[Choice, Any]]:
    """List the leaves of two axes or more with what is known of each, whatever the pattern."""
    leaves = [(path_of(keys), leaf) for keys, leaf in jax.tree.flatten_with_path(params)[0]]
    paths = {path for path, _ in leaves}
    unused = [each for each in planes or () if not any(fnmatchcase(path, each) for path in paths)]
    if unused:
        raise ValueError(f"planes: {unused[0]!r} matches no leaf of params; there are {sorted(paths)[:8]}")
    choices = []
    for path, leaf in leaves:
        if jnp.ndim(leaf) < 2 and not (where is not None and where(path, leaf)):
            continue
        declared = [plane for each, plane in (planes or {}).items() if fnmatchcase(path, each)]
        plane = declared[0] if declared else _plane(path, leaf, paths)
        if where is not None:
            reason = "" if where(path, leaf) else "is not chosen by where="
        else:
            reason = "" if declared else _reason(path, leaf)
        choices.append((Choice(path, jnp.shape(leaf), plane, reason), leaf))
    return choices


def path_of(keys: Any) -> str:
    """Join the keys of a leaf; the ``value`` of a variable of Flax's nnx is no part of its name."""
    path = jax.tree_util.keystr(keys, simple=True, separator="/")
    return path.removesuffix("/value")


def _plane(path: str, leaf: Any, paths: set[str]) -> Plane | None:
    parent = ("/" + path).split("/")[-2]
    if jnp.ndim(leaf) != 3 or parent.lower().startswith("conv"):
        return LAST_TWO
    siblings = {each.rsplit("/", 2)[-2] for each in paths if each.count("/") and _above(each) == _above(path)}
    if "query" in siblings and parent in {"query", "key", "value"}:
        return _INWARD
    return _OUTWARD if "query" in siblings and parent == "out" else None


def _above(path: str) -> str:
    """Path of the module that holds a leaf's layer."""
    return "/".join(path.split("/")[:-2])


def _reason(path: str, leaf: Any) -> str:
    names = path.lower().split("/")
    if not jnp.issubdtype(jnp.result_type(leaf), jnp.floating):
        return f"holds {jnp.result_type(leaf)}, not floating-point numbers"
    if names[-1] in {"bias", "scale"}:
        return f"is a {names[-1]}"
    if "embed" in names[-1]:
        return "is an embedding, which is looked up and not multiplied"
    if any(name.startswith("lora") for name in names):
        return "is an adapter, which is added to a weight and not one of its own"
    return ""
