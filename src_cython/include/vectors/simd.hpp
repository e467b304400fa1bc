// Vectors of fixed length over whatever registers the instruction set has.
//
// A Pack<T, P> is P values in as many registers as they need. Everything is elementwise, or exact
// (minimum, bit masks), so results do not depend on the register width.
#pragma once

#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>

// Width of x86's registers that may be used; 0 elsewhere. The compiler's own macros do not follow a pragma
// that changes the instruction set half-way through a file.
#if defined(__x86_64__)
#include <immintrin.h>
#define MASKSOLVE_X86_BYTES MASKSOLVE_VECTOR_BYTES
#else
#define MASKSOLVE_X86_BYTES 0
#endif

// Before a loop whose few rounds have constant bounds, so that indices and tables become constants.
#define MASKSOLVE_UNROLL _Pragma("GCC unroll 16")

namespace masksolve {
namespace MASKSOLVE_ISA {

template <typename T>
using Integer = std::conditional_t<sizeof(T) == 4, std::int32_t, std::int64_t>;

template <typename T, int L>
struct VectorType {
    typedef T type __attribute__((vector_size(L * sizeof(T))));
    typedef T unaligned __attribute__((vector_size(L * sizeof(T)), aligned(1)));
};
template <typename T, int L>
using Vector = typename VectorType<T, L>::type;

// One bit a lane of a mask (lanes all ones or all zeros).
template <typename I, int L>
inline std::uint64_t lane_bits(Vector<I, L> mask) {
    [[maybe_unused]] constexpr int bytes = L * sizeof(I);
#if MASKSOLVE_X86_BYTES >= 64
    if constexpr (bytes == 64) {
        const __m512i whole = (__m512i)mask;
        return sizeof(I) == 4 ? static_cast<std::uint64_t>(_mm512_movepi32_mask(whole))
                              : static_cast<std::uint64_t>(_mm512_movepi64_mask(whole));
    }
#endif
#if MASKSOLVE_X86_BYTES >= 32
    if constexpr (bytes == 32) {
        return sizeof(I) == 4 ? static_cast<unsigned>(_mm256_movemask_ps((__m256)mask))
                              : static_cast<unsigned>(_mm256_movemask_pd((__m256d)mask));
    }
#endif
#if MASKSOLVE_X86_BYTES >= 16
    if constexpr (bytes == 16) {
        return sizeof(I) == 4 ? static_cast<unsigned>(_mm_movemask_ps((__m128)mask))
                              : static_cast<unsigned>(_mm_movemask_pd((__m128d)mask));
    }
#endif
    std::uint64_t bits = 0;
    for (int l = 0; l < L; ++l) bits |= static_cast<std::uint64_t>(mask[l] & 1) << l;
    return bits;
}

// Lane l of the answer: lane from[l] of a followed by b.
template <typename T, int L>
inline Vector<T, L> shuffle(Vector<T, L> a, Vector<T, L> b, Vector<Integer<T>, L> from) {
#if defined(__clang__)
    Vector<T, L> x;
    for (int l = 0; l < L; ++l) x[l] = from[l] < L ? a[from[l]] : b[from[l] - L];
    return x;
#else
    return __builtin_shuffle(a, b, from);
#endif
}

// L values of another type. The first forms are single instructions that compilers do not find by themselves.
template <typename T, int L, typename From>
inline Vector<T, L> widen_lanes(const From* from) {
#if MASKSOLVE_X86_BYTES >= 64
    if constexpr (std::is_same_v<T, From>) {
        return *reinterpret_cast<const typename VectorType<T, L>::unaligned*>(from);
    } else if constexpr (std::is_same_v<T, std::int64_t> && std::is_same_v<From, std::int32_t> && L == 8) {
        return (Vector<T, L>)_mm512_cvtepi32_epi64(
            _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
    } else if constexpr (std::is_same_v<T, double> && std::is_same_v<From, float> && L == 8) {
        return (Vector<T, L>)_mm512_cvtps_pd(_mm256_loadu_ps(from));
    } else if constexpr (std::is_same_v<T, std::int64_t> && std::is_same_v<From, char> && L == 8) {
        return (Vector<T, L>)_mm512_cvtepi8_epi64(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from)));
    } else if constexpr (std::is_same_v<T, std::int32_t> && std::is_same_v<From, char> && L == 16) {
        return (Vector<T, L>)_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
    } else
#endif
#if MASKSOLVE_X86_BYTES >= 32
        if constexpr (std::is_same_v<T, std::int64_t> && std::is_same_v<From, std::int32_t> && L == 4) {
        return (Vector<T, L>)_mm256_cvtepi32_epi64(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
    } else if constexpr (std::is_same_v<T, double> && std::is_same_v<From, float> && L == 4) {
        return (Vector<T, L>)_mm256_cvtps_pd(_mm_loadu_ps(from));
    } else if constexpr (std::is_same_v<T, std::int64_t> && std::is_same_v<From, char> && L == 4) {
        return (Vector<T, L>)_mm256_cvtepi8_epi64(_mm_loadu_si32(from));
    } else if constexpr (std::is_same_v<T, std::int32_t> && std::is_same_v<From, char> && L == 8) {
        return (Vector<T, L>)_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from)));
    } else
