"""One layer, pruned by a recipe: its scores, its mask, and the weights that make up for the rest.

Arrays of any library in, arrays of that library out. A layer may have groups of channels, each with
inputs of its own, and a convolution's kernel, whose places are features side by side.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..errors import SignedScoresWarning
from . import saliency as scores_of
from .adam import adam
from .admm import iterate
from .exchanges import exchange
from .layer_problem import LayerProblem
from .least_squares import fit, squared_errors
from .projection import best_mask, prefer
from .recipe import Recipe
from .space import Space
from .sparsegpt import sparsegpt
from .statistics import Statistics


@contextmanager
def _signs_are_meant() -> Iterator[None]:
    """Solve without a warning: what is outside of an old mask ranks below zero (`prefer`)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SignedScoresWarning)
        yield


class Pruned(NamedTuple):
    """What became of a layer.

    Attributes
    ----------
    weights : array, shape (groups, outputs, features)
        Dtype of the layer's weights; zero where the mask is False.
    mask : array of bool, same shape
        True = kept.
    shift : array, shape (groups, outputs), or None
        What the mean of each output lost, and its bias may take up.
    error_before, error_after : float or None
        Squared output error, relative to the squared outputs, of the dense weights under the mask
        and of ``weights``. These and the shift are None if nothing is known but the weights.
    exchanged : int
        Entries that exchanges after ADMM brought into the mask.
    """

    weights: Any
    mask: Any
    shift: Any | None = None
    error_before: float | None = None
    error_after: float | None = None
    exchanged: int = 0


def prune_layer(
    weights: Any,
    statistics: Sequence[Statistics] | None,
    recipe: Recipe,
    *,
    inputs: int | None = None,
    shifts: bool = False,
) -> Pruned:
    """Prune a layer.

    Parameters
    ----------
    weights : array of real numbers, shape (groups, outputs, features)
    statistics : sequence of Statistics, or None
        Of each group's features. Without them, and in a group whose statistics have no samples, such as
        an expert that no token is routed to, the mask is that of the magnitudes, and kept weights stay
        as they are.
    recipe : Recipe
    inputs : int, optional
        Features of one place of a kernel, the place varying slowest; by default all of them.
    shifts : bool
        Tells that a bias will take up the mean output error. Then the error that counts is that
        around the mean, and the centred inputs stand for it.

    Returns
    -------
    Pruned
        A row whose reconstruction does not lower its error (by rounding to a narrow dtype) keeps its
        weights as they were.

    Raises
    ------
    TypeError, ValueError
        If something is not what it should be.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> seen = Statistics.empty(8)
    >>> seen.update(rng.standard_normal((50, 8)) @ rng.uniform(-1, 1, (8, 8)))
    >>> pruned = prune_layer(rng.standard_normal((1, 4, 8)), [seen], Recipe("2:4-T"))
    >>> pruned.mask.shape, pruned.error_after < pruned.error_before
    ((1, 4, 8), True)
    """
    space = Space.of("weights", weights, recipe.dtype)
    with space.open():
        rows, xp = space.real("weights", weights), space.xp
        groups = range(rows.shape[0])
        layers = [_Group(space, rows[g, :, :], inputs or rows.shape[2], recipe) for g in groups]
        if statistics is None:
            mask = xp.stack([layer.masked(None) for layer in layers])
            kept = xp.where(mask, space.here("weights", weights), 0)
            return Pruned(kept, mask)
        done = [
            _prune_group(layer, seen, space.like.dtype, shifts)
            for layer, seen in zip(layers, statistics, strict=True)
        ]
        energy = sum(each.energy for each in done) or 1.0
        return Pruned(
            xp.astype(xp.stack([each.weights for each in done]), space.like.dtype),
            xp.stack([each.mask for each in done]),
            xp.stack([each.shift for each in done]),
            sum(each.before for each in done) / energy,
            sum(each.after for each in done) / energy,
            sum(each.exchanged for each in done),
        )


class _Outcome(NamedTuple):
    weights: Any
    mask: Any
    shift: Any
    before: float
    after: float
    energy: float
    exchanged: int


def _prune_group(layer: _Group, seen: Statistics, dtype: Any, shifts: bool) -> _Outcome:
    """Prune a group; weights are rounded to ``dtype``, and rows that this made worse taken back."""
    space, w = layer.space, layer.w
    xp = space.xp
    plain_gram = space.matrix("gram", seen.gram)
    gram = space.matrix("covariance", seen.covariance) if shifts else plain_gram
    found, mask, exchanged = layer.fitted(seen, gram) if seen.count else (w, layer.masked(None), 0)
    plain = xp.where(mask, w, xp.zeros_like(w))
    rounded = xp.astype(xp.astype(found, dtype), space.dtype)
    new, masked = (squared_errors(xp, other - w, gram) for other in (rounded, plain))
    better = new < masked
    weights = xp.where(better[:, None], rounded, plain)
    lost = w - weights
    energy = squared_errors(xp, w, plain_gram)
    before = squared_errors(xp, w - plain, plain_gram) if shifts else masked
    return _Outcome(
        weights,
        mask,
        lost @ space.real("mean", seen.mean),
        max(float(xp.sum(before)), 0.0),
        max(float(xp.sum(xp.where(better, new, masked))), 0.0),
        float(xp.sum(energy)),
        exchanged,
    )


