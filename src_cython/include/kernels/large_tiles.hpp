// The exact solver of m-by-m tiles that keep n in every row and column, m <= P.
//
// 1. Dual warm start: the rows' prices u, then the columns' v, in turn take the middle between the n-th and
//    the (n+1)-th largest of s - v (s - u), which minimises the dual while the other side stands still.
// 2. Each row keeps the n entries above its price: rows are right, columns may hold too many or too few.
// 3. Shortest augmenting paths (Dijkstra over reduced costs, from all columns with too many to the
//    nearest with too few, dropping and adding entries in turn) until no column holds too many.
// The first step has no branches, so that as many tiles as fill a register take it together; the others go
// tile by tile. Whatever is decided for a tile depends on its own scores alone.
// Prices stay dual feasible in the sense that kept entries have s - u - v >= 0 and dropped ones <= 0, so at
// the end they prove the mask optimal.
#pragma once

#include <algorithm>
#include <cstring>

#include "vectors/order_statistics.hpp"
#include "vectors/simd.hpp"

namespace masksolve {
namespace MASKSOLVE_ISA {

template <typename T, int P>
class TileKernel {
public:
    using Row = Pack<T, P>;
    using Mask = typename Row::Mask;
    using I = Integer<T>;
    static constexpr T infinity = std::numeric_limits<T>::infinity();
    // Tiles that take the dual warm start together, side by side: as many as fill a register.
    static constexpr int together = Row::most_lanes > P ? Row::most_lanes / P : 1;
    static constexpr int lanes = together * P;

    alignas(64) T s[P][lanes];  // scores, tile k from lane k P on; beyond m: -infinity
    alignas(64) T u[lanes], v[lanes];
    std::int64_t augmentations = 0, steps = 0;

    TileKernel(int m, int n)
        : m_(m), n_(n), valid_(m < 64 ? (std::uint64_t{1} << m) - 1 : ~std::uint64_t{0}) {
        for (int i = 0; i < P; ++i) std::fill_n(s[i], lanes, -infinity);
        std::fill_n(u, lanes, T{0});
        std::fill_n(v, lanes, T{0});
        for (int j = 0; j < P; ++j) lane_[j] = j;
        for (int j = 0; j < P; ++j) bit_[j] = static_cast<I>(std::make_unsigned_t<I>{1} << (j % word_bits));
    }

    // The dual warm start of all tiles in `s`; `warm`: start from the prices in `v`.
    void start(int rounds, bool warm) {
        transpose_tiles();
        if (!warm) std::fill_n(v, lanes, T{0});
        watched_ = ~std::uint64_t{0};
        far_apart_ = 0;
        price(t_, v, u);
        for (int round = 0; round < rounds; ++round) {
            price(s, u, v);
            watched_ = whole_tiles(far_apart_);
            price(t_, v, u);
        }
    }

    // Solves tile k after the warm start; `kept`, `prices_u` and `prices_v` are then its answer.
    void finish(int k) {
        at_ = k * P;
        keep_rows();
        while (excess_) augment();
    }
    T score(int i, int j) const { return s[i][at_ + j]; }
    T* prices_u() { return u + at_; }
    T* prices_v() { return v + at_; }

    // Turns the prices into ones that prove the mask optimal among those that keep at most n, all of them
    // non-negative; false if there are none, and then only v is. The least v >= 0 that bounds the dropped
    // entries leaves u largest.
    bool make_prices_non_negative() {
        T *const rows = prices_u(), *const columns = prices_v();
        const T low_u = *std::min_element(rows, rows + m_), low_v = *std::min_element(columns, columns + m_);
        if (low_u + low_v >= 0) {
            const T shift = low_u < 0 ? -low_u : low_v < 0 ? low_v : T{0};
            for (int i = 0; i < m_; ++i) {
                rows[i] = std::max(rows[i] + shift, T{0});
                columns[i] = std::max(columns[i] - shift, T{0});
            }
            return true;
        }
        std::fill_n(columns, P, T{0});
        for (int round = 0; round <= m_ && raise_prices(); ++round) {
        }
        return *std::min_element(rows, rows + m_) >= 0;
    }

