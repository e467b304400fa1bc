// Certificates of tiles of side 4, a segment at a time, two tiles in the lanes.
//
// If every tile of a segment is proven, what the ledger needs are sums over the segment. Then no answer need
// be gathered across lanes for each tile, which would cost as much as the sums themselves. Otherwise, or if
// each tile's own values are asked for, SmallTileCertifier looks at them one by one.
#pragma once

#include "arrays/staging.hpp"
#include "certificate/ledger.hpp"
#include "certificate/lines.hpp"
#include "certificate/tile_proof.hpp"
#include "vectors/choice.hpp"

namespace masksolve {
namespace MASKSOLVE_ISA {

template <typename T>
class SegmentCertifier {
public:
    explicit SegmentCertifier(const Job& job)
        : job_(job),
          rounding_(job.height, job.width),
          possible_(!Staging<T>::squares_later(job) && job.tile_objective.data == nullptr &&
                    job.tile_bound.data == nullptr) {}

    // Whether all tiles of the window are proven; then the verdicts hold their sums. Prices: four a tile.
    bool prove(const Window<T>& window, int count, const T* u, const T* v, double tolerance,
               Verdicts& verdicts) {
        if (!possible_ || count % at_once != 0) return false;
        if (!signed_) {
            const int answer = run<false>(window, count, u, v, tolerance, verdicts);
            if (answer != negative) return answer == proven;
            signed_ = true;  // Most arrays have no negative scores, or many.
        }
        return run<true>(window, count, u, v, tolerance, verdicts) == proven;
    }

private:
    static constexpr int lanes = 8, m = 4, at_once = lanes / m;
    enum Answer { proven, open, negative };
    using Wide = Pack<double, lanes>;
    using Bits = Pack<std::int64_t, lanes>;

    const Job& job_;
    Rounding rounding_;
    bool possible_, signed_ = false;

    struct Sums {
        Wide violation, kept, size;  // over the segment
        Wide excess;                 // the largest of what a tile's violation exceeds its limit by
        Wide least_kept;             // of a column of a tile
        Bits signs;
        double tolerance;
    };

    template <bool Signed>
    __attribute__((noinline)) int run(const Window<T>& window, int count, const T* u, const T* v,
                                      double tolerance, Verdicts& verdicts) const {
        Sums sums;
        sums.violation = sums.kept = sums.size = sums.excess = Wide::all(0.0);
        sums.tolerance = (job_.row_least < job_.row_most ? 0.5 : 1) * tolerance;
        sums.least_kept = Wide::all(std::numeric_limits<double>::infinity());
        sums.signs = Bits::all(std::int64_t{0});
        for (int t = 0; t < count; t += at_once) add_tiles<Signed>(window, t, u + t * m, v + t * m, sums);
        if (!Signed && (sums.signs < Bits::all(std::int64_t{0})).bits() != 0) return negative;
        double lines = 0, most_lines = 0;
        if (!add_lines(window, count, u, v, lines, most_lines)) verdicts.feasible = false;
        // A half of the tolerance each for entries and for lines.
        const double limit = 0.5 * tolerance * m * smallest(sums.least_kept);
        if (!(most_lines <= limit) || (sums.excess > Wide::all(0.0)).bits() != 0) return open;
        const double violation = total(sums.violation) + lines;
        const double magnitude = total(Signed ? sums.size : sums.kept);
        constexpr int depth = most_segment_tiles / at_once;  // sums over a segment run in lanes
        verdicts.summed = true;
        verdicts.objective_sum = total(sums.kept);
        verdicts.slack_sum = violation + (rounding_.sums + depth * unit_roundoff) * (magnitude + violation);
        return proven;
    }

