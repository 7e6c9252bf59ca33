// What stands between two products of a network, each in one pass over its rows: float32 or bfloat16 in memory,
// float32 in between; and all layers of a velocity field, in float32. `native.py` compiles and calls them; `gelu.py`
// and `layers.py` say the same in torch.

#include <omp.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <memory>
#include <vector>

namespace {

using Index = int64_t;

constexpr float A = 1.5957691216057308f, B = 0.044715f * A;
constexpr float EPS = 1e-6f;
constexpr Index WORTH_A_THREAD = 1 << 15;  // numbers
constexpr Index CACHED = 1 << 17;          // numbers of one layer's activations

inline float load(float value) { return value; }
inline float load(uint16_t bits) { return std::bit_cast<float>(uint32_t(bits) << 16); }

inline void store(float& at, float value) { at = value; }
inline void store(uint16_t& at, float value) {  // to nearest, ties to even
    uint32_t bits = std::bit_cast<uint32_t>(value);
    at = uint16_t((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

// 1 / (1 + 2^t), t = -x log2(e); 2^t by its series about the nearest integer, to 1e-7. NaN stays NaN.
inline float sigmoid(float x) {
    float t = x * -1.442695041f;
    t = 126.0f < t ? 126.0f : t;
    t = -126.0f > t ? -126.0f : t;
    float whole = std::nearbyint(t), f = t - whole;
    float p = 1.5252734e-5f;
    p = p * f + 1.5403530e-4f;
    p = p * f + 1.3333558e-3f;
    p = p * f + 9.6181291e-3f;
    p = p * f + 5.5504109e-2f;
    p = p * f + 2.4022651e-1f;
    p = p * f + 6.9314718e-1f;
    p = p * f + 1;
    return 1 / (1 + p * std::bit_cast<float>((int32_t(whole) + 127) << 23));
}

inline float gate(float z) { return sigmoid(z * (A + B * z * z)); }

// of z s, by its own value
inline float slope(float z, float s, float value) { return s + (value - value * s) * (A + 3 * B * z * z); }

// row (h) becomes gelu(row + bias), slopes (h) its derivative, where that is not null.
template <class T>
inline void activate(T* row, T* slopes, const float* bias, Index h) {
    if (slopes)
#pragma omp simd
        for (Index j = 0; j < h; ++j) {
            float x = load(row[j]) + bias[j], s = gate(x), value = x * s;
            store(row[j], value);
            store(slopes[j], slope(x, s, value));
        }
    else
#pragma omp simd
        for (Index j = 0; j < h; ++j) {
            float x = load(row[j]) + bias[j];
            store(row[j], x * gate(x));
        }
}

// z (n, h) becomes gelu(z + bias + context). bias: (h) or null; context: (period, h), repeated, or null; slopes:
// (n, h), the derivative, or null.
template <class T>
void gelu(T* z, const float* bias, const T* context, T* slopes, Index n, Index h, Index period) {
#pragma omp parallel if (n * h > WORTH_A_THREAD)
    {
        std::vector<float> sum(h);
#pragma omp for
        for (Index i = 0; i < n; ++i) {
            const T* more = context + i % period * h;
            if (context)
                for (Index j = 0; j < h; ++j) sum[j] = load(more[j]) + (bias ? bias[j] : 0);
            activate(z + i * h, slopes ? slopes + i * h : nullptr, bias && !context ? bias : sum.data(), h);
        }
    }
}

// y = LayerNorm(gelu(z + bias)) scale + shift, of heads networks with rows (n, h) each and their own bias, scale
// and shift (heads, h). z becomes z + bias; centre and inverse (heads n): mean and 1 / deviation of a row.
template <class T>
void norm(T* z, const float* bias, const float* scale, const float* shift, T* y, float* centre, float* inverse,
          Index heads, Index n, Index h) {
#pragma omp parallel for if (heads * n * h > WORTH_A_THREAD)
    for (Index i = 0; i < heads * n; ++i) {
        T *row = z + i * h, *out = y + i * h;
        const Index own = i / n * h;
        float value[h], sum = 0, square = 0;
        for (Index j = 0; j < h; ++j) {
            float x = load(row[j]) + bias[own + j];
            store(row[j], x);
            value[j] = x * gate(x);
            sum += value[j];
        }
        const float mean = sum / h;
        for (Index j = 0; j < h; ++j) {
            value[j] -= mean;
            square += value[j] * value[j];
        }
        const float over = 1 / std::sqrt(square / h + EPS);
        for (Index j = 0; j < h; ++j) store(out[j], value[j] * over * scale[own + j] + shift[own + j]);
        centre[i] = mean;
        inverse[i] = over;
    }
}

// The way back through `norm`: gradient g of y, its own z, centre and inverse; out (heads, n, h) is that of z.
// weights (3, heads, h), or null: those of bias, scale and shift.
template <class T>
void norm_pull(const T* z, const float* scale, const float* centre, const float* inverse, const T* g, T* out,
               float* weights, Index heads, Index n, Index h) {
#pragma omp parallel for if (heads * n * h > WORTH_A_THREAD)
    for (Index k = 0; k < heads; ++k) {
        std::vector<float> sums(3 * h), normal(h), inner(h), slopes(h);
        float *by_bias = sums.data(), *by_scale = by_bias + h, *by_shift = by_scale + h;
        for (Index i = k * n; i < (k + 1) * n; ++i) {
            const T *row = z + i * h, *up = g + i * h;
            const float mean = centre[i], over = inverse[i];
            float sum = 0, product = 0;
            for (Index j = 0; j < h; ++j) {
                float x = load(row[j]), s = gate(x), u = load(up[j]);
                slopes[j] = slope(x, s, x * s);
                normal[j] = (x * s - mean) * over;
                by_scale[j] += u * normal[j];
                by_shift[j] += u;
                inner[j] = u * scale[k * h + j];
                sum += inner[j];
                product += inner[j] * normal[j];
            }
            sum /= h;
            product /= h;
            for (Index j = 0; j < h; ++j) {
                float down = slopes[j] * over * (inner[j] - sum - normal[j] * product);
                by_bias[j] += down;
                store(out[i * h + j], down);
            }
        }
        if (weights)
            for (Index part = 0; part < 3; ++part)
                for (Index j = 0; j < h; ++j) weights[(part * heads + k) * h + j] = sums[part * h + j];
    }
}

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

// Calls action(first row, rows) for all n rows, from all threads, in pieces whose activations a cache holds.
template <class Action>
void by_rows(Index n, Index h, Action action) {
#pragma omp parallel if (n * h > WORTH_A_THREAD / 4)
    {
        const Index threads = omp_get_num_threads(), most = std::max<Index>(CACHED / h, 16);
        const Index pieces = (n + threads * most - 1) / (threads * most) * threads, piece = (n + pieces - 1) / pieces;
#pragma omp for schedule(static)
        for (Index begin = 0; begin < n; begin += piece) action(begin, std::min(piece, n - begin));
    }
}

// A velocity field, see `layers.py`: layers hidden weights (h, h) and biases (h) after the first, which is
// action (h, in), by_time (h) and context (period, h), and before out (in, h), out_bias (in).
struct Field {
    const float *action, *by_time, *context, *out, *out_bias;
    const float *const *weights, *const *biases;
    Index period, in, h, layers;
    Gemm gemm;
};

// y (n, in): velocities at x (n, in) and flow times (n), or at w where times is null. values, slopes: activations
// of layer k and their derivatives, (n, h) each from k apart on, or null.
void field_forward(const Field& f, const float* x, const float* times, float w, float* values, float* slopes,
                   Index apart, float* y, Index n) {
    by_rows(n, f.h, [&](Index begin, Index rows) {
        auto scratch = std::make_unique_for_overwrite<float[]>(values ? 0 : 2 * rows * f.h);
        std::vector<float> first(f.h);
        const float* seen = x + begin * f.in;
        for (Index k = 0; k <= f.layers; ++k) {
            float* z = values ? values + k * apart + begin * f.h : scratch.get() + k % 2 * rows * f.h;
            float* slope = slopes ? slopes + k * apart + begin * f.h : nullptr;
            product(f.gemm, true, seen, k ? f.weights[k - 1] : f.action, z, rows, k ? f.h : f.in, f.h);
            for (Index i = 0; i < rows; ++i) {
                if (!k) {
                    const float *own = f.context + (begin + i) % f.period * f.h, time = times ? times[begin + i] : w;
                    for (Index j = 0; j < f.h; ++j) first[j] = own[j] + time * f.by_time[j];
                }
                activate(z + i * f.h, slope ? slope + i * f.h : nullptr, k ? f.biases[k - 1] : first.data(), f.h);
            }
            seen = z;
        }
        float* end = y + begin * f.in;
        product(f.gemm, true, seen, f.out, end, rows, f.h, f.in);
        for (Index i = 0; i < rows * f.in; ++i) end[i] += f.out_bias[i % f.in];
    });
}

// The way back: gradient g (n, in) of the velocities, slopes of the way there; down (n, in) is that of x. ups: the
// gradient at each layer before its activation, (n, h) each from k apart on, or null.
void field_back(const Field& f, const float* g, const float* slopes, Index apart, float* ups, Index ups_apart,
                float* down, Index n) {
    by_rows(n, f.h, [&](Index begin, Index rows) {
        auto scratch = std::make_unique_for_overwrite<float[]>(ups ? 0 : 2 * rows * f.h);
        const float* above = g + begin * f.in;
        for (Index k = f.layers; k >= 0; --k) {
            float* up = ups ? ups + k * ups_apart + begin * f.h : scratch.get() + k % 2 * rows * f.h;
            const float* slope = slopes + k * apart + begin * f.h;
            const bool last = k == f.layers;
            product(f.gemm, false, above, last ? f.out : f.weights[k], up, rows, last ? f.in : f.h, f.h);
            for (Index i = 0; i < rows * f.h; ++i) up[i] *= slope[i];
            above = up;
        }
        if (down) product(f.gemm, false, above, f.action, down + begin * f.in, rows, f.h, f.in);
    });
}

}  // namespace

#define FOR(T, type)                                                                                          \
    void gelu_##type(T* z, const float* bias, const T* context, T* slopes, Index n, Index h, Index period) {  \
        gelu(z, bias, context, slopes, n, h, period);                                                         \
    }                                                                                                         \
    void norm_##type(T* z, const float* bias, const float* scale, const float* shift, T* y, float* centre,    \
                     float* inverse, Index heads, Index n, Index h) {                                         \
        norm(z, bias, scale, shift, y, centre, inverse, heads, n, h);                                         \
    }                                                                                                         \
    void norm_pull_##type(const T* z, const float* scale, const float* centre, const float* inverse,          \
                          const T* g, T* out, float* weights, Index heads, Index n, Index h) {                \
        norm_pull(z, scale, centre, inverse, g, out, weights, heads, n, h);                                   \
    }

extern "C" {
FOR(float, float32)
FOR(uint16_t, bfloat16)

void field_forward_float32(const Field* f, const float* x, const float* times, float w, float* values, float* slopes,
                           Index apart, float* y, Index n) {
    field_forward(*f, x, times, w, values, slopes, apart, y, n);
}
void field_back_float32(const Field* f, const float* g, const float* slopes, Index apart, float* ups,
                        Index ups_apart, float* down, Index n) {
    field_back(*f, g, slopes, apart, ups, ups_apart, down, n);
}
}
