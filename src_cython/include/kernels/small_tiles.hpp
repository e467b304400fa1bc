// Tiles of side 2 to 4: the best mask of all, one tile a lane.
//
// The 90 masks of 2:4 are three ways to pair the rows, and in each pair one row keeps a half of the columns,
// the other row the other half. Tiles with one entry to keep or drop in a line try every permutation. A mask
// is a code: bit 4 i + j for entry (i, j). The prices come from the mask that was found: complementary
// slackness is a system of difference constraints between columns, solved by Bellman-Ford; the mask's
// optimality is proven if they hold.
//
// At most n: exactly n first. While the prices say that a tile gains by keeping fewer, it gives up one entry
// along the shortest path from any column to any row that drops and adds entries in turn. The optimum is
// concave in the number kept, so the first number from which no path gains is the best.
#pragma once

#include "vectors/simd.hpp"

namespace masksolve {
namespace MASKSOLVE_ISA {

template <typename T, int M>
class SmallTiles {
public:
    static constexpr int L = Pack<T, 64>::L;
    using I = Integer<T>;
    using V = Vector<T, L>;
    using Codes = Vector<I, L>;

    V s[M][M], u[M], v[M];
    Codes code;

    static Codes all(int value) { return I(value) - Codes{}; }

    // Codes of parts of masks, kept in memory: as constants they would be put together again for every batch.
    struct Parts {
        Codes crossed[2][4][4];  // rows 2 h and 2 h + 1 keep column x and column y

        Parts() {
            for (int h = 0; h < 2; ++h)
                for (int x = 0; x < 4; ++x)
                    for (int y = 0; y < 4; ++y) crossed[h][x][y] = all((1 << x | 1 << (4 + y)) << (8 * h));
        }
    };

    // The best mask of every lane's tile that keeps n in each row and column, and its prices.
    inline __attribute__((always_inline)) void solve(int n, const Parts& parts) {
        if (n == M) {
            code = all(every);
        } else if constexpr (M == 4) {
            if (n == 2) choose_pairs();
            else choose_permutation(n == 3, parts);
        } else {
            choose_permutation(n == M - 1 && n != 1, parts);
        }
        price<false>();
    }

    // The best mask that keeps at most n, and its prices, which are not negative. Scores below 0 count as 0,
    // since their magnitude would round the others away, and are dropped in the end.
    inline __attribute__((always_inline)) void solve_at_most(int n, const Parts& parts) {
        V low = s[0][0];
        MASKSOLVE_UNROLL
        for (int e = 1; e < M * M; ++e) low = smaller(low, s[e / M][e % M]);
        Codes negative{};
        if (lane_bits<I, L>(low < V{})) negative = raise_to_zero();
        solve(n, parts);
        if (would_shrink()) shrink(n);
        code &= ~negative;
    }

private:
    static constexpr int top_bit = 8 * sizeof(I) - 1;
    static constexpr int every = M == 4 ? 0xffff : M == 3 ? 0x777 : 0x33;  // the code that keeps all

    static Codes entry(int i, int j) { return all(1 << (4 * i + j)); }
    Codes is_kept(int i, int j) const { return (code << all(top_bit - (4 * i + j))) < 0; }

    // Whether some lane's tile could gain by keeping fewer: some price is negative.
    bool would_shrink() const {
        V low = u[0];
        MASKSOLVE_UNROLL
        for (int i = 1; i < M; ++i) low = smaller(low, u[i]);
        return lane_bits<I, L>(low < V{}) != 0;
    }

    // Which entries were negative.
    __attribute__((noinline)) Codes raise_to_zero() {
        Codes negative{};
        for (int i = 0; i < M; ++i)
            for (int j = 0; j < M; ++j) {
                negative |= (s[i][j] < V{}) & entry(i, j);
                s[i][j] = s[i][j] < V{} ? V{} : s[i][j];
            }
        return negative;
    }

    // Where rounding hides the path that negative prices promise, they rise to 0, which costs no more than
    // rounding.
    __attribute__((noinline)) void shrink(int n) {
        while (would_shrink() && give_up_one()) price<true>(n);
        for (int i = 0; i < M; ++i) u[i] = u[i] < V{} ? V{} : u[i];
    }

    struct Choice {
        V worth;
        Codes code;

        inline __attribute__((always_inline)) void offer(const V& other_worth, const Codes& other_code) {
            const Codes better = other_worth > worth;
            worth = better ? other_worth : worth;
            code = better ? other_code : code;
        }
        // A path changes an entry once, even if rounding makes a detour seem to gain.
        inline __attribute__((always_inline)) void extend(const Choice& path, const Choice& arc) {
            const V length = path.worth + arc.worth;
            const Codes better = (length > worth) & ((path.code & arc.code) == 0);
            worth = better ? length : worth;
            code = better ? path.code | arc.code : code;
        }
    };

