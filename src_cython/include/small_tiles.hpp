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
        for (int i = 1; i < M; ++i) low = low < u[i] ? low : u[i];
        return lane_bits<I, L>(low < V{});
    }

private:
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
            for (int x = 0; x < 4; ++x)
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
            for (int k = 0; k < (M == 2 ? 2 : 6); ++k) {
                V worth{};
                int bits = 0;
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
    Choice either(int i, int x, int y, const V& sign) const {
        Choice best{(s[i][x] + s[i + 1][y]) * sign, all(1 << (4 * i + x) | 1 << (4 * i + 4 + y))};
        best.offer((s[i][y] + s[i + 1][x]) * sign, all(1 << (4 * i + y) | 1 << (4 * i + 4 + x)));
        return best;
    }

    // 2:4. Pair k of a row and pair 5 - k are complements.
    static constexpr int pair_bits[6] = {0b0011, 0b0101, 0b1001, 0b0110, 0b1010, 0b1100};

    void choose_pairs() {
        V pair[4][6];
        for (int i = 0; i < 4; ++i) {
            pair[i][0] = s[i][0] + s[i][1];
            pair[i][1] = s[i][0] + s[i][2];
            pair[i][2] = s[i][0] + s[i][3];
            pair[i][3] = s[i][1] + s[i][2];
            pair[i][4] = s[i][1] + s[i][3];
            pair[i][5] = s[i][2] + s[i][3];
        }
        // Upper rows hold one in each column, and so do the lower ones.
        Choice upper = halves(pair, 0, 0, 5), lower = halves(pair, 2, 0, 5);
        for (int k = 1; k < 6; ++k) {
            const Choice up = halves(pair, 0, k, 5 - k), low = halves(pair, 2, k, 5 - k);
            upper.offer(up.worth, up.code);
            lower.offer(low.worth, low.code);
        }
        Choice best{upper.worth + lower.worth, upper.code | lower.code};
        // Upper rows alike, the lower ones their complement.
        for (int k = 0; k < 6; ++k) {
            const Choice up = halves(pair, 0, k, k), low = halves(pair, 2, 5 - k, 5 - k);
            best.offer(up.worth + low.worth, up.code | low.code);
        }
        // Upper rows share column x and leave out column w; the lower ones share w and leave out x.
        for (int a = 0; a < 6; ++a)
            for (int b = a + 1; b < 6; ++b) {
                if (a + b == 5) continue;
                Choice up = halves(pair, 0, a, b), low = halves(pair, 2, 5 - a, 5 - b);
                const Choice up_swapped = halves(pair, 0, b, a), low_swapped = halves(pair, 2, 5 - b, 5 - a);
                up.offer(up_swapped.worth, up_swapped.code);
                low.offer(low_swapped.worth, low_swapped.code);
                best.offer(up.worth + low.worth, up.code | low.code);
            }
        code = best.code;
    }

    static Choice halves(const V (&pair)[4][6], int i, int a, int b) {
        return {pair[i][a] + pair[i + 1][b], all((pair_bits[a] | pair_bits[b] << 4) << (4 * i))};
    }

    // v_j <= v_k + (s_ij - s_ik) wherever row i keeps j and drops k; here w = -v, from w = 0 downwards. The
    // largest prices that result are non-negative just if keeping fewer entries could not gain.
    void price() {
        constexpr T infinity = std::numeric_limits<T>::infinity();
        const V far = V{} + infinity;
        V kept[M][M], dropped[M][M], shift[M][M];
        for (int i = 0; i < M; ++i)
            for (int j = 0; j < M; ++j) {
                const Codes is_kept = (code & all(1 << (4 * i + j))) != 0;
                kept[i][j] = is_kept ? s[i][j] : far;
                dropped[i][j] = is_kept ? -far : s[i][j];
            }
        for (int j = 0; j < M; ++j)
            for (int k = 0; k < M; ++k) {
                if (j == k) continue;
                shift[j][k] = kept[0][j] - dropped[0][k];
                for (int i = 1; i < M; ++i) shift[j][k] = smaller(shift[j][k], kept[i][j] - dropped[i][k]);
            }
        V w[M] = {};
        for (int round = 0; round < M - 1; ++round)
            for (int j = 0; j < M; ++j)
                for (int k = 0; k < M; ++k)
                    if (j != k) w[k] = smaller(w[k], w[j] + shift[j][k]);
        for (int j = 0; j < M; ++j) v[j] = V{} - w[j];
        for (int i = 0; i < M; ++i) {
            u[i] = kept[i][0] + w[0];
            for (int j = 1; j < M; ++j) u[i] = smaller(u[i], kept[i][j] + w[j]);
        }
    }

    static V smaller(const V& a, const V& b) { return a < b ? a : b; }
};

}  // namespace MASKSOLVE_ISA
}  // namespace masksolve
