#include "drivers/dispatch.hpp"

#include <limits>
#include <utility>

#include "arrays/floating_point.hpp"
#include "drivers/general_tiles.hpp"

namespace masksolve {

namespace baseline {
void solve_in_single(const Job&, Outcome&);
void solve_in_double(const Job&, Outcome&);
void fill_in_single(const Job&, Outcome&);
void fill_in_double(const Job&, Outcome&);
}  // namespace baseline
static bool always() { return true; }

#if MASKSOLVE_WIDE
namespace avx2 {
void solve_in_single(const Job&, Outcome&);
void solve_in_double(const Job&, Outcome&);
void fill_in_single(const Job&, Outcome&);
void fill_in_double(const Job&, Outcome&);
}  // namespace avx2
namespace avx512 {
void solve_in_single(const Job&, Outcome&);
void solve_in_double(const Job&, Outcome&);
void fill_in_single(const Job&, Outcome&);
void fill_in_double(const Job&, Outcome&);
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
    {"avx512", has_avx512, avx512::solve_in_single, avx512::solve_in_double, avx512::fill_in_single,
     avx512::fill_in_double},
    {"avx2", has_avx2, avx2::solve_in_single, avx2::solve_in_double, avx2::fill_in_single,
     avx2::fill_in_double},
#endif
    {"baseline", always, baseline::solve_in_single, baseline::solve_in_double, baseline::fill_in_single,
     baseline::fill_in_double},
};
const int engine_count = sizeof engines / sizeof *engines;

// Whether a kernel takes the job's tiles: groups, or tiles whose rows and columns keep equally many in all,
// or at most so many, with a choice and nothing forced.
static bool is_regular(const Job& job) {
    if (job.forced()) return false;
    if (job.height == 1 && job.column_most == 1 && (job.column_least == 0 || job.width == 1)) return true;
    const Bounds rows = job.row_bounds(), columns = job.column_bounds();
    const bool exact = rows.least == rows.most && columns.least == columns.most;
    const bool at_most = rows.least == 0 && columns.least == 0;
    return (exact || at_most) && rows.most <= job.width && columns.most <= job.height &&
           (at_most || job.height * rows.most == job.width * columns.most);
}

// Kernels want tiles whose rows keep no more in all than their columns have room for and, where both are
// equal, that are no higher than wide.
static bool wants_turning(const Job& job) {
    const int rows = job.height * job.row_most, columns = job.width * job.column_most;
    return rows > columns || (rows == columns && job.height > job.width);
}

// The same tiles with rows for columns.
static Job turned(Job job) {
    const int axes = job.grid_axes();
    for (Strided* array : {&job.scores, &job.mask})
        if (array->data != nullptr) {
            std::swap(array->strides[axes], array->strides[axes + 1]);
            std::swap(array->shape[axes], array->shape[axes + 1]);
        }
    std::swap(job.rows, job.columns);
    std::swap(job.start_rows, job.start_columns);
    std::swap(job.height, job.width);
    std::swap(job.row_least, job.column_least);
    std::swap(job.row_most, job.column_most);
    return job;
}

void solve_tiles(int engine, const Job& job, Outcome& outcome) {
    const DefaultArithmetic while_solving;
    if (is_regular(job) && job.height > 1 && wants_turning(job))
        return solve_tiles(engine, turned(job), outcome);
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

void fill_tiles(int engine, Job job, Outcome& outcome) {
    const DefaultArithmetic while_filling;
    if (job.in_double()) return engines[engine].fill_in_double(job, outcome);
    // Its prices are 0 and its sums are taken in float64, so that no finite score is too large for float32.
    job.largest = std::numeric_limits<float>::max();
    engines[engine].fill_in_single(job, outcome);
}

}  // namespace masksolve
