# cython: language_level=3
"""The processor's floating-point mode, which other libraries may have changed."""

from libc.stdint cimport uint64_t


cdef extern from "arrays/floating_point.hpp" namespace "masksolve" nogil:
    uint64_t floating_point_mode()
    void set_floating_point_mode(uint64_t)
    uint64_t with_default_arithmetic(uint64_t)


cdef class Default:
    """A context in which this thread computes as IEEE 754 has it by default.

    Denormal numbers are not flushed to zero, and results are rounded to nearest; on leaving, the mode is
    what it was before. Contexts of one thread may be nested, each an object of its own.
    """

    cdef uint64_t saved

    def __enter__(self):
        self.saved = floating_point_mode()
        set_floating_point_mode(with_default_arithmetic(self.saved))
        return self

    def __exit__(self, *error):
        set_floating_point_mode(self.saved)
        return False
