// The engine in float64 for x86-64 processors with AVX2.
#include "drivers/dispatch.hpp"
#if MASKSOLVE_WIDE
// What other files use too comes first, so that it is compiled for any processor.
#include "drivers/engine_common.hpp"
#pragma GCC push_options
#pragma GCC target("avx2,f16c,bmi,bmi2,popcnt,lzcnt")
#define MASKSOLVE_ISA avx2
#define MASKSOLVE_VECTOR_BYTES 32
#include "drivers/engine.hpp"
namespace masksolve {
namespace avx2 {
void solve_in_double(const Job& job, Outcome& outcome) { solve_as<double>(job, outcome); }
void fill_in_double(const Job& job, Outcome& outcome) { fill_as<double>(job, outcome); }
}  // namespace avx2
}  // namespace masksolve
#pragma GCC pop_options
#endif
