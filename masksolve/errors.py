"""Every exception that masksolve raises on purpose, and its one warning.

Each also derives from the built-in that a caller would expect, so
``except ValueError`` and ``except ImportError`` go on working.
"""

from __future__ import annotations

import sys

from .remedies import pip_install


class MaskSolveError(Exception):
    """Base class of the exceptions below."""


class BackendUnavailableError(MaskSolveError, ImportError):
    """A backend or another function needs a package that is not installed; the message names the command."""

    @classmethod
    def needing(cls, what: str, package: str, extra: str) -> BackendUnavailableError:
        """Say what needs which package, and the command that installs it."""
        return cls(f"{what} needs {package}: {pip_install(extra)}")


class BackendRefusedError(MaskSolveError, ValueError):
    """A backend that was asked for by name cannot run this problem."""


class InfeasibleError(MaskSolveError, ValueError):
    """Forced entries leave some group without a feasible choice.

    Attributes
    ----------
    tile : int
        Index of the first offending tile, row-major over (batch, tile row, tile column).
    axis : str
        ``"row"`` or ``"column"``; ``"tile"`` where V:N:M has no four columns for all rows.
    index : int
        The row or column inside the tile; 0 for a tile.
    """

    def __init__(self, message: str, *, tile: int, axis: str, index: int) -> None:
        super().__init__(message)
        self.tile = tile
        self.axis = axis
        self.index = index


class BackendFailedError(MaskSolveError, RuntimeError):
    """A backend's underlying solver reported failure or returned an infeasible mask."""


class TimeLimitError(MaskSolveError, TimeoutError):
    """The time limit passed and no feasible mask can be given."""


class PatternViolationError(MaskSolveError, ValueError):
    """A matrix or mask does not follow the N:M pattern that it was said to follow."""


class CheckpointError(MaskSolveError, OSError):
    """A file or folder of weights cannot be read, written or gone on with; the message names it."""


class SignedScoresWarning(UserWarning):
    """About half of the scores are negative, so that they look like raw weights.

    ``score="value"``, the default, takes scores as they are: large negative weights would be dropped first.
    Weights want ``score="magnitude"``. If the scores are meant as they are, say so with
    ``warnings.simplefilter("ignore", masksolve.SignedScoresWarning)``.
    """


def levels_up() -> int:
    """Count the callers up to the first one outside of this package: a warning is about that one's line."""
    package = __name__.partition(".")[0]
    levels, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == package:
        levels, frame = levels + 1, frame.f_back
    return levels
