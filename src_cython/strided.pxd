# cython: language_level=3
"""NumPy arrays as the C++ core sees them: an address and strides, whatever the dtype."""

from cpython.buffer cimport Py_buffer, PyBUF_C_CONTIGUOUS, PyBUF_STRIDES, PyBuffer_Release, PyObject_GetBuffer


cdef extern from "arrays/strided.hpp" namespace "masksolve" nogil:
    cppclass Strided:
        char* data
        int ndim
        Py_ssize_t shape[68]
        Py_ssize_t strides[68]

    enum class Dtype(int):
        pass


cdef inline Strided strided(object array) except *:
    """A view of ``array``, which the caller must keep alive; None gives an absent one."""
    cdef Strided view
    cdef Py_buffer buffer
    cdef int axis
    if array is None:
        return view
    # No buffer has bfloat16, a dtype from outside NumPy.
    PyObject_GetBuffer(array.view("u2") if array.dtype.kind == "V" else array, &buffer, PyBUF_STRIDES)
    view.data = <char*>buffer.buf
    view.ndim = buffer.ndim
    for axis in range(view.ndim):
        view.shape[axis] = buffer.shape[axis]
        view.strides[axis] = buffer.strides[axis]
    PyBuffer_Release(&buffer)
    return view


cdef inline Dtype dtype_code(object array) except *:
    """The C++ core's number for an array's dtype; V2 is bfloat16."""
    cdef object dtype = array.dtype
    return <Dtype><int>(
        "b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "V2", "f4", "f8"
    ).index(f"{dtype.kind}{dtype.itemsize}")


cdef inline void* packed(str name, object array, str dtype, tuple shape) except? NULL:
    """Address of a C-contiguous array of this dtype and shape, which the caller must keep alive."""
    cdef Py_buffer buffer
    if array.dtype != dtype or array.shape != shape:
        raise ValueError(f"{name} must hold {dtype} of shape {shape}, got {array.dtype} of shape {array.shape}")
    PyObject_GetBuffer(array, &buffer, PyBUF_C_CONTIGUOUS)
    PyBuffer_Release(&buffer)
    return buffer.buf
