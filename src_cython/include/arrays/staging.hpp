// Scores and masks as the kernels want them, whatever the caller's dtype, strides and rule for scores.
//
// Kernels know two layouts. In *rows*, the tiles of a segment stand beside each other and the entries of a
// tile's row are neighbours. In *columns*, which groups along another axis than the last use, entry j of all
// groups is a row. Arrays of the kernel's own type that lie so are read and written in place; others pass
// through buffers that stay in the first-level cache. Which of the two layouts is used depends on the shape
// of the problem alone, so that sums are the same wherever the array lies.
#pragma once

#include <algorithm>
#include <limits>

#include "arrays/convert.hpp"
#include "arrays/strips.hpp"

namespace masksolve {
namespace MASKSOLVE_ISA {

// The tiles of a segment in one of the layouts; strides in bytes.
template <typename T>
struct Window {
    const char* scores;
    char* mask;
    std::ptrdiff_t down, across, step, mask_down, mask_across, mask_step;

    const T* row(int tile, int i) const {
        return reinterpret_cast<const T*>(scores + tile * step + i * down);
    }
    const char* mask_row(int tile, int i) const { return mask + tile * mask_step + i * mask_down; }
    char* mask_row(int tile, int i) { return mask + tile * mask_step + i * mask_down; }
};

// Three axes of an array: the lines of all tiles, the tiles, and the entries of a line.
struct Axes {
    int length[3];
    std::ptrdiff_t stride[3];  // in bytes
};

// The axes from the largest stride to the smallest; those of equal strides stay in their order.
inline void order_by_stride(const Axes& axes, int* order) {
    for (int k = 0; k < 3; ++k) {
        int at = k;
        for (; at > 0 && std::abs(axes.stride[order[at - 1]]) < std::abs(axes.stride[k]); --at)
            order[at] = order[at - 1];
        order[at] = k;
    }
}

// Copies a few bytes: a call of memcpy takes longer than that.
inline void copy_short(char* to, const char* from, std::size_t bytes) {
    constexpr std::size_t word = sizeof(std::uint64_t);
    for (; bytes >= word; bytes -= word, to += word, from += word) std::memcpy(to, from, word);
    for (; bytes > 0; --bytes) *to++ = *from++;
}

template <typename Entry, bool gather>
void move_entries(const Axes& axes, char* strided, Entry* packed) {
    const std::ptrdiff_t pitch[3] = {static_cast<std::ptrdiff_t>(axes.length[1]) * axes.length[2],
                                     axes.length[2], 1};
    // The caller's memory is walked through with its smallest stride in the innermost loop.
    int order[3];
    order_by_stride(axes, order);
    const int a = order[0], b = order[1], c = order[2];
    for (int x = 0; x < axes.length[a]; ++x)
        for (int y = 0; y < axes.length[b]; ++y) {
            char* place = strided + x * axes.stride[a] + y * axes.stride[b];
            Entry* entry = packed + x * pitch[a] + y * pitch[b];
            if (axes.stride[c] == static_cast<std::ptrdiff_t>(sizeof(Entry)) && pitch[c] == 1) {
                const std::size_t bytes = axes.length[c] * sizeof(Entry);
                char* run = reinterpret_cast<char*>(entry);
                if (gather) copy_short(run, place, bytes);
                else copy_short(place, run, bytes);
                continue;
            }
            for (int z = 0; z < axes.length[c]; ++z, place += axes.stride[c], entry += pitch[c]) {
                if (gather) std::memcpy(entry, place, sizeof(Entry));
                else std::memcpy(place, entry, sizeof(Entry));
            }
        }
}

inline void gather_entries(const Axes& axes, int bytes, const char* from, char* to) {
    char* place = const_cast<char*>(from);  // only read
    if (bytes == 1) move_entries<std::uint8_t, true>(axes, place, reinterpret_cast<std::uint8_t*>(to));
    else if (bytes == 2) move_entries<std::uint16_t, true>(axes, place, reinterpret_cast<std::uint16_t*>(to));
    else if (bytes == 4) move_entries<std::uint32_t, true>(axes, place, reinterpret_cast<std::uint32_t*>(to));
    else move_entries<std::uint64_t, true>(axes, place, reinterpret_cast<std::uint64_t*>(to));
}

template <typename T>
class Staging {
public:
    // `packed`: the kernel also wants a segment's tiles without gaps between them.
    Staging(const Job& job, bool packed)
        : job_(job), columns_(job.groups_in_columns && job.height == 1), packed_(packed || columns_) {}

    // Squares are taken by the kernels and the certificate, each in its own precision, if T does not hold
    // them.
    static bool squares_later(const Job& job) {
        return job.score == Score::square && sizeof(T) == sizeof(float);
    }

    bool in_columns() const { return columns_; }

    // Decides what is read and written in place. False if scores that are read in place are unfit; those that
    // are converted are looked at by `open`.
    bool begin(const Strip& strip, double& largest) {
        scores_ = axes(strip.scores.step, job_.down(), job_.across());
        mask_ = axes(strip.mask.step, job_.mask_down(), job_.mask_across());
        constexpr Dtype own = sizeof(T) == sizeof(float) ? Dtype::f32 : Dtype::f64;
        const bool unchanged = job_.score == Score::value || squares_later(job_);
        in_place_ = job_.dtype == own && unchanged && lies_right(scores_, sizeof(T)) && is_aligned(strip);
        mask_in_place_ = lies_right(mask_, 1);
        if (!is_floating(job_.dtype)) largest = job_.largest;  // integers, whose magnitudes are known
        return !in_place_ || look_over(strip, largest);
    }

