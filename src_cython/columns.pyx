# cython: language_level=3
"""Columns of tiles: which four of them a V:N:M tile keeps, and what tiles are worth after one is exchanged.

A thin door between NumPy arrays, kernels/columns.hpp and tile_values.hpp.
"""

from libc.stdint cimport int32_t, uint8_t
from strided cimport packed

import numpy as np


cdef extern from "kernels/columns.hpp" namespace "masksolve" nogil:
    cppclass ColumnTiles:
        const double* scores
        Py_ssize_t tiles
        int rows, columns
        bint exact
        long most
        const uint8_t* keep
        const uint8_t* drop
        uint8_t* mask
        uint8_t* feasible
        double* objective
        double* bound
        long evaluated

    void c_choose_columns "masksolve::choose_columns"(ColumnTiles&) except +

cdef extern from "tile_values.hpp" namespace "masksolve" nogil:
    void c_max_plus "masksolve::max_plus"(
        const float*, const float*, float*, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t) except +
    void c_listed_table "masksolve::listed_table"(
        const float*, Py_ssize_t, int, const uint8_t*, int, const int32_t*, Py_ssize_t, float*) except +
    void c_held_table "masksolve::held_table"(
        const float*, Py_ssize_t, int, int, const uint8_t*, int, const int32_t*, int, const int32_t*, float*) except +



def choose_columns(scores, bint exact, long most, keep=None, drop=None):
    """Choose four columns of each tile, and two entries of them in each row.

    Parameters
    ----------
    scores : ndarray of float64, shape (tiles, rows, columns), C-contiguous
    exact : bool
        Two entries in each row, or at most two.
    most : int
        Sets of four columns that may be evaluated in a tile of more than 16 columns.
    keep, drop : ndarray of bool, shape of ``scores``, C-contiguous, or None
        Forced choices.

    Returns
    -------
    mask : ndarray of bool, shape of ``scores``
    objective, bound : ndarray of float64, shape (tiles,)
    feasible : ndarray of bool, shape (tiles,)
        Whether the forced choices leave a mask; if not, nothing else is known of a tile.
    evaluated : int
        Sets of four columns, in all tiles.
    """
    tiles, rows, columns = scores.shape
    mask = np.zeros(scores.shape, np.bool_)
    objective, bound, feasible = np.zeros(tiles), np.zeros(tiles), np.ones(tiles, np.bool_)
    cdef ColumnTiles job
    job.evaluated = 0
    job.keep = job.drop = NULL
    if mask.size:
        job.scores = <const double*>packed("scores", scores, "float64", scores.shape)
        job.tiles, job.rows, job.columns = tiles, rows, columns
        job.exact, job.most = exact, most
        if keep is not None:
            job.keep = <const uint8_t*>packed("keep", keep, "bool", scores.shape)
        if drop is not None:
            job.drop = <const uint8_t*>packed("drop", drop, "bool", scores.shape)
        job.mask = <uint8_t*>packed("mask", mask, "bool", mask.shape)
        job.feasible = <uint8_t*>packed("feasible", feasible, "bool", (tiles,))
        job.objective = <double*>packed("objective", objective, "float64", (tiles,))
        job.bound = <double*>packed("bound", bound, "float64", (tiles,))
        with nogil:
            c_choose_columns(job)
    return mask, objective, bound, feasible, job.evaluated


def max_plus(held, freed, sums):
    """Add to ``sums[g, c]`` the sum over b of the maximum over k of ``held[b, g, k] + freed[b, k, c]``.

    All are float32 and C-contiguous.
    """
    cdef Py_ssize_t tiles, groups, entries, channels
    tiles, groups, entries = held.shape
    channels = freed.shape[2]
    cdef const float* a = <const float*>packed("held", held, "float32", (tiles, groups, entries))
    cdef const float* b = <const float*>packed("freed", freed, "float32", (tiles, entries, channels))
    cdef float* to = <float*>packed("sums", sums, "float32", (groups, channels))
    if tiles and groups and entries and channels:
        with nogil:
            c_max_plus(a, b, to, tiles, groups, entries, channels)


def held_table(weights, int n, sets, walk, nearest, values):
    """Value of the held channels of every tile, for every set of entries that its free channel keeps.

    ``weights`` (tiles, m - 1, m) and ``values`` (tiles, sets) are float32, ``sets`` uint8, ``walk`` and
    ``nearest`` int32, all of them C-contiguous.
    """
    cdef Py_ssize_t tiles = weights.shape[0], k
    cdef int m = weights.shape[2], count = len(sets), steps = len(walk)
    if not 1 <= n <= m <= 8:
        raise ValueError(f"weights must have shape (tiles, m - 1, m) with n <= m <= 8, got {weights.shape}")
    cdef const float* scores = <const float*>packed("weights", weights, "float32", (tiles, m - 1, m))
    cdef const uint8_t* set_bits = <const uint8_t*>packed("sets", sets, "uint8", (count,))
    cdef const int32_t* path = <const int32_t*>packed("walk", walk, "int32", (steps,))
    cdef const int32_t* step_of = <const int32_t*>packed("nearest", nearest, "int32", (count,))
    cdef float* to = <float*>packed("values", values, "float32", (tiles, count))
    for k in range(steps):
        if not 0 <= path[k] < count:
            raise ValueError(f"walk must hold numbers of sets from 0 to {count - 1}, got {path[k]}")
    for k in range(count):
        if not 0 <= step_of[k] < steps:
            raise ValueError(f"nearest must hold numbers of steps from 0 to {steps - 1}, got {step_of[k]}")
    if tiles and count and steps and m > 1:
        with nogil:
            c_held_table(scores, tiles, n, m, set_bits, count, path, steps, step_of, to)


def listed_table(weights, sets, masks, values):
    """The same by a list of masks: the set of the free channel, then those of the held ones, in each row.

    ``masks`` (listed, m) is int32 and C-contiguous.
    """
    cdef Py_ssize_t tiles = weights.shape[0], listed = len(masks)
    cdef int m = weights.shape[2], count = len(sets)
    if not 1 <= m <= 8:
        raise ValueError(f"weights must have shape (tiles, m - 1, m) with m <= 8, got {weights.shape}")
    cdef const float* scores = <const float*>packed("weights", weights, "float32", (tiles, m - 1, m))
    cdef const uint8_t* set_bits = <const uint8_t*>packed("sets", sets, "uint8", (count,))
    cdef const int32_t* rows = <const int32_t*>packed("masks", masks, "int32", (listed, m))
    cdef float* to = <float*>packed("values", values, "float32", (tiles, count))
    if tiles and count and listed and m > 1:
        with nogil:
            c_listed_table(scores, tiles, m, set_bits, count, rows, listed, to)
