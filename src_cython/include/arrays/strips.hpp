// Strips: runs of tiles beside each other along the grid's last axis, so that each array advances by one
// step.
#pragma once

#include <algorithm>
#include <cstdlib>

#include "arrays/job.hpp"
#include "arrays/scan.hpp"

namespace masksolve {

// A tile by its place along each axis of the grid. Going on from strip to strip needs no division.
class GridPlace {
public:
    GridPlace(const Job& job, std::ptrdiff_t tile) : axes_(job.grid_axes()), shape_(job.scores.shape) {
        for (int axis = axes_ - 1; axis >= 0; --axis, tile /= shape_[axis + 1])
            along_[axis] = tile % shape_[axis];
    }

    // Tiles from here to the end of the last axis.
    std::ptrdiff_t left() const { return shape_[axes_ - 1] - along_[axes_ - 1]; }

    // Goes on by up to as many tiles as are left.
    void advance(std::ptrdiff_t count) {
        int axis = axes_ - 1;
        along_[axis] += count;
        for (; axis > 0 && along_[axis] == shape_[axis]; --axis) {
            along_[axis] = 0;
            ++along_[axis - 1];
        }
    }

    char* in(const Strided& array) const {
        char* place = array.data;
        for (int axis = 0; axis < axes_; ++axis) place += along_[axis] * array.strides[axis];
        return place;
    }

private:
    int axes_;
    const std::ptrdiff_t* shape_;
    std::ptrdiff_t along_[max_axes];
};

// One array along a strip of tiles: where the first tile lies and how far apart they are.
struct Lane {
    char* place = nullptr;
    std::ptrdiff_t step = 0;

    Lane() = default;
    Lane(const Strided& array, const GridPlace& first, int axes) {
        if (array.data == nullptr) return;
        place = first.in(array);
        step = array.strides[axes - 1];
    }
    char* operator[](std::ptrdiff_t k) const { return place == nullptr ? nullptr : place + k * step; }
};

// A segment is what is staged, solved and certified at a time: its scores, mask and prices stay in the
// first-level cache. Sums over tiles are grouped by segments, so that they do not depend on how the tiles lie
// in memory.
constexpr int most_segment_tiles = 256, segment_entries = 2048, largest_tile = 64 * 64;

inline int segment_tiles(const Job& job) {
    return std::clamp(segment_entries / job.entries(), 1, most_segment_tiles);
}

// A strip is long enough for whole segments, and no longer than stays in the second-level cache between the
// first look at its scores and their solution.
constexpr int strip_entries = 1 << 15;

struct Strip {
    std::ptrdiff_t first, count;
    Lane ahead;  // the next strip's scores
    Lane scores, mask, rows, columns, start_rows, start_columns, tile_objective, tile_bound;
};

// Asks for what lies `count` tiles from the k-th on in the next strip while this strip is worked on. Called
// often, for a few cache lines at a time: the processor waits where too many are on their way. (A plain
// function without results is dropped by GCC 12.)
inline __attribute__((always_inline)) void fetch_ahead(const Job& job, const Strip& strip, std::ptrdiff_t k,
                                                       int count) {
    constexpr std::ptrdiff_t cache_line = 64, near = 8;
    if (strip.ahead.place == nullptr) return;
    const bool in_rows = std::abs(job.across()) <= near;
    if (!in_rows && !(job.height == 1 && std::abs(strip.ahead.step) <= near)) return;
    const int runs = in_rows ? job.height : job.width;
    const std::ptrdiff_t apart = in_rows ? job.down() : job.across(),
                         bytes = count * std::abs(strip.ahead.step);
    const char* first = strip.ahead[k];
    for (int i = 0; i < runs; ++i)
        for (std::ptrdiff_t b = 0; b < bytes; b += cache_line) __builtin_prefetch(first + i * apart + b);
}

// Calls work(strip) for all tiles of the job, until the outcome's status is no longer `done`.
template <typename Work>
void for_each_strip(const Job& job, const Outcome& outcome, Work work) {
    if (job.first >= job.last) return;  // an empty grid has no places
    const int axes = job.grid_axes();
    std::ptrdiff_t tiles = 1;
    for (int axis = 0; axis < axes; ++axis) tiles *= job.scores.shape[axis];
    const std::ptrdiff_t fit = std::max(1, strip_entries / job.entries()), segment = segment_tiles(job);
    const std::ptrdiff_t most = std::max(fit / segment, std::ptrdiff_t{1}) * segment;
    GridPlace place(job, job.first);
    for (std::ptrdiff_t tile = job.first; tile < job.last && outcome.status == Status::done;) {
        const std::ptrdiff_t count = std::min({place.left(), job.last - tile, most});
        auto lane = [&](const Strided& array) { return Lane(array, place, axes); };
        Strip strip{tile,
                    count,
                    Lane(),
                    lane(job.scores),
                    lane(job.mask),
                    lane(job.rows),
                    lane(job.columns),
                    lane(job.start_rows),
                    lane(job.start_columns),
                    lane(job.tile_objective),
                    lane(job.tile_bound)};
        tile += count;
        place.advance(count);
        if (tile < tiles) strip.ahead = lane(job.scores);
        work(strip);
    }
}

}  // namespace masksolve
