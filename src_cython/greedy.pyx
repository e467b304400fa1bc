# cython: language_level=3
"""Keep-greedy and Algorithm 1: a thin door between NumPy arrays and the C++ core."""

from job cimport Job, Outcome, Status, fill_job

from masksolve.errors import BackendFailedError


cdef extern from "heuristics/run.hpp" namespace "masksolve" nogil:
    void run_greedy(const Job&, Outcome&)
    void run_cover(const Job&, Outcome&)


def solve_greedy(block, Py_ssize_t first, Py_ssize_t last):
    """Keep-greedy on tiles ``first`` to ``last`` - 1 of a block; ``(objective, unfilled)``."""
    return _solve(block, first, last, False)


def solve_cover(block, Py_ssize_t first, Py_ssize_t last):
    """Algorithm 1 on tiles ``first`` to ``last`` - 1 of a block; ``(objective, unfilled)``."""
    return _solve(block, first, last, True)


cdef _solve(block, Py_ssize_t first, Py_ssize_t last, bint by_cover):
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
