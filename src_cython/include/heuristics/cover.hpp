// Algorithm 1 of Hubara et al. 2021, section 3: a 2-approximation of the lightest cover.
#pragma once

#include "heuristics/completion.hpp"
#include "heuristics/ranking.hpp"

namespace masksolve {

// Lightest entry first, prune it if its row or its column still has too few pruned, that is, still
// keeps more than its most; stop when no line does.
template <typename T>
struct Cover {
    static constexpr bool heaviest_first = false;

    static void fill(const Entry<T>* ranking, TileMask& mask) {
        Lines &rows = mask.rows, &columns = mask.columns;
        reset(rows, columns.size, true);
        reset(columns, rows.size, true);
        int uncovered = (columns.size > rows.bounds.most ? rows.size : 0) +
                        (rows.size > columns.bounds.most ? columns.size : 0);
        for (int rank = 0; uncovered > 0; ++rank) {
            const int row = ranking[rank].row(), column = ranking[rank].column();
            const bool row_needs = rows.kept[row] > rows.bounds.most;
            const bool column_needs = columns.kept[column] > columns.bounds.most;
            if (!row_needs && !column_needs) continue;
            drop(mask, row, column);
            uncovered -= row_needs && rows.kept[row] == rows.bounds.most;
            uncovered -= column_needs && columns.kept[column] == columns.bounds.most;
        }
    }
};

}  // namespace masksolve
