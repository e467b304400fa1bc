// A ready-made mask for tiles that a solve did not reach. Each line of the side that has less room keeps as
// many entries as it may, one beside the other, from where the line before ended; so the lines of the other
// side keep equally many, to within one.
//
// With all prices 0 the dual bound of a tile is the sum of its positive scores, so mask, kept sum and bound
// take one look at the scores, in runs as long as they lie side by side. A solve that is broken off must not
// take longer to end than it would have taken to finish.
#pragma once

#include <algorithm>
#include <cstring>

#include "arrays/strips.hpp"
#include "heuristics/run.hpp"

// The loader picks the version for the processor before a sanitizer is ready for it.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && defined(__GLIBC__) && \
    !defined(__SANITIZE_ADDRESS__)
#define MASKSOLVE_CIRCULANT_CLONES __attribute__((target_clones("avx2", "default"), flatten))
#else
#define MASKSOLVE_CIRCULANT_CLONES
#endif

namespace masksolve {

constexpr int circulant_run = 1024;  // the buffers of a run stay in the first-level cache

// Adds what a run of entries keeps, and its positive scores, to eight sums each, which do not depend on the
// instruction set.
MASKSOLVE_CIRCULANT_CLONES static void add_run(const double* scores, const double* keep, int count,
                                               double* kept, double* positive) {
    double kept_here[8], positive_here[8];  // in registers, whatever else the sums' addresses may be
    std::copy_n(kept, 8, kept_here);
    std::copy_n(positive, 8, positive_here);
    int k = 0;
    for (; k + 8 <= count; k += 8)
        for (int l = 0; l < 8; ++l) {
            const double score = scores[k + l];
            kept_here[l] += score * keep[k + l];
            positive_here[l] += score > 0 ? score : 0;
        }
    for (int l = 0; k + l < count; ++l) {
        const double score = scores[k + l];
        kept_here[l] += score * keep[k + l];
        positive_here[l] += score > 0 ? score : 0;
    }
    std::copy_n(kept_here, 8, kept);
    std::copy_n(positive_here, 8, positive);
}

// The types that weights have most often, by conversions for the processor; all convert to the same numbers.
MASKSOLVE_CIRCULANT_CLONES static void widen_run(Dtype dtype, const char* from, int count, double* to) {
    if (dtype == Dtype::f32) baseline::convert_plain<double, float>(from, count, to);
    else if (dtype == Dtype::bf16) baseline::convert_bf16<double>(from, count, to);
    else if (dtype == Dtype::f16) baseline::convert_f16<double>(from, count, to);
    else if (dtype == Dtype::i8) baseline::convert_plain<double, std::int8_t>(from, count, to);
    else if (dtype == Dtype::u8) baseline::convert_plain<double, std::uint8_t>(from, count, to);
    else baseline::converter<double>(dtype)(from, count, to);
}

inline double sum_of_eight(const double* lane) {
    return ((lane[0] + lane[4]) + (lane[1] + lane[5])) + ((lane[2] + lane[6]) + (lane[3] + lane[7]));
}

class Circulant {
public:
    explicit Circulant(const Job& job)
        : job_(job), by_rows_(job.height * job.row_most <= job.width * job.column_most) {
        for (int k = 0; k < pattern_length; ++k) {
            if (by_rows_) bytes_[k] = k % job.width < job.row_most;
            else bytes_[k] = kept_in_column(k / job.width, k % job.width);
            keep_[k] = bytes_[k];
        }
    }

    void run(Outcome& outcome) {
        const bool sums = job_.tile_objective.data != nullptr || job_.tile_bound.data != nullptr;
        const int bytes = entry_bytes(job_.dtype);
        // Rows of neighbouring tiles are one run if they lie so, and if they are read off one pattern.
        const bool joined = !sums && by_rows_ && job_.across() == bytes && job_.mask_across() == 1;
        for_each_strip(job_, outcome, [&](const Strip& strip) {
            const bool beside =
                joined && strip.scores.step == job_.width * bytes && strip.mask.step == job_.width;
            const int together = beside ? std::max(1, circulant_run / job_.width) : 1;
            for (std::ptrdiff_t k = 0; k < strip.count; k += together)
                add_tiles(strip, k, static_cast<int>(std::min<std::ptrdiff_t>(together, strip.count - k)));
        });
        outcome.objective = objective_.value();
        const double bound = objective_.value() + slack_.value();
        outcome.bound = slack_.value() == 0 ? outcome.objective : next_up(bound);
    }

private:
    static constexpr int pattern_length = std::max(circulant_run + largest_side, largest_tile);

    const Job& job_;
    bool by_rows_;
    CompensatedSum objective_, slack_;
    double keep_[pattern_length], scores_[circulant_run];
    char bytes_[pattern_length], raw_[largest_side * sizeof(double)];

    bool kept_in_column(int i, int j) const {
        const int place = (i - j * job_.column_most) % job_.height;
        return (place < 0 ? place + job_.height : place) < job_.column_most;
    }

    // Where row i begins in the pattern: by rows it is one row over and over, else a tile, row after row.
    int begin_of(int i) const {
        if (!by_rows_) return i * job_.width;
        return (job_.width - i * job_.row_most % job_.width) % job_.width;
    }

    void add_tiles(const Strip& strip, std::ptrdiff_t k, int count) {
        double kept[8] = {}, positive[8] = {};
        const int length = count * job_.width;
        for (int i = 0; i < job_.height; ++i) {
            const int begin = begin_of(i);
            read_row(strip.scores[k] + i * job_.down(), length);
            add_run(scores_, keep_ + begin, length, kept, positive);
            write_row(strip.mask[k] + i * job_.mask_down(), bytes_ + begin, length);
        }
        const double objective = sum_of_eight(kept);
        // Sums of at most height * length / 8 terms and three more; 2 for the difference.
        const double terms = job_.height * (length / 8 + 1) + 8, all = sum_of_eight(positive);
        const double slack = all == 0 && objective == 0
                                 ? 0
                                 : all - objective + 2 * terms * unit_roundoff * (all + std::abs(objective));
        objective_.add(objective);
        slack_.add(slack);
        if (strip.tile_objective.place != nullptr)
            *reinterpret_cast<double*>(strip.tile_objective[k]) = objective;
        if (strip.tile_bound.place != nullptr)
            *reinterpret_cast<double*>(strip.tile_bound[k]) = Ledger::tile_bound(objective, slack);
    }

    void read_row(const char* from, int length) {
        const int bytes = entry_bytes(job_.dtype);
        if (job_.across() != bytes) {
            for (int j = 0; j < length; ++j) std::memcpy(raw_ + j * bytes, from + j * job_.across(), bytes);
            from = raw_;
        }
        widen_run(job_.dtype, from, length, scores_);
        if (job_.score == Score::magnitude) baseline::take_magnitudes(scores_, length);
        else if (job_.score == Score::square) baseline::take_squares(scores_, length);
    }

    void write_row(char* to, const char* kept, int length) const {
        if (job_.mask_across() == 1) std::memcpy(to, kept, length);
        else
            for (int j = 0; j < length; ++j) to[j * job_.mask_across()] = kept[j];
    }
};

inline void run_circulant(const Job& job, Outcome& outcome) {
    const DefaultArithmetic while_filling;
    const std::unique_ptr<Circulant> circulant(new (std::nothrow) Circulant(job));
    if (circulant) circulant->run(outcome);
    else outcome.status = Status::out_of_memory;
}

}  // namespace masksolve
