"""The interface of a backend."""

from __future__ import annotations

import abc
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from ..certificate import certify, feasible, price
from ..errors import BackendFailedError
from ..pattern import Pattern
from ..problem import BoolArray
from ..tiles import Block, Chunk, Prices


@dataclass(frozen=True)
class Report:
    """What a backend says of a run of tiles.

    A certificate, its own counts, and the largest magnitude it read if it ``checks_scores``.
    """

    objective: float
    bound: float
    counts: Mapping[str, int] = field(default_factory=dict)
    largest: float = 0.0
    open: int = 0
    worst_tile: int = -1
    worst_gap: float = 0.0


class Backend(abc.ABC):
    """A solver. Its options are the fields of its (frozen) dataclass, all with defaults.

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
    chunk_entries : int
        About how many scores to hand over at a time.
    checks_scores : bool
        Whether `solve` itself raises `UnfitScoresError` for scores that are not finite or exceed
        ``block.largest``, so that they need not be read beforehand.
    """

    name: ClassVar[str]
    exact: ClassVar[bool]
    guarantee: ClassVar[str]
    runs: ClassVar[str] = "every pattern, exact or at_most, keep= and drop="
    requires: ClassVar[str] = ""
    extra: ClassVar[str] = ""
    chunk_entries: ClassVar[int] = 1 << 16
    checks_scores: ClassVar[bool] = False

    @classmethod
    def unavailable(cls) -> str | None:
        """Why the backend cannot run here, with the remedy; None if it can."""
        if not cls.requires or _importable(cls.requires):
            return None
        what = f'"masksolve[{cls.extra}]"' if cls.extra else cls.requires.partition(".")[0]
        return f"needs {cls.requires}: pip install {what}"

    def refuses(self, pattern: Pattern, *, forced: bool) -> str | None:
        """Why the backend cannot run ``pattern`` (with forced entries or not); None if it can."""
        return None

    @abc.abstractmethod
    def solve(self, block: Block, first: int, last: int) -> Report:
        """Solve tiles ``first`` to ``last`` - 1 of ``block`` and write mask and prices into it."""


class ChunkBackend(Backend):
    """A backend that works on plain float64 arrays; certificate and bookkeeping are done for it."""

    @abc.abstractmethod
    def solve_chunk(self, chunk: Chunk) -> BoolArray | tuple[BoolArray, Prices]:
        """Masks (tiles, r, c) for the chunk's tiles, and their dual prices if it knows them."""

    def solve(self, block: Block, first: int, last: int) -> Report:
        """Gather, solve, check, certify, scatter."""
        chunk = block.gather(first, last)
        answer = self.solve_chunk(chunk)
        mask, prices = answer if isinstance(answer, tuple) else (answer, None)
        wrong = np.flatnonzero(~feasible(chunk, mask))
        if len(wrong):
            raise BackendFailedError(
                f"backend '{self.name}' returned an infeasible mask for tile {chunk.numbers[wrong[0]]}; "
                f"use backend='exact'"
            )
        kept = block.scatter(first, last, mask, price(chunk, mask) if prices is None else prices)
        certificate = certify(chunk, mask, kept)
        return Report(certificate.objective, certificate.bound)


def _importable(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ImportError:  # the parent of a dotted name is missing
        return False
