// One tile of any shape, bounds and forced entries: min-cost flow by shortest augmenting paths, over any
// numbers.
//
// The network: hub -> row i -> column j -> hub. An entry is an arc of capacity 1 and profit s_ij; row i and
// column j carry between `least` and `most` units from and to the hub. Prices u, v are the rows' and columns'
// potentials, the hub's is 0. The flow starts as the prices say (an entry flows if its reduced score s - u -
// v is positive, a line is full if its price is positive), which is optimal but may leave nodes with more
// inflow than outflow; each shortest path takes one unit from such a node to one that lacks it (Ahuja,
// Magnanti, Orlin, Network Flows, 1993, section 9.7).
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <limits>

#include "arrays/job.hpp"

namespace masksolve {

constexpr int longest_side = 64;

// A tile, its prices and its mask; Number is double or an integer.
template <typename Number>
struct FlowTile {
    int height, width;
    Bounds rows, columns;
    Number scores[longest_side][longest_side];
    Number u[longest_side], v[longest_side];
    std::uint64_t kept[longest_side];  // bit j of kept[i]: entry (i, j) is kept
    std::uint64_t keep[longest_side], drop[longest_side];

    bool is_kept(int i, int j) const { return kept[i] >> j & 1; }
    bool is_forced(int i, int j) const { return (keep[i] | drop[i]) >> j & 1; }
    Number reduced(int i, int j) const { return scores[i][j] - u[i] - v[j]; }
};

template <typename Number>
Number infinite() {
    if constexpr (std::numeric_limits<Number>::has_infinity) return std::numeric_limits<Number>::infinity();
    else return Number::infinity();
}

template <typename Number>
class FlowSolver {
public:
    std::int64_t augmentations = 0, steps = 0;
    Axis bad_axis = Axis::row;  // the line that cannot be satisfied, if there is no mask
    int bad_index = 0;

    explicit FlowSolver(FlowTile<Number>& tile)
        : tile_(tile), height_(tile.height), width_(tile.width), rows_(tile.rows), columns_(tile.columns) {}

    // Prices by coordinate descent on the dual: each line in turn takes a price that is best while the others
    // stand still. Entries without a choice play no part.
    void descend(int rounds) {
        for (int round = 0; round < rounds; ++round) {
            for (int j = 0; j < width_; ++j)
                tile_.v[j] = best_price(
                    height_, columns_, tile_.v[j], [&](int i) { return tile_.scores[i][j] - tile_.u[i]; },
                    [&](int i) { return state(i, j); });
            for (int i = 0; i < height_; ++i)
                tile_.u[i] = best_price(
                    width_, rows_, tile_.u[i], [&](int j) { return tile_.scores[i][j] - tile_.v[j]; },
                    [&](int j) { return state(i, j); });
        }
    }

    // Optimal mask and prices from the prices at hand. False: there is no mask, see bad_axis and bad_index.
    bool solve() {
        if (forced_beyond_bounds()) return false;
        begin();
        for (int source = next_surplus(0); source >= 0; source = next_surplus(source))
            if (!augment()) return blame(source);
        return true;
    }

private:
    // Nodes are numbered rows, then columns, then the hub.
    static constexpr int most_nodes = 2 * longest_side + 1;
    enum class State { free, kept, dropped };

    FlowTile<Number>& tile_;
    int height_, width_;
    Bounds rows_, columns_;
    int row_flow_[longest_side], column_flow_[longest_side];  // between the hub and the line
    int surplus_[most_nodes];
    Number distance_[most_nodes], open_[most_nodes];  // open: infinite once settled
    int parent_[most_nodes];

    int hub() const { return height_ + width_; }
    int nodes() const { return height_ + width_ + 1; }
    static int count(std::uint64_t bits) { return __builtin_popcountll(bits); }
    static Number positive(const Number& x) { return x > Number{} ? x : Number{}; }
    static Number magnitude(const Number& x) { return x < Number{} ? -x : x; }

    State state(int i, int j) const {
        if (tile_.keep[i] >> j & 1) return State::kept;
        return tile_.drop[i] >> j & 1 ? State::dropped : State::free;
    }

