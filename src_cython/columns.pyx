# cython: language_level=3
"""Columns of V:N:M tiles: a thin door between NumPy arrays and kernels/columns.hpp."""

from libc.stdint cimport uint8_t
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
