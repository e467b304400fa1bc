"""What `permute` tells about its work."""

from __future__ import annotations

from dataclasses import dataclass

from .atoms import Ids
from .dimensions import Held


@dataclass(frozen=True)
class Reordered:
    """A dimension that was reordered.

    Attributes
    ----------
    name : str
        The axes on which its channels lie.
    channels : int
    before, objective, ceiling : float
        Kept sums of the layers along it, as in `masksolve.permutation.Permutation`, at its last search.
    """

    name: str
    channels: int
    before: float
    objective: float
    ceiling: float


@dataclass(frozen=True)
class PermuteReport:
    """What `permute` did.

    Attributes
    ----------
    dimensions : tuple of Reordered
        What was reordered.
    held : tuple of Held
        Axes of parameters of which some channels cannot move, and the operation that holds them.
    refused : tuple of str
        Dimensions whose reordering changed the outputs by more than the tolerance, and was undone.
    before, objective, total : float
        Kept scores of all chosen layers, before and after, and the sum of all their scores.
    error : float
        Largest change of an output, relative to the largest output.
    orders : dict
        For every reordered ``(parameter, axis)``, which index to take for every place.
    """

    dimensions: tuple[Reordered, ...]
    held: tuple[Held, ...]
    refused: tuple[str, ...]
    before: float
    objective: float
    total: float
    error: float
    orders: dict[tuple[str, int], Ids]

    def __str__(self) -> str:
        share = [each / self.total if self.total else 0.0 for each in (self.before, self.objective)]
        lines = [f"retained {share[0]:.4f} -> {share[1]:.4f}, outputs changed by {self.error:.1e}"]
        lines += [f"  {each.channels:5} channels: {each.name}" for each in self.dimensions]
        lines += [f"  undone: {name}" for name in self.refused]
        lines += [f"  held: {h.channels} of {h.parameter}[{h.axis}] by {h.reason}" for h in self.held]
        return "\n".join(lines)
