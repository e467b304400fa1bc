// One-directional groups of up to P entries, one a lane: the n largest, found by their n-th largest.
//
// Ties at the n-th largest go to the first entries. The group's price is its n-th largest (under at most n, not
// below 0), which proves the choice: n u + sum max(0, s - u) is what it keeps.
#pragma once

#include "certify.hpp"
#include "lanes.hpp"
#include "order_statistics.hpp"
#include "tile_io.hpp"

namespace masksolve {
namespace MASKSOLVE_ISA {

// `Width`: the groups' length as a constant, or 0.
template <typename T, int P, int Width>
class GroupRun {
public:
    GroupRun(const Job& job, Outcome& outcome)
        : job_(job), outcome_(outcome), certifier_(job), load_(loader<T>(job.dtype)) {}

    void run() {
        for_each_strip(job_, outcome_, [&](const Strip& strip) {
            side_by_side_ = job_.upright && stored_as<T>(job_) && strip.scores.step == sizeof(T);
            lying_ = stored_as<T>(job_) && P == 4 && width() == 4 && job_.across() == sizeof(T) &&
                     strip.scores.step == 4 * sizeof(T) &&
                     job_.mask_across() == 1 && strip.mask.step == 4;
            for (std::ptrdiff_t k = 0; k < strip.count; k += segment)
                solve_segment(strip, k, static_cast<int>(std::min<std::ptrdiff_t>(segment, strip.count - k)));
        });
        certifier_.close(outcome_);
    }

private:
    static constexpr int L = Pack<T, 64>::L;
    static constexpr int segment = Certifier::most_groups;  // solved, then certified while in cache
    using I = Integer<T>;
    using V = Vector<T, L>;
    using Flags = Vector<I, L>;

    int width() const { return Width ? Width : job_.width; }

    const Job& job_;
    Outcome& outcome_;
    Certifier certifier_;
    Loader<T> load_;
    bool side_by_side_ = false;  // an entry of all groups lies in a row: lanes as they lie
    bool lying_ = false;         // quads one after the other

    struct Batch {
        V entries[P];  // beyond the width: -infinity
        Flags kept[P];
        V price;
    };

    void solve_segment(const Strip& strip, std::ptrdiff_t k, int count) {
        alignas(64) T prices[segment];
        for (int g = 0; g < count; g += L) {
            fetch_ahead(job_, strip, k + g, L);
            batch(strip, k + g, std::min(L, count - g), prices + g);
        }
        write_group_prices(strip, k, count, prices);
        if (job_.upright) certifier_.add_upright_groups(strip, k, count, prices);
        else certifier_.template add_groups<Width>(strip, k, count, prices);
    }

    inline __attribute__((always_inline)) void batch(const Strip& strip, std::ptrdiff_t k, int count, T* prices) {
        const bool whole = count == L;
        const bool lying = lying_ && whole;
        Batch work;
        read(strip, k, count, lying, work);
        choose(work);
        const V in_place = lying ? in_order<T, L>(work.price) : work.price;
        std::memcpy(prices, &in_place, sizeof in_place);
        if (job_.upright && !lying) write_upright_masks(strip, k, count, work);
        else write_masks(strip, k, count, lying, work);
    }

    inline __attribute__((always_inline)) void read(const Strip& strip, std::ptrdiff_t k, int count, bool lying, Batch& work) const {
        if constexpr (P == 4)
            if (lying) return load_quads<T, L>(reinterpret_cast<const T*>(strip.scores[k]), work.entries);
        if (job_.upright) read_upright(strip, k, count, work);
        else read_apart(strip, k, count, work);
    }

    inline __attribute__((always_inline)) void read_upright(const Strip& strip, std::ptrdiff_t k, int count, Batch& work) const {
        const char* first = strip.scores[k];
        for (int j = 0; j < P; ++j) work.entries[j] = V{} - std::numeric_limits<T>::infinity();
        if (side_by_side_ && count == L) {
            for (int j = 0; j < width(); ++j)
                work.entries[j] = *reinterpret_cast<const typename VectorType<T, L>::unaligned*>(first + j * job_.across());
            return;
        }
        for (int j = 0; j < width(); ++j) {
            alignas(64) T entries[L] = {};
            load_(first + j * job_.across(), strip.scores.step, count, entries);
            std::memcpy(&work.entries[j], entries, sizeof entries);
        }
    }

