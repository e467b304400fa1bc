// The certificate of one tile of any shape, entry by entry, in any numbers; ledger.hpp has the formula.
#pragma once

#include "certificate/ledger.hpp"
#include "kernels/flow.hpp"

namespace masksolve {

// Whether the mask meets the bounds and the forced choices.
template <typename Number>
bool is_feasible(const FlowTile<Number>& tile) {
    int in_column[longest_side] = {};
    for (int i = 0; i < tile.height; ++i) {
        const int here = __builtin_popcountll(tile.kept[i]);
        if (here < tile.rows.least || here > tile.rows.most) return false;
        if ((tile.keep[i] & ~tile.kept[i]) != 0 || (tile.drop[i] & tile.kept[i]) != 0) return false;
        for (int j = 0; j < tile.width; ++j) in_column[j] += tile.is_kept(i, j);
    }
    for (int j = 0; j < tile.width; ++j)
        if (in_column[j] < tile.columns.least || in_column[j] > tile.columns.most) return false;
    return true;
}

// How much a line of price p that keeps `here` entries contributes: max(least p, most p) - here p.
template <typename Number>
Number line_violation(const Number& price, int here, Bounds bounds) {
    const bool above = price > Number{};
    const int times = above ? bounds.most - here : here - bounds.least;
    const Number size = above ? price : -price;
    if constexpr (std::is_floating_point_v<Number>) {
        return times * size;
    } else {
        Number sum{};
        for (int k = 0; k < times; ++k) sum += size;
        return sum;
    }
}

template <typename Number>
Number violation_of(const FlowTile<Number>& tile) {
    Number violation{};
    int in_column[longest_side] = {};
    for (int i = 0; i < tile.height; ++i) {
        Number row{};  // row by row, so that rounding grows with the sides and not with the number of entries
        for (int j = 0; j < tile.width; ++j) {
            in_column[j] += tile.is_kept(i, j);
            if (tile.is_forced(i, j)) continue;
            const Number cost = tile.u[i] + tile.v[j], reduced = tile.scores[i][j] - cost;
            if (tile.is_kept(i, j) ? reduced < Number{} : reduced > Number{})
                row += tile.is_kept(i, j) ? -reduced : reduced;
        }
        violation += row + line_violation(tile.u[i], __builtin_popcountll(tile.kept[i]), tile.rows);
    }
    for (int j = 0; j < tile.width; ++j) violation += line_violation(tile.v[j], in_column[j], tile.columns);
    return violation;
}

// What a tile's violation is measured by. One huge entry must not hide mistakes elsewhere in its tile, so the
// columns count as if each kept no more than the one that keeps least; a column that keeps nothing but zeros
// is left out. It is never more than the kept sum of |scores|, and that itself for a group.
template <typename Magnitude>
double scale_of(int height, int width, Magnitude kept_magnitude) {
    double least = std::numeric_limits<double>::infinity(), whole = 0;
    int columns = 0;
    for (int j = 0; j < width; ++j) {
        double column = 0;
        for (int i = 0; i < height; ++i) column += kept_magnitude(i, j);
        whole += column;
        if (column == 0) continue;
        least = std::min(least, column);
        ++columns;
    }
    if (height == 1) return whole;
    return columns == 0 ? 0 : columns * least;
}

struct TileProof {
    double objective, slack, violation, scale;

    double gap() const { return relative_violation(violation, scale); }
};

inline TileProof prove(const FlowTile<double>& tile) {
    TileProof proof{};
    double magnitude = 0, rows = 0, columns = 0;
    for (int i = 0; i < tile.height; ++i) {
        double kept = 0;
        for (int j = 0; j < tile.width; ++j) {
            if (!tile.is_kept(i, j)) continue;
            kept += tile.scores[i][j];
            magnitude += std::abs(tile.scores[i][j]);
        }
        proof.objective += kept;
        rows += std::abs(tile.u[i]);
    }
    for (int j = 0; j < tile.width; ++j) columns += std::abs(tile.v[j]);
    const Rounding rounding(tile.height, tile.width);
    proof.violation = violation_of(tile) + (rounding.rows * rows + rounding.columns * columns);
    proof.scale = scale_of(tile.height, tile.width, [&](int i, int j) {
        return tile.is_kept(i, j) ? std::abs(tile.scores[i][j]) : 0.0;
    });
    proof.slack = proof.violation + rounding.sums * (magnitude + proof.violation);
    return proof;
}

}  // namespace masksolve
