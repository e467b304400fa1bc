"""How many to keep where: for one total, the n out of m of every layer, or of every group of its rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from glob import escape
from typing import Any, Unpack

import numpy as np

from .. import checks
from ..amounts import Budget
from ..arrays import check_shape
from ..backends import check_options
from ..frameworks import framework_of, to_numpy
from ..pattern import Pattern
from ..rounding import relative_gap
from ..solve import solve
from ..tiling import tiling_of
from ..types import BackendName, BackendOptions, Score
from .knapsack import Levels, choose
from .parts import Form, kept_entries, taken


@dataclass(frozen=True, eq=False)
class Allocation:
    """A pattern for every array, or for every group of its rows, and the proof of how good the choice is.

    What belongs to one array comes in the form of the scores: by name, one after the other, or alone.

    Attributes
    ----------
    patterns : dict, tuple or Pattern
        The pattern of each array; with ``rows`` a tuple of patterns for each, from the top down.
    kept : dict, tuple or float
        What the optimal masks of these patterns keep of each array.
    objective : float
        What they keep together.
    bound : float
        Proven upper bound on what any choice within the budget keeps together, whatever its masks; inf if
        the backend computes no bounds.
    price : float
        What one more entry can add at most, on average over a step of n; it proves the bound, see `Levels`.
    budget, used : int
        Entries that may be kept, and entries that the patterns chosen keep at most.
    entries : int
        Entries of all arrays.
    choices : tuple of int
        The n that were to choose from.
    levels : Levels
        Cost, value and bound of every unit (array or group of rows) at every choice, in that order.
    rows : int or None
        Rows of a group.
    form : Form
        The form of the scores.
    score : {"value", "magnitude", "square"}
        What an entry x of the scores was worth.
    """

    patterns: Any
    kept: Any
    objective: float
    bound: float
    price: float
    budget: int
    used: int
    entries: int
    choices: tuple[int, ...]
    levels: Levels
    rows: int | None
    form: Form = field(repr=False)
    score: Score = field(repr=False)

    @property
    def gap(self) -> float:
        """How far the choice may be from the best one, relative to the bound."""
        return relative_gap(self.objective, self.bound)

    @property
    def sparsity(self) -> float:
        """Share of the entries that are zero at least."""
        return 1 - self.used / self.entries if self.entries else 0.0

    @property
    def uniform(self) -> float:
        """What the largest n of the choices that fits everywhere keeps, for comparison."""
        (fitting,) = np.nonzero(self.levels.cost.sum(axis=0) <= self.budget)
        return math.fsum(self.levels.value[:, fitting[-1]].tolist())

    def recipe(self) -> dict[str, str]:
        """Patterns by name, as `masksolve.checkpoints.prune` takes them for its ``recipe``.

        Where all m of m are kept, ``"dense"``.

        Raises
        ------
        ValueError
            If the scores had no names, or rows were allocated: a recipe names whole tensors.
        """
        if self.form.names is None or self.rows is not None:
            raise ValueError("recipe needs scores by name, each with one pattern (rows=None)")
        return {
            escape(str(name)): "dense" if pattern.n == pattern.m else str(pattern)
            for name, pattern in self.patterns.items()
        }

    def masks(self, scores: Any, **options: Any) -> Any:
        """Solve every array by its pattern.

        Parameters
        ----------
        scores : as for `allocate`
            The same scores.
        **options
            ``backend``, ``workers`` and options of the backend, as for `masksolve.solve`.

        Returns
        -------
        dict, tuple or array of bool
            Masks of the array type and on the device of the scores.
        """
        found = []
        for array, patterns in zip(self.form.same(scores), self._by_array(), strict=True):
            masks = [
                solve(unit, pattern, score=self.score, duals=False, tiles=False, **options).mask
                for unit, pattern in zip(units_of(array, self.rows), patterns, strict=True)
            ]
            found.append(masks[0] if self.rows is None else _stacked(masks, array))
        return self.form.answer(found)

    def _by_array(self) -> list[Sequence[Pattern]]:
        patterns = self.form.listed(self.patterns)
        return [[each] if self.rows is None else each for each in patterns]

    def __repr__(self) -> str:
        kinds = [pattern for patterns in self._by_array() for pattern in patterns]
        counts = ", ".join(
            f"{kinds.count(kind)} x '{kind}'" for kind in sorted(set(kinds), key=lambda kind: kind.n)
        )
        return (
            f"Allocation({counts}; {100 * self.sparsity:.4g}% zeros, objective={self.objective:.9g}, "
            f"gap={self.gap:.2g})"
        )


def allocate(
    scores: Any,
    pattern: Pattern | str | tuple[int, int],
    *,
    sparsity: float | None = None,
    choices: Sequence[int] | None = None,
    rows: int | None = None,
    score: Score = "value",
    backend: BackendName | str = "auto",
    workers: int = 1,
    progress: Callable[[int, int], object] | None = None,
    **options: Unpack[BackendOptions],
) -> Allocation:
    """Choose how many of every m entries each array keeps, so that all together keep most.

    Every array (or every group of its rows) is solved for every n that may be chosen. What is kept is
    concave in n, so that handing out entries where the next ones are worth most is optimal for arrays of one
    size, and optimal but for a part of a single step for others (docs/theory.md). The dual bound says how
    much that can be.

    Parameters
    ----------
    scores : mapping of arrays, sequence of arrays, or array
        What each entry is worth, comparable between arrays: weights by their magnitudes, or calibrated
        saliencies. Arrays of any library that `masksolve.solve` takes.
    pattern : Pattern or str
        Its m, direction, constraint and remainder hold for all arrays; only n is chosen. Columns with a
        budget of their own keep the same share as the rows.
    sparsity : float, optional
        Share of all entries that must be zero, 0 to 1. By default as many entries are kept as by the
        pattern itself.
    choices : sequence of int, optional
        The n to choose from, such as those that hardware has; by default 1 to m, where m is dense.
    rows : int, optional
        Choose for every so many rows (axis -2) of an array; a multiple of m where tiles or groups extend
        along the rows. By default each array has one n.
    score : {"value", "magnitude", "square"}
        What an entry x of the scores is worth, as for `masksolve.solve`.
    backend, workers, **options
        As for `masksolve.solve`. The bound is one on all masks only for backends that compute bounds.
    progress : callable
        Called as ``progress(done, total)``, in entries times choices.

    Returns
    -------
    Allocation

    Raises
    ------
    TypeError, ValueError
        If an argument is not what it should be, or even the least n of the choices keeps too many entries.

    Examples
    --------
    >>> import numpy as np, masksolve as ms
    >>> rng = np.random.default_rng(0)
    >>> layers = {"small": rng.standard_normal((64, 64)), "large": 3 * rng.standard_normal((64, 64))}
    >>> found = ms.allocate(layers, "4:8-T", score="magnitude")
    >>> found
    Allocation(1 x '2:8-T', 1 x '6:8-T'; 50% zeros, objective=..., gap=...)
    >>> found.recipe()
    {'small': '2:8-T', 'large': '6:8-T'}
    >>> found.objective > found.uniform  # 4:8-T everywhere
    True
    """
    check_options(allocate, backend, options)
    pattern = Pattern.parse(pattern)
    form, arrays = taken(scores)
    chosen = choices_of(pattern, choices)
    for number, shape in enumerate(form.shapes):
        check_shape(form.called(number), shape, pattern)
        _check_rows(form.called(number), shape, pattern, rows)
    how: dict[str, Any] = {"score": score, "backend": backend, "workers": workers, **options}
    found: list[list[Levels]] = []
    done, total = 0, form.entries * len(chosen)
    for array in arrays:
        found.append([])
        for unit in units_of(array, rows):
            found[-1].append(levels_of(unit, pattern, chosen, how))
            done += math.prod(unit.shape) * len(chosen)
            if progress is not None:
                progress(done, total)
    return allocated(form, pattern, chosen, found, sparsity=sparsity, rows=rows, score=score)


def allocated(
    form: Form,
    pattern: Pattern,
    choices: tuple[int, ...],
    found: Sequence[Sequence[Levels]],
    *,
    sparsity: float | None,
    rows: int | None = None,
    score: Score = "magnitude",
) -> Allocation:
    """Choose among the levels of each array's units."""
    levels = Levels(*map(np.concatenate, zip(*(unit for units in found for unit in units), strict=True)))
    if sparsity is None:
        budget = sum(tiling_of(pattern, shape).capacity for shape in form.shapes)
    else:
        budget = kept_entries(sparsity, form.entries)
    least = int(levels.cost[:, 0].sum())
    if budget < least:
        raise ValueError(
            f"sparsity must leave at least {least} of {form.entries} entries, which n={choices[0]} keeps "
            f"everywhere; it leaves {budget}"
        )
    choice = choose(levels, budget)
    patterns: list[Any] = []
    kept: list[float] = []
    first = 0
    for units in found:
        mine = choice.level[first : first + len(units)].tolist()
        chosen = tuple(with_n(pattern, choices[level]) for level in mine)
        patterns.append(chosen[0] if rows is None else chosen)
        kept.append(math.fsum(unit.value[0, level] for unit, level in zip(units, mine, strict=True)))
        first += len(units)
    return Allocation(
        patterns=form.answer(patterns),
        kept=form.answer(kept),
        objective=choice.objective,
        bound=choice.bound,
        price=choice.price,
        budget=budget,
        used=choice.cost,
        entries=form.entries,
        choices=choices,
        levels=levels,
        rows=rows,
        form=form,
        score=score,
    )