    std::uint64_t kept(int i) const {
        if constexpr (words == 1) return static_cast<std::make_unsigned_t<I>>(kept_[0][i]);
        else
            return static_cast<std::uint32_t>(kept_[0][i]) |
                   static_cast<std::uint64_t>(static_cast<std::uint32_t>(kept_[1][i])) << 32;
    }

private:
    using Wider = Pack<T, lanes>;
    static constexpr int half = P / 2;
    static constexpr std::uint64_t valid_lanes =
        P < 64 ? (std::uint64_t{1} << (P % 64)) - 1 : ~std::uint64_t{0};
    static constexpr int word_bits = sizeof(I) * 8 < P ? sizeof(I) * 8 : P;
    static constexpr int words = P / word_bits;

    int m_, n_;
    std::uint64_t valid_;
    alignas(64) T t_[P][lanes];     // the transposes of s
    alignas(64) T low_[lanes];      // the (n+1)-th largest of s - v in each row
    alignas(64) I kept_[words][P];  // bit j % word_bits of kept_[j / word_bits][i]: (i, j) is kept
    alignas(64) I bit_[P], lane_[P];
    alignas(64) I in_column_[P];  // kept entries of each column
    // Where the (n+1)-th largest is of another order of magnitude than the n-th, such as a very negative
    // score for an entry that is not wanted, rounding would drown the other scores in their middle. The first
    // prices of rows and of columns are watched for it, the later ones in the tiles where it occurs.
    std::uint64_t watched_ = 0, far_apart_ = 0, tied_ = 0;  // lanes
    int at_ = 0;                                            // the first lane of the tile at work
    std::uint64_t excess_ = 0, deficit_ = 0;                // its columns

    void transpose_tiles() {
        if constexpr (together == 1) {
            transpose<T, P>(s, t_);
        } else {
            Vector<T, lanes> row[P];
            for (int i = 0; i < P; ++i) std::memcpy(&row[i], s[i], sizeof row[i]);
            swap_blocks<P / 2, T, lanes, P>(row);
            for (int i = 0; i < P; ++i) std::memcpy(t_[i], &row[i], sizeof row[i]);
        }
    }

    // All lanes of the tiles that have one of these.
    static std::uint64_t whole_tiles(std::uint64_t some) {
        if (some == 0) return 0;
        std::uint64_t all = 0;
        for (int k = 0; k < lanes; k += P)
            if (some >> k & valid_lanes) all |= valid_lanes << k;
        return all;
    }

    // Element k of each tile's P values, in all of its lanes.
    static inline __attribute__((always_inline)) typename Wider::V spread(const T* values, int k) {
        if constexpr (together == 1) {
            return values[k] - typename Wider::V{};
        } else {
            // Quads across the register, then an element within each quad, which needs no table.
            Vector<I, lanes> quad, element;
            for (int l = 0; l < lanes; ++l) {
                quad[l] = l / P * P + k / 4 * 4 + l % 4;
                element[l] = l / 4 * 4 + k % 4;
            }
            Vector<T, lanes> x;
            std::memcpy(&x, values, sizeof x);
            x = shuffle<T, lanes>(x, x, quad);
            return shuffle<T, lanes>(x, x, element);
        }
    }

    // to = middle between the n-th and (n+1)-th largest over k of from[k] - other[k]; tied_: where both are
    // equal.
    void price(const T (*from)[lanes], const T* other, T* to) {
        using V = typename Wider::V;
        constexpr int L = Wider::L;
        tied_ = 0;
        for (int at = 0; at < lanes; at += L) {
            V a[half], b[half];
            MASKSOLVE_UNROLL
            for (int k = 0; k < half; ++k) {
                a[k] = *reinterpret_cast<const V*>(&from[k][at]) - spread(other, k);
                b[k] = *reinterpret_cast<const V*>(&from[k + half][at]) - spread(other, k + half);
            }
            sort_descending<half>(a);
            sort_descending<half>(b);
            V high, low;
            neighbours_of_two<half>(a, b, n_, high, low);
            V middle = (high + low) * T(0.5);
            if (watched_ != 0) {
                const V least = high - (high < V{} ? -high : high) * T(1024);
                const std::uint64_t far = lane_bits<I, L>(low < least) & watched_ >> at;
                far_apart_ |= far << at;
                for (std::uint64_t left = far; left != 0; left &= left - 1) {
                    const int l = __builtin_ctzll(left);
                    middle[l] = std::max<T>(middle[l], least[l]);
                }
            }
            *reinterpret_cast<V*>(&to[at]) = middle;
            *reinterpret_cast<V*>(&low_[at]) = low;
            tied_ |= lane_bits<I, L>(high == low) << at;
        }
        if (m_ < P)
            for (int at = 0; at < lanes; at += P) std::fill(to + at + m_, to + at + P, T{0});
    }

