"""Exact masks and greedy ones, side by side."""

from __future__ import annotations

import masksolve as ms


def mask_kinds(pattern: str) -> tuple[str, ...]:
    """Exact and greedy ones; of a one-directional pattern the greedy mask is exact."""
    return ("exact", "greedy") if ms.Pattern.parse(pattern).transposable else ("exact",)


def backend_of(masks: str) -> str:
    """Who finds them."""
    return {"exact": "auto", "greedy": "greedy"}[masks]
