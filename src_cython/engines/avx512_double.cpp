// The engine in float64 for x86-64 processors with AVX-512.
#include "drivers/dispatch.hpp"
#if MASKSOLVE_WIDE
// What other files use too comes first, so that it is compiled for any processor.
#include "drivers/engine_common.hpp"
#pragma GCC push_options
#pragma GCC target( \
    "avx512f,avx512bw,avx512dq,avx512vl,avx2,f16c,bmi,bmi2,popcnt,lzcnt,prefer-vector-width=512")
#define MASKSOLVE_ISA avx512
#define MASKSOLVE_VECTOR_BYTES 64
#include "drivers/engine.hpp"
namespace masksolve {
namespace avx512 {
void solve_in_double(const Job& job, Outcome& outcome) { solve_as<double>(job, outcome); }
void fill_in_double(const Job& job, Outcome& outcome) { fill_as<double>(job, outcome); }
}  // namespace avx512
}  // namespace masksolve
#pragma GCC pop_options
#endif
