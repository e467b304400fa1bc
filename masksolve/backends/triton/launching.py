"""From arrays to launches: which kernel, how many tiles a program, and which strides.

Only this module and the kernels import Triton; all import torch.
"""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl

from ...types import Score
from .pairing import pair
from .ranking import rank
from .solving import solve

INTERPRETED = not isinstance(solve, triton.JITFunction)
"""Whether the interpreter runs the kernels: ``TRITON_INTERPRET=1`` was set when they were imported."""

_turn: AbstractContextManager[object] = threading.Lock() if INTERPRETED else nullcontext()
"""The interpreter replaces functions of Triton while it runs, so two threads cannot use it at once."""

_INTERPRETED_ENTRIES = 1 << 14
"""Entries of a program for the interpreter, which takes as long for a small array as for a large one."""

_TOGETHER = 64
"""Numbers that are added one after another; longer sums are sums of sums, so that rounding stays small."""


class Task(NamedTuple):
    """Equal tiles to solve: tensors on one device, ``grid`` being any number of axes.

    Attributes
    ----------
    scores, mask : tensors of any real dtype and of bool, shape (*grid, r, c)
        Of any strides. Groups have r = 1.
    rows, columns : tensors (tiles, r) and (tiles, c), or None
        Where to write prices.
    objective, bound : float64 tensors (tiles,), or None
        Where to write what every tile keeps and could keep at most.
    proven : bool tensor (tiles,)
        Where to write whether the prices prove the mask.
    start : tensor (tiles, c) or None
        Column prices to begin with.
    """

    scores: torch.Tensor
    mask: torch.Tensor
    rows: torch.Tensor | None
    columns: torch.Tensor | None
    objective: torch.Tensor | None
    bound: torch.Tensor | None
    proven: torch.Tensor
    start: torch.Tensor | None = None

    @property
    def tiles(self) -> int:
        """Number of tiles."""
        return math.prod(self.scores.shape[:-2])


class Rule(NamedTuple):
    """What is asked of the tiles.

    Attributes
    ----------
    n : int
        Most kept entries of a line.
    at_most : bool
        Whether a line may keep fewer.
    score : {"value", "magnitude", "square"}
    double : bool
        Whether to calculate in float64 instead of float32.
    largest : float
        Entries that are not at most this are counted as unfit.
    tolerance : float
        Violation, relative to a tile's scale, up to which it counts as proven.
    rounds : int
        Rounds of the dual warm start.
    """

    n: int
    at_most: bool
    score: Score
    double: bool
    largest: float
    tolerance: float
    rounds: int


class Totals(NamedTuple):
    """Sums over the proven tiles, and counts: the one thing that is read back from a launch."""

    objective: float
    bound: float
    open: int
    unfit: int


def run(task: Task, rule: Rule) -> Totals:
    """Solve a task's tiles where they are.

    Everything is put on the device's current stream; the host waits once, for the totals.
    """
    with _turn, _device(task.scores):
        parts = [_launch(piece, rule) for piece in _pieces(task)]
        return _read(torch.cat(parts, dim=1) if len(parts) > 1 else parts[0])


class Launch(NamedTuple):
    """A launch of a kernel over a grid of up to three axes.

    Attributes
    ----------
    kernel : JITFunction
    arguments : tuple
        In their order.
    settings : dict
        What the kernel is compiled for, and how.
    totals : float64 tensor (5, programs)
        The one of the arguments in which every program leaves what `masksolve.backends.triton.reading.report`
        says.
    """

    kernel: Any
    arguments: tuple[Any, ...]
    settings: dict[str, Any]
    totals: torch.Tensor


def prepared(task: Task, rule: Rule) -> Launch:
    """Choose the kernel for a task, and put its arguments together."""
    height, width = task.scores.shape[-2:]
    fixed = _constants(rule, height, width, task)
    kernel = kernel_of(rule, height, width)
    programs = max(1, triton.cdiv(task.tiles, fixed["TILES"]))
    totals = torch.empty((5, programs), dtype=torch.float64, device=task.scores.device)
    grid = (*(1,) * (5 - task.scores.ndim), *task.scores.shape[:-2])
    unused = task.proven
    outputs = [
        unused if part is None else part for part in (task.rows, task.columns, task.objective, task.bound)
    ]
    arguments = (
        *(_bytes(task.scores), _bytes(task.mask), *outputs, _bytes(task.proven), totals),
        unused if task.start is None else task.start,
        *(task.tiles, rule.largest, rule.tolerance, rule.rounds, grid[1], grid[2]),
        *_strides(task.scores),
        *_strides(task.mask),
    )
    return Launch(kernel, arguments, {**fixed, **options(kernel, fixed["SIDE"], rule)}, totals)


