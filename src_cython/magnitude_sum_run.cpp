#include "arrays/magnitude_sum.hpp"

#include <type_traits>

#include "arrays/clones.hpp"

#define MASKSOLVE_ISA baseline
#define MASKSOLVE_VECTOR_BYTES 16
#include "arrays/convert.hpp"

namespace masksolve {

using Four = double __attribute__((vector_size(4 * sizeof(double))));

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
