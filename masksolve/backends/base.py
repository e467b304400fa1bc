"""The interface of a backend."""

from __future__ import annotations

import abc
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from ..layout import Block, Chunk
from ..pattern import Pattern
from ..problem import MaskProblem
from ..remedies import pip_install
from ..types import Prices

__all__ = ["Backend", "Block", "Chunk", "ChunkBackend", "Prices", "Report"]


@dataclass
class Report:
    """What is known of a run of tiles.

    Attributes
    ----------
    objective, bound : float
        Sums over the tiles; the bound is infinite if none was computed.
    counts : mapping
        The backend's own counts, added up in ``MaskResult.stats``.
    largest : float
        The largest magnitude that was read, if the backend ``checks_scores``.
    open : int
        Tiles whose masks are not proven optimal.
    worst_tile : int
        Number, in the whole array, of the tile whose bound is farthest from what it keeps; -1: none.
    worst_gap : float
        How far, relative to the tile's own scale.
    uncertified : bool
        Whether the caller is to find prices for the masks that were written, and certify them.
    pending : tuple of int
        Places in the block of tiles that the caller is to prove or to finish; the sums are without them.
    """

    objective: float
    bound: float
    counts: Mapping[str, int] = field(default_factory=dict)
    largest: float = 0.0
    open: int = 0
    worst_tile: int = -1
    worst_gap: float = 0.0
    uncertified: bool = False
    pending: tuple[int, ...] = ()


class Backend(abc.ABC):
    """A solver. Its options are the fields of its (frozen) dataclass, all with defaults.

    What a backend says is not believed: `masksolve.solve` checks every mask and recomputes every bound, tile
    by tile, of any backend but the compiled engine, which certifies its tiles itself while they are in the
    cache.

    Attributes
    ----------
    name : str
        What callers write in ``backend=``.
    exact : bool
        Whether it claims optimal masks (the certificate decides whether to believe it).
    guarantee : str
        What it promises, in words.
    runs : str
        Patterns, constraints and forced choices that it can run, in words; `refuses` decides.
    requires : str
        Module that must be importable; empty if none.
    extra : str
        Extra of masksolve that brings it, as in ``pip install "masksolve[extra]"``; empty if the
        module's own name is the one to install.
    chunk_entries, device_entries : int
        About how many scores to hand over at a time, on the host and on an accelerator.
    checks_scores : bool
        Whether `solve` itself raises `UnfitScoresError` for scores that are not finite or exceed
        ``block.largest``, so that they need not be read beforehand.
    in_namespace : bool
        Whether it takes chunks of any namespace of the array-API standard, so that arrays on an accelerator
        can stay there; otherwise they are copied to the host, and the mask back.
    chooses_columns : bool
        Whether it solves patterns V:N:M, whose tiles are not described by bounds of rows and columns alone.
    """

    name: ClassVar[str]
    exact: ClassVar[bool]
    guarantee: ClassVar[str]
    runs: ClassVar[str] = "every pattern, exact or at_most, keep= and drop="
    requires: ClassVar[str] = ""
    extra: ClassVar[str] = ""
    chunk_entries: ClassVar[int] = 1 << 16
    device_entries: ClassVar[int] = 1 << 24
    checks_scores: ClassVar[bool] = False
    in_namespace: ClassVar[bool] = False
    chooses_columns: ClassVar[bool] = False

    @classmethod
    def unavailable(cls) -> str | None:
        """Why the backend cannot run here, with the remedy; None if it can."""
        if not cls.requires or _importable(cls.requires):
            return None
        return f"needs {cls.requires}: {pip_install(cls.extra, cls.requires.partition('.')[0])}"

    def refuses(self, pattern: Pattern, *, forced: bool) -> str | None:
        """Why the backend cannot run ``pattern`` (with forced entries or not); None if it can."""
        return None

    def works_in_place(self, problem: MaskProblem) -> bool:
        """Whether `solve` is to be handed arrays of this problem that are not on the host, where they are.

        A backend that says so is handed the one block of all tiles, a `masksolve.layout.placed.PlacedBlock`.
        It reads and writes through the strided views in there, checks the scores (see ``checks_scores``), and
        proves tiles itself; only backends of this package are believed.
        """
        return False

    @abc.abstractmethod
    def solve(self, block: Block, first: int, last: int) -> Report:
        """Solve tiles ``first`` to ``last`` - 1 of ``block`` and write masks into it.

        A report with an infinite bound asks for no certificate.
        """


class ChunkBackend(Backend):
    """A backend that works on plain arrays; certificate and bookkeeping are done for it."""

    @abc.abstractmethod
    def solve_chunk(self, chunk: Chunk) -> Any:
        """Masks (tiles, r, c) for the chunk's tiles; or a tuple of them, their `Prices`, and perhaps counts.

        The arrays are NumPy's and float64, unless the backend is ``in_namespace``.
        """

    def solve(self, block: Block, first: int, last: int) -> Report:
        """Refuse: `masksolve.solve` calls `solve_chunk`."""
        raise NotImplementedError(f"backend '{self.name}' works on chunks; call solve_chunk")


def _importable(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ImportError:  # the parent of a dotted name is missing
        return False
