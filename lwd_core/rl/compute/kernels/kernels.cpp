// What `native.py` compiles and calls.

#include "activations.h"
#include "field.h"
#include "stack.h"

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
void field_back_float32(const Field* f, const float* x, const float* times, const float* g, const float* values,
                        float* slopes, Index apart, float* ups, const FieldGradients* by, Index n) {
    field_back(*f, x, times, g, values, slopes, apart, ups, *by, n);
}
void field_walk_float32(const Field* f, const Step* steps, Index count, const float* noise, const float* mask,
                        float* points, float* velocities, float* values, float* slopes, Index apart, Index n) {
    field_walk(*f, steps, count, noise, mask, points, velocities, values, slopes, apart, n);
}
void field_adjoint_float32(const Field* f, const Step* steps, Index count, const float* mask, const float* points,
                           const float* last, float* adjoints, Index n) {
    field_adjoint(*f, steps, count, mask, points, last, adjoints, n);
}
void stack_forward_float32(const Stack* s, const float* x, const Kept* kept, float* end, Index n) {
    stack_forward(*s, x, *kept, end, n);
}
void stack_back_float32(const Stack* s, const float* x, const float* g, const Kept* kept, float* ups, float* down,
                        const StackGradients* by, Index n) {
    stack_back(*s, x, g, *kept, ups, down, *by, n);
}
}
