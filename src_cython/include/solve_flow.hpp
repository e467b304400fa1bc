// Tiles by general min-cost flow: cut by the edge, with forced entries, or large ones where at most n beats exactly n.
#pragma once

#include "certify.hpp"
#include "flow.hpp"
#include "tile_io.hpp"

namespace masksolve {
namespace MASKSOLVE_ISA {

constexpr int flow_rounds = 4;

// Solves one tile from the prices that the flow holds already and writes its mask; false if it is infeasible.
template <typename T>
bool run_flow(const Job& job, const Strip& strip, std::ptrdiff_t k, Flow& flow, Outcome& outcome, T* u, T* v) {
    if (!flow.solve()) {
        outcome.status = Status::infeasible;
        outcome.tile = strip.first + k;
        outcome.axis = flow.bad_axis;
        outcome.index = flow.bad_index;
        return false;
    }
    std::copy_n(flow.u, job.height, u);
    std::copy_n(flow.v, job.width, v);
    for (int i = 0; i < job.height; ++i) write_bits(job, strip.mask[k], i, flow.kept[i]);
    outcome.augmentations += flow.augmentations;
    outcome.steps += flow.steps;
    return true;
}

// Prices of an earlier solve, if there are any of use.
inline bool start_flow(const Job& job, const Strip& strip, std::ptrdiff_t k, Flow& flow) {
    if (job.start_rows.data == nullptr) return false;
    const double largest = largest_of_tile(flow.scores[0], job.height, job.width, Flow::longest);
    bool useful = read_prices(job, job.start_rows, strip.start_rows[k], job.height, largest, flow.u);
    if (job.start_columns.data != nullptr)
        useful &= read_prices(job, job.start_columns, strip.start_columns[k], job.width, largest, flow.v);
    if (!useful) {
        std::fill_n(flow.u, job.height, 0.0);
        std::fill_n(flow.v, job.width, 0.0);
    }
    return useful;
}

template <typename T>
void solve_by_flow(const Job& job, Outcome& outcome) {
    const Loader<double> load = loader<double>(job.dtype);
    Certifier certifier(job);
    for_each_strip(job, outcome, [&](const Strip& strip) {
        for (std::ptrdiff_t k = 0; k < strip.count && outcome.status == Status::done; ++k) {
            Flow flow(job.height, job.width, {job.row_least, job.row_most},
                      {job.column_least, job.column_most});
            for (int i = 0; i < job.height; ++i) {
                load(strip.scores[k] + i * job.down(), job.across(), job.width, flow.scores[i]);
                flow.keep[i] = read_bits(job.keep, strip.keep[k], i, job.width);
                flow.drop[i] = read_bits(job.drop, strip.drop[k], i, job.width);
            }
            if (!start_flow(job, strip, k, flow)) flow.descend(flow_rounds);
            T u[Flow::longest], v[Flow::longest];
            if (!run_flow(job, strip, k, flow, outcome, u, v)) return;
            write_prices(job.rows, strip.rows[k], job.height, u);
            write_prices(job.columns, strip.columns[k], job.width, v);
            certifier.add(strip, k, 1, u, v, 0);
        }
    });
    certifier.close(outcome);
}

// At most n, from the optimum that keeps exactly n and its prices, v >= 0: row prices below 0 rise to 0, which
// empties their rows a little. Mask and prices are replaced.
template <typename T>
void shrink_by_flow(const Job& job, const Strip& strip, std::ptrdiff_t k, const std::uint64_t* kept, Outcome& outcome,
                    T* u, T* v) {
    const Loader<double> load = loader<double>(job.dtype);
    const int m = job.height;
    Flow flow(m, m, {0, job.row_most}, {0, job.column_most});
    for (int i = 0; i < m; ++i) {
        load(strip.scores[k] + i * job.down(), job.across(), m, flow.scores[i]);
        flow.kept[i] = kept[i];
        flow.u[i] = std::max<double>(u[i], 0);
        flow.v[i] = v[i];
    }
    run_flow(job, strip, k, flow, outcome, u, v);
}

}  // namespace MASKSOLVE_ISA
}  // namespace masksolve
