// One tile of any shape, bounds and forced entries: min-cost flow by shortest augmenting paths.
//
// The network: hub -> row i -> column j -> hub. An entry is an arc of capacity 1 and profit s_ij; row i
// and column j carry between `least` and `most` units from and to the hub. Prices u, v are the rows' and
// columns' potentials, the hub's is 0. The flow starts as the prices say (an entry flows if its reduced
// profit s - u - v is positive, a line is full if its price is positive), which is optimal but may
// leave nodes with more inflow than outflow; each shortest path takes one unit from such a node to
// one that lacks it (Ahuja, Magnanti, Orlin, Network Flows, 1993, section 9.7). Everything is float64.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <limits>

#include "job.hpp"

namespace masksolve {
namespace MASKSOLVE_ISA {

struct Bounds {
    int least, most;
};

class Flow {
public:
    static constexpr int longest = 64;
    static constexpr double infinity = std::numeric_limits<double>::infinity();

    double scores[longest][longest];
    double u[longest] = {}, v[longest] = {};
    std::uint64_t kept[longest];    // bit j of kept[i]: entry (i, j) flows
    std::uint64_t keep[longest], drop[longest];
    std::int64_t augmentations = 0, steps = 0;
    Axis bad_axis = Axis::row;
    int bad_index = 0;

    Flow(int height, int width, Bounds row_bounds, Bounds column_bounds)
        : height_(height), width_(width), rows_(row_bounds), columns_(column_bounds) {
        for (int i = 0; i < height; ++i) kept[i] = keep[i] = drop[i] = 0;
    }

    // Prices by coordinate descent on the dual: each line in turn takes the price that is best while
    // the others stand still.
    void descend(int rounds) {
        double line[longest];
        for (int round = 0; round < rounds; ++round) {
            for (int j = 0; j < width_; ++j) {
                for (int i = 0; i < height_; ++i) line[i] = forced_score(i, j) - u[i];
                v[j] = best_price(line, height_, columns_, v[j]);
            }
            for (int i = 0; i < height_; ++i) {
                for (int j = 0; j < width_; ++j) line[j] = forced_score(i, j) - v[j];
                u[i] = best_price(line, width_, rows_, u[i]);
            }
        }
    }

    // Optimal mask and prices from the prices at hand. False: infeasible, see bad_axis and bad_index.
    bool solve() {
        if (forced_beyond_bounds()) return false;
        begin();
        for (int source = next_surplus(0); source >= 0; source = next_surplus(source))
            if (!augment()) return blame(source);
        return true;
    }

private:
    // Nodes are numbered rows, then columns, then the hub.
    static constexpr int most_nodes = 2 * longest + 1;

    int height_, width_;
    Bounds rows_, columns_;
    int row_flow_[longest], column_flow_[longest];  // between the hub and the line
    int surplus_[most_nodes];
    double distance_[most_nodes], open_[most_nodes];  // open: infinite once settled
    int parent_[most_nodes];

    int hub() const { return height_ + width_; }
    int nodes() const { return height_ + width_ + 1; }
    bool is_kept(int i, int j) const { return kept[i] >> j & 1; }
    bool is_forced(int i, int j) const { return (keep[i] | drop[i]) >> j & 1; }
    double profit(int i, int j) const { return scores[i][j] - u[i] - v[j]; }

    double forced_score(int i, int j) const {
        if (keep[i] >> j & 1) return infinity;
        if (drop[i] >> j & 1) return -infinity;
        return scores[i][j];
    }

    // The derivative of the dual along a line's price falls from `most` (or `least`, below 0) minus the
    // number of entries above it, so the minimum lies between two order statistics.
    static double best_price(double* line, int length, Bounds bounds, double fallback) {
        double low = -infinity, high = infinity;
        if (bounds.most < length) {
            std::nth_element(line, line + bounds.most, line + length, std::greater<double>());
            low = line[bounds.most];
        }
        if (bounds.least > 0) {
            const int place = bounds.least - 1;
            std::nth_element(line, line + place, line + length, std::greater<double>());
            high = line[place];
        }
        if (bounds.least < bounds.most) return std::min(std::max(0.0, low), high);
        if (low == -infinity) low = high;
        if (high == infinity) high = low;
        const double middle = low + 0.5 * (high - low);
        return middle - middle == 0 ? middle : fallback;
    }

    bool forced_beyond_bounds() {
        for (int i = 0; i < height_; ++i)
            if (count(keep[i]) > rows_.most || width_ - count(drop[i]) < rows_.least)
                return !blame_line(Axis::row, i);
        for (int j = 0; j < width_; ++j) {
            int kept_here = 0, dropped_here = 0;
            for (int i = 0; i < height_; ++i) {
                kept_here += keep[i] >> j & 1;
                dropped_here += drop[i] >> j & 1;
            }
            if (kept_here > columns_.most || height_ - dropped_here < columns_.least)
                return !blame_line(Axis::column, j);
        }
        return false;
    }

    static int count(std::uint64_t bits) { return __builtin_popcountll(bits); }

    bool blame_line(Axis axis, int index) {
        bad_axis = axis;
        bad_index = index;
        return false;
    }

    // A surplus that reaches no deficit: name its line, or a lacking one if it is the hub's.
    bool blame(int source) {
        if (source == hub())
            for (int node = 0; node < hub(); ++node)
                if (surplus_[node] < 0) source = node;
        return source < height_ ? blame_line(Axis::row, source)
                                : blame_line(Axis::column, source - height_);
    }

