"""From one N:M pattern to another, keeping what the old mask kept where that can be done."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from os import PathLike
from typing import Any

import numpy as np
from torch import nn

import masksolve as ms
from masksolve.pruning.least_squares import Solver
from masksolve.pruning.recipe import Method, Recipe, Saliency

from ...patterns import LayerPatterns, Patterns, refuse_names
from ...plane import Plane
from ..blocks import find_chains
from ..layers import Choice, choose_weights
from ..layout import as_matrices
from .calibration import Calibration, Forward
from .prune import Run, prune
from .prune_report import AdaPruneReport
from .rows import weight_of


def convert(
    model: nn.Module,
    from_pattern: ms.Pattern | str,
    to_pattern: Patterns,
    *,
    calibration: Any = None,
    method: Method | None = None,
    saliency: str | Saliency | None = None,
    steps: int | None = None,
    iterations: int | None = None,
    layers: Sequence[str] | None = None,
    skip: Sequence[str] = (),
    planes: Mapping[str, Plane] | None = None,
    blocks: str | Sequence[str] | bool = True,
    damping: float = 0.01,
    bias_correction: bool = False,
    backend: str = "auto",
    solver: Solver = "auto",
    dtype: str | None = None,
    batch_size: int = 100,
    forward: Forward | None = None,
    checkpoint: str | PathLike[str] | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> AdaPruneReport:
    """Move a sparse model from one N:M pattern to another, such as 4:8 to 2:4, or 2:4 to 2:4-T.

    The new mask keeps as many of the old non-zero entries as any mask of the new pattern can, and
    among such masks the one with the largest scores; where that leaves a group short, entries that
    were zero fill it. With calibration data the kept entries are then reconstructed as `adaprune`
    does, to what the sparse model gave; entries that were zero take part.

    Parameters
    ----------
    model : Module
        Sparse by ``from_pattern``: its zeros are the old mask. Changed in place, and only if
        everything goes well.
    from_pattern : Pattern or str
    to_pattern : Pattern or str, or mapping from str to them
        One for all layers, or one by name, as for `choose_weights`.
    calibration : optional
        As for `adaprune`. Without it, masks are found from magnitudes and the kept weights stay as
        they are.
    layers, skip, planes
        As for `choose_weights`. Layers that do not follow ``from_pattern``, such as a dense first
        and last one, stay as they are; naming one in ``layers`` is an error.
    saliency
        As for `adaprune`, except ``"sparsegpt"``, whose sequential choice knows no preference.
    method
        As for `adaprune`. Every projection of ADMM prefers old entries, as above. Without calibration
        data nothing can be reconstructed: ``"none"`` is the default and all that is accepted.
    steps, iterations, blocks, damping, bias_correction, backend, solver, dtype, batch_size, forward, \
    checkpoint, progress
        As for `adaprune`. ``steps``, ``iterations``, ``bias_correction`` and ``checkpoint`` are refused
        without calibration data.

    Returns
    -------
    AdaPruneReport
        ``violations`` counts the non-zero entries of each layer that the new pattern makes drop,
        the least possible number; ``revived`` the kept ones that were zero.

    Raises
    ------
    TypeError, ValueError
        As `adaprune`, and if no layer follows ``from_pattern``.

    References
    ----------
    Hubara et al. NeurIPS 2021, appendix A.1.2 and Table A.2.

    Examples
    --------
    >>> import torch
    >>> model = torch.nn.Sequential(torch.nn.Linear(8, 1, bias=False))
    >>> with torch.no_grad():
    ...     _ = model[0].weight.copy_(torch.tensor([[4., 3., 2., 0., 1., 0., 0., 0.]]))
    >>> report = convert(model, "4:8", "2:4")
    >>> model[0].weight.tolist()
    [[4.0, 3.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0]]
    >>> report.layers[0].violations, report.layers[0].revived
    (1, 1)
    """
    refuse_names(from_pattern, "as from_pattern: convert the layers of each by layers=")
    patterns = LayerPatterns.of(to_pattern)
    old = replace(ms.Pattern.parse(from_pattern), constraint="at_most")  # a kept weight may be zero
    if saliency == "sparsegpt":
        raise ValueError(
            "saliency='sparsegpt' cannot prefer old entries; choose 'obs', 'wanda' or 'magnitude'"
        )
    if calibration is None:
        _refuse_without_data(
            saliency=None if saliency == "magnitude" else saliency,
            method=None if method == "none" else method,
            steps=steps,
            iterations=iterations,
            bias_correction=bias_correction or None,
            checkpoint=checkpoint,
        )
        method = "none"
    recipe = Recipe(
        patterns.first,
        method=method,
        saliency=saliency,
        steps=1000 if steps is None else steps,
        iterations=100 if iterations is None else iterations,
        damping=damping,
        solver=solver,
        backend=backend,
        dtype=dtype,
        keep_old=True,
    )
    choices = choose_weights(model, to_pattern, layers=layers, skip=skip, dense_ends=False, planes=planes)
    data = None
    if calibration is not None:
        data = Calibration(calibration, batch_size=batch_size, forward=forward)
    run = Run(
        title=f"'{from_pattern}' to '{patterns}'",
        chains=find_chains(model, blocks),
        strict=not isinstance(blocks, bool),
        bias_correction=bias_correction,
        checkpoint=checkpoint,
        progress=progress,
    )
    return prune(model, _following(choices, old, named=layers is not None), data, recipe, run)


def _refuse_without_data(**given: object) -> None:
    """Refuse arguments, other than None, that mean nothing without calibration data."""
    for name, value in given.items():
        if value is not None:
            raise ValueError(
                f"{name}={value!r} needs calibration data, but calibration is None; without data masks are "
                f"found from magnitudes and weights stay as they are"
            )


def _following(choices: Sequence[Choice], old: ms.Pattern, *, named: bool) -> list[Choice]:
    """Leave out layers that do not follow the old pattern."""
    strangers = [choice.name for choice in choices if not choice.skipped and not _follows(choice, old)]
    if named and strangers:
        raise ValueError(f"layers: {strangers[:8]} do not follow from_pattern, '{old}'")
    sorted_out = [
        choice._replace(skipped=f"does not follow '{old}'") if choice.name in strangers else choice
        for choice in choices
    ]
    if all(choice.skipped for choice in sorted_out):
        listed = "; ".join(f"'{choice.name}' {choice.skipped}" for choice in sorted_out[:5])
        raise ValueError(f"model has no layer that follows from_pattern, '{old}': {listed}")
    return sorted_out


def _follows(weight: Choice, pattern: ms.Pattern) -> bool:
    kept = as_matrices(weight_of(weight) != 0, weight.plane).cpu().numpy()
    try:
        return ms.verify(np.ascontiguousarray(kept), pattern).ok
    except ValueError:  # its shape cannot
        return False
