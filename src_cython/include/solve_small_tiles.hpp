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
        : job_(job), outcome_(outcome), certifier_(job), load_(loader<T>(job.dtype)),
          native_(stored_as<T>(job) && job.across() == sizeof(T)),
          in_place_(M == 4 && native_ && job.mask_across() == 1) {}

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
    bool native_, in_place_;
    typename Kernel::Parts parts_;

    void solve_segment(const Strip& strip, std::ptrdiff_t k, int count) {
        alignas(64) T u[segment][M], v[segment][M];
        const bool beside = in_place_ && strip.scores.step == M * sizeof(T) && strip.mask.step == M;
        for (int g = 0; g < count; g += L) {
            fetch_ahead(job_, strip, k + g, L);
            if (beside && g + L <= count) batch<true>(strip, k + g, L, u + g, v + g);
            else batch<false>(strip, k + g, std::min(L, count - g), u + g, v + g);
        }
        for (int g = 0; g < count && job_.rows.data != nullptr; ++g) {
            write_prices(job_.rows, strip.rows[k + g], M, u[g]);
            write_prices(job_.columns, strip.columns[k + g], M, v[g]);
        }
        certifier_.template add<M, M>(strip, k, count, u[0], v[0], M);
    }

    template <bool beside>
    inline __attribute__((always_inline)) void batch(const Strip& strip, std::ptrdiff_t k, int count, T (*u)[M],
                                                      T (*v)[M]) const {
        Kernel kernel;
        if constexpr (beside) read_beside(strip.scores[k], kernel);
        else read(strip, k, count, kernel);
        if (job_.row_least < job_.row_most) kernel.solve_at_most(job_.row_most, parts_);
        else kernel.solve(job_.row_most, parts_);
        spread(kernel.u, u);
        spread(kernel.v, v);
        if constexpr (beside) write_beside(strip.mask[k], kernel.code);
        else write_masks(strip, k, count, kernel.code);
    }

    inline __attribute__((always_inline)) void read_beside(const char* first, Kernel& kernel) const {
        const std::ptrdiff_t down = job_.down();
        MASKSOLVE_UNROLL
        for (int i = 0; i < M; ++i) load_quads<T, L>(reinterpret_cast<const T*>(first + i * down), kernel.s[i]);
    }
    inline __attribute__((always_inline)) void write_beside(char* first, const typename Kernel::Codes& code) const {
        const std::ptrdiff_t down = job_.mask_down();
        MASKSOLVE_UNROLL
        for (int i = 0; i < M; ++i) store_words<Integer<T>, L>(words(code, i), first + i * down);
    }

    // The mask bytes of row i, a word a tile: a nibble of the code holds the bits, spread them to bytes.
    static inline __attribute__((always_inline)) auto words(const typename Kernel::Codes& code, int i) {
        const auto bytes = (((code >> (4 * i)) & 15) * 0x00204081) & 0x01010101;
        if constexpr (M == 4) return in_order<Integer<T>, L>(bytes);
        else return bytes;
    }

    // The scores of `count` tiles, lanes beyond hold zeros; tiles of side 4 in the order of quad_of.
    inline __attribute__((always_inline)) void read(const Strip& strip, std::ptrdiff_t k, int count, Kernel& kernel) const {
        for (int i = 0; i < M; ++i) {
            const char* first = strip.scores[k] + i * job_.down();
            alignas(64) T rows[L][M];
            if (count < L) std::memset(rows, 0, sizeof rows);
            if (native_)
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

    inline __attribute__((always_inline)) void write_masks(const Strip& strip, std::ptrdiff_t k, int count,
                                                            const typename Kernel::Codes& code) const {
        for (int i = 0; i < M; ++i) {
            alignas(64) Integer<T> word[L];
            const auto row = words(code, i);
            std::memcpy(word, &row, sizeof word);
            char* first = strip.mask[k] + i * job_.mask_down();
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
