// Arrays as the caller has them: any strides, any real dtype.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

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

inline float from_bf16(std::uint16_t bits) {
    const std::uint32_t wide = static_cast<std::uint32_t>(bits) << 16;
    float value;
    std::memcpy(&value, &wide, sizeof value);
    return value;
}

// Finite values only. Scaling by 2^112 moves the exponent's bias from 15 to 127 and makes half's
// denormals normal.
inline float from_f16(std::uint16_t bits) {
    const std::uint32_t wide = (static_cast<std::uint32_t>(bits & 0x8000u) << 16) |
                               (static_cast<std::uint32_t>(bits & 0x7fffu) << 13);
    float value;
    std::memcpy(&value, &wide, sizeof value);
    return value * 0x1p112f;
}

// Reads `count` entries, `stride` bytes apart, as T.
template <typename T>
using Loader = void (*)(const char* from, std::ptrdiff_t stride, int count, T* to);

template <typename T, typename Stored>
void load_plain(const char* from, std::ptrdiff_t stride, int count, T* to) {
    if (stride == static_cast<std::ptrdiff_t>(sizeof(Stored))) {
        for (int i = 0; i < count; ++i) {
            Stored value;
            std::memcpy(&value, from + i * sizeof(Stored), sizeof value);
            to[i] = static_cast<T>(value);
        }
        return;
    }
    for (int i = 0; i < count; ++i) {
        Stored value;
        std::memcpy(&value, from + i * stride, sizeof value);
        to[i] = static_cast<T>(value);
    }
}

template <typename T, float (*convert)(std::uint16_t)>
void load_half(const char* from, std::ptrdiff_t stride, int count, T* to) {
    for (int i = 0; i < count; ++i) {
        std::uint16_t bits;
        std::memcpy(&bits, from + i * stride, sizeof bits);
        to[i] = convert(bits);
    }
}

template <typename T>
Loader<T> loader(Dtype dtype) {
    switch (dtype) {
        case Dtype::boolean:
        case Dtype::u8: return load_plain<T, std::uint8_t>;
        case Dtype::i8: return load_plain<T, std::int8_t>;
        case Dtype::i16: return load_plain<T, std::int16_t>;
        case Dtype::i32: return load_plain<T, std::int32_t>;
        case Dtype::i64: return load_plain<T, std::int64_t>;
        case Dtype::u16: return load_plain<T, std::uint16_t>;
        case Dtype::u32: return load_plain<T, std::uint32_t>;
        case Dtype::u64: return load_plain<T, std::uint64_t>;
        case Dtype::f16: return load_half<T, from_f16>;
        case Dtype::bf16: return load_half<T, from_bf16>;
        case Dtype::f32: return load_plain<T, float>;
        case Dtype::f64: return load_plain<T, double>;
    }
    return nullptr;
}

// Whether float32 holds every value of the dtype exactly.
inline bool fits_float(Dtype dtype) {
    return !(dtype == Dtype::i32 || dtype == Dtype::i64 || dtype == Dtype::u32 || dtype == Dtype::u64 ||
             dtype == Dtype::f64);
}

}  // namespace masksolve
