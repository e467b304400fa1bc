"""Reordering the channels of a tree of JAX parameters, in groups that the user names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

import masksolve as ms
from masksolve.checks import keywords_of, known_options

from ..patterns import refuse_names

Group = Sequence[tuple[Any, ...]] | Mapping[str, int]
"""Axes that share one order: ``(path, axis)`` or ``(path, axis, places)``, or a mapping from path to axis."""


@dataclass(frozen=True)
class PermutedTree:
    """Reordered parameters.

    Attributes
    ----------
    params : pytree
        As given, reordered.
    before, objective : float
        Kept magnitudes of all matrices in the groups, before and after.
    total : float
        Sum of all their magnitudes.
    ceilings : tuple of float
        For each group what its matrices together cannot pass under any order of that group alone, given the
        orders of the other groups.
    orders : tuple of ndarray of int
        For each group, which unit takes every unit's places.
    """

    params: Any
    before: float
    objective: float
    total: float
    ceilings: tuple[float, ...]
    orders: tuple[npt.NDArray[np.int64], ...]


def permute(
    params: Any,
    groups: Sequence[Group],
    pattern: ms.Pattern | str,
    *,
    scores: Any = None,
    where: Callable[[str, Any], bool] | None = None,
    passes: int = 2,
    **options: Any,
) -> PermutedTree:
    """Reorder channels so that masks of the parameters keep more.

    There is no graph to read off which axes belong together, so the caller says. Whether the function
    stays the same rests on that being right: compare outputs once.

    Parameters
    ----------
    params : pytree of arrays
    groups : sequence of groups
        Each is a sequence of ``(path, axis)`` with the keys of a leaf joined by slashes, such as
        ``[("params/Dense_0/kernel", -1), ("params/Dense_0/bias", -1), ("params/Dense_1/kernel", -2)]`` for a
        hidden dimension: kernels of Flax are (inputs, outputs). Biases, norms and statistics belong in it.
        A third entry ``places``, of shape (units, k), tells which places along the axis each unit takes.
    pattern : Pattern or str
        Such as ``"2:4-T"`` or ``"2:4 axis=-2"``; leaves are read as they are, as by
        `masksolve.adapters.jax.mask`.
    scores : pytree, optional
        What entries are worth, in the structure of ``params``; by default their magnitudes.
    where : callable, optional
        Called as ``where(path, leaf)``; true for leaves that will be masked. By default every leaf of the
        groups with at least two axes that fits the pattern. The others are reordered along.
    passes : int
        How often to go through all groups.
    **options
        Of `masksolve.permutation.search`.

    Returns
    -------
    PermutedTree

    Raises
    ------
    TypeError, ValueError
        As `masksolve.permutation.search`, or if a path or an axis does not exist.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> kernel = jnp.array([[9., 8., 7., 6., 1., 1., 1., 1.]])
    >>> found = permute({"kernel": kernel}, [[("kernel", -1)]], "2:4")
    >>> found.before, found.objective
    (19.0, 30.0)
    """
    known_options("permute", options, keywords_of(ms.permutation.search), beside=keywords_of(permute))
    refuse_names(pattern, "since an order serves all leaves that share its channels")
    pattern = ms.Pattern.parse(pattern)
    leaves, structure = jax.tree.flatten_with_path(params)
    paths = [jax.tree_util.keystr(keys, simple=True, separator="/") for keys, _ in leaves]
    arrays = dict(zip(paths, (leaf for _, leaf in leaves), strict=True))
    worth = dict(zip(paths, jax.tree.leaves(params if scores is None else scores), strict=True))
    entries = [_entries(group, arrays) for group in groups]
    if not entries:
        raise ValueError("groups must hold at least one group of axes, got none")
    masked = {
        path: np.abs(np.asarray(worth[path], np.float64))
        for group in entries
        for path, _, _ in group
        if _fits(path, arrays[path], pattern, where)
    }
    if not masked:
        raise ValueError(
            f"groups must hold a leaf of two axes or more to be masked to '{pattern}', got none in "
            f"{[path for group in entries for path, _, _ in group][:8]}"
        )
    before = _kept(masked, pattern)
    orders = [np.arange(_units(group, arrays)) for group in entries]
    ceilings = [0.0] * len(entries)
    for _ in range(passes):
        for number, group in enumerate(entries):
            members = [each for each in group if each[0] in masked and each[1] >= -2]
            if not members:
                continue
            found = ms.permutation.search(
                [
                    (masked[path], axis) if places is None else (masked[path], axis, places)
                    for path, axis, places in members
                ],
                pattern,
                **options,
            )
            orders[number] = orders[number][found.units[0]]
            ceilings[number] = found.ceiling
            for path, axis, places in members:
                masked[path] = np.take(
                    masked[path], _index(masked[path].shape[axis], places, found.units[0]), axis
                )
    for order, group in zip(orders, entries, strict=True):
        for path, axis, places in group:
            arrays[path] = jnp.take(arrays[path], _index(arrays[path].shape[axis], places, order), axis=axis)
    return PermutedTree(
        params=jax.tree.unflatten(structure, list(arrays.values())),
        before=before,
        objective=_kept(masked, pattern),
        total=sum(float(each.sum()) for each in masked.values()),
        ceilings=tuple(ceilings),
        orders=tuple(orders),
    )


Entry = tuple[str, int, npt.NDArray[np.int64] | None]


def _entries(group: Group, arrays: dict[str, Any]) -> list[Entry]:
    """Check a group; axes are counted from the end."""
    found: list[Entry] = []
    for entry in group.items() if isinstance(group, Mapping) else group:
        if len(entry) not in (2, 3):
            raise ValueError(f"groups must hold (path, axis) or (path, axis, places), got {entry!r}")
        path, axis = entry[0], entry[1]
        if path not in arrays:
            raise ValueError(f"groups: params has no leaf {path!r}; there are {list(arrays)[:8]}")
        rank = jnp.ndim(arrays[path])
        if not -rank <= axis < rank:
            raise ValueError(f"groups: '{path}' has {rank} axes, got axis {axis}")
        places = np.asarray(entry[2]) if len(entry) > 2 else None
        if places is not None:
            places = places.reshape(len(places), -1)
        found.append((path, axis - rank if axis >= 0 else axis, places))
    if not found:
        raise ValueError("groups must not be empty: every group names the axes that share one order")
    counts = {len(places) if places is not None else arrays[path].shape[axis] for path, axis, places in found}
    if len(counts) != 1:
        raise ValueError(f"groups: the axes of a group must have the same length, got {sorted(counts)}")
    return found


def _units(group: list[Entry], arrays: dict[str, Any]) -> int:
    path, axis, places = group[0]
    return len(places) if places is not None else int(arrays[path].shape[axis])


def _index(
    length: int, places: npt.NDArray[np.int64] | None, order: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    if places is None:
        return order
    index = np.arange(length)
    index[places] = places[order]
    return index


def _fits(path: str, leaf: Any, pattern: ms.Pattern, where: Callable[[str, Any], bool] | None) -> bool:
    if where is not None and not where(path, leaf):
        return False
    return jnp.ndim(leaf) >= 2 and (where is not None or pattern.misfit(tuple(leaf.shape)) is None)


def _kept(masked: dict[str, npt.NDArray[np.float64]], pattern: ms.Pattern) -> float:
    return sum(ms.solve(each, pattern, duals=False).objective for each in masked.values())
