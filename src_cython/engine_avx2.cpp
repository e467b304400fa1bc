// The engine for x86-64 processors with AVX2.
#include "dispatch.hpp"
#if MASKSOLVE_WIDE
// What other files use too comes first, so that it is compiled for any processor.
#include "engine_common.hpp"
#pragma GCC push_options
#pragma GCC target("avx2,bmi,bmi2,popcnt,lzcnt")
#define MASKSOLVE_ISA avx2
#define MASKSOLVE_VECTOR_BYTES 32
#include "engine.hpp"
#pragma GCC pop_options
#endif
