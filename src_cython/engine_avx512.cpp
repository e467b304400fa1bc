// The engine for x86-64 processors with AVX-512.
#include "dispatch.hpp"
#if MASKSOLVE_WIDE
// What other files use too comes first, so that it is compiled for any processor.
#include "engine_common.hpp"
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx2,bmi,bmi2,popcnt,lzcnt,prefer-vector-width=512")
#define MASKSOLVE_ISA avx512
#define MASKSOLVE_VECTOR_BYTES 64
#include "engine.hpp"
#pragma GCC pop_options
#endif