    // The derivative of the dual along a line's price falls from `most` (or `least`, below 0) minus the
    // number of entries above it, so the best prices lie between two order statistics.
    template <typename Value, typename StateOf>
    static Number best_price(int length, Bounds bounds, const Number& fallback, Value value,
                             StateOf state_of) {
        Number line[longest_side];
        int free = 0, forced = 0;
        for (int k = 0; k < length; ++k) {
            if (state_of(k) == State::free) line[free++] = value(k);
            forced += state_of(k) == State::kept;
        }
        const int most = std::max(bounds.most - forced, 0), least = std::max(bounds.least - forced, 0);
        const bool has_low = most < free, has_high = least > 0 && least <= free;
        const auto largest_first = std::greater<Number>();
        Number low{}, high{};
        if (has_low) {
            std::nth_element(line, line + most, line + free, largest_first);
            low = line[most];
        }
        if (has_high && has_low && least == most) {
            high = *std::min_element(line, line + most);
        } else if (has_high) {
            std::nth_element(line, line + least - 1, line + free, largest_first);
            high = line[least - 1];
        }
        if (bounds.least < bounds.most) {
            Number price = has_low ? positive(low) : Number{};
            return has_high && high < price ? high : price;
        }
        if (has_low && has_high) return between(low, high);
        return has_low ? low : has_high ? high : fallback;
    }

    // The middle leaves room on both sides. Where one of the two is of another order of magnitude, such as a
    // very negative score for an entry that is not wanted, rounding would drown the other in it.
    static Number between(const Number& low, const Number& high) {
        const Number far_low = magnitude(low), far_high = magnitude(high);
        if constexpr (std::is_floating_point_v<Number>) {
            constexpr Number comparable = 1024;
            if (far_low <= comparable * far_high && far_high <= comparable * far_low)
                return low + (high - low) / 2;
        }
        return far_low < far_high ? low : high;
    }

    bool forced_beyond_bounds() {
        for (int i = 0; i < height_; ++i)
            if (count(tile_.keep[i]) > rows_.most || width_ - count(tile_.drop[i]) < rows_.least)
                return !blame_line(Axis::row, i);
        for (int j = 0; j < width_; ++j) {
            int kept_here = 0, dropped_here = 0;
            for (int i = 0; i < height_; ++i) {
                kept_here += state(i, j) == State::kept;
                dropped_here += state(i, j) == State::dropped;
            }
            if (kept_here > columns_.most || height_ - dropped_here < columns_.least)
                return !blame_line(Axis::column, j);
        }
        return false;
    }

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
        return source < height_ ? blame_line(Axis::row, source) : blame_line(Axis::column, source - height_);
    }

    static int line_flow(const Number& price, int here, Bounds bounds) {
        if (price > Number{}) return bounds.most;
        if (price < Number{}) return bounds.least;
        return std::clamp(here, bounds.least, bounds.most);
    }

    // The flow that the prices call for; where an entry's reduced score is 0 the present choice stands.
    void begin() {
        int in_column[longest_side] = {};
        surplus_[hub()] = 0;
        for (int i = 0; i < height_; ++i) {
            std::uint64_t& kept = tile_.kept[i];
            std::uint64_t above = 0, zero = 0;
            for (int j = 0; j < width_; ++j) {
                const Number gain = tile_.reduced(i, j);
                above |= std::uint64_t{gain > Number{}} << j;
                zero |= std::uint64_t{gain == Number{}} << j;
            }
            kept = ((above | (zero & kept)) | tile_.keep[i]) & ~tile_.drop[i];
            for (std::uint64_t bits = kept; bits; bits &= bits - 1) ++in_column[__builtin_ctzll(bits)];
            row_flow_[i] = line_flow(tile_.u[i], count(kept), rows_);
            zero &= ~(kept | tile_.keep[i] | tile_.drop[i]);
            if (zero) fill_ties(i, zero, in_column);
        }
        for (int i = 0; i < height_; ++i) {
            const int here = count(tile_.kept[i]);
            row_flow_[i] = line_flow(tile_.u[i], here, rows_);
            surplus_[i] = row_flow_[i] - here;
            surplus_[hub()] -= row_flow_[i];
        }
        for (int j = 0; j < width_; ++j) {
            column_flow_[j] = line_flow(tile_.v[j], in_column[j], columns_);
            surplus_[height_ + j] = in_column[j] - column_flow_[j];
            surplus_[hub()] += column_flow_[j];
        }
    }

