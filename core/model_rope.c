/* SPDX-License-Identifier: Apache-2.0 */
/*
 * model_rope.c - tables of cos and sin for rotary positions: one for the model, a second for its sliding layers where
 * they turn at another base (Gemma 3). Built on the host for a range of positions that grows when a longer text comes.
 */
#include "model.h"
#include <math.h>

/* Source: RoPE arXiv:2104.09864 eq. 15; the llama3 scaling is that of the Llama 3.1 release (per-frequency
 * interpolation between low_freq_factor and high_freq_factor wavelengths of the original context). */
/* Every step is rounded to f32, and so is the angle below: the frameworks that these models are trained and served
 * with do that, and at position 1,000 it moves an angle by 3e-5. A table in double would be nearer to the formula
 * and farther from the model. */
static float frequency(const kvb_model_desc *d, bool sliding, int32_t i) {
    float exponent = (float)(2 * i) / (float)d->head_dim, factor = (float)d->rope_factor;
    float f = 1.0f / (float)pow((float)(sliding ? d->sliding_theta : d->rope_theta), exponent);
    if (sliding) return f;
    if (d->rope_kind == KVB_ROPE_LINEAR) return f / factor;
    if (d->rope_kind == KVB_ROPE_DEFAULT) return f;
    float wavelength = (float)(2 * M_PI) / f, original = (float)d->rope_original_positions;
    float low = (float)d->rope_low_freq, high = (float)d->rope_high_freq;
    if (wavelength < original / high) return f;
    if (wavelength > original / low) return f / factor;
    float smooth = (original / wavelength - low) / (float)(d->rope_high_freq - d->rope_low_freq);
    return (1 - smooth) * f / factor + smooth * f;
}

static double angle_of(int32_t position, float f) {
    volatile float angle = (float)position * f; /* volatile: no wider intermediate */
    return (double)angle;
}

static kvb_status build(const kvb_model_desc *d, bool sliding, int32_t positions, float **cosine, float **sine) {
    int32_t half = d->head_dim / 2;
    size_t bytes = kvb_mul_size(kvb_mul_size((size_t)positions, (size_t)half), sizeof(float));
    *cosine = kvb_alloc_raw(bytes, KVB_MEM_WEIGHTS);
    *sine = kvb_alloc_raw(bytes, KVB_MEM_WEIGHTS);
    if (!*cosine || !*sine) return KVB_E_MEMORY;
    for (int32_t i = 0; i < half; i++) {
        float f = frequency(d, sliding, i);
        for (int32_t p = 0; p < positions; p++) {
            (*cosine)[(int64_t)p * half + i] = (float)cos(angle_of(p, f));
            (*sine)[(int64_t)p * half + i] = (float)sin(angle_of(p, f));
        }
    }
    return KVB_OK;
}

enum { BEHIND = 512 }; /* presses look that far behind a text */

kvb_status kvb_model_cover(kvb_model *m, int32_t n) {
    if (n <= m->rope_positions) return KVB_OK;
    int32_t positions = (int32_t)kvb_round_up((int64_t)n + BEHIND, 1024), kinds = m->desc.sliding_window > 0 ? 2 : 1;
    float *cosine[2] = {NULL, NULL}, *sine[2] = {NULL, NULL};
    kvb_status status = KVB_OK;
    for (int i = 0; i < kinds && status == KVB_OK; i++)
        status = build(&m->desc, i == 1, positions, cosine + i, sine + i);
    for (int i = 0; i < kinds; i++) {
        kvb_free(status == KVB_OK ? m->rope_cos[i] : cosine[i]);
        kvb_free(status == KVB_OK ? m->rope_sin[i] : sine[i]);
        if (status != KVB_OK) continue;
        m->rope_cos[i] = cosine[i];
        m->rope_sin[i] = sine[i];
    }
    if (status != KVB_OK) return status;
    m->rope_positions = positions;
    return m->resident ? m->backend->cover(m) : KVB_OK;
}

/* Row r of the outputs from the model's own tables. */
static void copy_position(const kvb_model *m, bool sliding, int32_t position, kvb_tensor *cosine, kvb_tensor *sine,
                          int32_t r) {
    int32_t half = m->desc.head_dim / 2;
    const float *c = m->rope_cos[sliding] + (int64_t)position * half;
    const float *s = m->rope_sin[sliding] + (int64_t)position * half;
    float *to_c = (float *)cosine->data + r * cosine->stride[0], *to_s = (float *)sine->data + r * sine->stride[0];
    for (int32_t at = 0; at < m->desc.head_dim; at += half)
        for (int32_t i = 0; i < half; i++) {
            to_c[(at + i) * cosine->stride[1]] = c[i];
            to_s[(at + i) * sine->stride[1]] = s[i];
        }
}

kvb_status kvb_model_rope(const kvb_model *m, int32_t sliding, int32_t first, int32_t n, kvb_tensor *cos_out,
                          kvb_tensor *sin_out) {
    int64_t shape[2] = {n, m->desc.head_dim};
    if (first < 0 || n < 0 || n > INT32_MAX - first)
        return kvb_fail(KVB_E_ARG, "RoPE tables from position %d, %d rows", first, n);
    if (sliding && m->desc.sliding_window == 0)
        return kvb_fail(KVB_E_ARG, "RoPE tables: the model has no sliding layers");
    KVB_TRY(kvb_tensor_expect("rope tables", "cos", cos_out, KVB_F32, 2, shape));
    KVB_TRY(kvb_tensor_expect("rope tables", "sin", sin_out, KVB_F32, 2, shape));
    int32_t half = m->desc.head_dim / 2;
    if (n <= m->rope_positions - first) {
        for (int32_t r = 0; r < n; r++)
            copy_position(m, sliding != 0, first + r, cos_out, sin_out, r);
        return KVB_OK;
    }
    /* Presses ask for positions beyond any text. */
#pragma omp parallel for schedule(static) num_threads(kvb_threads()) if ((int64_t)n * half > 4096)
    for (int32_t i = 0; i < half; i++) {
        float f = frequency(&m->desc, sliding != 0, i);
        for (int32_t r = 0; r < n; r++) {
            double angle = angle_of(first + r, f);
            float c = (float)cos(angle), s = (float)sin(angle);
            for (int32_t at = i; at < m->desc.head_dim; at += half) {
                ((float *)cos_out->data)[r * cos_out->stride[0] + at * cos_out->stride[1]] = c;
                ((float *)sin_out->data)[r * sin_out->stride[0] + at * sin_out->stride[1]] = s;
            }
        }
    }
    return KVB_OK;
}