@dataclass(frozen=True)
class _Group:
    """Weights (outputs, features) of one group, in the precision of the recipe."""

    space: Space
    w: Any
    inputs: int
    recipe: Recipe

    def fitted(self, seen: Statistics, gram: Any) -> tuple[Any, Any, int]:
        """Weights and mask as the recipe asks for, and how many entries were exchanged."""
        if self.recipe.method == "admm":
            return self._by_admm(gram)
        return *self._by_saliency(seen, gram), 0

    def _by_admm(self, gram: Any) -> tuple[Any, Any, int]:
        recipe, layer = self.recipe, self._problem(gram)
        kept, start = iterate(layer, self.best, recipe.iterations)
        weights = fit(layer, kept, method=recipe.solver, start=start)
        done = exchange(
            layer,
            kept,
            weights,
            recipe.pattern,
            recipe.exchanges,
            method=recipe.solver,
            inputs=self.inputs,
            held=self.w != 0 if recipe.keep_old else None,
        )
        return layer.unscaled(done.weights), done.mask, done.exchanged

    def _by_saliency(self, seen: Statistics, gram: Any) -> tuple[Any, Any]:
        recipe, xp = self.recipe, self.space.xp
        if recipe.saliency == "sparsegpt":
            weights, mask = self._sparsegpt(gram)
        else:
            mask = self.masked(seen)
            weights = xp.where(mask, self.w, xp.zeros_like(self.w))
        if recipe.method == "none":
            return weights, mask
        layer = self._problem(gram)
        if recipe.method == "adam":
            return layer.unscaled(adam(layer, mask, recipe.steps)), mask
        return layer.unscaled(fit(layer, mask, method=recipe.solver)), mask

    def masked(self, seen: Statistics | None) -> Any:
        """Give the best mask for the scores of the recipe."""
        return self.best(self._scores(seen))

    def best(self, scores: Any) -> Any:
        """Give the best mask for scores (outputs, features), place by place of the kernel."""
        xp, (outputs, features) = self.space.xp, scores.shape
        places = xp.moveaxis(xp.reshape(scores, (outputs, -1, self.inputs)), 1, 0)
        if self.recipe.keep_old:
            old = xp.moveaxis(xp.reshape(self.w != 0, (outputs, -1, self.inputs)), 1, 0)
            places = prefer(xp, places, old, self.recipe.pattern)
        with _signs_are_meant() if self.recipe.keep_old else nullcontext():
            mask = best_mask(places, self.recipe.pattern, backend=self.recipe.backend)
        return xp.reshape(xp.moveaxis(mask, 0, 1), (outputs, features))

    def _problem(self, gram: Any) -> LayerProblem:
        return LayerProblem.read(self.w, gram, self.recipe.damping, self.space.precision)

    def _scores(self, seen: Statistics | None) -> Any:
        recipe = self.recipe
        if seen is None or recipe.saliency == "magnitude":
            return scores_of.magnitude(self.w)
        if callable(recipe.saliency):
            scores = self.space.here("saliency", recipe.saliency(self.w, seen))
            if tuple(scores.shape) != tuple(self.w.shape):
                raise ValueError(
                    f"saliency must give scores of shape {tuple(self.w.shape)}, got {tuple(scores.shape)}"
                )
            return scores
        if recipe.saliency == "wanda":
            return scores_of.wanda(self.w, seen.norm, dtype=self.space.precision)
        return scores_of.obs(self.w, seen.gram, damping=recipe.damping, dtype=self.space.precision)

    def _sparsegpt(self, gram: Any) -> tuple[Any, Any]:
        xp, recipe, (outputs, features) = self.space.xp, self.recipe, self.w.shape
        places = xp.moveaxis(xp.reshape(self.w, (outputs, -1, self.inputs)), 1, 0)
        found = sparsegpt(
            places,
            gram,
            recipe.pattern,
            damping=recipe.damping,
            block=-(-128 // recipe.pattern.m) * recipe.pattern.m,
            backend=recipe.backend,
            dtype=self.space.precision,
        )
        weights, mask = (xp.reshape(xp.moveaxis(each, 0, 1), (outputs, features)) for each in found)
        return weights, mask
