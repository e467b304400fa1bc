"""Pruning without training: layer by layer, block by block, from a small calibration set."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from os import PathLike
from typing import Any

from torch import nn

from masksolve.checks import boolean
from masksolve.pruning.least_squares import Solver
from masksolve.pruning.recipe import Method, Recipe, Saliency

from ...patterns import LayerPatterns, Patterns
from ...plane import Plane
from ..blocks import find_chains
from ..layers import choose_weights
from .calibration import Calibration, Forward
from .prune import Run, prune
from .prune_report import AdaPruneReport
from .reorder import reorder
from .state import Changes


def adaprune(
    model: nn.Module,
    calibration: Any,
    pattern: Patterns,
    *,
    method: Method | None = None,
    saliency: str | Saliency | None = None,
    steps: int = 1000,
    iterations: int = 100,
    exchanges: int = 0,
    layers: Sequence[str] | None = None,
    skip: Sequence[str] = (),
    dense_ends: bool = True,
    planes: Mapping[str, Plane] | None = None,
    blocks: str | Sequence[str] | bool = True,
    damping: float = 0.01,
    permute: bool = False,
    bias_correction: bool = False,
    backend: str = "auto",
    solver: Solver = "auto",
    dtype: str | None = None,
    batch_size: int = 100,
    forward: Forward | None = None,
    checkpoint: str | PathLike[str] | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> AdaPruneReport:
    """Prune a trained model to an N:M pattern, and repair its weights from a small calibration set.

    Layer by layer, in the order in which they run: find a mask and weights W' on it that bring
    ``||W X - W' X||^2`` to a small value, where X is what the layer is given by the model as it is by
    then, all earlier layers pruned. No labels and no training are needed, but samples enough: weights
    are fitted to them, and the errors of the report are on them. If they are few, judge the model by
    others.

    A model of like blocks, such as a transformer, is walked along block by block: the activations that
    enter one block are kept, and the blocks before it never run again. Memory is that of the model,
    one block's activations, one layer's Gram matrices (of a stack of experts, one for each), and on the
    host the weights as they were, so that an error can take everything back.

    Parameters
    ----------
    model : Module
        Changed in place, and only if everything goes well. It runs in evaluation mode, without
        gradients; its modes come back afterwards.
    calibration : Tensor, mapping of Tensors, or iterable of batches
        A tensor of samples, or a mapping of such tensors, is cut into batches of ``batch_size``. An
        iterable must give the same batches every time; an iterator is kept in memory. A batch that is
        a tensor goes to the model as it is, a mapping as keyword arguments, a tuple or list as
        positional ones. If a mapping has an ``attention_mask`` (samples, tokens), tokens where it is
        0 are padding and count in no layer's statistics.
    pattern : Pattern or str, or mapping from str to them
        One for all layers, such as ``"2:4"`` or ``"4:8-T"``, or one by name as for `choose_weights`,
        ``{"blocks.0.*": "2:4", "*": "4:8-T"}``; ``permute=True`` takes one for all only.
    method : {"admm", "least_squares", "adam", "none"}, optional
        ``"admm"``, the default, finds mask and weights together (`masksolve.reconstruction.admm`). The
        others take the mask that is best for ``saliency`` and then solve each row's least squares
        (`masksolve.reconstruction.least_squares`, AdaPrune's optimum); approach it by ``steps`` steps
        of Adam, the paper's way; or leave the kept weights as they are. If only a saliency is named,
        ``"least_squares"``.
    saliency : {"magnitude", "wanda", "obs", "sparsegpt"} or callable, optional
        What a weight is worth, by default its magnitude: see `masksolve.saliency`. ``"sparsegpt"``
        finds mask and weights together, and with ``method="none"`` its weights are the result. A
        callable gets the weights, a tensor (outputs, features) on the layer's device, and a
        `masksolve.saliency.Statistics` of the features, and returns scores of the same shape; the
        features of a convolution are the input channels at every place of its kernel, the place
        varying slowest.
    steps, iterations : int
        Of Adam; of ADMM, at most.
    exchanges : int
        Rounds of exchanges of single entries after ADMM, at most: see `masksolve.reconstruction.admm`.
    layers, skip, dense_ends, planes
        Which weights, and how they are multiplied, as for `choose_weights`: by default every weight in the
        blocks of the model, or between its first and its last layer, that a layer multiplies by and that
        fits the pattern. Stacks of experts, the projections of an attention, transposed layers and
        convolutions are pruned in the plane of their product. Embeddings are left dense, and weights that
        two modules share; the report names everything that is.
    blocks : bool, str or sequence of str
        True finds ModuleLists and Sequentials of like modules; names say which to take. False prunes
        without them, running the model from its beginning up to every layer, and so does a list of
        blocks that do not each run once, in order, on what the one before it gave (an error if they
        are named).
    damping : float
        Added to the diagonal of the layer's Gram matrix, relative to its mean: see
        `masksolve.saliency.damped`.
    permute : bool
        Before anything else, reorder the model's channels so that masks keep more
        (`masksolve.adapters.torch.permute`, with squared Wanda scores of the dense model). The outputs stay
        what they were; the first batch is what the model is traced and checked on. ``report.permuted``
        tells what was reordered.
    bias_correction : bool
        Let the bias take up the mean output error, and a convolution without one the running mean
        of the batch normalisation that it feeds: see `absorb_mean`. The reconstruction then only
        minds what is left.
    backend : str
        Of `masksolve.solve`.
    solver : {"auto", "cholesky", "pcg"}
        ``method`` of `masksolve.reconstruction.least_squares`.
    dtype : {"float32", "float64"}, optional
        Precision of statistics and reconstructions, which run on the layer's device. By default
        float64 for float64 weights, else float32.
    batch_size : int
        Samples in a batch of a tensor.
    forward : callable
        Called as ``forward(model, batch)`` instead of the above, for instance
        ``lambda model, batch: model(batch[0])`` for batches of images and labels.
    checkpoint : path
        A folder to which every layer is written; a later call with the same model, data and
        arguments goes on from it. Delete it when it is no longer needed. A function among the
        arguments counts by its code and the values that it refers to.
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
        matrix (fewer samples than inputs); a checkpoint of something else, or a function that cannot
        be told apart from others. Whatever is raised, the model is as it was before.

    References
    ----------
    Hubara, Chmiel, Island, Banner, Naor, Soudry. Accelerated Sparse Neural Training: A Provable
    and Efficient Method to Find N:M Transposable Masks. NeurIPS 2021, section 5 and appendix A.1.
    Meng, Behdin, Wang, Mazumder. ALPS: Improved Optimization for Highly Sparse One-Shot Pruning for
    Large Language Models. NeurIPS 2024.

    Examples
    --------
    >>> import masksolve as ms, torch
    >>> _ = torch.manual_seed(0)
    >>> model = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.ReLU(), torch.nn.Linear(8, 8))
    >>> report = adaprune(model, torch.randn(64, 8), "2:4-T", dense_ends=False)
    >>> [layer.name for layer in report.layers], report.error_after < report.error_before
    (['0', '2'], True)
    >>> ms.verify(model[0].weight.detach().numpy() != 0, "2:4-T").ok
    True
    """
    patterns = LayerPatterns.of(pattern)
    recipe = Recipe(
        patterns.first,
        method=method,
        saliency=saliency,
        steps=steps,
        iterations=iterations,
        exchanges=exchanges,
        damping=damping,
        solver=solver,
        backend=backend,
        dtype=dtype,
    )
    choices = choose_weights(model, pattern, layers=layers, skip=skip, dense_ends=dense_ends, planes=planes)
    run = Run(
        title=str(recipe) if patterns.alone else recipe.described(str(patterns)),
        chains=find_chains(model, blocks),
        strict=not isinstance(blocks, bool),
        bias_correction=bias_correction,
        checkpoint=checkpoint,
        progress=progress,
    )
    data = Calibration(calibration, batch_size=batch_size, forward=forward)
    if not boolean("permute", permute):
        return prune(model, choices, data, recipe, run)
    if not patterns.alone:
        raise ValueError(f"permute=True searches orders for one pattern, got pattern={patterns}")
    with Changes() as changes:
        changes.note_all(model)
        permuted = reorder(model, choices, data, recipe, run.chains)
        return replace(prune(model, choices, data, recipe, run), permuted=permuted)
