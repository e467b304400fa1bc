#include "counting/power_sum.hpp"

#include <algorithm>
#include <cstring>
#include <vector>

#include "drivers/dispatch.hpp"

// The loader picks the version for the processor before a sanitizer is ready for it.
#if MASKSOLVE_WIDE && !defined(__SANITIZE_ADDRESS__)
#define MASKSOLVE_CLONES __attribute__((target_clones("fma", "default")))
#else
#define MASKSOLVE_CLONES
#endif

namespace masksolve {

typedef double Four __attribute__((vector_size(32)));
typedef double FourAnywhere __attribute__((vector_size(32), aligned(8)));

constexpr int rows_at_once = 5, parts = panel_width / 4;  // rows at a time, vectors to a panel
constexpr int block = 64;                                 // rows that stay in the cache while the panels pass
constexpr int longest = 36;                               // coefficients, for n up to 32, in whole vectors

// The residue of an integer below 2^53. Adding and subtracting 1.5 2^52 rounds to an integer.
template <typename V>
static inline __attribute__((always_inline)) V residue(V x, double prime, double inverse) {
    constexpr double to_integer = 0x1.8p52;
    return x - ((x * inverse + to_integer) - to_integer) * prime;
}

static inline __attribute__((always_inline)) Four at(const double* from) {
    return *reinterpret_cast<const FourAnywhere*>(from);
}

// The sum over rows a and polynomials b of weights_a weights_b (a . b)^exponent.
MASKSOLVE_CLONES static double sum_over_panels(const Field& field, const double (*rows)[longest],
                                               const double* row_weights, int count, const double* panels,
                                               const double* weights, std::ptrdiff_t panel_count) {
    const double prime = field.prime, inverse = 1 / prime;
    const int length = field.length, exponent = field.exponent;
    int top = 1;
    while (top <= exponent / 2) top *= 2;
    Four sums[block + rows_at_once] = {};
    for (std::ptrdiff_t p = 0; p < panel_count; ++p) {
        const double* panel = panels + p * length * panel_width;
        for (int r = 0; r < count; r += rows_at_once) {
            const double* row[rows_at_once];  // past the last row: the last one again
            for (int a = 0; a < rows_at_once; ++a) row[a] = rows[std::min(r + a, count - 1)];
            Four product[rows_at_once][parts], power[rows_at_once][parts];
            for (int a = 0; a < rows_at_once; ++a)
                for (int v = 0; v < parts; ++v) product[a][v] = row[a][0] * at(panel + 4 * v);
            for (int k = 1; k < length; ++k)
                for (int a = 0; a < rows_at_once; ++a)
                    for (int v = 0; v < parts; ++v)
                        product[a][v] += row[a][k] * at(panel + k * panel_width + 4 * v);
            for (int a = 0; a < rows_at_once; ++a)
                for (int v = 0; v < parts; ++v)
                    power[a][v] = product[a][v] = residue(product[a][v], prime, inverse);
            for (int bit = top / 2; bit > 0; bit /= 2) {
                for (int a = 0; a < rows_at_once; ++a)
                    for (int v = 0; v < parts; ++v)
                        power[a][v] = residue(power[a][v] * power[a][v], prime, inverse);
                if (exponent & bit)
                    for (int a = 0; a < rows_at_once; ++a)
                        for (int v = 0; v < parts; ++v)
                            power[a][v] = residue(power[a][v] * product[a][v], prime, inverse);
            }
            for (int a = 0; a < rows_at_once; ++a) {
                Four weighted = {};
                for (int v = 0; v < parts; ++v)
                    weighted += power[a][v] * at(weights + p * panel_width + 4 * v);
                sums[r + a] += residue(weighted, prime, inverse);
            }
        }
    }
    double total = 0;
    for (int r = 0; r < count; ++r) {
        const Four sum = residue(sums[r], prime, inverse);
        const double whole = residue((sum[0] + sum[1]) + (sum[2] + sum[3]), prime, inverse);
        total = residue(total + whole * row_weights[r], prime, inverse);
    }
    return total;
}

using Coefficients = double[longest];

// Coefficients with as many zeros before them.
struct Padded {
    Coefficients zeros = {}, of = {};
};

template <int vectors>
static inline __attribute__((always_inline)) void multiply_vectors(const double* a, const Padded& b,
                                                                   int length, double prime,
                                                                   double* product) {
    Four sums[vectors];
#pragma GCC unroll 9
    for (int k = 0; k < vectors; ++k) sums[k] = a[0] * at(b.of + 4 * k);
    for (int i = 1; i < length; ++i)
#pragma GCC unroll 9
        for (int k = 0; k < vectors; ++k) sums[k] += a[i] * at(b.of + 4 * k - i);
#pragma GCC unroll 9
    for (int k = 0; k < vectors; ++k) {
        const Four sum = residue(sums[k], prime, 1 / prime);
        std::memcpy(product + 4 * k, &sum, sizeof sum);
    }
}

// product = a b, as far as `length` coefficients go. What follows in their last vector means nothing.
MASKSOLVE_CLONES static void multiply(const double* a, const Padded& b, int length, double prime,
                                      double* product) {
    switch ((length + 3) / 4) {
        case 1: return multiply_vectors<1>(a, b, length, prime, product);
        case 2: return multiply_vectors<2>(a, b, length, prime, product);
        case 3: return multiply_vectors<3>(a, b, length, prime, product);
        case 4: return multiply_vectors<4>(a, b, length, prime, product);
        case 5: return multiply_vectors<5>(a, b, length, prime, product);
        case 6: return multiply_vectors<6>(a, b, length, prime, product);
        case 7: return multiply_vectors<7>(a, b, length, prime, product);
        case 8: return multiply_vectors<8>(a, b, length, prime, product);
        default: return multiply_vectors<9>(a, b, length, prime, product);
    }
}

class PowerSum {
public:
    PowerSum(const Field& field, const Streamed& streamed, const Stored& stored, const int* factors,
             int products, double* totals)
        : field_(field),
          streamed_(streamed),
          stored_(stored),
          factors_(factors),
          products_(products),
          totals_(totals),
          waiting_(field.classes),
          powers_(static_cast<std::size_t>(streamed.count) * (streamed.size + 1)) {
        for (int k = 0; k < streamed.count; ++k) {
            Coefficients factor = {1};
            power_of(k, 0).of[0] = 1;
            if (field.length > 1) factor[1] = streamed.roots[k];
            for (int times = 1; times <= streamed.size; ++times)
                multiply(factor, power_of(k, times - 1), field.length, field.prime, power_of(k, times).of);
        }
    }

