// The certificate of a tile: what the mask keeps, and the dual bound of its prices, in float64.
//
// Shares no code with the solver. It reads the caller's scores and the mask bytes as they were written, so a
// mistake in loading, solving or writing shows as a gap. For any prices
//     bound = sum_i max(least u_i, most u_i) + sum_j max(least v_j, most v_j) + sum_ij max(0, s_ij - u_i - v_j)
// is at least what any mask keeps; a forced entry counts s_ij - u_i - v_j, a forbidden one 0.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "job.hpp"
#include "simd.hpp"

namespace masksolve {
namespace MASKSOLVE_ISA {

// Carries along what rounding loses (Neumaier 1974).
class CompensatedSum {
public:
    void add(double term) {
        const double sum = sum_ + term;
        lost_ += std::abs(sum_) >= std::abs(term) ? (sum_ - sum) + term : (term - sum) + sum_;
        sum_ = sum;
    }
    double value() const { return sum_ + lost_; }

private:
    double sum_ = 0, lost_ = 0;
};

class Certifier {
public:
    explicit Certifier(const Job& job)
        : job_(job),
          load_(loader<double>(job.dtype)),
          singles_(stored_as<float>(job) && job.across() == sizeof(float)),
          doubles_(stored_as<double>(job) && job.across() == sizeof(double)) {}

    // `count` tiles from the strip's k-th on; u and v hold their prices as they are handed out, `pitch` entries
    // a tile. The tile's sides may be given as constants.
    template <int Height = 0, int Width = 0, typename Price>
    void add(const Strip& strip, std::ptrdiff_t k, int count, const Price* u, const Price* v, int pitch) {
        if constexpr (Width % lanes != 0) {
            add_narrow_tiles<Height, Width>(strip, k, count, u, v, pitch);
        } else {
            const int width = Width ? Width : job_.width;
            const bool in_place = job_.mask_across() == 1 && width % lanes == 0 && !job_.forced();
            if (in_place && singles_) add_tiles<float, Height, Width>(strip, k, count, u, v, pitch);
            else if (in_place && doubles_) add_tiles<double, Height, Width>(strip, k, count, u, v, pitch);
            else add_tiles_slowly(strip, k, count, u, v, pitch);
        }
        added_ += count;
        if (added_ >= most_groups) fold();
    }

    // One-directional groups, whose columns are free; their width may be given as a constant.
    template <int Width = 0, typename Price>
    __attribute__((noinline)) void add_groups(const Strip& strip, std::ptrdiff_t k, int count, const Price* u) {
        const int width = Width ? Width : job_.width;
        double prices[most_groups];
        Sums sums = sums_;
        widen(u, count, prices);
        add_worth(sums, prices, count, job_.row_least, job_.row_most);
        const bool in_place = job_.mask_across() == 1 && width % lanes == 0;
        if (in_place && singles_) {
            add_lying_groups<float>(sums, strip, k, count, width, prices);
        } else if (in_place && doubles_) {
            add_lying_groups<double>(sums, strip, k, count, width, prices);
        } else {
            double free[64] = {};
            for (int j = width; j % lanes; ++j) free[j] = std::numeric_limits<double>::infinity();
            for (int g = 0; g < count; ++g) add_row_slowly(sums, strip, k + g, 0, prices[g], free);
        }
        sums_ = sums;
        fold();
    }

    // Groups side by side: entry j of all of them is a row, their prices its columns'. The last ones may be too few
    // to fill the lanes.
    template <typename Price>
    __attribute__((noinline)) void add_upright_groups(const Strip& strip, std::ptrdiff_t k, int count, const Price* u) {
        const int whole = count / lanes * lanes;
        double prices[most_groups];
        Sums sums = sums_;
        widen(u, count, prices);
        add_worth(sums, prices, whole, job_.row_least, job_.row_most);
        const bool in_place = strip.mask.step == 1;
        if (in_place && job_.dtype == Dtype::f32 && strip.scores.step == sizeof(float))
            add_upright_rows<float>(sums, strip, k, whole, prices);
        else if (in_place && job_.dtype == Dtype::f64 && strip.scores.step == sizeof(double))
            add_upright_rows<double>(sums, strip, k, whole, prices);
        else add_upright_rows_slowly(sums, strip, k, whole, prices);
        sums_ = sums;
        fold();
        if (whole < count) add_groups(strip, k + whole, count - whole, u + whole);
    }

