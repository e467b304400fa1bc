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
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

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
    bool exact;     // two entries in each row, or at most two
    long most;      // sets of four that may be evaluated in a tile of more than 16 columns
    uint8_t* mask;  // tiles by rows by columns
    double* objective;
    double* bound;
    long evaluated;  // sets of four, in all tiles
};

class ColumnChooser {
public:
    explicit ColumnChooser(const ColumnTiles& job)
        : rows(job.rows),
          count(job.columns),
          padded((job.rows + lanes - 1) / lanes * lanes),
          exact(job.exact),
          most(job.columns > always_proven ? job.most : std::numeric_limits<long>::max()),
          x(size_t(padded) * count),
          high(padded),
          low(padded),
          single(count),
          triple(size_t(count) * count * count) {}

    void solve(const double* scores, uint8_t* mask, double& objective, double& bound, long& evaluated) {
        load(scores);
        if (count <= 4) {
            for (int k = 0; k < 4; ++k) chosen[k] = std::min(k, count - 1);
            best = upper = narrow_value();
        } else {
            search(evaluated);
        }
        write(scores, mask);
        objective = best;
        bound = std::max(best, upper) + 2 * slack;
    }

private:
    static constexpr int lanes = 8, always_proven = 16;
    static constexpr double half_ulp = 1.1102230246251565e-16, proven = 1e-12;

    struct Candidate {
        double bound;
        int16_t i, j, k;
    };

    int rows, count, padded;
    bool exact;
    long most;
    std::vector<double> x;  // column by column, filled up with rows of zeros
    std::vector<double> high, low;
    std::vector<double> single, triple;
    std::vector<Candidate> queue;
    int chosen[4];
    double best, upper, slack, largest;

    const double* column(int k) const { return &x[size_t(k) * padded]; }
    double& at(int i, int j, int k) { return triple[(size_t(i) * count + j) * count + k]; }

    static double sum(const double* part) {
        return ((part[0] + part[1]) + (part[2] + part[3])) + ((part[4] + part[5]) + (part[6] + part[7]));
    }

    // Copies the columns, in at_most without what is not worth keeping, and bounds the rounding of any g.
    void load(const double* scores) {
        for (int k = 0; k < count; ++k) {
            double* to = &x[size_t(k) * padded];
            double part[lanes] = {};
            for (int r = 0; r < rows; ++r) {
                const double value = scores[size_t(r) * count + k];
                to[r] = exact || value > 0 ? value : 0.0;
            }
            std::fill(to + rows, to + padded, 0.0);
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
        slack = 4 * (padded / lanes + 8) * half_ulp * largest;
    }

    // With no more than four columns there is nothing to choose.
    double narrow_value() {
        double part[lanes] = {};
        for (int r = 0; r < rows; ++r) {
            double first = -std::numeric_limits<double>::infinity(), second = first;
            for (int k = 0; k < count; ++k) {
                const double value = column(k)[r];
                second = std::max(second, std::min(first, value));
                first = std::max(first, value);
            }
            part[r % lanes] += count > 1 ? first + second : first;
        }
        return sum(part);
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

    // The same with the sum of the magnitudes of what is kept, which rounding is relative to.
    double size_with(int k) const {
        const double* c = column(k);
        double size = 0;
        for (int r = 0; r < padded; ++r)
            size += std::fabs(std::max(high[r], c[r])) + std::fabs(std::max(low[r], std::min(high[r], c[r])));
        return size;
    }

    void offer(double value, int i, int j, int k, int l) {
        if (!(value > best)) return;
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

    void search(long& evaluated) {
        best = -std::numeric_limits<double>::infinity();
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
        if (slack_is_coarse()) return try_all(evaluated);
        fill_queue();
        long left = most;
        for (const Candidate& next : queue) {
            if (next.bound <= best + slack) break;
            if (left <= 0) {
                upper = next.bound;  // the largest of those that are left
                break;
            }
            three(next.i, next.j, next.k);
            for (int l = next.k + 1; l < count; ++l) {
                if (bound_of(next.i, next.j, next.k, l) <= best + slack) continue;
                offer(with(l), next.i, next.j, next.k, l);
                ++evaluated, --left;
            }
        }
        // The first set may have kept a huge negative score, beside which the slack looked small.
        if (slack_is_coarse()) try_all(evaluated);
    }

    // Scores of very different magnitudes make `slack` meaningless: each set has its own rounding then.
    bool slack_is_coarse() const { return 2 * slack > proven * std::fabs(best) && count <= always_proven; }

    // Sets of four by their three first columns, in the order of the best bound among them.
    void fill_queue() {
        queue.clear();
        for (int i = 0; i < count; ++i)
            for (int j = i + 1; j < count; ++j)
                for (int k = j + 1; k < count; ++k) {
                    double most_here = -std::numeric_limits<double>::infinity();
                    for (int l = k + 1; l < count; ++l) most_here = std::max(most_here, bound_of(i, j, k, l));
                    if (most_here > best + slack)
                        queue.push_back({most_here, int16_t(i), int16_t(j), int16_t(k)});
                }
        std::sort(queue.begin(), queue.end(),
                  [](const Candidate& a, const Candidate& b) { return a.bound > b.bound; });
    }

    void try_all(long& evaluated) {
        const double rounding = 4 * (padded + 8) * half_ulp;
        upper = best = -std::numeric_limits<double>::infinity();
        for (int i = 0; i < count; ++i)
            for (int j = i + 1; j < count; ++j)
                for (int k = j + 1; k < count; ++k) {
                    three(i, j, k);
                    for (int l = k + 1; l < count; ++l) {
                        const double value = with(l);
                        offer(value, i, j, k, l);
                        upper = std::max(upper, value + rounding * size_with(l));
                        ++evaluated;
                    }
                }
        slack = 0;
    }

    // The two largest of the chosen columns in each row; of equal ones the leftmost.
    void write(const double* scores, uint8_t* mask) const {
        int order[4];
        std::copy(chosen, chosen + 4, order);
        std::sort(order, order + 4);
        std::fill(mask, mask + size_t(rows) * count, uint8_t(0));
        for (int r = 0; r < rows; ++r) {
            const double* row = scores + size_t(r) * count;
            uint8_t* kept = mask + size_t(r) * count;
            for (int turn = 0; turn < 2; ++turn) {
                int top = -1;
                for (int k : order)
                    if (!kept[k] && (top < 0 || row[k] > row[top])) top = k;
                if (top >= 0 && (exact || row[top] > 0)) kept[top] = 1;
            }
        }
    }
};

COLUMNS_CLONES
inline void choose_columns(ColumnTiles& job) {
    ColumnChooser chooser(job);
    const size_t entries = size_t(job.rows) * job.columns;
    for (ptrdiff_t tile = 0; tile < job.tiles; ++tile)
        chooser.solve(job.scores + tile * entries, job.mask + tile * entries, job.objective[tile],
                      job.bound[tile], job.evaluated);
}

}  // namespace masksolve
