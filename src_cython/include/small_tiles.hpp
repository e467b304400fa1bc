// Tiles of side 2 to 4: every mask is tried, one tile a lane.
//
// The 90 masks of 2:4 fall into 19 classes by the column counts of their upper two rows; a class's best upper and
// lower halves are found apart, so 36 + 36 sums serve for all. A mask is a code: bit 4 i + j for entry (i, j).
// The prices come from the mask that was found: complementary slackness is a system of difference
// constraints between columns, solved by Bellman-Ford; the mask's optimality is proven if they hold.
//
// At most n: exactly n first. While the prices say that a tile gains by keeping fewer, it gives up one entry along the
// shortest path from any column to any row that drops and adds entries in turn. The optimum is concave in the number
// kept, so the first number from which no path gains is the best.
#pragma once

#include "simd.hpp"

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
        Codes halved[2][6];      // they keep pair k and its complement
        Codes alike[4][4];       // the upper rows keep all columns but y and z, the lower ones y and z
        Codes twice[4][4];       // the upper rows both keep x, the lower ones both w

        Parts() {
            constexpr int pairs[6] = {0b0011, 0b0101, 0b1001, 0b0110, 0b1010, 0b1100};
            for (int h = 0; h < 2; ++h) {
                for (int x = 0; x < 4; ++x)
                    for (int y = 0; y < 4; ++y) crossed[h][x][y] = all((1 << x | 1 << (4 + y)) << (8 * h));
                for (int k = 0; k < 6; ++k) halved[h][k] = all((pairs[k] | pairs[5 - k] << 4) << (8 * h));
            }
            for (int y = 0; y < 4; ++y)
                for (int z = 0; z < 4; ++z) {
                    const int lower = 1 << y | 1 << z, upper = 15 ^ lower;
                    alike[y][z] = all(upper * 0x11 | lower * 0x1100);
                    twice[y][z] = all((1 << y) * 0x11 | (1 << z) * 0x1100);
                }
        }
    };

    // The best mask of every lane's tile that keeps n in each row and column, and its prices.
    inline __attribute__((always_inline)) void solve(int n, const Parts& parts) {
        if constexpr (M == 4) {
            if (n == 2) choose_pairs(parts);
            else choose_permutation(n == 3, parts);
        } else {
            choose_permutation(n == M - 1 && n != 1, parts);
        }
        price<false>();
    }

    // The best mask that keeps at most n, and its prices, which are not negative. Scores below 0 count as 0, lest
    // their magnitude drown the others, and are dropped in the end.
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

    // Where rounding hides the path that negative prices promise, they rise to 0, which costs no more than rounding.
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

    // One entry fewer in each lane that gains by it; whether any does.
    inline __attribute__((always_inline)) bool give_up_one() {
        const V never = V{} - std::numeric_limits<T>::infinity();
        V kept[M][M], added[M][M];
        MASKSOLVE_UNROLL
        for (int i = 0; i < M; ++i)
            MASKSOLVE_UNROLL
            for (int j = 0; j < M; ++j) {
                kept[i][j] = is_kept(i, j) ? s[i][j] : -never;
                added[i][j] = is_kept(i, j) ? never : s[i][j];
            }
        Choice arc[M][M];  // from a column to another: some row drops the one and adds the other
        MASKSOLVE_UNROLL
        for (int j = 0; j < M; ++j)
            MASKSOLVE_UNROLL
            for (int k = 0; k < M; ++k) {
                if (j == k) continue;
                arc[j][k] = {added[0][k] - kept[0][j], entry(0, j) | entry(0, k)};
                MASKSOLVE_UNROLL
                for (int i = 1; i < M; ++i) arc[j][k].offer(added[i][k] - kept[i][j], entry(i, j) | entry(i, k));
            }
        Choice path[M] = {};  // to each column: what it gains, and the entries that change
        MASKSOLVE_UNROLL
        for (int round = 0; round < M - 1; ++round)
            MASKSOLVE_UNROLL
            for (int j = 0; j < M; ++j)
                MASKSOLVE_UNROLL
                for (int k = 0; k < M; ++k)
                    if (j != k) path[k].extend(path[j], arc[j][k]);
        Choice best{};
        MASKSOLVE_UNROLL
        for (int j = 0; j < M; ++j)
            MASKSOLVE_UNROLL
            for (int i = 0; i < M; ++i) best.extend(path[j], Choice{V{} - kept[i][j], entry(i, j)});
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
            for (int x = 0; x < 4; ++x)
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
        constexpr int every = M == 4 ? 0xffff : M == 3 ? 0x777 : 0x33;
        code = drop ? best.code ^ every : best.code;
    }

    // Rows i and i + 1 keep columns x and y, whichever way round is better.
    inline __attribute__((always_inline)) Choice either(int i, int x, int y, const Parts& parts,
                                                        const V& sign = V{} + T(1)) const {
        Choice best{(s[i][x] + s[i + 1][y]) * sign, parts.crossed[i / 2][x][y]};
        best.offer((s[i][y] + s[i + 1][x]) * sign, parts.crossed[i / 2][y][x]);
        return best;
    }

    // 2:4. The upper rows' columns hold 0, 1 or 2 entries, the lower rows' what is missing to 2.
    inline __attribute__((always_inline)) void choose_pairs(const Parts& parts) {
        V column[2][4];  // both entries of a column's upper, lower half
        MASKSOLVE_UNROLL
        for (int h = 0; h < 2; ++h)
            MASKSOLVE_UNROLL
            for (int j = 0; j < 4; ++j) column[h][j] = s[2 * h][j] + s[2 * h + 1][j];
        const Choice upper = one_each(0, parts), lower = one_each(2, parts);
        Choice best{upper.worth + lower.worth, upper.code | lower.code};
        MASKSOLVE_UNROLL
        for (int y = 0; y < 4; ++y)
            MASKSOLVE_UNROLL
            for (int z = y + 1; z < 4; ++z) {
                const int x = y > 0 ? 0 : z > 1 ? 1 : 2, w = 6 - x - y - z;
                best.offer((column[0][x] + column[0][w]) + (column[1][y] + column[1][z]), parts.alike[y][z]);
                // Upper rows hold x twice, the lower ones w, or the other way round; both halves hold y and z once.
                Choice twice{column[0][x] + column[1][w], parts.twice[x][w]};
                twice.offer(column[0][w] + column[1][x], parts.twice[w][x]);
                const Choice up = either(0, y, z, parts), low = either(2, y, z, parts);
                best.offer(twice.worth + (up.worth + low.worth), twice.code | up.code | low.code);
            }
        code = best.code;
    }

    // Rows i and i + 1 keep two columns each, and between them every column once.
    inline __attribute__((always_inline)) Choice one_each(int i, const Parts& parts) const {
        V pair[2][6];
        MASKSOLVE_UNROLL
        for (int r = 0; r < 2; ++r) {
            const V* row = s[i + r];
            pair[r][0] = row[0] + row[1], pair[r][5] = row[2] + row[3];
            pair[r][1] = row[0] + row[2], pair[r][4] = row[1] + row[3];
            pair[r][2] = row[0] + row[3], pair[r][3] = row[1] + row[2];
        }
        Choice best{pair[0][0] + pair[1][5], parts.halved[i / 2][0]};
        MASKSOLVE_UNROLL
        for (int k = 1; k < 6; ++k) best.offer(pair[0][k] + pair[1][5 - k], parts.halved[i / 2][k]);
        return best;
    }

    // v_j <= v_k + (s_ij - s_ik) wherever row i keeps j and drops k; here w = -v, from w = 0 downwards. The
    // largest prices that result are non-negative just if keeping fewer entries could not gain. `open`: rows that
    // keep fewer than n have the price 0, so v_k >= s_ik where they drop k.
    template <bool open>
    inline __attribute__((always_inline)) void price(int n = 0) {
        constexpr T infinity = std::numeric_limits<T>::infinity();
        const V far = V{} + infinity;
        V kept[M][M], dropped[M][M], shift[M][M];
        MASKSOLVE_UNROLL
        for (int i = 0; i < M; ++i)
            MASKSOLVE_UNROLL
            for (int j = 0; j < M; ++j) {
                const Codes here = is_kept(i, j);
                kept[i][j] = here ? s[i][j] : far;
                dropped[i][j] = here ? -far : s[i][j];
            }
        MASKSOLVE_UNROLL
        for (int j = 0; j < M; ++j)
            MASKSOLVE_UNROLL
            for (int k = 0; k < M; ++k) {
                if (j == k) continue;
                shift[j][k] = kept[0][j] - dropped[0][k];
                MASKSOLVE_UNROLL
                for (int i = 1; i < M; ++i) shift[j][k] = smaller(shift[j][k], kept[i][j] - dropped[i][k]);
            }
        V w[M] = {}, most_u[M];
        if constexpr (open)
            MASKSOLVE_UNROLL
            for (int i = 0; i < M; ++i) {
                const Codes full = row_is_full(i, n);
                most_u[i] = full ? far : V{};
                MASKSOLVE_UNROLL
                for (int k = 0; k < M; ++k) w[k] = full ? w[k] : smaller(w[k], V{} - dropped[i][k]);
            }
        MASKSOLVE_UNROLL
        for (int round = 0; round < M - 1; ++round)
            MASKSOLVE_UNROLL
            for (int j = 0; j < M; ++j)
                MASKSOLVE_UNROLL
                for (int k = 0; k < M; ++k)
                    if (j != k) w[k] = smaller(w[k], w[j] + shift[j][k]);
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
