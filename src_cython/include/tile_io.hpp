// Reading and writing one tile: prices, forced entries, mask bytes.
#pragma once

#include <array>

#include "flow.hpp"
#include "job.hpp"
#include "simd.hpp"

namespace masksolve {
namespace MASKSOLVE_ISA {

// The tile's scores into a P-by-P array; rows and columns beyond m are left alone.
template <typename T, int P>
void load_tile(const Job& job, const char* from, Loader<T> load, T (*to)[P]) {
    const int m = job.height;
    if (m == P && stored_as<T>(job) && job.across() == sizeof(T)) {
        for (int i = 0; i < P; ++i) std::memcpy(to[i], from + i * job.down(), P * sizeof(T));
    } else {
        for (int i = 0; i < m; ++i) load(from + i * job.down(), job.across(), m, to[i]);
    }
}

// The largest magnitude of a tile, rows `pitch` entries apart.
template <typename T>
double largest_of_tile(const T* scores, int height, int width, int pitch) {
    T largest = 0;
    for (int i = 0; i < height; ++i)
        for (int j = 0; j < width; ++j) largest = std::max(largest, std::abs(scores[i * pitch + j]));
    return largest;
}

// False, and nothing of use in `to`, if a price is so far off the scores that rounding would drown them.
template <typename T>
bool read_prices(const Job& job, const Strided& array, const char* from, int count, double largest, T* to) {
    const std::ptrdiff_t stride = array.strides[array.ndim - 1];
    bool useful = true;
    for (int k = 0; k < count; ++k) {
        to[k] = static_cast<T>(job.start_is_double ? *reinterpret_cast<const double*>(from + k * stride)
                                                   : *reinterpret_cast<const float*>(from + k * stride));
        useful &= std::abs(to[k]) <= 16 * largest;
    }
    return useful;
}

template <typename T>
void write_prices(const Strided& array, char* to, int count, const T* from) {
    if (to == nullptr) return;
    const std::ptrdiff_t stride = array.strides[array.ndim - 1];
    for (int k = 0; k < count; ++k) *reinterpret_cast<T*>(to + k * stride) = from[k];
}

inline std::uint64_t read_bits(const Strided& array, const char* from, int i, int width) {
    if (from == nullptr) return 0;
    const int axes = array.ndim - 2;
    std::uint64_t bits = 0;
    for (int j = 0; j < width; ++j)
        bits |= static_cast<std::uint64_t>(from[i * array.strides[axes] + j * array.strides[axes + 1]] != 0) << j;
    return bits;
}

// Eight mask bytes for each value of eight mask bits.
constexpr std::array<std::uint64_t, 256> make_mask_bytes() {
    std::array<std::uint64_t, 256> table{};
    for (int bits = 0; bits < 256; ++bits)
        for (int j = 0; j < 8; ++j) table[bits] |= static_cast<std::uint64_t>(bits >> j & 1) << (8 * j);
    return table;
}
constexpr std::array<std::uint64_t, 256> mask_bytes = make_mask_bytes();

// `Width`: the tile's width, if it is that or less and known.
template <int Width = 64>
inline void write_bits(const Job& job, char* tile, int i, std::uint64_t bits) {
    if (Width % 8 == 0 && job.width == Width && job.mask_across() == 1) {
        for (int j = 0; j < Width; j += 8) std::memcpy(tile + i * job.mask_down() + j, &mask_bytes[bits >> j & 255], 8);
        return;
    }
    char* to = tile + i * job.mask_down();
    int j = 0;
    if (job.mask_across() == 1)
        for (; j + 8 <= job.width; j += 8) std::memcpy(to + j, &mask_bytes[bits >> j & 255], 8);
    for (; j < job.width; ++j) to[j * job.mask_across()] = bits >> j & 1;
}

}  // namespace MASKSOLVE_ISA
}  // namespace masksolve
