#include "drivers/general_tiles.hpp"

#include <cmath>
#include <new>

#include "certificate/tile_proof.hpp"
#include "kernels/wide_integer.hpp"

#define MASKSOLVE_ISA baseline
#define MASKSOLVE_VECTOR_BYTES 16
#include "arrays/convert.hpp"

namespace masksolve {

namespace {

constexpr int descents = 4;

// The largest relative violation that float64 may leave before integers take over.
constexpr double proven_in_double = 1e-12;

// Bits that prices, which are sums of scores along paths, may have beyond the scores themselves: a path has
// at most 129 nodes, and prices move by no more than a path at a time from where a few rounds of descent have
// left them.
constexpr int headroom = 32;

template <typename T>
void write_prices(const Strided& array, std::ptrdiff_t tile, int count, const double* from) {
    if (array.data == nullptr) return;
    const int axes = array.ndim - 1;
    char* to = array.tile(tile, axes);
    constexpr double most = std::numeric_limits<T>::max();
    for (int k = 0; k < count; ++k)
        *reinterpret_cast<T*>(to + k * array.strides[axes]) =
            static_cast<T>(std::clamp(from[k], -most, most));
}

std::uint64_t read_bits(const Strided& array, std::ptrdiff_t tile, int i, int width) {
    if (array.data == nullptr) return 0;
    const int axes = array.ndim - 2;
    const char* from = array.tile(tile, axes) + i * array.strides[axes];
    std::uint64_t bits = 0;
    for (int j = 0; j < width; ++j)
        bits |= static_cast<std::uint64_t>(from[j * array.strides[axes + 1]] != 0) << j;
    return bits;
}

}  // namespace

class GeneralTile {
public:
    GeneralTile(const Job& job, Outcome& outcome) : job_(job), outcome_(outcome), limit_(job.limit()) {
        tile_.height = job.height;
        tile_.width = job.width;
        tile_.rows = job.row_bounds();
        tile_.columns = job.column_bounds();
    }

    TileProof proof{};

    // Reads tile `number`; false if a score is unfit.
    bool load(std::ptrdiff_t number) {
        number_ = number;
        const char* from = job_.scores.tile(number, job_.grid_axes());
        const int bytes = entry_bytes(job_.dtype);
        alignas(8) char row[longest_side * sizeof(double)];
        for (int i = 0; i < tile_.height; ++i) {
            for (int j = 0; j < tile_.width; ++j)
                std::memcpy(row + j * bytes, from + i * job_.down() + j * job_.across(), bytes);
            baseline::convert_run(job_.dtype, row, tile_.width, scores_[i]);
            for (int j = 0; j < tile_.width; ++j) {
                double& score = scores_[i][j];
                if (is_floating(job_.dtype) && !(std::abs(score) <= limit_)) return false;
                largest_ = std::max(largest_, std::abs(score));
                if (job_.score == Score::magnitude) score = std::abs(score);
                else if (job_.score == Score::square) score *= score;
            }
            tile_.keep[i] = read_bits(job_.keep, number, i, tile_.width);
            tile_.drop[i] = read_bits(job_.drop, number, i, tile_.width);
            tile_.kept[i] = 0;
        }
        outcome_.largest = std::max(outcome_.largest, is_floating(job_.dtype) ? largest_ : job_.largest);
        return true;
    }

    // Float64, from the prices of an earlier solve if there are any of use. False: there is no mask.
    bool solve(bool warm) {
        for (int i = 0; i < tile_.height; ++i)
            for (int j = 0; j < tile_.width; ++j) tile_.scores[i][j] = worth(i, j);
        std::fill_n(tile_.u, tile_.height, 0.0);
        std::fill_n(tile_.v, tile_.width, 0.0);
        FlowSolver<double> solver(tile_);
        if (!(warm && read_start())) solver.descend(descents);
        const bool solved = solver.solve();
        count(solver);
        if (!solved) return blame(solver);
        for (int i = 0; i < tile_.height; ++i) std::copy_n(scores_[i], tile_.width, tile_.scores[i]);
        drop_negative_scores(tile_);
        raise_prices(tile_);
        proof = prove(tile_);
        return true;
    }

