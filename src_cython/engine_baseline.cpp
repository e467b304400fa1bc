// The engine for any processor of the architecture that is compiled for.
#include "engine_common.hpp"
#define MASKSOLVE_ISA baseline
#define MASKSOLVE_VECTOR_BYTES 16
#include "engine.hpp"