    // Drops one entry in each lane whose tile gains by keeping fewer; returns whether any does.
    inline __attribute__((always_inline)) bool give_up_one() {
        const V never = V{} - std::numeric_limits<T>::infinity();
        V kept[M][M], added[M][M];
        MASKSOLVE_UNROLL
        for (int i = 0; i < M; ++i) {
            MASKSOLVE_UNROLL
            for (int j = 0; j < M; ++j) {
                kept[i][j] = is_kept(i, j) ? s[i][j] : -never;
                added[i][j] = is_kept(i, j) ? never : s[i][j];
            }
        }
        Choice arc[M][M];  // from a column to another: some row drops the one and adds the other
        MASKSOLVE_UNROLL
        for (int j = 0; j < M; ++j) {
            MASKSOLVE_UNROLL
            for (int k = 0; k < M; ++k) {
                if (j == k) continue;
                arc[j][k] = {added[0][k] - kept[0][j], entry(0, j) | entry(0, k)};
                MASKSOLVE_UNROLL
                for (int i = 1; i < M; ++i)
                    arc[j][k].offer(added[i][k] - kept[i][j], entry(i, j) | entry(i, k));
            }
        }
        Choice path[M] = {};  // to each column: what it gains, and the entries that change
        MASKSOLVE_UNROLL
        for (int round = 0; round < M - 1; ++round) {
            MASKSOLVE_UNROLL
            for (int j = 0; j < M; ++j) {
                MASKSOLVE_UNROLL
                for (int k = 0; k < M; ++k)
                    if (j != k) path[k].extend(path[j], arc[j][k]);
            }
        }
        Choice best{};
        MASKSOLVE_UNROLL
        for (int j = 0; j < M; ++j) {
            MASKSOLVE_UNROLL
            for (int i = 0; i < M; ++i) best.extend(path[j], Choice{V{} - kept[i][j], entry(i, j)});
        }
        code ^= best.code;
        return lane_bits<I, L>(best.worth > V{}) != 0;
    }

