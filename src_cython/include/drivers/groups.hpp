// One-directional groups, one a lane.
#pragma once

#include "certificate/groups.hpp"
#include "drivers/segments.hpp"
#include "kernels/groups.hpp"

namespace masksolve {
namespace MASKSOLVE_ISA {

// What becomes of a segment's prices, whatever kernel found them.
template <typename T>
class GroupPrices {
public:
    explicit GroupPrices(const Job& job)
        : job_(job), squared_(Staging<T>::squares_later(job)), certifier_(job) {}

    // Hands them out and certifies the `count` groups of the window; `Width`: the groups' length as a
    // constant, or 0.
    template <int Width>
    __attribute__((noinline)) void finish(const Strip& strip, std::ptrdiff_t k, int count,
                                          const Window<T>& window, T* prices, Verdicts& verdicts) {
        if (squared_)
            for (int g = 0; g < count; ++g) prices[g] = square_below(prices[g]);
        if (job_.rows.data != nullptr) write(strip, k, count, prices);
        certifier_.template certify<Width>(window, count, prices, verdicts);
    }

private:
    const Job& job_;
    bool squared_;
    GroupCertifier<T> certifier_;

    // The largest T that is not above the price's square: kept scores are not below it, and dropped ones are
    // not above it unless their squares differ by less than T tells apart.
    static T square_below(T price) {
        const double square = static_cast<double>(price) * price;
        T nearest = static_cast<T>(square);
        Integer<T> bits;
        std::memcpy(&bits, &nearest, sizeof bits);
        bits -= nearest > square;  // the number below; nearest is not 0 then
        std::memcpy(&nearest, &bits, sizeof nearest);
        return nearest;
    }

    void write(const Strip& strip, std::ptrdiff_t k, int count, const T* prices) const {
        if (strip.rows.step == sizeof(T)) std::memcpy(strip.rows[k], prices, count * sizeof(T));
        else
            for (int g = 0; g < count; ++g) *reinterpret_cast<T*>(strip.rows[k + g]) = prices[g];
    }
};

template <typename T, int P, int Width>
class GroupRun final : public SegmentSolver<T> {
public:
    GroupRun(const Job& job, Outcome&)
        : job_(job),
          kernel_(job.row_bounds(), job.width, job.groups_in_columns, Staging<T>::squares_later(job)),
          prices_(job) {}

    void solve(const Strip& strip, std::ptrdiff_t k, int count, Window<T>& window,
               Verdicts& verdicts) override {
        alignas(64) T prices[most_segment_tiles];
        for (int g = 0; g < count; g += Kernel::L) {
            const int here = std::min(Kernel::L, count - g);
            fetch_ahead(job_, strip, k + g, here);
            kernel_.solve(window, g, here, prices + g);
        }
        prices_.template finish<Width>(strip, k, count, window, prices, verdicts);
    }

private:
    using Kernel = GroupKernel<T, P, Width>;

    const Job& job_;
    Kernel kernel_;
    GroupPrices<T> prices_;
};

}  // namespace MASKSOLVE_ISA
}  // namespace masksolve