    static constexpr int most_groups = 256;

    void close(Outcome& outcome) {
        fold();
        outcome.objective = objective_.value();
        outcome.bound = bound_.value();
    }

private:
    static constexpr int lanes = 4;  // sums run in fixed lanes, so that every instruction set adds alike
    using Four = Pack<double, lanes>;
    // Without initialisers: GCC compiles the constructor that they imply for the wrong instruction set (see simd.hpp),
    // whose way of returning a vector is another.
    struct Sums {
        Four objective, gain, worth;
    };

    const Job& job_;
    Loader<double> load_;
    bool singles_, doubles_;  // scores side by side as float or double
    CompensatedSum objective_, bound_;  // over many tiles
    int added_ = 0;
    Sums sums_{};  // over a few tiles; copied to a local while adding: mask bytes could alias it, and registers are faster

    void fold() {
        objective_.add(total(sums_.objective));
        bound_.add(total(sums_.gain));
        bound_.add(total(sums_.worth));
        sums_ = Sums{};
        added_ = 0;
    }

    static double total(const Four& sum) {
        double lane[lanes];
        sum.store(lane);
        return (lane[0] + lane[1]) + (lane[2] + lane[3]);
    }

    // Prices in float64, up to a whole number of lanes; prices of 0 are worth nothing.
    template <typename Price>
    static inline __attribute__((always_inline)) void widen(const Price* prices, int count, double* wide) {
        int k = 0;
        for (; k + lanes <= count; k += lanes) Four::convert(prices + k).store(wide + k);
        for (; k < count; ++k) wide[k] = prices[k];
        for (; k % lanes; ++k) wide[k] = 0;
    }

    static inline __attribute__((always_inline)) void add_worth(Sums& sums, const double* prices, int count, double least_kept, double most_kept) {
        const Four least_all = Four::all(least_kept), most_all = Four::all(most_kept);
        for (int k = 0; k < count; k += lanes) {
            const Four price = Four::load(prices + k);
            sums.worth = sums.worth + (least_kept == most_kept ? most_all * price : most(least_all * price, most_all * price));
        }
    }

    // Tiles whose scores and mask bytes lie side by side, read where they are.
    template <typename Score, int Height, int Width, typename Price>
    __attribute__((noinline)) void add_tiles(const Strip& strip, std::ptrdiff_t k, int count, const Price* u,
                                             const Price* v, int pitch) {
        const int height = Height ? Height : job_.height, width = Width ? Width : job_.width;
        const double row_least = job_.row_least, row_most = job_.row_most;
        const double column_least = job_.column_least, column_most = job_.column_most;
        const std::ptrdiff_t down = job_.down(), mask_down = job_.mask_down();
        const std::ptrdiff_t step = strip.scores.step, mask_step = strip.mask.step;
        const char* scores = strip.scores[k];
        const char* mask = strip.mask[k];
        Sums sums = sums_;
        for (int t = 0; t < count; ++t, u += pitch, v += pitch, scores += step, mask += mask_step) {
            double rows[64], columns[64];
            widen(u, height, rows);
            widen(v, width, columns);
            add_worth(sums, rows, height, row_least, row_most);
            add_worth(sums, columns, width, column_least, column_most);
            MASKSOLVE_UNROLL
            for (int i = 0; i < height; ++i)
                add_row(sums, reinterpret_cast<const Score*>(scores + i * down), mask + i * mask_down, width, rows[i],
                        columns);
        }
        sums_ = sums;
    }

    template <typename Price>
    __attribute__((noinline)) void add_tiles_slowly(const Strip& strip, std::ptrdiff_t k, int count, const Price* u,
                                                    const Price* v, int pitch) {
        const int height = job_.height, width = job_.width;
        for (int t = 0; t < count; ++t, u += pitch, v += pitch) {
            double rows[64], columns[64];
            widen(u, height, rows);
            widen(v, width, columns);
            add_worth(sums_, rows, height, job_.row_least, job_.row_most);
            add_worth(sums_, columns, width, job_.column_least, job_.column_most);
            for (int j = width; j % lanes; ++j) columns[j] = std::numeric_limits<double>::infinity();
            for (int i = 0; i < height; ++i) add_row_slowly(sums_, strip, k + t, i, rows[i], columns);
        }
    }

