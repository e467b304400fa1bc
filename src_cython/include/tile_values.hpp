// Values of tiles in which one channel is exchanged, for the search for channel permutations.
//
// Hold all channels of a tile but one. What the tile can keep then depends on the free channel x only
// through the set S of entries that x keeps:  max over S of  held(S) + x(S).  `held_table` computes held(S)
// for every S by longest augmenting paths; `max_plus` combines tables of many groups with many channels.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

// Versions for several processors need indirect functions, which glibc has.
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__)
#define TILE_VALUES_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#define TILE_VALUES_FLAT __attribute__((target_clones("avx2", "default"), flatten))
#else
#define TILE_VALUES_CLONES
#define TILE_VALUES_FLAT
#endif

namespace masksolve {

// sums[g, c] += sum over b of max over k of held[b, g, k] + freed[b, k, c].
//
// The inner loop runs over channels, so that compilers turn it into vector instructions. A strip of channels
// of a few tiles is packed, since columns a power of two apart share few places of the first-level cache, and
// tried with all groups, a pair at a time, so that every value loaded serves two of them. Sums are float32:
// the caller keeps runs of tiles short and adds them up in float64.
struct MaxPlus {
    static constexpr int lanes = 64;
    static constexpr ptrdiff_t packed = 96;  // rows of a strip that the first-level cache holds

    const float* held;
    const float* freed;
    float* sums;
    ptrdiff_t groups, entries, channels;

    template <int Groups>
    inline __attribute__((always_inline)) void add(const float* table, const float* strip, ptrdiff_t tiles,
                                                   float* into, ptrdiff_t width) const {
        float total[Groups][lanes] = {};
        for (ptrdiff_t tile = 0; tile < tiles; ++tile, strip += entries * lanes, table += groups * entries) {
            float best[Groups][lanes];
            for (int g = 0; g < Groups; ++g)
                for (int lane = 0; lane < lanes; ++lane) best[g][lane] = table[g * entries] + strip[lane];
            for (ptrdiff_t entry = 1; entry < entries; ++entry)
                for (int g = 0; g < Groups; ++g) {
                    const float value = table[g * entries + entry];
                    for (int lane = 0; lane < lanes; ++lane) {
                        const float candidate = value + strip[entry * lanes + lane];
                        best[g][lane] = candidate > best[g][lane] ? candidate : best[g][lane];
                    }
                }
            for (int g = 0; g < Groups; ++g)
                for (int lane = 0; lane < lanes; ++lane) total[g][lane] += best[g][lane];
        }
        for (int g = 0; g < Groups; ++g)
            for (ptrdiff_t lane = 0; lane < width; ++lane) into[g * channels + lane] += total[g][lane];
    }

    inline __attribute__((always_inline)) void run(ptrdiff_t tiles) const {
        const ptrdiff_t together = std::max<ptrdiff_t>(1, packed / entries);
        std::vector<float> strip(static_cast<size_t>(together * entries * lanes));
        for (ptrdiff_t tile = 0; tile < tiles; tile += together) {
            const ptrdiff_t count = std::min(together, tiles - tile);
            for (ptrdiff_t at = 0; at < channels; at += lanes) {
                const ptrdiff_t width = std::min<ptrdiff_t>(lanes, channels - at);
                for (ptrdiff_t row = 0; row < count * entries; ++row)
                    std::copy_n(freed + (tile * entries + row) * channels + at, width,
                                &strip[size_t(row * lanes)]);
                ptrdiff_t group = 0;
                for (; group + 2 <= groups; group += 2)
                    add<2>(held + (tile * groups + group) * entries, strip.data(), count,
                           sums + group * channels + at, width);
                if (group < groups)
                    add<1>(held + (tile * groups + group) * entries, strip.data(), count,
                           sums + group * channels + at, width);
            }
        }
    }
};

TILE_VALUES_CLONES
inline void max_plus(const float* held, const float* freed, float* sums, ptrdiff_t tiles, ptrdiff_t groups,
                     ptrdiff_t entries, ptrdiff_t channels) {
    MaxPlus{held, freed, sums, groups, entries, channels}.run(tiles);
}

// The same for small tiles by a list of masks: mask i keeps the sets `masks[i][1..m-1]` of the held channels
// and leaves the set `masks[i][0]` to the free one. `lanes` tiles are computed together.
TILE_VALUES_CLONES
inline void listed_table(const float* weights, ptrdiff_t tiles, int m, const uint8_t* sets, int count,
                         const int32_t* masks, ptrdiff_t listed, float* values) {
    constexpr int lanes = 16;
    std::vector<float> sums(static_cast<size_t>((m - 1) * count * lanes));
    std::vector<float> best(static_cast<size_t>(count * lanes));
    for (ptrdiff_t tile = 0; tile < tiles; tile += lanes) {
        const int filled = int(std::min<ptrdiff_t>(lanes, tiles - tile));
        std::fill(sums.begin(), sums.end(), 0.0f);
        for (int q = 0; q < m - 1; ++q)
            for (int r = 0; r < m; ++r) {
                float entry[lanes] = {};
                for (int lane = 0; lane < filled; ++lane)
                    entry[lane] = weights[((tile + lane) * (m - 1) + q) * m + r];
                for (int k = 0; k < count; ++k) {
                    if (!(sets[k] >> r & 1)) continue;
                    float* sum = &sums[size_t((q * count + k) * lanes)];
                    for (int lane = 0; lane < lanes; ++lane) sum[lane] += entry[lane];
                }
            }
        std::fill(best.begin(), best.end(), -std::numeric_limits<float>::infinity());
        for (ptrdiff_t i = 0; i < listed; ++i) {
            const int32_t* mask = masks + i * m;
            float total[lanes] = {};
            for (int q = 0; q < m - 1; ++q) {
                const float* sum = &sums[size_t((q * count + mask[q + 1]) * lanes)];
                for (int lane = 0; lane < lanes; ++lane) total[lane] += sum[lane];
            }
            float* here = &best[size_t(mask[0] * lanes)];
            for (int lane = 0; lane < lanes; ++lane)
                here[lane] = total[lane] > here[lane] ? total[lane] : here[lane];
        }
        for (int lane = 0; lane < filled; ++lane)
            for (int k = 0; k < count; ++k)
                values[(tile + lane) * count + k] = best[size_t(k * lanes + lane)];
    }
}

// A tile's held channels: `weights[q][r]` is entry r of held channel q; `kept[q]` its kept entries as bits.
//
// In the best mask for given row sums, what it costs that row i keeps one entry fewer and row j one more is
// a longest path in the residual graph, whose edge from i to j is the best channel that keeps i and not j.
// `gain` holds these paths' lengths, and `next` and `channel` the way along them.
struct HeldTile {
    static constexpr int most = 8;
    static constexpr float never = -std::numeric_limits<float>::infinity();
    typedef float Lengths __attribute__((vector_size(most * sizeof(float))));  // one value for every row
    typedef int32_t Rows __attribute__((vector_size(most * sizeof(int32_t))));
    int m, held;
    Lengths weights[most];
    int32_t kept[most];
    Lengths gain[most];
    Rows next[most], channel[most];

