// The processor's floating-point mode, which belongs to a thread and which others may have changed.
//
// PyTorch offers to flush denormal numbers to zero, which is faster on some processors. Here it would be
// wrong: small float16 and float32 scores would read as 0 in the solver and in the certificate alike, so that
// nobody noticed.
#pragma once

#include <cstdint>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace masksolve {

// The mode of this thread, as the processor holds it.
inline std::uint64_t floating_point_mode() {
#if defined(__x86_64__)
    return _mm_getcsr();
#elif defined(__aarch64__)
    std::uint64_t mode;
    asm volatile("mrs %0, fpcr" : "=r"(mode));
    return mode;
#else
    return 0;
#endif
}

inline void set_floating_point_mode(std::uint64_t mode) {
#if defined(__x86_64__)
    _mm_setcsr(static_cast<unsigned>(mode));
#elif defined(__aarch64__)
    asm volatile("msr fpcr, %0" : : "r"(mode) : "memory");
#else
    (void)mode;
#endif
}

// The same mode, but IEEE 754's default arithmetic: denormal numbers count, results are rounded to nearest.
inline std::uint64_t with_default_arithmetic(std::uint64_t mode) {
#if defined(__x86_64__)
    constexpr std::uint64_t denormals_are_zero = 0x0040, rounding = 0x6000, flush_to_zero = 0x8000;
    return mode & ~(denormals_are_zero | rounding | flush_to_zero);
#elif defined(__aarch64__)
    constexpr std::uint64_t flush_half = 1 << 19, rounding = 3 << 22, flush_to_zero = 1 << 24;
    return mode & ~(flush_half | rounding | flush_to_zero);
#else
    return mode;
#endif
}

// Default arithmetic for this thread while the object lives.
class DefaultArithmetic {
public:
    DefaultArithmetic() : saved_(floating_point_mode()) {
        set_floating_point_mode(with_default_arithmetic(saved_));
    }
    ~DefaultArithmetic() { set_floating_point_mode(saved_); }
    DefaultArithmetic(const DefaultArithmetic&) = delete;
    DefaultArithmetic& operator=(const DefaultArithmetic&) = delete;

private:
    std::uint64_t saved_;
};

}  // namespace masksolve