    static int line_flow(double price, int here, Bounds bounds) {
        if (price > 0) return bounds.most;
        if (price < 0) return bounds.least;
        return std::min(std::max(here, bounds.least), bounds.most);
    }

    // The flow that the prices call for; where an entry's profit is 0 the present choice stands.
    void begin() {
        int in_column[longest] = {};
        surplus_[hub()] = 0;
        for (int i = 0; i < height_; ++i) {
            std::uint64_t positive = 0, zero = 0;
            for (int j = 0; j < width_; ++j) {
                const double gain = profit(i, j);
                positive |= std::uint64_t{gain > 0} << j;
                zero |= std::uint64_t{gain == 0} << j;
            }
            kept[i] = ((positive | (zero & kept[i])) | keep[i]) & ~drop[i];
            for (std::uint64_t bits = kept[i]; bits; bits &= bits - 1) ++in_column[__builtin_ctzll(bits)];
            row_flow_[i] = line_flow(u[i], count(kept[i]), rows_);
            zero &= ~(kept[i] | keep[i] | drop[i]);
            if (zero) fill_ties(i, zero, in_column);
        }
        for (int i = 0; i < height_; ++i) {
            const int here = count(kept[i]);
            row_flow_[i] = line_flow(u[i], here, rows_);
            surplus_[i] = row_flow_[i] - here;
            surplus_[hub()] -= row_flow_[i];
        }
        for (int j = 0; j < width_; ++j) {
            column_flow_[j] = line_flow(v[j], in_column[j], columns_);
            surplus_[height_ + j] = in_column[j] - column_flow_[j];
            surplus_[hub()] += column_flow_[j];
        }
    }

    // Entries of profit 0 may flow or not: use them to bring the row to its due, in the columns that
    // hold least so far.
    void fill_ties(int i, std::uint64_t tied, int* in_column) {
        for (int missing = row_flow_[i] - count(kept[i]); missing > 0 && tied; --missing) {
            int best = __builtin_ctzll(tied);
            for (std::uint64_t rest = tied & (tied - 1); rest; rest &= rest - 1)
                if (in_column[__builtin_ctzll(rest)] < in_column[best]) best = __builtin_ctzll(rest);
            tied &= ~(std::uint64_t{1} << best);
            kept[i] |= std::uint64_t{1} << best;
            ++in_column[best];
        }
    }

    int next_surplus(int from) const {
        for (int node = from; node < nodes(); ++node)
            if (surplus_[node] > 0) return node;
        return -1;
    }

    // Dijkstra from every node with a surplus to the nearest one with a deficit. Costs are reduced, so
    // not negative but for rounding, which is cut off.
    bool augment() {
        for (int node = 0; node < nodes(); ++node) {
            distance_[node] = open_[node] = surplus_[node] > 0 ? 0 : infinity;
            parent_[node] = -1;
        }
        for (;;) {
            const int near = static_cast<int>(std::min_element(open_, open_ + nodes()) - open_);
            if (open_[near] == infinity) return false;
            ++steps;
            if (surplus_[near] < 0) {
                reprice(distance_[near]);
                push(near);
                return true;
            }
            open_[near] = infinity;
            if (near < height_) leave_row(near);
            else if (near < hub()) leave_column(near - height_);
            else leave_hub();
        }
    }

    // Over arcs that can carry one more unit, at reduced cost `cost`. A settled node's distance is
    // at most that of `from`, so it never improves.
    void relax(int from, int to, double cost) {
        const double through = distance_[from] + std::max(cost, 0.0);
        if (through < distance_[to]) {
            distance_[to] = open_[to] = through;
            parent_[to] = from;
        }
    }
    void leave_row(int i) {
        const std::uint64_t full = kept[i] | keep[i] | drop[i];
        for (int j = 0; j < width_; ++j)
            if (!(full >> j & 1)) relax(i, height_ + j, -profit(i, j));
        if (row_flow_[i] > rows_.least) relax(i, hub(), u[i]);
    }
    void leave_column(int j) {
        for (int i = 0; i < height_; ++i)
            if (is_kept(i, j) && !is_forced(i, j)) relax(height_ + j, i, profit(i, j));
        if (column_flow_[j] < columns_.most) relax(height_ + j, hub(), -v[j]);
    }
    void leave_hub() {
        for (int i = 0; i < height_; ++i)
            if (row_flow_[i] < rows_.most) relax(hub(), i, -u[i]);
        for (int j = 0; j < width_; ++j)
            if (column_flow_[j] > columns_.least) relax(hub(), height_ + j, v[j]);
    }

    // Keeps every reduced cost non-negative and makes the shortest path's zero.
    void reprice(double length) {
        auto fall = [&](int node) { return std::max(0.0, length - distance_[node]); };
        const double base = fall(hub());
        for (int i = 0; i < height_; ++i) u[i] += base - fall(i);
        for (int j = 0; j < width_; ++j) v[j] += fall(height_ + j) - base;
    }

    void push(int end) {
        ++augmentations;
        ++surplus_[end];
        int node = end;
        for (; parent_[node] >= 0; node = parent_[node]) move(parent_[node], node);
        --surplus_[node];
    }

    void move(int a, int b) {
        if (a == hub()) {
            if (b < height_) ++row_flow_[b];
            else --column_flow_[b - height_];
        } else if (b == hub()) {
            if (a < height_) --row_flow_[a];
            else ++column_flow_[a - height_];
        } else {
            const int i = std::min(a, b), j = std::max(a, b) - height_;
            kept[i] ^= std::uint64_t{1} << j;
        }
    }
};

}  // namespace MASKSOLVE_ISA
}  // namespace masksolve
