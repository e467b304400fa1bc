# cython: language_level=3
"""The exact engine: a thin door between NumPy arrays and the C++ core."""

import numpy as np

from libc.stdint cimport int64_t
from strided cimport Dtype, Strided, dtype_code, strided


cdef extern from "job.hpp" namespace "masksolve" nogil:
    enum class Status(int):
        done
        infeasible
        unfit

    enum class Axis(int):
        row
        column

    cppclass Job:
        Strided scores, mask, keep, drop, rows, columns, start_rows, start_columns
        Dtype dtype
        bint start_is_double, upright
        int height, width, row_least, row_most, column_least, column_most
        double largest
        Py_ssize_t first, last

    cppclass Outcome:
        double objective, bound, largest
        int64_t augmentations, steps
        Status status
        Py_ssize_t tile
        Axis axis
        int index


cdef extern from "dispatch.hpp" namespace "masksolve" nogil:
    cppclass Engine:
        const char* name
        bint runs_here()
        void solve_tiles(const Job&, Outcome&)

    const Engine engines[]
    const int engine_count


def instruction_sets():
    """The instruction sets that were compiled, best first, and whether each runs here."""
    return {engines[k].name.decode(): bool(engines[k].runs_here()) for k in range(engine_count)}


def solve_tiles(block, Py_ssize_t first, Py_ssize_t last, str instruction_set):
    """Solve tiles ``first`` to ``last`` - 1 of a block in place.

    Returns
    -------
    tuple or None
        ``(objective, bound, largest, augmentations, steps)``; or ``(tile, axis, index)`` of the first
        line that forced choices leave without a solution; or None if a score is not finite or larger
        than ``block.largest``.
    """
    cdef Job job
    cdef Outcome outcome
    cdef int engine = list(instruction_sets()).index(instruction_set)
    job.scores = strided(block.scores)
    job.mask = strided(block.mask)
    job.keep = strided(block.keep)
    job.drop = strided(block.drop)
    if block.prices is not None:
        job.rows = strided(block.prices.rows)
        job.columns = strided(block.prices.columns)
    if block.start is not None:
        job.start_rows = strided(block.start.rows)
        job.start_columns = strided(block.start.columns)
        job.start_is_double = block.start.rows.dtype == np.float64
    job.dtype = dtype_code(block.scores)
    job.upright = block.upright
    job.height, job.width = block.tile_shape
    job.row_least, job.row_most = block.row_bounds
    job.column_least, job.column_most = block.column_bounds
    job.largest = block.largest
    job.first = first
    job.last = last
    with nogil:
        engines[engine].solve_tiles(job, outcome)
    if outcome.status == Status.infeasible:
        return outcome.tile, "row" if outcome.axis == Axis.row else "column", outcome.index
    if outcome.status == Status.unfit:
        return None
    return outcome.objective, outcome.bound, outcome.largest, outcome.augmentations, outcome.steps
