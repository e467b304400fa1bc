// The n-th and (n+1)-th largest of P vectors, lane by lane, without a branch.
//
// Two sorting networks (Batcher 1968, odd-even merge sort) order the halves; the n-th largest of two
// ordered halves a and b is max over i of min(a_i, b_{n-i}), with a_0 = b_0 = infinity.
#pragma once

#include <array>
#include <utility>

#include "vectors/simd.hpp"

namespace masksolve {
namespace MASKSOLVE_ISA {

struct Comparator {
    int high, low;
};

constexpr int comparators(int count) {
    int total = 0;
    for (int p = 1; p < count; p *= 2)
        for (int k = p; k >= 1; k /= 2)
            for (int j = k % p; j + k < count; j += 2 * k)
                for (int i = 0; i < k; ++i)
                    if (i + j + k < count && (i + j) / (2 * p) == (i + j + k) / (2 * p)) ++total;
    return total;
}

template <int Count>
constexpr auto network() {
    std::array<Comparator, comparators(Count)> list{};
    int at = 0;
    for (int p = 1; p < Count; p *= 2)
        for (int k = p; k >= 1; k /= 2)
            for (int j = k % p; j + k < Count; j += 2 * k)
                for (int i = 0; i < k; ++i)
                    if (i + j + k < Count && (i + j) / (2 * p) == (i + j + k) / (2 * p))
                        list[at++] = {i + j, i + j + k};
    return list;
}

template <int Count, typename V, std::size_t... Index>
inline __attribute__((always_inline)) void sort_with(V* x, std::index_sequence<Index...>) {
    constexpr auto list = network<Count>();
    auto exchange = [x](int high, int low) {
        const V a = x[high], b = x[low];
        x[high] = a > b ? a : b;
        x[low] = a > b ? b : a;
    };
    (exchange(list[Index].high, list[Index].low), ...);
}

// Sorts Count registers, largest first, lane by lane.
template <int Count, typename V>
inline __attribute__((always_inline)) void sort_descending(V* x) {
    sort_with<Count>(x, std::make_index_sequence<comparators(Count)>{});
}

// The `n`-th largest of two descending lists of `half` registers each.
template <int half, typename V>
inline __attribute__((always_inline)) V nth_of_two(const V* a, const V* b, int n) {
    const int from = n > half ? n - half : 0, to = n < half ? n : half;
    V best{};
    for (int i = from; i <= to; ++i) {
        const int k = n - i;
        const V left = a[i > 0 ? i - 1 : 0], right = b[k > 0 ? k - 1 : 0];
        const V value = i == 0 ? right : k == 0 ? left : left < right ? left : right;
        best = i == from ? value : (best > value ? best : value);
    }
    return best;
}

// The n-th and (n+1)-th largest, of which the latter is -infinity if there is none; for few registers with n
// as a constant, so that nothing leaves them.
template <int half, int N = 1, typename V>
inline __attribute__((always_inline)) void neighbours_of_two(const V* a, const V* b, int n, V& high, V& low) {
    using T = std::decay_t<decltype(V{}[0])>;
    if constexpr (half <= 4 && N < 2 * half) {
        if (n != N) return neighbours_of_two<half, N + 1>(a, b, n, high, low);
        high = nth_of_two<half>(a, b, N);
        low = nth_of_two<half>(a, b, N + 1);
    } else {
        high = nth_of_two<half>(a, b, n);
        low = n < 2 * half ? nth_of_two<half>(a, b, n + 1) : V{} - std::numeric_limits<T>::infinity();
    }
}

}  // namespace MASKSOLVE_ISA
}  // namespace masksolve
