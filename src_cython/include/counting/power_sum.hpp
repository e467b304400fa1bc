// Sums of powers of elementary symmetric polynomials in a prime field: the arithmetic behind counting masks.
//
// A residue is an integer between -prime / 2 and prime / 2, kept in a double. Sums of products stay below
// 2^53, so everything is exact: `length` (prime / 2 + 2)^2 <= 2^53, and prime < 2^26.
#pragma once

#include <cstddef>

namespace masksolve {

constexpr int panel_width = 8;  // polynomials that lie side by side in a panel

// Polynomials with a weight each, sorted into classes: panel[entry][polynomial], the coefficient of y^(length
// - 1 - entry). The last panel of a class is filled up with polynomials of weight 0.
struct Stored {
    const double* panels;
    const double* weights;
    const std::ptrdiff_t* begin;  // of each class, in panels; one more for the end
};

// Multisets of `size` of the roots of unity x_k: each makes a polynomial prod (1 + x y) of `length`
// coefficients, weighted by the inverse factorials of its multiplicities. Its class is the exponent of its
// product.
struct Streamed {
    const double* roots;
    const int* classes;
    int count, size;
    const double* inverse_factorials;
};

struct Field {
    double prime;
    int length, exponent, classes;
};

// totals[p], for p < products: the sum over streamed a of class c and stored b of class p - c of
//     factors[c] weight_a weight_b (coefficient of y^(length - 1) in a b)^exponent.
void sum_of_powers(const Field& field, const Streamed& streamed, const Stored& stored, const int* factors,
                   int products, double* totals);

}  // namespace masksolve
