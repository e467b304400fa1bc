"""The pipeline: array in, pattern, problem, tiles, backend, certificate, result."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from .frameworks import Framework, framework_of, to_numpy
from .backends import select
from .backends.base import Backend, Report
from .certificate import certify
from .execution import Control, Task
from .device import DeviceBlock, DeviceProblem
from .device_layout import DeviceLayout
from .errors import BackendFailedError, TimeLimitError
from .pattern import Pattern
from .problem import MaskProblem, UnfitScoresError
from .result import MaskResult, SolveInterrupted, Status
from .tiles import Block, Layout, Prices, lay_out

_PROOF = 1e-6
"""Largest relative gap at which an exact backend is believed; prices in float32 leave about 1e-9."""

_ROUNDING = 1e-14
"""Largest relative gap that summing in float64 may leave: within it prices prove any mask optimal."""

_MANY, _SMALL = 16, 1 << 18
"""Arrays are cut into so many chunks, to share them out, but not into smaller ones. Sums depend on the
chunks, so the number of workers plays no part."""


def solve(
    scores: npt.ArrayLike,
    pattern: Pattern | str,
    *,
    backend: str = "auto",
    keep: npt.ArrayLike | None = None,
    drop: npt.ArrayLike | None = None,
    warm_start: MaskResult | None = None,
    workers: int = 1,
    time_limit: float | None = None,
    progress: Callable[[int, int], object] | None = None,
    duals: bool | None = None,
    **options: Any,
) -> MaskResult:
    """Find the N:M mask that keeps the largest sum of scores, and prove it.

    Parameters
    ----------
    scores : array of real numbers, shape (..., R, C)
        What each entry is worth, usually ``abs(weights)``; leading axes are a batch. Signed
        scores mean what they say: there is no hidden absolute value. An array of NumPy, torch,
        JAX, TensorFlow, CuPy or another library that follows the array-API standard.
    pattern : Pattern or str
        Such as ``"2:4"`` or ``"4:8-T"``.
    backend : str
        A name from `masksolve.backends`; ``"auto"`` chooses and says why in ``stats``: ``exact``
        for arrays on the host, ``batched`` for arrays on an accelerator, which stay there. Any
        other backend copies such an array to the host, and its mask back.
    keep, drop : array of bool, broadcastable to ``scores``
        Entries that must, or must not, be kept.
    warm_start : MaskResult
        An earlier result for the same shape and pattern; saves time, never changes the optimum.
    workers : int
        Number of threads; -1 for all processors. The mask does not depend on it.
    time_limit : float
        Seconds after which no more tiles are begun; see ``Status.TIME_LIMIT``.
    progress : callable
        Called as ``progress(done, total)``, in tiles.
    duals : bool
        Whether to keep the dual prices in the result. By default they are kept if they take
        at most 4 MiB or, for transposable patterns, no more memory than the mask; the bound is
        computed from them either way.
        A backend that gives no bound leaves none.
    **options
        Options of the backend; an unknown one is refused.

    Returns
    -------
    MaskResult
        ``mask`` (True = kept; of the array type and on the device of ``scores``), ``objective``,
        ``bound``, ``gap``, ``status``, ``duals``, ``stats``.

    Raises
    ------
    TypeError, ValueError
        If an argument is not what it should be; the message names it, its value, and what was
        expected.
    InfeasibleError
        If ``keep`` and ``drop`` leave some group without a choice.
    BackendUnavailableError, BackendRefusedError
        If the backend asked for cannot run, or cannot run this problem.
    BackendFailedError
        If the backend's solver failed.
    TimeLimitError
        If ``time_limit`` passed and ``keep`` or ``drop`` leave no ready-made mask for the tiles
        that were not reached.
    SolveInterrupted
        On Ctrl-C, with the result so far (plain KeyboardInterrupt if there are forced choices).

    References
    ----------
    Hubara, Chmiel, Island, Banner, Naor, Soudry. Accelerated Sparse Neural Training: A Provable
    and Efficient Method to Find N:M Transposable Masks. NeurIPS 2021.

    Examples
    --------
    >>> import numpy as np
    >>> result = solve(np.abs(np.array([[3., -1.], [2., -5.]])), "1:2-T")
    >>> result.mask
    array([[ True, False],
           [False,  True]])
    >>> result.objective, result.gap, result.status.name
    (8.0, 0.0, 'OPTIMAL')
    """
    control = Control.check(workers, time_limit, progress)
    if not (duals is None or isinstance(duals, bool)):
        raise TypeError(f"duals must be True, False or None, got {duals!r}")
    framework = framework_of(scores)
    problem: MaskProblem
    if framework is not None and _stays(framework, scores, backend):
        problem = DeviceProblem.of(framework, scores, pattern, keep, drop)
    else:
        problem = MaskProblem.check(scores, pattern, keep, drop, read_scores=False)
    start = _starting_prices(warm_start, problem)
    engine, reason = select(backend, problem, options)
    if not engine.checks_scores or problem.pattern.remainder == "dense":
        problem = problem.read()
    layout = _lay_out(problem, duals, start)
    try:
        reports, interrupted = _run(engine, problem, layout, control)
    except UnfitScoresError:  # refused by read(), or so large that prices must be float64
        problem = problem.read()
        layout = _lay_out(problem, duals, start)
        reports, interrupted = _run(engine, problem, layout, control)
    result = _result(problem, engine, layout, reports, reason=reason, control=control)
    if framework is not None and not problem.on_device:
        result = replace(result, mask=framework.from_numpy(result.mask, scores))
    if interrupted:
        raise SolveInterrupted(result)
    return result


def _stays(framework: Framework, scores: Any, backend: str) -> bool:
    """Whether the arrays are solved where they are, in their framework."""
    return backend == "batched" or (backend == "auto" and not framework.on_host(scores))


def _lay_out(problem: MaskProblem, duals: bool | None, start: Prices | None) -> Layout | DeviceLayout:
    if isinstance(problem, DeviceProblem):
        return DeviceLayout(problem, store_prices=duals, start=start)
    return lay_out(problem, store_prices=duals, start=start)


def _starting_prices(warm_start: MaskResult | None, problem: MaskProblem) -> Prices | None:
    if warm_start is None:
        return None
    if not isinstance(warm_start, MaskResult):
        raise TypeError(f"warm_start must be a MaskResult, got {type(warm_start).__name__}")
    if tuple(warm_start.mask.shape) != tuple(problem.scores.shape) or warm_start.pattern != problem.pattern:
        raise ValueError(
            f"warm_start must be a result for pattern '{problem.pattern}' and shape "
            f"{tuple(problem.scores.shape)}, got '{warm_start.pattern}' and {tuple(warm_start.mask.shape)}"
        )
    if warm_start.duals is None:
        raise ValueError("warm_start must hold its dual prices; solve with duals=True to keep them")
    if problem.on_device:
        return warm_start.duals
    rows, columns = (cast(Any, to_numpy("warm_start", part)) for part in warm_start.duals)
    return Prices(rows, columns)


def _run(
    engine: Backend, problem: MaskProblem, layout: Layout | DeviceLayout, control: Control
) -> tuple[list[Report], bool]:
    """Solve chunk by chunk; return the reports, and whether the user broke off."""
    entries = min(engine.chunk_entries, max(math.prod(problem.scores.shape) // _MANY, _SMALL))
    spans = [
        (block, first, min(first + step, block.tiles))
        for block in layout.blocks
        for step in [max(1, entries // math.prod(block.tile_shape))]
        for first in range(0, block.tiles, step)
    ]
    tasks: list[tuple[int, Task[Report]]] = [
        (last - first, partial(engine.solve, block, first, last)) for block, first, last in spans
    ]
    forced = any(block.keep is not None or block.drop is not None for block in layout.blocks)
    reports: list[Report] = []
    interrupted = False
    try:
        with closing(control.run(tasks)) as answers:
            for report in answers:
                reports.append(report)
    except KeyboardInterrupt:
        if forced:
            raise
        interrupted = True
    unreached = spans[len(reports) :]
    if unreached:
        problem.read()
    if unreached and forced:
        raise TimeLimitError(
            f"time_limit ended the solve after {len(reports)} of {len(spans)} chunks, and forced choices "
            f"leave no ready-made mask for the others; raise time_limit or workers"
        )
    return reports + [_fill(*span) for span in unreached], interrupted


def _fill(block: Block | DeviceBlock, first: int, last: int) -> Report:
    """Give tiles that were not reached a circulant mask and the prices zero.

    The circulant repeats after the longer side, so a whole tile keeps exactly n in every line and
    a line that the edge cuts keeps at most that, and never more than it may.
    """
    chunk = block.gather(first, last)
    height, width = block.tile_shape
    most = max(block.row_bounds[1], block.column_bounds[1])
    rows, columns = np.ogrid[:height, :width]
    mask = np.broadcast_to((columns - rows) % max(height, width) < most, chunk.scores.shape)
    prices = Prices(np.zeros((last - first, height)), np.zeros((last - first, width)))
    kept = block.scatter(first, last, mask, prices)
    return Report(*certify(chunk, mask, kept), counts={"unreached": last - first})


def _result(
    problem: MaskProblem,
    engine: Backend,
    layout: Layout | DeviceLayout,
    reports: list[Report],
    *,
    reason: str,
    control: Control,
) -> MaskResult:
    tails = layout.tail_sums()
    objective = math.fsum([report.objective for report in reports] + tails)
    bound = math.fsum([report.bound for report in reports] + tails)
    largest = problem.largest if problem.checked else max((report.largest for report in reports), default=0.0)
    scale = max(abs(objective), largest)
    if not bound >= objective - _PROOF * scale:
        raise BackendFailedError(
            f"backend '{engine.name}' reported a bound of {bound}, below its objective {objective}"
        )
    bound = max(bound, objective)
    counts: Counter[str] = Counter()
    for report in reports:
        counts.update(report.counts)
    if counts["unreached"]:
        status = Status.TIME_LIMIT
    elif bound - objective <= (_PROOF if engine.exact else _ROUNDING) * scale:
        status = Status.OPTIMAL
    else:
        status = Status.FEASIBLE
    stats = {
        "tiles": sum(block.tiles for block in layout.blocks),
        "seconds": time.perf_counter() - control.started,
        "workers": control.workers,
        "chosen_because": reason,
        **counts,
    }
    return MaskResult(
        mask=layout.mask,
        objective=objective,
        bound=bound,
        status=status,
        backend=engine.name,
        pattern=problem.pattern,
        duals=layout.prices if math.isfinite(bound) else None,
        stats=stats,
    )