#endif
        return __builtin_convertvector(
            *reinterpret_cast<const typename VectorType<From, L>::unaligned*>(from), Vector<T, L>);
}

template <typename T, int L>
inline Vector<T, L> select_lanes(Vector<Integer<T>, L> mask, Vector<T, L> yes, Vector<T, L> no) {
    if constexpr (L * sizeof(T) == 64) {  // GCC 12 fails on the conditional form of this width
        using Bits = Vector<Integer<T>, L>;
        return (Vector<T, L>)((mask & (Bits)yes) | (~mask & (Bits)no));
    } else {
        return mask ? yes : no;
    }
}

template <typename T, int L>
inline Vector<T, L> positive_lanes(Vector<T, L> x) {
#if MASKSOLVE_X86_BYTES >= 64
    if constexpr (std::is_same_v<T, double> && L == 8) {
        return (Vector<T, L>)_mm512_max_pd((__m512d)x, _mm512_setzero_pd());
    } else
#endif
#if MASKSOLVE_X86_BYTES >= 32
        if constexpr (std::is_same_v<T, double> && L == 4) {
        return (Vector<T, L>)_mm256_max_pd((__m256d)x, _mm256_setzero_pd());
    } else
#endif
        return x > Vector<T, L>{} ? x : Vector<T, L>{};
}

template <typename T, int P>
struct Pack {
    static constexpr int most_lanes = MASKSOLVE_VECTOR_BYTES / static_cast<int>(sizeof(T));
    static constexpr int L = P < most_lanes ? P : most_lanes;
    static constexpr int K = P / L;
    using V = Vector<T, L>;
    using Mask = Pack<Integer<T>, P>;

    V part[K];

    static Pack load(const T* from) {
        Pack x;
        for (int k = 0; k < K; ++k)
            x.part[k] = *reinterpret_cast<const typename VectorType<T, L>::unaligned*>(from + k * L);
        return x;
    }
    // Values of another type, widened.
    template <typename From>
    static Pack convert(const From* from) {
        Pack x;
        for (int k = 0; k < K; ++k) x.part[k] = widen_lanes<T, L>(from + k * L);
        return x;
    }
    void store(T* to) const {
        for (int k = 0; k < K; ++k)
            *reinterpret_cast<typename VectorType<T, L>::unaligned*>(to + k * L) = part[k];
    }
    static Pack all(T value) { return all(value - V{}); }
    static Pack all(V same) {
        Pack x;
        for (int k = 0; k < K; ++k) x.part[k] = same;
        return x;
    }

    // Bit k of the answer: lane k of a mask.
    std::uint64_t bits() const {
        std::uint64_t all_bits = 0;
        for (int k = 0; k < K; ++k) all_bits |= lane_bits<T, L>(part[k]) << (k * L);
        return all_bits;
    }
    // The smallest of all lanes, in every lane.
    V smallest() const {
        V low = part[0];
        for (int k = 1; k < K; ++k) low = low < part[k] ? low : part[k];
        return spread_smallest<L / 2>(low);
    }

private:
    template <int H>
    static V spread_smallest(V x) {
        if constexpr (H == 0) {
            return x;
        } else {
            Vector<Integer<T>, L> across;
            for (int l = 0; l < L; ++l) across[l] = l ^ H;
            const V other = shuffle<T, L>(x, x, across);
            return spread_smallest<H / 2>(x < other ? x : other);
        }
    }
};

