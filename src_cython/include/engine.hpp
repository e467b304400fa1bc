// The exact engine for one instruction set: included by a source file that names it MASKSOLVE_ISA and
// gives the width of its registers as MASKSOLVE_VECTOR_BYTES.
#pragma once

#include "solve_flow.hpp"
#include "solve_groups.hpp"
#include "solve_small_tiles.hpp"
#include "solve_tiles.hpp"

namespace masksolve {
namespace MASKSOLVE_ISA {

template <typename T>
void solve_groups(const Job& job, Outcome& outcome) {
    if (job.width == 4) GroupRun<T, 4, 4>(job, outcome).run();
    else if (job.width < 4) GroupRun<T, 4, 0>(job, outcome).run();
    else if (job.width == 8) GroupRun<T, 8, 8>(job, outcome).run();
    else if (job.width < 8) GroupRun<T, 8, 0>(job, outcome).run();
    else if (job.width <= 16) GroupRun<T, 16, 0>(job, outcome).run();
    else if (job.width <= 32) GroupRun<T, 32, 0>(job, outcome).run();
    else GroupRun<T, 64, 0>(job, outcome).run();
}

template <typename T>
void solve_as(const Job& job, Outcome& outcome) {
    const int m = job.width;
    const bool groups = job.height == 1 && job.column_least == 0 && job.column_most == 1;
    const bool whole_tiles = job.height == m && job.row_most < m && job.row_most == job.column_most &&
                             job.row_least == job.column_least;
    if (job.forced()) solve_by_flow<T>(job, outcome);
    else if (groups) solve_groups<T>(job, outcome);
    else if (!whole_tiles) solve_by_flow<T>(job, outcome);
    else if (m == 2) SmallTileRun<T, 2>(job, outcome).run();
    else if (m == 3) SmallTileRun<T, 3>(job, outcome).run();
    else if (m == 4) SmallTileRun<T, 4>(job, outcome).run();
    else if (m <= 8) solve_by_kernel<T, 8>(job, outcome);
    else if (m <= 16) solve_by_kernel<T, 16>(job, outcome);
    else if (m <= 32) solve_by_kernel<T, 32>(job, outcome);
    else solve_by_kernel<T, 64>(job, outcome);
}

void solve_tiles(const Job& job, Outcome& outcome) {
    if (job.in_double()) solve_as<double>(job, outcome);
    else solve_as<float>(job, outcome);
}

}  // namespace MASKSOLVE_ISA
}  // namespace masksolve
