#include "dispatch.hpp"

namespace masksolve {

namespace baseline {
void solve_tiles(const Job&, Outcome&);
}
static bool always() { return true; }

#if MASKSOLVE_WIDE
namespace avx2 {
void solve_tiles(const Job&, Outcome&);
}
namespace avx512 {
void solve_tiles(const Job&, Outcome&);
}
static bool has_avx2() {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2") &&
           __builtin_cpu_supports("popcnt") && __builtin_cpu_supports("lzcnt");
}
static bool has_avx512() {
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}
#endif

// Best first.
const Engine engines[] = {
#if MASKSOLVE_WIDE
    {"avx512", has_avx512, avx512::solve_tiles},
    {"avx2", has_avx2, avx2::solve_tiles},
#endif
    {"baseline", always, baseline::solve_tiles},
};
const int engine_count = sizeof engines / sizeof *engines;

}  // namespace masksolve
