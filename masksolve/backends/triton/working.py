"""Runs of the kernels for the pipeline: on tiles in place, and on copies of tiles from anywhere."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.utils.dlpack

from ...certificate import tolerance_of
from ...errors import BackendUnavailableError
from ...frameworks import to_numpy
from ...layout import Chunk
from ...layout.placed import Placed, PlacedBlock
from ...problem import UnfitScoresError
from ...types import Prices
from ..base import Report
from .launching import INTERPRETED, Rule, Task, Totals, run


def solve_placed(block: PlacedBlock, rounds: int) -> Report:
    """Solve a block where it is; tiles that float32 leaves open are solved again in float64.

    Raises
    ------
    UnfitScoresError
        If a score is not finite, or larger than the problem says.
    """
    problem, placed = block.problem, block.placed
    least, most = block.row_bounds
    dtype = np.float64 if problem.double else np.float32
    rule = Rule(
        most, least < most, problem.score, problem.double, problem.largest, tolerance_of(dtype), rounds
    )
    task = Task(
        placed.scores,
        placed.mask,
        placed.rows,
        placed.columns,
        placed.objective,
        placed.bound,
        _flags((block.tiles,), placed.mask),
        None if block.start is None or block.start.columns is None else block.start.columns.contiguous(),
    )
    totals = run(task, rule)
    if totals.unfit:
        raise UnfitScoresError(f"a score is not finite or exceeds {problem.largest}")
    if not totals.open:
        return Report(totals.objective, totals.bound)
    places, counts = (~task.proven).nonzero()[:, 0], {}
    if not problem.double:
        counts["solved_in_float64"] = totals.open
        better, places = _again(placed, places, task.start, rule)
        totals = totals._replace(
            objective=totals.objective + better.objective, bound=totals.bound + better.bound
        )
    return Report(totals.objective, totals.bound, counts, pending=tuple(places.tolist()))


def solve_copy(chunk: Chunk, rounds: int) -> tuple[Any, Prices]:
    """Solve a chunk's tiles on the GPU; masks and prices in the chunk's framework and on its device."""
    scores = _tensor(chunk.scores)
    tiles, height, width = scores.shape
    least, most = chunk.row_bounds
    rows, columns = scores.new_empty((tiles, height)), scores.new_zeros((tiles, width))
    start = None
    if chunk.start is not None and chunk.start.columns is not None:
        start = _tensor(chunk.start.columns).to(scores.dtype).contiguous()
    rule = Rule(most, least < most, "value", scores.dtype == torch.float64, float("inf"), 0.0, rounds)
    task = Task(
        scores, _flags(scores.shape, scores), rows, columns, None, None, _flags((tiles,), scores), start
    )
    run(task, rule)
    return _back(task.mask, chunk), Prices(_back(rows, chunk), _back(columns, chunk))


def _again(
    placed: Placed, places: torch.Tensor, start: torch.Tensor | None, rule: Rule
) -> tuple[Totals, torch.Tensor]:
    """Solve some tiles in float64; returns what the proven ones keep, and the places of the others."""
    scores, _ = placed.some(places)
    tiles, height, width = scores.shape
    rows, columns, objective, bound = (
        torch.zeros(shape, dtype=torch.float64, device=scores.device)
        for shape in ((tiles, height), (tiles, width), (tiles,), (tiles,))
    )
    begin = None if start is None else start[places].contiguous()
    proven = _flags((tiles,), scores)
    task = Task(scores, _flags(scores.shape, scores), rows, columns, objective, bound, proven, begin)
    totals = run(task, rule._replace(double=True, tolerance=tolerance_of(np.float64)))
    placed.write(places[proven], task.mask[proven], Prices(rows[proven], columns[proven]))
    placed.record(places[proven], objective[proven], bound[proven])
    return totals, places[~proven]


def _flags(shape: tuple[int, ...], like: torch.Tensor) -> torch.Tensor:
    return torch.empty(shape, dtype=torch.bool, device=like.device)


def _tensor(array: Any) -> torch.Tensor:
    """Bring an array of any framework to where the kernels run."""
    if isinstance(array, np.ndarray):
        array = torch.from_numpy(np.ascontiguousarray(array))
    elif not isinstance(array, torch.Tensor):
        array = torch.utils.dlpack.from_dlpack(array)
    tensor: torch.Tensor = array
    if INTERPRETED or tensor.is_cuda:
        return tensor
    if not torch.cuda.is_available():
        raise BackendUnavailableError(
            "backend 'triton' needs a GPU that torch can use, but torch.cuda.is_available() is False"
        )
    return tensor.cuda()


def _back(tensor: torch.Tensor, chunk: Chunk) -> Any:
    """Bring a tensor to the chunk's framework and device."""
    if chunk.xp is None:
        return tensor.cpu().numpy()
    if isinstance(chunk.scores, torch.Tensor):
        return tensor.to(chunk.scores.device)
    if not tensor.is_cuda:
        return chunk.xp.asarray(to_numpy("mask", tensor))
    if tensor.dtype == torch.bool:  # which not every library takes by DLPack
        return chunk.xp.astype(chunk.xp.from_dlpack(tensor.view(torch.uint8)), chunk.xp.bool)
    return chunk.xp.from_dlpack(tensor)
