// Certificates of tiles with a side of 5 to 64: the columns of a tile in the lanes, eight tiles a batch.
//
// What a tile's columns add up to stays in lanes until the batch is complete. Then one transpose puts a tile
// in each lane, so that adding up across columns costs next to nothing.
#pragma once

#include "arrays/staging.hpp"
#include "certificate/ledger.hpp"
#include "certificate/lines.hpp"
#include "certificate/tile_proof.hpp"
#include "vectors/choice.hpp"

namespace masksolve {
namespace MASKSOLVE_ISA {

// Reads the mask bytes as they were written and the prices as they are handed out.
template <typename T>
class LargeTileCertifier {
public:
    // `pitch`: prices a tile, zeros beyond its sides; a multiple of 8, and no less than the sides.
    LargeTileCertifier(const Job& job, int pitch)
        : job_(job),
          height_(job.height),
          width_(job.width),
          pitch_(pitch),
          rounding_(job.height, job.width),
          square_(Staging<T>::squares_later(job)) {}

    // The first `count` tiles of the window.
    void certify(const Window<T>& window, int count, const T* u, const T* v, Verdicts& verdicts) {
        if (width_ == pitch_ && height_ % 8 == 0 && !square_) read<8>(window, count, u, v, verdicts);
        else if (width_ == pitch_ && height_ % 4 == 0 && !square_) read<4>(window, count, u, v, verdicts);
        else read<0>(window, count, u, v, verdicts);
    }

private:
    static constexpr int batch = 8, lanes = 8;
    using Wide = Pack<double, lanes>;
    using Bits = Pack<std::int64_t, lanes>;
    using Word = std::uint64_t;  // eight mask bytes
    static constexpr Word ones = 0x0101010101010101u;

    const Job& job_;
    int height_, width_, pitch_;
    Rounding rounding_;
    bool square_;
    bool signed_ = false;  // a kept score was negative: most arrays have none of them, or many
    alignas(64) T padded_scores_[longest_side][longest_side];
    alignas(64) char padded_mask_[longest_side][longest_side];
    // Of each tile of the batch, in lanes: its columns' sums; the least kept magnitude of a column that keeps
    // more than zeros, and how many columns do.
    alignas(64) double violation_[batch][lanes], kept_[batch][lanes], magnitude_[batch][lanes];
    alignas(64) double least_[batch][lanes], worthy_[batch][lanes];
    alignas(64) double lines_[batch];  // what lines contribute that keep fewer than they may

    // Rows of a tile, their strides in bytes.
    struct TileRows {
        const char *scores, *mask;
        std::ptrdiff_t down, mask_down;
    };

    // `Rows`: tiles of a multiple of so many rows that need no padding, or 0 for all others.
    template <int Rows>
    void read(const Window<T>& window, int count, const T* u, const T* v, Verdicts& verdicts) {
        for (int first = 0; first < count; first += batch) {
            const int here = std::min(batch, count - first);
            if (!signed_ && !read_batch<Rows>(window, first, here, u, v, verdicts)) signed_ = true;
            if (signed_) read_batch<Rows>(window, first, here, u, v, verdicts);
            add_up(first, verdicts);
        }
    }

    // False, and no answer, if a kept score is negative and signed_ is false.
    template <int Rows>
    __attribute__((noinline)) bool read_batch(const Window<T>& window, int first, int count, const T* u,
                                              const T* v, Verdicts& verdicts) {
        bool answered = true;
        for (int t = 0; t < count; ++t) {
            const int tile = first + t;
            const T *rows = u + tile * pitch_, *columns = v + tile * pitch_;
            TileRows tile_rows{reinterpret_cast<const char*>(window.row(tile, 0)), window.mask_row(tile, 0),
                               window.down, window.mask_down};
            if constexpr (Rows != 0) {
                if (signed_) read_tile<Rows, true, false>(tile_rows, t, rows, columns);
                else answered &= read_tile<Rows, false, false>(tile_rows, t, rows, columns);
            } else {
                if (width_ < pitch_) fill_up(tile_rows);
                read_any_tile(tile_rows, t, rows, columns);
            }
            verdicts.feasible &= pitch_ == 8    ? count_lines<1>(tile_rows, t, rows, columns)
                                 : pitch_ == 16 ? count_lines<2>(tile_rows, t, rows, columns)
                                 : pitch_ == 32 ? count_lines<4>(tile_rows, t, rows, columns)
                                                : count_lines<8>(tile_rows, t, rows, columns);
        }
        return answered;
    }

    void read_any_tile(const TileRows& tile, int t, const T* u, const T* v) {
        if constexpr (sizeof(T) == sizeof(float))  // elsewhere squares are taken before
            if (square_) return void(read_tile<0, true, true>(tile, t, u, v));
        read_tile<0, true, false>(tile, t, u, v);
    }

    // Copies of the rows, up to a whole number of lanes.
    void fill_up(TileRows& tile) {
        for (int i = 0; i < height_; ++i) {
            std::memset(padded_scores_[i], 0, pitch_ * sizeof(T));
            std::memset(padded_mask_[i], 0, pitch_);
            std::memcpy(padded_scores_[i], tile.scores + i * tile.down, width_ * sizeof(T));
            std::memcpy(padded_mask_[i], tile.mask + i * tile.mask_down, width_);
        }
        tile = {reinterpret_cast<const char*>(padded_scores_), padded_mask_[0], sizeof padded_scores_[0],
                sizeof padded_mask_[0]};
    }