    void load(const float* entries) {
        for (int q = 0; q < held; ++q)
            for (int r = 0; r < most; ++r) weights[q][r] = r < m ? entries[q * m + r] : never;
    }

    float value() const {
        constexpr Rows bits = {1, 2, 4, 8, 16, 32, 64, 128};
        Lengths sums{};
        for (int q = 0; q < held; ++q) sums += (bits & kept[q]) != 0 ? weights[q] : Lengths{};
        float sum = 0;
        for (int r = 0; r < most; ++r) sum += sums[r];
        return sum;
    }

    // Find all longest paths, by Floyd and Warshall. A path never returns to where it is: that could gain by
    // rounding only.
    void measure() {
        constexpr Rows bits = {1, 2, 4, 8, 16, 32, 64, 128}, numbers = {0, 1, 2, 3, 4, 5, 6, 7};
        const Lengths nowhere = Lengths{} + never;
        for (int i = 0; i < most; ++i) gain[i] = nowhere, next[i] = numbers;
        for (int q = 0; q < held; ++q) {
            const Lengths takes = (bits & kept[q]) != 0 ? nowhere : weights[q];
            for (int rows = kept[q]; rows; rows &= rows - 1) {
                const int i = __builtin_ctz(unsigned(rows));
                const Lengths length = takes - weights[q][i];
                const Rows longer = length > gain[i];
                channel[i] = longer ? Rows{} + q : channel[i];
                gain[i] = longer ? length : gain[i];
            }
        }
        for (int k = 0; k < m; ++k) {
            const Lengths through = numbers == k ? nowhere : gain[k];
            for (int i = 0; i < m; ++i) {
                if (i == k) continue;
                const Lengths length = through + gain[i][k];
                const Rows longer = length > gain[i];
                next[i] = longer ? Rows{} + next[i][k] : next[i];
                gain[i] = longer ? length : gain[i];
            }
        }
    }

    // Let row i keep one entry fewer and row j one more, along the longest path: the mask stays the best for
    // its row sums. False if there is no path, or rounding closed a cycle on it.
    bool exchange(int i, int j) {
        if (gain[i][j] == never) return false;
        for (int steps = 0; i != j; ++steps) {
            const int to = next[i][j], q = channel[i][to];
            if (steps == m || !(kept[q] >> i & 1) || kept[q] >> to & 1) return false;
            kept[q] ^= 1 << i | 1 << to;
            i = to;
        }
        return true;
    }

