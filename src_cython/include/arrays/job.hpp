// What the Python side asks of the compiled solvers: a run of tiles, their constraints, where answers go.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "arrays/strided.hpp"

namespace masksolve {

// unfit: a score is not finite or too large. wrong: a mask that does not meet the bounds, which is a mistake
// of the program.
enum class Status : int { done, infeasible, unfit, wrong, out_of_memory };
enum class Axis : int { row, column };

// What an entry x of the array is worth: x, |x| or x * x (as float64 rounds it).
enum class Score : int { value, magnitude, square };

// Least and most entries that a line (a row or a column) keeps.
struct Bounds {
    int least, most;
};

struct Job {
    Strided scores, mask;                // (*grid, height, width)
    Strided keep, drop;                  // the same, or absent
    Strided rows, columns;               // prices out, (*grid, height) and (*grid, width), or absent
    Strided start_rows, start_columns;   // prices of an earlier solve, or absent
    Strided tile_objective, tile_bound;  // (*grid), float64, or absent
    Dtype dtype{};
    Score score{};
    bool start_is_double = false;
    bool groups_in_columns = false;  // neighbours in the grid are groups of different lines
    int height = 0, width = 0;
    int row_least = 0, row_most = 0, column_least = 0, column_most = 0;
    double largest = 0;  // larger magnitudes of entries, and NaN, are refused
    std::ptrdiff_t first = 0, last = 0;

    int grid_axes() const { return scores.ndim - 2; }
    int entries() const { return height * width; }
    Bounds row_bounds() const { return {row_least, row_most}; }
    Bounds column_bounds() const { return {column_least, column_most}; }
    // Whether no line must keep anything, so that an optimal mask keeps no negative score that is not forced.
    bool may_keep_nothing() const { return row_least == 0 && column_least == 0; }
    // Whether to compute, and hand out prices, in float64: where float32 does not hold the entries exactly,
    // or sums of scores could leave its range. masksolve.problem.MaskProblem.double says the same.
    bool in_double() const {
        return !fits_float(dtype) || (score == Score::square ? largest * largest : largest) > 0x1p96;
    }
    bool forced() const { return keep.data != nullptr || drop.data != nullptr; }
    std::ptrdiff_t down() const { return scores.strides[grid_axes()]; }
    std::ptrdiff_t across() const { return scores.strides[grid_axes() + 1]; }
    std::ptrdiff_t mask_down() const { return mask.strides[grid_axes()]; }
    std::ptrdiff_t mask_across() const { return mask.strides[grid_axes() + 1]; }
    // The largest magnitude of an entry that is fit. Half precision's infinities are read as numbers from
    // 65536 on (see convert_f16), and sums of squares must stay in float64's range.
    double limit() const {
        const double most = dtype == Dtype::f16 ? std::fmin(largest, 65504.0) : largest;
        return score == Score::square ? std::fmin(most, 1e150) : most;
    }
    // Largest violation of optimality, relative to a tile's scale, with which the tile counts as proven.
    double tolerance() const { return in_double() ? 1e-12 : 1e-6; }
};

// A price of an earlier solve, wherever it lies.
inline double read_price(const char* from, bool is_double) {
    double wide;
    float narrow;
    if (is_double) std::memcpy(&wide, from, sizeof wide);
    else std::memcpy(&narrow, from, sizeof narrow);
    return is_double ? wide : narrow;
}

struct Outcome {
    double objective = 0, bound = 0;
    double largest = 0;                         // largest magnitude that was read
    std::int64_t augmentations = 0, steps = 0;  // steps: nodes taken up by shortest-path searches
    std::int64_t refined = 0, exactly = 0;      // tiles solved again in float64, and in integers
    std::int64_t open = 0;                      // tiles that are not proven optimal
    std::int64_t unfilled = 0;                  // heuristics: entries that the rule left short
    // The largest relative violation among the tiles that were looked at one by one, which all open ones are.
    std::ptrdiff_t worst_tile = -1;
    double worst_gap = 0;
    Status status = Status::done;
    std::ptrdiff_t tile = 0;  // the offending tile and its line, if infeasible
    Axis axis = Axis::row;
    int index = 0;
};

}  // namespace masksolve
