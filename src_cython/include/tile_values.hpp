// Values of tiles in which one channel is exchanged, for the search for channel permutations.
//
// Hold all channels of a tile but one. What the tile can keep then depends on the free channel x only
// through the set S of entries that x keeps:  max over S of  held(S) + x(S).  `held_table` computes held(S)
// for every S by shortest augmenting paths; `max_plus` combines tables of many groups with many channels.
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
// The inner loop runs over channels, so that compilers turn it into vector instructions; a strip of `Lanes`
// channels of one tile stays in the first-level cache while all groups are tried with it. Sums are float32:
// the caller keeps runs of tiles short and adds them up in float64.
template <int Lanes>
static inline __attribute__((always_inline)) void max_plus_strip(const float* held, const float* freed,
                                                                 float* sums, ptrdiff_t groups,
                                                                 ptrdiff_t entries, ptrdiff_t channels) {
    for (ptrdiff_t group = 0; group < groups; ++group) {
        const float* table = held + group * entries;
        float best[Lanes];
        for (int lane = 0; lane < Lanes; ++lane) best[lane] = table[0] + freed[lane];
        for (ptrdiff_t entry = 1; entry < entries; ++entry) {
            const float value = table[entry];
            const float* column = freed + entry * channels;
            for (int lane = 0; lane < Lanes; ++lane) {
                const float candidate = value + column[lane];
                best[lane] = candidate > best[lane] ? candidate : best[lane];
            }
        }
        for (int lane = 0; lane < Lanes; ++lane) sums[group * channels + lane] += best[lane];
    }
}

