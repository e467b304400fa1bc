// Certificates of one-directional groups.
//
// A group whose kept entries are not below its price and whose dropped ones are not above it has no violation
// (at most n: if it keeps fewer, its price must also be 0). These are comparisons, so nothing is rounded, and
// groups need not be told apart: what a segment keeps is added up in one go. Only if a comparison fails are
// its groups looked at one by one.
#pragma once

#include "arrays/staging.hpp"
#include "certificate/ledger.hpp"
#include "certificate/lines.hpp"
#include "certificate/tile_proof.hpp"
#include "vectors/widen.hpp"

namespace masksolve {
namespace MASKSOLVE_ISA {

template <typename T>
class GroupCertifier {
public:
    explicit GroupCertifier(const Job& job)
        : job_(job),
          columns_(job.groups_in_columns),
          square_(Staging<T>::squares_later(job)),
          singly_(job.tile_objective.data != nullptr || job.tile_bound.data != nullptr),
          rounding_(1, job.width) {}

    // `count` groups with their prices. `Width`: the groups' length as a constant, or 0.
    template <int Width>
    void certify(const Window<T>& window, int count, const T* prices, Verdicts& verdicts) {
        const bool right = keeps_enough<Width>(window, count, prices, verdicts);
        if (right) {
            const double magnitude = sum_up<Width>(window, count, prices, verdicts);
            if (verdicts.summed) {
                if (singly_) return sum_each<Width>(window, count, verdicts);
                // Each lane adds up a 16th of the entries.
                const double depth = segment_entries / lanes + lanes;
                verdicts.slack_sum = depth * unit_roundoff * magnitude;
                return;
            }
        }
        for (int g = 0; g < count; ++g) look_at(window, g, prices[g], verdicts);
    }

private:
    static constexpr int lanes = 16;
    using I = Integer<T>;
    using Row = Pack<T, lanes>;
    using Flags = Pack<I, lanes>;
    using Wide = Pack<double, lanes>;
    using WideFlags = Pack<std::int64_t, lanes>;

    const Job& job_;
    bool columns_, square_, singly_, signed_ = false;
    Rounding rounding_;
    alignas(64) T spread_[segment_entries + longest_side];  // the price of each entry

    struct Sums {
        Wide sum, size;
        Row worst;  // the largest amount by which an entry is on the wrong side of its price
        Wide wide_worst;
        Flags signs;
    };

    // Whether no group has a price that its number of kept entries contradicts.
    template <int Width>
    bool keeps_enough(const Window<T>& window, int count, const T* prices, Verdicts& verdicts) {
        const bool exact = job_.row_least == job_.row_most;
        // Groups as long as a word are counted at once; at most n, nearly all keep n.
        bool full = false;
        if (!columns_ && Width == 4) full = counts_match<std::uint32_t>(window.mask, count);
        if (!columns_ && Width == 8) full = counts_match<std::uint64_t>(window.mask, count);
        if (full && (exact || !has_sign(prices, count))) return true;
        unsigned char held[most_segment_tiles] = {}, seen = 0;
        if (columns_) {
            for (int j = 0; j < job_.width; ++j) {
                const char* mask = window.mask + j * window.mask_across;
                for (int g = 0; g < count; ++g) {
                    held[g] = static_cast<unsigned char>(held[g] + mask[g]);
                    seen |= static_cast<unsigned char>(mask[g]);
                }
            }
        } else {
            for (int g = 0; g < count; ++g)
                for (int j = 0; j < job_.width; ++j) {
                    const char kept = window.mask[g * job_.width + j];
                    held[g] = static_cast<unsigned char>(held[g] + kept);
                    seen |= static_cast<unsigned char>(kept);
                }
        }
        bool feasible = seen <= 1, right = true;
        unsigned char wrong = 0;
        const auto n = static_cast<unsigned char>(job_.row_most);
        for (int g = 0; g < count; ++g) wrong |= static_cast<unsigned char>(held[g] ^ n);
        if (exact) feasible &= wrong == 0;
        else if (wrong == 0 && feasible && !has_sign(prices, count)) return true;
        else
            for (int g = 0; g < count; ++g) feasible &= held[g] <= n;
        if (!exact)
            for (int g = 0; g < count; ++g)
                right &= prices[g] >= 0 && (held[g] == job_.row_most || prices[g] == 0);
        verdicts.feasible &= feasible;
        return right;
    }

