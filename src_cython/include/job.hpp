// What the Python side asks of the engine: a run of tiles, their constraints, where answers go.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "scan.hpp"
#include "strided.hpp"

namespace masksolve {

enum class Status : int { done, infeasible, unfit };  // unfit: a score that is not finite, or too large
enum class Axis : int { row, column };

struct Job {
    Strided scores, mask;               // (*grid, height, width)
    Strided keep, drop;                 // the same, or absent
    Strided rows, columns;              // prices out, (*grid, height) and (*grid, width), or absent
    Strided start_rows, start_columns;  // prices of an earlier solve, or absent
    Dtype dtype{};
    bool start_is_double = false;
    bool upright = false;               // neighbours in the grid are groups of different lines
    int height = 0, width = 0;
    int row_least = 0, row_most = 0, column_least = 0, column_most = 0;
    double largest = 0;                 // larger magnitudes, and NaN, are refused
    std::ptrdiff_t first = 0, last = 0;

    int grid_axes() const { return scores.ndim - 2; }
    // Whether to compute, and hand out prices, in float64; masksolve.tiles.price_dtype says the same.
    bool in_double() const { return !fits_float(dtype) || largest > 0x1p96; }
    bool forced() const { return keep.data != nullptr || drop.data != nullptr; }
    std::ptrdiff_t down() const { return scores.strides[grid_axes()]; }
    std::ptrdiff_t across() const { return scores.strides[grid_axes() + 1]; }
    std::ptrdiff_t mask_down() const { return mask.strides[grid_axes()]; }
    std::ptrdiff_t mask_across() const { return mask.strides[grid_axes() + 1]; }
};

// Whether the scores are stored as T, side by side, so that they can be read as vectors.
template <typename T>
bool stored_as(const Job& job) {
    return job.dtype == (sizeof(T) == 4 ? Dtype::f32 : Dtype::f64);
}

struct Outcome {
    double objective = 0, bound = 0;
    double largest = 0;                         // largest magnitude that was read
    std::int64_t augmentations = 0, steps = 0;  // steps: nodes taken up by shortest-path searches
    Status status = Status::done;
    std::ptrdiff_t tile = 0;                    // the offending line, if infeasible
    Axis axis = Axis::row;
    int index = 0;
};

// One array along a strip of tiles: where the first tile lies and how far apart they are.
struct Lane {
    char* place = nullptr;
    std::ptrdiff_t step = 0;