// Free functions, not friends: GCC 12 forgets `#pragma GCC target` for friends and for constructors that it
// makes by itself, and compiles them for the wrong instruction set where it does not inline them.
#define MASKSOLVE_ELEMENTWISE(Answer, name, expression)                                           \
    template <typename T, int P>                                                                  \
    inline __attribute__((always_inline)) Answer name(const Pack<T, P>& a, const Pack<T, P>& b) { \
        Answer answer;                                                                            \
        for (int k = 0; k < Pack<T, P>::K; ++k) {                                                 \
            const typename Pack<T, P>::V x = a.part[k], y = b.part[k];                            \
            answer.part[k] = expression;                                                          \
        }                                                                                         \
        return answer;                                                                            \
    }
template <typename T, int P>
struct PackTypes {
    using Values = Pack<T, P>;
    using Mask = typename Values::Mask;
};
#define MASKSOLVE_VALUES typename PackTypes<T, P>::Values
#define MASKSOLVE_MASK typename PackTypes<T, P>::Mask
MASKSOLVE_ELEMENTWISE(MASKSOLVE_VALUES, operator+, x + y)
MASKSOLVE_ELEMENTWISE(MASKSOLVE_VALUES, operator-, x - y)
MASKSOLVE_ELEMENTWISE(MASKSOLVE_VALUES, operator*, x* y)
MASKSOLVE_ELEMENTWISE(MASKSOLVE_VALUES, operator&, x& y)
MASKSOLVE_ELEMENTWISE(MASKSOLVE_VALUES, operator|, x | y)
MASKSOLVE_ELEMENTWISE(MASKSOLVE_VALUES, least, x < y ? x : y)
MASKSOLVE_ELEMENTWISE(MASKSOLVE_VALUES, most, x > y ? x : y)
MASKSOLVE_ELEMENTWISE(MASKSOLVE_MASK, operator<, x < y)
MASKSOLVE_ELEMENTWISE(MASKSOLVE_MASK, operator>, x > y)
MASKSOLVE_ELEMENTWISE(MASKSOLVE_MASK, operator==, x == y)
MASKSOLVE_ELEMENTWISE(MASKSOLVE_MASK, operator!=, x != y)
#undef MASKSOLVE_ELEMENTWISE
#undef MASKSOLVE_VALUES
#undef MASKSOLVE_MASK

template <typename T, int P>
inline __attribute__((always_inline)) Pack<T, P> positive_part(Pack<T, P> a) {
    for (int k = 0; k < Pack<T, P>::K; ++k) a.part[k] = positive_lanes<T, Pack<T, P>::L>(a.part[k]);
    return a;
}

// Numbers as the integers that have their bits, and back.
template <typename T, int P>
inline __attribute__((always_inline)) Pack<Integer<T>, P> bits_of(const Pack<T, P>& x) {
    Pack<Integer<T>, P> bits;
    for (int k = 0; k < x.K; ++k) bits.part[k] = (typename Pack<Integer<T>, P>::V)x.part[k];
    return bits;
}
template <typename T, int P>
inline __attribute__((always_inline)) Pack<T, P> values_of(const Pack<Integer<T>, P>& bits) {
    Pack<T, P> x;
    for (int k = 0; k < x.K; ++k) x.part[k] = (typename Pack<T, P>::V)bits.part[k];
    return x;
}

// Bitwise operations on numbers. A second operand of sign bits changes or clears signs; one whose lanes are
// all ones or all zeros selects lanes.
#define MASKSOLVE_BITWISE(name, expression)                                                             \
    template <typename T, int P>                                                                        \
    inline __attribute__((always_inline)) Pack<T, P> name(Pack<T, P> a, const Pack<Integer<T>, P>& b) { \
        using Lanes = typename Pack<Integer<T>, P>::V;                                                  \
        for (int k = 0; k < Pack<T, P>::K; ++k) {                                                       \
            const Lanes x = (Lanes)a.part[k], y = b.part[k];                                            \
            a.part[k] = (typename Pack<T, P>::V)(expression);                                           \
        }                                                                                               \
        return a;                                                                                       \
    }