TILE_VALUES_CLONES
inline void max_plus(const float* held, const float* freed, float* sums, ptrdiff_t tiles, ptrdiff_t groups,
                     ptrdiff_t entries, ptrdiff_t channels) {
    for (ptrdiff_t tile = 0; tile < tiles; ++tile) {
        const float* tables = held + tile * groups * entries;
        const float* columns = freed + tile * entries * channels;
        ptrdiff_t at = 0;
        for (; at + 64 <= channels; at += 64)
            max_plus_strip<64>(tables, columns + at, sums + at, groups, entries, channels);
        for (; at + 16 <= channels; at += 16)
            max_plus_strip<16>(tables, columns + at, sums + at, groups, entries, channels);
        for (; at < channels; ++at)
            max_plus_strip<1>(tables, columns + at, sums + at, groups, entries, channels);
    }
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
struct HeldTile {
    static constexpr int most = 8;
    int m, held;
    float weights[most][most];
    uint8_t kept[most];

    float value() const {
        float sum = 0;
        for (int q = 0; q < held; ++q)
            for (int r = 0; r < m; ++r)
                if (kept[q] >> r & 1) sum += weights[q][r];
        return sum;
    }

    // Move one kept entry from a row of `excess` to a row of `lacking`, at the least loss: the best path in
    // the residual graph, by Bellman and Ford over rows. The mask stays the best for its row sums.
    // False if rounding closed a cycle or there is no path; then nothing has changed.
    bool augment(unsigned excess, unsigned lacking) {
        constexpr float never = -std::numeric_limits<float>::infinity();
        float at_row[most], at_channel[most];
        int channel_before[most], row_before[most];
        for (int r = 0; r < m; ++r) at_row[r] = excess >> r & 1 ? 0.0f : never, channel_before[r] = -1;
        for (int q = 0; q < held; ++q) at_channel[q] = never, row_before[q] = -1;
        unsigned fresh = excess;
        for (int round = 0; fresh && round <= m; ++round) {
            unsigned improved = 0;
            for (int q = 0; q < held; ++q) {
                bool better = false;
                for (unsigned rows = kept[q] & fresh; rows; rows &= rows - 1) {  // row r gives up (r, q)
                    const int r = __builtin_ctz(rows);
                    const float value = at_row[r] - weights[q][r];
                    if (value > at_channel[q]) at_channel[q] = value, row_before[q] = r, better = true;
                }
                if (!better) continue;
                for (int r = 0; r < m; ++r) {  // and channel q keeps another entry instead
                    if (kept[q] >> r & 1) continue;
                    const float value = at_channel[q] + weights[q][r];
                    if (value > at_row[r]) at_row[r] = value, channel_before[r] = q, improved |= 1u << r;
                }
            }
            fresh = improved;
        }
        int row = -1;
        for (int r = 0; r < m; ++r)
            if (lacking >> r & 1 && at_row[r] > never && (row < 0 || at_row[r] > at_row[row])) row = r;
        if (row < 0) return false;
        uint8_t before[most];
        std::copy(kept, kept + most, before);
        for (int steps = 0; channel_before[row] >= 0; ++steps) {
            const int q = channel_before[row];
            const uint8_t gains = uint8_t(1u << row), loses = uint8_t(1u << row_before[q]);
            if (steps > held || kept[q] & gains || !(kept[q] & loses)) {
                std::copy(before, before + most, kept);
                return false;
            }
            kept[q] = uint8_t((kept[q] | gains) & ~loses);
            row = row_before[q];
        }
        return true;
    }

    // The best mask whose free channel keeps the entries `free`.
    bool start(int n, unsigned free) {
        int excess[most];
        for (int r = 0; r < m; ++r) excess[r] = int(free >> r & 1) - n;
        for (int q = 0; q < held; ++q) {
            kept[q] = 0;
            for (int k = 0; k < n; ++k) {
                int best = -1;
                for (int r = 0; r < m; ++r)
                    if (!(kept[q] >> r & 1) && (best < 0 || weights[q][r] > weights[q][best])) best = r;
                kept[q] |= uint8_t(1u << best);
                ++excess[best];
            }
        }
        return settle(excess);
    }

    // From the best mask for one set of the free channel to that for another.
    bool change(unsigned from, unsigned to) {
        int excess[most];
        for (int r = 0; r < m; ++r) excess[r] = int(to >> r & 1) - int(from >> r & 1);
        return settle(excess);
    }

    // Bring the rows' excess to zero, one entry at a time.
    bool settle(int* excess) {
        for (;;) {
            unsigned more = 0, fewer = 0;
            for (int r = 0; r < m; ++r) {
                if (excess[r] > 0) more |= 1u << r;
                if (excess[r] < 0) fewer |= 1u << r;
            }
            if (!more) return true;
            uint8_t before[most];
            std::copy(kept, kept + most, before);
            if (!augment(more, fewer)) return false;
            for (int q = 0; q < held; ++q)
                for (int r = 0; r < m; ++r) excess[r] += int(kept[q] >> r & 1) - int(before[q] >> r & 1);
        }
    }

    // What the best mask gains if row i keeps one entry fewer and row j one more, for all i and j: longest
    // paths in the residual graph, in which the best mask leaves no cycle that gains (Floyd and Warshall).
    void distances(float (&gain)[most][most]) const {
        constexpr float never = -std::numeric_limits<float>::infinity();
        for (auto& row : gain) std::fill(row, row + most, never);
        for (int q = 0; q < held; ++q) {
            float takes[most];
            for (int r = 0; r < most; ++r) takes[r] = r >= m || kept[q] >> r & 1 ? never : weights[q][r];
            for (unsigned rows = kept[q]; rows; rows &= rows - 1) {
                const int i = __builtin_ctz(rows);
                const float gives = weights[q][i];
                for (int j = 0; j < most; ++j) {
                    const float value = takes[j] - gives;
                    gain[i][j] = value > gain[i][j] ? value : gain[i][j];
                }
            }
        }
        for (int k = 0; k < m; ++k) {
            float through[most];
            std::copy(gain[k], gain[k] + most, through);
            for (int i = 0; i < most; ++i) {
                const float first = gain[i][k];
                for (int j = 0; j < most; ++j) {
                    const float value = first + through[j];
                    gain[i][j] = value > gain[i][j] ? value : gain[i][j];
                }
            }
        }
    }
};

// For every tile the value of its held channels for every set that the free channel may keep.
//
// weights: (tiles, m - 1, m). sets: `count` sets of n entries as bits. centers: for every set the number of a
// set at most one exchange away which is its own center. Masks are found for the centers only: the value of a
// set one exchange away follows from the longest paths. values: (tiles, count). Sets whose center rounding
// keeps from being solved get minus infinity: they are never chosen.
TILE_VALUES_FLAT
inline void held_table(const float* weights, ptrdiff_t tiles, int n, int m, const uint8_t* sets,
                       const int32_t* centers, int count, float* values) {
    constexpr float never = -std::numeric_limits<float>::infinity();
    HeldTile here;
    here.m = m, here.held = m - 1;
    for (ptrdiff_t tile = 0; tile < tiles; ++tile, values += count) {
        for (int q = 0; q < m - 1; ++q)
            std::copy(weights + (tile * (m - 1) + q) * m, weights + (tile * (m - 1) + q + 1) * m,
                      here.weights[q]);
        bool valid = false;
        unsigned last = 0;
        for (int center = 0; center < count; ++center) {
            if (centers[center] != center) continue;
            const unsigned set = sets[center];
            valid = (valid && here.change(last, set)) || here.start(n, set);
            last = set;
            float gain[HeldTile::most][HeldTile::most];
            const float value = valid ? here.value() : never;
            if (valid) here.distances(gain);
            for (int k = 0; k < count; ++k) {
                if (centers[k] != center) continue;
                const unsigned more = sets[k] & ~set, fewer = set & ~unsigned(sets[k]);
                values[k] = !valid || !more ? value : value + gain[__builtin_ctz(more)][__builtin_ctz(fewer)];
            }
        }
    }
}

}  // namespace masksolve
