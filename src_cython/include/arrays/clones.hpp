// Functions that are compiled for processors with AVX2 as well; which version is called is decided when the
// program is loaded.
#pragma once

#include <cstddef>  // tells which C library there is

#include "drivers/dispatch.hpp"

// The loader of glibc picks the version for the processor, and does so before a sanitizer is ready for it;
// other C libraries, such as musl, have no loader that picks.
#if MASKSOLVE_WIDE && defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__)
#define MASKSOLVE_CLONES __attribute__((target_clones("avx2", "default"), flatten))
#else
#define MASKSOLVE_CLONES
#endif
