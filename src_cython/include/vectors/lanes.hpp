// One tile or group a lane: getting contiguous quads of values into lanes and back.
//
// Four registers of L lanes hold L quads. A 4-by-4 transpose inside each four lanes puts element q of every
// quad into register q; quads then stand in the order that quad_of gives.
#pragma once

#include "vectors/simd.hpp"

namespace masksolve {
namespace MASKSOLVE_ISA {

// Which quad stands in a lane.
template <int L>
constexpr int quad_of(int lane) {
    return L < 4 ? lane : lane % 4 * (L / 4) + lane / 4;
}

template <typename T, int L>
inline void transpose_quads(Vector<T, L>* x) {
    if constexpr (L == 2) {
        const Vector<Integer<T>, 2> first = {0, 2}, second = {1, 3};
        const Vector<T, 2> a = x[0], b = x[1], c = x[2], d = x[3];
        x[0] = shuffle<T, 2>(a, c, first);
        x[1] = shuffle<T, 2>(a, c, second);
        x[2] = shuffle<T, 2>(b, d, first);
        x[3] = shuffle<T, 2>(b, d, second);
    } else {
        swap_blocks<2, T, L, 4>(x);
    }
}

// x[q] = element q of the L quads at `from`.
template <typename T, int L>
inline void load_quads(const T* from, Vector<T, L>* x) {
    for (int q = 0; q < 4; ++q)
        x[q] = *reinterpret_cast<const typename VectorType<T, L>::unaligned*>(from + q * L);
    transpose_quads<T, L>(x);
}

template <typename T, int L>
inline void store_quads(Vector<T, L> a, Vector<T, L> b, Vector<T, L> c, Vector<T, L> d, T* to) {
    Vector<T, L> x[4] = {a, b, c, d};
    if constexpr (L == 2) {
        const Vector<Integer<T>, 2> first = {0, 2}, second = {1, 3};
        x[0] = shuffle<T, 2>(a, b, first);
        x[1] = shuffle<T, 2>(c, d, first);
        x[2] = shuffle<T, 2>(a, b, second);
        x[3] = shuffle<T, 2>(c, d, second);
    } else {
        transpose_quads<T, L>(x);
    }
    for (int q = 0; q < 4; ++q) *reinterpret_cast<typename VectorType<T, L>::unaligned*>(to + q * L) = x[q];
}

// Lanes in the order of their quads.
template <typename T, int L>
inline Vector<T, L> in_order(Vector<T, L> x) {
    Vector<Integer<T>, L> from;
    for (int l = 0; l < L; ++l) from[quad_of<L>(l)] = l;
    return shuffle<T, L>(x, x, from);
}

// Stores the low 32 bits of every lane.
template <typename I, int L>
inline void store_words(Vector<I, L> x, char* to) {
    const auto words = __builtin_convertvector(x, Vector<std::int32_t, L>);
    std::memcpy(to, &words, sizeof words);
}

// Each of the values at `from` in so many neighbouring lanes.
template <int times, typename T, int L>
inline __attribute__((always_inline)) Vector<T, L> repeated(const T* from) {
    if constexpr (times >= L) {
        return *from - Vector<T, L>{};
    } else {
        Vector<Integer<T>, L> order;
        for (int l = 0; l < L; ++l) order[l] = l / times;
        constexpr int values = L / times;
        [[maybe_unused]] constexpr int bytes = values * sizeof(T);  // the baseline asks for no instructions
        Vector<T, L> x;
#if MASKSOLVE_X86_BYTES >= 64
        if constexpr (L * sizeof(T) == 64 && bytes == 16) {
            x = (Vector<T, L>)_mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
        } else if constexpr (L * sizeof(T) == 64 && bytes == 8) {
            x = (Vector<T, L>)_mm512_broadcastq_epi64(
                _mm_loadl_epi64(reinterpret_cast<const __m128i*>(from)));
        } else
#endif
#if MASKSOLVE_X86_BYTES >= 32
            if constexpr (L * sizeof(T) == 32 && bytes == 8) {
            x = (Vector<T, L>)_mm256_broadcastq_epi64(
                _mm_loadl_epi64(reinterpret_cast<const __m128i*>(from)));
        } else
#endif
        {
            for (int l = 0; l < L; ++l) x[l] = from[l % values];
        }
        return shuffle<T, L>(x, x, order);
    }
}

}  // namespace MASKSOLVE_ISA
}  // namespace masksolve
