// The exact solver of tiles that keep so many in every row and so many in every column, within R by C, rows
// and columns equally many in all; or that keep at most so many, of scores that are not negative.
//
// 1. Dual warm start: the rows' prices u, then the columns' v, in turn take the middle between the n-th and
//    the (n+1)-th largest of s - v (s - u), n being what the line keeps, which minimises the dual while the
//    other side stands still.
// 2. Each row keeps the n entries above its price: rows are right, columns may hold too many or too few.
// 3. Shortest augmenting paths (Dijkstra over reduced costs, from all columns with too many to the
//    nearest with too few, dropping and adding entries in turn) until no column holds too many.
// The first step has no branches, so that as many tiles as fill a register take it together. What becomes of
// a tile depends on its own scores alone. Prices stay dual feasible in the sense that kept entries have
// s - u - v >= 0 and dropped ones <= 0, so at the end they prove the mask optimal.
//
// At most so many: prices are not negative, and a line that is not full has the price 0. The columns' prices
// begin with 0 and only rise, so that the rows' only fall. In step 1 a column's price rises to less than what
// it is worth to n rows at the least. None of these turns away as its own price falls, so a column whose
// price is positive never holds too few. In step 3 a path may also end in a row, which then keeps one entry
// less: its price is the cost, and 0 from then on.
#pragma once

#include <algorithm>
#include <cstring>

#include "kernels/distances.hpp"
#include "vectors/order_statistics.hpp"
#include "vectors/simd.hpp"

namespace masksolve {
namespace MASKSOLVE_ISA {

template <typename T, int R, int C>
class TileKernel {
public:
    using Row = Pack<T, C>;     // a value for each column
    using Column = Pack<T, R>;  // a value for each row
    using RowMask = typename Row::Mask;
    using ColumnMask = typename Column::Mask;
    using I = Integer<T>;
    static constexpr T infinity = std::numeric_limits<T>::infinity();
    // Tiles that take the dual warm start together, side by side: as many squares as fill a register.
    static constexpr int together = R == C && Row::most_lanes > C ? Row::most_lanes / C : 1;
    static constexpr int rows_at_once = together * R, columns_at_once = together * C;

    alignas(64) T s[R][columns_at_once];  // scores, tile k from lane k C on; beyond the tile: -infinity
    alignas(64) T u[rows_at_once], v[columns_at_once];
    std::int64_t augmentations = 0, steps = 0;

    TileKernel(int height, int width, int row_n, int column_n)
        : height_(height),
          width_(width),
          row_n_(row_n),
          column_n_(column_n),
          rows_(lowest_bits(height)),
          columns_(lowest_bits(width)) {
        for (int i = 0; i < R; ++i) std::fill_n(s[i], columns_at_once, -infinity);
        std::fill_n(u, rows_at_once, T{0});
        std::fill_n(v, columns_at_once, T{0});
        for (int j = 0; j < P; ++j) lane_[j] = j;
        for (int j = 0; j < C; ++j) bit_[j] = static_cast<I>(std::make_unsigned_t<I>{1} << (j % word_bits));
    }