    // Tiles narrower than the lanes, as many abreast as there are lanes.
    template <int Height, int Width, typename Price>
    __attribute__((noinline)) void add_narrow_tiles(const Strip& strip, std::ptrdiff_t k, int count, const Price* u,
                                                    const Price* v, int pitch) {
        Sums sums = sums_;
        int t = 0;
        for (; t + lanes <= count; t += lanes)
            add_abreast<Height, Width>(sums, strip, k + t, u + t * pitch, v + t * pitch, pitch);
        for (; t < count; ++t) {
            double rows[64], columns[64];
            widen(u + t * pitch, Height, rows);
            widen(v + t * pitch, Width, columns);
            add_worth(sums, rows, Height, job_.row_least, job_.row_most);
            add_worth(sums, columns, Width, job_.column_least, job_.column_most);
            add_narrow_tile<Height, Width>(sums, strip.scores[k + t], strip.mask[k + t], rows, columns);
        }
        sums_ = sums;
    }

    template <typename Score>
    inline __attribute__((always_inline)) void add_lying_groups(Sums& sums, const Strip& strip, std::ptrdiff_t k,
                                                                int count, int width, const double* prices) const {
        const std::ptrdiff_t step = strip.scores.step, mask_step = strip.mask.step;
        const char* scores = strip.scores[k];
        const char* mask = strip.mask[k];
#pragma GCC unroll 4
        for (int g = 0; g < count; ++g)
            add_row<true>(sums, reinterpret_cast<const Score*>(scores + g * step), mask + g * mask_step, width,
                          prices[g], nullptr);
    }

    template <typename Score>
    void add_upright_rows(Sums& sums, const Strip& strip, std::ptrdiff_t k, int count, const double* prices) const {
        const std::ptrdiff_t across = job_.across(), mask_across = job_.mask_across();
        for (int g = 0; g < count; g += lanes) {
            const char* scores = strip.scores[k + g];
            const char* mask = strip.mask[k + g];
            for (int j = 0; j < job_.width; ++j)
                add_row(sums, reinterpret_cast<const Score*>(scores + j * across), mask + j * mask_across, lanes, 0.0,
                        prices + g);
        }
    }

    void add_upright_rows_slowly(Sums& sums, const Strip& strip, std::ptrdiff_t k, int count, const double* prices) const {
        for (int g = 0; g < count; g += lanes)
            for (int j = 0; j < job_.width; ++j) {
                double scores[lanes];
                char kept[lanes];
                load_(strip.scores[k + g] + j * job_.across(), strip.scores.step, lanes, scores);
                for (int l = 0; l < lanes; ++l) kept[l] = strip.mask[k + g + l][j * job_.mask_across()];
                add_row(sums, scores, kept, lanes, 0.0, prices + g);
            }
    }

    // Tiles narrower than the lanes, one in each lane.
    template <int Height, int Width, typename Price>
    inline __attribute__((always_inline)) void add_abreast(Sums& sums, const Strip& strip, std::ptrdiff_t k, const Price* u, const Price* v, int pitch) const {
        const Four row_least = Four::all(job_.row_least), row_most = Four::all(job_.row_most);
        const Four column_least = Four::all(job_.column_least), column_most = Four::all(job_.column_most);
        const Four zero = Four::all(0);
        Four columns[Width];
        MASKSOLVE_UNROLL
        for (int j = 0; j < Width; ++j) {
            columns[j] = abreast(v + j, pitch);
            sums.worth = sums.worth + most(column_least * columns[j], column_most * columns[j]);
        }
        MASKSOLVE_UNROLL
        for (int i = 0; i < Height; ++i) {
            const Four row = abreast(u + i, pitch);
            sums.worth = sums.worth + most(row_least * row, row_most * row);
            MASKSOLVE_UNROLL
            for (int j = 0; j < Width; ++j) {
                const Four score = abreast_scores(strip.scores[k] + i * job_.down() + j * job_.across(), strip.scores.step);
                const char* mask = strip.mask[k] + i * job_.mask_down() + j * job_.mask_across();
                const std::ptrdiff_t step = strip.mask.step;
                const char kept[lanes] = {mask[0], mask[step], mask[2 * step], mask[3 * step]};
                sums.gain = sums.gain + positive_part(score - row - columns[j]);
                const auto chosen = Four::Mask::convert(kept) != Four::Mask::all(0);
                sums.objective = sums.objective + select(chosen, score, zero);
            }
        }
    }

