"""How layers are pruned: one object, checked once, that everything below passes on as it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from ..checks import boolean, choice, did_you_mean, integer, number
from ..pattern import Pattern
from .exchanges import check_exchanges
from .least_squares import METHODS as SOLVERS
from .least_squares import Solver
from .projection import layer_pattern
from .space import PRECISIONS
from .statistics import Statistics

Saliency = Callable[[Any, Statistics], Any]
"""Scores for weights (outputs, features) whose features have the statistics."""

Method = Literal["admm", "least_squares", "adam", "none"]
METHODS: tuple[Method, ...] = get_args(Method)
SALIENCIES = ("magnitude", "wanda", "obs", "sparsegpt")
_ELSEWHERE = {"abs": "magnitude", "l1": "magnitude"}


@dataclass(frozen=True)
class Recipe:
    """How layers are pruned.

    Parameters
    ----------
    pattern : Pattern or str
        Its groups run along the inputs (axis -1) or the outputs (axis -2).
    method : {"admm", "least_squares", "adam", "none"}, optional
        By default ``"admm"``, or ``"least_squares"`` if a saliency is named.
    saliency : {"magnitude", "wanda", "obs", "sparsegpt"} or callable, optional
        What a weight is worth, by default its magnitude. ADMM finds the mask by itself and takes none.
    steps : int
        Of Adam.
    iterations : int
        Of ADMM, at most.
    exchanges : int
        Rounds of exchanges after ADMM, at most: see `masksolve.reconstruction.admm`.
    damping : float
        See `masksolve.saliency.damped`.
    solver : {"auto", "cholesky", "pcg"}
        ``method`` of `masksolve.reconstruction.least_squares`.
    backend : str
        Of `masksolve.solve`.
    dtype : {"float32", "float64"}, optional
        Precision; by default float64 for float64 weights, else float32.
    keep_old : bool
        Prefer entries that are not zero to all others, as `convert` does.

    Raises
    ------
    TypeError, ValueError
        If an argument is not what it should be.
    """

    pattern: Pattern
    method: str
    saliency: str | Saliency
    steps: int
    iterations: int
    exchanges: int
    damping: float
    solver: str
    backend: str
    dtype: str | None
    keep_old: bool

    def __init__(
        self,
        pattern: Pattern | str,
        *,
        method: Method | None = None,
        saliency: str | Saliency | None = None,
        steps: int = 1000,
        iterations: int = 100,
        exchanges: int = 0,
        damping: float = 0.01,
        solver: Solver = "auto",
        backend: str = "auto",
        dtype: str | None = None,
        keep_old: bool = False,
    ) -> None:
        if method is None:
            method = "admm" if saliency is None else "least_squares"
        if choice("method", method, METHODS) == "admm" and saliency is not None:
            raise ValueError(
                f"method='admm' finds the mask by itself, so saliency must be None, got {saliency!r}; choose "
                f"method='least_squares' to fit weights to the mask of a saliency"
            )
        if saliency is not None and not callable(saliency) and saliency not in SALIENCIES:
            hint = did_you_mean(saliency, SALIENCIES, _ELSEWHERE) if isinstance(saliency, str) else ""
            raise ValueError(f"saliency must be one of {SALIENCIES} or a callable, got {saliency!r}{hint}")
        pattern, exchanges = layer_pattern(pattern), integer("exchanges", exchanges, least=0)
        check_exchanges(pattern, exchanges)
        if method != "admm" and exchanges:
            raise ValueError(f"exchanges must be 0 unless method='admm', got {exchanges} with {method=}")
        values = {
            "pattern": pattern,
            "method": method,
            "saliency": "magnitude" if saliency is None else saliency,
            "steps": integer("steps", steps, least=1),
            "iterations": integer("iterations", iterations, least=1),
            "exchanges": exchanges,
            "damping": number("damping", damping, least=0.0),
            "solver": choice("solver", solver, SOLVERS),
            "backend": backend,
            "dtype": dtype if dtype is None else choice("dtype", dtype, PRECISIONS),
            "keep_old": boolean("keep_old", keep_old),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def to(self, pattern: Pattern) -> Recipe:
        """Give the same recipe for another pattern."""
        changes: dict[str, Any] = {"pattern": pattern}
        if self.method == "admm":
            changes["saliency"] = None  # as it was given
        return replace(self, **changes)

    def described(self, patterns: str) -> str:
        """Say what is done, with ``patterns`` for what it is done to."""
        if self.method == "admm":
            more = f" and {self.exchanges} rounds of exchanges" if self.exchanges else ""
            return f"admm{more} to {patterns}"
        kind = self.saliency if isinstance(self.saliency, str) else _name(self.saliency)
        return f"{self.method} to {patterns} by {kind}"

    def __str__(self) -> str:
        return self.described(f"'{self.pattern}'")


def _name(function: Any) -> str:
    return str(getattr(function, "__name__", type(function).__name__))