    // Keeps the n best of every row at the present prices; ties go where columns hold least.
    void keep_rows() {
        const Row prices = Row::load(v + at_);
        Mask held = Mask::all(0);
        for (int i = 0; i < m_; ++i) {
            const Mask above = (Row::load(s[i] + at_) - prices) > Row::all(low_[at_ + i]);
            set_kept(i, above.bits());
            held = held - above;
        }
        for (int i = m_; i < P; ++i) set_kept(i, 0);
        held.store(in_column_);
        for (std::uint64_t tied = tied_ >> at_ & valid_; tied; tied &= tied - 1)
            fill_ties(__builtin_ctzll(tied));
        held = Mask::load(in_column_);
        excess_ = (held > Mask::all(n_)).bits() & valid_;
        deficit_ = (held < Mask::all(n_)).bits() & valid_;
    }

    // u as large as the kept entries allow, then v as large as the dropped ones demand; whether v rose.
    bool raise_prices() {
        T *const rows = prices_u(), *const columns = prices_v();
        Row most_u = Row::all(infinity);
        for (int j = 0; j < m_; ++j) {
            const Row rest = Row::load(t_[j] + at_) - Row::all(columns[j]);
            most_u = least(most_u, select(kept_in_column(j), rest, Row::all(infinity)));
        }
        most_u.store(rows);
        const Row before = Row::load(columns);
        Row least_v = before;
        for (int i = 0; i < m_; ++i) {
            const Row rest = Row::load(s[i] + at_) - Row::all(rows[i]);
            least_v = most(least_v, select(kept_in_row(i), Row::all(-infinity), rest));
        }
        least_v.store(columns);
        return ((least_v > before).bits() & valid_) != 0;
    }

    void set_kept(int i, std::uint64_t bits) {
        for (int w = 0; w < words; ++w) kept_[w][i] = static_cast<I>(bits >> (w * word_bits));
    }

    void fill_ties(int i) {
        std::uint64_t bits = kept(i);
        std::uint64_t tied =
            (Row::load(s[i] + at_) - Row::load(v + at_) == Row::all(low_[at_ + i])).bits() & valid_;
        int missing = n_ - __builtin_popcountll(bits);
        const Mask held = Mask::load(in_column_);
        std::uint64_t taken = 0;
        for (I level = held.smallest()[0]; missing > 0; ++level) {
            std::uint64_t here = (held == Mask::all(level)).bits() & tied;
            for (; missing < __builtin_popcountll(here);
                 here &= ~(std::uint64_t{1} << (63 - __builtin_clzll(here)))) {
            }
            missing -= __builtin_popcountll(here);
            taken |= here;
        }
        (held - from_bits(taken, bit_)).store(in_column_);
        set_kept(i, bits | taken);
    }

    // All lanes j (i) with bit j (i) of the row's (column's) kept entries.
    Mask kept_in_row(int i) const {
        Mask x;
        for (int k = 0; k < Mask::K; ++k) {
            const int w = k * Mask::L / word_bits;
            const auto bits = *reinterpret_cast<const typename Mask::V*>(&bit_[k * Mask::L]);
            x.part[k] = (kept_[w][i] & bits) != 0;
        }
        return x;
    }
    Mask kept_in_column(int j) const {
        return (Mask::load(kept_[j / word_bits]) & Mask::all(bit_[j])) != Mask::all(0);
    }
    static Mask from_bits(std::uint64_t bits, const I* bit) {
        Mask x;
        for (int k = 0; k < Mask::K; ++k) {
            const I word = static_cast<I>(bits >> (k * Mask::L / word_bits * word_bits));
            x.part[k] = (word & *reinterpret_cast<const typename Mask::V*>(&bit[k * Mask::L])) != 0;
        }
        return x;
    }

