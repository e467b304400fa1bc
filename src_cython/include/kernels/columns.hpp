// V:N:M tiles (VENOM, Castro et al., SC 2023): four columns for all rows of a tile, and two entries of them
// in each row.
//
// Let g(S) be the sum over the rows of the two largest entries within the columns S. For two columns it is
// the sum of both, and it is submodular above that (for each row it is the rank function of a uniform
// matroid, weighted): what a column adds to a set is never more than what it adds to a part of the set. So
//
//     g({a, b, c, d}) <= g({a, b, c}) + g({a, b, d}) - g({a, b})
//
// for each of the six ways to name the pair. All triples are evaluated, which gives every set of four its
// bound; then sets are evaluated from the best bound down, until no bound is above the best value found.
//
// Forced choices become other scores, so that the bounds stay as they are. A kept entry is raised to the
// largest of its row, which takes one of the two places and adds a constant; its column must be among the
// four. A dropped entry is lowered to the least of its row that may be kept, so that it takes a place only in
// sets that leave the row too few others, and these sets are left out.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <vector>

#include "kernels/forced_columns.hpp"

// Versions for several processors need indirect functions, which glibc has.
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__)
#define COLUMNS_CLONES __attribute__((target_clones("avx512f", "avx2", "default"), flatten))
#else
#define COLUMNS_CLONES
#endif

namespace masksolve {

// What is known of the tiles of a run; arrays have one entry for each tile.
struct ColumnTiles {
    const double* scores;  // tiles by rows by columns
    ptrdiff_t tiles;
    int rows, columns;
    bool exact;           // two entries in each row, or at most two
    long most;            // sets of four that may be evaluated in a tile of more than 16 columns
    const uint8_t* keep;  // forced choices, tiles by rows by columns, or null
    const uint8_t* drop;
    uint8_t* mask;      // tiles by rows by columns
    uint8_t* feasible;  // whether the forced choices leave a mask; what else is written is void if not
    double* objective;
    double* bound;
    long evaluated;  // sets of four, in all tiles
};

class ColumnChooser {
public:
    struct Tile {
        const double* scores;
        const uint8_t* keep;  // or null, as in ColumnTiles
        const uint8_t* drop;
    };

    ColumnChooser(const ColumnTiles& job, ForcedColumns& forced)
        : rows(job.rows),
          count(job.columns),
          padded((job.rows + lanes - 1) / lanes * lanes),
          exact(job.exact),
          most(job.columns > always_proven ? job.most : std::numeric_limits<long>::max()),
          x(size_t(padded) * count),
          high(padded),
          low(padded),
          single(count),
          triple(size_t(count) * count * count),
          forced(forced) {}

    // Solves a tile; false if the forced choices leave no mask.
    bool solve(const Tile& tile, uint8_t* mask, double& objective, double& bound, long& evaluated) {
        if (!forced.read(tile.keep, tile.drop)) return false;
        load(tile.scores);
        if (count <= 4) {  // nothing to choose
            for (int k = 0; k < 4; ++k) chosen[k] = std::min(k, count - 1);
            best = upper = slack = 0;
        } else if (!choose(tile.scores, evaluated)) {
            return false;
        }
        const double size = write(tile.scores, mask, objective);
        bound = objective + std::max(0.0, upper - best) + 2 * (slack + rounding() * size);
        return true;
    }

private:
    static constexpr int lanes = 8, always_proven = 16;
    static constexpr double half_ulp = 1.1102230246251565e-16, proven = 1e-12;
    static constexpr double infinity = std::numeric_limits<double>::infinity();

    struct Candidate {
        double bound;
        int16_t i, j, k;
    };
    enum class Walls { as_given, dropped, needed };

    int rows, count, padded;
    bool exact;
    long most;
    std::vector<double> x;  // column by column, filled up with rows of zeros
    std::vector<double> high, low;
    std::vector<double> single, triple;
    std::vector<Candidate> queue;
    ForcedColumns& forced;  // an object of its own, so that calls of it leave this one's members in registers
    int chosen[4];
    double best, upper, slack, largest;