def _constants(rule: Rule, height: int, width: int, task: Task) -> dict[str, Any]:
    """Arguments that a kernel is compiled for."""
    side = max(2, 1 << (width - 1).bit_length())
    dtype, infinite = (tl.float64, 4e307) if rule.double else (tl.float32, 2.0**125)
    return {
        "M": width,
        "N": rule.n,
        "AT_MOST": rule.at_most,
        "SCORE": rule.score,
        "DTYPE": dtype,
        "INFINITE": infinite,
        "SIDE": side,
        "TILES": _tiles_together(kernel_of(rule, height, width), side),
        "STARTED": task.start is not None,
        "PRICED": task.rows is not None,
        "SUMMED": task.objective is not None,
    }


def options(kernel: Any, side: int, rule: Rule) -> dict[str, Any]:
    """How a kernel is to be compiled.

    One warp holds tiles up to 16 by 16, so that little is exchanged through shared memory. Larger ones, and
    float64, need more registers than a warp has; with these numbers, no kernel up to m = 16 spills on three
    architectures, as tests/backends/triton/test_compilation.py records. Groups and pairs need no exchange
    between threads.
    """
    # A product and a sum are rounded one after the other, as the interpreter does it.
    always = {"enable_fp_fusion": False}
    if kernel is not solve:
        return {"num_warps": 4, **always}
    warps = {32: 4 if rule.at_most else 2, 64: 8}.get(side, 1) * (2 if rule.double and side >= 16 else 1)
    # Left alone, the assembler keeps to fewer registers than there are, and spills. AMD's takes no limit.
    limit = {} if torch.version.hip else {"maxnreg": 255}
    return {"num_warps": warps, **limit, **always}


def kernel_of(rule: Rule, height: int, width: int) -> Any:
    """Kernel for tiles of a shape.

    `pair` wants scores that its own type holds, which squares of float32 are not.
    """
    if height == 1:
        return rank
    pairs = height == width == 4 and rule.n == 2 and not rule.at_most
    return pair if pairs and (rule.double or rule.score != "square") else solve


def _tiles_together(kernel: Any, side: int) -> int:
    """Tiles of a program: a few numbers a thread, or many for the interpreter."""
    entries = side if kernel is rank else side * side
    if INTERPRETED:
        return max(1, _INTERPRETED_ENTRIES // entries)
    return 128 if kernel is pair else max(1, (1024 if kernel is rank else 128) // entries)


def _launch(task: Task, rule: Rule) -> torch.Tensor:
    """Launch one kernel; returns its totals (5, programs)."""
    launch = prepared(task, rule)
    launch.kernel[(launch.totals.shape[1],)](*launch.arguments, **launch.settings)
    return launch.totals


def _pieces(task: Task) -> Iterator[Task]:
    """Fold the grid's axes into three; what cannot be folded is launched piece by piece."""
    scores, mask = _folded(task.scores, task.mask)
    more = scores.ndim - 5
    if more <= 0:
        yield task._replace(scores=scores, mask=mask)
        return
    size = math.prod(scores.shape[more:-2])
    for number, place in enumerate(itertools.product(*map(range, scores.shape[:more]))):
        span = slice(number * size, (number + 1) * size)
        lines = (None if part is None else part[span] for part in task[2:])
        yield Task(scores[place], mask[place], *lines)  # type: ignore[arg-type]


def _folded(scores: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Drop axes of length 1 and join axes that one stride can walk, in both tensors alike."""
    axes: list[tuple[int, int, int]] = []
    for size, one, other in zip(scores.shape[:-2], scores.stride()[:-2], mask.stride()[:-2], strict=True):
        if size == 1:
            continue
        joins = axes and axes[-1][1:] == (size * one, size * other)
        axes.append((size * (axes.pop()[0] if joins else 1), one, other))
    shape = [size for size, _, _ in axes]
    folded = [
        array.as_strided([*shape, *array.shape[-2:]], [*(axis[which] for axis in axes), *array.stride()[-2:]])
        for which, array in ((1, scores), (2, mask))
    ]
    return folded[0], folded[1]


def _strides(array: torch.Tensor) -> tuple[int, ...]:
    return (*(0,) * (5 - array.ndim), *array.stride())


def _bytes(array: torch.Tensor) -> torch.Tensor:
    """Booleans as the bytes that they are: one kernel then serves them and uint8."""
    return array.view(torch.uint8) if array.dtype == torch.bool else array


def _read(totals: torch.Tensor) -> Totals:
    """Add up the programs' totals in levels, and copy the sums to the host; the bound is rounded upwards."""
    levels = 2  # the first one within programs
    while totals.shape[1] > _TOGETHER:
        missing = -totals.shape[1] % _TOGETHER
        totals = torch.nn.functional.pad(totals, (0, missing)).view(5, -1, _TOGETHER).sum(dim=2)
        levels += 1
    objective, bound, size, open_, unfit = totals.sum(dim=1).tolist()
    return Totals(objective, bound + levels * _TOGETHER * 2.0**-53 * size, int(open_), int(unfit))


def _device(array: torch.Tensor) -> AbstractContextManager[object]:
    """Make the array's device the current one, on whose stream Triton launches."""
    return torch.cuda.device(array.device) if array.is_cuda else nullcontext()
