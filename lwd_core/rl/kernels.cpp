// What stands between two products of a network, each in one pass over its rows: float32 or bfloat16 in memory,
// float32 in between. `native.py` compiles and calls them; `gelu.py` says the same in torch.

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

inline float slope(float z, float s) { return s + z * s * (1 - s) * (A + 3 * B * z * z); }

// z (n, h) becomes gelu(z + bias + context). bias: (h) or null; context: (period, h), repeated, or null; slopes:
// (n, h), the derivative, or null.
template <class T>
void gelu(T* z, const float* bias, const T* context, T* slopes, Index n, Index h, Index period) {
#pragma omp parallel for if (n * h > WORTH_A_THREAD)
    for (Index i = 0; i < n; ++i) {
        T* row = z + i * h;
        T* out = slopes + i * h;
        const T* more = context + (i % period) * h;
        float x[h];
        for (Index j = 0; j < h; ++j) x[j] = load(row[j]);
        if (bias)
            for (Index j = 0; j < h; ++j) x[j] += bias[j];
        if (context)
            for (Index j = 0; j < h; ++j) x[j] += load(more[j]);
        if (slopes)
#pragma omp simd
            for (Index j = 0; j < h; ++j) {
                float s = gate(x[j]);
                store(row[j], x[j] * s);
                store(out[j], slope(x[j], s));
            }
        else
#pragma omp simd
            for (Index j = 0; j < h; ++j) store(row[j], x[j] * gate(x[j]));
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
                slopes[j] = slope(x, s);
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
}
