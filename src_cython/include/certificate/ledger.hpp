// What certificates of a job's tiles add up to: sums over the tiles, the worst tile, and every tile's own
// sums.
//
// For a mask that meets the bounds and any prices u, v let r = s - u - v be an entry's reduced score. Then
//     D(u, v) - kept = sum over kept entries of max(0, -r) + sum over dropped entries of max(0, r)
//                    + sum over lines of (max(least p, most p) - c p),
// where a line of price p keeps c entries. No term is negative, so nothing cancels: this *violation* of
// optimality is as exact as its own rounding, however large the scores are. Entries that are forced
// contribute nothing. D bounds what any mask keeps, so a tile whose violation is 0 is optimal.
//
// Rounding. Let e = 2^-53. fl(u + v) differs from u + v by at most e |u + v|; subtracting that from s keeps
// the sign of the difference and adds a relative error of e. So the true term of an entry is at most its
// computed one, times 1 + e, plus e |u_i + v_j|; no score of a dropped entry enters, however large. For h by
// w entries the latter sum up to at most e (w sum |u| + h sum |v|), which certificates count as a part of the
// violation V, twice for good measure. A sum of k terms that are added one after the other, or pairwise, has
// a relative error of at most k e of the sum of their magnitudes. With A the kept sum of |scores|,
//     true optimum <= objective + V + k e (A + V),
// where k >= h + w covers the sums of a tile, and `sums_over_tiles` those of a segment's tiles. Beyond that,
// sums are compensated, and the bound is rounded upwards at the end.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

#include "arrays/strips.hpp"

namespace masksolve {

// A sum that carries along what rounding loses (Neumaier 1974).
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

// The least number above x. (std::nextafter, which is called and not inlined, takes ten times as long.)
inline double next_up(double x) {
    if (x == 0) return std::numeric_limits<double>::denorm_min();
    if (!(std::abs(x) <= std::numeric_limits<double>::max())) return x;
    std::int64_t bits;
    std::memcpy(&bits, &x, sizeof bits);
    bits += x > 0 ? 1 : -1;
    std::memcpy(&x, &bits, sizeof x);
    return x;
}

// Of a scale of 0 nothing but 0 is a proof; what is no number proves nothing.
inline double relative_violation(double violation, double scale) {
    return violation == 0 ? 0 : violation / scale;
}

constexpr double unit_roundoff = 0x1p-53;
constexpr int sums_over_tiles = 64;

// The factors of the formulas above: k e, and those of sum |u| and sum |v|.
struct Rounding {
    double sums, rows, columns;

    Rounding(int height, int width)
        : sums((height + width + sums_over_tiles) * unit_roundoff),
          rows(2 * unit_roundoff * width),
          columns(2 * unit_roundoff * height) {}
};

// What certifiers say of the tiles of a segment.
struct Verdicts {
    alignas(64) double objective[most_segment_tiles];
    alignas(
        64) double slack[most_segment_tiles];  // what the bound adds to the objective: violation and rounding
    alignas(64) double violation[most_segment_tiles];
    alignas(64) double scale[most_segment_tiles];  // what the violation is measured by, see scale_of
    bool feasible = true;                          // whether every mask meets its bounds
    bool summed = false;  // the sums below stand for the arrays above: every violation is 0
    double objective_sum = 0, slack_sum = 0;
};

class Ledger {
public:
    Ledger(const Job& job, Outcome& outcome) : outcome_(outcome), tolerance_(job.tolerance()) {}

    // Whether nothing more need be known of a tile with this violation and at least this scale: it is proven,
    // and not the worst so far.
    double threshold() const { return std::min(outcome_.worst_gap, tolerance_); }

    // Notes the tile's violation relative to its scale; whether it is proven.
    bool review(std::ptrdiff_t tile, double violation, double scale) {
        const double gap = relative_violation(violation, scale);
        if (gap > outcome_.worst_gap && gap <= tolerance_) note(tile, gap);
        return gap <= tolerance_;
    }
    void leave_open(std::ptrdiff_t tile, double gap) {
        ++outcome_.open;
        if (gap > outcome_.worst_gap || std::isnan(gap)) note(tile, gap);
    }

    // Adds up a segment's tiles, in lanes that do not depend on the instruction set.
    void enter(const Strip& strip, std::ptrdiff_t k, int count, const Verdicts& verdicts) {
        if (verdicts.summed) return enter(verdicts.objective_sum, verdicts.slack_sum);
        double objective[lanes] = {}, slack[lanes] = {};
        int t = 0;
        for (; t + lanes <= count; t += lanes)
            for (int l = 0; l < lanes; ++l) {
                objective[l] += verdicts.objective[t + l];
                slack[l] += verdicts.slack[t + l];
            }
        for (int l = 0; t + l < count; ++l) {
            objective[l] += verdicts.objective[t + l];
            slack[l] += verdicts.slack[t + l];
        }
        enter(total(objective), total(slack));
        if (strip.tile_objective.place != nullptr)
            write(strip.tile_objective, k, count, [&](int tile) { return verdicts.objective[tile]; });
        if (strip.tile_bound.place != nullptr)
            write(strip.tile_bound, k, count,
                  [&](int tile) { return tile_bound(verdicts.objective[tile], verdicts.slack[tile]); });
    }
    void enter(double objective, double slack) {
        objective_.add(objective);
        bound_.add(objective);
        bound_.add(slack);
    }

    void close() {
        outcome_.objective = objective_.value();
        const double bound = bound_.value();
        // Sums of numbers as small as this are exact, and one unit in the last place would be a large part of
        // them.
        constexpr double sums_are_exact = 0x1p-1022;
        outcome_.bound = std::abs(bound) < sums_are_exact ? bound : next_up(bound);
    }

    static double tile_bound(double objective, double slack) {
        return slack == 0 ? objective : next_up(objective + slack);
    }

private:
    static constexpr int lanes = 8;

    Outcome& outcome_;
    double tolerance_;
    CompensatedSum objective_, bound_;

    template <typename Value>
    static void write(const Lane& lane, std::ptrdiff_t k, int count, Value value) {
        char* const first = lane[k];
        if (lane.step == sizeof(double))
            for (int t = 0; t < count; ++t) reinterpret_cast<double*>(first)[t] = value(t);
        else
            for (int t = 0; t < count; ++t) *reinterpret_cast<double*>(first + t * lane.step) = value(t);
    }

    void note(std::ptrdiff_t tile, double gap) {
        outcome_.worst_tile = tile;
        outcome_.worst_gap = gap;
    }
    static double total(const double* lane) {
        return ((lane[0] + lane[4]) + (lane[1] + lane[5])) + ((lane[2] + lane[6]) + (lane[3] + lane[7]));
    }
};

}  // namespace masksolve