    // Entries whose reduced score is 0 may flow or not: use them to bring the row to its due, in the columns
    // that hold least so far.
    void fill_ties(int i, std::uint64_t tied, int* in_column) {
        for (int missing = row_flow_[i] - count(tile_.kept[i]); missing > 0 && tied; --missing) {
            int best = __builtin_ctzll(tied);
            for (std::uint64_t rest = tied & (tied - 1); rest; rest &= rest - 1)
                if (in_column[__builtin_ctzll(rest)] < in_column[best]) best = __builtin_ctzll(rest);
            tied &= ~(std::uint64_t{1} << best);
            tile_.kept[i] |= std::uint64_t{1} << best;
            ++in_column[best];
        }
    }

    int next_surplus(int from) const {
        for (int node = from; node < nodes(); ++node)
            if (surplus_[node] > 0) return node;
        return -1;
    }

    // Dijkstra from every node with a surplus to the nearest one with a deficit. Costs are reduced, so not
    // negative but for rounding, which is cut off.
    bool augment() {
        for (int node = 0; node < nodes(); ++node) {
            distance_[node] = open_[node] = surplus_[node] > 0 ? Number{} : infinite<Number>();
            parent_[node] = -1;
        }
        for (;;) {
            const int near = static_cast<int>(std::min_element(open_, open_ + nodes()) - open_);
            if (open_[near] == infinite<Number>()) return false;
            ++steps;
            if (surplus_[near] < 0) {
                reprice(distance_[near]);
                push(near);
                return true;
            }
            open_[near] = infinite<Number>();
            if (near < height_) leave_row(near);
            else if (near < hub()) leave_column(near - height_);
            else leave_hub();
        }
    }

    // Over arcs that can carry one more unit, at reduced cost `cost`. A settled node's distance is at most
    // that of `from`, so it never improves.
    void relax(int from, int to, const Number& cost) {
        const Number through = distance_[from] + positive(cost);
        if (through < distance_[to]) {
            distance_[to] = open_[to] = through;
            parent_[to] = from;
        }
    }
    void leave_row(int i) {
        const std::uint64_t full = tile_.kept[i] | tile_.keep[i] | tile_.drop[i];
        for (int j = 0; j < width_; ++j)
            if (!(full >> j & 1)) relax(i, height_ + j, -tile_.reduced(i, j));
        if (row_flow_[i] > rows_.least) relax(i, hub(), tile_.u[i]);
    }
    void leave_column(int j) {
        for (int i = 0; i < height_; ++i)
            if (tile_.is_kept(i, j) && !tile_.is_forced(i, j)) relax(height_ + j, i, tile_.reduced(i, j));
        if (column_flow_[j] < columns_.most) relax(height_ + j, hub(), -tile_.v[j]);
    }
    void leave_hub() {
        for (int i = 0; i < height_; ++i)
            if (row_flow_[i] < rows_.most) relax(hub(), i, -tile_.u[i]);
        for (int j = 0; j < width_; ++j)
            if (column_flow_[j] > columns_.least) relax(hub(), height_ + j, tile_.v[j]);
    }

    // Keeps every reduced cost non-negative and makes the shortest path's zero.
    void reprice(const Number& length) {
        auto fall = [&](int node) { return positive(length - distance_[node]); };
        const Number base = fall(hub());
        for (int i = 0; i < height_; ++i) tile_.u[i] += base - fall(i);
        for (int j = 0; j < width_; ++j) tile_.v[j] += fall(height_ + j) - base;
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
            tile_.kept[i] ^= std::uint64_t{1} << j;
        }
    }
};

}  // namespace masksolve
