// A job segment by segment: stage, solve and certify, put the mask in place, solve again what is left open,
// add up.
#pragma once

#include "arrays/staging.hpp"
#include "certificate/ledger.hpp"
#include "drivers/general_tiles.hpp"
#include "vectors/lanes.hpp"

namespace masksolve {
namespace MASKSOLVE_ISA {

template <typename T>
inline void store_prices(const Strided& array, char* to, int count, const T* from) {
    if (to == nullptr) return;
    const std::ptrdiff_t stride = array.strides[array.ndim - 1];
    if (stride == sizeof(T)) std::memcpy(to, from, count * sizeof(T));
    else
        for (int k = 0; k < count; ++k) *reinterpret_cast<T*>(to + k * stride) = from[k];
}

// Solves the tiles of a segment again that the certificate leaves open, and notes the largest gap so far.
__attribute__((noinline)) inline void review(const Strip& strip, std::ptrdiff_t k, int count,
                                             Verdicts& verdicts, Ledger& ledger, GeneralSolver& general) {
    for (int t = 0; t < count; ++t) {
        if (verdicts.violation[t] <= ledger.threshold() * verdicts.scale[t]) continue;
        if (ledger.review(strip.first + k + t, verdicts.violation[t], verdicts.scale[t])) continue;
        std::tie(verdicts.objective[t], verdicts.slack[t]) = general.solve_again(strip.first + k + t);
    }
}

inline bool all_within(const Verdicts& verdicts, int count, double threshold) {
    bool within = true;
    for (int t = 0; t < count; ++t) within &= verdicts.violation[t] <= threshold * verdicts.scale[t];
    return within;
}

// What solves and certifies the `count` tiles of a window, the strip's k-th first. An interface, so that the
// loop over segments is compiled once and not for every kernel.
template <typename T>
class SegmentSolver {
public:
    virtual void solve(const Strip& strip, std::ptrdiff_t k, int count, Window<T>& window,
                       Verdicts& verdicts) = 0;

protected:
    ~SegmentSolver() = default;
};

template <typename T>
__attribute__((noinline)) void run_segments(const Job& job, Outcome& outcome, SegmentSolver<T>& run,
                                            bool packed) {
    Ledger ledger(job, outcome);
    GeneralSolver general(job, outcome, ledger);
    Staging<T> staging(job, packed);
    Window<T> window{};
    Verdicts verdicts;
    const int most = segment_tiles(job);
    for_each_strip(job, outcome, [&](const Strip& strip) {
        if (!staging.begin(strip, outcome.largest)) outcome.status = Status::unfit;
        for (std::ptrdiff_t k = 0; k < strip.count && outcome.status == Status::done; k += most) {
            const int count = static_cast<int>(std::min<std::ptrdiff_t>(most, strip.count - k));
            if (!staging.open(strip, k, count, window, outcome.largest)) {
                outcome.status = Status::unfit;
                return;
            }
            verdicts.feasible = true;
            verdicts.summed = false;
            run.solve(strip, k, count, window, verdicts);
            staging.close(strip, k, count);
            if (!verdicts.feasible) {
                outcome.status = Status::wrong;
                outcome.tile = strip.first + k;
                return;
            }
            if (!verdicts.summed && !all_within(verdicts, count, ledger.threshold()))
                review(strip, k, count, verdicts, ledger, general);
            ledger.enter(strip, k, count, verdicts);
        }
    });
    ledger.close();
}

}  // namespace MASKSOLVE_ISA
}  // namespace masksolve
