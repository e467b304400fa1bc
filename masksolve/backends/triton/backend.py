"""Backend `triton`: exact masks on a GPU by fused kernels, in place where the scores are torch's."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ...checks import integer
from ...layout import Block, Chunk
from ...layout.placed import PlacedBlock
from ...problem import MaskProblem
from ...types import Prices
from ..base import ChunkBackend, Report
from ..batched.backend import Batched

_DEVICE_FILES = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")
"""What the drivers of NVIDIA and AMD, and Windows' for Linux, show; asking torch would import it."""


@dataclass(frozen=True)
class Triton(ChunkBackend):
    """Dual warm start and shortest augmenting paths, a few tiles a program (`masksolve.backends.triton`).

    Tensors of torch on a GPU are read where they are, and their masks written in their layout. Other arrays
    are copied to the GPU chunk by chunk. Forced choices, and tiles that an edge cuts short, are solved by
    `batched`; ``stats`` counts them by reason.

    Parameters
    ----------
    rounds : int
        Rounds of the dual warm start, at least 0.
    """

    rounds: int = 3

    name: ClassVar[str] = "triton"
    exact: ClassVar[bool] = True
    guarantee: ClassVar[str] = "optimal; the bound from its dual prices proves it"
    requires: ClassVar[str] = "triton"
    extra: ClassVar[str] = "triton"
    chunk_entries: ClassVar[int] = 1 << 26
    in_namespace: ClassVar[bool] = True

    def __post_init__(self) -> None:
        integer("rounds", self.rounds, least=0)

    @classmethod
    def unavailable(cls) -> str | None:
        """Why it cannot run here: a package or a GPU is missing. Nothing heavy is imported to find out."""
        missing = super().unavailable() or Batched.unavailable()
        if missing is not None or interpreting() or any(map(os.path.exists, _DEVICE_FILES)):
            return missing
        return (
            "needs a GPU of NVIDIA or AMD, or TRITON_INTERPRET=1 in the environment to try it slowly without"
        )

    @classmethod
    def suits(cls, scores: Any) -> bool:
        """Whether ``"auto"`` takes it: for tensors of torch on a GPU, where Triton is installed."""
        return _is_tensor(scores) and scores.device.type == "cuda" and cls.unavailable() is None

    def works_in_place(self, problem: MaskProblem) -> bool:
        """Whether all tiles are whole groups or squares, without forced choices, and where kernels run."""
        if not _is_tensor(problem.scores) or problem.forced or len(problem.tiling.regions) > 1:
            return False
        if problem.pattern.transposable and not problem.pattern.is_square:
            return False
        where = "cpu" if interpreting() else "cuda"
        return bool(problem.size and problem.scores.device.type == where)

    def solve(self, block: Block, first: int, last: int) -> Report:
        """Solve a whole block in place; tiles that float32 leaves open again in float64."""
        from .working import solve_placed

        if not isinstance(block, PlacedBlock):
            return super().solve(block, first, last)
        return solve_placed(block, self.rounds)

    def solve_chunk(self, chunk: Chunk) -> tuple[Any, Prices, Mapping[str, int]]:
        """Solve a copy on the GPU; what the kernels do not take is left to `batched`."""
        from .working import solve_copy

        reason = _left_to_batched(chunk)
        if reason is not None:
            mask, prices, counts = Batched(self.rounds).solve_chunk(chunk)
            return mask, prices, {**counts, f"by batched: {reason}": len(chunk.numbers)}
        mask, prices = solve_copy(chunk, self.rounds)
        return mask, prices, {}


def _is_tensor(array: Any) -> bool:
    """Whether an array is torch's; torch is not imported to find out."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(array, torch.Tensor)


def interpreting() -> bool:
    """Whether Triton's interpreter is asked for."""
    return os.environ.get("TRITON_INTERPRET", "0").lower() in ("1", "true", "yes", "on", "y")


def _left_to_batched(chunk: Chunk) -> str | None:
    """Why the kernels do not take a chunk; None if they do."""
    _, height, width = chunk.scores.shape
    if chunk.keep is not None or chunk.drop is not None:
        return "forced choices"
    groups = height == 1 and chunk.column_bounds == (0, 1)
    tiles = height == width > 1 and chunk.row_bounds == chunk.column_bounds
    return None if groups or tiles else "tiles that are not square, mixed budgets, or one entry"
