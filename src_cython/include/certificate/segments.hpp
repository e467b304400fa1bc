// Certificates of whole tiles, a segment at a time.
//
// If the largest violation of any column of any tile of a segment is small against the smallest kept sum of
// any of its columns, every tile of the segment is proven, and what the ledger needs are sums over the
// segment. Then no answer need be gathered across lanes for each tile, which would cost as much as the sums
// themselves. Segments whose tiles are of different magnitudes fail this test, and certifiers look at their
// tiles one by one.
#pragma once

#include "arrays/staging.hpp"
#include "certificate/ledger.hpp"
#include "certificate/tile_proof.hpp"
#include "vectors/widen.hpp"

namespace masksolve {
namespace MASKSOLVE_ISA {

// `Columns`: of a tile, rounded up to whole lanes; tiles of four columns go two at a time. Prices of rows
// take as much room, filled up with zeros.
template <typename T, int Columns, int Rows = Columns>
class SegmentCertifier {
public:
    explicit SegmentCertifier(const Job& job)
        : job_(job),
          m_(job.width),
          rounding_(job.height, job.width),
          possible_((Columns == 4 || job.width == Columns) && (Columns == 4 || job.height == Rows) &&
                    !Staging<T>::squares_later(job) && job.tile_objective.data == nullptr &&
                    job.tile_bound.data == nullptr) {}

    // Whether all tiles of the window are proven; then the verdicts hold their sums. Prices: Columns a tile.
    bool prove(const Window<T>& window, int count, const T* u, const T* v, double tolerance,
               Verdicts& verdicts) {
        if (!possible_ || (Columns == 4 && count % 2 != 0)) return false;
        if (!signed_) {
            const int answer = run<false>(window, count, u, v, tolerance, verdicts);
            if (answer != negative) return answer == proven;
            signed_ = true;  // Most arrays have no negative scores, or many.
        }
        return run<true>(window, count, u, v, tolerance, verdicts) == proven;
    }

private:
    static constexpr int lanes = 8, rows = Rows, at_once = Columns == 4 ? 2 : 1;
    enum Answer { proven, open, negative };
    using Wide = Pack<double, lanes>;
    using Bits = Pack<std::int64_t, lanes>;

    const Job& job_;
    int m_;
    Rounding rounding_;
    bool possible_, signed_ = false;

    struct Sums {
        Wide violation, kept, size;       // over the segment
        Wide most_violation, least_kept;  // of a column of a tile
        Wide most_price, prices;          // largest, and sums, of magnitudes
        Bits signs, open;
        double tolerance;
    };

    template <bool Signed>
    __attribute__((noinline)) int run(const Window<T>& window, int count, const T* u, const T* v,
                                      double tolerance, Verdicts& verdicts) const {
        Sums sums;
        sums.violation = sums.kept = sums.size = sums.most_violation = sums.most_price = sums.prices =
            Wide::all(0.0);
        sums.tolerance = (job_.row_least < job_.row_most ? 0.5 : 1) * tolerance;
        sums.least_kept = Wide::all(std::numeric_limits<double>::infinity());
        sums.signs = sums.open = Bits::all(std::int64_t{0});
        for (int t = 0; t < count; t += at_once)
            add_tiles<Signed>(window, t, u + t * Columns, v + t * Columns, sums);
        if (!Signed && (sums.signs < Bits::all(std::int64_t{0})).bits() != 0) return negative;
        double lines = 0, most_lines = 0;
        if (!add_lines(window, count, u, v, lines, most_lines)) verdicts.feasible = false;
        double rounded = count * most_rounding(sums);
        if constexpr (Columns == 4) {
            // A half of the tolerance each for entries and for lines.
            const double limit = 0.5 * tolerance * Columns * smallest(sums.least_kept);
            if (!(most_lines <= limit) || sums.open.bits() != 0) return open;
            rounded = rounding_.rows * total(sums.prices);
        } else {
            const double most = m_ * largest(sums.most_violation) + most_lines + most_rounding(sums);
            if (!(most <= tolerance * m_ * smallest(sums.least_kept))) return open;
        }
        const double violation = total(sums.violation) + lines + rounded;
        const double magnitude = total(Signed ? sums.size : sums.kept);
        constexpr int depth = most_segment_tiles / at_once;  // sums over a segment run in lanes
        verdicts.summed = true;
        verdicts.objective_sum = total(sums.kept);
        verdicts.slack_sum = violation + (rounding_.sums + depth * unit_roundoff) * (magnitude + violation);
        return proven;
    }

    double most_rounding(const Sums& sums) const {
        return (rounding_.rows * rows + rounding_.columns * m_) * largest(sums.most_price);
    }

