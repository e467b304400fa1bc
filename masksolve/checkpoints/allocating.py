"""Which tensor of a checkpoint keeps how many of every m weights, for one total."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..budgets.allocation import Allocation, allocated, choices_of, levels_of
from ..budgets.knapsack import Levels
from ..budgets.parts import Form
from ..errors import CheckpointError, MaskSolveError
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
    steps = [(step, step.treatment) for step in plan.steps if isinstance(step.treatment, Treatment)]
    total, done = sum(step.entry.nbytes for step, _ in steps), 0
    found: dict[str, Levels] = {}
    shapes = []
    for step, treatment in steps:
        name = step.entry.name
        if name in found:
            raise CheckpointError(f"tensor '{name}' must be in one file of '{plan.checkpoint.path}' only")
        found[name] = _levels(plan, step, treatment, chosen, how)
        shapes.append(tuple(step.entry.shape[axis] for axis in treatment.order))
        done += step.entry.nbytes
        if progress is not None:
            progress(name, done, total)
    form = Form(tuple(shapes), tuple(found))
    return allocated(form, pattern, chosen, [[levels] for levels in found.values()], sparsity=sparsity)


def recipe_text(recipe: Mapping[str, str]) -> str:
    """Write patterns by name as the TOML file that ``masksolve prune --recipe`` reads.

    Examples
    --------
    >>> print(recipe_text({"up.weight": "4:8-T", "down.weight": "dense"}))
    [patterns]
    "up.weight" = "4:8-T"
    "down.weight" = "dense"
    <BLANKLINE>
    """
    lines = [
        f"{json.dumps(name, ensure_ascii=False)} = {json.dumps(text)}\n" for name, text in recipe.items()
    ]
    return "".join(["[patterns]\n", *lines])


def _levels(
    plan: Plan, step: Step, treatment: Treatment, choices: tuple[int, ...], how: dict[str, Any]
) -> Levels:
    """Add up what the parts of a tensor keep at every n."""
    path, entry = plan.checkpoint.weights[step.file].path, step.entry
    found = []
    for first, count, shape, order, pattern in parts(entry, treatment):
        assert pattern is not None
        bits = matrices(read(path, entry, first, count), entry, shape, order)
        weights = weights_of(in_order(bits, entry), entry.dtype)
        try:
            found.append(levels_of(weights, pattern, choices, how))
        except (ValueError, TypeError, MaskSolveError) as error:
            raise ValueError(f"tensor '{entry.name}': {error}") from error
    return Levels(*(np.sum(column, axis=0) for column in zip(*found, strict=True)))
