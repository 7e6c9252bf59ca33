// What stands between two products of a network, each in one pass over its rows: float32 or bfloat16 in memory,
// float32 in between. `gelu.py` says the same in torch.

#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <vector>

namespace {

using Index = int64_t;

constexpr float A = 1.5957691216057308f, B = 0.044715f * A;
constexpr float EPS = 1e-6f;
constexpr Index WORTH_A_THREAD = 1 << 15;  // numbers

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

// out = LayerNorm(gelu(row + bias)) scale + shift, all (h). row becomes row + bias; centre and inverse: mean and
// 1 / deviation.
template <class T>
inline void norm_row(T* row, const float* bias, const float* scale, const float* shift, T* out, float& centre,
                     float& inverse, Index h) {
    float value[h], sum = 0, square = 0;
    for (Index j = 0; j < h; ++j) {
        float x = load(row[j]) + bias[j];
        store(row[j], x);
        value[j] = x * gate(x);
        sum += value[j];
    }
    centre = sum / h;
    for (Index j = 0; j < h; ++j) {
        value[j] -= centre;
        square += value[j] * value[j];
    }
    inverse = 1 / std::sqrt(square / h + EPS);
    for (Index j = 0; j < h; ++j) store(out[j], value[j] * inverse * scale[j] + shift[j]);
}

// `norm_row` of heads networks with rows (n, h) each and their own bias, scale and shift (heads, h). centre and
// inverse: (heads, n).
template <class T>
void norm(T* z, const float* bias, const float* scale, const float* shift, T* y, float* centre, float* inverse,
          Index heads, Index n, Index h) {
#pragma omp parallel for if (heads * n * h > WORTH_A_THREAD)
    for (Index i = 0; i < heads * n; ++i) {
        const Index own = i / n * h;
        norm_row(z + i * h, bias + own, scale + own, shift + own, y + i * h, centre[i], inverse[i], h);
    }
}

// The way back through `norm_row` of one network's n rows: gradients g of what came out, out those of z, which may
// be in the same place. sums (3, h): those of bias, scale and shift are added.
template <class T>
void norm_pull_rows(const T* z, const float* scale, const float* centre, const float* inverse, const T* g, T* out,
                    float* sums, Index n, Index h) {
    float *by_bias = sums, *by_scale = by_bias + h, *by_shift = by_scale + h;
    std::vector<float> normal(h), inner(h), slopes(h);
    for (Index i = 0; i < n; ++i) {
        const T *row = z + i * h, *up = g + i * h;
        const float mean = centre[i], over = inverse[i];
        float sum = 0, product = 0;
        for (Index j = 0; j < h; ++j) {
            float x = load(row[j]), s = gate(x), u = load(up[j]);
            slopes[j] = slope(x, s, x * s);
            normal[j] = (x * s - mean) * over;
            by_scale[j] += u * normal[j];
            by_shift[j] += u;
            inner[j] = u * scale[j];
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
}

// `norm_pull_rows` of heads networks. weights: (3, heads, h), or null.
template <class T>
void norm_pull(const T* z, const float* scale, const float* centre, const float* inverse, const T* g, T* out,
               float* weights, Index heads, Index n, Index h) {
#pragma omp parallel for if (heads * n * h > WORTH_A_THREAD)
    for (Index k = 0; k < heads; ++k) {
        std::vector<float> sums(3 * h);
        const Index first = k * n;
        norm_pull_rows(z + first * h, scale + k * h, centre + first, inverse + first, g + first * h, out + first * h,
                       sums.data(), n, h);
        if (weights)
            for (Index part = 0; part < 3; ++part)
                for (Index j = 0; j < h; ++j) weights[(part * heads + k) * h + j] = sums[part * h + j];
    }
}

}  // namespace
