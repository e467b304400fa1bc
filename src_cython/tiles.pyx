# cython: language_level=3
"""Solvers of blocks of tiles, exact and greedy: a thin door between NumPy arrays and the C++ core."""

from collections import namedtuple

from job cimport Axis, Job, Outcome, Status, fill_job

from masksolve.errors import BackendFailedError


cdef extern from "drivers/dispatch.hpp" namespace "masksolve" nogil:
    cppclass Engine:
        const char* name
        bint runs_here()

    const Engine engines[]
    const int engine_count

    void run_tiles "masksolve::solve_tiles"(int, const Job&, Outcome&)
    void c_fill_tiles "masksolve::fill_tiles"(int, const Job&, Outcome&)

cdef extern from "heuristics/run.hpp" namespace "masksolve" nogil:
    void run_greedy(const Job&, Outcome&)
    void run_cover(const Job&, Outcome&)


Solved = namedtuple(
    "Solved",
    "objective bound largest open worst_tile worst_gap refined exactly augmentations steps",
)


def instruction_sets():
    """The instruction sets that were compiled, best first, and whether each runs here."""
    return {engines[k].name.decode(): bool(engines[k].runs_here()) for k in range(engine_count)}


_NUMBERS = {name: number for number, name in enumerate(instruction_sets())}


def solve_tiles(block, Py_ssize_t first, Py_ssize_t last, str instruction_set):
    """Solve tiles ``first`` to ``last`` - 1 of a block in place.

    Returns
    -------
    Solved or tuple or None
        What was found, summed over the tiles; or ``(tile, axis, index)`` of the first line that forced
        choices leave without a solution; or None if a score is not finite or larger than
        ``block.largest``.
    """
    cdef Job job
    cdef Outcome outcome
    cdef int engine = _NUMBERS[instruction_set]
    fill_job(job, block, first, last)
    with nogil:
        run_tiles(engine, job, outcome)
    if outcome.status == Status.infeasible:
        return outcome.tile, "row" if outcome.axis == Axis.row else "column", outcome.index
    if outcome.status == Status.unfit:
        return None
    if outcome.status == Status.out_of_memory:
        raise MemoryError("no memory for the workspace of a tile")
    if outcome.status == Status.wrong:
        raise BackendFailedError(
            f"the engine wrote a mask that breaks the pattern, at or after tile {block.number(outcome.tile)}; "
            f"please report it, with the scores"
        )
    return Solved(
        outcome.objective, outcome.bound, outcome.largest, outcome.open, outcome.worst_tile, outcome.worst_gap,
        outcome.refined, outcome.exactly, outcome.augmentations, outcome.steps,
    )


def fill_tiles(block, Py_ssize_t first, Py_ssize_t last, str instruction_set):
    """Give tiles ``first`` to ``last`` - 1 of a block a ready-made mask.

    Returns
    -------
    tuple or None
        ``(objective, bound)`` at prices of 0, summed over the tiles; or None if a score is not finite or
        too large to be summed.
    """
    cdef Job job
    cdef Outcome outcome
    cdef int engine = _NUMBERS[instruction_set]
    fill_job(job, block, first, last)
    with nogil:
        c_fill_tiles(engine, job, outcome)
    return None if outcome.status == Status.unfit else (outcome.objective, outcome.bound)


def solve_greedy(block, Py_ssize_t first, Py_ssize_t last):
    """Keep-greedy on tiles ``first`` to ``last`` - 1 of a block; ``(objective, unfilled)``."""
    return _solve_by_rule(block, first, last, False)


def solve_cover(block, Py_ssize_t first, Py_ssize_t last):
    """Algorithm 1 on tiles ``first`` to ``last`` - 1 of a block; ``(objective, unfilled)``."""
    return _solve_by_rule(block, first, last, True)


cdef _solve_by_rule(block, Py_ssize_t first, Py_ssize_t last, bint by_cover):
    cdef Job job
    cdef Outcome outcome
    fill_job(job, block, first, last)
    with nogil:
        if by_cover:
            run_cover(job, outcome)
        else:
            run_greedy(job, outcome)
    if outcome.status == Status.out_of_memory:
        raise MemoryError("no memory for the workspace of a tile")
    if outcome.status == Status.infeasible:
        raise BackendFailedError(
            f"no mask keeps {block.row_bounds} entries a row and {block.column_bounds} a column "
            f"of a tile of shape {block.tile_shape}"
        )
    return outcome.objective, outcome.unfilled
