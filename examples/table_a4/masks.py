"""Masks of half of the weights, by rule and by solver, on a model in training."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch
from torch import nn

import masksolve as ms
from masksolve.adapters import torch as mt

UNSTRUCTURED = "unstructured"
SEQUENTIAL = " sequential"
PASSES = {
    " double-pruned": {"backward": "double_pruned"},
    " bidirectional": {"backward": "bidirectional"},
    " MVUE": {"gradients": "2:4"},
}
"""Endings of rules whose backward products differ, with the options of `sparsify`."""

ALL_FIT = "8:16-T"
"""Whatever the rule, the layers that this pattern fits are masked."""

_ANY = "16:16 at_most"
"""A pattern that every mask follows."""


class Masks:
    """The masks of a model, and how they went.

    Parameters
    ----------
    model : Module
    rule : str
        A pattern; "unstructured": the larger half of each layer; "n:m sequential": the m - n zeros among
        every m consecutive inputs are consecutive (the paper's Eq. 2d). A pattern may end in " double-pruned"
        (SLoPe), " bidirectional" (Bi-Mask) or " MVUE" (gradients pruned to 2:4 without bias), which change
        its backward products.
    solver : str
        A backend of masksolve; "cover": Algorithm 1 as published, which keeps n of m or fewer; "random":
        the optimal masks of random scores, the same at every refresh. Rules that are no patterns have an
        exact solver only.
    refresh : int or None
        Steps between two refreshes of dynamic masks; None: static ones.

    Attributes
    ----------
    sparsifier : Sparsifier
    retained : list of float
        Sum of |weight| kept, as a share of the whole, whenever masks were made.
    density : list of float
        Share of the entries kept.
    optimal : list of float
        As `retained`, but as a share of what the optimal masks of a pattern would keep; empty for other
        rules.
    backward : float or None
        Share of the entries kept forward that the masks of the backward pass keep, if there are such.
    """

    def __init__(self, model: nn.Module, rule: str, solver: str, refresh: int | None) -> None:
        if not is_pattern(rule) and solver != "exact":
            raise ValueError(f"solver for the rule '{rule}' must be 'exact', got '{solver}'")
        rule, options = with_options(rule)
        self.rule, self.solver = rule, solver
        self.retained: list[float] = []
        self.density: list[float] = []
        self.optimal: list[float] = []
        names = [choice.name for choice in mt.choose_weights(model, ALL_FIT) if not choice.skipped]
        self.sparsifier = mt.sparsify(
            model,
            pattern_of(rule, solver),
            refresh_every=refresh,
            layers=names,
            saliency=_saliency(rule, solver),
            backend="exact" if solver == "random" else solver,
            **options,
        )
        self._record()

    def step(self) -> None:
        """Count an optimizer step; solve again when due."""
        if self.sparsifier.step():
            self._record()

    @property
    def flipped(self) -> list[float]:
        """Share of the masks' entries that changed, at every refresh."""
        return [total.flipped for total in self.sparsifier.totals[1:]]

    @property
    def backward(self) -> float | None:
        """See the class."""
        buffers = dict(self.sparsifier.model.named_buffers())
        kept = sum(int(each.sum()) for name, each in buffers.items() if name.endswith(".backward_mask"))
        return kept / sum(int(mask.sum()) for mask in self.sparsifier.masks.values()) if kept else None

    def hold(self) -> bool:
        """Whether every masked layer's weight, as the model uses it, follows the rule."""
        masks = self.sparsifier.masks
        weights = {name: self.sparsifier.model.get_submodule(name).weight for name in masks}
        return all(
            follows(mask, self.rule, self.solver) and not weights[name][~mask].any()
            for name, mask in masks.items()
        )

    @torch.no_grad()
    def _record(self) -> None:
        dense = self.sparsifier.dense_weights
        masks = self.sparsifier.masks
        kept = _sum_kept(dense, masks)
        self.retained.append(kept / sum(float(weight.abs().sum()) for weight in dense.values()))
        entries = sum(weight.numel() for weight in dense.values())
        self.density.append(sum(int(mask.sum()) for mask in masks.values()) / entries)
        if is_pattern(self.rule):
            best = {name: mt.mask(weight, self.rule, backend="exact") for name, weight in dense.items()}
            self.optimal.append(kept / _sum_kept(dense, best))


def with_options(rule: str) -> tuple[str, dict[str, str]]:
    """Take a rule apart: its pattern, and options of `sparsify`."""
    for ending, options in PASSES.items():
        if rule.endswith(ending):
            return rule.removesuffix(ending), options
    return rule, {}


def is_pattern(rule: str) -> bool:
    """Whether a rule is an N:M pattern."""
    return rule != UNSTRUCTURED and not rule.endswith(SEQUENTIAL)


def pattern_of(rule: str, solver: str) -> ms.Pattern:
    """Pattern that a solver's masks follow."""
    pattern = ms.Pattern.parse(rule if is_pattern(rule) else _ANY)
    return dataclasses.replace(pattern, constraint="at_most") if solver == "cover" else pattern


def follows(mask: torch.Tensor, rule: str, solver: str = "exact") -> bool:
    """Whether a mask (outputs, inputs, ...) keeps the rule, whoever made it."""
    matrices = mt.as_matrices(mask)
    if rule == UNSTRUCTURED:
        return int(mask.sum()) == mask.numel() // 2
    if rule.endswith(SEQUENTIAL):
        pattern = ms.Pattern.parse(rule.removesuffix(SEQUENTIAL))
        zeros = (~matrices).reshape(-1, pattern.m).int()
        borders = zeros.diff(dim=1).abs().sum(dim=1) + zeros[:, 0] + zeros[:, -1]
        return bool(((zeros.sum(dim=1) == pattern.m - pattern.n) & (borders == 2)).all())
    return bool(ms.verify(matrices.numpy(), pattern_of(rule, solver)))


def _saliency(rule: str, solver: str) -> Callable[[torch.Tensor, str], torch.Tensor] | None:
    """Scores for `sparsify`: |weight| unless the solver is random or the rule is no pattern.

    The rule's own mask is then found here. It scores 1 where it keeps and -1 elsewhere, so that it is the
    best mask of a pattern that allows them all.
    """
    if solver == "random":
        return _noise
    if is_pattern(rule):
        return None
    return lambda weight, name: mt.from_matrices(2.0 * _mask(mt.as_matrices(weight.detach()).abs(), rule) - 1)


def _noise(weight: torch.Tensor, name: str) -> torch.Tensor:
    generator = torch.Generator().manual_seed(weight.numel())
    return mt.from_matrices(torch.rand(mt.as_matrices(weight).shape, generator=generator))


def _mask(scores: torch.Tensor, rule: str) -> torch.Tensor:
    if rule == UNSTRUCTURED:
        mask = torch.zeros(scores.numel(), dtype=torch.bool)
        mask[scores.flatten().argsort(descending=True, stable=True)[: scores.numel() // 2]] = True
        return mask.reshape(scores.shape)
    pattern = ms.Pattern.parse(rule.removesuffix(SEQUENTIAL))
    zeros = pattern.m - pattern.n
    first = scores.reshape(-1, pattern.m).unfold(1, zeros, 1).sum(dim=-1).argmin(dim=1, keepdim=True)
    places = torch.arange(pattern.m)
    return ((places < first) | (places >= first + zeros)).reshape(scores.shape)


def _sum_kept(weights: dict[str, nn.Parameter], masks: dict[str, torch.Tensor]) -> float:
    return sum(float(weight[masks[name]].abs().sum()) for name, weight in weights.items())
