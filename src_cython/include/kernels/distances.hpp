// What shortest-path searches do to the distances of a tile's R rows and C columns, kept as the integers with
// their bits.
#pragma once

#include "vectors/simd.hpp"

namespace masksolve {
namespace MASKSOLVE_ISA {

template <typename T, int R, int C>
struct Distances {
    using I = Integer<T>;
    using RowMask = typename Pack<T, C>::Mask;
    using ColumnMask = typename Pack<T, R>::Mask;

    // The smallest of all distances, in the lanes of a row; and the same in those of a column.
    static inline __attribute__((always_inline)) typename RowMask::V nearest(const RowMask& columns,
                                                                             const ColumnMask& rows) {
        if constexpr (R == C) {
            return least(columns, rows).smallest();
        } else {
            const typename RowMask::V of_columns = columns.smallest(),
                                      of_rows = rows.smallest()[0] - typename RowMask::V{};
            return of_columns < of_rows ? of_columns : of_rows;
        }
    }
    static inline __attribute__((always_inline)) ColumnMask in_rows(typename RowMask::V distance) {
        if constexpr (R == C) return ColumnMask::all(distance);
        else return ColumnMask::all(distance[0]);
    }

    // The distance plus the positive part of a reduced cost.
    template <int Lines>
    static inline __attribute__((always_inline)) Pack<I, Lines> further(const Pack<I, Lines>& distance,
                                                                        const Pack<T, Lines>& cost) {
        return bits_of(values_of<T>(positive_part(bits_of(cost))) + values_of<T>(distance));
    }
    // Without line k; `lane`: the lines' numbers.
    template <int Lines>
    static inline __attribute__((always_inline)) Pack<I, Lines> settle(const Pack<I, Lines>& open,
                                                                       const I* lane, int k) {
        using Lanes = Pack<I, Lines>;
        const Lanes far = bits_of(Pack<T, Lines>::all(std::numeric_limits<T>::infinity()));
        return select(Lanes::load(lane) == Lanes::all(k), far, open);
    }
    static RowMask and_not(RowMask a, RowMask b) {
        for (int k = 0; k < RowMask::K; ++k) a.part[k] &= ~b.part[k];
        return a;
    }
};

}  // namespace MASKSOLVE_ISA
}  // namespace masksolve
