// Runs of entries of any dtype as float32 or float64.
//
// Each loop is simple enough for the compiler to vectorise it. Whatever the instruction set, the values are
// the same: every conversion to float32 that is used is exact, and those to float64 are rounded to nearest.
#pragma once

#include <cmath>
#include <cstring>

#include "arrays/strided.hpp"
#include "vectors/simd.hpp"

namespace masksolve {
namespace MASKSOLVE_ISA {

template <typename T, typename Stored>
void convert_plain(const char* __restrict from, std::ptrdiff_t count, T* __restrict to) {
    for (std::ptrdiff_t k = 0; k < count; ++k) {
        Stored value;
        std::memcpy(&value, from + k * sizeof(Stored), sizeof value);
        to[k] = static_cast<T>(value);
    }
}

// bfloat16 is the upper half of a float32.
template <typename T>
void convert_bf16(const char* __restrict from, std::ptrdiff_t count, T* __restrict to) {
    for (std::ptrdiff_t k = 0; k < count; ++k) {
        std::uint16_t half;
        std::memcpy(&half, from + k * sizeof half, sizeof half);
        const std::uint32_t bits = static_cast<std::uint32_t>(half) << 16;
        float value;
        std::memcpy(&value, &bits, sizeof value);
        to[k] = static_cast<T>(value);
    }
}

// Scaling by 2^112 moves the exponent's bias from 15 to 127 and makes half's denormal numbers normal.
// Infinities and NaNs become numbers from 65536 on, which exceed every finite half, so that whoever looks for
// unfit scores finds them.
template <typename T>
void convert_f16(const char* __restrict from, std::ptrdiff_t count, T* __restrict to) {
    std::ptrdiff_t k = 0;
#if MASKSOLVE_X86_BYTES >= 32
    if constexpr (sizeof(T) == sizeof(float))
        for (; k + 8 <= count; k += 8)
            _mm256_storeu_ps(
                to + k, _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from + 2 * k))));
#endif
    for (; k < count; ++k) {
        std::uint16_t half;
        std::memcpy(&half, from + k * sizeof half, sizeof half);
        const std::uint32_t wide = half;
        const std::uint32_t bits = (wide & 0x8000u) << 16 | (wide & 0x7fffu) << 13;
        float value;
        std::memcpy(&value, &bits, sizeof value);
        to[k] = static_cast<T>(value * 0x1p112f);
    }
}

template <typename T>
void convert_run(Dtype dtype, const char* from, std::ptrdiff_t count, T* to) {
    switch (dtype) {
        case Dtype::boolean:
        case Dtype::u8: return convert_plain<T, std::uint8_t>(from, count, to);
        case Dtype::i8: return convert_plain<T, std::int8_t>(from, count, to);
        case Dtype::i16: return convert_plain<T, std::int16_t>(from, count, to);
        case Dtype::i32: return convert_plain<T, std::int32_t>(from, count, to);
        case Dtype::i64: return convert_plain<T, std::int64_t>(from, count, to);
        case Dtype::u16: return convert_plain<T, std::uint16_t>(from, count, to);
        case Dtype::u32: return convert_plain<T, std::uint32_t>(from, count, to);
        case Dtype::u64: return convert_plain<T, std::uint64_t>(from, count, to);
        case Dtype::f16: return convert_f16(from, count, to);
        case Dtype::bf16: return convert_bf16(from, count, to);
        case Dtype::f32: return convert_plain<T, float>(from, count, to);
        case Dtype::f64: return convert_plain<T, double>(from, count, to);
    }
}

template <typename T>
void take_magnitudes(T* values, std::ptrdiff_t count) {
    for (std::ptrdiff_t k = 0; k < count; ++k) values[k] = std::abs(values[k]);
}

template <typename T>
void take_squares(T* values, std::ptrdiff_t count) {
    for (std::ptrdiff_t k = 0; k < count; ++k) values[k] *= values[k];
}

}  // namespace MASKSOLVE_ISA
}  // namespace masksolve
