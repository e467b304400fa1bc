// Whole tiles of side 5 to 64, one after the other through the vector kernel.
#pragma once

#include "solve_flow.hpp"
#include "tile_kernel.hpp"

namespace masksolve {
namespace MASKSOLVE_ISA {

// Rounds of the dual warm start: more of them leave fewer paths to search; these balance the two.
constexpr int cold_rounds = 3, warm_rounds = 1;

template <typename T, int P>
void solve_by_kernel(const Job& job, Outcome& outcome) {
    const int m = job.height;
    const Loader<T> load = loader<T>(job.dtype);
    Certifier certifier(job);
    TileKernel<T, P> kernel(m, job.row_most);
    for_each_strip(job, outcome, [&](const Strip& strip) {
        for (std::ptrdiff_t k = 0; k < strip.count; ++k) {
            fetch_ahead(job, strip, k, 1);
            load_tile<T, P>(job, strip.scores[k], load, kernel.s);
            const bool warm = job.start_columns.data != nullptr &&
                              read_prices(job, job.start_columns, strip.start_columns[k], m,
                                          largest_of_tile(kernel.s[0], m, m, P), kernel.v);
            kernel.solve(warm ? warm_rounds : cold_rounds, warm);
            std::uint64_t kept[P];
            for (int i = 0; i < m; ++i) kept[i] = kernel.kept(i);
            if (job.row_least == 0 && !kernel.make_prices_non_negative())
                shrink_by_flow(job, strip, k, kept, outcome, kernel.u, kernel.v);
            else
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
