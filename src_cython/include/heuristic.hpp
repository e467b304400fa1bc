// Run a rule over tiles where they lie: read, rank, fill, complete, write the mask, sum up.
#pragma once

#include <algorithm>
#include <memory>
#include <new>

#include "completion.hpp"
#include "cover.hpp"
#include "greedy.hpp"
#include "ranking.hpp"
#include "strided.hpp"

namespace masksolve {

enum class Ending : int { done, infeasible, out_of_memory };

struct Tally {
    Ending ending = Ending::done;
    double objective = 0;        // sum of the kept scores
    std::ptrdiff_t unfilled = 0;  // entries that the rule left short of full lines, before completion
};

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

// Writes the mask's bytes and returns the sum of the kept scores.
template <typename T>
double write_mask(const TileMask& mask, const T* scores, char* to, const std::ptrdiff_t* strides) {
    double sum = 0;
    const int width = mask.columns.size;
    for (int row = 0; row < mask.rows.size; ++row, to += strides[0])
        for (int column = 0; column < width; ++column) {
            const bool kept = mask.rows.bits[row] >> column & 1;
            to[column * strides[1]] = kept;
            sum += kept ? static_cast<double>(scores[row * width + column]) : 0.0;
        }
    return sum;
}

template <typename T, template <typename> class Rule>
Tally run_rule(const Strided& scores, Dtype dtype, const Strided& mask, Bounds row_bounds, Bounds column_bounds,
               std::ptrdiff_t first, std::ptrdiff_t last) {
    Tally tally;
    const std::unique_ptr<Workspace<T>> work(new (std::nothrow) Workspace<T>);
    if (!work) {
        tally.ending = Ending::out_of_memory;
        return tally;
    }
    const int grid_axes = scores.ndim - 2;
    const int height = static_cast<int>(scores.shape[grid_axes]);
    const int width = static_cast<int>(scores.shape[grid_axes + 1]);
    const std::ptrdiff_t row_stride = scores.strides[grid_axes], stride = scores.strides[grid_axes + 1];
    const Loader<T> load = loader<T>(dtype);
    TileMask filled(height, width, row_bounds, column_bounds);
    for (std::ptrdiff_t tile = first; tile < last; ++tile) {
        const char* from = scores.tile(tile, grid_axes);
        for (int row = 0; row < height; ++row) load(from + row * row_stride, stride, width, work->scores + row * width);
        const Entry<T>* ranking =
            rank_entries(work->scores, height, width, Rule<T>::heaviest_first, work->entries, work->spare);
        Rule<T>::fill(ranking, filled);
        tally.unfilled += shortfall(filled);
        if (!complete(filled, ranking, Rule<T>::heaviest_first, work->scores)) {
            tally.ending = Ending::infeasible;
            return tally;
        }
        tally.objective += write_mask(filled, work->scores, mask.tile(tile, grid_axes), mask.strides + grid_axes);
    }
    return tally;
}

// Tiles `first` to `last` - 1, in float32 where it holds the scores exactly, else in float64.
template <template <typename> class Rule>
Tally run_heuristic(const Strided& scores, Dtype dtype, const Strided& mask, Bounds row_bounds,
                    Bounds column_bounds, std::ptrdiff_t first, std::ptrdiff_t last) {
    return fits_float(dtype) ? run_rule<float, Rule>(scores, dtype, mask, row_bounds, column_bounds, first, last)
                             : run_rule<double, Rule>(scores, dtype, mask, row_bounds, column_bounds, first, last);
}

inline Tally run_greedy(const Strided& scores, Dtype dtype, const Strided& mask, Bounds row_bounds,
                        Bounds column_bounds, std::ptrdiff_t first, std::ptrdiff_t last) {
    return run_heuristic<Greedy>(scores, dtype, mask, row_bounds, column_bounds, first, last);
}

inline Tally run_cover(const Strided& scores, Dtype dtype, const Strided& mask, Bounds row_bounds,
                       Bounds column_bounds, std::ptrdiff_t first, std::ptrdiff_t last) {
    return run_heuristic<Cover>(scores, dtype, mask, row_bounds, column_bounds, first, last);
}

}  // namespace masksolve