    // Two tiles.
    template <bool Signed>
    inline __attribute__((always_inline)) void add_tiles(const Window<T>& window, int tile, const T* u,
                                                         const T* v, Sums& sums) const {
        const Bits sign = Bits::all(std::numeric_limits<std::int64_t>::min());
        const T* scores = window.row(tile, 0);
        const char* mask = window.mask_row(tile, 0);
        alignas(64) double wide_u[lanes];
        const Wide price = Wide::convert(v), row_prices = Wide::convert(u);
        row_prices.store(wide_u);
        Wide violation = Wide::all(0.0), kept_sum = violation, size = violation;
        const char* row_scores = reinterpret_cast<const char*>(scores);
        MASKSOLVE_UNROLL
        for (int i = 0; i < m; ++i, row_scores += window.down, mask += window.mask_down) {
            const Wide score = Wide::convert(reinterpret_cast<const T*>(row_scores));
            const Choice kept_here(mask);
            const Wide cost = row_price(wide_u, i) + price;
            violation = violation + positive_part(kept_here.turned_difference(score, cost));
            kept_sum = kept_here.added(kept_sum, score);
            if (Signed) size = kept_here.added(size, bits_and_not(score, sign));
            else sums.signs = kept_here.gathered(sums.signs, score);
        }
        sums.kept = sums.kept + kept_sum;
        if (Signed) sums.size = sums.size + size;
        const Wide worth_of_columns = Signed ? size : kept_sum;
        const Wide prices = bits_and_not(price, sign) + bits_and_not(row_prices, sign);
        violation = violation + prices * Wide::all(rounding_.rows);
        sums.violation = sums.violation + violation;
        const Wide limit = least_in_tile(worth_of_columns) * Wide::all(sums.tolerance);
        sums.excess = most(violation - limit, sums.excess);
        sums.least_kept = least(sums.least_kept, worth_of_columns);
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
    }

    // Whether all masks meet the bounds; what lines contribute that keep fewer than they may.
    bool add_lines(const Window<T>& window, int count, const T* u, const T* v, double& sum,
                   double& largest_of_tile) const {
        std::uint32_t differs[most_segment_tiles];
        if (!count_in_words(window, count, differs)) return false;
        if (job_.row_least == job_.row_most) return all_zero(differs, count);
        const bool signs = has_sign(u, count * m) || has_sign(v, count * m);
        for (int t = 0; t < count; ++t) {
            if (differs[t] == 0 && !signs) continue;
            double lines = 0;
            if (!add_violations_of_lines(job_, window.mask_row(t, 0), window.mask_down, m, m, u + t * m,
                                         v + t * m, lines))
                return false;
            sum += lines;
            largest_of_tile = std::max(largest_of_tile, lines);
        }
        return true;
    }

    // A row's four bytes in a word: whether all bytes are 0 or 1; which tiles have a line that does not
    // keep n.
    __attribute__((noinline)) bool count_in_words(const Window<T>& window, int count,
                                                  std::uint32_t* differs) const {
        constexpr int L = MASKSOLVE_VECTOR_BYTES / sizeof(std::uint32_t);
        using Words = Vector<std::uint32_t, L>;
        Words seen{};
        std::uint32_t seen_last = 0;
        int t = 0;
        for (; t + L <= count; t += L) count_lines<Words>(window, t, seen, differs);
        for (; t < count; ++t) count_lines<std::uint32_t>(window, t, seen_last, differs);
        for (int l = 0; l < L; ++l) seen_last |= seen[l];
        return (seen_last & ~ones) == 0;
    }
    static constexpr std::uint32_t ones = 0x01010101u;

    // As many tiles as Words has words.
    template <typename Words>
    inline __attribute__((always_inline)) void count_lines(const Window<T>& window, int t, Words& seen,
                                                           std::uint32_t* differs) const {
        const auto n = static_cast<std::uint32_t>(job_.row_most);
        Words columns{}, different{};
        MASKSOLVE_UNROLL
        for (int i = 0; i < m; ++i) {
            Words row;
            std::memcpy(&row, window.mask_row(t, i), sizeof row);
            columns += row;
            seen |= row;
            const Words two = row + (row >> 16);
            different |= ((two + (two >> 8)) & 255) ^ n;
        }
        different |= columns ^ (n * ones);
        std::memcpy(differs + t, &different, sizeof different);
    }
    static bool all_zero(const std::uint32_t* words, int count) {
        std::uint32_t seen = 0;
        for (int t = 0; t < count; ++t) seen |= words[t];
        return seen == 0;
    }
    static double total(const Wide& x) {
        double lane[lanes];
        x.store(lane);
        return ((lane[0] + lane[4]) + (lane[1] + lane[5])) + ((lane[2] + lane[6]) + (lane[3] + lane[7]));
    }
    static double smallest(const Wide& x) {
        double lane[lanes];
        x.store(lane);
        return *std::min_element(lane, lane + lanes);
    }
};

}  // namespace MASKSOLVE_ISA
}  // namespace masksolve