MASKSOLVE_BITWISE(bits_and, x& y)
MASKSOLVE_BITWISE(bits_and_not, x & ~y)
MASKSOLVE_BITWISE(bits_or, x | y)
MASKSOLVE_BITWISE(bits_xor, x ^ y)
#undef MASKSOLVE_BITWISE

template <typename T, int P>
inline __attribute__((always_inline)) Pack<T, P> select(const Pack<Integer<T>, P>& mask,
                                                        const Pack<T, P>& yes, const Pack<T, P>& no) {
    Pack<T, P> x;
    for (int k = 0; k < Pack<T, P>::K; ++k)
        x.part[k] = select_lanes<T, Pack<T, P>::L>(mask.part[k], yes.part[k], no.part[k]);
    return x;
}

// Shuffles the lanes of a followed by b into a, by the indices `first`, and into b, by `second`.
template <typename T, int L>
inline void mix(Vector<T, L>& a, Vector<T, L>& b, Vector<Integer<T>, L> first, Vector<Integer<T>, L> second) {
    const Vector<T, L> x = a, y = b;
    a = shuffle<T, L>(x, y, first);
    b = shuffle<T, L>(x, y, second);
}

// The last two rounds of swap_blocks at once, by instructions that interleave: x86 swaps single 4-byte lanes
// in two.
template <typename T, int L, int S>
inline void transpose_fours(Vector<T, L>* row) {
    Vector<Integer<T>, L> low, high, low_half, high_half;
    for (int l = 0; l < L; ++l) {
        const int four = l & ~3, k = l & 3;
        low[l] = four + k / 2 + (k & 1) * L;
        high[l] = low[l] + 2;
        low_half[l] = four + (k & 1) + k / 2 * L;
        high_half[l] = low_half[l] + 2;
    }
    for (int i = 0; i < S; i += 4) {
        mix<T, L>(row[i], row[i + 1], low, high);
        mix<T, L>(row[i + 2], row[i + 3], low, high);
        mix<T, L>(row[i], row[i + 2], low_half, high_half);
        mix<T, L>(row[i + 1], row[i + 3], low_half, high_half);
        const Vector<T, L> third = row[i + 1];
        row[i + 1] = row[i + 2];
        row[i + 2] = third;
    }
}

// Transposes S-by-S matrices held one row a register, one matrix in each S lanes: swaps the off-diagonal
// blocks of side H, then those of half the side.
template <int H, typename T, int L, int S = L>
inline void swap_blocks(Vector<T, L>* row) {
    if constexpr (H == 2 && sizeof(T) == 4) {
        transpose_fours<T, L, S>(row);
    } else {
        Vector<Integer<T>, L> from_low, from_high;
        for (int l = 0; l < L; ++l) {
            from_low[l] = l & H ? l - H + L : l;
            from_high[l] = l & H ? l + L : l + H;
        }
        for (int i = 0; i < S; ++i)
            if (!(i & H)) mix<T, L>(row[i], row[i + H], from_low, from_high);
        if constexpr (H > 1) swap_blocks<H / 2, T, L, S>(row);
    }
}

// to[j][i] = from[i][j] for R rows of C, without gaps between them.
template <typename T, int R, int C = R>
inline void transpose(const T (*from)[C], T (*to)[R]) {
    constexpr int L = Pack<T, (R < C ? R : C)>::L;
    using Unaligned = typename VectorType<T, L>::unaligned;
    for (int i = 0; i < R; i += L)
        for (int j = 0; j < C; j += L) {
            Vector<T, L> row[L];
            for (int k = 0; k < L; ++k) row[k] = *reinterpret_cast<const Unaligned*>(&from[i + k][j]);
            swap_blocks<L / 2, T, L>(row);
            for (int k = 0; k < L; ++k) *reinterpret_cast<Unaligned*>(&to[j + k][i]) = row[k];
        }
}

}  // namespace MASKSOLVE_ISA
}  // namespace masksolve
