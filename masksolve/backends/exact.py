"""The compiled engine: optimal masks and the dual prices that prove it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import ClassVar

from .._ext import tiles as engine
from ..checks import did_you_mean
from ..errors import InfeasibleError
from ..layout import Block
from ..problem import UnfitScoresError
from .base import Backend, Report

VARIABLE = "MASKSOLVE_INSTRUCTION_SET"
_RUNNING = [name for name, runs in engine.instruction_sets().items() if runs]


@dataclass(frozen=True)
class Exact(Backend):
    """Shortest augmenting paths from a dual warm start, vectorised, certified in the same pass.

    Scores of at most 16 bits and float32 are solved in float32, wider ones in float64.

    Parameters
    ----------
    instruction_set : str
        One of `masksolve.show_config`'s; empty: the environment variable
        ``MASKSOLVE_INSTRUCTION_SET``, or else the best that runs here. Masks do not depend on it.
    """

    instruction_set: str = ""

    name: ClassVar[str] = "exact"
    exact: ClassVar[bool] = True
    guarantee: ClassVar[str] = "optimal, with dual prices that prove it"
    chunk_entries: ClassVar[int] = 1 << 20
    checks_scores: ClassVar[bool] = True

    def __post_init__(self) -> None:
        chosen = self.instruction_set
        if not chosen and VARIABLE in os.environ:  # get() takes longer, by an exception that it catches
            chosen = os.environ[VARIABLE]
        if chosen and chosen not in _RUNNING:
            known = engine.instruction_sets()
            reason = "does not run on this processor" if chosen in known else "was not compiled"
            hint = did_you_mean(chosen, _RUNNING) if isinstance(chosen, str) else ""
            raise ValueError(
                f"instruction_set must be one of {_RUNNING}, got {chosen!r}, which {reason}{hint}"
            )
        object.__setattr__(self, "instruction_set", chosen or _RUNNING[0])

    def solve(self, block: Block, first: int, last: int) -> Report:
        """Solve the tiles where they lie; mask, prices and certificate come from one pass."""
        answer = engine.solve_tiles(block, first, last, self.instruction_set)
        if answer is None:
            raise UnfitScoresError("a score is not finite or exceeds the largest that was expected")
        if not isinstance(answer, engine.Solved):
            tile, axis, index = answer
            number = block.number(tile)
            raise InfeasibleError(
                f"keep and drop leave no mask for tile {number}: its {axis} {index} cannot keep "
                f"{_amount(block, axis)} entries; relax the forced choices there",
                tile=number,
                axis=axis,
                index=index,
            )
        counts = {
            "augmentations": answer.augmentations,
            "path_steps": answer.steps,
            "refined": answer.refined,
            "exactly": answer.exactly,
        }
        return Report(
            answer.objective,
            answer.bound,
            counts,
            largest=answer.largest,
            open=answer.open,
            worst_tile=block.number(answer.worst_tile) if answer.open else -1,
            worst_gap=answer.worst_gap,
        )


def _amount(block: Block, axis: str) -> str:
    least, most = block.row_bounds if axis == "row" else block.column_bounds
    return f"exactly {most}" if least == most else f"between {least} and {most}"
