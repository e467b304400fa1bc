// Run a rule over tiles where they lie: read, rank, fill, complete, write the mask, sum up.
#pragma once

#include <algorithm>
#include <limits>
#include <memory>
#include <new>

#ifndef MASKSOLVE_ISA
#define MASKSOLVE_ISA baseline
#define MASKSOLVE_VECTOR_BYTES 16
#endif
#include "arrays/convert.hpp"
#include "arrays/floating_point.hpp"
#include "arrays/job.hpp"
#include "certificate/ledger.hpp"
#include "heuristics/completion.hpp"
#include "heuristics/cover.hpp"
#include "heuristics/greedy.hpp"
#include "heuristics/ranking.hpp"

namespace masksolve {

template <typename T>
struct Workspace {
    T scores[largest_tile];
    Entry<T> entries[largest_tile];
    Entry<T> spare[largest_tile];
};

// Entries by which the mask falls short of as many as the bounds admit.
inline int shortfall(const TileMask& mask) {
    const Lines &rows = mask.rows, &columns = mask.columns;
    int kept = 0;
    for (int row = 0; row < rows.size; ++row) kept += rows.kept[row];
    return std::min(rows.size * rows.bounds.most, columns.size * columns.bounds.most) - kept;
}

// A tile's scores, in rows.
template <typename T>
void read_tile(const Job& job, std::ptrdiff_t tile, T* scores) {
    const int bytes = entry_bytes(job.dtype), width = job.width;
    const char* from = job.scores.tile(tile, job.grid_axes());
    for (int i = 0; i < job.height; ++i, from += job.down()) {
        alignas(8) char row[largest_side * sizeof(double)];
        if (job.across() != bytes)
            for (int j = 0; j < width; ++j) std::memcpy(row + j * bytes, from + j * job.across(), bytes);
        baseline::convert_run(job.dtype, job.across() == bytes ? from : row, width, scores + i * width);
    }
    if (job.score == Score::magnitude) baseline::take_magnitudes(scores, job.entries());
    else if (job.score == Score::square) baseline::take_squares(scores, job.entries());
}

// Writes the mask's bytes and returns the sum of the kept scores.
template <typename T>
double write_mask(const Job& job, std::ptrdiff_t tile, const TileMask& mask, const T* scores) {
    double sum = 0;
    char* to = job.mask.tile(tile, job.grid_axes());
    for (int row = 0; row < job.height; ++row, to += job.mask_down())
        for (int column = 0; column < job.width; ++column) {
            const bool kept = mask.rows.bits[row] >> column & 1;
            to[column * job.mask_across()] = kept;
            sum += kept ? static_cast<double>(scores[row * job.width + column]) : 0.0;
        }
    return sum;
}

template <typename T, template <typename> class Rule>
void run_rule(const Job& job, Outcome& outcome) {
    const std::unique_ptr<Workspace<T>> work(new (std::nothrow) Workspace<T>);
    if (!work) {
        outcome.status = Status::out_of_memory;
        return;
    }
    TileMask filled(job.height, job.width, job.row_bounds(), job.column_bounds());
    CompensatedSum objective;
    for (std::ptrdiff_t tile = job.first; tile < job.last; ++tile) {
        read_tile(job, tile, work->scores);
        const Entry<T>* ranking = rank_entries(work->scores, job.height, job.width, Rule<T>::heaviest_first,
                                               work->entries, work->spare);
        Rule<T>::fill(ranking, filled);
        outcome.unfilled += shortfall(filled);
        if (!complete(filled, ranking, Rule<T>::heaviest_first, work->scores)) {
            outcome.status = Status::infeasible;
            return;
        }
        const double kept = write_mask(job, tile, filled, work->scores);
        objective.add(kept);
        if (job.tile_objective.data != nullptr)
            *reinterpret_cast<double*>(job.tile_objective.tile(tile, job.grid_axes())) = kept;
        if (job.tile_bound.data != nullptr)  // a rule proves nothing
            *reinterpret_cast<double*>(job.tile_bound.tile(tile, job.grid_axes())) =
                std::numeric_limits<double>::infinity();
    }
    outcome.objective = objective.value();
    outcome.bound = std::numeric_limits<double>::infinity();
}

// In float32 where it holds the scores exactly, else in float64.
template <template <typename> class Rule>
void run_heuristic(const Job& job, Outcome& outcome) {
    const DefaultArithmetic while_solving;
    if (fits_float(job.dtype) && job.score != Score::square) run_rule<float, Rule>(job, outcome);
    else run_rule<double, Rule>(job, outcome);
}

inline void run_greedy(const Job& job, Outcome& outcome) { run_heuristic<Greedy>(job, outcome); }
inline void run_cover(const Job& job, Outcome& outcome) { run_heuristic<Cover>(job, outcome); }

}  // namespace masksolve
