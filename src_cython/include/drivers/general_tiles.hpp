// Tiles that no kernel takes: cut by the edge, with forced entries, or left open by a kernel. Compiled once,
// for any processor of the architecture.
#pragma once

#include <memory>
#include <utility>

#include "certificate/ledger.hpp"
#include "kernels/flow.hpp"

namespace masksolve {

class GeneralTile;

// Solves single tiles of a job by min-cost flow: in float64, and where that leaves a tile open, in integers.
class GeneralSolver {
public:
    GeneralSolver(const Job& job, Outcome& outcome, Ledger& ledger);
    ~GeneralSolver();

    // Solves a tile that a kernel left open, given its number in the block; mask and prices are replaced.
    // Returns what it keeps, and what the bound adds to that.
    std::pair<double, double> solve_again(std::ptrdiff_t tile);

    // Solves all tiles of the job.
    void solve_all();

private:
    const Job& job_;
    Outcome& outcome_;
    Ledger& ledger_;
    std::unique_ptr<GeneralTile> tile_;  // made when the first tile needs it

    bool make_room();
    void settle(std::ptrdiff_t number, bool solved, bool again);
};

}  // namespace masksolve
