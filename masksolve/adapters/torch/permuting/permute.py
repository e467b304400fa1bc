"""`permute`: reorder a model's channels so that N:M masks keep more, and its outputs stay what they were."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils import _pytree

import masksolve as ms

from ....checks import integer, number
from ....types import Float64Array
from ..layers import choose_layers
from ..layout import as_matrices, weight_pattern
from .atoms import Ids
from .dimensions import Dimension, Held, dimensions
from .graph import Graph, follow


@dataclass(frozen=True)
class Reordered:
    """A dimension that was reordered.

    Attributes
    ----------
    name : str
        The axes on which its channels lie.
    channels : int
    before, objective, ceiling : float
        Kept sums of the layers along it, as in `masksolve.permutation.Permutation`, when it was last searched.
    """

    name: str
    channels: int
    before: float
    objective: float
    ceiling: float


@dataclass(frozen=True)
class PermuteReport:
    """What `permute` did.

    Attributes
    ----------
    dimensions : tuple of Reordered
        What was reordered.
    held : tuple of Held
        Axes of parameters that cannot move, or not all of whose channels can, and the operation that holds them.
    refused : tuple of str
        Dimensions whose reordering changed the outputs by more than the tolerance, and was undone.
    before, objective, total : float
        Kept scores of all chosen layers, before and after, and the sum of all their scores.
    error : float
        Largest change of an output, relative to the largest output.
    orders : dict
        For every reordered ``(parameter, axis)``, which index to take for every place.
    """

    dimensions: tuple[Reordered, ...]
    held: tuple[Held, ...]
    refused: tuple[str, ...]
    before: float
    objective: float
    total: float
    error: float
    orders: dict[tuple[str, int], Ids]

    def __str__(self) -> str:
        share = [each / self.total if self.total else 0.0 for each in (self.before, self.objective)]
        lines = [f"retained {share[0]:.4f} -> {share[1]:.4f}, outputs changed by {self.error:.1e}"]
        lines += [f"  {each.channels:5} channels: {each.name}" for each in self.dimensions]
        lines += [f"  undone: {name}" for name in self.refused]
        lines += [f"  held: {h.channels} of {h.parameter}[{h.axis}] by {h.reason}" for h in self.held]
        return "\n".join(lines)


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
    workers: int = 1,
    seed: int = 0,
    progress: Callable[[int, int], object] | None = None,
    **options: Any,
) -> PermuteReport:
    """Reorder a model's channels, in place, so that N:M masks of its layers keep more.

    The model is exported by ``torch.export``, and its channels are followed through the graph: hidden
    dimensions of MLPs, channels between convolutions, dimensions inside attention heads, and the residual stream
    with everything that reads or writes it. Each such dimension is searched by
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
        Such as ``"2:4"`` or ``"4:8-T"``.
    scores : mapping from layer name to Tensor of the weight's shape
        What weights are worth, for instance by `masksolve.saliency.wanda`; by default their magnitudes. Only
        layers that are chosen count.
    layers, skip, dense_ends
        Which layers will be pruned, as for `choose_layers`. GPT-2's ``Conv1D`` counts as a layer too, with
        its weight (inputs, outputs) transposed.
    passes : int
        How often to go through all dimensions: an order along one axis of a layer changes what is best
        along the other, for transposable patterns.
    tolerance : float
        Largest change of an output relative to the largest output, by default 1e-5 for float32 (more for
        narrower types, less for float64).
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
    pattern = weight_pattern(pattern)
    passes = integer("passes", passes, least=1)
    weights = _chosen(model, pattern, scores, layers, skip, dense_ends)
    args, kwargs = _arguments(example_inputs)
    with _evaluating(model):
        found, held = dimensions(_followed(model, args, kwargs))
        expected = _outputs(model, args, kwargs)
        search = _Search(weights, pattern, {"workers": workers, "seed": seed, **options}, passes, progress)
        before = search.kept()
        results = search.run(found)
        objective = search.kept()
        bound = _tolerance(expected) if tolerance is None else number("tolerance", tolerance, least=0)
        applied, refused, error = _apply(
            model, results, lambda: _outputs(model, args, kwargs), expected, bound
        )
    if refused:
        search = _Search(_chosen(model, pattern, None, layers, skip, dense_ends), pattern, {}, 1, None)
        objective = search.kept() if scores is None else float("nan")
    return PermuteReport(
        dimensions=tuple(report for _, report, _ in applied),
        held=tuple(held),
        refused=tuple(dimension.name for dimension in refused),
        before=before,
        objective=objective,
        total=sum(float(each.scores.sum()) for each in weights.values()),
        error=error,
        orders=_orders(applied),
    )


@dataclass(eq=False)
class _Weight:
    """A layer's weight: its scores (..., outputs, inputs), in the order found so far, and which axis is which."""

    scores: Float64Array
    axes: dict[int, int]