    // Groups as long as a word: whether each has n bytes of 1 and the others 0.
    template <typename Word>
    __attribute__((noinline)) bool counts_match(const char* mask, int count) const {
        constexpr Word ones = static_cast<Word>(0x0101010101010101u);
        const Word n = static_cast<Word>(job_.row_most);
        Word wrong = 0;
        for (int g = 0; g < count; ++g) {
            Word word;
            std::memcpy(&word, mask + g * sizeof word, sizeof word);
            Word sum = word + (word >> 8 * sizeof(Word) / 2);
            if (sizeof(Word) == 8) sum += sum >> 16;
            sum += sum >> 8;
            wrong |= (word & ~ones) | ((sum & 255) ^ n);
        }
        return wrong == 0;
    }

    // The prices of the lanes from entry k on.
    template <int Width>
    inline __attribute__((always_inline)) Row prices_of(const T* prices, int k) const {
        if constexpr (Width == 0) {
            return Row::load(spread_ + k);
        } else {
            Row row;
            for (int part = 0; part < Row::K; ++part)
                row.part[part] = repeated<Width, T, Row::L>(prices + (k + part * Row::L) / Width);
            return row;
        }
    }

    template <int Width>
    double sum_up(const Window<T>& window, int count, const T* prices, Verdicts& verdicts) {
        if constexpr (sizeof(T) == sizeof(float))
            if (square_) return run<Width, false, true>(window, count, prices, verdicts);
        return signed_ ? run<Width, true, false>(window, count, prices, verdicts)
                       : run<Width, false, false>(window, count, prices, verdicts);
    }

    // Adds up what is kept and returns the sum of its magnitudes; `summed`: whether all entries are where
    // they should be.
    template <int Width, bool Signed, bool square>
    __attribute__((noinline)) double run(const Window<T>& window, int count, const T* prices,
                                         Verdicts& verdicts) {
        Sums sums{};
        sums.worst = Row::all(T{0});
        sums.wide_worst = sums.sum = sums.size = Wide::all(0.0);
        sums.signs = Flags::all(I{0});
        if (columns_) {
            std::memcpy(spread_, prices, count * sizeof(T));
            for (int j = 0; j < job_.width; ++j)
                add_run<0, Signed, square>(reinterpret_cast<const T*>(window.scores + j * window.across),
                                           prices, window.mask + j * window.mask_across, count, sums);
        } else {
            const int width = Width ? Width : job_.width;
            if (Width == 0)
                for (int g = 0; g < count; ++g)
                    for (int j = 0; j < width; ++j) spread_[g * width + j] = prices[g];
            add_run<Width, Signed, square>(window.row(0, 0), prices, window.mask, count * width, sums);
        }
        if (!Signed && !square && (sums.signs < Flags::all(I{0})).bits() != 0) {
            signed_ = true;
            return run<Width, true, false>(window, count, prices, verdicts);
        }
        verdicts.summed = square ? (sums.wide_worst > Wide::all(0.0)).bits() == 0
                                 : (sums.worst > Row::all(T{0})).bits() == 0;
        verdicts.objective_sum = sum_of_lanes(sums.sum);
        return Signed ? sum_of_lanes(sums.size) : verdicts.objective_sum;
    }

    // The verdicts of groups that have no violation, one by one.
    template <int Width>
    __attribute__((noinline)) void sum_each(const Window<T>& window, int count, Verdicts& verdicts) const {
        const int width = Width ? Width : job_.width;
        double* const objective = verdicts.objective;
        double* const magnitude = verdicts.scale;
        const auto worth_of = [this](T score, char kept) {
            const double worth = kept != 0 ? score : T{0};
            return square_ ? worth * worth : worth;
        };
        if (columns_) {
            std::fill_n(objective, count, 0.0);
            std::fill_n(magnitude, count, 0.0);
            for (int j = 0; j < width; ++j) {
                const T* scores = reinterpret_cast<const T*>(window.scores + j * window.across);
                const char* mask = window.mask + j * window.mask_across;
                for (int g = 0; g < count; ++g) {
                    const double worth = worth_of(scores[g], mask[g]);
                    objective[g] += worth;
                    magnitude[g] += std::abs(worth);
                }
            }
        } else {
            const T* scores = window.row(0, 0);
            const char* mask = window.mask;
            for (int g = 0; g < count; ++g) {
                // In registers: for all the compiler knows, what is stored may be a part of the mask.
                double sum = 0, size = 0;
                for (int j = 0; j < width; ++j, ++scores, ++mask) {
                    const double worth = worth_of(*scores, *mask);
                    sum += worth;
                    size += std::abs(worth);
                }
                objective[g] = sum;
                magnitude[g] = size;
            }
        }
        verdicts.summed = false;
        std::fill_n(verdicts.violation, count, 0.0);
        for (int g = 0; g < count; ++g) verdicts.slack[g] = rounding_.sums * magnitude[g];
    }

