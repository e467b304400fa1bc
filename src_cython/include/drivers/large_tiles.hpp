// Whole tiles with a side of 5 to 64, or that are no squares, one after the other through the vector kernel.
#pragma once

#include "certificate/large_tiles.hpp"
#include "drivers/segments.hpp"
#include "kernels/groups.hpp"
#include "kernels/large_tiles.hpp"

namespace masksolve {
namespace MASKSOLVE_ISA {

// Rounds of the dual warm start: more of them leave fewer paths to search; these balance the two.
constexpr int cold_rounds = 3, warm_rounds = 1, at_most_rounds = 4;

template <typename T, int R, int C>
class LargeTileRun final : public SegmentSolver<T> {
public:
    LargeTileRun(const Job& job, Outcome& outcome)
        : job_(job),
          outcome_(outcome),
          height_(job.height),
          width_(job.width),
          at_most_(job.row_least == 0),
          all_kept_(job.row_most == job.width && job.column_most == job.height),
          exact_first_(!at_most_ || all_kept_ || is_often_exact(job)),
          at_most_rounds_(columns_overflow(job) ? at_most_rounds : 0),
          square_(Staging<T>::squares_later(job)),
          kernel_(job.height, job.width, job.row_most, job.column_most),
          certifier_(job, C) {}

    void solve(const Strip& strip, std::ptrdiff_t k, int count, Window<T>& window,
               Verdicts& verdicts) override {
        for (int t = 0; t < count; t += together) {
            const int here = std::min(together, count - t);
            fetch_ahead(job_, strip, k + t, here);
            for (int i = 0; i < here; ++i) load(window, t + i, i);
            left_ = (1u << here) - 1;
            if (exact_first_) solve_exactly_n(strip, k, window, t, here);
            if (left_ != 0) {
                kernel_.start(at_most_rounds_, false, true);
                for (int i = 0; i < here; ++i)
                    if (left_ >> i & 1) finish(strip, k, window, t, i);
            }
        }
        certifier_.certify(window, count, u_[0], v_[0], verdicts);
        outcome_.augmentations += kernel_.augmentations;
        outcome_.steps += kernel_.steps;
        kernel_.augmentations = kernel_.steps = 0;
    }

private:
    const Job& job_;
    Outcome& outcome_;
    int height_, width_;
    bool at_most_, all_kept_;
    bool exact_first_;  // at most n: whether to look first for what keeps exactly n, which may be no worse
    int at_most_rounds_;
    bool square_;
    TileKernel<T, R, C> kernel_;
    LargeTileCertifier<T> certifier_;
    static constexpr int together = TileKernel<T, R, C>::together;
    Integer<T> signs_[together] = {};  // negative if a score of the tile is
    unsigned left_ = 0;                // a bit for each of the kernel's tiles that has no answer yet
    // Prices of a segment's tiles, of which one side is C / 2 + 1 at least, or 3, and the other 2; C a tile,
    // zeros last.
    static constexpr int least_entries = 2 * (C == 8 ? 3 : C / 2 + 1);
    static constexpr int most_tiles = std::min(segment_entries / least_entries, most_segment_tiles) + 1;
    alignas(64) T u_[most_tiles][C] = {}, v_[most_tiles][C];

    // Whether the best mask that keeps at most n keeps exactly n in most tiles, or the greater part of the
    // way to it.
    static bool is_often_exact(const Job& job) {
        return job.height * job.row_most == job.width * job.column_most &&
               8 * (job.width - job.row_most) > job.width;
    }

    // Whether rounds of prices pay: rows that choose alone put too many into columns with little room.
    // Columns of h entries would hold h / w of what a row keeps, give or take up to sqrt(h) / 2.
    static bool columns_overflow(const Job& job) {
        const int room = job.width * job.column_most - job.height * job.row_most;
        return job.column_most < job.height && 4 * room * room < job.height * job.width * job.width;
    }

    void solve_exactly_n(const Strip& strip, std::ptrdiff_t k, Window<T>& window, int t, int here) {
        if (job_.start_columns.data != nullptr && !all_kept_)
            return solve_from_prices(strip, k, window, t, here);
        kernel_.start(all_kept_ ? 0 : cold_rounds, false);
        for (int i = 0; i < here; ++i) finish(strip, k, window, t, i);
    }