    Lane() = default;
    Lane(const Strided& array, std::ptrdiff_t tile, int axes) {
        if (array.data == nullptr) return;
        place = array.tile(tile, axes);
        step = array.strides[axes - 1];
    }
    char* operator[](std::ptrdiff_t k) const { return place == nullptr ? nullptr : place + k * step; }
};

// A strip is long enough for whole segments of every kernel, and no longer than stays in the cache between the first
// look at its scores and their solution.
constexpr int segment_tiles = 256, strip_entries = 1 << 15;

// Tiles beside each other along the grid's last axis, so that each array advances by one step.
struct Strip {
    std::ptrdiff_t first, count;
    Lane ahead;  // the next strip's scores
    Lane scores, mask, keep, drop, rows, columns, start_rows, start_columns;
};

// Reads the strip once, which brings it into the cache; false if a score is unfit.
template <typename Bits>
bool scores_fit(const Job& job, const Strip& strip, Bits limit, Bits& largest) {
    const std::ptrdiff_t entry = sizeof(Bits), step = strip.scores.step, across = job.across();
    if (across == entry && step == job.width * entry) {
        const std::ptrdiff_t shape[] = {job.height, strip.count * job.width}, strides[] = {job.down(), entry};
        largest = largest_bits<Bits>(strip.scores.place, 2, shape, strides);
    } else if (step == entry) {
        const std::ptrdiff_t shape[] = {job.height, job.width, strip.count}, strides[] = {job.down(), across, step};
        largest = largest_bits<Bits>(strip.scores.place, 3, shape, strides);
    } else if (job.height == 1 || step == job.height * job.down()) {
        const std::ptrdiff_t shape[] = {strip.count * job.height, job.width}, strides[] = {step / job.height, across};
        largest = largest_bits<Bits>(strip.scores.place, 2, shape, strides);
    } else {
        const std::ptrdiff_t shape[] = {strip.count, job.height, job.width}, strides[] = {step, job.down(), across};
        largest = largest_bits<Bits>(strip.scores.place, 3, shape, strides);
    }
    return largest <= limit;
}

inline bool scores_fit(const Job& job, const Strip& strip, double& largest) {
    switch (job.dtype) {
        case Dtype::f32: {
            const float limit = static_cast<float>(job.largest);
            std::uint32_t limit_bits, bits;
            std::memcpy(&limit_bits, &limit, sizeof limit);
            const bool fit = scores_fit(job, strip, limit_bits, bits);
            float value;
            std::memcpy(&value, &bits, sizeof value);
            largest = value;
            return fit;
        }
        case Dtype::f64: {
            std::uint64_t limit_bits, bits;
            std::memcpy(&limit_bits, &job.largest, sizeof limit_bits);
            const bool fit = scores_fit(job, strip, limit_bits, bits);
            std::memcpy(&largest, &bits, sizeof bits);
            return fit;
        }
        case Dtype::f16: {
            std::uint16_t bits;
            const bool fit = scores_fit<std::uint16_t>(job, strip, 0x7bff, bits);
            largest = from_f16(bits);
            return fit;
        }
        case Dtype::bf16: {
            const float limit = static_cast<float>(job.largest);
            std::uint32_t limit_bits;
            std::memcpy(&limit_bits, &limit, sizeof limit);
            std::uint16_t bits;
            const bool fit = scores_fit(job, strip, static_cast<std::uint16_t>(limit_bits >> 16), bits);
            largest = from_bf16(bits);
            return fit;
        }
        default:  // integers, whose magnitudes are known
            largest = job.largest;
            return true;
    }
}

// Has what lies `count` tiles from the k-th on in the next strip fetched from memory while this strip is worked on.
// Called often, for a few lines at a time: the processor waits where too many are on their way. (A plain function
// without results is dropped by GCC 12.)
inline __attribute__((always_inline)) void fetch_ahead(const Job& job, const Strip& strip, std::ptrdiff_t k, int count) {
    constexpr std::ptrdiff_t cache_line = 64, near = 8;
    if (strip.ahead.place == nullptr) return;
    const bool lying = std::abs(job.across()) <= near;
    if (!lying && !(job.height == 1 && std::abs(strip.ahead.step) <= near)) return;
    const int runs = lying ? job.height : job.width;
    const std::ptrdiff_t apart = lying ? job.down() : job.across(), bytes = count * std::abs(strip.ahead.step);
    const char* first = strip.ahead[k];
    for (int i = 0; i < runs; ++i)
        for (std::ptrdiff_t b = 0; b < bytes; b += cache_line) __builtin_prefetch(first + i * apart + b);
}

template <typename F>
void for_each_strip(const Job& job, Outcome& outcome, F work) {
    const int axes = job.grid_axes();
    const std::ptrdiff_t length = job.scores.shape[axes - 1];
    std::ptrdiff_t tiles = 1;
    for (int axis = 0; axis < axes; ++axis) tiles *= job.scores.shape[axis];
    const std::ptrdiff_t fit = std::max(1, strip_entries / (job.height * job.width));
    const std::ptrdiff_t most = fit > segment_tiles ? fit / segment_tiles * segment_tiles : fit;
    for (std::ptrdiff_t tile = job.first; tile < job.last && outcome.status == Status::done;) {
        const std::ptrdiff_t count = std::min({length - tile % length, job.last - tile, most});
        auto lane = [&](const Strided& array) { return Lane(array, tile, axes); };
        const Lane ahead = tile + count < tiles ? Lane(job.scores, tile + count, axes) : Lane();
        const Strip strip{tile, count, ahead, lane(job.scores), lane(job.mask), lane(job.keep), lane(job.drop), lane(job.rows),
                          lane(job.columns), lane(job.start_rows), lane(job.start_columns)};
        double largest = 0;
        if (!scores_fit(job, strip, largest)) {
            outcome.status = Status::unfit;
            return;
        }
        outcome.largest = std::max(outcome.largest, largest);
        work(strip);
        tile += count;
    }
}

}  // namespace masksolve
