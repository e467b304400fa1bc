// The exact engine for one instruction set and one type of arithmetic: included by a source file that names
// the set as MASKSOLVE_ISA and gives the width of its registers as MASKSOLVE_VECTOR_BYTES.
#pragma once

#include "drivers/groups.hpp"
#include "drivers/large_tiles.hpp"
#include "drivers/small_tiles.hpp"
#include "heuristics/circulant.hpp"

namespace masksolve {
namespace MASKSOLVE_ISA {

template <typename T, template <typename, int...> class Run, int... sizes>
__attribute__((noinline)) void run_kernel(const Job& job, Outcome& outcome, bool packed) {
    Run<T, sizes...> run(job, outcome);
    run_segments<T>(job, outcome, run, packed);
}

template <typename T>
void solve_as(const Job& job, Outcome& outcome) {
    const int m = std::max(job.height, job.width);
    const bool square = job.height == job.width && job.row_most == job.column_most;
    if (job.height == 1) {
        if (m == 4) run_kernel<T, GroupRun, 4, 4>(job, outcome, true);
        else if (m < 4) run_kernel<T, GroupRun, 4, 0>(job, outcome, true);
        else if (m == 8) run_kernel<T, GroupRun, 8, 8>(job, outcome, true);
        else if (m < 8) run_kernel<T, GroupRun, 8, 0>(job, outcome, true);
        else if (m <= 16) run_kernel<T, GroupRun, 16, 0>(job, outcome, true);
        else if (m <= 32) run_kernel<T, GroupRun, 32, 0>(job, outcome, true);
        else run_kernel<T, GroupRun, 64, 0>(job, outcome, true);
    } else if (square && m == 2) run_kernel<T, SmallTileRun, 2>(job, outcome, true);
    else if (square && m == 3) run_kernel<T, SmallTileRun, 3>(job, outcome, true);
    else if (square && m == 4) run_kernel<T, SmallTileRun, 4>(job, outcome, true);
    else if (m <= 8 && job.height <= 4) run_kernel<T, LargeTileRun, 4, 8>(job, outcome, false);
    else if (m <= 8) run_kernel<T, LargeTileRun, 8, 8>(job, outcome, false);
    else if (m <= 16 && job.height <= 8) run_kernel<T, LargeTileRun, 8, 16>(job, outcome, false);
    else if (m <= 16) run_kernel<T, LargeTileRun, 16, 16>(job, outcome, false);
    else if (m <= 32) run_kernel<T, LargeTileRun, 32, 32>(job, outcome, false);
    else run_kernel<T, LargeTileRun, 64, 64>(job, outcome, false);
}

template <typename T>
void fill_as(const Job& job, Outcome& outcome) {
    run_kernel<T, CirculantRun>(job, outcome, true);
}

}  // namespace MASKSOLVE_ISA
}  // namespace masksolve
