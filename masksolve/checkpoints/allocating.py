"""Which tensor of a checkpoint keeps how many of every m weights, for one total."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from ..budgets.allocation import Allocation, allocated, choices_of, levels_of
from ..budgets.dense_tiles import DenseTiles, check_amount, chosen_tiles, solved_both, tile_levels
from ..budgets.knapsack import Levels
from ..budgets.parts import Form
from ..errors import CheckpointError, MaskSolveError
from ..large_tiles import LargeTiles
from ..pattern import Pattern
from ..tiling import tiling_of
from .dense_grid import DenseGrid
from .entries import in_order, read, weights_of
from .plan import Plan, Step
from .selection import Treatment
from .work import matrices, parts

Told = Callable[[str, int, int], object]
"""Called with a tensor's name, and how many bytes of how many are done."""


def allocate_plan(
    plan: Plan,
    *,
    sparsity: float | None = None,
    choices: Sequence[int] | None = None,
    workers: int = 1,
    progress: Told | None = None,
) -> Allocation:
    """Choose the n of every tensor that a plan prunes by its one pattern."""
    pattern = plan.selection.pattern
    assert pattern is not None
    chosen = choices_of(pattern, choices)
    how = {**plan.how, "workers": workers, "score": "magnitude"}
    steps = _pruned(plan)
    total, done = sum(step.entry.nbytes for step, _ in steps), 0
    found: dict[str, Levels] = {}
    shapes = []
    for step, treatment in steps:
        name = step.entry.name
        found[name] = _levels(plan, step, treatment, chosen, how)
        shapes.append(tuple(step.entry.shape[axis] for axis in treatment.order))
        done += step.entry.nbytes
        if progress is not None:
            progress(name, done, total)
    form = Form(tuple(shapes), tuple(found))
    return allocated(form, pattern, chosen, [[levels] for levels in found.values()], sparsity=sparsity)


def dense_plan(
    plan: Plan,
    tile: tuple[int, int],
    *,
    share: float | None = None,
    sparsity: float | None = None,
    workers: int = 1,
    progress: Told | None = None,
) -> DenseTiles:
    """Choose the tiles that stay dense among those of all tensors that a plan prunes by its one pattern."""
    pattern = plan.selection.pattern
    assert pattern is not None
    check_amount(share, sparsity)
    steps = _pruned(plan)
    total, done = sum(step.entry.nbytes for step, _ in steps), 0
    large, levels, shapes = [], [], []
    for step, treatment in steps:
        shape = tuple(step.entry.shape[axis] for axis in treatment.order)
        if len(shape) != 2:
            raise CheckpointError(
                f"tensor '{step.entry.name}' must be a matrix to have dense tiles, got shape {shape}; "
                f"leave it out"
            )
        large.append(LargeTiles.of(f"tensor '{step.entry.name}'", tiling_of(treatment.pattern, shape), tile))
        # No tile is dense here; but with a grid, parts end where tiles do.
        cut = replace(treatment, dense=DenseGrid.of(np.zeros(large[-1].grid, np.bool_), tile))
        levels.append(_tile_levels(plan, step, cut, workers, entries=share is None))
        shapes.append(shape)
        done += step.entry.nbytes
        if progress is not None:
            progress(step.entry.name, done, total)
    form = Form(tuple(shapes), tuple(step.entry.name for step, _ in steps))
    return chosen_tiles(form, pattern, large, levels, share=share, sparsity=sparsity)


def _tile_levels(plan: Plan, step: Step, treatment: Treatment, workers: int, *, entries: bool) -> Levels:
    """Find what every large tile of a tensor costs and keeps, sparse and dense, part by part."""
    assert treatment.dense is not None
    found, axis = [], 0
    for weights, pattern, order in _weights(plan, step, treatment):
        large = LargeTiles.of(step.entry.name, tiling_of(pattern, weights.shape), treatment.dense.tile)
        with _naming(step):
            both = solved_both(weights, pattern, {"score": "magnitude", "workers": workers}, dict(plan.how))
        levels = tile_levels(large, *both, entries=entries)
        found.append([part.reshape(*large.grid, 2) for part in levels])
        axis = order.index(0)
    return Levels(*(np.concatenate(parts, axis=axis).reshape(-1, 2) for parts in zip(*found, strict=True)))


def recipe_text(recipe: Mapping[str, str | Mapping[str, Any]]) -> str:
    """Write patterns by name as the TOML file that ``masksolve prune --recipe`` reads.

    Examples
    --------
    >>> print(recipe_text({"up.weight": "4:8-T", "down.weight": "dense"}))
    [patterns]
    "up.weight" = "4:8-T"
    "down.weight" = "dense"
    <BLANKLINE>
    >>> print(recipe_text({"up.weight": {"pattern": "2:4", "dense": "80", "tile": [128, 128]}}))
    [patterns]
    "up.weight" = {pattern = "2:4", dense = "80", tile = [128, 128]}
    <BLANKLINE>
    """
    lines = [f"{json.dumps(name, ensure_ascii=False)} = {_value(said)}\n" for name, said in recipe.items()]
    return "".join(["[patterns]\n", *lines])


def _value(said: str | Mapping[str, Any]) -> str:
    if isinstance(said, str):
        return json.dumps(said)
    return "{" + ", ".join(f"{key} = {json.dumps(value)}" for key, value in said.items()) + "}"


def _pruned(plan: Plan) -> list[tuple[Step, Treatment]]:
    """List the tensors that a plan prunes, each with a name of its own, by which a recipe can tell it."""
    steps = [(step, step.treatment) for step in plan.steps if isinstance(step.treatment, Treatment)]
    names = Counter(step.entry.name for step, _ in steps)
    for name, count in names.items():
        if count > 1:
            raise CheckpointError(f"tensor '{name}' must be in one file of '{plan.checkpoint.path}' only")
    return steps


def _weights(plan: Plan, step: Step, treatment: Treatment) -> Iterator[tuple[Any, Pattern, tuple[int, ...]]]:
    """Read a tensor's parts: their weights, the pattern, and the order of their axes."""
    path, entry = plan.checkpoint.weights[step.file].path, step.entry
    for first, count, shape, order, pattern in parts(entry, treatment):
        assert pattern is not None
        bits = matrices(read(path, entry, first, count), entry, shape, order)
        yield weights_of(in_order(bits, entry), entry.dtype), pattern, order


@contextmanager
def _naming(step: Step) -> Iterator[None]:
    """Name the tensor in what a solve raises."""
    try:
        yield
    except (ValueError, TypeError, MaskSolveError) as error:
        raise ValueError(f"tensor '{step.entry.name}': {error}") from error


def _levels(
    plan: Plan, step: Step, treatment: Treatment, choices: tuple[int, ...], how: dict[str, Any]
) -> Levels:
    """Add up what the parts of a tensor keep at every n."""
    found = []
    for weights, pattern, _ in _weights(plan, step, treatment):
        with _naming(step):
            found.append(levels_of(weights, pattern, choices, how))
    return Levels(*(np.sum(column, axis=0) for column in zip(*found, strict=True)))
