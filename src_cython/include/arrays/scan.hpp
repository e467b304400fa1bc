// One read over an array: is every value finite, and how large is the largest?
//
// Magnitudes are compared as the bit patterns of |x|, which order like the numbers; every NaN and
// infinity is at least the pattern of infinity, so one maximum answers both questions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace masksolve {

// The bits of |x|; `data` need not be aligned.
template <typename Bits>
inline Bits magnitude_bits(const char* data) {
    Bits bits;
    std::memcpy(&bits, data, sizeof bits);
    return bits & (static_cast<Bits>(~Bits{0}) >> 1);
}

// The largest of `count` values side by side; compiled for several instruction sets.
std::uint16_t largest_in_run(const char* data, std::ptrdiff_t count, std::uint16_t least);
std::uint32_t largest_in_run(const char* data, std::ptrdiff_t count, std::uint32_t least);
std::uint64_t largest_in_run(const char* data, std::ptrdiff_t count, std::uint64_t least);

// The largest of short rows, `stride` bytes apart, of up to `most_in_short_row` values side by side.
constexpr int most_in_short_row = 16;
std::uint16_t largest_in_rows(const char* data, std::ptrdiff_t rows, std::ptrdiff_t stride, int width,
                              std::uint16_t least);
std::uint32_t largest_in_rows(const char* data, std::ptrdiff_t rows, std::ptrdiff_t stride, int width,
                              std::uint32_t least);
std::uint64_t largest_in_rows(const char* data, std::ptrdiff_t rows, std::ptrdiff_t stride, int width,
                              std::uint64_t least);

template <typename Bits>
inline Bits largest_bits(const char* data, std::ptrdiff_t stride, std::ptrdiff_t count) {
    if (stride == static_cast<std::ptrdiff_t>(sizeof(Bits))) return largest_in_run(data, count, Bits{0});
    Bits largest = 0;
    for (std::ptrdiff_t i = 0; i < count; ++i) {
        const Bits value = magnitude_bits<Bits>(data + i * stride);
        largest = value > largest ? value : largest;
    }
    return largest;
}

// Largest magnitude bits over an array of `ndim` axes (shape, strides in bytes), innermost last.
template <typename Bits>
Bits largest_bits(const char* data, int ndim, const std::ptrdiff_t* shape, const std::ptrdiff_t* strides) {
    if (ndim == 0) return largest_bits<Bits>(data, sizeof(Bits), 1);
    if (ndim == 1) return largest_bits<Bits>(data, strides[0], shape[0]);
    if (ndim == 2 && strides[1] == static_cast<std::ptrdiff_t>(sizeof(Bits))) {
        if (strides[0] == strides[1] * shape[1])
            return largest_bits<Bits>(data, strides[1], shape[0] * shape[1]);
        if (shape[1] <= most_in_short_row)
            return largest_in_rows(data, shape[0], strides[0], static_cast<int>(shape[1]), Bits{0});
    }
    Bits largest = 0;
    for (std::ptrdiff_t i = 0; i < shape[0]; ++i) {
        const Bits value = largest_bits<Bits>(data + i * strides[0], ndim - 1, shape + 1, strides + 1);
        largest = value > largest ? value : largest;
    }
    return largest;
}

// How many of the values at every `steps[axis]`-th place along each axis are below 0. In floating point, -0
// is not.
template <typename Bits>
std::ptrdiff_t negatives(const char* data, int ndim, const std::ptrdiff_t* shape,
                         const std::ptrdiff_t* strides, const std::ptrdiff_t* steps, bool floating) {
    if (ndim == 0) {
        Bits bits;
        std::memcpy(&bits, data, sizeof bits);
        const bool zero = static_cast<Bits>(bits << 1) == 0;
        return bits >> (8 * sizeof bits - 1) != 0 && !(floating && zero);
    }
    std::ptrdiff_t found = 0;
    for (std::ptrdiff_t i = 0; i < shape[0]; i += steps[0])
        found +=
            negatives<Bits>(data + i * strides[0], ndim - 1, shape + 1, strides + 1, steps + 1, floating);
    return found;
}

}  // namespace masksolve
