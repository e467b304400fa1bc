// Whole tiles of side 5 to 64, one after the other through the vector kernel.
#pragma once

#include "solve_flow.hpp"
#include "tile_kernel.hpp"

namespace masksolve {
namespace MASKSOLVE_ISA {

// More rounds leave fewer paths to search; these balance the two.
constexpr int cold_rounds(int side) { return side <= 16 ? 3 : 4; }
constexpr int warm_rounds = 1;

template <typename T, int P>
void solve_by_kernel(const Job& job, Outcome& outcome) {
    const int m = job.height;
    const bool warm = job.start_columns.data != nullptr;
    const T scale = scale_for<T>(job.largest), unscale = 1 / scale;
    const Loader<T> load = loader<T>(job.dtype);
    Certifier certifier(job);
    TileKernel<T, P> kernel(m, job.row_most);
    auto shrinks = [&] {
        return *std::min_element(kernel.u, kernel.u + m) + *std::min_element(kernel.v, kernel.v + m) < 0;
    };
    for_each_strip(job, [&](const Strip& strip) {
        for (std::ptrdiff_t k = 0; k < strip.count; ++k) {
            load_tile<T, P>(job, strip.scores[k], load, scale, kernel.s);
            if (warm) {
                read_prices(job, job.start_columns, strip.start_columns[k], m, kernel.v);
                for (int j = 0; j < m; ++j) kernel.v[j] *= scale;
            }
            kernel.solve(warm ? warm_rounds : cold_rounds(P), warm);
            if (scale != 1)
                for (int i = 0; i < m; ++i) kernel.u[i] *= unscale, kernel.v[i] *= unscale;
            std::uint64_t kept[P];
            for (int i = 0; i < m; ++i) kept[i] = kernel.kept(i);
            if (job.row_least == 0) {
                if (shrinks()) {
                    shrink_by_flow(job, strip, k, kernel.u, kernel.v, kept, certifier, outcome);
                    continue;
                }
                shift_non_negative(kernel.u, kernel.v, m);
            }
            for (int i = 0; i < m; ++i) write_bits<P>(job, strip.mask[k], i, kept[i]);
            write_prices(job.rows, strip.rows[k], m, kernel.u);
            write_prices(job.columns, strip.columns[k], m, kernel.v);
            if (m == P) certifier.template add<P, P>(strip, k, 1, kernel.u, kernel.v, P);
            else certifier.add(strip, k, 1, kernel.u, kernel.v, P);
        }
    });
    certifier.close(outcome);
    outcome.augmentations += kernel.augmentations;
    outcome.steps += kernel.steps;
}

}  // namespace MASKSOLVE_ISA
}  // namespace masksolve