    template <int Width, bool Signed, bool square>
    __attribute__((noinline)) void add_run(const T* scores, const T* prices, const char* mask, int count,
                                           Sums& sums) const {
        Sums here = sums;  // in registers
        int k = 0;
        for (; k + lanes <= count; k += lanes)
            add<Signed, square>(scores + k, prices_of<Width>(prices, k), mask + k, here);
        sums = here;
        if (k == count) return;
        T last_prices[lanes] = {};
        for (int l = 0; k + l < count; ++l)
            last_prices[l] = Width ? prices[(k + l) / (Width ? Width : 1)] : spread_[k + l];
        add_last<Signed, square>(scores + k, last_prices, mask + k, count - k, sums);
    }

    // Fewer entries than there are lanes.
    template <bool Signed, bool square>
    static __attribute__((noinline)) void add_last(const T* scores, const T* prices, const char* mask,
                                                   int count, Sums& sums) {
        T last_scores[lanes] = {};
        char last_mask[lanes] = {};
        std::memcpy(last_scores, scores, count * sizeof(T));
        std::memcpy(last_mask, mask, count);
        add<Signed, square>(last_scores, Row::load(prices), last_mask, sums);
    }

    template <bool Signed, bool square>
    static inline __attribute__((always_inline)) void add(const T* scores, const Row& price, const char* mask,
                                                          Sums& sums) {
        const Row score = Row::load(scores);
        const Flags chosen = Flags::all(I{0}) - Flags::convert(mask);
        const Row kept = bits_and(score, chosen);
        if constexpr (square) {
            const Wide wide = widened(score), wide_kept = widened(kept);
            const WideFlags wide_chosen = WideFlags::all(std::int64_t{0}) - WideFlags::convert(mask);
            const WideFlags sign = WideFlags::all(std::numeric_limits<std::int64_t>::min());
            sums.wide_worst =
                most(sums.wide_worst, bits_xor(wide * wide - widened(price), wide_chosen & sign));
            sums.sum = sums.sum + wide_kept * wide_kept;
        } else {
            const Flags sign = Flags::all(std::numeric_limits<I>::min());
            sums.worst = most(sums.worst, bits_xor(score - price, chosen & sign));
            const Wide worth = widened(kept);
            sums.sum = sums.sum + worth;
            if constexpr (Signed)
                sums.size =
                    sums.size + bits_and_not(worth, WideFlags::all(std::numeric_limits<std::int64_t>::min()));
            else sums.signs = sums.signs | bits_of(kept);
        }
    }

    void look_at(const Window<T>& window, int g, double price, Verdicts& verdicts) const {
        double objective = 0, magnitude = 0, violation = 0;
        int held = 0;
        for (int j = 0; j < job_.width; ++j) {
            double score = *reinterpret_cast<const T*>(window.scores + g * window.step + j * window.across);
            if (square_) score *= score;
            const bool kept = window.mask[g * window.mask_step + j * window.mask_across] != 0;
            if (kept) {
                objective += score;
                magnitude += std::abs(score);
                ++held;
            }
            const double wrong = kept ? price - score : score - price;
            if (wrong > 0) violation += wrong;
        }
        violation += line_violation(price, held, job_.row_bounds());
        // Where no entry is on the wrong side of its price, none is in exact arithmetic.
        if (violation > 0) violation += rounding_.rows * std::abs(price);
        verdicts.objective[g] = objective;
        verdicts.violation[g] = violation;
        verdicts.scale[g] = magnitude;
        verdicts.slack[g] = violation + rounding_.sums * (magnitude + violation);
    }
};

}  // namespace MASKSOLVE_ISA
}  // namespace masksolve
