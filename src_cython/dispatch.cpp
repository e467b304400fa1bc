#include "drivers/dispatch.hpp"

#include "arrays/floating_point.hpp"
#include "drivers/general_tiles.hpp"

namespace masksolve {

namespace baseline {
void solve_in_single(const Job&, Outcome&);
void solve_in_double(const Job&, Outcome&);
}  // namespace baseline
static bool always() { return true; }

#if MASKSOLVE_WIDE
namespace avx2 {
void solve_in_single(const Job&, Outcome&);
void solve_in_double(const Job&, Outcome&);
}  // namespace avx2
namespace avx512 {
void solve_in_single(const Job&, Outcome&);
void solve_in_double(const Job&, Outcome&);
}  // namespace avx512
static bool has_avx2() {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("f16c") &&
           __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2") &&
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
    {"avx512", has_avx512, avx512::solve_in_single, avx512::solve_in_double},
    {"avx2", has_avx2, avx2::solve_in_single, avx2::solve_in_double},
#endif
    {"baseline", always, baseline::solve_in_single, baseline::solve_in_double},
};
const int engine_count = sizeof engines / sizeof *engines;

// Whether a kernel takes the job's tiles: all m by m, or groups, with a choice and nothing forced.
static bool is_regular(const Job& job) {
    if (job.forced()) return false;
    if (job.height == 1 && job.column_least == 0 && job.column_most == 1) return true;
    return job.height == job.width && job.row_most < job.width && job.row_most == job.column_most &&
           job.row_least == job.column_least;
}

void solve_tiles(int engine, const Job& job, Outcome& outcome) {
    const DefaultArithmetic while_solving;
    if (!is_regular(job)) {
        Ledger ledger(job, outcome);
        GeneralSolver(job, outcome, ledger).solve_all();
        ledger.close();
    } else if (job.in_double()) {
        engines[engine].solve_in_double(job, outcome);
    } else {
        engines[engine].solve_in_single(job, outcome);
    }
}

}  // namespace masksolve
