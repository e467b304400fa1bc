// Registers of float32 as registers of float64: sums of a certificate run in float64 whatever the kernel
// computes in.
#pragma once

#include "vectors/lanes.hpp"
#include "vectors/simd.hpp"

namespace masksolve {
namespace MASKSOLVE_ISA {

// A register of L lanes of T has the values of `parts` registers of L / parts float64 lanes.
template <typename T>
constexpr int parts = sizeof(double) / sizeof(T);

template <typename T, int L>
using Doubles = Vector<double, L / parts<T>>;
template <typename T, int L>
using Longs = Vector<std::int64_t, L / parts<T>>;

// Part `k` of the lanes, widened. The first forms are single instructions that GCC 12 does not find by
// itself.
template <typename Wide, typename T, int L>
inline __attribute__((always_inline)) Vector<Wide, L / parts<T>> widened(Vector<T, L> x, int k) {
    if constexpr (sizeof(T) == sizeof(double)) {
        return x;
    } else {
        Vector<T, L / 2> half[2];
        std::memcpy(half, &x, sizeof half);
        const Vector<T, L / 2> part = k ? half[1] : half[0];
#if MASKSOLVE_X86_BYTES >= 64
        if constexpr (L == 16 && std::is_same_v<T, float>)
            return (Vector<Wide, 8>)_mm512_cvtps_pd((__m256)part);
        else if constexpr (L == 16) return (Vector<Wide, 8>)_mm512_cvtepi32_epi64((__m256i)part);
        else
#endif
#if MASKSOLVE_X86_BYTES >= 32
            if constexpr (L == 8 && std::is_same_v<T, float>)
            return (Vector<Wide, 4>)_mm256_cvtps_pd((__m128)part);
        else if constexpr (L == 8) return (Vector<Wide, 4>)_mm256_cvtepi32_epi64((__m128i)part);
        else
#endif
            return __builtin_convertvector(part, Vector<Wide, L / 2>);
    }
}

// A pack of T as float64.
template <typename T, int P>
inline __attribute__((always_inline)) Pack<double, P> widened(const Pack<T, P>& x) {
    if constexpr (sizeof(T) == sizeof(double)) {
        return x;
    } else {
        Pack<double, P> wide;
        for (int k = 0; k < Pack<T, P>::K; ++k) {
            wide.part[2 * k] = widened<double, T, Pack<T, P>::L>(x.part[k], 0);
            wide.part[2 * k + 1] = widened<double, T, Pack<T, P>::L>(x.part[k], 1);
        }
        return wide;
    }
}

// Half on half, so that every processor adds up in the same order.
template <int P>
double sum_of_lanes(const Pack<double, P>& sum) {
    double lane[P];
    sum.store(lane);
    for (int apart = P / 2; apart > 0; apart /= 2)
        for (int l = 0; l < apart; ++l) lane[l] += lane[l + apart];
    return lane[0];
}

// Stores float64 lanes of quads (see lanes.hpp) in the order of their tiles; `quads` false: as they are.
template <typename T, int L, bool quads>
inline __attribute__((always_inline)) void store_wide(const Doubles<T, L>* part, double* to) {
    constexpr int D = L / parts<T>;
    using Unaligned = typename VectorType<double, D>::unaligned;
    if constexpr (!quads) {
        for (int k = 0; k < parts<T>; ++k) *reinterpret_cast<Unaligned*>(to + k * D) = part[k];
    } else {
        for (int k = 0; k < parts<T>; ++k) {
            Vector<std::int64_t, D> from;
            for (int lane = 0; lane < L; ++lane) {
                const int tile = quad_of<L>(lane) - k * D;
                if (tile >= 0 && tile < D) from[tile] = lane;
            }
            *reinterpret_cast<Unaligned*>(to + k * D) = shuffle<double, D>(part[0], part[parts<T> - 1], from);
        }
    }
}

}  // namespace MASKSOLVE_ISA
}  // namespace masksolve
