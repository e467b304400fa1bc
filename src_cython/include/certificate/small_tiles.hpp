// Certificates of tiles of side 2 to 4, one in each lane.
#pragma once

#include "arrays/staging.hpp"
#include "certificate/ledger.hpp"
#include "vectors/lanes.hpp"
#include "vectors/widen.hpp"

namespace masksolve {
namespace MASKSOLVE_ISA {

// Reads the mask bytes as they were written, four of them in a word, and the prices as they are handed out.
template <typename T, int M>
class SmallTileCertifier {
public:
    static constexpr int L = Pack<T, 64>::L;
    using V = Vector<T, L>;

    explicit SmallTileCertifier(const Job& job)
        : n_(job.row_most),
          at_most_(job.row_least < job.row_most),
          square_(Staging<T>::squares_later(job)),
          rounding_(M, M) {}

    // The L tiles from the window's `tile`-th on, of which `count` count. The lanes of u and v, and of the
    // answers before they are stored, are in the order of quad_of for M = 4.
    void certify(const Window<T>& window, int tile, int count, const V* u, const V* v, Verdicts& verdicts) {
        if (square_) run<false, true>(window, tile, count, u, v, verdicts);
        // Most arrays have no negative scores, or many. Sums of magnitudes are the same numbers either way.
        else if (signed_ || !run<false, false>(window, tile, count, u, v, verdicts)) {
            signed_ = true;
            run<true, false>(window, tile, count, u, v, verdicts);
        }
    }

private:
    using I = Integer<T>;
    using Flags = Vector<I, L>;
    static constexpr int P = parts<T>;
    using D = Doubles<T, L>;
    using Bits = Longs<T, L>;

    int n_;
    bool at_most_, square_, signed_ = false;
    Rounding rounding_;

    static inline __attribute__((always_inline)) void read_scores(const Window<T>& window, int tile,
                                                                  V (*s)[M]) {
        MASKSOLVE_UNROLL
        for (int i = 0; i < M; ++i) {
            const T* row = window.row(tile, i);
            if constexpr (M == 4) {
                load_quads<T, L>(row, s[i]);
            } else {
                for (int j = 0; j < M; ++j)
                    for (int l = 0; l < L; ++l) s[i][j][l] = row[l * M + j];
            }
        }
    }

    // The M mask bytes of row i of every tile.
    static inline __attribute__((always_inline)) Flags read_words(const Window<T>& window, int tile, int i) {
        const char* row = window.mask_row(tile, i);
        Vector<std::int32_t, L> words;
        if constexpr (M == 4) {
            std::memcpy(&words, row, sizeof words);
            if constexpr (L >= 4) {
                Vector<std::int32_t, L> from;
                for (int l = 0; l < L; ++l) from[l] = quad_of<L>(l);
                words = shuffle<std::int32_t, L>(words, words, from);
            }
        } else {
            std::int32_t word[L] = {};
            for (int l = 0; l < L; ++l) std::memcpy(&word[l], row + l * M, M);
            std::memcpy(&words, word, sizeof words);
        }
        return __builtin_convertvector(words, Flags);
    }

    static Flags all(std::uint32_t word) { return static_cast<I>(static_cast<std::int32_t>(word)) - Flags{}; }
    static D magnitude(D x) { return (D)((Bits)x & (std::numeric_limits<std::int64_t>::max() - Bits{})); }
    static D positive(D x) { return positive_lanes<double, L / P>(x); }

    // Whether all tiles that count meet the bounds; `held`: how many entries each row, then each column
    // keeps.
    inline __attribute__((always_inline)) bool meets_bounds(const Flags* words, int count,
                                                            Flags* held) const {
        Flags columns = words[0], seen = words[0];
        MASKSOLVE_UNROLL
        for (int i = 0; i < M; ++i) {
            if (i > 0) {
                columns += words[i];
                seen |= words[i];
            }
            const Flags two = words[i] + (words[i] >> 16);
            held[i] = (two + (two >> 8)) & 0xff;
        }
        MASKSOLVE_UNROLL
        for (int j = 0; j < M; ++j) held[M + j] = (columns >> (8 * j)) & 0xff;
        Flags wrong = seen & all(~0x01010101u);
        MASKSOLVE_UNROLL
        for (int line = 0; line < 2 * M; ++line)
            wrong |= at_most_ ? (held[line] > I(n_)) : (held[line] != I(n_));
        std::uint64_t counting = 0;
        for (int l = 0; l < L; ++l) counting |= static_cast<std::uint64_t>(in_place(l) < count) << l;
        return (lane_bits<I, L>(wrong != 0) & counting) == 0;
    }
    static constexpr int in_place(int lane) { return M == 4 ? quad_of<L>(lane) : lane; }

