#include "arrays/scan.hpp"

#include <cstring>
#include <type_traits>

#include "arrays/clones.hpp"

namespace masksolve {

// Magnitudes have no sign bit, so they compare as signed integers, for which there are vector instructions.
template <typename Bits>
static inline __attribute__((always_inline)) Bits largest_magnitude(const char* data, std::ptrdiff_t count,
                                                                    Bits least) {
    using Signed = std::make_signed_t<Bits>;
    constexpr int lanes = 128 / sizeof(Bits);
    Signed lane[lanes] = {};
    Signed largest = static_cast<Signed>(least);
    std::ptrdiff_t i = 0;
    for (; i + lanes <= count; i += lanes)
        for (int l = 0; l < lanes; ++l) {
            const auto value = static_cast<Signed>(magnitude_bits<Bits>(data + (i + l) * sizeof(Bits)));
            lane[l] = value > lane[l] ? value : lane[l];
        }
    for (; i < count; ++i) {
        const auto value = static_cast<Signed>(magnitude_bits<Bits>(data + i * sizeof(Bits)));
        largest = value > largest ? value : largest;
    }
    for (int l = 0; l < lanes; ++l) largest = lane[l] > largest ? lane[l] : largest;
    return static_cast<Bits>(largest);
}

// `Width`: the rows' width as a constant, or 0.
template <int Width, typename Bits>
static inline __attribute__((always_inline)) Bits largest_of_rows(const char* data, std::ptrdiff_t rows,
                                                                  std::ptrdiff_t stride, int width,
                                                                  Bits least) {
    using Signed = std::make_signed_t<Bits>;
    Signed lane[most_in_short_row] = {};
    Signed largest = static_cast<Signed>(least);
    for (std::ptrdiff_t i = 0; i < rows; ++i)
        for (int l = 0; l < (Width ? Width : width); ++l) {
            const auto value =
                static_cast<Signed>(magnitude_bits<Bits>(data + i * stride + l * sizeof(Bits)));
            lane[l] = value > lane[l] ? value : lane[l];
        }
    for (int l = 0; l < most_in_short_row; ++l) largest = lane[l] > largest ? lane[l] : largest;
    return static_cast<Bits>(largest);
}

template <typename Bits>
static inline __attribute__((always_inline)) Bits largest_in_any_rows(const char* data, std::ptrdiff_t rows,
                                                                      std::ptrdiff_t stride, int width,
                                                                      Bits least) {
    switch (width) {
        case 4: return largest_of_rows<4>(data, rows, stride, width, least);
        case 8: return largest_of_rows<8>(data, rows, stride, width, least);
        case 16: return largest_of_rows<16>(data, rows, stride, width, least);
        default: return largest_of_rows<0>(data, rows, stride, width, least);
    }
}

MASKSOLVE_CLONES std::uint16_t largest_in_rows(const char* data, std::ptrdiff_t rows, std::ptrdiff_t stride,
                                               int width, std::uint16_t least) {
    return largest_in_any_rows(data, rows, stride, width, least);
}
MASKSOLVE_CLONES std::uint32_t largest_in_rows(const char* data, std::ptrdiff_t rows, std::ptrdiff_t stride,
                                               int width, std::uint32_t least) {
    return largest_in_any_rows(data, rows, stride, width, least);
}
MASKSOLVE_CLONES std::uint64_t largest_in_rows(const char* data, std::ptrdiff_t rows, std::ptrdiff_t stride,
                                               int width, std::uint64_t least) {
    return largest_in_any_rows(data, rows, stride, width, least);
}

MASKSOLVE_CLONES std::uint16_t largest_in_run(const char* data, std::ptrdiff_t count, std::uint16_t least) {
    return largest_magnitude(data, count, least);
}
MASKSOLVE_CLONES std::uint32_t largest_in_run(const char* data, std::ptrdiff_t count, std::uint32_t least) {
    return largest_magnitude(data, count, least);
}
MASKSOLVE_CLONES std::uint64_t largest_in_run(const char* data, std::ptrdiff_t count, std::uint64_t least) {
    return largest_magnitude(data, count, least);
}

}  // namespace masksolve
