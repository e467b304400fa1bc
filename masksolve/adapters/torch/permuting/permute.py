"""`permute`: reorder a model's channels so that N:M masks keep more, and its outputs stay what they were."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn

import masksolve as ms

from ....checks import integer, keywords_of, known_options, number
from ....pruning.permutation.reading import check_pattern
from ....pruning.projection import layer_pattern
from ....types import Float64Array
from ...patterns import refuse_names
from ..layers import choose_weights
from .apply import Result, apply, orders_of, outputs_of, tolerance_for
from .atoms import Ids
from .dimensions import Dimension, dimensions
from .following import follow
from .graph import Graph
from .report import PermuteReport, Reordered


def permute(
    model: nn.Module,
    example_inputs: Any,
    pattern: ms.Pattern | str,
    *,
    scores: Mapping[str, torch.Tensor] | None = None,
    layers: Sequence[str] | None = None,
    skip: Sequence[str] = (),
    dense_ends: bool = True,
    passes: int = 2,
    tolerance: float | None = None,
    unsaved_buffers: bool = False,
    workers: int = 1,
    seed: int = 0,
    progress: Callable[[int, int], object] | None = None,
    **options: Any,
) -> PermuteReport:
    """Reorder a model's channels, in place, so that N:M masks of its layers keep more.

    The model is exported by ``torch.export``, and its channels are followed through the graph: hidden
    dimensions of MLPs, channels between convolutions, dimensions inside attention heads, and the residual
    stream with everything that reads or writes it. Each such dimension is searched by
    `masksolve.permutation.search`, and its order goes to all weights, biases, norms and buffers on it. The
    model is run on the example before and after; a dimension that changes its outputs is put back.

    Parameters
    ----------
    model : Module
        Reordered in place, parameters and saved buffers. An optimizer's state is not: make it afterwards.
    example_inputs : Tensor, tuple or mapping
        One batch, as the model is called with it: a tensor, positional or keyword arguments. A model that
        returns a cache of keys and values holds its heads by it: pass ``use_cache=False``.
    pattern : Pattern or str
        Such as ``"2:4"`` or ``"4:8-T"``; one n:m, without pairs.
    scores : mapping from layer name to Tensor of the weight's shape
        What weights are worth, for instance by `masksolve.saliency.wanda`; by default their magnitudes. Only
        weights that are chosen count. One that is not its layer's ``weight`` goes by its own full name.
    layers, skip, dense_ends
        Which weights will be pruned, as for `sparsify`.
    passes : int
        How often to go through all dimensions: an order along one axis of a layer changes what is best
        along the other, for transposable patterns.
    tolerance : float
        Largest change of an output relative to the largest output, by default 1e-5 for float32 (more for
        narrower types, less for float64).
    unsaved_buffers : bool
        Whether buffers that are not saved with the model may be reordered too. With rotary embeddings this
        frees the pairs of query and key dimensions, in one order for all heads and layers that share the
        frequencies. A model loaded anew computes the frequencies in their old order: apply
        ``report.orders`` to its buffers, or its outputs are wrong.
    workers, seed, **options
        Of `masksolve.permutation.search`.
    progress : callable
        Called as ``progress(done, total)``, in searches.

    Returns
    -------
    PermuteReport
        ``print`` it.

    Raises
    ------
    TypeError, ValueError
        If an argument is not what it should be, or no layer is chosen.
    RuntimeError
        Of ``torch.export``, if it cannot export the model. The model is then as it was.

    References
    ----------
    Pool, Yu. Channel Permutations for N:M Sparsity. NeurIPS 2021.

    Examples
    --------
    >>> import torch
    >>> _ = torch.manual_seed(0)
    >>> model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 8))
    >>> report = permute(model, torch.randn(2, 8), "2:4", dense_ends=False)
    >>> [each.name for each in report.dimensions], report.objective > report.before
    (['0.weight[0], 0.bias[0], 2.weight[1]'], True)
    """
    known_options("permute", options, keywords_of(ms.permutation.search), beside=keywords_of(permute))
    refuse_names(pattern, "since an order serves all layers that share its channels")
    pattern = layer_pattern(pattern)
    check_pattern(pattern)  # a model in which nothing can move would get no further refusal
    passes = integer("passes", passes, least=1)
    weights = _chosen(model, pattern, scores, layers, skip, dense_ends)
    args, kwargs = _arguments(example_inputs)
    with _evaluating(model):
        found, held = dimensions(_followed(model, args, kwargs, unsaved_buffers))
        expected = outputs_of(model, args, kwargs)
        search = _Search(weights, pattern, {"workers": workers, "seed": seed, **options}, passes, progress)
        given = {name: weight.scores for name, weight in weights.items()}
        before = search.kept()
        results = search.run(found)
        bound = tolerance_for(expected) if tolerance is None else number("tolerance", tolerance, least=0)
        applied, refused, error = apply(
            model,
            results,
            outputs=lambda: outputs_of(model, args, kwargs),
            expected=expected,
            bound=bound,
            gains=lambda chosen: search.reordered(given, chosen).kept() >= before,
        )
    return PermuteReport(
        dimensions=tuple(report for _, report, _ in applied),
        held=tuple(held),
        refused=tuple(dimension.name for dimension in refused),
        before=before,
        objective=search.reordered(given, applied).kept(),
        total=sum(float(each.scores.sum()) for each in weights.values()),
        error=error,
        orders=orders_of(applied),
    )


@dataclass(eq=False)
class _Weight:
    """A layer's scores (..., outputs, inputs), in the order found so far, and which axis is which."""

    scores: Float64Array
    axes: dict[int, int]


