// Products in float32, and the rows of a batch divided among threads.

#pragma once

#include <omp.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <numeric>
#include <vector>

#include "activations.h"

namespace {

constexpr Index CACHED = 1 << 17;  // numbers of one layer's activations

// BLAS: column by column, so that a matrix by rows is its transpose.
using Gemm = void (*)(const char*, const char*, const int*, const int*, const int*, const float*, const float*,
                      const int*, const float*, const int*, const float*, float*, const int*);

// y (n, out) = x (n, in) of a product with weights: (out, in) transposed, or (in, out) as they are.
inline void product(Gemm gemm, bool transposed, const float* x, const float* weights, float* y, Index n, Index in,
                    Index out) {
    const float one = 1, zero = 0;
    const int rows = n, from = in, to = out;
    gemm(transposed ? "T" : "N", "N", &to, &rows, &from, &one, weights, transposed ? &from : &to, x, &from, &zero, y,
         &to);
}

// Rows begin to end of weights' gradient (in, out): that of x (n, in), whose product has the gradient g (n, out).
inline void weights_product(Gemm gemm, const float* x, const float* g, float* weights, Index n, Index in, Index out,
                            Index begin, Index end) {
    const float one = 1, zero = 0;
    const int rows = n, from = in, some = end - begin, to = out;
    gemm("N", "T", &to, &some, &rows, &one, g, &to, x + begin, &from, &zero, weights + begin * out, &to);
}

// The n rows of h numbers a layer, of each of heads networks, divided among threads into pieces whose activations
// a cache holds.
struct Pieces {
    Index n, heads, threads, rows, count;

    Pieces(Index n, Index h, Index heads = 1)
        : n(n), heads(heads), threads(heads * n * h > WORTH_A_THREAD / 4 ? omp_get_max_threads() : 1) {
        const Index most = std::max<Index>(CACHED / h, 16), parts = threads / std::gcd(threads, heads);
        const Index turns = (n + parts * most - 1) / (parts * most);
        rows = (n + turns * parts - 1) / (turns * parts);
        count = (n + rows - 1) / rows;
    }

    // Calls action(piece, first row, its rows, head) for each, from all threads.
    template <class Action>
    void each(Action action) const {
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
        for (Index task = 0; task < heads * count; ++task) {
            const Index piece = task % count, begin = piece * rows;
            action(piece, begin, std::min(rows, n - begin), task / count);
        }
    }
};

}  // namespace
