"""One layer, pruned: its scores, its mask, and the weights that make up for what the mask removes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

import masksolve as ms

from ..layout import as_matrices, from_matrices, weight_pattern

Float64Array = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
Saliency = Callable[[Float64Array, ms.saliency.Statistics], npt.ArrayLike]

METHODS = ("least_squares", "adam", "none")
SALIENCIES = ("magnitude", "wanda", "obs", "sparsegpt")

_LEARNING_RATE = 0.03
"""Of Adam, relative to the root mean square of the kept weights; it falls to 0 as a cosine."""


@dataclass(frozen=True)
class Settings:
    """How layers are pruned; the arguments of `adaprune` of the same names."""

    pattern: ms.Pattern
    method: str = "least_squares"
    saliency: str | Saliency = "magnitude"
    steps: int = 1000
    damping: float = 0.01
    backend: str = "auto"
    keep_old: bool = False

    def __post_init__(self) -> None:
        weight_pattern(self.pattern)
        if self.method not in METHODS:
            raise ValueError(f"method must be one of {METHODS}, got {self.method!r}")
        if self.saliency not in SALIENCIES and not callable(self.saliency):
            raise ValueError(f"saliency must be one of {SALIENCIES} or a callable, got {self.saliency!r}")
        if isinstance(self.steps, bool) or not isinstance(self.steps, int):
            raise TypeError(f"steps must be an integer, got {self.steps!r}")
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1, got {self.steps}")
        if isinstance(self.damping, bool) or not isinstance(self.damping, (int, float)):
            raise TypeError(f"damping must be a number, got {self.damping!r}")
        if not 0 <= self.damping < math.inf:
            raise ValueError(f"damping must be finite and not negative, got {self.damping}")


class Pruned(NamedTuple):
    """What became of a layer.

    Attributes
    ----------
    weight : Tensor
        Shape, dtype and device of the layer's weight.
    mask : Tensor of bool
        Same shape and device; True = kept.
    shift : ndarray of float64, shape (outputs,)
        What the mean of each output lost, and its bias may take up.
    error_before, error_after : float
        Squared output error, relative to the squared outputs, of the dense weights under the mask
        and of ``weight``. The last three are None if nothing is known but the weight.
    """

    weight: torch.Tensor
    mask: torch.Tensor
    shift: Float64Array | None = None
    error_before: float | None = None
    error_after: float | None = None


def rows_of(layer: nn.Module) -> Float64Array:
    """Give a layer's weight as (groups, outputs, features) in float64; features as in `layer_statistics`."""
    weight = layer.weight
    assert isinstance(weight, torch.Tensor)
    matrices = as_matrices(weight.detach().to("cpu", torch.float64))
    outputs_first = matrices.movedim(-2, 0).flatten(1)
    return outputs_first.reshape(getattr(layer, "groups", 1), -1, outputs_first.shape[1]).numpy()


def weight_from(rows: npt.NDArray[Any], layer: nn.Module) -> torch.Tensor:
    """Undo `rows_of`, dtype and device aside."""
    weight = layer.weight
    assert isinstance(weight, torch.Tensor)
    outputs, inputs, *kernel = weight.shape
    flat = torch.from_numpy(np.ascontiguousarray(rows)).reshape(outputs, *kernel, inputs)
    return from_matrices(flat.movedim(0, -2))


def best_mask(
    rows: Float64Array,
    statistics: Sequence[ms.saliency.Statistics] | None,
    inputs: int,
    settings: Settings,
) -> BoolArray:
    """Solve for the mask of (groups, outputs, features), whose features are places of ``inputs`` each."""
    seen: Sequence[ms.saliency.Statistics | None] = statistics or [None] * len(rows)
    scores = np.stack([_scores(w, each, settings) for w, each in zip(rows, seen, strict=True)])
    if settings.keep_old:
        scores = prefer(scores, rows != 0, settings.pattern)
    places = scores.reshape(*scores.shape[:2], -1, inputs).swapaxes(1, 2)
    mask = ms.solve(places, settings.pattern, backend=settings.backend, duals=False).mask
    return np.ascontiguousarray(mask.swapaxes(1, 2)).reshape(scores.shape)


def prefer(scores: npt.NDArray[Any], old: BoolArray, pattern: ms.Pattern) -> Float64Array:
    """Rank every entry of an old mask above all others, whatever the scores.

    A sum of these scores over a tile first counts the old entries it keeps, and only then compares
    scores. So a tile keeps nothing but old entries wherever that can be done, as under ``drop=~old``,
    and elsewhere as many as can be, where ``drop`` would leave no mask at all.
    """
    largest = float(np.abs(scores).max(initial=0.0)) or 1.0
    # The scores of a tile stay below 1/2 in sum; groups that may keep fewer leave out what is below 0.
    return 2.0 * old - 1.0 + scores.astype(np.float64) / (2.0 * largest * pattern.m**2)


