# cython: language_level=3
"""A block of tiles as the C++ core sees it."""

from libc.stdint cimport int64_t
from strided cimport Dtype, Strided, dtype_code, strided


cdef extern from "arrays/job.hpp" namespace "masksolve" nogil:
    enum class Status(int):
        done
        infeasible
        unfit
        wrong
        out_of_memory

    enum class Axis(int):
        row
        column

    enum class Score(int):
        value
        magnitude
        square

    cppclass Job:
        Strided scores, mask, keep, drop, rows, columns, start_rows, start_columns, tile_objective, tile_bound
        Dtype dtype
        Score score
        bint start_is_double, groups_in_columns
        int height, width, row_least, row_most, column_least, column_most
        double largest
        Py_ssize_t first, last
        bint in_double()

    cppclass Outcome:
        double objective, bound, largest, worst_gap
        int64_t augmentations, steps, refined, exactly, open, unfilled
        Status status
        Py_ssize_t tile, worst_tile
        Axis axis
        int index


cdef inline int fill_job(Job& job, object block, Py_ssize_t first, Py_ssize_t last) except -1:
    """Describe tiles ``first`` to ``last`` - 1 of a block, whose arrays the caller must keep alive."""
    job.scores = strided(block.scores)
    job.mask = strided(block.mask)
    job.keep = strided(block.keep)
    job.drop = strided(block.drop)
    job.tile_objective = strided(block.tile_objective)
    job.tile_bound = strided(block.tile_bound)
    job.dtype = dtype_code(block.scores)
    job.score = score_code(block.score)
    job.groups_in_columns = block.groups_in_columns
    job.height, job.width = block.tile_shape
    job.row_least, job.row_most = block.row_bounds
    job.column_least, job.column_most = block.column_bounds
    job.largest = block.largest
    job.first = first
    job.last = last
    if block.prices is not None:
        # The core writes raw memory: an array of another type would be overrun.
        dtype = "float64" if job.in_double() else "float32"
        job.rows = prices("prices", block.prices.rows, dtype)
        if block.prices.columns is not None:
            job.columns = prices("prices", block.prices.columns, dtype)
    if block.start is not None:
        dtype = "float64" if block.start.rows.dtype == "float64" else "float32"
        job.start_is_double = dtype == "float64"
        job.start_rows = prices("start", block.start.rows, dtype)
        if block.start.columns is not None:
            job.start_columns = prices("start", block.start.columns, dtype)
    return 0


cdef inline Score score_code(str score) except *:
    if score == "value":
        return Score.value
    if score == "magnitude":
        return Score.magnitude
    if score == "square":
        return Score.square
    raise ValueError(f"score must be 'value', 'magnitude' or 'square', got {score!r}")


cdef inline Strided prices(str name, object array, str dtype) except *:
    if array.dtype != dtype:
        raise TypeError(f"{name} must hold {dtype} here, got {array.dtype}")
    return strided(array)
