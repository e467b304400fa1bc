# cython: language_level=3, boundscheck=False, wraparound=False
"""Columns of V:N:M tiles: a thin door between NumPy arrays and kernels/columns.hpp."""

from libc.stdint cimport uint8_t

import numpy as np


cdef extern from "kernels/columns.hpp" namespace "masksolve" nogil:
    cppclass ColumnTiles:
        const double* scores
        Py_ssize_t tiles
        int rows, columns
        bint exact
        long most
        uint8_t* mask
        double* objective
        double* bound
        long evaluated

    void c_choose_columns "masksolve::choose_columns"(ColumnTiles&) except +


def choose_columns(const double[:, :, ::1] scores, bint exact, long most):
    """Choose four columns of each tile, and two entries of them in each row.

    Returns
    -------
    mask : ndarray of bool, shape of ``scores``
    objective, bound : ndarray of float64, shape (tiles,)
    evaluated : int
        Sets of four columns, in all tiles.
    """
    cdef Py_ssize_t tiles = scores.shape[0]
    mask = np.zeros((scores.shape[0], scores.shape[1], scores.shape[2]), np.uint8)
    objective, bound = np.zeros(tiles), np.zeros(tiles)
    cdef uint8_t[:, :, ::1] masks = mask
    cdef double[::1] objectives = objective
    cdef double[::1] bounds = bound
    cdef ColumnTiles job
    job.evaluated = 0
    if mask.size:
        job.scores, job.tiles = &scores[0, 0, 0], tiles
        job.rows, job.columns = <int>scores.shape[1], <int>scores.shape[2]
        job.exact, job.most = exact, most
        job.mask, job.objective, job.bound = &masks[0, 0, 0], &objectives[0], &bounds[0]
        with nogil:
            c_choose_columns(job)
    return mask.view(np.bool_), objective, bound, job.evaluated
