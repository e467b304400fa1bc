"""Results as Markdown tables."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from examples.post_training.tables import markdown, unique

from .study import METHODS, PERMUTED, Row, in_order


def report(rows: Sequence[Row]) -> str:
    """A table for each text, one of the layers' errors, and one of the times."""
    (whole,) = (row for row in rows if row.pattern == "dense")
    parts = [
        table(rows, f"perplexity, {name} (dense {value:.1f})", lambda row, name=name: row.perplexities[name])
        for name, value in whole.perplexities.items()
    ]
    parts.append(table(rows, "mean relative error of the layers", lambda row: row.error, "{:.4f}"))
    parts.append(table(rows, "seconds of processor time", lambda row: row.processor_seconds, "{:.0f}"))
    return "\n\n".join(parts)


def table(rows: Sequence[Row], title: str, value: object, form: str = "{:.1f}") -> str:
    """Methods by patterns; of several splits the mean and the standard deviation."""
    assert callable(value)
    mine = [row for row in in_order(rows) if row.pattern != "dense"]
    patterns = unique([row.pattern for row in mine])
    by_method = sorted(mine, key=lambda row: [*METHODS, *PERMUTED].index(row.method))
    lines = []
    for method, masks, samples in unique([(row.method, row.masks, row.samples) for row in by_method]):
        cells = []
        for pattern in patterns:
            found = [
                value(r)
                for r in mine
                if (r.method, r.masks, r.samples, r.pattern) == (method, masks, samples, pattern)
            ]
            spread = f" ± {form.format(statistics.stdev(found))}" if len(found) > 1 else ""
            cells.append(form.format(statistics.fmean(found)) + spread if found else "")
        lines.append((f"{method}, {masks} masks, {samples} windows", *cells))
    return markdown((title, *patterns), lines)