    // Replaces the proof by that of the prices as they are handed out, if it will do; whether it does.
    bool take_proof_as_handed_out() {
        if (job_.in_double()) return true;
        double u[longest_side], v[longest_side];
        std::copy_n(tile_.u, tile_.height, u);
        std::copy_n(tile_.v, tile_.width, v);
        for (int i = 0; i < tile_.height; ++i) tile_.u[i] = static_cast<float>(u[i]);
        for (int j = 0; j < tile_.width; ++j) tile_.v[j] = static_cast<float>(v[j]);
        const TileProof handed_out = prove(tile_);
        if (handed_out.gap() <= job_.tolerance()) {
            proof = handed_out;
            return true;
        }
        std::copy_n(u, tile_.height, tile_.u);
        std::copy_n(v, tile_.width, tile_.v);
        return false;
    }

    // In integers: scores are multiples of a power of two. False if memory runs out or, which cannot be, if
    // the optimum is not one.
    bool solve_exactly() {
        int exponent = 0, top = 0;
        find_range(exponent, top);
        const int bits = top - exponent + headroom;
        if (bits < 128) return solve_in<2>(exponent, top);  // a trained layer's weights, dead ones included
        return bits < 256 ? solve_in<4>(exponent, top)      // float32's whole range but its ends
                          : solve_in<36>(exponent, top);    // float64's
    }

    void write() const {
        const int axes = job_.grid_axes();
        char* to = job_.mask.tile(number_, axes);
        for (int i = 0; i < tile_.height; ++i)
            for (int j = 0; j < tile_.width; ++j)
                to[i * job_.mask_down() + j * job_.mask_across()] = tile_.is_kept(i, j);
        if (job_.in_double()) {
            write_prices<double>(job_.rows, number_, tile_.height, tile_.u);
            write_prices<double>(job_.columns, number_, tile_.width, tile_.v);
        } else {
            write_prices<float>(job_.rows, number_, tile_.height, tile_.u);
            write_prices<float>(job_.columns, number_, tile_.width, tile_.v);
        }
    }

    bool feasible() const { return is_feasible(tile_); }

private:
    const Job& job_;
    Outcome& outcome_;
    double limit_, largest_ = 0;
    std::ptrdiff_t number_ = 0;
    double scores_[longest_side][longest_side];
    FlowTile<double> tile_{};

    // Where lines may keep nothing, a negative score counts as 0 while the tile is solved and is dropped in
    // the end: its magnitude, which no optimal mask sees, shall not round the other scores away.
    bool counts_as_zero(int i, int j) const {
        return job_.may_keep_nothing() && scores_[i][j] < 0 && !(tile_.keep[i] >> j & 1);
    }
    double worth(int i, int j) const { return counts_as_zero(i, j) ? 0 : scores_[i][j]; }

    template <typename Number>
    void drop_negative_scores(FlowTile<Number>& tile) const {
        for (int i = 0; i < tile.height; ++i)
            for (int j = 0; j < tile.width; ++j)
                if (counts_as_zero(i, j)) tile.kept[i] &= ~(std::uint64_t{1} << j);
    }

    // Prices of an earlier solve; false if one is so far off the scores that rounding would drown them.
    bool read_start() {
        if (job_.start_rows.data == nullptr) return false;
        double most = 0;
        for (int i = 0; i < tile_.height; ++i)
            for (int j = 0; j < tile_.width; ++j) most = std::max(most, std::abs(tile_.scores[i][j]));
        bool useful = read_start(job_.start_rows, tile_.height, 16 * most, tile_.u);
        if (job_.start_columns.data != nullptr)
            useful &= read_start(job_.start_columns, tile_.width, 16 * most, tile_.v);
        if (useful) return true;
        std::fill_n(tile_.u, tile_.height, 0.0);
        std::fill_n(tile_.v, tile_.width, 0.0);
        return false;
    }
    bool read_start(const Strided& array, int count, double most, double* to) const {
        const int axes = array.ndim - 1;
        const char* from = array.tile(number_, axes);
        bool useful = true;
        for (int k = 0; k < count; ++k, from += array.strides[axes]) {
            to[k] = read_price(from, job_.start_is_double);
            useful &= std::abs(to[k]) <= most;
        }
        return useful;
    }

