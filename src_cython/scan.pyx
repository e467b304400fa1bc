# cython: language_level=3, boundscheck=False, wraparound=False
"""One read over an array: the largest magnitude, or an infinity or NaN if there is one."""

from cpython.buffer cimport PyBUF_STRIDED_RO, Py_buffer, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport uint16_t, uint32_t, uint64_t

import numpy as np


cdef extern from "arrays/floating_point.hpp" namespace "masksolve" nogil:
    uint64_t floating_point_mode()
    void set_floating_point_mode(uint64_t)
    uint64_t with_default_arithmetic(uint64_t)

cdef extern from "arrays/scan.hpp" namespace "masksolve" nogil:
    Bits largest_bits[Bits](const char*, int, const Py_ssize_t*, const Py_ssize_t*)


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
    # A mode that reads denormal numbers as 0 would change the answer.
    cdef uint64_t mode = floating_point_mode()
    set_floating_point_mode(with_default_arithmetic(mode))
    try:
        return float(np.array(largest, np.uint64).astype(bits_type).view(array.dtype))
    finally:
        set_floating_point_mode(mode)
