"""Channels that have to move together, and what tells them apart.

Every index of every axis of every parameter is an *atom*. Following a model's operations, atoms that an
operation ties to each other are united: they are one channel. What an operation treats differently is told
apart, and what it fixes is pinned. Afterwards channels that nothing tells apart may change places.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.int64]


@dataclass(eq=False)
class Atoms:
    """Union-find over atoms, with constraints that are looked at once all unions are known."""

    parent: list[int] = field(default_factory=list)
    pins: list[tuple[Ids, str]] = field(default_factory=list)
    alike: list[Ids] = field(default_factory=list)

    def fresh(self, count: int) -> Ids:
        """Make new atoms."""
        first = len(self.parent)
        self.parent.extend(range(first, first + count))
        return np.arange(first, first + count)

    def unite(self, one: Ids, other: Ids) -> None:
        """Unite atoms entry by entry, broadcasting."""
        pairs = np.stack([each.ravel() for each in np.broadcast_arrays(one, other)], axis=1)
        for pair in np.unique(pairs, axis=0).tolist():
            a, b = map(self._find, pair)
            if a != b:
                self.parent[max(a, b)] = min(a, b)

    def pin(self, ids: Ids, reason: str) -> None:
        """Let no channel among ``ids`` move."""
        self.pins.append((np.unique(ids), reason))

    def count(self, ids: Ids) -> None:
        """Tell channels apart by how often they occur in each row of ``ids``, shape (rows, entries).

        A row is something that does not care about the order of its entries, such as the sum in a
        normalisation, but cares about which they are.
        """
        self.alike.extend(np.atleast_2d(ids))

    def roots(self) -> Ids:
        """One representative atom for every atom."""
        return np.array([self._find(atom) for atom in range(len(self.parent))], np.int64)

    def kinds(self, roots: Ids) -> Ids:
        """Give the kind of every channel; only channels of one kind may change places."""
        kinds = np.zeros(len(roots), np.int64)
        seen: set[bytes] = set()
        for ids in self.alike:
            counts = np.bincount(roots[ids], minlength=len(roots))
            if (key := counts.tobytes()) in seen:
                continue
            seen.add(key)
            _, kinds = np.unique(kinds * (counts.max() + 1) + counts, return_inverse=True)
        return kinds

    def _find(self, atom: int) -> int:
        root = atom
        while self.parent[root] != root:
            root = self.parent[root]
        while self.parent[atom] != root:
            self.parent[atom], atom = root, self.parent[atom]
        return root
