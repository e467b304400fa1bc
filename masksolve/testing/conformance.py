"""`check_backend`: a backend, everything that masksolve expects of one, and the outcome."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from ..backends import load, offering
from ..backends.base import Backend
from ..errors import BackendUnavailableError, SignedScoresWarning
from ..pattern import Pattern
from .checks import CHECKS, check_patterns
from .families import FAMILIES
from .subject import HOST, Arrays, Subject


@dataclass(frozen=True)
class Conformance:
    """What was examined.

    Attributes
    ----------
    backend : str
    solves : int
        Solves whose results were examined.
    refused : mapping
        Patterns (and ``"... with keep= or drop="``) that it refused, with its reasons.
    """

    backend: str
    solves: int
    refused: Mapping[str, str]

    def __str__(self) -> str:
        lines = [f"backend '{self.backend}' conforms: {self.solves} solves examined"]
        return "\n".join([*lines, *(f"  refuses {what}: {why}" for what, why in self.refused.items())])


def check_backend(
    backend: str | type[Backend],
    options: Mapping[str, Any] | None = None,
    *,
    patterns: Sequence[str | Pattern] = (),
    seed: int = 0,
    rounding: float | None = None,
    arrays: Arrays = HOST,
) -> Conformance:
    """Put a backend through everything that masksolve expects of one.

    Masks are counted, objectives and bounds are recomputed, and optima come from exhaustive search
    or from proofs, all by code that no backend shares. Every backend must give feasible masks, true
    objectives, bounds that its prices give and that no mask exceeds, the same mask on every run and
    with any number of workers, reasons when it refuses, and leave its input as it was. One that says
    ``exact = True`` must besides reach the optimum of every tile and prove it.

    Parameters
    ----------
    backend : str or type
        A registered name, or a class that need not be registered.
    options : mapping
        Options to run it with.
    patterns : sequence of str or Pattern
        Further patterns to run on every family of scores.
    seed : int
        Of the random scores.
    rounding : float or None
        What an exact backend may lose in a tile, relative to its largest magnitude, for each row
        and column. None: 2**-21 for scores that float32 holds, 1e-9 for wider ones.
    arrays : Arrays
        How to make the arrays that the backend is to be handed, and to read those that it answers with; by
        default NumPy's.

    Returns
    -------
    Conformance
        What was examined, and what the backend refused.

    Raises
    ------
    AssertionError
        At the first thing that is wrong, naming the scores, the pattern and the tile.
    BackendUnavailableError
        If it cannot run here.
    """
    kind = load(backend) if isinstance(backend, str) else backend
    with _declared(kind), warnings.catch_warnings():
        warnings.simplefilter("ignore", SignedScoresWarning)  # signed scores are part of the examination
        missing = kind.unavailable()
        if missing is not None:
            raise BackendUnavailableError(f"backend '{kind.name}' {missing}")
        subject = Subject(kind, dict(options or {}), seed, rounding, arrays)
        for check in CHECKS:
            check(subject)
        check_patterns(subject, [Pattern.parse(pattern) for pattern in patterns], list(FAMILIES))
        if not subject.solves:
            raise AssertionError(f"backend '{kind.name}' refuses everything: {subject.refused}")
        return Conformance(kind.name, subject.solves, subject.refused)


@contextmanager
def _declared(kind: type[Backend]) -> Iterator[None]:
    """Let the class be asked for by its name; demand that it says what it is."""
    with ExitStack() as stack:
        try:
            stack.enter_context(offering(kind))
        except TypeError as error:
            raise AssertionError(str(error)) from error
        for attribute in ("name", "guarantee", "runs"):
            if not getattr(kind, attribute).strip():
                raise AssertionError(f"backend '{kind.name}' leaves its attribute {attribute} empty")
        yield
