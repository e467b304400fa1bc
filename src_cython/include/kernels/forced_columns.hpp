// Forced choices of a V:N:M tile, row by row as bits, and the sets of four columns that they leave.
#pragma once

#include <algorithm>
#include <bitset>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

// For functions whose time does not matter: versions of their callers for several processors would each hold
// copies of them.
#define COLUMNS_ONCE __attribute__((noinline))

namespace masksolve {

class ForcedColumns {
public:
    ForcedColumns(int rows, int count, bool exact)
        : rows(rows), count(count), exact(exact), dropped(rows), kept(rows) {}

    // Reads rows by columns of flags, or null; false if a row has no choice, or four columns are too few.
    COLUMNS_ONCE bool read(const uint8_t* keep, const uint8_t* drop) {
        needed = 0;
        has_dropped = drop != nullptr;
        for (int r = 0; r < rows; ++r) {
            const size_t first = size_t(r) * count;
            kept[r] = keep == nullptr ? 0 : bits_of_row(keep + first);
            dropped[r] = drop == nullptr ? 0 : bits_of_row(drop + first);
            needed |= kept[r];
            if (kept_in(r) > 2) return false;
        }
        return size_of(needed) <= 4 && list_choices();
    }

    // Whether any entry is forced or a wall.
    bool any() const { return needed != 0 || has_dropped; }

    int kept_in(int r) const { return kept[r] == 0 ? 0 : size_of(kept[r]); }
    uint64_t kept_of(int r) const { return kept[r]; }
    uint64_t dropped_of(int r) const { return dropped[r]; }

    // Whether a set of four has a column for every entry to keep.
    bool needed_are_in(int i, int j, int k, int l) const { return !(needed & ~bits_of(i, j, k, l)); }

    // Whether it also has two for every row.
    bool serve(int i, int j, int k, int l) const {
        const uint64_t set = bits_of(i, j, k, l);
        if (needed & ~set) return false;
        for (const uint64_t choice : choices)
            if (!has_two(choice & set)) return false;
        return true;
    }

    // A mask that keeps a score as low as -1e20, a *wall*, is worth less than every mask that keeps none.
    // This is the highest score that outweighs all that is above it, with room to spare; -infinity if none
    // does.
    COLUMNS_ONCE double highest_wall(const double* scores) const {
        std::vector<double> free;
        for (int r = 0; r < rows; ++r)
            for (int k = 0; k < count; ++k)
                if (is_free(r, k)) free.push_back(scores[size_t(r) * count + k]);
        std::sort(free.begin(), free.end());
        for (size_t above = free.size(); above-- > 1;) {
            const double wall = free[above - 1];
            if (wall < 0 && -wall >= 8.0 * rows * std::max(std::fabs(free[above]), std::fabs(free.back())))
                return wall;
        }
        return -std::numeric_limits<double>::infinity();
    }

    // Drops all that is as low as a wall; false, and nothing, if that leaves a row no choice.
    COLUMNS_ONCE bool drop_walls(const double* scores, double wall) {
        before = dropped;
        has_dropped = true;
        for (int r = 0; r < rows; ++r)
            for (int k = 0; k < count; ++k)
                if (is_free(r, k) && scores[size_t(r) * count + k] <= wall) dropped[r] |= uint64_t(1) << k;
        if (list_choices()) return true;
        restore_walls();
        return false;
    }

    void restore_walls() {
        dropped = before;
        list_choices();
    }

private:
    int rows, count;
    bool exact;
    std::vector<uint64_t> dropped, kept;  // columns of the forced entries of each row
    std::vector<uint64_t> before;         // `dropped` without walls
    std::vector<uint64_t> choices;        // different sets of columns of which some row needs two
    bool has_dropped = false;
    uint64_t needed = 0;  // columns of all entries that must be kept

    static int size_of(uint64_t bits) { return int(std::bitset<64>(bits).count()); }
    static bool has_two(uint64_t bits) { return (bits & (bits - 1)) != 0; }
    static uint64_t bits_of(int i, int j, int k, int l) {
        return uint64_t(1) << i | uint64_t(1) << j | uint64_t(1) << k | uint64_t(1) << l;
    }

    uint64_t bits_of_row(const uint8_t* row) const {
        uint64_t bits = 0;
        for (int k = 0; k < count; ++k) bits |= uint64_t(row[k] != 0) << k;
        return bits;
    }

    bool is_free(int r, int k) const { return !((kept[r] | dropped[r]) >> k & 1) && kept_in(r) < 2; }

    COLUMNS_ONCE bool list_choices() {
        choices.clear();
        if (!exact) return true;
        const uint64_t all = ~uint64_t(0) >> (64 - count);
        for (int r = 0; r < rows; ++r) {
            if (!dropped[r]) continue;
            choices.push_back(all & ~dropped[r]);
            if (!has_two(choices.back())) return false;
        }
        std::sort(choices.begin(), choices.end());
        choices.erase(std::unique(choices.begin(), choices.end()), choices.end());
        return true;
    }
};

}  // namespace masksolve
