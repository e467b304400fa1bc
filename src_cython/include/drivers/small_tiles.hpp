// Whole tiles of side 2 to 4, one a lane.
#pragma once

#include "certificate/segments.hpp"
#include "certificate/small_tiles.hpp"
#include "drivers/segments.hpp"
#include "kernels/small_tiles.hpp"

namespace masksolve {
namespace MASKSOLVE_ISA {

template <typename T, int M>
class SmallTileRun final : public SegmentSolver<T> {
public:
    SmallTileRun(const Job& job, Outcome&)
        : job_(job), together_(job), certifier_(job), square_(Staging<T>::squares_later(job)) {}

    void solve(const Strip& strip, std::ptrdiff_t k, int count, Window<T>& window,
               Verdicts& verdicts) override {
        alignas(64) T u[most_tiles][M], v[most_tiles][M];
        int t = 0;
        for (; t + L <= count; t += L) {
            fetch_ahead(job_, strip, k + t, L);
            solve_lanes(window, t, u + t, v + t);
        }
        Window<T> rest{};
        if (t < count) {
            fill_up(window, t, count - t, rest);
            solve_lanes(rest, 0, u + t, v + t);
            for (int i = 0; i < M; ++i) std::memcpy(window.mask_row(t, i), mask_[i], (count - t) * M);
        }
        if (job_.rows.data != nullptr) write_prices(strip, k, count, u, v);
        if constexpr (M == 4)
            if (together_.prove(window, count, u[0], v[0], job_.tolerance(), verdicts)) return;
        for (t = 0; t + L <= count; t += L) certifier_.certify(window, t, L, u[t], v[t], verdicts);
        if (t < count) {
            Verdicts padded;
            certifier_.certify(rest, 0, count - t, u[t], v[t], padded);
            std::copy_n(padded.objective, count - t, verdicts.objective + t);
            std::copy_n(padded.slack, count - t, verdicts.slack + t);
            std::copy_n(padded.violation, count - t, verdicts.violation + t);
            std::copy_n(padded.scale, count - t, verdicts.scale + t);
            verdicts.feasible &= padded.feasible;
        }
    }

private:
    using Kernel = SmallTiles<T, M>;
    using Prices = typename Kernel::V;
    static constexpr int L = Kernel::L;

    static constexpr int most_tiles = most_segment_tiles + L;  // in whole registers

    const Job& job_;
    SegmentCertifier<T> together_;  // of tiles of side 4
    SmallTileCertifier<T, M> certifier_;
    bool square_;
    typename Kernel::Parts parts_;
    alignas(64) T scores_[M][L * M];
    alignas(64) char mask_[M][L * M];

    // Too few tiles to fill the lanes: a copy, filled up with tiles of zeros.
    __attribute__((noinline)) void fill_up(const Window<T>& window, int first, int count, Window<T>& copy) {
        std::memset(scores_, 0, sizeof scores_);
        std::memset(mask_, 0, sizeof mask_);
        for (int i = 0; i < M; ++i) std::memcpy(scores_[i], window.row(first, i), count * M * sizeof(T));
        copy.scores = reinterpret_cast<const char*>(scores_);
        copy.down = sizeof scores_[0];
        copy.step = M * sizeof(T);
        copy.mask = mask_[0];
        copy.mask_down = L * M;
        copy.mask_step = M;
    }

    __attribute__((noinline)) void solve_lanes(Window<T>& window, int first, T (*rows)[M],
                                               T (*columns)[M]) const {
        Prices u[M], v[M];
        solve_batch(window, first, u, v);
        spread(u, rows);
        spread(v, columns);
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
                                                const T (*u)[M], const T (*v)[M]) const {
        for (int t = 0; t < count; ++t) {
            store_prices(job_.rows, strip.rows[k + t], M, u[t]);
            store_prices(job_.columns, strip.columns[k + t], M, v[t]);
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
