"""Sparse training: N:M masks on a model's weights, fixed or found again as the weights move."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

import masksolve as ms
from masksolve.checks import choice, integer, keywords_of, known_options, number

from ...patterns import LayerPatterns, Patterns
from ...plane import Plane
from ..kinds import matrices_of
from ..layers import choose_weights
from .masked_layer import Saliency
from .parametrization import dense_weight, masking_of
from .schedule import Schedule, pattern_at
from .sparsifier import Sparsifier

_STATIC = {"layers", "skip", "dense_ends", "planes", "saliency", "backend", "workers", "kernels"}
KERNELS = ("dense", "semi_structured")


def sparsify(
    model: nn.Module,
    pattern: Patterns,
    *,
    refresh_every: int | None = None,
    layers: Sequence[str] | None = None,
    skip: Sequence[str] = (),
    dense_ends: bool = True,
    planes: Mapping[str, Plane] | None = None,
    saliency: Saliency | None = None,
    decay: float = 0.0,
    density: Schedule | None = None,
    backward: str | None = None,
    gradients: ms.Pattern | str | None = None,
    backend: str = "auto",
    workers: int = 1,
    warm_start: bool = True,
    kernels: str = "dense",
) -> Sparsifier:
    """Put optimal N:M masks on a model's weights, for training with them.

    Forward and backward passes use ``where(mask, weight, 0)``; the dense weights stay the model's
    Parameters, so an optimizer made before or after goes on.

    Parameters
    ----------
    model : Module
        Changed in place. Wrap it in DistributedDataParallel, or compile it, before or after.
    pattern : Pattern or str, or mapping from str to them
        Such as ``"2:4"`` (along the inputs: sparse forward pass) or ``"2:4-T"`` (both passes); or one by
        name of the layer, ``{"blocks.0.*": "2:4", "*": "4:8-T"}``, as for `choose_weights`.
    refresh_every : int, optional
        *Dynamic* masks: find them again from the dense weights every so many optimizer steps; the
        dense weights receive the gradient of every entry (straight-through). By default masks are
        *static*: found once, and only the entries they keep receive a gradient.
    layers, skip, dense_ends, planes
        Which weights, and how they are multiplied, as for `choose_weights`.
    saliency : callable, optional
        ``saliency(weight, name) -> scores``: what each entry is worth, as a tensor of the weight's
        shape; ``weight`` is the dense Parameter, with its ``grad`` if it has one. By default
        ``weight.abs()``.
    decay : float
        Weight decay of the entries outside a dynamic mask, added to their gradient in each backward
        pass (SR-STE; its authors use 2e-4). Damps entries that flip to and fro.
    density : callable, optional
        Gradual pruning: from the number of steps to the share of weights kept, such as `CubicRamp`;
        masks follow n:m with the least n that reaches it, never below the pattern's. Needs
        ``refresh_every``.
    backward : {"double_pruned", "bidirectional"}, optional
        For one-directional patterns: what the gradients of a layer's inputs are computed with. SLoPe's double
        pruning keeps, of what the mask keeps, the n of m largest along the other axis; Bi-Mask does so in the
        best of 100 random orders of that axis. By default the mask itself, which is N:M in that product
        only if it is transposable. Linear, Conv1d to Conv3d and GPT-2's Conv1D, not sharded.
    gradients : Pattern or str, optional
        Prune the gradients of a layer's outputs to n:m at random, without bias and with the least variance,
        for the product that gives the weight's gradient; groups run along samples and places (MVUE).
        Draws from torch's generator.
    backend, workers
        As for `masksolve.solve`.
    warm_start : bool
        Start each solve at the last prices where it helps (transposable patterns, m above 4), which
        takes 8/m bytes for each weight in host memory.
    kernels : {"dense", "semi_structured"}
        What multiplies by the weights. ``"semi_structured"``: forward and backward passes of Linear layers
        under 2:4-T on torch's kernels for sparse tensor cores, in float16 or bfloat16 on a CUDA device of
        compute capability 8.0 or more; where they cannot run, the products are dense, and ``report()``
        says why.

    Returns
    -------
    Sparsifier

    Raises
    ------
    TypeError, ValueError
        If an argument is not what it should be, the model has a mask already, or a layer cannot be
        pruned. The model is then as it was.

    References
    ----------
    Hubara et al. Accelerated Sparse Neural Training. NeurIPS 2021 (transposable masks, refreshed
    every 40 steps). Zhou et al. Learning N:M Fine-grained Structured Sparse Neural Networks From
    Scratch. ICLR 2021 (SR-STE).
    Of ``backward`` and ``gradients``: Mozaffari et al. SLoPe. arXiv 2405.16325, 2024. Zhang et al.
    Bi-directional Masks for Efficient N:M Sparse Training. ICML 2023. Chmiel et al. Minimum Variance
    Unbiased N:M Sparsity for the Neural Gradients. ICLR 2023.

    Examples
    --------
    >>> import torch
    >>> model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 8))
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> sparsifier = sparsify(model, "2:4-T", refresh_every=2, dense_ends=False)
    >>> for _ in range(4):
    ...     optimizer.zero_grad()
    ...     model(torch.ones(1, 8)).square().sum().backward()
    ...     optimizer.step()
    ...     refreshed = sparsifier.step()
    >>> len(sparsifier.totals), ms.verify(model[0].weight != 0, "2:4-T").ok
    (3, True)
    >>> model = sparsifier.finalize()
    """
    patterns = LayerPatterns.of(pattern)
    _check(refresh_every, decay, density, saliency)
    kernels = choice("kernels", kernels, KERNELS)
    _check_model(model, layers)
    choices = choose_weights(model, pattern, layers=layers, skip=skip, dense_ends=dense_ends, planes=planes)
    for each in choices:
        if each.pattern is not None:
            pattern_at(each.pattern, density, 0)
    return Sparsifier(
        model,
        choices,
        patterns.first if patterns.alone else patterns,
        refresh_every=refresh_every,
        saliency=saliency,
        decay=float(decay),
        density=density,
        warm_start=warm_start,
        kernels=kernels,
        backward=backward,
        gradients=gradients,
        options={"backend": backend, "workers": workers},
    )


def prune_trained_model(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    pattern: Patterns = "2:4",
    **options: Any,
) -> Sparsifier:
    """Prune a trained model once and keep it pruned while it is fine-tuned, as apex ASP does.

    Static masks; besides, the weights outside them are set to zero now and after every step of the
    optimizer, whatever its momentum and weight decay do. There is nothing else to call in the
    training loop; call ``.finalize()`` at its end.

    Parameters
    ----------
    model : Module
    optimizer : Optimizer
        It updates the model's weights.
    pattern : Pattern or str
    **options
        ``layers``, ``skip``, ``dense_ends``, ``planes``, ``saliency``, ``backend``, ``workers`` and
        ``kernels`` of `sparsify`.

    Returns
    -------
    Sparsifier

    Raises
    ------
    TypeError, ValueError
        As `sparsify`, and if ``optimizer`` holds none of the pruned weights.

    Examples
    --------
    >>> import torch
    >>> model = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Linear(8, 8))
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    >>> sparsifier = prune_trained_model(model, optimizer, dense_ends=False)
    >>> [str(choice.skipped) for choice in sparsifier.choices]
    ['', '']
    """
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise TypeError(f"optimizer must be a torch Optimizer, got {type(optimizer).__name__}")
    dynamic = sorted((options.keys() & set(keywords_of(sparsify))) - _STATIC)
    if dynamic:
        raise TypeError(
            f"prune_trained_model makes static masks and knows no {dynamic}; use sparsify for them"
        )
    known_options("prune_trained_model", options, _STATIC)
    sparsifier = sparsify(model, pattern, **options)
    held = {id(each) for group in optimizer.param_groups for each in group["params"]}
    if not any(id(weight) in held for weight in sparsifier.dense_weights.values()):
        sparsifier.remove()
        raise ValueError("optimizer must update the pruned weights, but it holds none of them")
    sparsifier.prune_after(optimizer)
    return sparsifier


def _check(refresh_every: object, decay: object, density: object, saliency: object) -> None:
    if refresh_every is not None:
        integer("refresh_every", refresh_every, least=1)
    number("decay", decay, least=0.0)
    for name, value in (("density", density), ("saliency", saliency)):
        if value is not None and not callable(value):
            raise TypeError(f"{name} must be callable, got {value!r}")
    if refresh_every is None and (decay or density is not None):
        name, value = ("decay", decay) if decay else ("density", density)
        raise ValueError(f"{name}={value!r} works on dynamic masks only; give refresh_every= too")


def _check_model(model: nn.Module, layers: Sequence[str] | None) -> None:
    if not isinstance(model, nn.Module):
        remedy = "; mask takes one weight" if isinstance(model, torch.Tensor) else ""
        raise TypeError(f"model must be a torch Module, got {type(model).__name__}{remedy}")
    for name, module, parameter in matrices_of(model):
        masked = masking_of(module, parameter) is not None
        if layers is None and masked:
            raise ValueError(
                f"model is sparsified already: layer '{name}' has a mask; call finalize() of its Sparsifier "
                f"first, or name other layers by layers="
            )
        weight = dense_weight(module, parameter) if masked else getattr(module, parameter)
        if is_lazy(weight):
            raise ValueError(f"model layer '{name}' has no weight yet; run the model on one batch first")
        if weight.is_meta:
            raise ValueError(
                f"model layer '{name}' is on the meta device and has no values; materialise it first, "
                f"for instance by to_empty(device=...) and load_state_dict"
            )