    // Groups anywhere: each one's entries in a row, then transposed.
    void read_apart(const Strip& strip, std::ptrdiff_t k, int count, Batch& work) const {
        constexpr bool blocks = P >= L;
        if (blocks && count == L && width() == P && stored_as<T>(job_) && job_.across() == sizeof(T)) {
            for (int j = 0; j < P; j += L)
                for (int g = 0; g < L && j + g < P; ++g)
                    std::memcpy(&work.entries[j + g], strip.scores[k + g] + j * sizeof(T), sizeof(V));
        } else {
            alignas(64) T group[L][P] = {};
            for (int g = 0; g < L; ++g) {
                if (g < count) load_(strip.scores[k + g], job_.across(), width(), group[g]);
                for (int j = width(); j < P; ++j) group[g][j] = -std::numeric_limits<T>::infinity();
            }
            if constexpr (!blocks) {
                for (int j = 0; j < P; ++j)
                    for (int g = 0; g < L; ++g) work.entries[j][g] = group[g][j];
                return;
            }
            for (int j = 0; j < P; j += L)
                for (int g = 0; g < L && j + g < P; ++g) std::memcpy(&work.entries[j + g], &group[g][j], sizeof(V));
        }
        if constexpr (blocks)
            for (int j = 0; j < P; j += L) swap_blocks<L / 2, T, L>(&work.entries[j]);
    }

    inline __attribute__((always_inline)) void choose(Batch& work) const {
        constexpr int half = P / 2;
        V a[half], b[half], nth, next;
        MASKSOLVE_UNROLL
        for (int j = 0; j < half; ++j) {
            a[j] = work.entries[j];
            b[j] = work.entries[j + half];
        }
        sort_descending<half>(a);
        sort_descending<half>(b);
        neighbours_of_two<half>(a, b, job_.row_most, nth, next);
        const bool at_most = job_.row_least < job_.row_most;
        work.price = at_most ? (nth > V{} ? nth : V{}) : nth;
        Flags held{};
        for (int j = 0; j < width(); ++j) {
            work.kept[j] = work.entries[j] >= nth;
            if (at_most) work.kept[j] &= work.entries[j] > V{};
            held -= work.kept[j];
        }
        Flags surplus = held - I(job_.row_most);
        if (lane_bits<I, L>(surplus > 0) == 0) return;
        for (int j = width() - 1; j >= 0; --j) {
            const Flags dropped = (work.entries[j] == nth) & (surplus > 0);
            work.kept[j] &= ~dropped;
            surplus += dropped;
        }
    }

    void write_group_prices(const Strip& strip, std::ptrdiff_t k, int count, const T* prices) const {
        if (job_.rows.data == nullptr) return;
        if (strip.rows.step == sizeof(T)) std::memcpy(strip.rows[k], prices, count * sizeof(T));
        else
            for (int g = 0; g < count; ++g) *reinterpret_cast<T*>(strip.rows[k + g]) = prices[g];
    }

    inline __attribute__((always_inline)) void write_upright_masks(const Strip& strip, std::ptrdiff_t k, int count, const Batch& work) const {
        for (int j = 0; j < width(); ++j) {
            const std::uint64_t bits = lane_bits<I, L>(work.kept[j]);
            char* to = strip.mask[k] + j * job_.mask_across();
            if (count == L && strip.mask.step == 1)
                for (int g = 0; g < L; g += 8) std::memcpy(to + g, &mask_bytes[bits >> g & 255], L < 8 ? L : 8);
            else
                for (int g = 0; g < count; ++g) to[g * strip.mask.step] = bits >> g & 1;
        }
    }

    inline __attribute__((always_inline)) void write_masks(const Strip& strip, std::ptrdiff_t k, int count, bool lying,
                                                           const Batch& work) const {
        for (int j = 0; j < width(); j += 4) {
            Flags bytes{};
            for (int q = 0; q < 4 && j + q < width(); ++q) bytes |= work.kept[j + q] & (I{1} << (8 * q));
            if (lying) {
                store_words<I, L>(in_order<I, L>(bytes), strip.mask[k]);
                continue;
            }
            for (int g = 0; g < count; ++g) {
                char* to = strip.mask[k + g] + j * job_.mask_across();
                const auto word = static_cast<std::uint32_t>(bytes[g]);
                if (job_.mask_across() == 1 && j + 4 <= width()) std::memcpy(to, &word, 4);
                else
                    for (int q = 0; q < 4 && j + q < width(); ++q)
                        to[q * job_.mask_across()] = static_cast<char>(word >> (8 * q) & 1);
            }
        }
    }
};

}  // namespace MASKSOLVE_ISA
}  // namespace masksolve