    // Where a line may keep nothing, a negative price, which rounding may leave, is never better than 0.
    template <typename Number>
    static void raise_prices(FlowTile<Number>& tile) {
        if (tile.rows.least == 0)
            for (int i = 0; i < tile.height; ++i) tile.u[i] = std::max(tile.u[i], Number{});
        if (tile.columns.least == 0)
            for (int j = 0; j < tile.width; ++j) tile.v[j] = std::max(tile.v[j], Number{});
    }

    template <typename Number>
    void count(const FlowSolver<Number>& solver) {
        outcome_.augmentations += solver.augmentations;
        outcome_.steps += solver.steps;
    }
    template <typename Number>
    bool blame(const FlowSolver<Number>& solver) {
        outcome_.tile = number_;
        outcome_.axis = solver.bad_axis;
        outcome_.index = solver.bad_index;
        return false;
    }

    // All scores are multiples of 2^exponent and less than 2^top.
    void find_range(int& exponent, int& top) const {
        exponent = std::numeric_limits<int>::max();
        top = std::numeric_limits<int>::min();
        for (int i = 0; i < tile_.height; ++i)
            for (int j = 0; j < tile_.width; ++j) {
                if (scores_[i][j] == 0) continue;
                int power;
                const auto digits =
                    static_cast<std::int64_t>(std::ldexp(std::frexp(scores_[i][j], &power), 53));
                top = std::max(top, power);
                exponent =
                    std::min(exponent, power - 53 + __builtin_ctzll(static_cast<std::uint64_t>(digits)));
            }
        if (top < exponent) top = exponent = 0;
    }

    // The prices that float64 has found, in integers: nearly all entries are right by them, so that few paths
    // are left to search. False if one is out of range.
    template <typename Number>
    bool take_prices(FlowTile<Number>& tile, int exponent, int top) const {
        const double most = std::ldexp(1.0, std::min(top + headroom / 2, 1000));
        const auto take = [&](const double* from, int count, Number* to) {
            bool good = true;
            for (int k = 0; k < count; ++k) {
                good &= std::abs(from[k]) <= most;
                to[k] = good ? whole<Number>(from[k], exponent) : Number{};
            }
            return good;
        };
        return take(tile_.u, tile.height, tile.u) && take(tile_.v, tile.width, tile.v);
    }

    template <int Limbs>
    bool solve_in(int exponent, int top) {
        using Number = WideInteger<Limbs>;
        const std::unique_ptr<FlowTile<Number>> tile(new (std::nothrow) FlowTile<Number>());
        if (tile == nullptr) return false;
        tile->height = tile_.height;
        tile->width = tile_.width;
        tile->rows = tile_.rows;
        tile->columns = tile_.columns;
        for (int i = 0; i < tile->height; ++i) {
            tile->keep[i] = tile_.keep[i];
            tile->drop[i] = tile_.drop[i];
            for (int j = 0; j < tile->width; ++j) tile->scores[i][j] = whole<Number>(worth(i, j), exponent);
        }
        const std::unique_ptr<FlowSolver<Number>> solver(new (std::nothrow) FlowSolver<Number>(*tile));
        if (solver == nullptr) return false;
        if (!take_prices(*tile, exponent, top)) solver->descend(descents);
        const bool solved = solver->solve();
        count(*solver);
        if (!solved) return blame(*solver);
        for (int i = 0; i < tile->height; ++i)
            for (int j = 0; j < tile->width; ++j) tile->scores[i][j] = whole<Number>(scores_[i][j], exponent);
        drop_negative_scores(*tile);
        raise_prices(*tile);
        if (!is_feasible(*tile) || violation_of(*tile) != Number{}) return false;
        Number sum{};
        for (int i = 0; i < tile->height; ++i)
            for (int j = 0; j < tile->width; ++j)
                if (tile->is_kept(i, j)) sum += tile->scores[i][j];
        proof = TileProof{};
        proof.objective = sum.times_power(exponent, false);
        proof.slack = sum.times_power(exponent, true) - proof.objective;
        std::copy_n(tile->kept, tile->height, tile_.kept);
        for (int i = 0; i < tile->height; ++i) tile_.u[i] = tile->u[i].times_power(exponent, false);
        for (int j = 0; j < tile->width; ++j) tile_.v[j] = tile->v[j].times_power(exponent, false);
        return true;
    }

