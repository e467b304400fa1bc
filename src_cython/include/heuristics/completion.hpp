// A tile's mask as bits, and the completion of a mask that keeps too few entries somewhere.
#pragma once

#include <cstdint>

#include "arrays/job.hpp"
#include "heuristics/ranking.hpp"

namespace masksolve {

// All rows, or all columns, of a tile: what each keeps, as bits and as a number.
struct Lines {
    int size;
    Bounds bounds;
    std::uint64_t bits[largest_side];
    int kept[largest_side];
};

struct TileMask {
    Lines rows;
    Lines columns;

    TileMask(int height, int width, Bounds row_bounds, Bounds column_bounds) {
        rows.size = height;
        rows.bounds = row_bounds;
        columns.size = width;
        columns.bounds = column_bounds;
    }
};

inline std::uint64_t lowest_bits(int count) { return ~std::uint64_t{0} >> (64 - count); }

// Make every line keep all of the `across` entries it has, or none.
inline void reset(Lines& lines, int across, bool kept) {
    for (int line = 0; line < lines.size; ++line) {
        lines.bits[line] = kept ? lowest_bits(across) : 0;
        lines.kept[line] = kept ? across : 0;
    }
}

inline void set_entry(Lines& lines, int line, int other, bool kept) {
    const std::uint64_t bit = std::uint64_t{1} << other;
    lines.bits[line] = kept ? lines.bits[line] | bit : lines.bits[line] & ~bit;
    lines.kept[line] += kept ? 1 : -1;
}

inline void keep(TileMask& mask, int row, int column) {
    set_entry(mask.rows, row, column, true);
    set_entry(mask.columns, column, row, true);
}

inline void drop(TileMask& mask, int row, int column) {
    set_entry(mask.rows, row, column, false);
    set_entry(mask.columns, column, row, false);
}

// Breadth-first search over alternating paths: from lines of one side that keep too few, along a
// dropped entry to the other side, along a kept entry back, and so on. Among paths of equal length
// into a line the one with the greatest gain (added minus dropped scores) is remembered.
template <typename T>
struct Search {
    Lines& near;
    Lines& far;
    const T* scores;
    int near_stride, far_stride;
    double near_gain[largest_side], far_gain[largest_side];
    int near_parent[largest_side], far_parent[largest_side];

    double score(int line, int other) const {
        return static_cast<double>(scores[line * near_stride + other * far_stride]);
    }

    // Lines of one side reached for the first time from `frontier` of the other.
    template <typename Reach>
    static std::uint64_t step(std::uint64_t frontier, std::uint64_t unseen, Reach reach) {
        std::uint64_t reached = 0;
        for (; frontier; frontier &= frontier - 1) {
            const int from = __builtin_ctzll(frontier);
            for (std::uint64_t open = reach.entries(from) & unseen; open; open &= open - 1) {
                const int to = __builtin_ctzll(open);
                reach.relax(from, to, (reached >> to & 1) == 0);
                reached |= std::uint64_t{1} << to;
            }
        }
        return reached;
    }

    struct Add {
        Search& s;
        std::uint64_t entries(int line) const { return ~s.near.bits[line]; }
        void relax(int line, int other, bool first) const {
            const double gain = s.near_gain[line] + s.score(line, other);
            if (!first && gain <= s.far_gain[other]) return;
            s.far_gain[other] = gain;
            s.far_parent[other] = line;
        }
    };

    struct Drop {
        Search& s;
        std::uint64_t entries(int other) const { return s.far.bits[other]; }
        void relax(int other, int line, bool first) const {
            const double gain = s.far_gain[other] - s.score(line, other);
            if (!first && gain <= s.near_gain[line]) return;
            s.near_gain[line] = gain;
            s.near_parent[line] = other;
        }
    };

    // The line of `candidates` with the greatest gain that `accepts` takes; -1 if there is none.
    template <typename Accepts>
    static int best(std::uint64_t candidates, const double* gain, Accepts accepts) {
        int found = -1;
        for (; candidates; candidates &= candidates - 1) {
            const int line = __builtin_ctzll(candidates);
            if (accepts(line) && (found < 0 || gain[line] > gain[found])) found = line;
        }
        return found;
    }

