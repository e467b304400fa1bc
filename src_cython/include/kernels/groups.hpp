// One-directional groups of up to P entries, one a lane: the n largest, found by their n-th largest.
//
// Ties at the n-th largest go to the first entries. The group's price is its n-th largest (under at most n,
// not below 0), which proves the choice: n u + sum max(0, s - u) is what it keeps.
#pragma once

#include "arrays/staging.hpp"
#include "vectors/lanes.hpp"
#include "vectors/order_statistics.hpp"

namespace masksolve {
namespace MASKSOLVE_ISA {

// Eight mask bytes for each value of eight mask bits.
constexpr std::array<std::uint64_t, 256> make_mask_bytes() {
    std::array<std::uint64_t, 256> table{};
    for (int bits = 0; bits < 256; ++bits)
        for (int j = 0; j < 8; ++j) table[bits] |= static_cast<std::uint64_t>(bits >> j & 1) << (8 * j);
    return table;
}
constexpr std::array<std::uint64_t, 256> mask_bytes = make_mask_bytes();

// `Width`: the groups' length as a constant, or 0.
template <typename T, int P, int Width>
class GroupKernel {
public:
    static constexpr int L = Pack<T, 64>::L;

    // `squared`: the scores' squares decide.
    GroupKernel(Bounds bounds, int width, bool columns, bool squared)
        : bounds_(bounds), width_(width), columns_(columns), squared_(squared) {}

    // The `count` groups, at most L, from the window's `first` on; the price is the n-th largest, not its
    // square.
    void solve(Window<T>& window, int first, int count, T* prices) const {
        Batch work;
        const bool quads = P == 4 && Width == 4 && !columns_ && count == L;
        read(window, first, count, quads, work);
        if (squared_)
            for (int j = 0; j < width(); ++j)
                work.entries[j] = work.entries[j] < V{} ? -work.entries[j] : work.entries[j];
        choose(work);
        const V in_place = quads ? in_order<T, L>(work.price) : work.price;
        std::memcpy(prices, &in_place, count * sizeof(T));
        if (columns_) write_columns(window, first, count, work);
        else write_rows(window, first, count, quads, work);
    }

private:
    using I = Integer<T>;
    using V = Vector<T, L>;
    using Flags = Vector<I, L>;
    static constexpr T infinity = std::numeric_limits<T>::infinity();

    Bounds bounds_;
    int width_;
    bool columns_, squared_;

    int width() const { return Width ? Width : width_; }

    struct Batch {
        V entries[P];  // beyond the width: -infinity
        Flags kept[P];
        V price;
    };

    inline __attribute__((always_inline)) void read(const Window<T>& window, int first, int count, bool quads,
                                                    Batch& work) const {
        if constexpr (P == 4)
            if (quads) return load_quads<T, L>(window.row(first, 0), work.entries);
        if (columns_) read_columns(window, first, count, work);
        else read_rows(window, first, count, work);
    }

    inline __attribute__((always_inline)) void read_columns(const Window<T>& window, int first, int count,
                                                            Batch& work) const {
        for (int j = 0; j < P; ++j) work.entries[j] = V{} - infinity;
        for (int j = 0; j < width(); ++j) {
            const char* from = window.scores + first * sizeof(T) + j * window.across;
            work.entries[j] = V{};
            if (count == L) std::memcpy(&work.entries[j], from, sizeof(V));
            else std::memcpy(&work.entries[j], from, count * sizeof(T));
        }
    }

    // Each group's entries in a row, then transposed.
    inline __attribute__((always_inline)) void read_rows(const Window<T>& window, int first, int count,
                                                         Batch& work) const {
        constexpr bool blocks = P >= L;
        if (blocks && count == L && width() == P) {
            for (int j = 0; j < P; j += L)
                for (int g = 0; g < L && j + g < P; ++g)
                    std::memcpy(&work.entries[j + g], window.row(first + g, 0) + j, sizeof(V));
        } else {
            alignas(64) T group[L][P] = {};
            for (int g = 0; g < L; ++g) {
                if (g < count) std::memcpy(group[g], window.row(first + g, 0), width() * sizeof(T));
                for (int j = width(); j < P; ++j) group[g][j] = -infinity;
            }
            if constexpr (!blocks) {
                for (int j = 0; j < P; ++j)
                    for (int g = 0; g < L; ++g) work.entries[j][g] = group[g][j];
                return;
            }
            for (int j = 0; j < P; j += L)
                for (int g = 0; g < L && j + g < P; ++g)
                    std::memcpy(&work.entries[j + g], &group[g][j], sizeof(V));
        }
        if constexpr (blocks)
            for (int j = 0; j < P; j += L) swap_blocks<L / 2, T, L>(&work.entries[j]);
    }

    inline __attribute__((always_inline)) void choose(Batch& work) const {
        constexpr int half = P / 2;
        V a[half], b[half], nth, next;
        MASKSOLVE_UNROLL
        for (int j = 0; j < half; ++j) {
            a[j] = work.entries[j];
            b[j] = work.entries[j + half];
        }
        sort_descending<half>(a);
        sort_descending<half>(b);
        neighbours_of_two<half>(a, b, bounds_.most, nth, next);
        const bool at_most = bounds_.least < bounds_.most;
        work.price = at_most ? (nth > V{} ? nth : V{}) : nth;
        Flags held{};
        for (int j = 0; j < width(); ++j) {
            work.kept[j] = work.entries[j] >= nth;
            if (at_most) work.kept[j] &= work.entries[j] > V{};
            held -= work.kept[j];
        }
        Flags surplus = held - I(bounds_.most);
        if (lane_bits<I, L>(surplus > 0) == 0) return;
        for (int j = width() - 1; j >= 0; --j) {
            const Flags dropped = (work.entries[j] == nth) & (surplus > 0);
            work.kept[j] &= ~dropped;
            surplus += dropped;
        }
    }

    inline __attribute__((always_inline)) void write_columns(Window<T>& window, int first, int count,
                                                             const Batch& work) const {
        for (int j = 0; j < width(); ++j) {
            const std::uint64_t bits = lane_bits<I, L>(work.kept[j]);
            char* to = window.mask + first + j * window.mask_across;
            if (count == L)
                for (int g = 0; g < L; g += 8)
                    std::memcpy(to + g, &mask_bytes[bits >> g & 255], L < 8 ? L : 8);
            else
                for (int g = 0; g < count; ++g) to[g] = bits >> g & 1;
        }
    }

    inline __attribute__((always_inline)) void write_rows(Window<T>& window, int first, int count, bool quads,
                                                          const Batch& work) const {
        for (int j = 0; j < width(); j += 4) {
            Flags bytes{};
            for (int q = 0; q < 4 && j + q < width(); ++q) bytes |= work.kept[j + q] & (I{1} << (8 * q));
            if (quads) {
                store_words<I, L>(in_order<I, L>(bytes), window.mask_row(first, 0));
                continue;
            }
            for (int g = 0; g < count; ++g) {
                const auto word = static_cast<std::uint32_t>(bytes[g]);
                std::memcpy(window.mask_row(first + g, 0) + j, &word, std::min(4, width() - j));
            }
        }
    }
};

}  // namespace MASKSOLVE_ISA
}  // namespace masksolve
