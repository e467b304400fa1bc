"""Results as Markdown tables."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from . import digit_study, sentence_study

MEASURES = {
    "fitted_error": "mean relative error, calibration sentences",
    "error": "mean relative error, unseen sentences",
    "cosine": "mean cosine to the dense embeddings",
    "rank_correlation": "rank correlation of pairwise similarities",
    "agreement": "agreement of the 10 nearest neighbours",
}


def markdown(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table, its first column to the left and all others to the right."""
    widths = [max(len(line[k]) for line in (titles, *rows)) for k in range(len(titles))]
    lines = [
        "| " + " | ".join(f"{cell:{'<' if k == 0 else '>'}{widths[k]}}" for k, cell in enumerate(line)) + " |"
        for line in (titles, *rows)
    ]
    rule = "|" + "|".join("-" * (w + 1) + ("-" if k == 0 else ":") for k, w in enumerate(widths)) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])


def spread(values: Sequence[float]) -> str:
    """Mean and standard deviation of the sample."""
    if len(values) < 2:
        return "".join(f"{value:.1f}" for value in values)
    return f"{statistics.fmean(values):.1f} ± {statistics.stdev(values):.1f}"


def unique(values: Iterable[Any]) -> list[Any]:
    """In order of the first appearance."""
    return list(dict.fromkeys(values))


def sentences(rows: Sequence[sentence_study.Row], measure: str) -> str:
    """Methods by patterns; greedy masks left empty where they are the exact ones."""
    patterns = unique([row.pattern for row in rows])
    found = {(row.method, row.masks, row.pattern): f"{getattr(row, measure):.4f}" for row in rows}
    lines = [
        (f"{method}, {masks} masks", *(found.get((method, masks, pattern), "") for pattern in patterns))
        for method in unique([row.method for row in rows])
        for masks in unique([row.masks for row in rows])
    ]
    return markdown((MEASURES[measure], *patterns), lines)


def digits(rows: Sequence[digit_study.Row]) -> str:
    """Patterns by methods: accuracy, mean and deviation over the seeds."""
    pruned = [row for row in rows if row.pattern]
    methods = unique([row.method for row in pruned])
    lines = [
        (
            f"{pattern}, {masks} masks",
            *(
                spread(
                    [r.accuracy for r in pruned if (r.pattern, r.masks, r.method) == (pattern, masks, method)]
                )
                for method in methods
            ),
        )
        for pattern, masks in unique([(row.pattern, row.masks) for row in pruned])
    ]
    whole = [
        f"{method} {spread([row.accuracy for row in rows if row.method == method])} %"
        for method in unique([row.method for row in rows if not row.pattern])
    ]
    table = markdown(("% of test images", *methods), lines)
    return f"{table}\n\n{', '.join(whole)}; {len({row.seed for row in rows})} seeds."


def conversions(rows: Sequence[digit_study.Row]) -> str:
    """Ways by methods: entries lost, and accuracy over the seeds."""
    lines = []
    for start in unique([row.start for row in rows]):
        mine = [row for row in rows if row.start == start]
        base = spread([row.accuracy for row in mine if row.method == "trained"])
        for pattern in unique([row.pattern for row in mine if row.pattern]):
            there = [row for row in mine if row.pattern == pattern]
            lost = statistics.fmean(row.violating or 0.0 for row in there)
            methods = unique([row.method for row in there])
            cells = [spread([row.accuracy for row in there if row.method == method]) for method in methods]
            lines.append((f"{start} → {pattern}", f"{100 * lost:.1f}", base, *cells))
    return markdown(("% of test images", "% of kept entries lost", "trained", *methods), lines)


def report(rows: Mapping[str, Sequence[Any]]) -> str:
    """Every table there are rows for."""
    parts = []
    if rows["minilm"]:
        parts += [sentences(rows["minilm"], measure) for measure in MEASURES]
    if rows["resnet"]:
        parts.append(digits(rows["resnet"]))
    if rows["convert"]:
        parts.append(conversions(rows["convert"]))
    return "\n\n".join(parts)
