"""AdaPrune: pruning without training, layer by layer, from a small calibration set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from os import PathLike
from typing import Any

from torch import nn

import masksolve as ms

from ..layers import choose_layers
from .calibration import Calibration, Forward
from .prune import prune
from .prune_report import AdaPruneReport
from .reconstruct import Saliency, Settings


def adaprune(
    model: nn.Module,
    calibration: Any,
    pattern: ms.Pattern | str,
    *,
    method: str = "least_squares",
    saliency: str | Saliency = "magnitude",
    steps: int = 1000,
    layers: Sequence[str] | None = None,
    skip: Sequence[str] = (),
    dense_ends: bool = True,
    damping: float = 0.01,
    bias_correction: bool = False,
    backend: str = "auto",
    batch_size: int = 100,
    forward: Forward | None = None,
    checkpoint: str | PathLike[str] | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> AdaPruneReport:
    """Prune a trained model to an N:M pattern, and repair its weights from a small calibration set.

    Layer by layer, in the order in which they run: find the mask S, then the weights W' that bring
    ``||W X - (S * W') X||^2`` to its least, where X is what the layer is given by the model as it
    is by then, all earlier layers pruned. No labels and no training are needed, but samples enough:
    weights are fitted to them, and the errors of the report are on them. If they are few, judge the
    model by others.

    Parameters
    ----------
    model : Module
        Changed in place, and only if everything goes well. It runs in evaluation mode, without
        gradients; its modes come back afterwards.
    calibration : Tensor, mapping of Tensors, or iterable of batches
        A tensor of samples, or a mapping of such tensors, is cut into batches of ``batch_size``. An
        iterable is gone through once for every layer and must give the same batches every time; an
        iterator is kept in memory. A batch that is a tensor goes to the model as it is, a mapping
        as keyword arguments, a tuple or list as positional ones.
    pattern : Pattern or str
        Such as ``"2:4"`` or ``"4:8-T"``.
    method : {"least_squares", "adam", "none"}
        Solve each row's least squares exactly (`masksolve.pruning.reconstruction.least_squares`); approach
        them by ``steps`` steps of Adam, the paper's way; or leave the kept weights as they are.
    saliency : {"magnitude", "wanda", "obs", "sparsegpt"} or callable
        What a weight is worth: see `masksolve.pruning.saliency`. ``"sparsegpt"`` finds mask and weights
        together, and with ``method="none"`` its weights are the result. A callable gets the
        weights, (outputs, features) in float64, and a `masksolve.pruning.saliency.Statistics` of the
        features, and returns scores of the same shape; the features of a convolution are the input
        channels at every place of its kernel, the place varying slowest.
    steps : int
        Of Adam.
    layers, skip, dense_ends
        Which layers, as for `choose_layers`.
    damping : float
        Added to the diagonal of the layer's Gram matrix, relative to its mean: see
        `masksolve.pruning.saliency.damped`.
    bias_correction : bool
        Let the bias take up the mean output error, and a convolution without one the running mean
        of the batch normalisation that it feeds: see `absorb_mean`. The reconstruction then only
        minds what is left.
    backend : str
        Of `masksolve.solve`.
    batch_size : int
        Samples in a batch of a tensor.
    forward : callable
        Called as ``forward(model, batch)`` instead of the above, for instance
        ``lambda model, batch: model(batch[0])`` for batches of images and labels.
    checkpoint : path
        A file that is written after every layer; a later call with the same model, data and
        arguments goes on from it. Delete it when it is no longer needed.
    progress : callable
        Called as ``progress(done, total)``, in layers.

    Returns
    -------
    AdaPruneReport
        ``print`` it; ``masks`` holds the masks.

    Raises
    ------
    TypeError, ValueError
        If an argument is not what it should be: calibration data that are empty, not finite, or do
        not go through the model; a layer that they never reach; ``damping=0`` with a singular Gram
        matrix (fewer samples than inputs); a checkpoint of something else. Whatever is raised, the
        model is as it was before.

    References
    ----------
    Hubara, Chmiel, Island, Banner, Naor, Soudry. Accelerated Sparse Neural Training: A Provable
    and Efficient Method to Find N:M Transposable Masks. NeurIPS 2021, section 5 and appendix A.1.

    Examples
    --------
    >>> import torch
    >>> _ = torch.manual_seed(0)
    >>> model = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.ReLU(), torch.nn.Linear(8, 8))
    >>> report = adaprune(model, torch.randn(64, 8), "2:4-T", dense_ends=False)
    >>> [layer.name for layer in report.layers], report.error_after < report.error_before
    (['0', '2'], True)
    >>> ms.verify(model[0].weight.detach().numpy() != 0, "2:4-T").ok
    True
    """
    settings = Settings(
        pattern=ms.Pattern.parse(pattern),
        method=method,
        saliency=saliency,
        steps=steps,
        damping=damping,
        backend=backend,
    )
    choices = choose_layers(model, pattern, layers=layers, skip=skip, dense_ends=dense_ends)
    data = Calibration(calibration, batch_size=batch_size, forward=forward)
    return prune(
        model,
        choices,
        data,
        settings,
        title=f"{method} to '{settings.pattern}' by {_name(saliency)}",
        bias_correction=bias_correction,
        checkpoint=checkpoint,
        progress=progress,
    )


def _name(saliency: object) -> str:
    return saliency if isinstance(saliency, str) else getattr(saliency, "__name__", type(saliency).__name__)
