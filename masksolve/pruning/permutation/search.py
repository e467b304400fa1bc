"""`search`: an order of channels in which an N:M mask keeps more."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ... import checks
from ...execution import Execution
from ...pattern import Pattern
from ...solve import solve
from ...types import Float64Array, Score
from .ceiling import ceiling_of
from .members import Int64Array, Member, OutOfTimeError
from .reading import Request, read
from .rounds import Climb, block_for

_KICKED = 3
"""Groups that are shuffled before each restart: with 2, 3, 5 and 8, 3 gained most on uniform scores."""


@dataclass(frozen=True, eq=False)
class Permutation:
    """An order of channels.

    Attributes
    ----------
    order : dict of ndarray of int64
        For one array: for each axis that was searched, which channel to take for every place,
        ``numpy.take(scores, order[axis], axis)``. For a list of matrices: the same by the number of the
        list's entry, for the axis named there.
    units : dict of ndarray of int64
        For each axis (for a list: 0), which unit takes every unit's places.
    before, objective : float
        Kept sums of the best masks before and after; ``objective`` is never the smaller one.
    ceiling : float
        Proven upper bound of the kept sum of every order of these axes, whatever units and labels allow.
    rounds : tuple of float
        Kept sums before the first round and after each, restarts included, as the search saw them: of
        scores rounded to float32, those far below what a tile can keep raised.
    """

    order: dict[int, Int64Array]
    units: dict[int, Int64Array]
    before: float
    objective: float
    ceiling: float
    rounds: tuple[float, ...]

    def take(self, array: npt.ArrayLike) -> npt.NDArray[Any]:
        """Bring an array of the shape of the scores into the order found; only for one array."""
        taken = np.asarray(array)
        if min(self.order, default=-1) >= 0:
            raise ValueError("take must be used on one array; a list's matrices have an order each")
        for axis, order in self.order.items():
            taken = np.take(taken, order, axis=axis)
        return taken


def search(
    scores: Any,
    pattern: Pattern | str,
    *,
    axes: tuple[int, ...] | int = (-1,),
    units: Mapping[int, npt.ArrayLike] | npt.ArrayLike | None = None,
    labels: Mapping[int, npt.ArrayLike] | npt.ArrayLike | None = None,
    score: Score = "value",
    rounds: int = 100,
    restarts: int = 0,
    tolerance: float = 2e-5,
    block: int | None = None,
    seed: int = 0,
    workers: int = 1,
    time_limit: float | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> Permutation:
    """Search for an order of channels in which the best mask keeps more, and bound what any order can.

    A round takes one random channel out of every group, values every one of them in every group *exactly*,
    the rest held, and brings them back by one assignment problem; staying is one of the assignments, so that
    no step loses. It goes on with the other channels, then with the other axis. The method extends the
    assignment of Zhang et al. 2024, whose values are those of one-directional groups, to transposable
    patterns and to both axes.

    Parameters
    ----------
    scores : array of real numbers, shape (..., R, C), or list of tuples
        What entries are worth; leading axes are a batch in which all matrices share the order. A list of
        ``(matrix, axis)`` are matrices that share one order, each along its axis (-1 or -2): the hidden
        dimension of an MLP is ``[(up, -2), (down, -1)]`` for weights (outputs, inputs). A third entry
        ``places``, of shape (units, k), tells which places along the axis each unit takes, in order;
        places of no unit stay as they are.
    pattern : Pattern or str
        Such as ``"2:4"`` or ``"4:8-T"``; groups that the edge cuts short stay as they are.
    axes : tuple of int
        Axes of a single array to reorder: (-1,), (-2,) or (-2, -1).
    units : mapping from axis to array of int, shape (units, k)
        Channels that move together and keep their order, as places along the axis; by default each channel
        is a unit. An array alone holds for every axis.
    labels : mapping from axis to array of int, shape (units,)
        Units change places only with units of the same label; below zero they stay. An array alone holds
        for every axis.
    score : {"value", "magnitude", "square"}
        What an entry x is worth: x, abs(x) or x * x.
    rounds : int
        Most rounds of a descent, which ends earlier when two successive rounds bring too little.
    restarts : int
        How often to shuffle a few groups of the best order and descend again.
    tolerance : float
        What a round must gain at least, relative to the kept sum, not to count as too little.
    block : int
        Most channels in one assignment problem, by default 1024, or 64 where the pattern's tiles have to
        be solved one by one. More are cut into blocks at random, so that the time of a round grows linearly.
    seed : int
        Of all random choices. The order found depends on it and on nothing else but ``time_limit``.
    workers : int
        Number of threads; -1 for all processors.
    time_limit : float
        Seconds after which the search ends with the best order so far.
    progress : callable
        Called as ``progress(done, total)``, in rounds; fewer than ``total`` may be needed.

    Returns
    -------
    Permutation
        ``order``, ``before``, ``objective``, ``ceiling``, ``rounds``.

    Raises
    ------
    TypeError, ValueError
        If an argument is not what it should be.
    BackendUnavailableError
        If SciPy is not installed (extra ``highs``).

    References
    ----------
    Pool, Yu. Channel Permutations for N:M Sparsity. NeurIPS 2021.
    Zhang, Bai, Lin, Zhao, Hou, Cannistraci. Plug-and-Play: An Efficient Post-training Pruning Method for
    Large Language Models (RIA and channel permutation). ICLR 2024.

    Examples
    --------
    >>> import numpy as np
    >>> found = search(np.array([[9., 8., 7., 6., 1., 1., 1., 1.]]), "2:4")
    >>> found.before, found.objective, round(found.ceiling, 6)
    (19.0, 30.0, 30.0)
    >>> found.take(np.arange(8)[None]).shape
    (1, 8)
    """
    execution = Execution.of(workers, time_limit, progress)
    rounds = checks.integer("rounds", rounds, least=0)
    restarts = checks.integer("restarts", restarts, least=0)
    seed = checks.integer("seed", seed, least=0)
    tolerance = checks.number("tolerance", tolerance, least=0)
    request = read(scores, pattern, axes, units, labels, score)
    block = block_for(request.pattern) if block is None else checks.integer("block", block, least=2)
    told = _Progress(progress, rounds * (1 + restarts))
    quiet = Execution(execution.workers, execution.deadline, None, execution.started)
    climb = Climb(request.matrices(quiet), np.random.default_rng(seed), block)
    _climb(climb, rounds, restarts, tolerance, told)
    return _result(request, climb, execution.workers)


class _Progress:
    """Count rounds for the caller's ``progress``."""

    def __init__(self, report: Callable[[int, int], object] | None, total: int) -> None:
        self.report, self.total, self.done = report, total, 0

    def __call__(self) -> None:
        self.done += 1
        if self.report is not None:
            self.report(self.done, self.total)


