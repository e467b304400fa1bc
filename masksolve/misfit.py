"""What is said where a pattern cannot be laid on an array."""

from __future__ import annotations

from typing import NamedTuple


class Misfit(NamedTuple):
    """Why a pattern cannot be laid on an array; as text, all of it."""

    reason: str
    """Continues a sentence about the array: "has 6 entries along axis -1, which m=4 does not divide"."""
    shape: tuple[int, ...]
    remedy: str = ""
    """What helps, if anything does: "choose remainder='pad' or remainder='dense' in the pattern"."""

    def __str__(self) -> str:
        return f"{self.reason} (shape {self.shape}){self.remedy and '; '}{self.remedy}"