    // What a sum over the rows can be off by, relative to the sum of the magnitudes.
    double rounding() const { return (padded / lanes + 8) * half_ulp; }

    const double* column(int k) const { return &x[size_t(k) * padded]; }
    double& at(int i, int j, int k) { return triple[(size_t(i) * count + j) * count + k]; }

    static double sum(const double* part) {
        return ((part[0] + part[1]) + (part[2] + part[3])) + ((part[4] + part[5]) + (part[6] + part[7]));
    }

    // Copies the columns, in at_most without what is not worth keeping, and bounds the rounding of any g.
    void load(const double* scores) {
        for (int k = 0; k < count; ++k) {
            double* to = &x[size_t(k) * padded];
            for (int r = 0; r < rows; ++r) {
                const double value = scores[size_t(r) * count + k];
                to[r] = exact || value > 0 ? value : 0.0;
            }
            std::fill(to + rows, to + padded, 0.0);
        }
        for (int r = 0; r < rows; ++r)
            if (forced.kept_of(r) | forced.dropped_of(r)) force(r);
        for (int k = 0; k < count; ++k) {
            const double* to = column(k);
            double part[lanes] = {};
            for (int r = 0; r < padded; r += lanes)
                for (int lane = 0; lane < lanes; ++lane) part[lane] += to[r + lane];
            single[k] = sum(part);
        }
        largest = 0;
        for (int r = 0; r < rows; ++r) {
            double most_here = 0;
            for (int k = 0; k < count; ++k) most_here = std::max(most_here, std::fabs(column(k)[r]));
            largest += 2 * most_here;
        }
        slack = 4 * rounding() * largest;
    }

    // Puts scores in the place of forced entries; where two are kept, a row has nothing to choose.
    void force(int r) {
        const uint64_t kept = forced.kept_of(r), dropped = forced.dropped_of(r);
        double least = infinity, largest_here = -infinity;
        for (int k = 0; k < count; ++k) {
            if (dropped >> k & 1) continue;
            least = std::min(least, column(k)[r]);
            largest_here = std::max(largest_here, column(k)[r]);
        }
        if (!exact || least == infinity) least = 0;
        for (int k = 0; k < count; ++k) {
            double& entry = x[size_t(k) * padded + r];
            if (forced.kept_in(r) > 1) entry = 0;
            else if (kept >> k & 1) entry = largest_here;
            else if (dropped >> k & 1) entry = least;
        }
    }

    void pair(int i, int j) {
        const double *a = column(i), *b = column(j);
        for (int r = 0; r < padded; ++r) {
            high[r] = std::max(a[r], b[r]);
            low[r] = std::min(a[r], b[r]);
        }
    }

    void three(int i, int j, int k) {
        pair(i, j);
        const double* c = column(k);
        for (int r = 0; r < padded; ++r) {
            low[r] = std::max(low[r], std::min(high[r], c[r]));
            high[r] = std::max(high[r], c[r]);
        }
    }

    // g of the columns behind `high` and `low`, and one more.
    double with(int k) const {
        const double *c = column(k), *h = high.data(), *l = low.data();
        double part[lanes] = {};
        for (int r = 0; r < padded; r += lanes)
            for (int lane = 0; lane < lanes; ++lane) {
                const double value = c[r + lane], top = h[r + lane];
                part[lane] += std::max(top, value) + std::max(l[r + lane], std::min(top, value));
            }
        return sum(part);
    }

    // What the rows gain within a set of four beside the entries that must be kept, and the magnitudes of
    // that.
    double gain(int i, int j, int k, int l, double& size) const {
        double part[lanes] = {};
        size = 0;
        for (int r = 0; r < rows; ++r) {
            const uint64_t taken = forced.kept_of(r) | forced.dropped_of(r);
            double first = -infinity, second = -infinity;
            for (const int c : {i, j, k, l}) {
                if (taken >> c & 1) continue;
                const double value = column(c)[r];
                second = std::max(second, std::min(first, value));
                first = std::max(first, value);
            }
            const int places = 2 - forced.kept_in(r);
            const double one = places > 0 && first > -infinity ? first : 0.0;
            const double other = places > 1 && second > -infinity ? second : 0.0;
            part[r % lanes] += one + other;
            size += std::fabs(one) + std::fabs(other);
        }
        return sum(part);
    }