    // Entries of a tile. Returns false if a kept score is negative and Signed is not.
    template <int Rows, bool Signed, bool square>
    inline __attribute__((always_inline)) bool read_tile(const TileRows& tile, int t, const T* u,
                                                         const T* v) {
        const Wide zero = Wide::all(0.0), infinite = Wide::all(std::numeric_limits<double>::infinity());
        const Bits zero_bits = Bits::all(std::int64_t{0});
        const Bits sign = Bits::all(std::numeric_limits<std::int64_t>::min());
        Wide violation = zero, kept = zero, magnitude = zero, least_kept = infinite, worthy = zero;
        Bits signs = zero_bits;
        alignas(64) double row_price[longest_side];
        for (int at = 0; at < pitch_; at += lanes) {
            const Wide price = Wide::convert(u + at);
            price.store(row_price + at);
            violation = violation + bits_and_not(price, sign) * Wide::all(rounding_.rows);
        }
        for (int at = 0; at < pitch_; at += lanes) {
            Wide price = Wide::convert(v + at);
            violation = violation + bits_and_not(price, sign) * Wide::all(rounding_.columns);
            if (Rows == 0 && at + lanes > width_) price = costly_beyond_the_tile(price, at);
            Wide column = zero, size = zero;
            const char* scores = tile.scores + at * sizeof(T);
            const char* mask = tile.mask + at;
            constexpr int together = Rows == 0 ? 1 : Rows;
            for (int first = 0; first < height_; first += together) {
#pragma GCC unroll 8
                for (int i = first; i < first + together; ++i, scores += tile.down, mask += tile.mask_down) {
                    Wide score = Wide::convert(reinterpret_cast<const T*>(scores));
                    if (square) score = score * score;
                    const Choice kept_here(mask);
                    const Wide cost = Wide::all(row_price[i]) + price;
                    violation = violation + positive_part(kept_here.turned_difference(score, cost));
                    column = kept_here.added(column, score);
                    if (Signed) size = kept_here.added(size, bits_and_not(score, sign));
                    else signs = kept_here.gathered(signs, score);
                }
            }
            if (!Signed) size = column;
            kept = kept + column;
            magnitude = magnitude + size;
            const Bits keeps = size > zero;
            least_kept = least(least_kept, select(keeps, size, infinite));
            worthy = worthy + bits_and(Wide::all(1.0), keeps);
        }
        violation.store(violation_[t]);
        kept.store(kept_[t]);
        magnitude.store(magnitude_[t]);
        least_kept.store(least_[t]);
        worthy.store(worthy_[t]);
        return Signed || (signs < zero_bits).bits() == 0;
    }

    // Columns beyond the tile cost infinitely much, so that dropping their entries is right.
    Wide costly_beyond_the_tile(const Wide& price, int at) const {
        double costs[lanes];
        price.store(costs);
        for (int l = 0; l < lanes; ++l)
            if (at + l >= width_) costs[l] = std::numeric_limits<double>::infinity();
        return Wide::load(costs);
    }

    // Whether the mask of a tile meets the bounds; notes what its lines contribute. `words`: those of a row.
    template <int words>
    __attribute__((noinline)) bool count_lines(const TileRows& tile, int t, const T* u, const T* v) {
        Word in_columns[words] = {}, seen = 0, differs = 0;
        const Word row_most = static_cast<Word>(job_.row_most),
                   column_most = static_cast<Word>(job_.column_most);
        const char* mask = tile.mask;
        for (int i = 0; i < height_; ++i, mask += tile.mask_down) {
            Word in_row = 0;
            for (int w = 0; w < words; ++w) {
                Word word;
                std::memcpy(&word, mask + w * sizeof word, sizeof word);
                seen |= word;
                in_columns[w] += word;
                in_row += word;
            }
            differs |= (in_row * ones >> 56) ^ row_most;
        }
        for (int w = 0; w < words; ++w) {
            const int left = width_ - 8 * w;  // columns from this word on
            const Word columns = left >= 8 ? ones : left <= 0 ? 0 : ones >> 8 * (8 - left);
            differs |= in_columns[w] ^ (column_most * columns);
        }
        lines_[t] = 0;
        if ((seen & ~ones) != 0) return false;
        if (job_.row_least == job_.row_most) return differs == 0;
        if (differs == 0 && !has_sign(u, pitch_) && !has_sign(v, pitch_)) return true;
        return add_violations_of_lines(job_, tile.mask, tile.mask_down, height_, width_, u, v, lines_[t]);
    }

    // The batch's verdicts, a tile in each lane. Beyond the last tile they say nothing.
    void add_up(int first, Verdicts& verdicts) const {
        const Wide violation = sum(violation_) + Wide::load(lines_), magnitude = sum(magnitude_);
        const Wide worthy = sum(worthy_), zero = Wide::all(0.0);
        sum(kept_).store(verdicts.objective + first);
        violation.store(verdicts.violation + first);
        select(worthy > zero, worthy * smallest(least_), zero).store(verdicts.scale + first);
        (violation + (magnitude + violation) * Wide::all(rounding_.sums)).store(verdicts.slack + first);
    }

    static Wide sum(const double (*tiles)[lanes]) {
        alignas(64) double x[lanes][batch];
        transpose<double, lanes>(tiles, x);
        const auto at = [&x](int k) { return Wide::load(x[k]); };
        return ((at(0) + at(4)) + (at(1) + at(5))) + ((at(2) + at(6)) + (at(3) + at(7)));
    }
    static Wide smallest(const double (*tiles)[lanes]) {
        alignas(64) double x[lanes][batch];
        transpose<double, lanes>(tiles, x);
        Wide low = Wide::load(x[0]);
        for (int k = 1; k < lanes; ++k) low = least(low, Wide::load(x[k]));
        return low;
    }
};

}  // namespace MASKSOLVE_ISA
}  // namespace masksolve