    // The dual warm start of all tiles in `s`. `warm`: from the prices in `v`; `at_most`: for tiles that keep
    // at most so many, from prices of 0.
    void start(int rounds, bool warm, bool at_most = false) {
        at_most_ = at_most;
        transpose_tiles();
        if (!warm) std::fill_n(v, columns_at_once, T{0});
        watched_ = at_most ? 0 : ~std::uint64_t{0};
        far_apart_ = 0;
        price<C, R>(t_, v, row_n_, height_, u);
        for (int round = 0; round < rounds; ++round) {
            price<R, C>(s, u, column_n_, width_, v);
            watched_ = whole_tiles(far_apart_);
            price<C, R>(t_, v, row_n_, height_, u);
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

    // Turns the prices into ones that prove the mask optimal among those that keep at most as many, all of
    // them non-negative; false if there are none, and then only v is. The least v >= 0 that bounds the
    // dropped entries leaves u largest.
    bool make_prices_non_negative() {
        T *const rows = prices_u(), *const columns = prices_v();
        const T low_u = *std::min_element(rows, rows + height_),
                low_v = *std::min_element(columns, columns + width_);
        if (low_u >= 0 && low_v >= 0) return true;
        if (low_u + low_v >= 0) {
            const T shift = low_u < 0 ? -low_u : low_v < 0 ? low_v : T{0};
            for (int i = 0; i < height_; ++i) rows[i] = std::max(rows[i] + shift, T{0});
            for (int j = 0; j < width_; ++j) columns[j] = std::max(columns[j] - shift, T{0});
            return true;
        }
        std::fill_n(columns, C, T{0});
        for (int round = 0; round <= std::min(height_, width_) && raise_prices(); ++round) {
        }
        std::fill(rows + height_, rows + R, T{0});  // they keep nothing that would bound their prices
        return *std::min_element(rows, rows + height_) >= 0;
    }

    std::uint64_t kept(int i) const {
        if constexpr (words == 1) return static_cast<std::make_unsigned_t<I>>(kept_[0][i]);
        else
            return static_cast<std::uint32_t>(kept_[0][i]) |
                   static_cast<std::uint64_t>(static_cast<std::uint32_t>(kept_[1][i])) << 32;
    }

private:
    using Path = Distances<T, R, C>;
    static constexpr int P = R < C ? C : R, lanes = together * P;
    static constexpr std::uint64_t valid_lanes =
        P < 64 ? (std::uint64_t{1} << (P % 64)) - 1 : ~std::uint64_t{0};
    static constexpr int word_bits = sizeof(I) * 8 < C ? sizeof(I) * 8 : C;
    static constexpr int words = C / word_bits;

    int height_, width_, row_n_, column_n_;
    bool at_most_ = false;
    std::uint64_t rows_, columns_;      // a bit for each of the tile's lines
    alignas(64) T t_[C][rows_at_once];  // the transposes of s
    alignas(64) T low_[lanes];          // the (n+1)-th largest of s - v in each row
    alignas(64) I kept_[words][R];      // bit j % word_bits of kept_[j / word_bits][i]: (i, j) is kept
    alignas(64) I bit_[C], lane_[P];
    alignas(64) I in_column_[C];  // kept entries of each column
    // Where the (n+1)-th largest is of another order of magnitude than the n-th, such as a very negative
    // score for an entry that is not wanted, rounding would drown the other scores in their middle. (Where
    // all are kept it is -infinity, and the n-th is the price.) The first prices of rows and of columns are
    // watched for it, the later ones in the tiles where it occurs.
    std::uint64_t watched_ = 0, far_apart_ = 0, tied_ = 0;  // lanes
    int at_ = 0;                                            // the first lane of the tile at work
    std::uint64_t excess_ = 0, deficit_ = 0;                // its columns

    static std::uint64_t lowest_bits(int count) { return ~std::uint64_t{0} >> (64 - count); }

    void transpose_tiles() {
        if constexpr (together == 1) {
            transpose<T, R, C>(s, t_);
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

    // Element k of each tile's values, in all of its lanes.
    template <typename V>
    static inline __attribute__((always_inline)) V spread(const T* values, int k) {
        if constexpr (together == 1) {
            return values[k] - V{};
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

    // to = middle between the n-th and (n+1)-th largest over k of from[k] - other[k], for so many lines of
    // each tile; tied_: where both are equal. At most n: no less than 0, and where it is a column's, no less
    // than before, which stands where the two are equal. `Count`: values of a line; `Side`: room for a tile's
    // lines.
    template <int Count, int Side>
    void price(const T (*from)[together * Side], const T* other, int n, int lines, T* to) {
        using Lines = Pack<T, together * Side>;
        using V = typename Lines::V;
        constexpr int L = Lines::L, half = Count / 2;
        tied_ = 0;
        for (int at = 0; at < together * Side; at += L) {
            V a[half], b[half];
            MASKSOLVE_UNROLL
            for (int k = 0; k < half; ++k) {
                a[k] = *reinterpret_cast<const V*>(&from[k][at]) - spread<V>(other, k);
                b[k] = *reinterpret_cast<const V*>(&from[k + half][at]) - spread<V>(other, k + half);
            }
            sort_descending<half>(a);
            sort_descending<half>(b);
            V high, low;
            neighbours_of_two<half>(a, b, n, high, low);
            V middle = (high + low) * T(0.5);
            if (watched_ != 0) {
                const V least = high - (high < V{} ? -high : high) * T(1024);
                const std::uint64_t far = lane_bits<I, L>(low < least) & watched_ >> at;
                far_apart_ |= far << at;
                for (std::uint64_t left = far; left != 0; left &= left - 1) {
                    const int l = __builtin_ctzll(left);
                    middle[l] = low[l] == -infinity ? high[l] : std::max<T>(middle[l], least[l]);
                }
            }
            Vector<I, L> tied = high == low;
            if (at_most_) {
                const V before = *reinterpret_cast<const V*>(&to[at]);
                if (to == v) middle = high > low ? (middle > before ? middle : before) : before;
                else middle = middle > V{} ? middle : V{};
                low = low > V{} ? low : V{};
                tied &= low > V{};
            }
            *reinterpret_cast<V*>(&to[at]) = middle;
            *reinterpret_cast<V*>(&low_[at]) = low;
            tied_ |= lane_bits<I, L>(tied) << at;
        }
        if (lines < Side)
            for (int at = 0; at < together * Side; at += Side)
                std::fill(to + at + lines, to + at + Side, T{0});
    }

    // Keeps the best of every row at the present prices; ties go where columns hold least.
    void keep_rows() {
        const Row prices = Row::load(v + at_);
        RowMask held = RowMask::all(0);
        for (int i = 0; i < height_; ++i) {
            const RowMask above = (Row::load(s[i] + at_) - prices) > Row::all(low_[at_ + i]);
            set_kept(i, above.bits());
            held = held - above;
        }
        for (int i = height_; i < R; ++i) set_kept(i, 0);
        held.store(in_column_);
        for (std::uint64_t tied = tied_ >> at_ & rows_; tied; tied &= tied - 1)
            fill_ties(__builtin_ctzll(tied));
        held = RowMask::load(in_column_);
        excess_ = (held > RowMask::all(column_n_)).bits() & columns_;
        deficit_ = (held < RowMask::all(column_n_)).bits() & columns_;
    }

    // u as large as the kept entries allow, then v as large as the dropped ones demand; whether v rose.
    bool raise_prices() {
        T *const rows = prices_u(), *const columns = prices_v();
        Column most_u = Column::all(infinity);
        for (int j = 0; j < width_; ++j) {
            const Column rest = Column::load(t_[j] + at_) - Column::all(columns[j]);
            most_u = least(most_u, select(kept_in_column(j), rest, Column::all(infinity)));
        }
        most_u.store(rows);
        const Row before = Row::load(columns);
        Row least_v = before;
        for (int i = 0; i < height_; ++i) {
            const Row rest = Row::load(s[i] + at_) - Row::all(rows[i]);
            least_v = most(least_v, select(kept_in_row(i), Row::all(-infinity), rest));
        }
        least_v.store(columns);
        return ((least_v > before).bits() & columns_) != 0;
    }

    void set_kept(int i, std::uint64_t bits) {
        for (int w = 0; w < words; ++w) kept_[w][i] = static_cast<I>(bits >> (w * word_bits));
    }

    void fill_ties(int i) {
        std::uint64_t bits = kept(i);
        std::uint64_t tied =
            (Row::load(s[i] + at_) - Row::load(v + at_) == Row::all(low_[at_ + i])).bits() & columns_;
        int missing = row_n_ - __builtin_popcountll(bits);
        const RowMask held = RowMask::load(in_column_);
        std::uint64_t taken = 0;
        for (I level = held.smallest()[0]; missing > 0; ++level) {
            std::uint64_t here = (held == RowMask::all(level)).bits() & tied;
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
    RowMask kept_in_row(int i) const {
        RowMask x;
        for (int k = 0; k < RowMask::K; ++k) {
            const int w = k * RowMask::L / word_bits;
            const auto bits = *reinterpret_cast<const typename RowMask::V*>(&bit_[k * RowMask::L]);
            x.part[k] = (kept_[w][i] & bits) != 0;
        }
        return x;
    }
    ColumnMask kept_in_column(int j) const {
        return (ColumnMask::load(kept_[j / word_bits]) & ColumnMask::all(bit_[j])) != ColumnMask::all(0);
    }
    static RowMask from_bits(std::uint64_t bits, const I* bit) {
        RowMask x;
        for (int k = 0; k < RowMask::K; ++k) {
            const I word = static_cast<I>(bits >> (k * RowMask::L / word_bits * word_bits));
            x.part[k] = (word & *reinterpret_cast<const typename RowMask::V*>(&bit[k * RowMask::L])) != 0;
        }
        return x;
    }

    // Dijkstra from the columns that hold too many to the nearest that holds too few. A settled node's
    // distance is never improved, because costs are not negative. For the same reason distances are ordered
    // as the integers with their bits are, whose minimum processors find several times sooner.
    __attribute__((noinline)) void augment() {
        const RowMask far = bits_of(Row::all(infinity)), zero = RowMask::all(0);
        const Column from_u = Column::load(u + at_);
        const Row from_v = Row::load(v + at_);
        RowMask column = select(from_bits(excess_, bit_), zero, far), open_column = column;
        ColumnMask row = bits_of(Column::all(infinity)), open_row = row;
        ColumnMask row_from = ColumnMask::all(-1);
        RowMask column_from = RowMask::all(-1);
        ColumnMask leaving = row;  // distances of ends in rows
        typename RowMask::V distance;
        int end = -1, last_row = -1;
        for (;;) {
            ++steps;
            distance = Path::nearest(open_column, at_most_ ? least(open_row, leaving) : open_row);
            const std::uint64_t near = (open_column == RowMask::all(distance)).bits();
            if (near & deficit_) {
                end = __builtin_ctzll(near & deficit_);
                break;
            }
            if (at_most_) {
                const std::uint64_t ends = (leaving == Path::in_rows(distance)).bits();
                if (ends) {
                    last_row = __builtin_ctzll(ends);
                    break;
                }
            }
            if (near) {
                const int j = __builtin_ctzll(near);
                open_column = Path::template settle<C>(open_column, lane_, j);
                const ColumnMask cost = Path::template further<R>(
                    Path::in_rows(distance), Column::load(t_[j] + at_) - Column::all(v[at_ + j]) - from_u);
                const ColumnMask better = kept_in_column(j) & (cost < row);
                row = select(better, cost, row);
                open_row = select(better, cost, open_row);
                if (at_most_) leaving = bits_of(values_of<T>(row) + from_u);
                row_from = select(better, ColumnMask::all(j), row_from);
            } else {
                const int i = __builtin_ctzll((open_row == Path::in_rows(distance)).bits());
                open_row = Path::template settle<R>(open_row, lane_, i);
                const RowMask cost = Path::template further<C>(
                    RowMask::all(distance), from_v + Row::all(u[at_ + i]) - Row::load(s[i] + at_));
                const RowMask better = Path::and_not(cost < column, kept_in_row(i));
                column = select(better, cost, column);
                open_column = select(better, cost, open_column);
                column_from = select(better, RowMask::all(i), column_from);
            }
        }
        Column to_u =
            from_u - most(values_of<T>(Path::in_rows(distance)) - values_of<T>(row), Column::all(0));
        if (at_most_) to_u = most(to_u, Column::all(0));
        to_u.store(u + at_);
        (from_v + most(values_of<T>(RowMask::all(distance)) - values_of<T>(column), Row::all(0)))
            .store(v + at_);
        if (last_row >= 0) u[at_ + last_row] = 0;
        flip(end, last_row, row_from, column_from);
    }

    // Adds and drops entries along the path back from column `end` or from row `last_row`.
    void flip(int end, int last_row, const ColumnMask& row_from, const RowMask& column_from) {
        alignas(64) I row_parent[R], column_parent[C];
        row_from.store(row_parent);
        column_from.store(column_parent);
        int j = end;
        if (last_row >= 0) {
            j = static_cast<int>(row_parent[last_row]);
            kept_[j / word_bits][last_row] ^= bit_[j];
        }
        while (column_parent[j] >= 0) {
            const int i = static_cast<int>(column_parent[j]);
            kept_[j / word_bits][i] ^= bit_[j];
            j = static_cast<int>(row_parent[i]);
            kept_[j / word_bits][i] ^= bit_[j];
        }
        if (end >= 0 && ++in_column_[end] == column_n_) deficit_ &= ~(std::uint64_t{1} << end);
        if (--in_column_[j] == column_n_) excess_ &= ~(std::uint64_t{1} << j);
        ++augmentations;
    }
};

}  // namespace MASKSOLVE_ISA
}  // namespace masksolve
