// All layers of MLPs side by side in one call; `networks.py` says the same in torch.

#pragma once

#include "products.h"

namespace {

// heads networks on the same rows: layer k multiplies with weights[k] (heads, in, out) and adds biases[k] (heads,
// out); all but the last go through GELU and LayerNorm with scales[k] and shifts[k] (heads, h).
struct Stack {
    const float *const *weights, *const *biases, *const *scales, *const *shifts;
    Index heads, in, h, out, layers;  // layers: those that are normalised
    Gemm gemm;

    Index from(Index k) const { return k ? h : in; }
    Index to(Index k) const { return k < layers ? h : out; }
};

// What the way back needs: z and y (layers, heads, n, h) before and after what stands between products, centre and
// inverse (layers, heads, n).
struct Kept {
    float *z, *y, *centre, *inverse;
};

// end (heads, n, out), at x (n, in). kept.z is null where there is no way back.
void stack_forward(const Stack& s, const float* x, Kept kept, float* end, Index n) {
    Pieces(n, s.h, s.heads).each([&](Index, Index begin, Index rows, Index head) {
        std::vector<float> own(kept.z ? 0 : rows * (2 * s.h + 2));
        const float* seen = x + begin * s.in;
        for (Index k = 0; k < s.layers; ++k) {
            const Index at = (k * s.heads + head) * n + begin, mine = head * s.h;
            float *z = kept.z ? kept.z + at * s.h : own.data(), *y = kept.z ? kept.y + at * s.h : z + rows * s.h;
            float *centre = kept.z ? kept.centre + at : y + rows * s.h;
            float* inverse = kept.z ? kept.inverse + at : centre + rows;
            product(s.gemm, false, seen, s.weights[k] + mine * s.from(k), z, rows, s.from(k), s.h);
            for (Index i = 0; i < rows; ++i)
                norm_row(z + i * s.h, s.biases[k] + mine, s.scales[k] + mine, s.shifts[k] + mine, y + i * s.h,
                         centre[i], inverse[i], s.h);
            seen = y;
        }
        const Index k = s.layers;
        float* out = end + (head * n + begin) * s.out;
        product(s.gemm, false, seen, s.weights[k] + head * s.from(k) * s.out, out, rows, s.from(k), s.out);
        for (Index i = 0; i < rows; ++i)
            for (Index j = 0; j < s.out; ++j) out[i * s.out + j] += s.biases[k][head * s.out + j];
    });
}

// Gradients of each layer's weights, as the weights.
struct StackGradients {
    float *const *weights, *const *biases, *const *scales, *const *shifts;
};

// The way back: gradient g (heads, n, out) of the end; down (n, in) is that of x, or null. ups (layers, heads, n, h):
// those before each GELU; by: those of the weights, where by.weights is not null.
void stack_back(const Stack& s, const float* x, const float* g, Kept kept, float* ups, float* down, StackGradients by,
                Index n) {
    const Pieces pieces(n, s.h, s.heads);
    const Index part = s.layers * s.heads * 3 * s.h;
    std::vector<float> sums(pieces.count * part), downs(down ? s.heads * n * s.in : 0);
    pieces.each([&](Index piece, Index begin, Index rows, Index head) {
        const float* above = g + (head * n + begin) * s.out;
        for (Index k = s.layers - 1; k >= 0; --k) {
            const Index of = k * s.heads + head, at = of * n + begin;
            float* up = ups + at * s.h;
            product(s.gemm, true, above, s.weights[k + 1] + head * s.h * s.to(k + 1), up, rows, s.to(k + 1), s.h);
            norm_pull_rows(kept.z + at * s.h, s.scales[k] + head * s.h, kept.centre + at, kept.inverse + at, up, up,
                           sums.data() + piece * part + of * 3 * s.h, rows, s.h);
            above = up;
        }
        if (down)
            product(s.gemm, true, above, s.weights[0] + head * s.in * s.to(0), &downs[(head * n + begin) * s.in], rows,
                    s.to(0), s.in);
    });
    if (down) {
        std::copy_n(downs.data(), n * s.in, down);
        for (Index head = 1; head < s.heads; ++head)
            for (Index i = 0; i < n * s.in; ++i) down[i] += downs[head * n * s.in + i];
    }
    if (!by.weights) return;
    const Index shares = pieces.threads, tasks = (s.layers + 1) * s.heads * shares;
#pragma omp parallel for schedule(dynamic) num_threads(shares) if (shares > 1)
    for (Index task = 0; task < tasks; ++task) {
        const Index share = task % shares, head = task / shares % s.heads, k = task / shares / s.heads;
        const Index from = s.from(k), to = s.to(k);
        const float* seen = k ? kept.y + ((k - 1) * s.heads + head) * n * s.h : x;
        const float* above = k < s.layers ? ups + (k * s.heads + head) * n * s.h : g + head * n * s.out;
        weights_product(s.gemm, seen, above, by.weights[k] + head * from * to, n, from, to, share * from / shares,
                        (share + 1) * from / shares);
    }
    for (Index k = 0; k < s.layers; ++k) {
        float* const ends[] = {by.biases[k], by.scales[k], by.shifts[k]};
        for (Index head = 0; head < s.heads; ++head)
            for (Index which = 0; which < 3; ++which)
                for (Index j = 0; j < s.h; ++j) {
                    float sum = 0;
                    for (Index piece = 0; piece < pieces.count; ++piece)
                        sum += sums[piece * part + ((k * s.heads + head) * 3 + which) * s.h + j];
                    ends[which][head * s.h + j] = sum;
                }
    }
    for (Index head = 0; head < s.heads; ++head)
        for (Index j = 0; j < s.out; ++j) {
            float sum = 0;
            for (Index i = 0; i < n; ++i) sum += g[(head * n + i) * s.out + j];
            by.biases[s.layers][head * s.out + j] = sum;
        }
}

}  // namespace