    // Find the best mask whose free channel keeps the entries `free`, and its longest paths.
    //
    // Whatever the rows' prices, a mask in which every channel keeps the n entries that are worth most after
    // their price is the best one for its own row sums. From good prices few entries are left to be moved.
    bool start(int n, int free) {
        constexpr Rows bits = {1, 2, 4, 8, 16, 32, 64, 128}, numbers = {0, 1, 2, 3, 4, 5, 6, 7};
        const Lengths price = numbers < m ? prices(n, (bits & free) != 0) : Lengths{};
        Rows excess = (numbers < m ? Rows{} - n : Rows{}) - ((bits & free) != 0);
        for (int q = 0; q < held; ++q) {
            const Lengths worth = weights[q] - price;
            Rows rank{};
            for (int r = 0; r < m; ++r) rank -= (worth < worth[r]) | ((worth == worth[r]) & (numbers > r));
            const Rows chosen = rank < n;
            excess -= chosen;
            kept[q] = 0;
            for (int r = 0; r < most; ++r) kept[q] |= chosen[r] & bits[r];
        }
        for (;;) {
            measure();
            Lengths best = Lengths{} + never;
            Rows from{};
            for (int i = 0; i < m; ++i) {
                if (excess[i] <= 0) continue;
                const Rows better = (excess < 0) & (gain[i] > best);
                best = better ? gain[i] : best;
                from = better ? Rows{} + i : from;
            }
            int to = 0;
            for (int j = 1; j < m; ++j)
                if (best[j] > best[to]) to = j;
            if (best[to] == never) return !open(excess);
            if (!exchange(from[to], to)) return false;
            --excess[from[to]], ++excess[to];
        }
    }

    static bool open(Rows excess) {
        bool any = false;
        for (int r = 0; r < most; ++r) any |= excess[r] != 0;
        return any;
    }

    // Prices of rows of which `fewer` keep n - 1 entries and the others n: between the last entry inside and
    // the first outside. Of these two the smaller one, since subtracting a larger number than the row keeps
    // would round its entries away.
    Lengths prices(int n, Rows fewer) const {
        Lengths sorted[most];
        for (int q = 0; q < held; ++q) {
            sorted[q] = weights[q];
            for (int p = q; p > 0; --p) {
                const Lengths high = sorted[p - 1], low = sorted[p];
                const Rows ordered = high > low;
                sorted[p - 1] = ordered ? high : low;
                sorted[p] = ordered ? low : high;
            }
        }
        const auto entry = [&](int k) { return sorted[std::clamp(k, 0, held - 1)]; };
        const Lengths inside = fewer ? entry(n - 2) : entry(n - 1), outside = fewer ? entry(n - 1) : entry(n);
        const Lengths one = inside < 0 ? -inside : inside, other = outside < 0 ? -outside : outside;
        return one < other ? inside : outside;
    }

    // From the best mask for one set of the free channel to that for another, one exchange away.
    bool step(unsigned from, unsigned to) {
        const unsigned more = to & ~from, fewer = from & ~to;
        if (!exchange(__builtin_ctz(more), __builtin_ctz(fewer))) return false;
        measure();
        return true;
    }
};

// A set of the free channel whose value follows from a step of the walk: the longest path from row `from` to
// row `to` leads to it; none if they are the same.
struct Neighbour {
    int set, from, to;
};

// For every step of a walk through the sets, those that are valued from it.
inline std::vector<std::vector<Neighbour>> neighbours(const uint8_t* sets, int count, const int32_t* walk,
                                                      int steps, const int32_t* nearest) {
    std::vector<std::vector<Neighbour>> found(static_cast<size_t>(steps));
    for (int k = 0; k < count; ++k) {
        const unsigned center = sets[walk[nearest[k]]], set = sets[k], more = set & ~center,
                       fewer = center & ~set;
        found[size_t(nearest[k])].push_back(
            {k, more ? __builtin_ctz(more) : 0, more ? __builtin_ctz(fewer) : 0});
    }
    return found;
}

// For every tile the value of its held channels for every set that the free channel may keep.
//
// weights: (tiles, m - 1, m). sets: `count` sets of n entries as bits. walk: `steps` sets, each one exchange
// away from the one before; masks are found for these only. nearest: for every set the number of a step at
// most one exchange away, from whose longest paths its value follows. values: (tiles, count). Sets of a step
// that rounding keeps from being solved get minus infinity: they are never chosen.
TILE_VALUES_FLAT
inline void held_table(const float* weights, ptrdiff_t tiles, int n, int m, const uint8_t* sets, int count,
                       const int32_t* walk, int steps, const int32_t* nearest, float* values) {
    const std::vector<std::vector<Neighbour>> near = neighbours(sets, count, walk, steps, nearest);
    HeldTile here;
    here.m = m, here.held = m - 1;
    for (ptrdiff_t tile = 0; tile < tiles; ++tile, values += count) {
        here.load(weights + tile * (m - 1) * m);
        bool valid = false;
        for (int step = 0; step < steps; ++step) {
            const unsigned set = sets[walk[step]];
            valid = (valid && here.step(sets[walk[step - 1]], set)) || here.start(n, int(set));
            const float value = valid ? here.value() : HeldTile::never;
            for (const Neighbour& each : near[size_t(step)])
                values[each.set] =
                    !valid || each.from == each.to ? value : value + here.gain[each.from][each.to];
        }
    }
}

}  // namespace masksolve
