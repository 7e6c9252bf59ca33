// All layers of a velocity field in one call, and all steps along it; `layers.py` says the same in torch.

#pragma once

#include "products.h"

namespace {

// Layer k of layers + 2 multiplies with weights[k] (out, in). by_time (h) and context (period, h) are added to the
// first, biases[k - 1] to the others; all but the last go through GELU.
struct Field {
    const float *const *weights, *const *biases;
    const float *by_time, *context;
    Index period, in, h, layers;
    Gemm gemm;
};

// Activations of some rows: layer k's from at + k apart on, or only the newest two where apart is 0.
struct Room {
    float* at;
    Index apart;

    float* layer(Index k, Index rows, Index h) const { return at + (apart ? k * apart : k % 2 * rows * h); }
    Room from(Index row, Index h) const { return {at ? at + row * h : nullptr, apart}; }
};

// y: velocities of rows x from begin on, at flow times, or at w where times is null.
inline void forward_rows(const Field& f, const float* x, const float* times, float w, Room values, Room slopes,
                         float* y, Index begin, Index rows) {
    float first[f.h];
    for (Index k = 0; k <= f.layers; ++k) {
        float *z = values.layer(k, rows, f.h), *slope = slopes.at ? slopes.layer(k, rows, f.h) : nullptr;
        product(f.gemm, true, x, f.weights[k], z, rows, k ? f.h : f.in, f.h);
        for (Index i = 0; i < rows; ++i) {
            if (!k) {
                const float *own = f.context + (begin + i) % f.period * f.h, time = times ? times[i] : w;
                for (Index j = 0; j < f.h; ++j) first[j] = own[j] + time * f.by_time[j];
            }
            activate(z + i * f.h, slope ? slope + i * f.h : nullptr, k ? f.biases[k - 1] : first, f.h);
        }
        x = z;
    }
    if (!y) return;
    product(f.gemm, true, x, f.weights[f.layers + 1], y, rows, f.h, f.in);
    for (Index i = 0; i < rows; ++i)
        for (Index j = 0; j < f.in; ++j) y[i * f.in + j] += f.biases[f.layers][j];
}

// down: the gradient by x, of g by the velocities; ups: that at each layer before its activation.
inline void back_rows(const Field& f, const float* g, Room slopes, Room ups, float* down, Index rows) {
    for (Index k = f.layers; k >= 0; --k) {
        float *up = ups.layer(k, rows, f.h), *slope = slopes.layer(k, rows, f.h);
        product(f.gemm, false, g, f.weights[k + 1], up, rows, k == f.layers ? f.in : f.h, f.h);
        for (Index i = 0; i < rows * f.h; ++i) up[i] *= slope[i];
        g = up;
    }
    if (down) product(f.gemm, false, g, f.weights[0], down, rows, f.h, f.in);
}

inline std::unique_ptr<float[]> space(Index numbers) { return std::make_unique_for_overwrite<float[]>(numbers); }

// y (n, in): velocities at x (n, in) and flow times (n), or at w where times is null. values, slopes: activations
// of layer k and their derivatives, (n, h) each from k apart on, or null.
void field_forward(const Field& f, const float* x, const float* times, float w, float* values, float* slopes,
                   Index apart, float* y, Index n) {
    Pieces(n, f.h).each([&](Index, Index begin, Index rows, Index) {
        auto own = space(values ? 0 : 2 * rows * f.h);
        const Room kept = values ? Room{values, apart}.from(begin, f.h) : Room{own.get(), 0};
        forward_rows(f, x + begin * f.in, times ? times + begin : nullptr, w, kept,
                     Room{slopes, apart}.from(begin, f.h), y + begin * f.in, begin, rows);
    });
}

// Gradients of a field's weights, as the weights.
struct FieldGradients {
    float *const *weights, *const *biases;
    float *by_time, *context;
};

// The way back at n rows x (n, in) and flow times (n): gradient g (n, in) of the velocities, values and slopes of the
// way there. ups (layers + 1, n, h): the gradient at each layer before its activation.
void field_back(const Field& f, const float* x, const float* times, const float* g, const float* values, float* slopes,
                Index apart, float* ups, FieldGradients by, Index n) {
    const Pieces pieces(n, f.h);
    const Index part = (f.layers + 1) * f.h + f.in;  // by_time, then biases
    std::vector<float> sums(pieces.count * part);
    pieces.each([&](Index piece, Index begin, Index rows, Index) {
        const Room own = Room{ups, n * f.h}.from(begin, f.h);
        back_rows(f, g + begin * f.in, Room{slopes, apart}.from(begin, f.h), own, nullptr, rows);
        float* sum = sums.data() + piece * part;
        for (Index k = 0; k <= f.layers; ++k, sum += f.h)
            for (Index i = 0; i < rows; ++i) {
                const float *up = own.layer(k, rows, f.h) + i * f.h, time = k ? 1 : times[begin + i];
                for (Index j = 0; j < f.h; ++j) sum[j] += time * up[j];
            }
        for (Index i = begin; i < begin + rows; ++i)
            for (Index j = 0; j < f.in; ++j) sum[j] += g[i * f.in + j];
    });
    const Index shares = pieces.threads;
#pragma omp parallel num_threads(shares) if (shares > 1)
    {
#pragma omp for schedule(dynamic) nowait
        for (Index task = 0; task < (f.layers + 2) * shares; ++task) {
            const Index share = task % shares, k = task / shares, to = k <= f.layers ? f.h : f.in;
            weights_product(f.gemm, k <= f.layers ? ups + k * n * f.h : g, k ? values + (k - 1) * apart : x,
                            by.weights[k], n, to, k ? f.h : f.in, share * to / shares, (share + 1) * to / shares);
        }
#pragma omp for schedule(static)
        for (Index own = 0; own < f.period; ++own) {
            float* sum = by.context + own * f.h;
            std::copy_n(ups + own * f.h, f.h, sum);
            for (Index i = own + f.period; i < n; i += f.period)
                for (Index j = 0; j < f.h; ++j) sum[j] += ups[i * f.h + j];
        }
    }
    for (Index k = 0; k <= f.layers + 1; ++k) {
        float* sum = k ? by.biases[k - 1] : by.by_time;
        for (Index j = 0; j < (k <= f.layers ? f.h : f.in); ++j) {
            sum[j] = 0;
            for (Index piece = 0; piece < pieces.count; ++piece) sum[j] += sums[piece * part + k * f.h + j];
        }
    }
}

// x becomes keep x + move f(x, w) + stir noise
struct Step {
    float w, keep, move, stir;
};

// points (steps + 1, n, in), of which the first are given, velocities (steps, n, in) at them. noise: as velocities,
// or null; mask (period, in): what moves, or null. values, slopes: see `field_forward`, of steps n rows.
void field_walk(const Field& f, const Step* steps, Index count, const float* noise, const float* mask, float* points,
                float* velocities, float* values, float* slopes, Index apart, Index n) {
    Pieces(n, f.h).each([&](Index, Index begin, Index rows, Index) {
        auto own = space(values ? 0 : 2 * rows * f.h);
        for (Index step = 0; step < count; ++step) {
            const Index row = step * n + begin, at = row * f.in;
            const auto [w, keep, move, stir] = steps[step];
            const Room kept = values ? Room{values, apart}.from(row, f.h) : Room{own.get(), 0};
            float *x = points + at, *next = x + n * f.in, *velocity = velocities + at;
            forward_rows(f, x, nullptr, w, kept, Room{slopes, apart}.from(row, f.h), velocity, begin, rows);
            for (Index i = 0; i < rows; ++i)
                for (Index j = 0; j < f.in; ++j) {
                    const Index k = i * f.in + j;
                    if (mask) velocity[k] *= mask[(begin + i) % f.period * f.in + j];
                    next[k] = keep * x[k] + move * velocity[k] + (noise ? stir * noise[at + k] : 0);
                }
        }
    });
}

// From the last of count steps to the first: g becomes keep g + move gᵀ ∂f/∂x at points (count, n, in) and w.
// adjoints (count, n, in): g after each; last (n, in): before. mask: see `field_walk`.
void field_adjoint(const Field& f, const Step* steps, Index count, const float* mask, const float* points,
                   const float* last, float* adjoints, Index n) {
    Pieces(n, f.h).each([&](Index, Index begin, Index rows, Index) {
        const Index layer = rows * f.h, apart = layer, numbers = rows * f.in;
        auto own = space((f.layers + 3) * layer + numbers * 2);
        const Room values{own.get(), 0}, slopes{own.get() + 2 * layer, apart};
        float *real = own.get() + (f.layers + 3) * layer, *down = real + numbers;
        const float* g = last + begin * f.in;
        for (Index step = count - 1; step >= 0; --step) {
            const Index at = (step * n + begin) * f.in;
            const auto [w, keep, move, stir] = steps[step];
            forward_rows(f, points + at, nullptr, w, values, slopes, nullptr, begin, rows);
            const float* own_mask = mask ? mask + begin * f.in : nullptr;
            for (Index k = 0; k < numbers; ++k) real[k] = own_mask ? g[k] * own_mask[k] : g[k];
            back_rows(f, real, slopes, values, down, rows);
            for (Index k = 0; k < numbers; ++k)
                adjoints[at + k] = keep * g[k] + move * (own_mask ? down[k] * own_mask[k] : down[k]);
            g = adjoints + at;
        }
    });
}

}  // namespace