    // A tile, or two narrow ones.
    template <bool Signed>
    inline __attribute__((always_inline)) void add_tiles(const Window<T>& window, int tile, const T* u,
                                                         const T* v, Sums& sums) const {
        const Bits zero = Bits::all(std::int64_t{0}),
                   sign = Bits::all(std::numeric_limits<std::int64_t>::min());
        const T* scores = window.row(tile, 0);
        const char* mask = window.mask_row(tile, 0);
        alignas(64) double wide_u[Columns == 4 ? lanes : Columns];
        for (int at = 0; at < Columns; at += lanes) Wide::convert(u + at).store(wide_u + at);
        for (int at = 0; at < Columns; at += lanes) {
            const Wide price = Wide::convert(v + at), row_prices = Wide::load(wide_u + at);
            Wide violation = Wide::all(0.0), kept_sum = violation, size = violation;
            const char* row_scores = reinterpret_cast<const char*>(scores + at);
            const char* row_mask = mask + at;
#pragma GCC unroll 8
            for (int i = 0; i < rows; ++i, row_scores += window.down, row_mask += window.mask_down) {
                const Wide score = Wide::convert(reinterpret_cast<const T*>(row_scores));
                const Wide reduced = score - (row_price(wide_u, i) + price);
                const Bits chosen = zero - Bits::convert(row_mask);
                violation = violation + positive_part(bits_xor(reduced, chosen & sign));
                const Wide worth = bits_and(score, chosen);
                kept_sum = kept_sum + worth;
                if (Signed) size = size + bits_and_not(worth, sign);
                else sums.signs = sums.signs | as_bits(worth);
            }
            sums.violation = sums.violation + violation;
            sums.kept = sums.kept + kept_sum;
            if (Signed) sums.size = sums.size + size;
            const Wide worth_of_columns = Signed ? size : kept_sum;
            if constexpr (Columns == 4) {
                // Few columns differ much, so tiles are judged one by one, in the lanes of each.
                const Wide both_prices = bits_and_not(price, sign) + bits_and_not(row_prices, sign);
                const Wide whole = violation + both_prices * Wide::all(rounding_.rows);
                sums.open = sums.open | (whole > least_in_tile(worth_of_columns) * Wide::all(sums.tolerance));
                sums.prices = sums.prices + both_prices;
            } else {
                sums.most_price =
                    most(sums.most_price, most(bits_and_not(price, sign), bits_and_not(row_prices, sign)));
                sums.most_violation = most(sums.most_violation, violation);
            }
            sums.least_kept = least(sums.least_kept, worth_of_columns);
        }
    }

    // The least of the four lanes of each tile, in all of them.
    static inline __attribute__((always_inline)) Wide least_in_tile(const Wide& x) {
        const Wide pairs = least(x, exchanged<1>(x));
        return least(pairs, exchanged<2>(pairs));
    }
    template <int apart>
    static inline __attribute__((always_inline)) Wide exchanged(const Wide& x) {
        constexpr int L = Wide::L;
        Wide y;
        for (int k = 0; k < Wide::K; ++k) {
            if constexpr (apart >= L) {
                y.part[k] = x.part[k ^ (apart / L)];
            } else {
                Vector<std::int64_t, L> from;
                for (int l = 0; l < L; ++l) from[l] = l ^ apart;
                y.part[k] = shuffle<double, L>(x.part[k], x.part[k], from);
            }
        }
        return y;
    }

    // The price of row i, in all lanes of its tile.
    static inline __attribute__((always_inline)) Wide row_price(const double* prices, int i) {
        if constexpr (Columns == 4) {
            Wide price;
            if constexpr (Wide::L == 8) {
                Vector<std::int64_t, Wide::L> from;
                for (int l = 0; l < Wide::L; ++l) from[l] = l / 4 * 4 + i;
                const Wide both = Wide::load(prices);
                price.part[0] = shuffle<double, Wide::L>(both.part[0], both.part[0], from);
            } else {
                for (int k = 0; k < Wide::K; ++k)
                    price.part[k] = prices[k * Wide::L / 4 * 4 + i] - typename Wide::V{};
            }
            return price;
        } else {
            return Wide::all(prices[i]);
        }
    }

