# cython: language_level=3, boundscheck=False, wraparound=False
"""What one look at an array tells: its largest magnitude (an infinity or NaN if there is one), how many of
its entries are negative, the sum of its magnitudes, or the sums of its pairs; and the floating-point mode in
which it is looked at."""

from cpython.buffer cimport PyBUF_STRIDED_RO, Py_buffer, PyBuffer_Release, PyObject_GetBuffer
from job cimport Score, score_code
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from strided cimport Dtype, Strided, dtype_code, strided

import numpy as np


cdef extern from "arrays/floating_point.hpp" namespace "masksolve" nogil:
    uint64_t floating_point_mode()
    void set_floating_point_mode(uint64_t)
    uint64_t with_default_arithmetic(uint64_t)

cdef extern from "arrays/scan.hpp" namespace "masksolve" nogil:
    Bits largest_bits[Bits](const char*, int, const Py_ssize_t*, const Py_ssize_t*)
    Py_ssize_t negatives[Bits](const char*, int, const Py_ssize_t*, const Py_ssize_t*, const Py_ssize_t*, bint)

cdef extern from "arrays/pairs.hpp" namespace "masksolve" nogil:
    cppclass Pairs:
        Strided firsts
        int axes
        Py_ssize_t apart[2]

    bint c_add_pairs "masksolve::add_pairs"(const Pairs&, Dtype, Score, double, bint, const Strided&)
    void c_spread_pairs "masksolve::spread_pairs"(const Strided&, const Pairs&)


cdef extern from "arrays/magnitude_sum.hpp" namespace "masksolve" nogil:
    double c_magnitude_sum "masksolve::magnitude_sum"(Dtype, const char*, Py_ssize_t)


cdef class DefaultArithmetic:
    """A context in which this thread computes as IEEE 754 has it by default.

    Denormal numbers are not flushed to zero, and results are rounded to nearest; on leaving, the mode is
    what it was before, which another library may have changed. Contexts of one thread may be nested, each
    an object of its own.
    """

    cdef uint64_t saved

    def __enter__(self):
        self.saved = floating_point_mode()
        set_floating_point_mode(with_default_arithmetic(self.saved))
        return self

    def __exit__(self, *error):
        set_floating_point_mode(self.saved)
        return False


cdef Pairs pairs_of(object firsts, tuple apart) except *:
    cdef Pairs pairs
    pairs.firsts = strided(firsts)
    pairs.axes = <int>len(apart)
    if not 1 <= pairs.axes <= 2:
        raise ValueError(f"apart must hold one or two distances, got {apart}")
    for axis in range(pairs.axes):
        pairs.apart[axis] = apart[axis]
    return pairs


def add_pairs(firsts, tuple apart, str score, double most, sums):
    """Write what the entries of each pair are worth together; the same as `masksolve.pairs.sums`.

    Parameters
    ----------
    firsts : ndarray
        The first entry of each pair, or of each block of two pairs.
    apart : tuple of int
        How many bytes the other entry is from the first, for each axis along which entries are paired.
    score : {"value", "magnitude", "square"}
        What an entry is worth.
    most : float
        What no magnitude of an entry of a floating-point type may exceed.
    sums : ndarray of float32 or float64, shape of ``firsts``

    Returns
    -------
    bool
        False if an entry is not finite or too large, or if float32 does not hold a sum.
    """
    cdef Pairs pairs = pairs_of(firsts, apart)
    cdef Strided to = strided(sums)
    cdef Dtype dtype = dtype_code(firsts)
    cdef Score rule = score_code(score)
    cdef bint in_double = sums.dtype == "float64", fit
    if sums.shape != firsts.shape or not (in_double or sums.dtype == "float32"):
        raise ValueError("sums must be float32 or float64, of the shape of firsts")
    with nogil:
        fit = c_add_pairs(pairs, dtype, rule, most, in_double, to)
    return fit


def spread_pairs(mask, firsts, tuple apart):
    """Give all entries of each pair its entry of ``mask``; ``firsts`` and ``apart`` as in `add_pairs`."""
    cdef Pairs pairs = pairs_of(firsts, apart)
    cdef Strided bits = strided(mask)
    if mask.shape != firsts.shape or mask.dtype != "bool" or firsts.dtype != "bool":
        raise ValueError("mask and firsts must be boolean and of one shape")
    with nogil:
        c_spread_pairs(bits, pairs)


def magnitude_sum(array):
    """Sum of the absolute values of an array of real numbers, in float64."""
    cdef object run = array.ravel(order="K")
    cdef Strided view = strided(run)
    cdef Dtype dtype = dtype_code(run)
    cdef double total
    with nogil:
        total = c_magnitude_sum(dtype, view.data, view.shape[0])
    return total


def negative_share(array, Py_ssize_t per_axis):
    """Share of negative entries among about ``per_axis`` of them along each axis, at equal distances.

    Parameters
    ----------
    array : ndarray of signed numbers, not empty
    per_axis : int
    """
    cdef Strided view = strided(array)
    cdef Py_ssize_t[68] steps
    cdef Py_ssize_t looked_at = 1, found
    cdef str kind = array.dtype.kind
    cdef int size = array.dtype.itemsize
    for axis in range(view.ndim):
        steps[axis] = -(-view.shape[axis] // per_axis)
        looked_at *= -(-view.shape[axis] // steps[axis])
    if size == 1:
        found = negatives[uint8_t](view.data, view.ndim, view.shape, view.strides, steps, kind != "i")
    elif size == 2:
        found = negatives[uint16_t](view.data, view.ndim, view.shape, view.strides, steps, kind != "i")
    elif size == 4:
        found = negatives[uint32_t](view.data, view.ndim, view.shape, view.strides, steps, kind != "i")
    else:
        found = negatives[uint64_t](view.data, view.ndim, view.shape, view.strides, steps, kind != "i")
    return <double>found / <double>looked_at


def largest_magnitude(array):
    """Largest absolute value of a real array, as a float; not finite if any entry is not.

    The array is read where it lies, in the order of its strides; integers are converted as
    ``float`` does.
    """
    if array.size == 0:
        return 0.0
    if array.dtype.kind in "biu":
        low, high = int(array.min()), int(array.max())
        return float(max(-low, high))
    bits_type = {2: np.uint16, 4: np.uint32, 8: np.uint64}[array.dtype.itemsize]
    view = array
    if not array.flags.c_contiguous:
        view = array.transpose(sorted(range(array.ndim), key=lambda axis: -abs(array.strides[axis])))
    cdef Py_buffer buffer
    bits = view.view(bits_type)
    PyObject_GetBuffer(bits, &buffer, PyBUF_STRIDED_RO)
    cdef int size = buffer.itemsize
    cdef uint64_t largest
    try:
        with nogil:
            if size == 2:
                largest = largest_bits[uint16_t](<const char*>buffer.buf, buffer.ndim, buffer.shape, buffer.strides)
            elif size == 4:
                largest = largest_bits[uint32_t](<const char*>buffer.buf, buffer.ndim, buffer.shape, buffer.strides)
            else:
                largest = largest_bits[uint64_t](<const char*>buffer.buf, buffer.ndim, buffer.shape, buffer.strides)
    finally:
        PyBuffer_Release(&buffer)
    with DefaultArithmetic():  # a mode that reads denormal numbers as 0 would change the answer
        return float(np.array(largest, np.uint64).astype(bits_type).view(array.dtype))
