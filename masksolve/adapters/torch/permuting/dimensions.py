"""Which channels may change places, and where they lie in the parameters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .atoms import Ids
from .graph import KERNEL, Graph


@dataclass(frozen=True, eq=False)
class Place:
    """An axis of a parameter on which channels of a dimension lie.

    Attributes
    ----------
    parameter : str
    axis : int
    length : int
        Of the axis.
    places : ndarray of int, shape (channels, k)
        Indices along the axis that belong to each channel.
    """

    parameter: str
    axis: int
    length: int
    places: Ids


@dataclass(frozen=True, eq=False)
class Dimension:
    """Channels that may be reordered together."""

    places: tuple[Place, ...]

    @property
    def channels(self) -> int:
        """Number of channels."""
        return len(self.places[0].places)

    @property
    def name(self) -> str:
        """The axes on which the channels lie, such as ``fc1.weight[0], fc2.weight[1]``."""
        return ", ".join(f"{place.parameter}[{place.axis}]" for place in self.places)


@dataclass(frozen=True)
class Held:
    """An axis that cannot be reordered, or not all of it.

    Attributes
    ----------
    parameter : str
    axis : int
    channels : int
        How many of its channels stay.
    reason : str
        The operation that holds them.
    """

    parameter: str
    axis: int
    channels: int
    reason: str


def dimensions(graph: Graph) -> tuple[list[Dimension], list[Held]]:
    """Read off a followed graph what may move and what may not."""
    roots = graph.atoms.roots()
    kinds = graph.atoms.kinds(roots)
    reasons: dict[int, str] = {}
    for ids, reason in graph.atoms.pins:
        for root in np.unique(roots[ids]).tolist():
            reasons.setdefault(root, reason)
    members: dict[int, set[int]] = {}
    for root in np.unique(roots).tolist():
        if root not in reasons:
            members.setdefault(int(kinds[root]), set()).add(root)
    free = {kind: found for kind, found in members.items() if len(found) > 1}
    places: dict[int, list[Place]] = {kind: [] for kind in free}
    held: list[Held] = []
    for parameter in graph.parameters.values():
        for axis, ids in enumerate(parameter.atoms):
            own = roots[ids]
            stay = [root for root in own.tolist() if kinds[root] not in free or root in reasons]
            if stay and len(ids) > 1:
                reason = next(
                    (reasons[root] for root in stay if root in reasons), "no other channel is like it"
                )
                if reason != KERNEL:
                    held.append(Held(parameter.name, axis, len(stay), reason))
            for kind in sorted(
                {int(kinds[root]) for root in own.tolist() if root not in reasons} & set(free)
            ):
                slots = np.array([k for k, root in enumerate(own.tolist()) if root in free[kind]])
                order = np.lexsort((slots, own[slots]))
                count = len(free[kind])
                places[kind].append(Place(parameter.name, axis, len(ids), slots[order].reshape(count, -1)))
    return [Dimension(tuple(found)) for found in places.values() if found], held