    // One entry in each row and column: the most valuable to keep, or the least valuable to drop.
    inline __attribute__((always_inline)) void choose_permutation(bool drop, const Parts& parts) {
        const V sign = V{} + T(drop ? -1 : 1);
        Choice best{};
        if constexpr (M == 4) {
            bool first = true;
            MASKSOLVE_UNROLL
            for (int x = 0; x < 4; ++x) {
                MASKSOLVE_UNROLL
                for (int y = x + 1; y < 4; ++y) {
                    const Choice upper = either(0, x, y, parts, sign);
                    int z = 0;
                    while (z == x || z == y) ++z;
                    const Choice lower = either(2, z, 6 - x - y - z, parts, sign);
                    const V worth = upper.worth + lower.worth;
                    if (first) best = {worth, upper.code | lower.code};
                    else best.offer(worth, upper.code | lower.code);
                    first = false;
                }
            }
        } else {
            constexpr int orders[6][3] = {{0, 1, 2}, {1, 0, 2}, {0, 2, 1}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
            MASKSOLVE_UNROLL
            for (int k = 0; k < (M == 2 ? 2 : 6); ++k) {
                V worth{};
                int bits = 0;
                MASKSOLVE_UNROLL
                for (int i = 0; i < M; ++i) {
                    worth = worth + s[i][orders[k][i]] * sign;
                    bits |= 1 << (4 * i + orders[k][i]);
                }
                if (k == 0) best = {worth, all(bits)};
                else best.offer(worth, all(bits));
            }
        }
        code = drop ? best.code ^ every : best.code;
    }

    // Rows i and i + 1 keep columns x and y, whichever way round is better.
    inline __attribute__((always_inline)) Choice either(int i, int x, int y, const Parts& parts,
                                                        const V& sign) const {
        Choice best{(s[i][x] + s[i + 1][y]) * sign, parts.crossed[i / 2][x][y]};
        best.offer((s[i][y] + s[i + 1][x]) * sign, parts.crossed[i / 2][y][x]);
        return best;
    }

    // 2:4. Two rows that keep opposite halves of the columns keep every column once; every mask is two such
    // pairs of rows. So the best pairing of the rows is the one whose pairs, each for itself, are worth most.
    // Only what is kept is added up: a large negative score would round the others away.
    inline __attribute__((always_inline)) void choose_pairs() {
        constexpr int pairings = 3;
        constexpr int first[pairings][2] = {{0, 2}, {0, 1}, {0, 1}},
                      second[pairings][2] = {{1, 3}, {2, 3}, {3, 2}};
        V worth[4][halves];
        MASKSOLVE_UNROLL
        for (int i = 0; i < 4; ++i) {
            MASKSOLVE_UNROLL
            for (int h = 0; h < halves; ++h) worth[i][h] = s[i][half[h][0]] + s[i][half[h][1]];
        }
        V best[pairings][2], total[pairings];
        MASKSOLVE_UNROLL
        for (int p = 0; p < pairings; ++p) {
            MASKSOLVE_UNROLL
            for (int pair = 0; pair < 2; ++pair) {
                const V* one = worth[first[p][pair]];
                const V* other = worth[second[p][pair]];
                best[p][pair] = one[0] + other[halves - 1];
                MASKSOLVE_UNROLL
                for (int h = 1; h < halves; ++h)
                    best[p][pair] = larger(best[p][pair], one[h] + other[halves - 1 - h]);
            }
            total[p] = best[p][0] + best[p][1];
        }
        const Codes is_second = total[1] > total[0];
        const Codes is_third = total[2] > larger(total[0], total[1]);
        const auto of_pairing = [&](const auto& a, const auto& b, const auto& c) {
            return is_third ? c : is_second ? b : a;
        };
        Codes kept[2];  // by both rows of a pair as if they were alike
        MASKSOLVE_UNROLL
        for (int pair = 0; pair < 2; ++pair) {
            const V most = of_pairing(best[0][pair], best[1][pair], best[2][pair]);
            kept[pair] = all(rows_alike(halves - 1));
            MASKSOLVE_UNROLL
            for (int h = halves - 2; h >= 0; --h) {
                V sum[pairings];
                MASKSOLVE_UNROLL
                for (int p = 0; p < pairings; ++p)
                    sum[p] = worth[first[p][pair]][h] + worth[second[p][pair]][halves - 1 - h];
                kept[pair] = of_pairing(sum[0], sum[1], sum[2]) == most ? all(rows_alike(h)) : kept[pair];
            }
        }
        const Codes together = of_pairing(all(0x00ff), all(0x0f0f), all(0xf00f));
        const Codes opposed = of_pairing(all(0xf0f0), all(0xff00), all(0xff00));
        code = (((kept[0] ^ kept[1]) & together) ^ kept[1]) ^ opposed;
    }

    // Halves of four columns; the h-th's complement is the h-th from the end.
    static constexpr int halves = 6, half[halves][2] = {{0, 1}, {0, 2}, {0, 3}, {1, 2}, {1, 3}, {2, 3}};
    static constexpr int rows_alike(int h) { return (1 << half[h][0] | 1 << half[h][1]) * 0x1111; }

    static V larger(const V& a, const V& b) { return a > b ? a : b; }

    // v_j <= v_k + (s_ij - s_ik) wherever row i keeps j and drops k; here w = -v, from w = 0 downwards. The
    // largest prices that result are non-negative just if keeping fewer entries could not gain. `open`: rows
    // that keep fewer than n have the price 0, so v_k >= s_ik where they drop k.
    template <bool open>
    inline __attribute__((always_inline)) void price(int n = 0) {
        constexpr T infinity = std::numeric_limits<T>::infinity();
        const V far = V{} + infinity;
        V kept[M][M], dropped[M][M], shift[M][M];
        MASKSOLVE_UNROLL
        for (int i = 0; i < M; ++i) {
            MASKSOLVE_UNROLL
            for (int j = 0; j < M; ++j) {
                const Codes here = is_kept(i, j);
                kept[i][j] = here ? s[i][j] : far;
                dropped[i][j] = here ? -far : s[i][j];
            }
        }
        MASKSOLVE_UNROLL
        for (int j = 0; j < M; ++j) {
            MASKSOLVE_UNROLL
            for (int k = 0; k < M; ++k) {
                if (j == k) continue;
                shift[j][k] = kept[0][j] - dropped[0][k];
                MASKSOLVE_UNROLL
                for (int i = 1; i < M; ++i) shift[j][k] = smaller(shift[j][k], kept[i][j] - dropped[i][k]);
            }
        }
        V w[M] = {}, most_u[M];
        if constexpr (open) {
            MASKSOLVE_UNROLL
            for (int i = 0; i < M; ++i) {
                const Codes full = row_is_full(i, n);
                most_u[i] = full ? far : V{};
                MASKSOLVE_UNROLL
                for (int k = 0; k < M; ++k) w[k] = full ? w[k] : smaller(w[k], V{} - dropped[i][k]);
            }
        }
        MASKSOLVE_UNROLL
        for (int round = 0; round < M - 1; ++round) {
            V before[M];
            MASKSOLVE_UNROLL
            for (int j = 0; j < M; ++j) before[j] = w[j];
            MASKSOLVE_UNROLL
            for (int k = 0; k < M; ++k) {
                V shortest = w[k];
                MASKSOLVE_UNROLL
                for (int j = 0; j < M; ++j)
                    if (j != k)
                        shortest =
                            smaller(shortest, !open && round == 0 ? shift[j][k] : before[j] + shift[j][k]);
                w[k] = shortest;
            }
        }
        MASKSOLVE_UNROLL
        for (int j = 0; j < M; ++j) v[j] = V{} - w[j];
        MASKSOLVE_UNROLL
        for (int i = 0; i < M; ++i) {
            u[i] = kept[i][0] + w[0];
            MASKSOLVE_UNROLL
            for (int j = 1; j < M; ++j) u[i] = smaller(u[i], kept[i][j] + w[j]);
            if constexpr (open) u[i] = smaller(u[i], most_u[i]);
        }
    }

    Codes row_is_full(int i, int n) const {
        Codes held{};
        for (int j = 0; j < M; ++j) held -= is_kept(i, j);
        return held == I(n) - Codes{};
    }

    static V smaller(const V& a, const V& b) { return a < b ? a : b; }
};

}  // namespace MASKSOLVE_ISA
}  // namespace masksolve
