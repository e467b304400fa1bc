"""What a sparse training did: one record a layer and refresh, and a summary to read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from math import fsum
from typing import NamedTuple

_SHOWN = 10


class MaskRecord(NamedTuple):
    """One solve of one layer's mask.

    A list of them is a table: ``pandas.DataFrame(sparsifier.records)``.

    Attributes
    ----------
    refresh : int
        Number of the refresh, 0 for the first masks.
    step : int
        Optimizer steps counted before it.
    layer : str
        Name of the layer; ``"all"`` in `Sparsifier.totals`.
    pattern : str
    entries : int
        Number of weights.
    flipped : float
        Share of them whose mask changed; for the first masks, the share that left the dense weight.
        It falls as training converges.
    scores : float
        Sum of the scores' absolute values.
    retained : float
        Share of ``scores`` that the mask keeps.
    gap : float
        Proven distance to the best mask, relative to the kept sum.
    seconds : float
        Time of the solve.
    """

    refresh: int
    step: int
    layer: str
    pattern: str
    entries: int
    flipped: float
    scores: float
    retained: float
    gap: float
    seconds: float


def totals(records: Sequence[MaskRecord]) -> list[MaskRecord]:
    """One record a refresh: shares over all layers, the largest gap, the sum of seconds."""
    return [_total(list(group)) for _, group in groupby(records, key=lambda record: record.refresh)]


def _total(records: list[MaskRecord]) -> MaskRecord:
    entries = sum(record.entries for record in records)
    scores = fsum(record.scores for record in records)
    kept = fsum(record.retained * record.scores for record in records)
    return records[0]._replace(
        layer="all",
        pattern=", ".join(dict.fromkeys(record.pattern for record in records)),
        entries=entries,
        flipped=fsum(record.flipped * record.entries for record in records) / entries,
        scores=scores,
        retained=kept / scores if scores else 1.0,
        gap=max(record.gap for record in records),
        seconds=fsum(record.seconds for record in records),
    )


class LayerReport(NamedTuple):
    """A weight of two axes or more.

    Attributes
    ----------
    name : str
    shape : tuple of int
    density : float
        Share of its entries that are kept.
    skipped : str
        Why it is dense; empty if it is not.
    note : str
        What else there is to know, such as that sparse kernels do not take its shape.
    """

    name: str
    shape: tuple[int, ...]
    density: float
    skipped: str
    note: str = ""


@dataclass(frozen=True)
class SparsityReport:
    """What `Sparsifier.report` returns; ``print`` it.

    Attributes
    ----------
    title : str
        Pattern, number of steps, and when masks are refreshed.
    layers : tuple of LayerReport
        Every weight of two axes or more, pruned or not, in the order of the model.
    totals : tuple of MaskRecord
        One a refresh.
    """

    title: str
    layers: tuple[LayerReport, ...]
    totals: tuple[MaskRecord, ...]

    def __str__(self) -> str:
        lines = [self.title, "", *self._layer_lines(), ""]
        shown = self.totals if len(self.totals) <= _SHOWN else self.totals[:1] + self.totals[1 - _SHOWN :]
        lines.append(" refresh    step  pattern         flipped  retained      gap  seconds")
        for total in shown:
            lines.append(
                f" {total.refresh:7d} {total.step:7d}  {total.pattern:14s} {total.flipped:7.2%}"
                f"   {total.retained:7.2%}  {total.gap:7.1e}  {total.seconds:7.4f}"
            )
        if len(shown) < len(self.totals):
            lines.append(f" ({len(self.totals) - len(shown)} refreshes after the first are left out)")
        return "\n".join(lines)

    def _layer_lines(self) -> list[str]:
        width = max(len(layer.name) for layer in self.layers)
        lines = []
        for layer in self.layers:
            shape = "x".join(map(str, layer.shape))
            what = f"dense: it {layer.skipped}" if layer.skipped else f"keeps {layer.density:.2%}"
            what += f"; {layer.note}" if layer.note else ""
            lines.append(f" {layer.name:{width}s}  {shape:15s} {what}")
        return lines