    // score / 2^exponent, without its fraction.
    template <typename Number>
    static Number whole(double score, int exponent) {
        if (score == 0) return Number{};
        int power;
        auto digits = static_cast<std::int64_t>(std::ldexp(std::frexp(score, &power), 53));
        int shift = power - 53 - exponent;
        if (shift <= -53) return Number{};
        if (shift < 0) {
            digits /= std::int64_t{1} << -shift;
            shift = 0;
        }
        return Number::shifted(digits, shift);
    }
};

GeneralSolver::GeneralSolver(const Job& job, Outcome& outcome, Ledger& ledger)
    : job_(job), outcome_(outcome), ledger_(ledger) {}
GeneralSolver::~GeneralSolver() = default;

bool GeneralSolver::make_room() {
    if (tile_ == nullptr) tile_.reset(new (std::nothrow) GeneralTile(job_, outcome_));
    if (tile_ == nullptr) outcome_.status = Status::out_of_memory;
    return tile_ != nullptr;
}

std::pair<double, double> GeneralSolver::solve_again(std::ptrdiff_t number) {
    if (!make_room() || !tile_->load(number)) return {0, 0};
    settle(number, tile_->solve(false), true);
    return {tile_->proof.objective, tile_->proof.slack};
}

// Takes the first proof that will do: with prices as they are handed out, with those of float64, or in
// integers.
void GeneralSolver::settle(std::ptrdiff_t number, bool solved, bool again) {
    GeneralTile& tile = *tile_;
    const double most = again ? proven_in_double : job_.tolerance();
    if (!solved || !(tile.proof.gap() <= most) || !tile.take_proof_as_handed_out()) {
        if (solved && tile.proof.gap() <= proven_in_double) ++outcome_.refined;
        else if (tile.solve_exactly()) ++outcome_.exactly;
        else ledger_.leave_open(number, tile.proof.gap());
    } else if (again) {
        ++outcome_.refined;
    }
    if (!tile.feasible()) {
        outcome_.status = Status::wrong;
        outcome_.tile = number;
    }
    tile.write();
    ledger_.review(number, tile.proof.violation, tile.proof.scale);
}

void GeneralSolver::solve_all() {
    const int axes = job_.grid_axes();
    for (std::ptrdiff_t number = job_.first; number < job_.last; ++number) {
        if (!make_room()) return;
        if (!tile_->load(number)) {
            outcome_.status = Status::unfit;
            return;
        }
        if (!tile_->solve(true)) {
            outcome_.status = Status::infeasible;
            return;
        }
        settle(number, true, false);
        if (outcome_.status != Status::done) return;
        const TileProof& proof = tile_->proof;
        ledger_.enter(proof.objective, proof.slack);
        if (job_.tile_objective.data != nullptr)
            *reinterpret_cast<double*>(job_.tile_objective.tile(number, axes)) = proof.objective;
        if (job_.tile_bound.data != nullptr)
            *reinterpret_cast<double*>(job_.tile_bound.tile(number, axes)) =
                Ledger::tile_bound(proof.objective, proof.slack);
    }
}

}  // namespace masksolve
