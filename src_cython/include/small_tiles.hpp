// Tiles of side 2 to 4: every mask is tried, one tile a lane.
//
// The 90 masks of 2:4 fall into 19 classes by the column counts of their upper two rows; a class's best upper and
// lower halves are found apart, so 36 + 36 sums serve for all. A mask is a code: bit 4 i + j for entry (i, j).
// The prices come from the mask that was found: complementary slackness is a system of difference
// constraints between columns, solved by Bellman-Ford; the mask's optimality is proven if they hold.
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

    // The best mask of every lane's tile that keeps n in each row and column, and its prices.
    void solve(int n) {
        if constexpr (M == 4) {
            if (n == 2) choose_pairs();
            else choose_permutation(n == 3);
        } else {
            choose_permutation(n == M - 1 && n != 1);
        }
        price();
    }

    // Lanes whose tile could gain by keeping fewer than n: some price is negative.
    std::uint64_t would_shrink() const {
        V low = u[0];
        MASKSOLVE_UNROLL
        for (int i = 1; i < M; ++i) low = low < u[i] ? low : u[i];
        return lane_bits<I, L>(low < V{});
    }

private:
    static constexpr int top_bit = 8 * sizeof(I) - 1;

    struct Choice {
        V worth;
        Codes code;

        void offer(const V& other_worth, const Codes& other_code) {
            const Codes better = other_worth > worth;
            worth = better ? other_worth : worth;
            code = better ? other_code : code;
        }
    };

    static Codes all(int value) { return I(value) - Codes{}; }

    // One entry in each row and column: the most valuable to keep, or the least valuable to drop.
    void choose_permutation(bool drop) {
        const V sign = V{} + T(drop ? -1 : 1);
        Choice best{};
        if constexpr (M == 4) {
            bool first = true;
            MASKSOLVE_UNROLL
            for (int x = 0; x < 4; ++x)
                MASKSOLVE_UNROLL
                for (int y = x + 1; y < 4; ++y) {
                    const Choice upper = either(0, x, y, sign);
                    int z = 0;
                    while (z == x || z == y) ++z;
                    const Choice lower = either(2, z, 6 - x - y - z, sign);
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
    Choice either(int i, int x, int y, const V& sign = V{} + T(1)) const {
        Choice best{(s[i][x] + s[i + 1][y]) * sign, all(1 << (4 * i + x) | 1 << (4 * i + 4 + y))};
        best.offer((s[i][y] + s[i + 1][x]) * sign, all(1 << (4 * i + y) | 1 << (4 * i + 4 + x)));
        return best;
    }

    // 2:4. The upper rows' columns hold 0, 1 or 2 entries, the lower rows' what is missing to 2.
    void choose_pairs() {
        V column[2][4];  // both entries of a column's upper, lower half
        MASKSOLVE_UNROLL
        for (int h = 0; h < 2; ++h)
            MASKSOLVE_UNROLL
            for (int j = 0; j < 4; ++j) column[h][j] = s[2 * h][j] + s[2 * h + 1][j];
        const Choice upper = one_each(0), lower = one_each(2);
        Choice best{upper.worth + lower.worth, upper.code | lower.code};
        MASKSOLVE_UNROLL
        for (int y = 0; y < 4; ++y)
            MASKSOLVE_UNROLL
            for (int z = y + 1; z < 4; ++z) {
                const int x = y > 0 ? 0 : z > 1 ? 1 : 2, w = 6 - x - y - z;
                // Upper rows hold x and w twice, the lower ones y and z.
                best.offer((column[0][x] + column[0][w]) + (column[1][y] + column[1][z]),
                           all(both(0, x) | both(0, w) | both(2, y) | both(2, z)));
                // Upper rows hold x twice, the lower ones w, or the other way round; both halves hold y and z once.
                Choice twice{column[0][x] + column[1][w], all(both(0, x) | both(2, w))};
                twice.offer(column[0][w] + column[1][x], all(both(0, w) | both(2, x)));
                const Choice up = either(0, y, z), low = either(2, y, z);
                best.offer(twice.worth + (up.worth + low.worth), twice.code | up.code | low.code);
            }
        code = best.code;
    }

    static constexpr int both(int i, int j) { return 1 << (4 * i + j) | 1 << (4 * i + 4 + j); }

    // Rows i and i + 1 keep two columns each, and between them every column once.
    Choice one_each(int i) const {
        V pair[2][6];
        MASKSOLVE_UNROLL
        for (int r = 0; r < 2; ++r) {
            const V* row = s[i + r];
            pair[r][0] = row[0] + row[1], pair[r][5] = row[2] + row[3];
            pair[r][1] = row[0] + row[2], pair[r][4] = row[1] + row[3];
            pair[r][2] = row[0] + row[3], pair[r][3] = row[1] + row[2];
        }
        constexpr int bits[6] = {0b0011, 0b0101, 0b1001, 0b0110, 0b1010, 0b1100};
        Choice best{pair[0][0] + pair[1][5], all((bits[0] | bits[5] << 4) << (4 * i))};
        MASKSOLVE_UNROLL
        for (int k = 1; k < 6; ++k)
            best.offer(pair[0][k] + pair[1][5 - k], all((bits[k] | bits[5 - k] << 4) << (4 * i)));
        return best;
    }

    // v_j <= v_k + (s_ij - s_ik) wherever row i keeps j and drops k; here w = -v, from w = 0 downwards. The
    // largest prices that result are non-negative just if keeping fewer entries could not gain.
    void price() {
        constexpr T infinity = std::numeric_limits<T>::infinity();
        const V far = V{} + infinity;
        V kept[M][M], dropped[M][M], shift[M][M];
        MASKSOLVE_UNROLL
        for (int i = 0; i < M; ++i)
            MASKSOLVE_UNROLL
            for (int j = 0; j < M; ++j) {
                const Codes is_kept = (code << all(top_bit - (4 * i + j))) < 0;
                kept[i][j] = is_kept ? s[i][j] : far;
                dropped[i][j] = is_kept ? -far : s[i][j];
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
        V w[M] = {};
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
        }
    }

    static V smaller(const V& a, const V& b) { return a < b ? a : b; }
};

}  // namespace MASKSOLVE_ISA
}  // namespace masksolve
