# cython: language_level=3
"""Counting masks: a thin door between NumPy arrays and the C++ core."""

from strided cimport packed

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
    double prime, int exponent, roots, classes, int size, inverse_factorials, panels, weights, begin, factors,
    int products,
):
    """Powers of elementary symmetric polynomials, summed over multisets of roots of unity modulo a prime.

    Every multiset a of ``size`` of the ``roots`` meets every stored polynomial b. The sums of
    ``factors[c] * weight_a * weight_b * (leading coefficient of a b)**exponent``, where c is the class of
    a, are returned as residues, one for each p < ``products``: over b of class p - c. Arrays are float64,
    ``classes`` and ``factors`` int32, ``begin`` int64, all of them C-contiguous. See ``power_sum.hpp`` for
    the layout and the bounds.
    """
    cdef Field field
    cdef Streamed streamed
    cdef Stored stored
    totals = np.zeros(products)
    field.prime = prime
    field.length = panels.shape[1]
    field.exponent = exponent
    field.classes = factors.shape[0]
    streamed.roots = <const double*>packed("roots", roots, "float64", roots.shape)
    streamed.classes = <const int*>packed("classes", classes, "int32", roots.shape)
    streamed.count = roots.shape[0]
    streamed.size = size
    streamed.inverse_factorials = <const double*>packed(
        "inverse_factorials", inverse_factorials, "float64", inverse_factorials.shape)
    stored.panels = <const double*>packed("panels", panels, "float64", panels.shape)
    stored.weights = <const double*>packed("weights", weights, "float64", weights.shape)
    stored.begin = <const Py_ssize_t*>packed("begin", begin, "intp", begin.shape)
    cdef const int* factor = <const int*>packed("factors", factors, "int32", factors.shape)
    cdef double* total = <double*>packed("totals", totals, "float64", totals.shape)
    with nogil:
        c_sum_of_powers(field, streamed, stored, factor, products, total)
    return [int(value) for value in totals]
