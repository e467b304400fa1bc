// Functions that are compiled for processors with AVX2 as well; which version is called is decided when the
// program is loaded.
#pragma once

#include "drivers/dispatch.hpp"

// The loader picks the version for the processor before a sanitizer is ready for it.
#if MASKSOLVE_WIDE && !defined(__SANITIZE_ADDRESS__)
#define MASKSOLVE_CLONES __attribute__((target_clones("avx2", "default"), flatten))
#else
#define MASKSOLVE_CLONES
#endif