@dataclass(eq=False)
class _Search:
    """Searching dimension after dimension."""

    weights: dict[str, _Weight]
    pattern: ms.Pattern
    options: dict[str, Any]
    passes: int
    progress: Callable[[int, int], object] | None

    def kept(self) -> float:
        """Kept scores of all layers in their present order."""
        results = (ms.solve(each.scores, self.pattern, duals=False) for each in self.weights.values())
        return sum(result.objective for result in results)

    def reordered(self, given: dict[str, Float64Array], results: list[Result]) -> _Search:
        """Start over with the scores in the order of some results."""
        orders = orders_of(results)
        weights = {}
        for name, weight in self.weights.items():
            scores = given[name]
            for own, axis in weight.axes.items():
                if (name, own) in orders:
                    scores = np.take(scores, orders[name, own], axis=axis)
            weights[name] = _Weight(scores, weight.axes)
        return replace(self, weights=weights)

    def run(self, found: list[Dimension]) -> list[Result]:
        """Search all dimensions along which layers are pruned; give the orders that gain anything."""
        found = [dimension for dimension in found if self._members(dimension)]
        orders = [np.arange(dimension.channels) for dimension in found]
        reports: list[Reordered | None] = [None] * len(found)
        for turn in range(self.passes):
            for place, dimension in enumerate(found):
                members = self._members(dimension)
                permutation = ms.permutation.search(
                    [(self.weights[name].scores, axis, places) for name, axis, places in members],
                    self.pattern,
                    **self.options,
                )
                for entry, (name, axis, _) in enumerate(members):
                    weight = self.weights[name]
                    weight.scores = np.take(weight.scores, permutation.order[entry], axis=axis)
                orders[place] = orders[place][permutation.units[0]]
                reports[place] = Reordered(
                    dimension.name,
                    dimension.channels,
                    permutation.before,
                    permutation.objective,
                    permutation.ceiling,
                )
                if self.progress is not None:
                    self.progress(turn * len(found) + place + 1, self.passes * len(found))
        return [
            (dimension, report, order)
            for dimension, report, order in zip(found, reports, orders, strict=True)
            if report is not None and (order != np.arange(len(order))).any()
        ]

    def _members(self, dimension: Dimension) -> list[tuple[str, int, Ids]]:
        grouped = self.pattern.axes
        members = [
            (place.parameter, self.weights[place.parameter].axes[place.axis], place.places)
            for place in dimension.places
            if place.parameter in self.weights and place.axis in self.weights[place.parameter].axes
        ]
        return members if any(axis in grouped for _, axis, _ in members) else []


def _chosen(
    model: nn.Module,
    pattern: ms.Pattern,
    scores: Mapping[str, torch.Tensor] | None,
    layers: Sequence[str] | None,
    skip: Sequence[str],
    dense_ends: bool,
) -> dict[str, _Weight]:
    """Scores of the weights that will be pruned, by the parameters' names."""
    weights = {}
    choices = choose_weights(model, pattern, layers=layers, skip=skip, dense_ends=dense_ends)
    for choice in choices:
        if choice.skipped:
            continue
        weight: torch.Tensor = getattr(choice.layer, choice.parameter)
        worth = weight.detach().abs() if scores is None else scores.get(choice.name, weight.detach().abs())
        if tuple(worth.shape) != tuple(weight.shape):
            raise ValueError(
                f"scores['{choice.name}'] must have the weight's shape {tuple(weight.shape)}, "
                f"got {tuple(worth.shape)}"
            )
        sides = (choice.plane.rows, choice.plane.columns)
        axes = [
            range(weight.ndim)[axis]
            for side in sides
            for axis in (side if isinstance(side, tuple) else (side,))
        ]
        if len(axes) == 2:  # several axes taken as one have no order of their own
            matrices = torch.movedim(worth.detach().to("cpu", torch.float64), axes, (-2, -1))
            name = choice.name if choice.parameter != "weight" else f"{choice.name}.weight"
            weights[name.lstrip(".")] = _Weight(matrices.numpy().copy(), {axes[0]: -2, axes[1]: -1})
    return weights


def _arguments(example: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if isinstance(example, Mapping):
        return (), dict(example)
    if isinstance(example, (tuple, list)):
        return tuple(example), {}
    return (example,), {}


def _followed(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], unsaved: bool) -> Graph:
    return follow(model, torch.export.export(model, args, kwargs), unsaved=unsaved)


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes:
            module.training = mode
