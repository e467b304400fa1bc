// Arrays as the caller has them: any strides, any real dtype.
#pragma once

#include <cstddef>
#include <cstdint>

namespace masksolve {

constexpr int max_axes = 68;  // NumPy's 64, and those that cutting into tiles adds

// A strided array of tiles, shape (*grid, rows, columns), or of prices, shape (*grid, entries).
struct Strided {
    char* data = nullptr;  // null: absent
    int ndim = 0;
    std::ptrdiff_t shape[max_axes] = {};
    std::ptrdiff_t strides[max_axes] = {};  // in bytes

    // Where tile `number` begins, row-major over the first `grid_axes` axes.
    char* tile(std::ptrdiff_t number, int grid_axes) const {
        char* place = data;
        for (int axis = grid_axes - 1; axis >= 0; --axis) {
            place += (number % shape[axis]) * strides[axis];
            number /= shape[axis];
        }
        return place;
    }
};

// Order as in strided.pxd's table of names.
enum class Dtype : int { boolean, i8, i16, i32, i64, u8, u16, u32, u64, f16, bf16, f32, f64 };

constexpr int entry_bytes(Dtype dtype) {
    switch (dtype) {
        case Dtype::boolean:
        case Dtype::i8:
        case Dtype::u8: return 1;
        case Dtype::i16:
        case Dtype::u16:
        case Dtype::f16:
        case Dtype::bf16: return 2;
        case Dtype::i32:
        case Dtype::u32:
        case Dtype::f32: return 4;
        default: return 8;
    }
}

constexpr bool is_floating(Dtype dtype) { return dtype >= Dtype::f16; }

// Whether entries may be negative.
constexpr bool is_signed(Dtype dtype) {
    return is_floating(dtype) || (dtype >= Dtype::i8 && dtype <= Dtype::i64);
}

// Whether float32 holds every value of the dtype exactly.
constexpr bool fits_float(Dtype dtype) {
    return dtype != Dtype::i32 && dtype != Dtype::i64 && dtype != Dtype::u32 && dtype != Dtype::u64 &&
           dtype != Dtype::f64;
}

}  // namespace masksolve
