// Whole tiles with a side of 5 to 64, or that are no squares, one after the other through the vector kernel.
#pragma once

#include "certificate/large_tiles.hpp"
#include "certificate/segments.hpp"
#include "drivers/segments.hpp"
#include "kernels/groups.hpp"
#include "kernels/large_tiles.hpp"

namespace masksolve {
namespace MASKSOLVE_ISA {

// Rounds of the dual warm start: more of them leave fewer paths to search; these balance the two.
constexpr int cold_rounds = 3, warm_rounds = 1;

template <typename T, int R, int C>
class LargeTileRun final : public SegmentSolver<T> {
public:
    LargeTileRun(const Job& job, Outcome& outcome)
        : job_(job),
          outcome_(outcome),
          height_(job.height),
          width_(job.width),
          at_most_(job.row_least == 0),
          square_(Staging<T>::squares_later(job)),
          kernel_(job.height, job.width, job.row_most, job.column_most),
          together_(job),
          certifier_(job) {}

    void solve(const Strip& strip, std::ptrdiff_t k, int count, Window<T>& window,
               Verdicts& verdicts) override {
        for (int t = 0; t < count; ++t) {
            fetch_ahead(job_, strip, k + t, 1);
            load(window, t);
            const bool warm = job_.start_columns.data != nullptr && read_start(strip.start_columns[k + t]);
            kernel_.solve(warm ? warm_rounds : cold_rounds, warm);
            write_mask(window, t);
            store_prices(job_.rows, strip.rows[k + t], height_, kernel_.u);
            store_prices(job_.columns, strip.columns[k + t], width_, kernel_.v);
            std::memcpy(u_[t], kernel_.u, sizeof kernel_.u);
            std::memcpy(v_[t], kernel_.v, sizeof kernel_.v);
        }
        if (!together_.prove(window, count, u_[0], v_[0], job_.tolerance(), verdicts))
            for (int t = 0; t < count; ++t) certifier_.certify(window, t, u_[t], v_[t], verdicts);
        outcome_.augmentations += kernel_.augmentations;
        outcome_.steps += kernel_.steps;
        kernel_.augmentations = kernel_.steps = 0;
    }

private:
    const Job& job_;
    Outcome& outcome_;
    int height_, width_;
    bool at_most_, square_;
    Integer<T> signs_ = 0;  // negative if a score of the tile is
    TileKernel<T, R, C> kernel_;
    SegmentCertifier<T, C, R> together_;
    LargeTileCertifier<T, C> certifier_;
    // Prices of a segment's tiles, which are C / 2 + 1 wide at least, or 3, and 2 high; C a tile, zeros last.
    static constexpr int least_entries = 2 * (C == 8 ? 3 : C / 2 + 1);
    static constexpr int most_tiles = std::min(segment_entries / least_entries, most_segment_tiles) + 1;
    alignas(64) T u_[most_tiles][C] = {}, v_[most_tiles][C];

    // The tile's scores; what is beyond it is left alone. Where a line may keep fewer than n,
    // negative scores count as 0, and are dropped in the end: their magnitude shall not round the other
    // scores away.
    void load(const Window<T>& window, int tile) {
        signs_ = 0;
        for (int i = 0; i < height_; ++i) {
            T* to = kernel_.s[i];
            const T* from = window.row(tile, i);
            if (width_ == C) std::memcpy(to, from, C * sizeof(T));
            else std::memcpy(to, from, width_ * sizeof(T));
            if (square_)
                for (int j = 0; j < width_; ++j) to[j] *= to[j];
            if (at_most_) raise_to_zero(to);
        }
    }

    void raise_to_zero(T* row) {
        Integer<T> signs = 0;
        for (int j = 0; j < width_; ++j) {
            Integer<T> bits;
            std::memcpy(&bits, &row[j], sizeof bits);
            signs |= bits;
            row[j] = row[j] > 0 ? row[j] : T{0};
        }
        signs_ |= signs;
    }

    // False, and nothing of use in v, if a price is so far off the scores that rounding would drown them.
    bool read_start(const char* from) {
        T largest = 0;
        for (int i = 0; i < height_; ++i)
            for (int j = 0; j < width_; ++j) largest = std::max(largest, std::abs(kernel_.s[i][j]));
        const std::ptrdiff_t stride = job_.start_columns.strides[job_.start_columns.ndim - 1];
        bool useful = true;
        for (int j = 0; j < width_; ++j, from += stride) {
            const double price = read_price(from, job_.start_is_double);
            useful &= std::abs(price) <= 16 * static_cast<double>(largest);
            kernel_.v[j] = static_cast<T>(price);
        }
        return useful;
    }

    void write_mask(Window<T>& window, int tile) {
        std::uint64_t kept[R];
        for (int i = 0; i < height_; ++i) kept[i] = kernel_.kept(i);
        if (at_most_) {
            if (!kernel_.make_prices_non_negative()) shrink(kept);
            for (int i = 0; i < height_ && signs_ < 0; ++i) {
                const T* scores = window.row(tile, i);
                std::uint64_t positive = 0;
                for (int j = 0; j < width_; ++j)
                    positive |= static_cast<std::uint64_t>(square_ || !(scores[j] < 0)) << j;
                kept[i] &= positive;
            }
        }
        for (int i = 0; i < height_; ++i) write_row(window.mask_row(tile, i), kept[i]);
    }

    void write_row(char* to, std::uint64_t bits) const {
        int j = 0;
        if (width_ == C)
            for (; j < C; j += 8) std::memcpy(to + j, &mask_bytes[bits >> j & 255], 8);
        for (; j + 8 <= width_; j += 8) std::memcpy(to + j, &mask_bytes[bits >> j & 255], 8);
        for (; j < width_; ++j) to[j] = bits >> j & 1;
    }

    // Replaces the mask and the prices by those of the best mask that keeps at most as many.
    __attribute__((noinline)) void shrink(std::uint64_t* kept) {
        FlowTile<double> tile;
        tile.height = height_;
        tile.width = width_;
        tile.rows = job_.row_bounds();
        tile.columns = job_.column_bounds();
        for (int j = 0; j < width_; ++j) tile.v[j] = kernel_.v[j];
        for (int i = 0; i < height_; ++i) {
            for (int j = 0; j < width_; ++j) tile.scores[i][j] = kernel_.s[i][j];
            tile.u[i] = kernel_.u[i];
            tile.kept[i] = kept[i];
            tile.keep[i] = tile.drop[i] = 0;
        }
        shrink_tile(tile, outcome_);
        for (int i = 0; i < height_; ++i) {
            kept[i] = tile.kept[i];
            kernel_.u[i] = static_cast<T>(tile.u[i]);
        }
        for (int j = 0; j < width_; ++j) kernel_.v[j] = static_cast<T>(tile.v[j]);
    }
};

}  // namespace MASKSOLVE_ISA
}  // namespace masksolve