    void offer(double value, int i, int j, int k, int l) {
        if (!(value > best) || !forced.serve(i, j, k, l)) return;
        best = value;
        chosen[0] = i, chosen[1] = j, chosen[2] = k, chosen[3] = l;
    }

    // The least of the six bounds on a set of four.
    double bound_of(int i, int j, int k, int l) {
        const double a = at(i, j, k), b = at(i, j, l), c = at(i, k, l), d = at(j, k, l);
        const double first =
            std::min(std::min(a + b - (single[i] + single[j]), a + c - (single[i] + single[k])),
                     a + d - (single[j] + single[k]));
        const double second =
            std::min(std::min(b + c - (single[i] + single[l]), b + d - (single[j] + single[l])),
                     c + d - (single[k] + single[l]));
        return std::min(first, second);
    }

    // Finds the best set, or what `most` allows; false if there is none.
    bool choose(const double* scores, long& evaluated) {
        Walls walls = Walls::as_given;
        do search(evaluated);
        while (exact && moves_walls(scores, walls));
        if (sets() <= most && slack_is_coarse(scores)) try_all(evaluated);
        return best > -infinity;
    }

    // Scores of walls (see ForcedColumns) are dropped, so that what is left has magnitudes that can be added
    // up, unless every mask keeps one. True if that changes what the next search finds.
    bool moves_walls(const double* scores, Walls& walls) {
        if (walls == Walls::dropped && best == -infinity) {
            walls = Walls::needed;
            forced.restore_walls();
        } else {
            if (walls != Walls::as_given || !slack_is_coarse(scores)) return false;
            const double wall = forced.highest_wall(scores);
            if (wall == -infinity || !forced.drop_walls(scores, wall)) return false;
            walls = Walls::dropped;
        }
        load(scores);
        return true;
    }

    long sets() const { return long(count) * (count - 1) / 2 * (count - 2) / 3 * (count - 3) / 4; }

    void search(long& evaluated) {
        best = -infinity;
        int first[3] = {0, 1, 2};
        for (int i = 0; i < count; ++i)
            for (int j = i + 1; j < count; ++j) {
                pair(i, j);
                for (int k = j + 1; k < count; ++k) {
                    const double value = at(i, j, k) = with(k);
                    if (value > at(first[0], first[1], first[2])) first[0] = i, first[1] = j, first[2] = k;
                }
            }
        three(first[0], first[1], first[2]);
        for (int k = 0; k < count; ++k) {
            if (k == first[0] || k == first[1] || k == first[2]) continue;
            offer(with(k), first[0], first[1], first[2], k);
            ++evaluated;
        }
        upper = best;
        fill_queue();
        long left = most;
        for (const Candidate& next : queue) {
            if (next.bound <= best + slack) break;
            if (left <= 0 && best > -infinity) {
                upper = next.bound;  // the largest of those that are left
                break;
            }
            three(next.i, next.j, next.k);
            for (int l = next.k + 1; l < count; ++l) {
                if (bound_of(next.i, next.j, next.k, l) <= best + slack) continue;
                if (!forced.serve(next.i, next.j, next.k, l)) continue;
                offer(with(l), next.i, next.j, next.k, l);
                ++evaluated, --left;
            }
        }
    }

    // Whether rounding, by the largest scores of all, hides more than what is kept allows.
    bool slack_is_coarse(const double* scores) const {
        if (best == -infinity) return false;
        if (!forced.any() && 2 * slack <= proven * std::fabs(best)) return false;  // no less is kept
        double size = 0;
        for (int r = 0; r < rows; ++r) {
            const double* row = scores + size_t(r) * count;
            const uint64_t taken = best_of(r, row);
            for (const int k : chosen)
                if (taken >> k & 1) size += std::fabs(row[k]);
        }
        return 2 * slack > proven * size;
    }

