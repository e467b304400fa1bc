// Entries that are kept or dropped together, in pairs or in blocks of two pairs: what each is worth, and the
// mask of all of them from one of the pairs. Both read and write arrays where they lie.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <type_traits>

#include "arrays/floating_point.hpp"
#include "arrays/job.hpp"
#include "arrays/scan.hpp"

namespace masksolve {

// Of each pair or block, the first entry; and for each axis along which entries are paired, how far its other
// entry is from the first, in bytes.
struct Pairs {
    Strided firsts;
    int axes = 1;
    std::ptrdiff_t apart[2] = {};
};

constexpr std::ptrdiff_t pairs_at_once = 512;  // so that all buffers stay in the first-level cache

// Calls line(place in a, stride, place in b, stride, count) for runs of the entries of two arrays of one
// shape, in the order of a's memory. Axes that continue one another are one.
template <typename Line>
void for_each_line(const Strided& a, const Strided& b, Line line) {
    struct Axis {
        std::ptrdiff_t length, a, b;
    };
    Axis axes[max_axes], merged[max_axes];
    int count = 0, left = 0;
    for (int k = 0; k < a.ndim; ++k) {
        if (a.shape[k] == 0) return;
        if (a.shape[k] > 1) axes[count++] = {a.shape[k], a.strides[k], b.strides[k]};
    }
    std::stable_sort(axes, axes + count,
                     [](const Axis& x, const Axis& y) { return std::abs(x.a) > std::abs(y.a); });
    for (int k = 0; k < count; ++k) {
        Axis* last = left == 0 ? nullptr : &merged[left - 1];
        if (last != nullptr && last->a == axes[k].length * axes[k].a && last->b == axes[k].length * axes[k].b)
            *last = {last->length * axes[k].length, axes[k].a, axes[k].b};
        else merged[left++] = axes[k];
    }
    if (left == 0) return line(a.data, std::ptrdiff_t{0}, b.data, std::ptrdiff_t{0}, std::ptrdiff_t{1});
    const Axis inner = merged[--left];
    std::ptrdiff_t index[max_axes] = {};
    char *place_a = a.data, *place_b = b.data;
    for (int axis = 0; axis >= 0;) {
        for (std::ptrdiff_t k = 0; k < inner.length; k += pairs_at_once)
            line(place_a + k * inner.a, inner.a, place_b + k * inner.b, inner.b,
                 std::min(pairs_at_once, inner.length - k));
        for (axis = left - 1; axis >= 0; --axis) {
            place_a += merged[axis].a;
            place_b += merged[axis].b;
            if (++index[axis] < merged[axis].length) break;
            place_a -= merged[axis].length * merged[axis].a;
            place_b -= merged[axis].length * merged[axis].b;
            index[axis] = 0;
        }
    }
}

// The four below are compiled for several instruction sets.
//
// What entries of any type are worth.
void read_scores(Dtype dtype, Score score, const char* from, std::ptrdiff_t count, double* to);

// Sums of neighbours, and of two lines: none is below the true sum. Four at a time, so that there must be
// room for three numbers more.
void join_neighbours(const double* both, std::ptrdiff_t count, double* to);
void join_lines(const double* one, const double* other, std::ptrdiff_t count, double* to);

// Rounds to float32; false if that changes a number.
bool narrow_run(const double* from, std::ptrdiff_t count, float* to);

// Adds up the pairs of an array into float32 or float64.
template <typename T>
class PairSums {
public:
    PairSums(const Pairs& pairs, Dtype dtype, Score score) : pairs_(pairs), dtype_(dtype), score_(score) {}

    // False if an entry is not finite or its magnitude exceeds `most`, or if T does not hold a sum.
    bool run(const Strided& sums, double most) {
        const DefaultArithmetic while_adding;
        for_each_line(pairs_.firsts, sums,
                      [this](const char* from, std::ptrdiff_t stride, char* to, std::ptrdiff_t to_stride,
                             std::ptrdiff_t count) {
                          add(from, stride, count, pairs_.axes, sums_);
                          store(count, to, to_stride);
                      });
        if (!is_floating(dtype_)) return exact_;
        double largest;
        read_scores(dtype_, Score::value, largest_, 1, &largest);
        return exact_ && largest <= (dtype_ == Dtype::f16 ? std::fmin(most, 65504.0) : most);
    }

private:
    const Pairs& pairs_;
    Dtype dtype_;
    Score score_;
    char largest_[sizeof(double)] = {};  // the largest magnitude of an entry, of its own type
    bool exact_ = true;
    alignas(64) double sums_[pairs_at_once] = {}, work_[2][2][4 * pairs_at_once] = {};
    alignas(64) float narrow_[pairs_at_once];
    char raw_[4 * pairs_at_once * sizeof(double)];