    // Whether all masks meet the bounds; what lines contribute that keep fewer than they may.
    bool add_lines(const Window<T>& window, int count, const T* u, const T* v, double& sum,
                   double& largest_of_tile) const {
        using Word = std::conditional_t<Columns == 4, std::uint32_t, std::uint64_t>;
        constexpr int bytes = sizeof(Word), words = Columns / bytes, top = 8 * (bytes - 1);
        constexpr Word ones = static_cast<Word>(0x0101010101010101u);
        const Word n = static_cast<Word>(job_.row_most), column_n = static_cast<Word>(job_.column_most);
        const bool exact = job_.row_least == job_.row_most;
        std::uint32_t columns_differ[most_segment_tiles];
        if (Columns == 4 && !count_in_words(window, count, columns_differ)) return false;
        if (Columns == 4 && exact) return all_zero(columns_differ, count);
        const bool signs = !exact && (has_sign(u, count * Columns) || has_sign(v, count * Columns));
        Word wrong = 0;
        for (int t = 0; t < count; ++t) {
            if constexpr (Columns == 4) {
                if (columns_differ[t] == 0 && !signs) continue;
                double lines = 0;
                if (!lines_of(window, t, u + t * Columns, v + t * Columns, lines)) return false;
                sum += lines;
                largest_of_tile = std::max(largest_of_tile, lines);
                continue;
            }
            Word in_columns[words] = {}, seen = 0, differs = 0;
            const char* mask = window.mask_row(t, 0);
            for (int i = 0; i < rows; ++i, mask += window.mask_down) {
                Word in_row = 0;
                for (int w = 0; w < words; ++w) {
                    Word word;
                    std::memcpy(&word, mask + w * bytes, bytes);
                    seen |= word;
                    in_columns[w] += word;
                    in_row += word;
                }
                differs |= static_cast<Word>(in_row * ones >> top) ^ n;
            }
            for (int w = 0; w < words; ++w) differs |= in_columns[w] ^ (column_n * ones);
            wrong |= seen & ~ones;
            if (exact) {
                wrong |= differs;
                continue;
            }
            if (differs == 0 && !signs) continue;
            double lines = 0;
            if (!lines_of(window, t, u + t * Columns, v + t * Columns, lines)) return false;
            sum += lines;
            largest_of_tile = std::max(largest_of_tile, lines);
        }
        return wrong == 0;
    }

    // Tiles of side 4, a row's four bytes in a word: whether all bytes are 0 or 1; which tiles have a line
    // that does not keep n.
    __attribute__((noinline)) bool count_in_words(const Window<T>& window, int count,
                                                  std::uint32_t* differs) const {
        constexpr std::uint32_t ones = 0x01010101u;
        const std::uint32_t n = static_cast<std::uint32_t>(job_.row_most);
        std::uint32_t columns[most_segment_tiles] = {}, seen = 0;
        std::memset(differs, 0, count * sizeof *differs);
        for (int i = 0; i < 4; ++i) {
            const char* mask = window.mask_row(0, i);
            for (int t = 0; t < count; ++t) {
                std::uint32_t word;
                std::memcpy(&word, mask + 4 * t, sizeof word);
                columns[t] += word;
                seen |= word;
                const std::uint32_t two = word + (word >> 16);
                differs[t] |= ((two + (two >> 8)) & 255) ^ n;
            }
        }
        for (int t = 0; t < count; ++t) differs[t] |= columns[t] ^ (n * ones);
        return (seen & ~ones) == 0;
    }
    static bool all_zero(const std::uint32_t* words, int count) {
        std::uint32_t seen = 0;
        for (int t = 0; t < count; ++t) seen |= words[t];
        return seen == 0;
    }
    // Whether a price has a minus sign.
    static bool has_sign(const T* prices, int count) {
        Integer<T> signs = 0;
        for (int k = 0; k < count; ++k) {
            Integer<T> bits;
            std::memcpy(&bits, &prices[k], sizeof bits);
            signs |= bits;
        }
        return signs < 0;
    }

    // What the lines of a tile that may keep fewer contribute; false if one keeps too many.
    bool lines_of(const Window<T>& window, int tile, const T* u, const T* v, double& sum) const {
        int in_column[Columns] = {};
        for (int i = 0; i < rows; ++i) {
            const char* mask = window.mask_row(tile, i);
            int in_row = 0;
            for (int j = 0; j < Columns; ++j) {
                in_row += mask[j];
                in_column[j] += mask[j];
            }
            if (in_row > job_.row_most) return false;
            sum += line_violation(static_cast<double>(u[i]), in_row, job_.row_bounds());
        }
        for (int j = 0; j < Columns; ++j) {
            if (in_column[j] > job_.column_most) return false;
            sum += line_violation(static_cast<double>(v[j]), in_column[j], job_.column_bounds());
        }
        return true;
    }

    static inline __attribute__((always_inline)) Bits as_bits(const Wide& x) {
        Bits bits;
        for (int k = 0; k < Wide::K; ++k) bits.part[k] = (typename Bits::V)x.part[k];
        return bits;
    }
    static double total(const Wide& x) {
        double lane[lanes];
        x.store(lane);
        return ((lane[0] + lane[4]) + (lane[1] + lane[5])) + ((lane[2] + lane[6]) + (lane[3] + lane[7]));
    }
    static double largest(const Wide& x) {
        double lane[lanes];
        x.store(lane);
        return *std::max_element(lane, lane + lanes);
    }
    static double smallest(const Wide& x) {
        double lane[lanes];
        x.store(lane);
        return *std::min_element(lane, lane + lanes);
    }
};

}  // namespace MASKSOLVE_ISA
}  // namespace masksolve
