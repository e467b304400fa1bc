// Whole tiles of side 2 to 4, one a lane.
#pragma once

#include "certificate/small_tiles.hpp"
#include "drivers/segments.hpp"
#include "kernels/small_tiles.hpp"

namespace masksolve {
namespace MASKSOLVE_ISA {

template <typename T, int M>
class SmallTileRun {
public:
    SmallTileRun(const Job& job, Outcome&)
        : job_(job), certifier_(job), square_(Staging<T>::squares_later(job)) {}

    void solve(const Strip& strip, std::ptrdiff_t k, int count, Window<T>& window, Verdicts& verdicts) {
        int t = 0;
        for (; t + L <= count; t += L) {
            fetch_ahead(job_, strip, k + t, L);
            solve_lanes(strip, k + t, L, window, t, verdicts);
        }
        if (t < count) solve_rest(strip, k + t, count - t, window, t, verdicts);
    }

private:
    using Kernel = SmallTiles<T, M>;
    using Prices = typename Kernel::V;
    static constexpr int L = Kernel::L;

    const Job& job_;
    SmallTileCertifier<T, M> certifier_;
    bool square_;
    typename Kernel::Parts parts_;

    // Too few tiles to fill the lanes: a copy, filled up with tiles of zeros.
    __attribute__((noinline)) void solve_rest(const Strip& strip, std::ptrdiff_t k, int count,
                                              Window<T>& window, int first, Verdicts& verdicts) {
        alignas(64) T scores[M][L * M] = {};
        alignas(64) char mask[M][L * M] = {};
        for (int i = 0; i < M; ++i) std::memcpy(scores[i], window.row(first, i), count * M * sizeof(T));
        Window<T> copy{};
        copy.scores = reinterpret_cast<const char*>(scores);
        copy.down = sizeof scores[0];
        copy.step = M * sizeof(T);
        copy.mask = mask[0];
        copy.mask_down = L * M;
        copy.mask_step = M;
        Verdicts padded;
        solve_lanes(strip, k, count, copy, 0, padded);
        for (int i = 0; i < M; ++i) std::memcpy(window.mask_row(first, i), mask[i], count * M);
        std::copy_n(padded.objective, count, verdicts.objective + first);
        std::copy_n(padded.slack, count, verdicts.slack + first);
        std::copy_n(padded.violation, count, verdicts.violation + first);
        std::copy_n(padded.scale, count, verdicts.scale + first);
        verdicts.feasible &= padded.feasible;
    }

    inline __attribute__((always_inline)) void solve_lanes(const Strip& strip, std::ptrdiff_t k, int count,
                                                           Window<T>& window, int first, Verdicts& verdicts) {
        Prices u[M], v[M];
        solve_batch(window, first, u, v);
        if (job_.rows.data != nullptr) write_prices(strip, k, count, u, v);
        certifier_.certify(window, first, count, u, v, verdicts);
    }

    inline __attribute__((always_inline)) void solve_batch(Window<T>& window, int first, Prices* u,
                                                           Prices* v) const {
        Kernel kernel;
        MASKSOLVE_UNROLL
        for (int i = 0; i < M; ++i) {
            const T* row = window.row(first, i);
            if constexpr (M == 4) {
                load_quads<T, L>(row, kernel.s[i]);
            } else {
                for (int j = 0; j < M; ++j)
                    for (int l = 0; l < L; ++l) kernel.s[i][j][l] = row[l * M + j];
            }
        }
        if (square_)
            for (int i = 0; i < M; ++i)
                for (int j = 0; j < M; ++j) kernel.s[i][j] *= kernel.s[i][j];
        if (job_.row_least < job_.row_most) kernel.solve_at_most(job_.row_most, parts_);
        else kernel.solve(job_.row_most, parts_);
        MASKSOLVE_UNROLL
        for (int i = 0; i < M; ++i) {
            u[i] = kernel.u[i];
            v[i] = kernel.v[i];
        }
        MASKSOLVE_UNROLL
        for (int i = 0; i < M; ++i) write_row(window.mask_row(first, i), kernel.code, i);
    }

    // The mask bytes of row i, a word a tile: a nibble of the code holds the bits, spread them to bytes.
    static inline __attribute__((always_inline)) void write_row(char* to, const typename Kernel::Codes& code,
                                                                int i) {
        const auto bytes = (((code >> (4 * i)) & 15) * 0x00204081) & 0x01010101;
        if constexpr (M == 4) {
            store_words<Integer<T>, L>(in_order<Integer<T>, L>(bytes), to);
        } else {
            for (int l = 0; l < L; ++l) {
                const auto word = static_cast<std::uint32_t>(bytes[l]);
                std::memcpy(to + l * M, &word, M);
            }
        }
    }

    __attribute__((noinline)) void write_prices(const Strip& strip, std::ptrdiff_t k, int count,
                                                const Prices* u, const Prices* v) const {
        alignas(64) T rows[L][M], columns[L][M];
        spread(u, rows);
        spread(v, columns);
        for (int t = 0; t < count; ++t) {
            store_prices(job_.rows, strip.rows[k + t], M, rows[t]);
            store_prices(job_.columns, strip.columns[k + t], M, columns[t]);
        }
    }

    // Prices of one tile after the other.
    static inline __attribute__((always_inline)) void spread(const Prices* prices, T (*to)[M]) {
        if constexpr (M == 4) {
            store_quads<T, L>(prices[0], prices[1], prices[2], prices[3], to[0]);
        } else {
            for (int i = 0; i < M; ++i)
                for (int l = 0; l < L; ++l) to[l][i] = prices[i][l];
        }
    }
};

}  // namespace MASKSOLVE_ISA
}  // namespace masksolve
