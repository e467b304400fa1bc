// What certificates ask of a tile's lines, whichever kernel solved it.
#pragma once

#include "arrays/job.hpp"
#include "certificate/tile_proof.hpp"
#include "vectors/simd.hpp"

namespace masksolve {
namespace MASKSOLVE_ISA {

// Whether a price has a minus sign.
template <typename T>
inline __attribute__((always_inline)) bool has_sign(const T* prices, int count) {
    Integer<T> signs = 0;
    for (int k = 0; k < count; ++k) {
        Integer<T> bits;
        std::memcpy(&bits, &prices[k], sizeof bits);
        signs |= bits;
    }
    return signs < 0;
}

// False if a line of a tile keeps too many; adds up what those contribute that keep fewer than they may. Mask
// bytes are 0 or 1, rows `down` bytes apart.
template <typename T>
__attribute__((noinline)) bool add_violations_of_lines(const Job& job, const char* mask, std::ptrdiff_t down,
                                                       int height, int width, const T* u, const T* v,
                                                       double& sum) {
    int in_column[longest_side] = {};
    for (int i = 0; i < height; ++i, mask += down) {
        int in_row = 0;
        for (int j = 0; j < width; ++j) {
            in_row += mask[j];
            in_column[j] += mask[j];
        }
        if (in_row > job.row_most) return false;
        sum += line_violation(static_cast<double>(u[i]), in_row, job.row_bounds());
    }
    for (int j = 0; j < width; ++j) {
        if (in_column[j] > job.column_most) return false;
        sum += line_violation(static_cast<double>(v[j]), in_column[j], job.column_bounds());
    }
    return true;
}

}  // namespace MASKSOLVE_ISA
}  // namespace masksolve