    void run() {
        const Coefficients one = {1};
        follow(0, streamed_.size, one, 1, 0);
        for (int c = 0; c < field_.classes; ++c) flush(c);
    }

private:
    struct Waiting {
        double rows[block][longest];
        double weights[block];
        int count = 0;
    };

    const Field& field_;
    const Streamed& streamed_;
    const Stored& stored_;
    const int* factors_;
    const int products_;
    double* totals_;
    std::vector<Waiting> waiting_;
    std::vector<Padded> powers_;  // of 1 + x_k y

    Padded& power_of(int k, int times) {
        return powers_[static_cast<std::size_t>(k) * (streamed_.size + 1) + times];
    }
    double reduced(double x) const { return residue(x, field_.prime, 1 / field_.prime); }

    // The k-th root `times` times, then every way to fill up to the size with the roots that follow.
    void take(int k, int times, int left, const double* before, double weight, int product) {
        if (times > left) return;
        weight = reduced(weight * streamed_.inverse_factorials[times]);
        product = (product + times * streamed_.classes[k]) % field_.classes;
        left -= times;
        if (k + 1 == streamed_.count && (left > 0 || factors_[product] == 0)) return;
        if (times == 0) return follow(k + 1, left, before, weight, product);
        Coefficients polynomial;
        multiply(before, power_of(k, times), field_.length, field_.prime, polynomial);
        follow(k + 1, left, polynomial, weight, product);
    }

    void follow(int k, int left, const double* polynomial, double weight, int product) {
        if (k == streamed_.count) wait(polynomial, weight, product);
        else if (k + 1 == streamed_.count) take(k, left, left, polynomial, weight, product);
        else
            for (int times = 0; times <= left; ++times) take(k, times, left, polynomial, weight, product);
    }

    void wait(const double* polynomial, double weight, int product) {
        Waiting& waiting = waiting_[product];
        std::memcpy(waiting.rows[waiting.count], polynomial, field_.length * sizeof(double));
        waiting.weights[waiting.count] = weight;
        if (++waiting.count == block) flush(product);
    }

    void flush(int product) {
        Waiting& waiting = waiting_[product];
        if (waiting.count == 0) return;
        for (int p = 0; p < products_; ++p) {
            const int other = (p - product + field_.classes) % field_.classes;
            const std::ptrdiff_t begin = stored_.begin[other], count = stored_.begin[other + 1] - begin;
            const double sum = sum_over_panels(field_, waiting.rows, waiting.weights, waiting.count,
                                               stored_.panels + begin * field_.length * panel_width,
                                               stored_.weights + begin * panel_width, count);
            totals_[p] = reduced(totals_[p] + factors_[product] * sum);
        }
        waiting.count = 0;
    }
};

void sum_of_powers(const Field& field, const Streamed& streamed, const Stored& stored, const int* factors,
                   int products, double* totals) {
    std::fill(totals, totals + products, 0.0);
    PowerSum(field, streamed, stored, factors, products, totals).run();
}

}  // namespace masksolve
