// Keep-greedy, the rule of the code that the authors of Hubara et al. 2021 released.
#pragma once

#include "heuristics/completion.hpp"
#include "heuristics/ranking.hpp"

namespace masksolve {

// Heaviest entry first, keep it if its row and its column both have room.
template <typename T>
struct Greedy {
    static constexpr bool heaviest_first = true;

    static void fill(const Entry<T>* ranking, TileMask& mask) {
        Lines &rows = mask.rows, &columns = mask.columns;
        reset(rows, columns.size, false);
        reset(columns, rows.size, false);
        const int count = rows.size * columns.size;
        int room = std::min(rows.size * rows.bounds.most, columns.size * columns.bounds.most);
        for (int rank = 0; rank < count && room > 0; ++rank) {
            const int row = ranking[rank].row(), column = ranking[rank].column();
            if (rows.kept[row] < rows.bounds.most && columns.kept[column] < columns.bounds.most) {
                keep(mask, row, column);
                --room;
            }
        }
    }
};

}  // namespace masksolve
