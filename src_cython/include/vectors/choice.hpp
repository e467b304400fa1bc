// Eight float64 lanes, some of them chosen by mask bytes of 0 or 1: what certificates do to the entries that
// a mask keeps. AVX-512 chooses on the way, by its mask registers; elsewhere lanes of all ones choose.
#pragma once

#include "vectors/simd.hpp"

namespace masksolve {
namespace MASKSOLVE_ISA {

class Choice {
public:
    static constexpr int lanes = 8;
    using Values = Pack<double, lanes>;
    using Bits = Pack<std::int64_t, lanes>;

#if MASKSOLVE_X86_BYTES >= 64
    explicit inline __attribute__((always_inline)) Choice(const char* mask)
        : chosen_(static_cast<__mmask8>(_mm_test_epi8_mask(
              _mm_loadl_epi64(reinterpret_cast<const __m128i*>(mask)), _mm_set1_epi8(1)))) {}

    // a - b where not chosen, b - a where chosen.
    inline __attribute__((always_inline)) Values turned_difference(const Values& a, const Values& b) const {
        const __m512d x = (__m512d)a.part[0], y = (__m512d)b.part[0];
        return pack(_mm512_mask_sub_pd(_mm512_sub_pd(x, y), chosen_, y, x));
    }
    // The sum, and x where chosen.
    inline __attribute__((always_inline)) Values added(const Values& sum, const Values& x) const {
        const __m512d before = (__m512d)sum.part[0];
        return pack(_mm512_mask_add_pd(before, chosen_, before, (__m512d)x.part[0]));
    }
    // The bits, and those of x where chosen.
    inline __attribute__((always_inline)) Bits gathered(const Bits& bits, const Values& x) const {
        const __m512i before = (__m512i)bits.part[0];
        Bits after;
        after.part[0] = (typename Bits::V)_mm512_mask_or_epi64(before, chosen_, before, (__m512i)x.part[0]);
        return after;
    }

private:
    __mmask8 chosen_;

    static inline __attribute__((always_inline)) Values pack(__m512d x) {
        Values values;
        values.part[0] = (typename Values::V)x;
        return values;
    }
#else
    explicit inline __attribute__((always_inline)) Choice(const char* mask)
        : chosen_(Bits::all(std::int64_t{0}) - Bits::convert(mask)) {}

    inline __attribute__((always_inline)) Values turned_difference(const Values& a, const Values& b) const {
        return bits_xor(a - b, chosen_ & Bits::all(std::numeric_limits<std::int64_t>::min()));
    }
    inline __attribute__((always_inline)) Values added(const Values& sum, const Values& x) const {
        return sum + bits_and(x, chosen_);
    }
    inline __attribute__((always_inline)) Bits gathered(const Bits& bits, const Values& x) const {
        Bits after;
        for (int k = 0; k < Bits::K; ++k)
            after.part[k] = bits.part[k] | ((typename Bits::V)x.part[k] & chosen_.part[k]);
        return after;
    }

private:
    Bits chosen_;
#endif
};

}  // namespace MASKSOLVE_ISA
}  // namespace masksolve