    // Tiles t to t + here - 1, loaded, from the prices that they are given where these are of use. What
    // becomes of a tile must not depend on its neighbours, so each kind goes by itself.
    __attribute__((noinline)) void solve_from_prices(const Strip& strip, std::ptrdiff_t k, Window<T>& window,
                                                     int t, int here) {
        bool useful[together] = {}, any = false, all = true;
        for (int i = 0; i < here; ++i) {
            useful[i] = read_start(strip.start_columns[k + t + i], i);
            any |= useful[i];
            all &= useful[i];
        }
        if (any) kernel_.start(warm_rounds, true);
        for (int i = 0; i < here; ++i)
            if (useful[i]) finish(strip, k, window, t, i);
        if (!all) kernel_.start(cold_rounds, false);
        for (int i = 0; i < here; ++i)
            if (!useful[i]) finish(strip, k, window, t, i);
    }

    // Solves the i-th of the tiles in the kernel, which is the window's tile t + i, and hands its answer out,
    // unless fewer than n could be better.
    __attribute__((noinline)) void finish(const Strip& strip, std::ptrdiff_t k, Window<T>& window, int t,
                                          int i) {
        kernel_.finish(i);
        if (at_most_ && !kernel_.make_prices_non_negative()) return;
        left_ &= ~(1u << i);
        const int tile = t + i;
        write_mask(window, tile, signs_[i]);
        store_prices(job_.rows, strip.rows[k + tile], height_, kernel_.prices_u());
        store_prices(job_.columns, strip.columns[k + tile], width_, kernel_.prices_v());
        std::memcpy(u_[tile], kernel_.prices_u(), R * sizeof(T));
        std::memcpy(v_[tile], kernel_.prices_v(), C * sizeof(T));
    }

    // The window's tile as the kernel's i-th; what is beyond it is left alone. Where a line may keep
    // fewer than its most, negative scores count as 0, and are dropped in the end: their magnitude shall not
    // round the other scores away.
    void load(const Window<T>& window, int tile, int i) {
        signs_[i] = 0;
        for (int row = 0; row < height_; ++row) {
            T* to = kernel_.s[row] + i * C;
            const T* from = window.row(tile, row);
            if (width_ == C) std::memcpy(to, from, C * sizeof(T));
            else std::memcpy(to, from, width_ * sizeof(T));
            if (square_)
                for (int j = 0; j < width_; ++j) to[j] *= to[j];
            if (at_most_) signs_[i] |= raise_to_zero(to);
        }
    }

    // Negative if a score of the row was.
    Integer<T> raise_to_zero(T* row) const {
        Integer<T> signs = 0;
        for (int j = 0; j < width_; ++j) {
            Integer<T> bits;
            std::memcpy(&bits, &row[j], sizeof bits);
            signs |= bits;
            row[j] = row[j] > 0 ? row[j] : T{0};
        }
        return signs;
    }

    // False, and nothing of use in v, if a price is so far off the scores that rounding would drown them.
    bool read_start(const char* from, int tile) {
        T largest = 0;
        for (int i = 0; i < height_; ++i)
            for (int j = 0; j < width_; ++j)
                largest = std::max(largest, std::abs(kernel_.s[i][tile * C + j]));
        const std::ptrdiff_t stride = job_.start_columns.strides[job_.start_columns.ndim - 1];
        bool useful = true;
        for (int j = 0; j < width_; ++j, from += stride) {
            const double price = read_price(from, job_.start_is_double);
            useful &= std::abs(price) <= 16 * static_cast<double>(largest);
            kernel_.v[tile * C + j] = static_cast<T>(price);
        }
        return useful;
    }

    void write_mask(Window<T>& window, int tile, Integer<T> signs) {
        std::uint64_t kept[R];
        for (int i = 0; i < height_; ++i) kept[i] = kernel_.kept(i);
        if (at_most_) {
            for (int i = 0; i < height_ && signs < 0; ++i) {
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
};

}  // namespace MASKSOLVE_ISA
}  // namespace masksolve
