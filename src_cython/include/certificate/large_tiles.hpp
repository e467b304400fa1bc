// Certificates of tiles with a side of 5 to 64, a tile after the other, its columns in the lanes.
#pragma once

#include "arrays/staging.hpp"
#include "certificate/ledger.hpp"
#include "certificate/tile_proof.hpp"
#include "vectors/widen.hpp"

namespace masksolve {
namespace MASKSOLVE_ISA {

// Reads the mask bytes as they were written and the prices as they are handed out. `P`: the longer side,
// rounded up.
template <typename T, int P>
class LargeTileCertifier {
public:
    explicit LargeTileCertifier(const Job& job)
        : job_(job),
          height_(job.height),
          width_(job.width),
          rounding_(job.height, job.width),
          square_(Staging<T>::squares_later(job)) {}

    __attribute__((noinline)) void certify(const Window<T>& window, int tile, const T* u, const T* v,
                                           Verdicts& verdicts) {
        const T* scores[P];
        const char* mask[P];
        for (int i = 0; i < height_; ++i) {
            scores[i] = window.row(tile, i);
            mask[i] = window.mask_row(tile, i);
        }
        if (width_ < P) fill_up(scores, mask);
        Sums sums{};
        for (int at = 0; at < P; at += lanes) {
            if constexpr (sizeof(T) == sizeof(float)) {
                if (square_) {
                    add_columns<true>(scores, mask, u, v, at, sums);
                    continue;
                }
            }
            add_columns<false>(scores, mask, u, v, at, sums);
        }
        for (int i = 0; i < height_; ++i) {
            const int here = count_bytes(mask[i]);
            verdicts.feasible &= here >= job_.row_least && here <= job_.row_most;
            sums.violation += line_violation(static_cast<double>(u[i]), here, job_.row_bounds());
            sums.rows += std::abs(static_cast<double>(u[i]));
        }
        double least = std::numeric_limits<double>::infinity();
        int worthy = 0;  // columns that keep more than zeros
        for (int j = 0; j < width_; ++j) {
            const int here = static_cast<int>(in_column_[j]);
            verdicts.feasible &= here >= job_.column_least && here <= job_.column_most;
            sums.violation += line_violation(static_cast<double>(v[j]), here, job_.column_bounds());
            sums.columns += std::abs(static_cast<double>(v[j]));
            if (magnitude_[j] == 0) continue;
            least = std::min(least, magnitude_[j]);
            ++worthy;
        }
        verdicts.feasible &= !sums.stray;
        sums.violation += rounding_.rows * sums.rows + rounding_.columns * sums.columns;
        verdicts.objective[tile] = halve<P>(kept_);
        verdicts.violation[tile] = sums.violation;
        verdicts.scale[tile] = worthy == 0 ? 0 : worthy * least;
        verdicts.slack[tile] = sums.violation + rounding_.sums * (halve<P>(magnitude_) + sums.violation);
    }

private:
    static constexpr int lanes = 8;
    using Wide = Pack<double, lanes>;
    using Bits = Pack<std::int64_t, lanes>;

    const Job& job_;
    int height_, width_;
    Rounding rounding_;
    bool square_;
    alignas(64) T padded_scores_[P][P];
    alignas(64) char padded_mask_[P][P];
    alignas(64) double kept_[P], magnitude_[P];  // sums over each column
    alignas(64) std::int64_t in_column_[P];

    struct Sums {
        double violation, rows, columns;
        bool stray;  // a mask byte is neither 0 nor 1
    };

    // Copies of the rows, up to a whole number of lanes.
    void fill_up(const T** scores, const char** mask) {
        for (int i = 0; i < height_; ++i) {
            std::memset(padded_scores_[i], 0, sizeof padded_scores_[i]);
            std::memset(padded_mask_[i], 0, sizeof padded_mask_[i]);
            std::memcpy(padded_scores_[i], scores[i], width_ * sizeof(T));
            std::memcpy(padded_mask_[i], mask[i], width_);
            scores[i] = padded_scores_[i];
            mask[i] = padded_mask_[i];
        }
    }

    template <bool square>
    inline __attribute__((always_inline)) void add_columns(const T* const* scores, const char* const* mask,
                                                           const T* u, const T* v, int at, Sums& sums) {
        const Bits zero_bits = Bits::all(std::int64_t{0}), ones = Bits::all(std::int64_t{1});
        const Wide zero = Wide::all(0.0);
        const Bits sign = Bits::all(std::numeric_limits<std::int64_t>::min());
        Wide price = Wide::convert(v + at);
        // Columns beyond the tile cost infinitely much, so that dropping their entries is right.
        if (at + lanes > width_) {
            double costs[lanes];
            price.store(costs);
            for (int l = 0; l < lanes; ++l)
                if (at + l >= width_) costs[l] = std::numeric_limits<double>::infinity();
            price = Wide::load(costs);
        }
        Wide violation = zero, kept_sum = zero, magnitude = zero;
        Bits count = zero_bits, seen = zero_bits;
        for (int i = 0; i < height_; ++i) {
            Wide score = Wide::convert(scores[i] + at);
            if (square) score = score * score;
            const Wide reduced = score - (Wide::all(static_cast<double>(u[i])) + price);
            const Bits kept = Bits::convert(mask[i] + at);
            seen = seen | kept;
            count = count + kept;
            const Bits chosen = zero_bits - kept;
            violation = violation + positive_part(bits_xor(reduced, chosen & sign));
            const Wide worth = bits_and(score, chosen);
            kept_sum = kept_sum + worth;
            magnitude = magnitude + bits_and_not(worth, sign);
        }
        kept_sum.store(kept_ + at);
        magnitude.store(magnitude_ + at);
        count.store(in_column_ + at);
        sums.stray |=
            (most(seen, ones) != ones).bits() != 0 || (least(seen, zero_bits) != zero_bits).bits() != 0;
        double lane[lanes];
        violation.store(lane);
        sums.violation += halve<lanes>(lane);
    }

    // The sum of a power of two of values, pairwise.
    template <int count>
    static double halve(const double* values) {
        if constexpr (count == 1) return values[0];
        else return halve<count / 2>(values) + halve<count / 2>(values + count / 2);
    }

    int count_bytes(const char* row) const {
        int sum = 0;
        for (int j = 0; j < P; j += 8) {
            std::uint64_t eight;
            std::memcpy(&eight, row + j, sizeof eight);
            sum += static_cast<int>(eight * 0x0101010101010101u >> 56);
        }
        return sum;
    }
};

}  // namespace MASKSOLVE_ISA
}  // namespace masksolve
