"""What pruning did to a model, layer by layer."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from ..permuting.report import PermuteReport

_NAMED = 6
"""Layers that are named for one reason why they stayed as they were."""


@dataclass(frozen=True)
class PrunedLayer:
    """One row of a report.

    Attributes
    ----------
    name : str
    shape : tuple of int
        Of the weight.
    kept : float
        Share of the weight's entries that the mask keeps.
    violations : int
        Entries that were not zero before and that the mask drops.
    revived : int
        Entries that the mask keeps and that were zero before.
    error_before, error_after : float or None
        Squared output error relative to the squared outputs: of the weights under the mask as they
        were, and of the weights that the layer has now. None without calibration data.
    exchanged : int
        Entries that exchanges after ADMM brought into the mask.
    unseen : int
        Groups, such as experts, that no sample reached: their masks are those of the magnitudes, and their
        kept weights as they were.
    absorbed : str
        What took up the mean output error: ``"bias"``, the name of a batch normalisation, or nothing.
    seconds : float
    """

    name: str
    shape: tuple[int, ...]
    kept: float
    violations: int
    revived: int
    error_before: float | None
    error_after: float | None
    exchanged: int
    unseen: int
    absorbed: str
    seconds: float


@dataclass(frozen=True)
class AdaPruneReport:
    """What `adaprune` or `convert` did.

    Attributes
    ----------
    title : str
    layers : tuple of PrunedLayer
        In the order of execution, or of the model's modules without calibration data.
    skipped : dict
        Names of all other weights of two axes or more, and why they stayed as they were.
    masks : dict
        For each pruned layer the mask, boolean, shaped like the weight; True = kept.
    permuted : PermuteReport or None
        What ``permute=True`` reordered before.
    """

    title: str
    layers: tuple[PrunedLayer, ...]
    skipped: dict[str, str] = field(repr=False)
    masks: dict[str, torch.Tensor] = field(repr=False)
    permuted: PermuteReport | None = field(default=None, repr=False)

    @property
    def error_before(self) -> float | None:
        """Mean over the layers; None without calibration data."""
        return _mean([layer.error_before for layer in self.layers])

    @property
    def error_after(self) -> float | None:
        """Mean over the layers; None without calibration data."""
        return _mean([layer.error_after for layer in self.layers])

    def __str__(self) -> str:
        width = max(len("layer"), *(len(layer.name) for layer in self.layers))
        head = (
            f"{'layer':<{width}}  {'shape':>16}    kept  violations  revived  masked only  error now  seconds"
        )
        lines = [self.title, head]
        for layer in self.layers:
            shape = "x".join(map(str, layer.shape))
            lines.append(
                f"{layer.name:<{width}}  {shape:>16}  {layer.kept:6.1%}  {layer.violations:>10}  "
                f"{layer.revived:>7}  {_share(layer.error_before):>11}  {_share(layer.error_after):>9}  "
                f"{layer.seconds:7.2f}"
                + (f"  mean to {layer.absorbed}" if layer.absorbed else "")
                + (f"  {layer.exchanged} exchanged" if layer.exchanged else "")
                + (f"  {layer.unseen} without samples" if layer.unseen else "")
            )
        total = sum(layer.seconds for layer in self.layers)
        lines.append(
            f"{'mean error, total time':<{width + 46}}{_share(self.error_before):>13}  "
            f"{_share(self.error_after):>9}  {total:7.2f}"
        )
        if self.permuted is not None:
            lines.insert(1, f"channels reordered: {str(self.permuted).splitlines()[0]}")
        return "\n".join(lines + self._skipped(width))

    def _skipped(self, width: int) -> list[str]:
        """Say what stayed as it was; of many for one reason, the first and their number."""
        names: dict[str, list[str]] = {}
        for name, reason in self.skipped.items():
            names.setdefault(reason, []).append(name)
        lines = []
        for reason, each in names.items():
            more = f" (and {len(each) - _NAMED} more)" if len(each) > _NAMED else ""
            lines += [f"{name:<{width}}  stays as it was: it {reason}" for name in each[:_NAMED]]
            lines[-1] += more
        return lines


def _mean(errors: list[float | None]) -> float | None:
    known = [error for error in errors if error is not None]
    return sum(known) / len(known) if known else None


def _share(error: float | None) -> str:
    return "-" if error is None else f"{error:.4%}"
