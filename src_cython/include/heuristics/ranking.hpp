// The entries of a tile in the order of their scores; equal scores stay in row-major order.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "arrays/strips.hpp"

namespace masksolve {

constexpr int largest_side = 64;

template <typename T>
struct KeyOf;
template <>
struct KeyOf<float> {
    using type = std::uint32_t;
};
template <>
struct KeyOf<double> {
    using type = std::uint64_t;
};
template <typename T>
using Key = typename KeyOf<T>::type;

// An entry of a tile: its key, and its place as row * 64 + column.
template <typename T>
struct Entry {
    Key<T> key;
    Key<T> place;

    int row() const { return static_cast<int>(place >> 6); }
    int column() const { return static_cast<int>(place & 63); }
};

// An integer that orders like the score; -0 equals 0, which the addition sees to.
template <typename T>
Key<T> ascending_key(T score) {
    const T value = score + T{0};
    Key<T> bits;
    std::memcpy(&bits, &value, sizeof bits);
    const Key<T> sign = Key<T>{1} << (8 * sizeof bits - 1);
    return bits & sign ? ~bits : bits | sign;
}

template <typename T>
void insertion_sort(Entry<T>* entries, int count) {
    for (int i = 1; i < count; ++i) {
        const Entry<T> entry = entries[i];
        int j = i;
        for (; j > 0 && entry.key < entries[j - 1].key; --j) entries[j] = entries[j - 1];
        entries[j] = entry;
    }
}

// Least significant byte first; bytes that all keys share are skipped. Returns where the result
// lies, `entries` or `spare`.
template <typename T>
Entry<T>* radix_sort(Entry<T>* entries, Entry<T>* spare, int count) {
    constexpr int digits = sizeof(Key<T>);
    std::uint16_t starts[digits][256] = {};
    for (int i = 0; i < count; ++i)
        for (int digit = 0; digit < digits; ++digit) ++starts[digit][entries[i].key >> (8 * digit) & 255];
    for (int digit = 0; digit < digits; ++digit) {
        std::uint16_t* start = starts[digit];
        if (start[entries[0].key >> (8 * digit) & 255] == count) continue;
        std::uint16_t sum = 0;
        for (int value = 0; value < 256; ++value) {
            const std::uint16_t here = start[value];
            start[value] = sum;
            sum = static_cast<std::uint16_t>(sum + here);
        }
        for (int i = 0; i < count; ++i) spare[start[entries[i].key >> (8 * digit) & 255]++] = entries[i];
        std::swap(entries, spare);
    }
    return entries;
}

// The entries of a tile, scores[row * width + column], lightest first or heaviest first. Both sorts
// are stable. Returns where the ranking lies, `entries` or `spare`.
template <typename T>
const Entry<T>* rank_entries(const T* scores, int height, int width, bool heaviest_first, Entry<T>* entries,
                             Entry<T>* spare) {
    constexpr int few = 12 * sizeof(Key<T>);  // measured: up to here a radix sort does not pay
    const Key<T> flip = heaviest_first ? static_cast<Key<T>>(~Key<T>{0}) : Key<T>{0};
    int count = 0;
    for (int row = 0; row < height; ++row)
        for (int column = 0; column < width; ++column, ++count) {
            entries[count].key = ascending_key(scores[count]) ^ flip;
            entries[count].place = static_cast<Key<T>>(row << 6 | column);
        }
    if (count > few) return radix_sort(entries, spare, count);
    insertion_sort(entries, count);
    return entries;
}

}  // namespace masksolve
