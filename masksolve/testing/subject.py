"""The backend under examination, and the cases that it is given."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, NoReturn

import numpy as np
import numpy.typing as npt

from ..backends import offering
from ..backends.base import Backend
from ..errors import BackendRefusedError
from ..pattern import Pattern
from ..result import MaskResult
from ..solve import solve
from ..types import Prices
from .assess import Case, assess
from .families import FAMILIES
from .oracle import Optimum, demand


class Arrays(NamedTuple):
    """A library's arrays on a device.

    Attributes
    ----------
    make : callable
        From a NumPy array to the same numbers in that library, on that device.
    read : callable
        Back again.
    """

    make: Callable[[npt.NDArray[Any]], Any]
    read: Callable[[Any], npt.NDArray[Any]]


HOST = Arrays(lambda array: array, lambda array: array)
"""NumPy's own."""


@dataclass
class Subject:
    """The backend under examination, and what has been seen of it."""

    kind: type[Backend]
    options: dict[str, Any]
    seed: int
    rounding: float | None
    arrays: Arrays = HOST
    solves: int = 0
    refused: dict[str, str] = field(default_factory=dict)

    def examine(self, case: Case, best: Optimum | None = None, **arguments: Any) -> MaskResult | None:
        """Solve a case and assess the result; None if the backend refuses it, giving its reason."""
        reason = self.refusal(case)
        copies = [(array, array.copy()) for array in (case.scores, *case.forced) if array is not None]
        try:
            result = self.solve(case, **arguments)
        except BackendRefusedError as error:
            if reason is not None and reason in str(error):
                return None
            self.fail(case, f"refuses() gives {reason!r}, yet the solve was refused: {error}", error)
        except Exception as error:
            self.fail(case, f"the solve raised {error!r}", error)
        if reason is not None:
            self.fail(case, f"refuses() gives {reason!r}, yet the solve was not refused")
        try:
            for array, copy in copies:
                demand(np.array_equal(array, copy), "the solve changed its input")
            best = best or case.optimum(self.rounding)
            assess(case, result, best, exact=self.kind.exact, rounding=self.rounding)
        except AssertionError as error:
            self.fail(case, str(error))
        self.solves += 1
        return result

    def fail(self, case: Case | str, message: str, cause: Exception | None = None) -> NoReturn:
        """Raise AssertionError naming backend and case."""
        raise AssertionError(f"backend '{self.kind.name}', {case}: {message}") from cause

    def solve(self, case: Case, **arguments: Any) -> MaskResult:
        """Run the backend on a case."""
        keep, drop = (None if choice is None else self.arrays.make(choice) for choice in case.forced)
        result = solve(
            self.arrays.make(case.scores),
            case.pattern,
            backend=self.kind.name,
            keep=keep,
            drop=drop,
            duals=True,
            **arguments,
            **self.options,
        )
        duals = result.duals
        if duals is not None:
            duals = Prices(*(None if part is None else self.arrays.read(part) for part in duals))
        return replace(result, mask=self.arrays.read(result.mask), duals=duals)

    def refusal(self, case: Case) -> str | None:
        """Ask the backend why it cannot run a case, and make a note of it; None if it can."""
        forced = case.forced.keep is not None or case.forced.drop is not None
        try:
            reason = self.kind(**self.options).refuses(case.pattern, forced=forced)
        except Exception as error:
            self.fail(case, f"refuses() raised {error!r}", error)
        if reason is None:
            return None
        if not isinstance(reason, str) or not reason.strip():
            self.fail(case, f"refuses() must give a reason in words or None, got {reason!r}")
        self.refused[f"{case.pattern}{' with keep= or drop=' * forced}"] = reason
        return reason

    @contextmanager
    def chunks_of(self, entries: int) -> Iterator[None]:
        """Hand the backend about so many entries at a time."""
        kind = self.kind
        sizes = dict.fromkeys(("chunk_entries", "device_entries"), entries)
        self.kind = type(kind.__name__, (kind,), sizes)
        try:
            with offering(self.kind):
                yield
        finally:
            self.kind = kind


@functools.lru_cache(maxsize=512)
def instance(
    family: str, pattern: Pattern, shape: tuple[int, ...], seed: int, rounding: float | None
) -> tuple[Case, Optimum]:
    """Make a case and find its optimum, once for all backends; its scores are read-only."""
    rng = np.random.default_rng([seed, *f"{family} {pattern} {shape}".encode()])
    scores = FAMILIES[family](rng, shape)
    scores.flags.writeable = False
    case = Case(f"family '{family}'", scores, pattern)
    return case, case.optimum(rounding)
