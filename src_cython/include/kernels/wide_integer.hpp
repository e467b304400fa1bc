// Signed integers of a fixed number of 64-bit limbs, for tiles whose scores float64 cannot tell apart.
//
// Every float64 is an integer times a power of two, so the scores of a tile are integers over a common one.
// Adding, subtracting and comparing are all that shortest paths need.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

namespace masksolve {

template <int Limbs>
struct WideInteger {
    std::uint64_t limb[Limbs] = {};  // two's complement, least significant first

    static constexpr int bits = 64 * Limbs;

    bool negative() const { return limb[Limbs - 1] >> 63; }

    // value * 2^shift for an integer |value| < 2^63.
    static WideInteger shifted(std::int64_t value, int shift) {
        WideInteger x;
        const std::uint64_t magnitude =
            value < 0 ? -static_cast<std::uint64_t>(value) : static_cast<std::uint64_t>(value);
        const int at = shift / 64, by = shift % 64;
        x.limb[at] = magnitude << by;
        if (by > 0 && at + 1 < Limbs) x.limb[at + 1] = magnitude >> (64 - by);
        return value < 0 ? -x : x;
    }

    // Larger than any sum of scores that occurs, yet small enough to be added to one.
    static WideInteger infinity() { return shifted(1, bits - 3); }

    friend WideInteger operator+(const WideInteger& a, const WideInteger& b) {
        WideInteger sum;
        unsigned carry = 0;
        for (int k = 0; k < Limbs; ++k) {
            const std::uint64_t part = a.limb[k] + carry;
            const unsigned first = part < carry;
            sum.limb[k] = part + b.limb[k];
            carry = first | (sum.limb[k] < part);
        }
        return sum;
    }
    friend WideInteger operator-(const WideInteger& a) {
        WideInteger x;
        unsigned carry = 1;
        for (int k = 0; k < Limbs; ++k) {
            x.limb[k] = ~a.limb[k] + carry;
            carry = carry && x.limb[k] == 0;
        }
        return x;
    }
    friend WideInteger operator-(const WideInteger& a, const WideInteger& b) { return a + -b; }
    WideInteger& operator+=(const WideInteger& b) { return *this = *this + b; }

    friend bool operator==(const WideInteger& a, const WideInteger& b) {
        return std::memcmp(a.limb, b.limb, sizeof a.limb) == 0;
    }
    friend bool operator!=(const WideInteger& a, const WideInteger& b) { return !(a == b); }
    friend bool operator<(const WideInteger& a, const WideInteger& b) {
        if (a.negative() != b.negative()) return a.negative();
        for (int k = Limbs - 1; k >= 0; --k)
            if (a.limb[k] != b.limb[k]) return a.limb[k] < b.limb[k];
        return false;
    }
    friend bool operator>(const WideInteger& a, const WideInteger& b) { return b < a; }

    // The float64 nearest to this times 2^exponent, or the least that is not below it.
    double times_power(int exponent, bool upwards) const {
        const bool minus = negative();
        const WideInteger magnitude = minus ? -*this : *this;
        int top = Limbs - 1;
        while (top > 0 && magnitude.limb[top] == 0) --top;
        if (magnitude.limb[top] == 0) return 0;
        // The 64 most significant bits, and whether anything is left below them.
        const int leading = __builtin_clzll(magnitude.limb[top]);
        std::uint64_t head = magnitude.limb[top] << leading;
        bool rest = false;
        if (top > 0) {
            if (leading > 0) head |= magnitude.limb[top - 1] >> (64 - leading);
            rest = (magnitude.limb[top - 1] << leading) != 0;
            for (int k = top - 2; k >= 0; --k) rest |= magnitude.limb[k] != 0;
        }
        constexpr int dropped = 11;  // bits of `head` beyond the 53 that float64 holds
        const std::uint64_t tail = head & ((1u << dropped) - 1), half = 1u << (dropped - 1);
        std::uint64_t kept = head >> dropped;
        if (upwards) kept += !minus && (tail != 0 || rest);
        else kept += tail > half || (tail == half && (rest || (kept & 1)));
        // A denormal result is exact: the common power of two is one that float64 has.
        const double value = std::ldexp(static_cast<double>(kept), exponent + 64 * top - leading + dropped);
        return minus ? -value : value;
    }
};

}  // namespace masksolve
