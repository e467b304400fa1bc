// The engine in float32 for any processor of the architecture that is compiled for.
#include "drivers/engine_common.hpp"
#define MASKSOLVE_ISA baseline
#define MASKSOLVE_VECTOR_BYTES 16
#include "drivers/engine.hpp"
namespace masksolve {
namespace baseline {
void solve_in_single(const Job& job, Outcome& outcome) { solve_as<float>(job, outcome); }
void fill_in_single(const Job& job, Outcome& outcome) { fill_as<float>(job, outcome); }
}  // namespace baseline
}  // namespace masksolve