    // Tiles k to k + count - 1 of the strip. False if a score is unfit.
    bool open(const Strip& strip, std::ptrdiff_t k, int count, Window<T>& window, double& largest) {
        const std::ptrdiff_t width = columns_ ? 1 : job_.width;
        if (in_place_) {
            window.scores = strip.scores[k];
            window.step = strip.scores.step;
            window.down = job_.down();
            window.across = job_.across();
        } else {
            if (!stage(strip.scores[k], count, largest)) return false;
            window.scores = reinterpret_cast<const char*>(values_);
            window.step = width * sizeof(T);
            window.down = count * width * sizeof(T);
            window.across = (columns_ ? count : 1) * sizeof(T);
        }
        if (mask_in_place_) {
            window.mask = strip.mask[k];
            window.mask_step = strip.mask.step;
            window.mask_down = job_.mask_down();
            window.mask_across = job_.mask_across();
        } else {
            window.mask = mask_bytes_;
            window.mask_step = width;
            window.mask_down = count * width;
            window.mask_across = columns_ ? count : 1;
        }
        return true;
    }

    // Puts the mask where the caller wants it.
    void close(const Strip& strip, std::ptrdiff_t k, int count) {
        if (mask_in_place_) return;
        mask_.length[1] = count;
        move_entries<char, false>(mask_, strip.mask[k], mask_bytes_);
    }

private:
    const Job& job_;
    bool columns_, packed_, in_place_ = false, mask_in_place_ = false;
    Axes scores_{}, mask_{};
    alignas(64) T values_[largest_tile];
    alignas(64) char raw_[largest_tile * sizeof(double)];
    alignas(64) char mask_bytes_[largest_tile];

    Axes axes(std::ptrdiff_t step, std::ptrdiff_t down, std::ptrdiff_t across) const {
        if (columns_) return {{job_.width, 0, 1}, {across, step, 0}};
        return {{job_.height, 0, job_.width}, {down, step, across}};
    }

    bool lies_right(const Axes& array, std::ptrdiff_t bytes) const {
        const bool rows = array.length[2] == 1 || array.stride[2] == bytes;
        return rows && (!packed_ || array.stride[1] == array.length[2] * bytes);
    }

    bool is_aligned(const Strip& strip) const {
        auto places = reinterpret_cast<std::uintptr_t>(strip.scores.place);
        for (const std::ptrdiff_t stride : scores_.stride) places |= static_cast<std::uintptr_t>(stride);
        return places % sizeof(T) == 0;
    }

    // Reads a strip once, which brings it into the cache; false if a score is unfit.
    bool look_over(const Strip& strip, double& largest) const {
        using Bits = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;
        const std::ptrdiff_t entry = sizeof(T), step = strip.scores.step,
                             run = strip.count * scores_.length[2];
        Bits bits;
        if (step == scores_.length[2] * entry) {
            const std::ptrdiff_t shape[] = {scores_.length[0], run}, strides[] = {scores_.stride[0], entry};
            bits = largest_bits<Bits>(strip.scores.place, 2, shape, strides);
        } else {
            const std::ptrdiff_t shape[] = {strip.count, job_.height, job_.width};
            const std::ptrdiff_t strides[] = {step, job_.down(), entry};
            bits = largest_bits<Bits>(strip.scores.place, 3, shape, strides);
        }
        return fits(bits, largest);
    }

    template <typename Bits>
    bool fits(Bits bits, double& largest) const {
        const T limit = static_cast<T>(job_.limit());
        Bits limit_bits;
        T value;
        std::memcpy(&limit_bits, &limit, sizeof limit);
        std::memcpy(&value, &bits, sizeof value);
        if (bits > limit_bits) return false;
        largest = std::max(largest, static_cast<double>(value));
        return true;
    }

    // Its loops, one for each type, would crowd the registers of the kernel around it.
    __attribute__((noinline)) void convert(const char* from, std::ptrdiff_t count, T* to) const {
        convert_run(job_.dtype, from, count, to);
    }

    // Fills `values_`; false if a score is unfit.
    bool stage(const char* from, int count, double& largest) {
        const int bytes = entry_bytes(job_.dtype);
        const std::ptrdiff_t run = static_cast<std::ptrdiff_t>(count) * scores_.length[2];
        const std::ptrdiff_t all = run * scores_.length[0];
        const bool rows = scores_.length[2] == 1 || scores_.stride[2] == bytes;
        if (rows && (count == 1 || scores_.stride[1] == scores_.length[2] * bytes)) {
            if (scores_.length[0] == 1 || scores_.stride[0] == run * bytes) convert(from, all, values_);
            else
                for (int i = 0; i < scores_.length[0]; ++i)
                    convert(from + i * scores_.stride[0], run, values_ + i * run);
        } else {
            scores_.length[1] = count;
            gather_entries(scores_, bytes, from, raw_);
            convert(raw_, all, values_);
        }
        if (is_floating(job_.dtype)) {
            using Bits = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;
            const char* values = reinterpret_cast<const char*>(values_);
            if (!fits(largest_in_run(values, all, Bits{0}), largest)) return false;
        }
        if (job_.score == Score::magnitude && is_signed(job_.dtype)) take_magnitudes(values_, all);
        if (job_.score == Score::square && !squares_later(job_)) take_squares(values_, all);
        return true;
    }
};

}  // namespace MASKSOLVE_ISA
}  // namespace masksolve