    void flip(int line, int other, bool kept) {
        set_entry(near, line, other, kept);
        set_entry(far, other, line, kept);
    }

    // Exchange dropped and kept entries along the path that ends with an addition to `other`.
    void apply_to(int other) {
        for (;;) {
            const int line = far_parent[other];
            flip(line, other, true);
            if (near_parent[line] < 0) return;
            other = near_parent[line];
            flip(line, other, false);
        }
    }

    // Let some line that keeps too few gain one entry; false if the bounds admit no such mask.
    bool augment(std::uint64_t starving) {
        std::uint64_t unseen_near = lowest_bits(near.size) & ~starving;
        std::uint64_t unseen_far = lowest_bits(far.size);
        for (std::uint64_t bits = starving; bits; bits &= bits - 1) {
            near_gain[__builtin_ctzll(bits)] = 0;
            near_parent[__builtin_ctzll(bits)] = -1;
        }
        for (std::uint64_t frontier = starving; frontier;) {
            const std::uint64_t reached = step(frontier, unseen_far, Add{*this});
            unseen_far &= ~reached;
            const int room =
                best(reached, far_gain, [&](int other) { return far.kept[other] < far.bounds.most; });
            if (room >= 0) {
                apply_to(room);
                return true;
            }
            frontier = step(reached, unseen_near, Drop{*this});
            unseen_near &= ~frontier;
            const int rich =
                best(frontier, near_gain, [&](int line) { return near.kept[line] > near.bounds.least; });
            if (rich >= 0) {
                const int other = near_parent[rich];
                flip(rich, other, false);
                apply_to(other);
                return true;
            }
        }
        return false;
    }
};

// Fill the lines of `near` up to their least number; other lines stay within their bounds.
template <typename T>
bool complete_lines(Lines& near, Lines& far, const T* scores, int near_stride, int far_stride) {
    for (;;) {
        std::uint64_t starving = 0;
        for (int line = 0; line < near.size; ++line)
            starving |= static_cast<std::uint64_t>(near.kept[line] < near.bounds.least) << line;
        if (!starving) return true;
        Search<T> search{near, far, scores, near_stride, far_stride, {}, {}, {}, {}};
        if (!search.augment(starving)) return false;
    }
}

// Keep dropped entries, in the order of `next(0)`, `next(1)`, ..., where a line keeps too few and
// neither its row nor its column is full.
template <typename Next>
void add_directly(TileMask& mask, Next next) {
    Lines &rows = mask.rows, &columns = mask.columns;
    for (int rank = 0; rank < rows.size * columns.size; ++rank) {
        const int row = next(rank).row(), column = next(rank).column();
        const bool needed = rows.kept[row] < rows.bounds.least || columns.kept[column] < columns.bounds.least;
        const bool room = rows.kept[row] < rows.bounds.most && columns.kept[column] < columns.bounds.most;
        if (needed && room && !(rows.bits[row] >> column & 1)) keep(mask, row, column);
    }
}

inline bool complete(const Lines& lines) {
    for (int line = 0; line < lines.size; ++line)
        if (lines.kept[line] < lines.bounds.least) return false;
    return true;
}

// Fill lines that keep too few: first directly, heaviest entry first (the ranking backwards if it is
// lightest first), then along alternating paths, one entry at a time: rows before columns, the path
// with the fewest changes, of these the one with the greatest gain, of these the one to the lowest
// index. Each path gives one line in need one entry and takes none that another line needs, so there
// are as many paths as missing entries; a path exists whenever some mask meets the bounds. Returns
// false if none does. No line may keep more than its most.
template <typename T>
bool complete(TileMask& mask, const Entry<T>* ranking, bool heaviest_first, const T* scores) {
    if (complete(mask.rows) && complete(mask.columns)) return true;
    const int last = mask.rows.size * mask.columns.size - 1, width = mask.columns.size;
    add_directly(mask, [&](int rank) { return ranking[heaviest_first ? rank : last - rank]; });
    return complete_lines(mask.rows, mask.columns, scores, width, 1) &&
           complete_lines(mask.columns, mask.rows, scores, 1, width);
}

}  // namespace masksolve