    // Dijkstra from the columns that hold too many to the nearest that holds too few. A settled node's
    // distance is never improved, because costs are not negative. For the same reason distances are ordered
    // as the integers with their bits are, whose minimum processors find several times sooner.
    void augment() {
        const Mask far = bits_of(Row::all(infinity)), zero = Mask::all(0);
        const Row from_u = Row::load(u + at_), from_v = Row::load(v + at_);
        Mask column = select(from_bits(excess_, bit_), zero, far), row = far;
        Mask open_column = column, open_row = row;
        Mask row_from = Mask::all(-1), column_from = Mask::all(-1);
        typename Mask::V distance;
        int end;
        for (;;) {
            ++steps;
            distance = least(open_column, open_row).smallest();
            const std::uint64_t near = (open_column == Mask::all(distance)).bits();
            if (near & deficit_) {
                end = __builtin_ctzll(near & deficit_);
                break;
            }
            if (near) {
                const int j = __builtin_ctzll(near);
                open_column = settle(open_column, j);
                const Mask cost = further(distance, Row::load(t_[j] + at_) - Row::all(v[at_ + j]) - from_u);
                const Mask better = kept_in_column(j) & (cost < row);
                row = select(better, cost, row);
                open_row = select(better, cost, open_row);
                row_from = select(better, Mask::all(j), row_from);
            } else {
                const int i = __builtin_ctzll((open_row == Mask::all(distance)).bits());
                open_row = settle(open_row, i);
                const Mask cost = further(distance, from_v + Row::all(u[at_ + i]) - Row::load(s[i] + at_));
                const Mask better = and_not(cost < column, kept_in_row(i));
                column = select(better, cost, column);
                open_column = select(better, cost, open_column);
                column_from = select(better, Mask::all(i), column_from);
            }
        }
        const Row reached = values_of(Mask::all(distance)), nothing = Row::all(0);
        (from_u - most(reached - values_of(row), nothing)).store(u + at_);
        (from_v + most(reached - values_of(column), nothing)).store(v + at_);
        flip(end, row_from, column_from);
    }

    // The distance plus the positive part of a reduced cost.
    static inline __attribute__((always_inline)) Mask further(typename Mask::V distance, const Row& cost) {
        return bits_of(values_of(positive_part(bits_of(cost))) + values_of(Mask::all(distance)));
    }
    static inline __attribute__((always_inline)) Mask bits_of(const Row& x) {
        Mask bits;
        for (int k = 0; k < Mask::K; ++k) bits.part[k] = (typename Mask::V)x.part[k];
        return bits;
    }
    static inline __attribute__((always_inline)) Row values_of(const Mask& bits) {
        Row x;
        for (int k = 0; k < Mask::K; ++k) x.part[k] = (typename Row::V)bits.part[k];
        return x;
    }

    Mask settle(Mask open, int k) const {
        return select(Mask::load(lane_) == Mask::all(k), bits_of(Row::all(infinity)), open);
    }

    static Mask and_not(Mask a, Mask b) {
        for (int k = 0; k < Mask::K; ++k) a.part[k] &= ~b.part[k];
        return a;
    }

    // Adds and drops entries along the path back from column `end`.
    void flip(int end, const Mask& row_from, const Mask& column_from) {
        alignas(64) I row_parent[P], column_parent[P];
        row_from.store(row_parent);
        column_from.store(column_parent);
        int j = end;
        while (column_parent[j] >= 0) {
            const int i = static_cast<int>(column_parent[j]);
            kept_[j / word_bits][i] ^= bit_[j];
            j = static_cast<int>(row_parent[i]);
            kept_[j / word_bits][i] ^= bit_[j];
        }
        if (++in_column_[end] == n_) deficit_ &= ~(std::uint64_t{1} << end);
        if (--in_column_[j] == n_) excess_ &= ~(std::uint64_t{1} << j);
        ++augmentations;
    }
};

}  // namespace MASKSOLVE_ISA
}  // namespace masksolve
