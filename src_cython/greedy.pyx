# cython: language_level=3
"""Keep-greedy and Algorithm 1: a thin door between NumPy arrays and the C++ core."""

from strided cimport Dtype, Strided, dtype_code, strided

from masksolve.errors import BackendFailedError


cdef extern from "heuristic.hpp" namespace "masksolve" nogil:
    enum class Ending(int):
        done
        infeasible
        out_of_memory

    cppclass Bounds:
        int least, most

    cppclass Tally:
        Ending ending
        double objective
        Py_ssize_t unfilled

    Tally run_greedy(const Strided&, Dtype, const Strided&, Bounds, Bounds, Py_ssize_t, Py_ssize_t)
    Tally run_cover(const Strided&, Dtype, const Strided&, Bounds, Bounds, Py_ssize_t, Py_ssize_t)


def solve_greedy(block, Py_ssize_t first, Py_ssize_t last):
    """Keep-greedy on tiles ``first`` to ``last`` - 1 of a block; ``(objective, unfilled)``."""
    return _solve(block, first, last, False)


def solve_cover(block, Py_ssize_t first, Py_ssize_t last):
    """Algorithm 1 on tiles ``first`` to ``last`` - 1 of a block; ``(objective, unfilled)``."""
    return _solve(block, first, last, True)


cdef _solve(block, Py_ssize_t first, Py_ssize_t last, bint by_cover):
    cdef Strided scores = strided(block.scores)
    cdef Strided mask = strided(block.mask)
    cdef Dtype dtype = dtype_code(block.scores)
    cdef Bounds rows, columns
    cdef Tally tally
    rows.least, rows.most = block.row_bounds
    columns.least, columns.most = block.column_bounds
    with nogil:
        if by_cover:
            tally = run_cover(scores, dtype, mask, rows, columns, first, last)
        else:
            tally = run_greedy(scores, dtype, mask, rows, columns, first, last)
    if tally.ending == Ending.out_of_memory:
        raise MemoryError("no memory for the workspace of a tile")
    if tally.ending == Ending.infeasible:
        raise BackendFailedError(
            f"no mask keeps {block.row_bounds} entries a row and {block.column_bounds} a column "
            f"of a tile of shape {block.tile_shape}"
        )
    return tally.objective, tally.unfilled
