// A ready-made mask for tiles that a solve did not reach. Each line of the side that has less room keeps as
// many entries as it may, one beside the other, from where the line before ended; so the lines of the other
// side keep equally many, to within one.
//
// With all prices 0 the dual bound of a tile is the sum of its positive scores, so mask, kept sum and bound
// take one look at the scores. A solve that is broken off must not take longer to end than it would have
// taken to finish, so they are staged and added up as in a solve.
#pragma once

#include "drivers/segments.hpp"
#include "vectors/widen.hpp"

namespace masksolve {
namespace MASKSOLVE_ISA {

template <typename T>
class CirculantRun final : public SegmentSolver<T> {
public:
    CirculantRun(const Job& job, Outcome&)
        : job_(job),
          columns_(job.groups_in_columns && job.height == 1),
          square_(Staging<T>::squares_later(job)),
          singly_(job.tile_objective.data != nullptr || job.tile_bound.data != nullptr),
          runs_(columns_ ? job.width : job.height),
          in_tile_(columns_ ? 1 : job.width),
          most_(segment_tiles(job) * in_tile_) {
        for (int run = 0; run < runs_; ++run)
            for (int k = 0; k < most_; ++k) {
                const bool kept = columns_ ? is_kept(0, run) : is_kept(run, k % in_tile_);
                bytes_[run * most_ + k] = kept;
                chosen_[run * most_ + k] = -I{kept};
            }
    }

    void solve(const Strip& strip, std::ptrdiff_t k, int count, Window<T>& window,
               Verdicts& verdicts) override {
        for (int run = 0; run < runs_; ++run)
            std::memcpy(columns_ ? window.mask + run * window.mask_across : window.mask_row(0, run),
                        bytes_ + run * most_, count * in_tile_);
        fetch_ahead(job_, strip, k, count);
        if (singly_) sum_each(window, count, verdicts);
        else if (square_) sum_up<true>(window, count, verdicts);
        else sum_up<false>(window, count, verdicts);
    }

private:
    static constexpr int lanes = 16;
    using I = Integer<T>;
    using Row = Pack<T, lanes>;
    using Flags = Pack<I, lanes>;
    using Wide = Pack<double, lanes>;

    // A segment consists of `runs_` runs of neighbouring entries, at most `most_` long: row i of all its
    // tiles, or, of groups in columns, entry i of all its groups. `in_tile_` entries of a run belong to each
    // tile.
    const Job& job_;
    bool columns_, square_, singly_;
    int runs_, in_tile_, most_;
    alignas(64) I chosen_[largest_tile];  // of all runs of a segment: all ones if the entry is kept
    char bytes_[largest_tile];
    double kept_[segment_entries], positive_[segment_entries];

    struct Sums {
        Wide kept, positive;
    };

    bool is_kept(int i, int j) const {
        const int rows_hold = job_.height * job_.row_most, columns_hold = job_.width * job_.column_most;
        if (rows_hold <= columns_hold)
            return (j + i * (job_.width - job_.row_most)) % job_.width < job_.row_most;
        return (i + j * (job_.height - job_.column_most)) % job_.height < job_.column_most;
    }

    const T* scores_of(const Window<T>& window, int run) const {
        return columns_ ? reinterpret_cast<const T*>(window.scores + run * window.across)
                        : window.row(0, run);
    }

    template <bool square>
    __attribute__((noinline)) void sum_up(const Window<T>& window, int count, Verdicts& verdicts) const {
        const int length = count * in_tile_;
        Sums sums{Wide::all(0.0), Wide::all(0.0)};
        for (int run = 0; run < runs_; ++run) {
            const T* scores = scores_of(window, run);
            const I* chosen = chosen_ + run * most_;
            int k = 0;
            for (; k + lanes <= length; k += lanes) add<square>(scores + k, chosen + k, sums);
            if (k == length) continue;
            T last[lanes] = {};
            std::memcpy(last, scores + k, (length - k) * sizeof(T));
            add<square>(last, chosen + k, sums);
        }
        verdicts.summed = true;
        verdicts.objective_sum = sum_of_lanes(sums.kept);
        verdicts.slack_sum = slack(verdicts.objective_sum, sum_of_lanes(sums.positive));
    }

    template <bool square>
    static inline __attribute__((always_inline)) void add(const T* scores, const I* chosen, Sums& sums) {
        const Row score = Row::load(scores);
        const Wide kept = widened(bits_and(score, Flags::load(chosen))), all = widened(score);
        sums.kept = sums.kept + (square ? kept * kept : kept);
        sums.positive = sums.positive + (square ? all * all : positive_part(all));
    }

    // Tile by tile; nothing is open here, since nobody is to solve these tiles.
    __attribute__((noinline)) void sum_each(const Window<T>& window, int count, Verdicts& verdicts) {
        const int length = count * in_tile_;
        std::fill_n(kept_, length, 0.0);
        std::fill_n(positive_, length, 0.0);
        for (int run = 0; run < runs_; ++run) {
            const T* scores = scores_of(window, run);
            const char* bytes = bytes_ + run * most_;
            for (int k = 0; k < length; ++k) {
                const double score = scores[k], worth = square_ ? score * score : score;
                kept_[k] += worth * bytes[k];
                positive_[k] += worth > 0 ? worth : 0.0;
            }
        }
        for (int t = 0; t < count; ++t) {
            double kept = 0, positive = 0;
            for (int k = t * in_tile_; k < (t + 1) * in_tile_; ++k) {
                kept += kept_[k];
                positive += positive_[k];
            }
            verdicts.objective[t] = kept;
            verdicts.slack[t] = slack(kept, positive);
            verdicts.violation[t] = verdicts.scale[t] = 0;
        }
    }

    // What the bound adds to the kept sum: the difference to the sum of positive scores, with what rounding
    // may hide. No more terms than this are added up in a lane of a segment and over the lanes, or in a tile;
    // twice that covers the rounding of the difference, too.
    static double slack(double kept, double positive) {
        constexpr double terms = largest_tile / lanes + longest_side + lanes;
        if (kept == 0 && positive == 0) return 0;
        return positive - kept + 2 * terms * unit_roundoff * (positive + std::abs(kept));
    }
};

}  // namespace MASKSOLVE_ISA
}  // namespace masksolve