    // False, and no answer, if a kept score is negative and Signed is false.
    template <bool Signed, bool square>
    __attribute__((noinline)) bool run(const Window<T>& window, int tile, int count, const V* u, const V* v,
                                       Verdicts& verdicts) const {
        V s[M][M];
        Flags words[M], held[2 * M];
        read_scores(window, tile, s);
        MASKSOLVE_UNROLL
        for (int i = 0; i < M; ++i) words[i] = read_words(window, tile, i);
        verdicts.feasible &= meets_bounds(words, count, held);
        V worth[M][M];
        Flags signs{};
        MASKSOLVE_UNROLL
        for (int i = 0; i < M; ++i) {
            MASKSOLVE_UNROLL
            for (int j = 0; j < M; ++j) {
                worth[i][j] = (V)((Flags)s[i][j] & (Flags{} - ((words[i] >> (8 * j)) & 1)));
                if (!Signed && !square) signs |= (Flags)worth[i][j];
            }
        }
        if (!Signed && !square && lane_bits<I, L>(signs < 0) != 0) return false;
        D objective[P], slack[P], violation[P], scale[P];
        MASKSOLVE_UNROLL
        for (int k = 0; k < P; ++k) {
            D price[M], sum[M], size[M], prices{};
            MASKSOLVE_UNROLL
            for (int j = 0; j < M; ++j) {
                price[j] = widened<double, T, L>(v[j], k);
                prices += magnitude(price[j]);
                sum[j] = size[j] = D{};
            }
            violation[k] = D{};
            MASKSOLVE_UNROLL
            for (int i = 0; i < M; ++i) {
                const D row = widened<double, T, L>(u[i], k);
                const Bits word = widened<std::int64_t, I, L>(words[i], k);
                prices += magnitude(row);
                MASKSOLVE_UNROLL
                for (int j = 0; j < M; ++j) {
                    D score = widened<double, T, L>(s[i][j], k), kept = widened<double, T, L>(worth[i][j], k);
                    if (square) {
                        score *= score;
                        kept *= kept;
                    }
                    const D reduced = score - (row + price[j]);
                    const Bits turned = (word << (63 - 8 * j)) & std::numeric_limits<std::int64_t>::min();
                    violation[k] += positive((D)((Bits)reduced ^ turned));
                    sum[j] += kept;
                    if (Signed) size[j] += magnitude(kept);
                }
                if (at_most_) violation[k] += line(row, held[i], k);
            }
            if (at_most_)
                for (int j = 0; j < M; ++j) violation[k] += line(price[j], held[M + j], k);
            const D* sizes = Signed ? size : sum;
            const D infinite = D{} + std::numeric_limits<double>::infinity();
            D least = infinite, whole{}, worthy{};
            objective[k] = D{};
            MASKSOLVE_UNROLL
            for (int j = 0; j < M; ++j) {
                objective[k] += sum[j];
                whole += sizes[j];
                const Bits keeps = sizes[j] > D{};  // more than zeros
                const D size_or_infinite = select_lanes<double, L / P>(keeps, sizes[j], infinite);
                least = size_or_infinite < least ? size_or_infinite : least;
                worthy += (D)(keeps & (Bits)(D{} + 1.0));
            }
            violation[k] += prices * rounding_.rows;
            scale[k] = select_lanes<double, L / P>(whole > D{}, least * worthy, D{});
            slack[k] = violation[k] + (whole + violation[k]) * rounding_.sums;
        }
        store_wide<T, L, M == 4>(objective, verdicts.objective + tile);
        store_wide<T, L, M == 4>(slack, verdicts.slack + tile);
        store_wide<T, L, M == 4>(violation, verdicts.violation + tile);
        store_wide<T, L, M == 4>(scale, verdicts.scale + tile);
        return true;
    }

    // A line that may keep fewer: its price times as many entries as it could keep beyond those it does, if
    // positive, or else as it could do without.
    inline __attribute__((always_inline)) D line(D price, Flags held, int k) const {
        const D here = __builtin_convertvector(widened<std::int64_t, I, L>(held, k), D);
        return price > D{} ? price * (double(n_) - here) : (D{} - price) * here;
    }
};

}  // namespace MASKSOLVE_ISA
}  // namespace masksolve
