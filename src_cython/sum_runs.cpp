#include "arrays/clones.hpp"
#include "arrays/magnitude_sum.hpp"
#include "arrays/pairs.hpp"

#define MASKSOLVE_ISA baseline
#define MASKSOLVE_VECTOR_BYTES 16
#include "arrays/convert.hpp"

namespace masksolve {

MASKSOLVE_CLONES void read_scores(Dtype dtype, Score score, const char* from, std::ptrdiff_t count,
                                  double* to) {
    baseline::convert_run(dtype, from, count, to);
    if (score == Score::magnitude && is_signed(dtype)) baseline::take_magnitudes(to, count);
    if (score == Score::square) baseline::take_squares(to, count);
}

// Written in vectors, since the compiler makes none of a comparison of numbers.
using Four = double __attribute__((vector_size(4 * sizeof(double))));
using FourSingle = float __attribute__((vector_size(4 * sizeof(float))));
using FourBits = std::int64_t __attribute__((vector_size(4 * sizeof(std::int64_t))));

static inline __attribute__((always_inline)) Four load_four(const double* from) {
    Four x;
    std::memcpy(&x, from, sizeof x);
    return x;
}

// Sums of numbers, or what is certainly above them where float64 does not hold them. What rounding has left
// out is itself a number (Knuth, The Art of Computer Programming, volume 2, section 4.2.2, theorem B). The
// step up is one or two units in the last place; sums of denormal numbers need none.
static inline __attribute__((always_inline)) void add_rounded_up(const Four& one, const Four& other,
                                                                 double* to) {
    const Four total = one + other, second = total - one;
    const Four lost = (one - (total - second)) + (other - second);
    const Four step = (total < 0 ? -total : total) * 0x1p-52;
    const Four sum = lost > 0 ? total + step : total;
    std::memcpy(to, &sum, sizeof sum);
}

MASKSOLVE_CLONES void join_neighbours(const double* both, std::ptrdiff_t count, double* to) {
    for (std::ptrdiff_t k = 0; k < count; k += 4) {
        const Four low = load_four(both + 2 * k), high = load_four(both + 2 * k + 4);
        add_rounded_up(Four{low[0], low[2], high[0], high[2]}, Four{low[1], low[3], high[1], high[3]},
                       to + k);
    }
}
MASKSOLVE_CLONES void join_lines(const double* one, const double* other, std::ptrdiff_t count, double* to) {
    for (std::ptrdiff_t k = 0; k < count; k += 4)
        add_rounded_up(load_four(one + k), load_four(other + k), to + k);
}

MASKSOLVE_CLONES bool narrow_run(const double* from, std::ptrdiff_t count, float* to) {
    FourBits differs{};
    std::ptrdiff_t k = 0;
    for (; k + 4 <= count; k += 4) {
        const Four wide = load_four(from + k);
        const auto narrow = __builtin_convertvector(wide, FourSingle);
        differs |= __builtin_convertvector(narrow, Four) != wide;
        std::memcpy(to + k, &narrow, sizeof narrow);
    }
    bool exact = (differs[0] | differs[1] | differs[2] | differs[3]) == 0;
    for (; k < count; ++k) {
        to[k] = static_cast<float>(from[k]);
        exact &= static_cast<double>(to[k]) == from[k];
    }
    return exact;
}

// Added in float64, several vectors side by side, since each addition waits for the one before. `T` holds
// every entry exactly, unless it is a long integer.
template <typename T>
static inline __attribute__((always_inline)) double add_up(Dtype dtype, const char* data,
                                                           std::ptrdiff_t count) {
    typedef T FourStored __attribute__((vector_size(4 * sizeof(T))));
    constexpr int side_by_side = 4;
    T values[most_added];
    baseline::convert_run(dtype, data, count, values);
    if (is_signed(dtype)) baseline::take_magnitudes(values, count);
    Four sums[side_by_side] = {};
    std::ptrdiff_t k = 0;
    for (; k + 4 * side_by_side <= count; k += 4 * side_by_side)
        for (int part = 0; part < side_by_side; ++part) {
            FourStored stored;
            std::memcpy(&stored, values + k + 4 * part, sizeof stored);
            sums[part] += __builtin_convertvector(stored, Four);
        }
    const Four four = (sums[0] + sums[1]) + (sums[2] + sums[3]);
    double sum = (four[0] + four[1]) + (four[2] + four[3]);
    for (; k < count; ++k) sum += static_cast<double>(values[k]);
    return sum;
}

MASKSOLVE_CLONES double magnitude_sum_of_run(Dtype dtype, const char* data, std::ptrdiff_t count) {
    const bool halves = dtype == Dtype::bf16 || dtype == Dtype::f16;
    return halves || dtype == Dtype::f32 ? add_up<float>(dtype, data, count)
                                         : add_up<double>(dtype, data, count);
}

}  // namespace masksolve