def prune_layer(
    layer: nn.Module, statistics: Sequence[ms.saliency.Statistics], settings: Settings, *, shifts: bool
) -> Pruned:
    """Prune a layer; ``shifts`` tells that its bias will take up the mean output error.

    Then the error that counts is that around the mean, and the centred inputs stand for it. A row
    whose reconstruction does not lower its error (by rounding to a narrow dtype) stays as it was.
    """
    rows = rows_of(layer)
    grams = [seen.covariance if shifts else seen.gram for seen in statistics]
    fitted, mask = _fitted(layer, rows, statistics, grams, settings)
    plain = rows * mask
    new, masked = _errors(rows, fitted, grams), _errors(rows, plain, grams)
    best = np.where((new < masked)[..., np.newaxis], fitted, plain)
    plain_grams = [seen.gram for seen in statistics]
    energy = float(_errors(rows, np.zeros_like(rows), plain_grams).sum()) or 1.0
    shift = (rows - best) @ np.stack([seen.mean for seen in statistics])[..., np.newaxis]
    weight = weight_from(best, layer).to(cast(torch.Tensor, layer.weight))
    return Pruned(
        weight=weight,
        mask=weight_from(mask, layer).to(weight.device),
        shift=shift.ravel(),
        error_before=float(_errors(rows, plain, plain_grams).sum()) / energy,
        error_after=float(np.minimum(new, masked).sum()) / energy,
    )


def _fitted(
    layer: nn.Module,
    rows: Float64Array,
    statistics: Sequence[ms.saliency.Statistics],
    grams: Sequence[Float64Array],
    settings: Settings,
) -> tuple[Float64Array, BoolArray]:
    """Weights and mask as ``settings`` ask for, the weights rounded to the layer's dtype."""
    weight = cast(torch.Tensor, layer.weight)
    if settings.saliency == "sparsegpt":
        pairs = [_sparsegpt(w, gram, weight.shape[1], settings) for w, gram in zip(rows, grams, strict=True)]
        weights, mask = np.stack([pair[0] for pair in pairs]), np.stack([pair[1] for pair in pairs])
    else:
        mask = best_mask(rows, statistics, weight.shape[1], settings)
        weights = rows * mask
    if settings.method != "none":
        parts = zip(rows, mask, grams, strict=True)
        weights = np.stack([_fit(w, kept, gram, settings) for w, kept, gram in parts])
    return torch.from_numpy(weights).to(weight.dtype).to(torch.float64).numpy(), mask


def _errors(rows: Float64Array, other: Float64Array, grams: Sequence[Float64Array]) -> Float64Array:
    """Squared error of every output, (groups, outputs)."""
    return np.stack([ms.reconstruction.output_error(*each) for each in zip(rows, other, grams, strict=True)])


def _scores(w: Float64Array, seen: ms.saliency.Statistics | None, settings: Settings) -> npt.NDArray[Any]:
    saliency = settings.saliency
    if saliency == "magnitude":
        return ms.saliency.magnitude(w)
    assert seen is not None, "only magnitudes do without calibration data"
    if callable(saliency):
        scores = np.asarray(saliency(w, seen))
        if scores.shape != w.shape:
            raise ValueError(f"saliency must give scores of shape {w.shape}, got {scores.shape}")
        return scores
    if saliency == "wanda":
        return ms.saliency.wanda(w, seen.norm)
    return ms.saliency.obs(w, seen.gram, damping=settings.damping)


def _sparsegpt(
    w: Float64Array, gram: Float64Array, inputs: int, settings: Settings
) -> tuple[Float64Array, BoolArray]:
    places = w.reshape(len(w), -1, inputs).swapaxes(0, 1)
    block = -(-128 // settings.pattern.m) * settings.pattern.m
    weights, mask = ms.reconstruction.sparsegpt(
        places, gram, settings.pattern, damping=settings.damping, block=block, backend=settings.backend
    )
    return weights.swapaxes(0, 1).reshape(w.shape), mask.swapaxes(0, 1).reshape(w.shape)


def _fit(w: Float64Array, mask: BoolArray, gram: Float64Array, settings: Settings) -> Float64Array:
    if settings.method == "least_squares":
        return ms.reconstruction.least_squares(w, mask, gram, damping=settings.damping)
    return adam(w, mask, ms.saliency.damped(gram, settings.damping), settings.steps)


def adam(w: Float64Array, mask: BoolArray, gram: Float64Array, steps: int) -> Float64Array:
    """Approach the least-squares optimum by Adam, the paper's route.

    The gradient is that over all samples, which the Gram matrix holds, not over a batch of them.
    """
    scale = float(np.diagonal(gram).mean())
    target, kept = torch.tensor(w, dtype=torch.float32), torch.from_numpy(mask)
    normal = torch.tensor(gram / scale, dtype=torch.float32)
    weight = nn.Parameter(target * kept)
    size = float(weight.detach().square().sum().div(max(int(kept.sum()), 1)).sqrt())
    optimizer = torch.optim.Adam([weight], lr=_LEARNING_RATE * size or 1.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        weight.grad = ((weight.detach() - target) @ normal).mul_(kept)
        optimizer.step()
        schedule.step()
    return (weight.detach() * kept).numpy().astype(np.float64)