def _climb(climb: Climb, rounds: int, restarts: int, tolerance: float, told: Callable[[], None]) -> None:
    """Descend once, then from shuffled copies of the best order; end at the best one."""
    best, kept = climb.orders(), climb.kept
    try:
        climb.descend(rounds, tolerance, told)
        for _ in range(restarts):
            best, kept = climb.orders(), climb.kept
            climb.perturb(_KICKED)
            climb.descend(rounds, tolerance, told)
            if climb.kept < kept:
                climb.restore(best, kept)
    except OutOfTimeError:
        # The descent stopped between two assignments, none of which loses; a restart may still be below.
        climb.restore(climb.orders(), climb.value())
        if climb.kept < kept:
            climb.restore(best, kept)


def _result(request: Request, climb: Climb, workers: int) -> Permutation:
    """Value the first and the last order by the scores as they were given."""
    before = sum(_kept(scores, request.pattern, workers) for scores in request.scores)
    present = [
        _ordered(scores, climb.matrices.dimensions, number) for number, scores in enumerate(request.scores)
    ]
    after = sum(_kept(scores, request.pattern, workers) for scores in present)
    if after < before:
        for dimension in climb.matrices.dimensions:
            dimension.place(np.arange(len(dimension.order)))
        after = before
    ceiling = 0.0
    for number, scores in enumerate(request.scores):
        axes = request.axes(number)
        if axes:
            ceiling += ceiling_of(scores, request.pattern, axes)
        else:
            ceiling += solve(scores, request.pattern, duals=False, workers=workers).bound
    members = [member for dimension in climb.matrices.dimensions for member in dimension.members]
    keys = [member.axis for member in members] if request.single else range(len(members))
    dimensions = {(d.members[0].axis if request.single else 0): d.order for d in climb.matrices.dimensions}
    return Permutation(
        order={key: member.content.copy() for key, member in zip(keys, members, strict=True)},
        units=dimensions,
        before=before,
        objective=after,
        ceiling=max(ceiling, after),
        rounds=tuple(kept * request.scale for kept in climb.history),
    )


def _kept(scores: Float64Array, pattern: Pattern, workers: int) -> float:
    return solve(scores, pattern, duals=False, workers=workers).objective


def _ordered(scores: Float64Array, dimensions: list[Any], number: int) -> Float64Array:
    members: list[Member] = [member for dimension in dimensions for member in dimension.members]
    for member in members:
        if member.matrix == number:
            scores = np.take(scores, member.content, axis=member.axis)
    return scores
