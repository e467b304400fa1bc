# cython: language_level=3
"""NumPy arrays as the C++ core sees them: an address and strides, whatever the dtype."""

from libc.stdint cimport uintptr_t


cdef extern from "strided.hpp" namespace "masksolve" nogil:
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
    cdef int axis
    if array is None:
        return view
    view.data = <char*><uintptr_t>array.__array_interface__["data"][0]
    view.ndim = array.ndim
    for axis in range(view.ndim):
        view.shape[axis] = array.shape[axis]
        view.strides[axis] = array.strides[axis]
    return view


cdef inline Dtype dtype_code(object array) except *:
    """The C++ core's number for an array's dtype."""
    return <Dtype><int>(
        "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
        "float16", "bfloat16", "float32", "float64",
    ).index(array.dtype.name)