def levels_of(scores: Any, pattern: Pattern, choices: Sequence[int], how: dict[str, Any]) -> Levels:
    """Solve a unit for every n of the choices; one row of levels."""
    cost, value, bound = [], [], []
    for n in choices:
        each = with_n(pattern, n)
        result = solve(scores, each, duals=False, tiles=False, **how)
        cost.append(tiling_of(each, tuple(scores.shape)).capacity)
        value.append(result.objective)
        bound.append(result.bound)
    return Levels(np.array([cost], np.int64), np.array([value], np.float64), np.array([bound], np.float64))


def with_n(pattern: Pattern, n: int) -> Pattern:
    """Give the pattern with another n; columns with a budget of their own keep the same share."""
    if pattern.columns is None:
        return replace(pattern, n=n)
    return replace(pattern, n=n, columns=Budget(n * pattern.columns.m // pattern.m, pattern.columns.m))


def choices_of(pattern: Pattern, choices: Sequence[int] | None) -> tuple[int, ...]:
    """Check the n to choose from; ascending, each once."""
    if pattern.vector is not None:
        raise ValueError(f"pattern must have an n to choose, got '{pattern}', whose hardware keeps 2 of 4")
    unit = 2 if pattern.pair else 1
    step = math.lcm(*(unit * pattern.m // math.gcd(unit * pattern.m, m) for _, m in pattern.budgets.values()))
    if choices is None:
        return tuple(range(step, pattern.m + 1, step))
    if isinstance(choices, (str, bytes)) or not isinstance(choices, (Sequence, np.ndarray)):
        raise TypeError(f"choices must be a sequence of integers such as (2, 4), got {choices!r}")
    found = {checks.integer("choices", n, least=1, most=pattern.m) for n in choices}
    if not found:
        raise ValueError("choices must hold at least one n, got none")
    odd = [n for n in found if n % step]
    if odd:
        raise ValueError(f"choices must be multiples of {step} for pattern '{pattern}', got {odd[0]}")
    return tuple(sorted(found))


def units_of(array: Any, rows: int | None) -> Iterator[Any]:
    """Cut an array into its groups of rows, as views; without ``rows`` into the whole array alone."""
    if rows is None:
        yield array
        return
    for first in range(0, array.shape[-2], rows):
        yield array[..., first : first + rows, :]


def _check_rows(name: str, shape: tuple[int, ...], pattern: Pattern, rows: int | None) -> None:
    if rows is None:
        return
    checks.integer("rows", rows, least=1)
    if len(shape) < 2:
        raise ValueError(f"rows needs arrays of at least two axes, {name} has shape {shape}")
    for axis, (_, m) in pattern.budgets.items():
        if axis % len(shape) == len(shape) - 2 and rows % m:
            raise ValueError(f"rows must be a multiple of m={m}, along which '{pattern}' runs, got {rows}")


def _stacked(masks: list[Any], like: Any) -> Any:
    """Put the masks of groups of rows together again."""
    whole = np.concatenate([np.asarray(to_numpy("masks", mask)) for mask in masks], axis=-2)
    framework = framework_of(like)
    return whole if framework is None else framework.from_numpy(whole, like)
