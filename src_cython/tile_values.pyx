# cython: language_level=3, boundscheck=False, wraparound=False
"""Values of tiles with one channel exchanged: a thin door between NumPy arrays and tile_values.hpp."""

from libc.stdint cimport int32_t, uint8_t


cdef extern from "tile_values.hpp" namespace "masksolve" nogil:
    void c_max_plus "masksolve::max_plus"(
        const float*, const float*, float*, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t) except +
    void c_listed_table "masksolve::listed_table"(
        const float*, Py_ssize_t, int, const uint8_t*, int, const int32_t*, Py_ssize_t, float*) except +
    void c_held_table "masksolve::held_table"(
        const float*, Py_ssize_t, int, int, const uint8_t*, int, const int32_t*, int, const int32_t*, float*) except +


def max_plus(const float[:, :, ::1] held, const float[:, :, ::1] freed, float[:, ::1] sums):
    """Add to ``sums[g, c]`` the sum over b of the maximum over k of ``held[b, g, k] + freed[b, k, c]``."""
    cdef Py_ssize_t tiles = held.shape[0], groups = held.shape[1], entries = held.shape[2]
    cdef Py_ssize_t channels = freed.shape[2]
    if freed.shape[0] != tiles or freed.shape[1] != entries:
        raise ValueError("held and freed must have the same tiles and entries")
    if sums.shape[0] != groups or sums.shape[1] != channels:
        raise ValueError("sums must have shape (groups, channels)")
    if tiles and groups and entries and channels:
        with nogil:
            c_max_plus(&held[0, 0, 0], &freed[0, 0, 0], &sums[0, 0], tiles, groups, entries, channels)


def held_table(const float[:, :, ::1] weights, int n, const uint8_t[::1] sets, const int32_t[::1] walk,
               const int32_t[::1] nearest, float[:, ::1] values):
    """Value of the held channels of every tile, for every set of entries that its free channel keeps."""
    cdef Py_ssize_t tiles = weights.shape[0], k
    cdef int m = <int>weights.shape[2], count = <int>sets.shape[0], steps = <int>walk.shape[0]
    if not 1 <= n <= m <= 8 or weights.shape[1] != m - 1:
        raise ValueError("weights must have shape (tiles, m - 1, m) with n <= m <= 8")
    if nearest.shape[0] != count or values.shape[0] != tiles or values.shape[1] != count:
        raise ValueError("values must have shape (tiles, sets), and nearest one entry for each set")
    for k in range(steps):
        if not 0 <= walk[k] < count:
            raise ValueError(f"walk must hold numbers of sets from 0 to {count - 1}, got {walk[k]}")
    for k in range(count):
        if not 0 <= nearest[k] < steps:
            raise ValueError(f"nearest must hold numbers of steps from 0 to {steps - 1}, got {nearest[k]}")
    if tiles and count and steps and m > 1:
        with nogil:
            c_held_table(&weights[0, 0, 0], tiles, n, m, &sets[0], count, &walk[0], steps, &nearest[0],
                         &values[0, 0])


def listed_table(const float[:, :, ::1] weights, const uint8_t[::1] sets, const int32_t[:, ::1] masks,
                 float[:, ::1] values):
    """The same by a list of masks: the set of the free channel, then those of the held ones, in each row."""
    cdef Py_ssize_t tiles = weights.shape[0], listed = masks.shape[0]
    cdef int m = <int>weights.shape[2], count = <int>sets.shape[0]
    if not 1 <= m <= 8 or weights.shape[1] != m - 1 or masks.shape[1] != m:
        raise ValueError("weights must have shape (tiles, m - 1, m) and masks (listed, m), with m <= 8")
    if values.shape[0] != tiles or values.shape[1] != count:
        raise ValueError("values must have shape (tiles, sets)")
    if tiles and count and listed and m > 1:
        with nogil:
            c_listed_table(&weights[0, 0, 0], tiles, m, &sets[0], count, &masks[0, 0], listed, &values[0, 0])
