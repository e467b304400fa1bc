// Whole tiles of side 2 to 4, one a lane.
#pragma once

#include "certify.hpp"
#include "lanes.hpp"
#include "small_tiles.hpp"
#include "tile_io.hpp"

namespace masksolve {
namespace MASKSOLVE_ISA {

template <typename T, int M>
class SmallTileRun {
public:
    SmallTileRun(const Job& job, Outcome& outcome)
        : job_(job), outcome_(outcome), certifier_(job), load_(loader<T>(job.dtype)) {}

    void run() {
        for_each_strip(job_, outcome_, [&](const Strip& strip) {
            for (std::ptrdiff_t k = 0; k < strip.count; k += segment)
                solve_segment(strip, k, static_cast<int>(std::min<std::ptrdiff_t>(segment, strip.count - k)));
        });
        certifier_.close(outcome_);
    }

private:
    using Kernel = SmallTiles<T, M>;
    static constexpr int L = Kernel::L;
    static constexpr int segment = 64;  // solved, then certified while in cache

    const Job& job_;
    Outcome& outcome_;
    Certifier certifier_;
    Loader<T> load_;
    typename Kernel::Parts parts_;

    void solve_segment(const Strip& strip, std::ptrdiff_t k, int count) {
        alignas(64) T u[segment][M], v[segment][M];
        for (int g = 0; g < count; g += L) batch(strip, k + g, std::min(L, count - g), u + g, v + g);
        for (int g = 0; g < count && job_.rows.data != nullptr; ++g) {
            write_prices(job_.rows, strip.rows[k + g], M, u[g]);
            write_prices(job_.columns, strip.columns[k + g], M, v[g]);
        }
        certifier_.template add<M, M>(strip, k, count, u[0], v[0], M);
    }

    inline __attribute__((always_inline)) void batch(const Strip& strip, std::ptrdiff_t k, int count, T (*u)[M],
                                                      T (*v)[M]) const {
        Kernel kernel;
        read(strip, k, count, kernel);
        if (job_.row_least < job_.row_most) kernel.solve_at_most(job_.row_most, parts_);
        else kernel.solve(job_.row_most, parts_);
        spread(kernel.u, u);
        spread(kernel.v, v);
        write_masks(strip, k, count, kernel.code);
    }

    // The scores of `count` tiles, lanes beyond hold zeros; tiles of side 4 in the order of quad_of.
    inline __attribute__((always_inline)) void read(const Strip& strip, std::ptrdiff_t k, int count, Kernel& kernel) const {
        const bool native = stored_as<T>(job_) && job_.across() == sizeof(T);
        const bool side_by_side = strip.scores.step == M * sizeof(T);
        for (int i = 0; i < M; ++i) {
            const char* first = strip.scores[k] + i * job_.down();
            if (M == 4 && native && side_by_side && count == L) {
                load_quads<T, L>(reinterpret_cast<const T*>(first), kernel.s[i]);
                continue;
            }
            alignas(64) T rows[L][M];
            if (count < L) std::memset(rows, 0, sizeof rows);
            if (native && side_by_side && count == L) std::memcpy(rows, first, sizeof rows);
            else if (native)
                for (int g = 0; g < count; ++g) std::memcpy(rows[g], first + g * strip.scores.step, sizeof rows[g]);
            else
                for (int g = 0; g < count; ++g) load_(first + g * strip.scores.step, job_.across(), M, rows[g]);
            to_lanes(rows, kernel.s[i]);
        }
    }

    static inline __attribute__((always_inline)) void to_lanes(const T (*rows)[M], typename Kernel::V* to) {
        if constexpr (M == 4) {
            load_quads<T, L>(rows[0], to);
        } else {
            alignas(64) T lanes[M][L];
            for (int j = 0; j < M; ++j)
                for (int g = 0; g < L; ++g) lanes[j][g] = rows[g][j];
            std::memcpy(to, lanes, sizeof lanes);
        }
    }

    // Prices of one tile after the other.
    inline __attribute__((always_inline)) void spread(const typename Kernel::V* prices, T (*to)[M]) const {
        if constexpr (M == 4) {
            store_quads<T, L>(prices[0], prices[1], prices[2], prices[3], to[0]);
        } else {
            for (int i = 0; i < M; ++i)
                for (int g = 0; g < L; ++g) to[g][i] = prices[i][g];
        }
    }

    // A nibble of the code holds the bits of a row; spread them to bytes.
    inline __attribute__((always_inline)) void write_masks(const Strip& strip, std::ptrdiff_t k, int count,
                                                            const typename Kernel::Codes& code) const {
        using I = Integer<T>;
        for (int i = 0; i < M; ++i) {
            auto words = (((code >> (4 * i)) & 15) * 0x00204081) & 0x01010101;
            if constexpr (M == 4) words = in_order<I, L>(words);
            char* first = strip.mask[k] + i * job_.mask_down();
            if (M == 4 && count == L && job_.mask_across() == 1 && strip.mask.step == 4) {
                store_words<I, L>(words, first);
                continue;
            }
            alignas(64) I word[L];
            std::memcpy(word, &words, sizeof word);
            for (int g = 0; g < count; ++g) {
                char* to = first + g * strip.mask.step;
                const auto bytes = static_cast<std::uint32_t>(word[g]);
                if (job_.mask_across() == 1) std::memcpy(to, &bytes, M);
                else
                    for (int j = 0; j < M; ++j) to[j * job_.mask_across()] = static_cast<char>(bytes >> (8 * j) & 1);
            }
        }
    }
};

}  // namespace MASKSOLVE_ISA
}  // namespace masksolve