Result = tuple[Dimension, Reordered, Ids]


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

    def run(self, found: list[Dimension]) -> list[Result]:
        """Search all dimensions along which layers are pruned; the orders found, without those that gain nothing."""
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
        grouped = (-2, -1) if self.pattern.transposable else (self.pattern.axis,)
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
    transposed = {
        name: layer
        for name, layer in model.named_modules()
        if type(layer).__name__ == "Conv1D" and hasattr(layer, "nf") and layers is None and name not in skip
    }
    try:
        names = [
            choice.name
            for choice in choose_layers(model, pattern, layers=layers, skip=skip, dense_ends=dense_ends)
            if not choice.skipped
        ]
    except ValueError:
        if not transposed:
            raise
        names = []
    weights = {}
    for name in [*names, *transposed]:
        weight: torch.Tensor = model.get_submodule(name).weight  # type: ignore[assignment]
        worth = weight.detach().abs() if scores is None else scores.get(name, weight.detach().abs())
        if tuple(worth.shape) != tuple(weight.shape):
            raise ValueError(
                f"scores['{name}'] must have the weight's shape {tuple(weight.shape)}, got {tuple(worth.shape)}"
            )
        turned = name in transposed
        matrix = worth.detach().to("cpu", torch.float64)
        matrix = matrix.T if turned else as_matrices(matrix)
        if pattern.misfit(tuple(matrix.shape)) is None:
            weights[f"{name}.weight"] = _Weight(
                matrix.numpy().copy(), {0: -1, 1: -2} if turned else {0: -2, 1: -1}
            )
    return weights


def _arguments(example: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if isinstance(example, Mapping):
        return (), dict(example)
    if isinstance(example, (tuple, list)):
        return tuple(example), {}
    return (example,), {}


def _followed(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Graph:
    return follow(model, torch.export.export(model, args, kwargs))


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


def _outputs(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[torch.Tensor]:
    leaves = _pytree.tree_leaves(model(*args, **kwargs))
    return [leaf.detach().clone() for leaf in leaves if isinstance(leaf, torch.Tensor)]


def _tolerance(outputs: list[torch.Tensor]) -> float:
    floating = [output.dtype for output in outputs if output.is_floating_point()]
    return max(
        (1e-5 * (torch.finfo(dtype).eps / torch.finfo(torch.float32).eps) for dtype in floating), default=0.0
    )


def _difference(outputs: list[torch.Tensor], expected: list[torch.Tensor]) -> float:
    worst = 0.0
    for one, other in zip(outputs, expected, strict=True):
        if not one.numel():
            continue
        change = float((one.to(torch.float64) - other.to(torch.float64)).abs().max())
        worst = max(worst, change / (float(other.to(torch.float64).abs().max()) or 1.0))
        if change != change:
            return float("inf")
    return worst


def _apply(
    model: nn.Module,
    results: list[Result],
    outputs: Callable[[], list[torch.Tensor]],
    expected: list[torch.Tensor],
    bound: float,
) -> tuple[list[Result], list[Dimension], float]:
    """Apply all orders; if that changes the outputs, apply them one by one and undo those that do."""
    saved = {name: tensor for name, tensor in _tensors(model).items()}
    copies = {name: tensor.detach().clone() for name, tensor in saved.items()}

    def attempt(chosen: list[Result]) -> float:
        _write(saved, copies)
        for (name, axis), order in _orders(chosen).items():
            tensor = saved[name]
            tensor.copy_(tensor.index_select(axis, torch.from_numpy(order).to(tensor.device)))
        return _difference(outputs(), expected)

    try:
        error = attempt(results)
        if error <= bound:
            return results, [], error
        kept: list[Result] = []
        refused: list[Dimension] = []
        error = 0.0
        for result in results:
            now = attempt([*kept, result])
            if now <= bound:
                kept, error = [*kept, result], now
            else:
                refused.append(result[0])
        attempt(kept)
    except BaseException:
        _write(saved, copies)
        raise
    return kept, refused, error


def _write(tensors: dict[str, torch.Tensor], values: dict[str, torch.Tensor]) -> None:
    for name, tensor in tensors.items():
        tensor.copy_(values[name])


def _tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    """All parameters and buffers, each under its first name and under all others."""
    named = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
    return {name: tensor.data for name, tensor in named}


def _orders(results: list[Result]) -> dict[tuple[str, int], Ids]:
    """Which index to take for every place, for every parameter and axis."""
    orders: dict[tuple[str, int], Ids] = {}
    for dimension, _, order in results:
        for place in dimension.places:
            index = orders.setdefault((place.parameter, place.axis), np.arange(place.length))
            index[place.places] = place.places[order]
    return orders
