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

    // The L tiles from the window's `tile`-th on, of which `count` count; prices M a tile. Lanes are in the
    // order of quad_of for M = 4, until answers are stored.
    void certify(const Window<T>& window, int tile, int count, const T* u, const T* v, Verdicts& verdicts) {
        if constexpr (sizeof(T) == sizeof(float)) {
            if (square_) {
                run<false, true>(window, tile, count, u, v, verdicts);
                return;
            }
        }
        // Most arrays have no negative scores, or many. Sums of magnitudes are the same numbers either way.
        if constexpr (M == 4)
            if (!signed_ && run<false, false>(window, tile, count, u, v, verdicts)) return;
        signed_ = true;
        run<true, false>(window, tile, count, u, v, verdicts);
    }

private:
    using I = Integer<T>;
    using Flags = Vector<I, L>;
    using Words = Vector<std::int32_t, L>;
    static constexpr int P = parts<T>, lanes = L / P;
    using D = Doubles<T, L>;
    using Bits = Longs<T, L>;

    int n_;
    bool at_most_, square_, signed_ = false;
    Rounding rounding_;

    // Values of all lanes in memory, from where they are widened part by part: single instructions do both.
    template <typename Value>
    struct alignas(64) Lanes {
        Value lane[L];

        D wide(int k) const { return widen_lanes<double, lanes>(lane + k * lanes); }
        Bits wide_bits(int k) const { return widen_lanes<std::int64_t, lanes>(lane + k * lanes); }
    };

    // M values of each tile, in lanes.
    static inline __attribute__((always_inline)) void read(const T* row, V* s) {
        if constexpr (M == 4) {
            load_quads<T, L>(row, s);
        } else {
            for (int j = 0; j < M; ++j)
                for (int l = 0; l < L; ++l) s[j][l] = row[l * M + j];
        }
    }

    // The M mask bytes of row i of every tile.
    static inline __attribute__((always_inline)) Words read_words(const Window<T>& window, int tile, int i) {
        const char* row = window.mask_row(tile, i);
        Words words;
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
        return words;
    }

    static Words all(std::uint32_t word) { return static_cast<std::int32_t>(word) - Words{}; }
    static D magnitude(D x) { return (D)((Bits)x & (std::numeric_limits<std::int64_t>::max() - Bits{})); }
    static D positive(D x) { return positive_lanes<double, lanes>(x); }
    static constexpr int place_of(int lane) { return M == 4 ? quad_of<L>(lane) : lane; }

    // How many entries each row, and in byte j of the answer column j, keeps.
    static inline __attribute__((always_inline)) Words count_kept(const Words* words, Words* in_row) {
        Words columns{};
        MASKSOLVE_UNROLL
        for (int i = 0; i < M; ++i) {
            columns += words[i];
            const Words two = words[i] + (words[i] >> 16);
            in_row[i] = (two + (two >> 8)) & 0xff;
        }
        return columns;
    }

    // Whether the masks of all tiles that count meet the bounds.
    inline __attribute__((always_inline)) bool meets_bounds(const Words* words, int count) const {
        constexpr std::uint32_t ones = M == 4 ? 0x01010101u : M == 3 ? 0x010101u : 0x0101u;
        Words in_row[M], seen{};
        const Words columns = count_kept(words, in_row);
        Words wrong{};
        MASKSOLVE_UNROLL
        for (int i = 0; i < M; ++i) {
            seen |= words[i];
            wrong |= at_most_ ? (in_row[i] > n_) : (in_row[i] ^ n_);
        }
        wrong |= seen & all(~ones);
        // Subtracting bytes of at most 4 from bytes of n + 128 leaves the top bits unless one exceeds n.
        if (at_most_) wrong |= ~(all((n_ | 128) * ones) - columns) & all(128 * ones);
        else wrong |= columns ^ all(n_ * ones);
        if (count == L) return lane_bits_of(wrong != 0) == 0;
        std::uint64_t counting = 0;
        for (int l = 0; l < L; ++l) counting |= static_cast<std::uint64_t>(place_of(l) < count) << l;
        return (lane_bits_of(wrong != 0) & counting) == 0;
    }
    static std::uint64_t lane_bits_of(Words x) { return lane_bits<std::int32_t, L>(x); }

    // False, and no answer, if a kept score is negative and Signed is false.
    template <bool Signed, bool square>
    __attribute__((noinline)) bool run(const Window<T>& window, int tile, int count, const T* u_of_tiles,
                                       const T* v_of_tiles, Verdicts& verdicts) const {
        V u[M], v[M];
        read(u_of_tiles, u);
        read(v_of_tiles, v);
        Lanes<T> scores[M][M], worths[M][M], rows[M], columns[M];
        Lanes<std::int32_t> kept[M];
        Words words[M];
        Flags signs{};
        MASKSOLVE_UNROLL
        for (int i = 0; i < M; ++i) {
            words[i] = read_words(window, tile, i);
            std::memcpy(&kept[i], &words[i], sizeof words[i]);
            std::memcpy(&rows[i], &u[i], sizeof u[i]);
            std::memcpy(&columns[i], &v[i], sizeof v[i]);
            V s[M];
            read(window.row(tile, i), s);
            const Flags flags = __builtin_convertvector(words[i], Flags);
            MASKSOLVE_UNROLL
            for (int j = 0; j < M; ++j) {
                const V worth = (V)((Flags)s[j] & (Flags{} - ((flags >> (8 * j)) & 1)));
                std::memcpy(&scores[i][j], &s[j], sizeof s[j]);
                std::memcpy(&worths[i][j], &worth, sizeof worth);
                if (!Signed && !square) signs |= (Flags)worth;
            }
        }
        verdicts.feasible &= meets_bounds(words, count);
        if (!Signed && !square && lane_bits<I, L>(signs < 0) != 0) return false;
        D objective[P], slack[P], violation[P], scale[P];
        MASKSOLVE_UNROLL
        for (int k = 0; k < P; ++k) {
            D price[M], sum[M], size[M], prices{};
            MASKSOLVE_UNROLL
            for (int j = 0; j < M; ++j) {
                price[j] = columns[j].wide(k);
                prices += magnitude(price[j]);
                sum[j] = size[j] = D{};
            }
            violation[k] = D{};
            MASKSOLVE_UNROLL
            for (int i = 0; i < M; ++i) {
                const D row = rows[i].wide(k);
                const Bits word = kept[i].wide_bits(k);
                prices += magnitude(row);
                MASKSOLVE_UNROLL
                for (int j = 0; j < M; ++j) {
                    D score = scores[i][j].wide(k), worth = worths[i][j].wide(k);
                    if (square) {
                        score *= score;
                        worth *= worth;
                    }
                    const D reduced = score - (row + price[j]);
                    const Bits turned = (word << (63 - 8 * j)) & std::numeric_limits<std::int64_t>::min();
                    violation[k] += positive((D)((Bits)reduced ^ turned));
                    sum[j] += worth;
                    if (Signed) size[j] += magnitude(worth);
                }
            }
            violation[k] += prices * rounding_.rows;
            const D* sizes = Signed ? size : sum;
            const D infinite = D{} + std::numeric_limits<double>::infinity();
            D least = infinite, whole{}, worthy{};
            objective[k] = D{};
            MASKSOLVE_UNROLL
            for (int j = 0; j < M; ++j) {
                objective[k] += sum[j];
                whole += sizes[j];
                const Bits keeps = sizes[j] > D{};  // more than zeros
                const D size_or_infinite = select_lanes<double, lanes>(keeps, sizes[j], infinite);
                least = size_or_infinite < least ? size_or_infinite : least;
                worthy += (D)(keeps & (Bits)(D{} + 1.0));
            }
            scale[k] = select_lanes<double, lanes>(whole > D{}, least * worthy, D{});
            if (at_most_) violation[k] += line_violations(words, u, v, k);
            slack[k] = violation[k] + (whole + violation[k]) * rounding_.sums;
        }
        store_wide<T, L, M == 4>(objective, verdicts.objective + tile);
        store_wide<T, L, M == 4>(slack, verdicts.slack + tile);
        store_wide<T, L, M == 4>(violation, verdicts.violation + tile);
        store_wide<T, L, M == 4>(scale, verdicts.scale + tile);
        return true;
    }

    // Lines that may keep fewer: a price times as many entries as its line could keep beyond those it does,
    // if the price is positive, or else as it could do without.
    __attribute__((noinline)) D line_violations(const Words* words, const V* u, const V* v, int k) const {
        Words in_row[M];
        const Words columns = count_kept(words, in_row);
        D sum{};
        const auto add = [&](V price_lanes, Words held) {
            Lanes<T> prices;
            Lanes<std::int32_t> counts;
            std::memcpy(&prices, &price_lanes, sizeof price_lanes);
            std::memcpy(&counts, &held, sizeof held);
            const D price = prices.wide(k), here = __builtin_convertvector(counts.wide_bits(k), D);
            sum += price > D{} ? price * (double(n_) - here) : (D{} - price) * here;
        };
        for (int i = 0; i < M; ++i) {
            add(u[i], in_row[i]);
            add(v[i], (columns >> (8 * i)) & 0xff);
        }
        return sum;
    }
};

}  // namespace MASKSOLVE_ISA
}  // namespace masksolve