    template <typename Price>
    static inline __attribute__((always_inline)) Four abreast(const Price* first, std::ptrdiff_t pitch) {
        const double lane[lanes] = {first[0], first[pitch], first[2 * pitch], first[3 * pitch]};
        return Four::load(lane);
    }

    inline __attribute__((always_inline)) Four abreast_scores(const char* first, std::ptrdiff_t step) const {
        double lane[lanes];
        if (job_.dtype == Dtype::f32) load_plain<double, float>(first, step, lanes, lane);
        else load_(first, step, lanes, lane);
        return Four::load(lane);
    }

    // A tile narrower than the lanes: all its entries in a row, up to a whole number of lanes.
    template <int Height, int Width>
    void add_narrow_tile(Sums& sums, const char* scores, const char* mask, const double* rows,
                         const double* columns) const {
        constexpr int entries = Height * Width, padded = (entries + lanes - 1) / lanes * lanes;
        double score[padded] = {}, cost[padded];
        char kept[padded] = {};
        for (int i = 0; i < Height; ++i) {
            const char* row = scores + i * job_.down();
            if (singles_)
                for (int j = 0; j < Width; ++j) score[i * Width + j] = reinterpret_cast<const float*>(row)[j];
            else load_(row, job_.across(), Width, score + i * Width);
            for (int j = 0; j < Width; ++j) {
                cost[i * Width + j] = rows[i] + columns[j];
                kept[i * Width + j] = mask[i * job_.mask_down() + j * job_.mask_across()];
            }
        }
        for (int e = entries; e < padded; ++e) cost[e] = std::numeric_limits<double>::infinity();
        add_row(sums, score, kept, padded, 0.0, cost);
    }

    // Any strides and dtype: a copy of the row, up to a whole number of lanes; columns beyond cost infinitely much.
    void add_row_slowly(Sums& sums, const Strip& strip, std::ptrdiff_t k, int i, double price,
                        const double* columns) const {
        double row[64];
        char kept[64];
        const char* mask = strip.mask[k] + i * job_.mask_down();
        load_(strip.scores[k] + i * job_.down(), job_.across(), job_.width, row);
        for (int j = 0; j < job_.width; ++j) kept[j] = mask[j * job_.mask_across()];
        for (int j = job_.width; j % lanes; ++j) row[j] = kept[j] = 0;
        if (job_.forced()) add_forced_row(sums, strip, k, i, row, kept, price, columns);
        else add_row(sums, row, kept, job_.width, price, columns);
    }

    void add_forced_row(Sums& sums, const Strip& strip, std::ptrdiff_t k, int i, const double* row, const char* kept,
                        double price, const double* columns) const {
        double objective[lanes] = {}, gains[lanes] = {};
        for (int j = 0; j < job_.width; ++j) {
            const double gain = row[j] - price - columns[j];
            if (kept[j]) objective[j % lanes] += row[j];
            if (flag(job_.keep, strip.keep[k], i, j)) gains[j % lanes] += gain;
            else if (!flag(job_.drop, strip.drop[k], i, j)) gains[j % lanes] += std::max(gain, 0.0);
        }
        sums.objective = sums.objective + Four::load(objective);
        sums.gain = sums.gain + Four::load(gains);
    }

    template <bool free = false, typename Score>
    static inline __attribute__((always_inline)) void add_row(Sums& sums, const Score* row, const char* kept,
                                                              int width, double price, const double* columns) {
        const Four zero = Four::all(0), row_price = Four::all(price);
        MASKSOLVE_UNROLL
        for (int j = 0; j < width; j += lanes) {
            const Four score = Four::convert(row + j);
            Four gain = score - row_price;
            if (!free) gain = gain - Four::load(columns + j);
            sums.gain = sums.gain + positive_part(gain);
            const auto chosen = Four::Mask::convert(kept + j) != Four::Mask::all(0);
            sums.objective = sums.objective + select(chosen, score, zero);
        }
    }

    static bool flag(const Strided& choice, const char* tile, int i, int j) {
        const int axes = choice.ndim - 2;
        return tile != nullptr && tile[i * choice.strides[axes] + j * choice.strides[axes + 1]];
    }
};

}  // namespace MASKSOLVE_ISA
}  // namespace masksolve
