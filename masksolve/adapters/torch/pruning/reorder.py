"""Orders of channels by what weights are worth to the layers' outputs, before a model is pruned."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

import masksolve as ms
from masksolve.pruning.recipe import Recipe

from ..blocks import Chain
from ..layers import Choice
from ..permuting.permute import permute
from ..permuting.report import PermuteReport
from .calibration import Calibration, call, moved
from .inputs import Inputs
from .prune import precision_of
from .rows import rows_of, weight_from
from .state import device_of, evaluating, without_cache


def reorder(
    model: nn.Module, choices: Sequence[Choice], data: Calibration, recipe: Recipe, chains: Sequence[Chain]
) -> PermuteReport:
    """Reorder the channels of a model, in place, for the weights that are going to be pruned.

    The dense model is walked along once, as pruning will walk along the pruned one.
    """
    if data.forward is not call:
        raise ValueError(
            "permute=True needs batches that the model takes as they are, since torch.export traces it on "
            "one, but forward= is given; call masksolve.adapters.torch.permute first, and leave permute out"
        )
    weights = [choice for choice in choices if not choice.skipped]
    skip = [choice.name for choice in choices if choice.skipped]
    with evaluating(model), without_cache(model):
        inputs = Inputs(model, data, weights, chains, dtype=precision_of(weights, recipe), strict=False)
        scores = {weight.name: scores_of(weight, inputs.statistics(weight)) for weight in inputs.weights()}
        batch = moved(next(iter(data)), device_of(model))
        return permute(model, batch, recipe.pattern, scores=scores, skip=skip, dense_ends=False)


def scores_of(weight: Choice, statistics: Sequence[ms.saliency.Statistics]) -> torch.Tensor:
    """Give what each entry is worth: the error that its removal costs, with nothing to make up for it."""
    rows = rows_of(weight)
    groups = [ms.saliency.wanda(each, seen.norm) ** 2 for each, seen in zip(rows, statistics, strict=True)]
    return weight_from(torch.stack(groups), weight)