    // The sums over the first `axes` paired axes, of pairs that begin `stride` bytes from one another.
    void add(const char* from, std::ptrdiff_t stride, std::ptrdiff_t count, int axes, double* to) {
        if (axes == 0) return read(from, stride, count, to);
        const std::ptrdiff_t apart = pairs_.apart[axes - 1];
        double *one = work_[axes - 1][0], *other = work_[axes - 1][1];
        if (stride == 2 * apart) {
            add(from, apart, 2 * count, axes - 1, one);
            join_neighbours(one, count, to);
        } else {
            add(from, stride, count, axes - 1, one);
            add(from + apart, stride, count, axes - 1, other);
            join_lines(one, other, count, to);
        }
    }

    void read(const char* from, std::ptrdiff_t stride, std::ptrdiff_t count, double* to) {
        const std::ptrdiff_t bytes = entry_bytes(dtype_);
        if (stride != bytes) {
            for (std::ptrdiff_t k = 0; k < count; ++k)
                std::memcpy(raw_ + k * bytes, from + k * stride, bytes);
            from = raw_;
        }
        if (is_floating(dtype_)) {
            if (bytes == 2) look_over<std::uint16_t>(from, count);
            else if (bytes == 4) look_over<std::uint32_t>(from, count);
            else look_over<std::uint64_t>(from, count);
        }
        read_scores(dtype_, score_, from, count, to);
    }

    template <typename Bits>
    void look_over(const char* from, std::ptrdiff_t count) {
        Bits bits;
        std::memcpy(&bits, largest_, sizeof bits);
        bits = largest_in_run(from, count, bits);
        std::memcpy(largest_, &bits, sizeof bits);
    }

    void store(std::ptrdiff_t count, char* to, std::ptrdiff_t stride) {
        const void* values = sums_;
        if constexpr (std::is_same_v<T, float>) {
            exact_ &= narrow_run(sums_, count, narrow_);
            values = narrow_;
        }
        if (stride == sizeof(T)) std::memcpy(to, values, count * sizeof(T));
        else
            for (std::ptrdiff_t k = 0; k < count; ++k)
                std::memcpy(to + k * stride, static_cast<const T*>(values) + k, sizeof(T));
    }
};

// Gives all entries of each pair the pair's byte.
class PairSpreader {
public:
    explicit PairSpreader(const Pairs& pairs) : pairs_(pairs) {}

    void run(const Strided& mask) {
        for_each_line(pairs_.firsts, mask,
                      [this](char* to, std::ptrdiff_t stride, const char* from, std::ptrdiff_t from_stride,
                             std::ptrdiff_t count) {
                          for (std::ptrdiff_t k = 0; k < count; ++k) bytes_[0][k] = from[k * from_stride];
                          spread(bytes_[0], count, to, stride, pairs_.axes);
                      });
    }

private:
    const Pairs& pairs_;
    char bytes_[3][4 * pairs_at_once];

    void spread(const char* bytes, std::ptrdiff_t count, char* to, std::ptrdiff_t stride, int axes) {
        if (axes == 0) {
            if (stride == 1) std::memcpy(to, bytes, count);
            else
                for (std::ptrdiff_t k = 0; k < count; ++k) to[k * stride] = bytes[k];
            return;
        }
        const std::ptrdiff_t apart = pairs_.apart[axes - 1];
        if (stride == 2 * apart) {
            char* const twice = bytes_[axes];
            for (std::ptrdiff_t k = 0; k < count; ++k) twice[2 * k] = twice[2 * k + 1] = bytes[k];
            spread(twice, 2 * count, to, apart, axes - 1);
        } else {
            spread(bytes, count, to, stride, axes - 1);
            spread(bytes, count, to + apart, stride, axes - 1);
        }
    }
};

inline bool add_pairs(const Pairs& pairs, Dtype dtype, Score score, double most, bool in_double,
                      const Strided& sums) {
    if (in_double) return PairSums<double>(pairs, dtype, score).run(sums, most);
    return PairSums<float>(pairs, dtype, score).run(sums, most);
}
inline void spread_pairs(const Strided& mask, const Pairs& pairs) { PairSpreader(pairs).run(mask); }

}  // namespace masksolve
