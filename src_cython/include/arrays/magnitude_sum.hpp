// The sum of the magnitudes of an array's entries.
#pragma once

#include <cstddef>

#include "arrays/floating_point.hpp"
#include "arrays/strided.hpp"

namespace masksolve {

// The sum over a short run of entries side by side, of any dtype; compiled for several instruction sets.
constexpr std::ptrdiff_t most_added = 512;
double magnitude_sum_of_run(Dtype dtype, const char* data, std::ptrdiff_t count);

// The sum over entries side by side: sums of short runs, so that hardly anything is rounded away.
inline double magnitude_sum(Dtype dtype, const char* data, std::ptrdiff_t count) {
    const DefaultArithmetic while_adding;
    double sum = 0;
    for (; count > most_added; count -= most_added, data += most_added * entry_bytes(dtype))
        sum += magnitude_sum_of_run(dtype, data, most_added);
    return sum + magnitude_sum_of_run(dtype, data, count);
}

}  // namespace masksolve