    // Sets of four by their three first columns, in the order of the best bound among them.
    void fill_queue() {
        queue.clear();
        for (int i = 0; i < count; ++i)
            for (int j = i + 1; j < count; ++j)
                for (int k = j + 1; k < count; ++k) {
                    double most_here = -infinity;
                    for (int l = k + 1; l < count; ++l)
                        if (forced.needed_are_in(i, j, k, l))
                            most_here = std::max(most_here, bound_of(i, j, k, l));
                    if (most_here > best + slack)
                        queue.push_back({most_here, int16_t(i), int16_t(j), int16_t(k)});
                }
        sort(queue.data(), queue.data() + queue.size());
    }

    COLUMNS_ONCE static void sort(Candidate* first, Candidate* last) {
        std::sort(first, last, [](const Candidate& a, const Candidate& b) { return a.bound > b.bound; });
    }

    // Evaluates each set with its own rounding, where magnitudes are very different.
    void try_all(long& evaluated) {
        const double error = 4 * rounding();
        double size = 0, size_of_best = 0;
        upper = best = -infinity;
        for (int i = 0; i < count; ++i)
            for (int j = i + 1; j < count; ++j)
                for (int k = j + 1; k < count; ++k)
                    for (int l = k + 1; l < count; ++l) {
                        if (!forced.serve(i, j, k, l)) continue;
                        const double value = gain(i, j, k, l, size);
                        if (value > best) size_of_best = size;
                        offer(value, i, j, k, l);
                        upper = std::max(upper, value + error * size);
                        ++evaluated;
                    }
        slack = error * size_of_best / 2;
    }

    // The two largest of the chosen columns in a row, of equal ones the leftmost, beside what is forced.
    uint64_t best_of(int r, const double* row) const {
        uint64_t taken = forced.kept_of(r);
        for (int turn = forced.kept_in(r); turn < 2; ++turn) {
            int top = -1;
            for (const int k : chosen) {
                if ((taken | forced.dropped_of(r)) >> k & 1) continue;
                if (top < 0 || row[k] > row[top] || (row[k] == row[top] && k < top)) top = k;
            }
            if (top >= 0 && (exact || row[top] > 0)) taken |= uint64_t(1) << top;
        }
        return taken;
    }

    // Writes the mask and what it is worth; returns the sum of the magnitudes.
    double write(const double* scores, uint8_t* mask, double& objective) const {
        double worth[lanes] = {}, size[lanes] = {};
        std::fill(mask, mask + size_t(rows) * count, uint8_t(0));
        for (int r = 0; r < rows; ++r) {
            const double* row = scores + size_t(r) * count;
            uint64_t left = best_of(r, row);
            for (const int k : chosen) {
                if (!(left >> k & 1)) continue;
                left &= ~(uint64_t(1) << k);
                mask[size_t(r) * count + k] = 1;
                worth[r % lanes] += row[k];
                size[r % lanes] += std::fabs(row[k]);
            }
        }
        objective = sum(worth);
        return sum(size);
    }
};

COLUMNS_CLONES
inline void choose_columns(ColumnTiles& job) {
    ForcedColumns forced(job.rows, job.columns, job.exact);
    ColumnChooser chooser(job, forced);
    const size_t entries = size_t(job.rows) * job.columns;
    for (ptrdiff_t tile = 0; tile < job.tiles; ++tile)
        job.feasible[tile] = chooser.solve(
            {job.scores + tile * entries, job.keep == nullptr ? nullptr : job.keep + tile * entries,
             job.drop == nullptr ? nullptr : job.drop + tile * entries},
            job.mask + tile * entries, job.objective[tile], job.bound[tile], job.evaluated);
}

}  // namespace masksolve
