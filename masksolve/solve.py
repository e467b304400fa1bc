"""The pipeline: array in, pattern, problem, tiling, layout, backend, certificate, result, array out."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Unpack

import numpy as np
import numpy.typing as npt

from ._ext.arrays import DefaultArithmetic
from .arrays import check_prices, dtype_name
from .backends import choose, configure, finishes
from .backends.base import Backend, Report
from .certifying import certified, judged, judged_later, solved
from .errors import BackendFailedError, InfeasibleError, SignedScoresWarning, TimeLimitError, levels_up
from .execution import Execution, Interruption, catching
from .fixed import fill
from .frameworks import Framework, framework_of, to_numpy
from .frameworks.compat import device_of
from .layout import Block
from .layout.device import DeviceLayout
from .layout.host import HostLayout
from .layout.paired import PairedLayout
from .layout.placed import PlacedLayout
from .pattern import Pattern
from .problem import MaskProblem, UnfitScoresError
from .result import MaskResult, SolveInterrupted
from .rounding import upper_sum
from .types import BackendName, BackendOptions, Prices, Score, Status, TileSums

Layout = HostLayout | DeviceLayout

_MANY, _SMALL = 16, 1 << 18
"""Arrays are cut into so many chunks, to share them out, but not into smaller ones. Sums depend on the
chunks, so the number of workers plays no part."""

_HALF = 0.1
"""Scores look like raw weights if the share of negative ones is no farther than this from a half."""

_SIGNED = (
    "scores look like raw weights: {negative_share:.0%} of a sample are negative, and the largest signed "
    "ones are kept; pass score='magnitude' to keep the largest in absolute value, or ignore "
    "masksolve.SignedScoresWarning if the signs are meant"
)


def solve(
    scores: npt.ArrayLike,
    pattern: Pattern | str | tuple[int, int],
    *,
    backend: BackendName | str = "auto",
    keep: npt.ArrayLike | None = None,
    drop: npt.ArrayLike | None = None,
    warm_start: MaskResult | Prices | tuple[Any, Any] | None = None,
    workers: int = 1,
    time_limit: float | None = None,
    progress: Callable[[int, int], object] | None = None,
    duals: bool | None = None,
    tiles: bool | None = None,
    out: Any | None = None,
    score: Score = "value",
    **options: Unpack[BackendOptions],
) -> MaskResult:
    """Find the N:M mask that keeps the largest sum of scores, and prove it.

    Parameters
    ----------
    scores : array of real numbers, shape (..., R, C)
        What each entry is worth; leading axes are a batch. Signed scores mean what they say unless
        ``score`` says otherwise. An array of NumPy, torch, JAX, TensorFlow, CuPy or another library that
        follows the array-API standard.
    pattern : Pattern or str
        Such as ``"2:4"`` or ``"4:8-T"``, or the pair ``(n, m)``.
    backend : str
        A name from `masksolve.backends`; ``"auto"`` chooses and says why in ``stats``: ``exact``
        for arrays on the host; for arrays on an accelerator, which stay there, ``triton`` if they are
        torch's and it can run, else ``batched``. Any other backend copies such an array to the host, and
        its mask back.
    keep, drop : array of bool, broadcastable to ``scores``
        Entries that must, or must not, be kept.
    warm_start : MaskResult or Prices
        An earlier result for the same shape and pattern, or its dual prices; saves time, never changes the
        optimum.
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
    tiles : bool
        Whether to keep every tile's objective and bound in the result; by default as `MaskResult` says.
    out : array of bool, shape of ``scores``
        Where to write the mask; it becomes the result's ``mask``. Of the array type and on the device of
        ``scores``, or NumPy's for scores on the host; it must not share memory with them.
    score : {"value", "magnitude", "square"}
        What an entry x of ``scores`` is worth: x itself, abs(x), or x * x (in float64). With ``"magnitude"``
        weights are passed as they are, read once and never copied.
    **options
        Options of the backend (`masksolve.types.BackendOptions`); one that it does not know is refused.

    Returns
    -------
    MaskResult
        ``mask`` (True = kept; of the array type and on the device of ``scores``), ``objective``,
        ``bound``, ``gap``, ``status``, ``duals``, ``tiles``, ``stats``.

    Raises
    ------
    TypeError, ValueError
        If an argument is not what it should be; the message names it, its value, and what was
        expected.
    InfeasibleError
        If ``keep`` and ``drop`` leave some group without a choice; names the first such tile.
    BackendUnavailableError, BackendRefusedError
        If the backend asked for cannot run, or cannot run this problem.
    BackendFailedError
        If the backend's solver failed, or its masks or its report are wrong.
    TimeLimitError
        If ``time_limit`` passed and ``keep`` or ``drop`` leave no ready-made mask for the tiles
        that were not reached.
    SolveInterrupted
        On Ctrl-C, with the result so far (plain KeyboardInterrupt if there are forced choices).

    Warns
    -----
    SignedScoresWarning
        If ``score="value"`` and the scores look like raw weights, about half of them negative.

    References
    ----------
    Hubara, Chmiel, Island, Banner, Naor, Soudry. Accelerated Sparse Neural Training: A Provable
    and Efficient Method to Find N:M Transposable Masks. NeurIPS 2021.

    Examples
    --------
    >>> import numpy as np
    >>> result = solve(np.array([[3., -1.], [2., -5.]]), "1:2-T", score="magnitude")
    >>> result.mask
    array([[ True, False],
           [False,  True]])
    >>> result.objective, result.gap < 1e-12, result.status.name
    (8.0, True, 'OPTIMAL')
    """
    execution = Execution.of(workers, time_limit, progress)
    for name, value in (("duals", duals), ("tiles", tiles)):
        if value is not None and not isinstance(value, bool):
            raise TypeError(f"{name} must be True, False or None, got {value!r}")
    framework = framework_of(scores)
    away = framework is not None and not framework.on_host(scores)
    pattern = Pattern.parse(pattern)
    kind, reason = choose(backend, away=away, scores=scores, pattern=pattern)
    there = framework if kind.in_namespace else None
    problem = MaskProblem.of(scores, pattern, keep, drop, score=score, framework=there)
    engine = configure(kind, options, problem.pattern, forced=problem.forced)
    run = _Solve(
        problem,
        engine,
        execution,
        start=_starting_prices(warm_start, problem),
        buffer=_buffer(out, problem),
        duals=duals,
        tiles=tiles,
    )
    # What is solved in one go has nothing to hand out before its end.
    in_one_go = problem.size <= min(engine.chunk_entries, _SMALL)
    with DefaultArithmetic(), catching(unless=in_one_go) as interruption:
        result = run.result(interruption, reason)
    if out is not None or framework is not None:
        result = replace(result, mask=_answer(result.mask, out, scores, framework, there))
    if interruption.happened:
        raise SolveInterrupted(result)
    if "negative_share" in result.stats:
        warnings.warn(_SIGNED.format(**result.stats), SignedScoresWarning, stacklevel=levels_up())
    return result


def _starting_prices(warm_start: Any, problem: MaskProblem) -> Prices | None:
    """Read the prices to start from, on the host or where the problem is."""
    if warm_start is None:
        return None
    prices = warm_start
    if isinstance(warm_start, MaskResult):
        asked = problem.asked
        shape = tuple(asked.scores.shape)
        if tuple(warm_start.mask.shape) != shape or warm_start.pattern != asked.pattern:
            raise ValueError(
                f"warm_start must be a result for pattern '{asked.pattern}' and shape {shape}, got "
                f"'{warm_start.pattern}' and {tuple(warm_start.mask.shape)}"
            )
        prices = warm_start.duals
        if prices is None and not any(problem.asked.tiling.lines):
            raise ValueError(f"warm_start must be left out: pattern '{problem.asked.pattern}' has no prices")
        if prices is None:
            raise ValueError("warm_start must hold its dual prices; solve with duals=True to keep them")
    if not isinstance(prices, (tuple, list)):
        raise TypeError(f"warm_start must be a MaskResult or its Prices, got {type(warm_start).__name__}")
    there = all(x is None or framework_of(x) is problem.framework for x in prices)
    return check_prices("warm_start", prices, problem.asked.tiling, problem.framework if there else None)


def _buffer(out: Any, problem: MaskProblem) -> npt.NDArray[np.bool_] | None:
    """Check ``out``; view it in NumPy if the mask is made on the host."""
    if out is None:
        return None
    scores = problem.asked.scores
    shape = tuple(scores.shape)
    if tuple(getattr(out, "shape", ())) != shape:
        raise ValueError(
            f"out must have the shape of scores {shape}, got {getattr(out, 'shape', type(out).__name__)}"
        )
    if dtype_name(out) != "bool":
        raise TypeError(f"out must be boolean, got dtype {out.dtype}")
    if problem.framework is not None:
        if framework_of(out) is not problem.framework or device_of(out) != device_of(scores):
            raise ValueError(f"out must be on the device of scores, {device_of(scores)}")
        return None
    framework = framework_of(out)
    array: Any = to_numpy("out", out)
    if (
        not isinstance(array, np.ndarray)
        or not array.flags.writeable
        or not (framework is None or framework.on_host(out))
    ):
        raise TypeError(
            f"out must be an array on the host that can be written to, got a {type(out).__name__}"
        )
    if np.may_share_memory(array, scores) and np.shares_memory(array, scores):
        raise ValueError("out must not share memory with scores")
    return array


def _answer(mask: Any, out: Any, scores: Any, framework: Framework | None, there: Framework | None) -> Any:
    """Give the mask in the array type of the scores, or in ``out``."""
    if out is not None:
        if there is not None:
            out[...] = mask
        return out
    return mask if framework is None or there is not None else framework.from_numpy(mask, scores)


@dataclass
class _Solve:
    """A solve on its way from the problem to the result."""

    problem: MaskProblem
    engine: Backend
    execution: Execution
    start: Prices | None
    buffer: npt.NDArray[np.bool_] | None
    duals: bool | None
    tiles: bool | None

    def result(self, interruption: Interruption, reason: str) -> MaskResult:
        """Lay out, solve and certify chunk by chunk, and sum up."""
        checks = self.engine.checks_scores or self._in_place()
        if not checks or self.problem.pattern.remainder == "dense":
            self.problem = self.problem.read()
        if self.problem.away:
            # A device shares the work out itself, and another thread would not have the caller's stream.
            self.execution = replace(self.execution, workers=1)
        execution = self.execution.advancing()
        try:
            layout = self._lay_out()
            reports = self._run(layout, execution, interruption)
        except UnfitScoresError:  # read() refuses them, or they are so large that prices must be float64
            self.problem = self.problem.read()
            layout = self._lay_out()
            try:
                reports = self._run(layout, execution, interruption)
            except UnfitScoresError:
                raise ValueError(
                    "scores must stay as they are during a solve, they were written to"
                ) from None
        return self._sum_up(layout, reports, reason)

    def _lay_out(self) -> Layout:
        if self.problem.framework is not None:
            kind = PlacedLayout if self._in_place() else DeviceLayout
            return kind(self.problem, prices=self.duals, tiles=self.tiles, start=self.start)
        on_host = PairedLayout if self.problem.apart else HostLayout
        return on_host(self.problem, mask=self.buffer, prices=self.duals, tiles=self.tiles, start=self.start)

    def _in_place(self) -> bool:
        """Whether the backend reads and writes arrays on a device where they are."""
        trusted = self.problem.framework is not None and finishes(type(self.engine))
        return trusted and self.engine.works_in_place(self.problem)

    def _run(self, layout: Layout, execution: Execution, interruption: Interruption) -> list[Report]:
        spans = self._spans(layout)
        # Pairs are solved in runs that have arrays of their own, where no other tile can be written.
        later = judged_later(self.engine) and not (self._in_place() or self.problem.apart)
        solve = partial(solved if later else certified, self.engine)
        tasks = [(last - first, partial(solve, block, first, last)) for block, first, last in spans]
        reports: list[Report] = []
        try:
            execution.collect(tasks, reports, interruption)
        except InfeasibleError as error:
            raise self._first_infeasible(error, spans[len(reports) :]) from None
        except KeyboardInterrupt:  # of progress, or where another handler of SIGINT is in place
            interruption.happened = True
        if later:
            reports = [judged(self.engine, *spans[k], report) for k, report in enumerate(reports)]
        unreached = spans[len(reports) :]
        if unreached and self.problem.forced:
            if interruption.happened:
                raise KeyboardInterrupt
            raise TimeLimitError(
                f"time_limit ended the solve after {len(reports)} of {len(spans)} chunks, and forced choices "
                f"leave no ready-made mask for the others; raise time_limit or workers"
            )
        filled = [fill(*span) for span in unreached]
        if not all(math.isfinite(report.objective) for report in filled):
            self.problem.read()  # nobody else has looked at the scores there; this points at the wrong one
        return reports + filled

    def _spans(self, layout: Layout) -> list[tuple[Any, int, int]]:
        if self._in_place():  # a device shares out the work itself
            return [(block, 0, block.tiles) for block in layout.blocks]
        if self.problem.away:
            entries = self.engine.device_entries
        else:
            entries = min(self.engine.chunk_entries, max(self.problem.size // _MANY, _SMALL))
        return [
            (block, first, last)
            for block in layout.blocks
            for first, last in block.runs(max(1, entries // math.prod(block.tile_shape)))
        ]

    def _first_infeasible(
        self, error: InfeasibleError, rest: list[tuple[Block, int, int]]
    ) -> InfeasibleError:
        """Find the infeasible tile of the lowest number: blocks at the edges come after all whole tiles."""
        for block, first, last in rest[1:]:
            if block.number(first) < error.tile:
                try:
                    certified(self.engine, block, first, last)
                except InfeasibleError as other:
                    error = min(error, other, key=lambda each: each.tile)
        return error

    def _sum_up(self, layout: Layout, reports: list[Report], reason: str) -> MaskResult:
        asked = self.problem.asked
        tails = asked.tail_sums()
        objective = math.fsum([report.objective for report in reports] + [kept for kept, _ in tails])
        bound = upper_sum([report.bound for report in reports] + [most for _, most in tails])
        if bound < objective or math.isnan(bound):
            raise BackendFailedError(
                f"backend '{self.engine.name}' reported a bound of {bound}, below its objective {objective}"
            )
        open_ = sum([report.open for report in reports])
        stats: dict[str, Any] = {
            "tiles": self.problem.tiling.tiles,
            "seconds": time.perf_counter() - self.execution.started,
            "workers": self.execution.workers,
            "chosen_because": reason,
            "open": open_,
        }
        for report in reports:
            for name, count in report.counts.items():
                stats[name] = stats.get(name, 0) + count
        negative = asked.negative_share()
        if negative is not None and abs(negative - 0.5) <= _HALF:
            stats["negative_share"] = negative
        if open_:
            worst = max(reports, key=lambda report: report.worst_gap)
            if worst.worst_tile >= 0:
                stats |= {"worst_tile": worst.worst_tile, "worst_gap": worst.worst_gap}
        status = Status.OPTIMAL if open_ == 0 and bound < math.inf else Status.FEASIBLE
        return MaskResult(
            mask=layout.mask if self.problem.framework is None else self.problem.spread(layout.mask),
            objective=objective,
            bound=bound,
            status=Status.TIME_LIMIT if stats.get("unreached") else status,
            backend=self.engine.name,
            pattern=asked.pattern,
            duals=layout.prices if bound < math.inf else None,
            tiles=self._tile_sums(layout) if bound < math.inf else None,
            stats=stats,
            score=asked.score,
        )

    def _tile_sums(self, layout: Layout) -> TileSums | None:
        objective = layout.tile_objective
        return None if objective is None else TileSums(objective, layout.tile_bound)
