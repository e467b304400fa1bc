# cython: language_level=3, boundscheck=False, wraparound=False
"""Counting masks: a thin door between NumPy arrays and the C++ core."""

import numpy as np


cdef extern from "counting/power_sum.hpp" namespace "masksolve" nogil:
    const int panel_width

    cppclass Stored:
        const double* panels
        const double* weights
        const Py_ssize_t* begin

    cppclass Streamed:
        const double* roots
        const int* classes
        int count, size
        const double* inverse_factorials

    cppclass Field:
        double prime
        int length, exponent, classes

    void c_sum_of_powers "masksolve::sum_of_powers"(
        const Field&, const Streamed&, const Stored&, const int*, int, double*
    )

PANEL_WIDTH = panel_width


def sum_of_powers(
    double prime,
    int exponent,
    const double[::1] roots,
    const int[::1] classes,
    int size,
    const double[::1] inverse_factorials,
    const double[:, :, ::1] panels,
    const double[:, ::1] weights,
    const Py_ssize_t[::1] begin,
    const int[::1] factors,
    int products,
):
    """Powers of elementary symmetric polynomials, summed over multisets of roots of unity modulo a prime.

    Every multiset a of ``size`` of the ``roots`` meets every stored polynomial b. The sums of ``factors[c] * weight_a * weight_b * (leading coefficient of a b)**exponent``,
    where c is the class of a, are returned as residues, one for each p < ``products``: over b of class
    p - c. See ``power_sum.hpp`` for the layout and the bounds.
    """
    cdef Field field
    cdef Streamed streamed
    cdef Stored stored
    cdef double[::1] totals = np.zeros(products)
    field.prime = prime
    field.length = panels.shape[1]
    field.exponent = exponent
    field.classes = factors.shape[0]
    streamed.roots = &roots[0]
    streamed.classes = &classes[0]
    streamed.count = roots.shape[0]
    streamed.size = size
    streamed.inverse_factorials = &inverse_factorials[0]
    stored.panels = &panels[0, 0, 0]
    stored.weights = &weights[0, 0]
    stored.begin = &begin[0]
    with nogil:
        c_sum_of_powers(field, streamed, stored, &factors[0], products, &totals[0])
    return [int(total) for total in totals]
