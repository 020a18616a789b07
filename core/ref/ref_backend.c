/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ref_backend.c - the reference as a device: plain f32 rows as lanes, plain matrices as weights, every op of ops.def.
 * A whole model runs on it (--device ref), slowly, which is how the fast backends are judged end to end.
 */
#include "ref.h"
#include <math.h>

struct kvb_packed {
    int32_t out, in;
    float *w;
};

static int64_t lane_bytes(const kvb_lane_kind *kind, int32_t capacity) {
    return (int64_t)capacity * kind->head_dim * 4;
}

static void lane_put(const kvb_lane_kind *kind, kvb_lane *lane, int32_t index, const float *key, const float *value) {
    size_t d = (size_t)kind->head_dim;
    memcpy((float *)lane->keys + (size_t)index * d, key, d * sizeof(float));
    memcpy((float *)lane->values + (size_t)index * d, value, d * sizeof(float));
}

static void lane_get(const kvb_lane_kind *kind, const kvb_lane *lane, int32_t index, float *key, float *value) {
    size_t d = (size_t)kind->head_dim;
    if (key) memcpy(key, (const float *)lane->keys + (size_t)index * d, d * sizeof(float));
    if (value) memcpy(value, (const float *)lane->values + (size_t)index * d, d * sizeof(float));
}

/* The j-th of a row's keys: the prefix first, then its own. Returns NULL where the mask evicted it. */
static const float *nth(const kvb_lane_kind *kind, const kvb_attn_row *row, int32_t kv_head, int32_t j,
                        const float **value) {
    const kvb_lane *lane = row->prefix ? row->prefix + kv_head : NULL;
    int32_t prefix_n = lane ? lane->n : 0;
    if (j < prefix_n) {
        if (row->prefix_from && j < row->prefix_from[kv_head]) return NULL;
        if (row->mask && !(row->mask[(int64_t)kv_head * row->words + j / 64] >> (j % 64) & 1)) return NULL;
    } else {
        lane = row->own + kv_head;
        j -= prefix_n;
        if (j < row->own_from) return NULL;
        if (row->own_mask && !(row->own_mask[(int64_t)kv_head * row->own_words + j / 64] >> (j % 64) & 1)) return NULL;
    }
    *value = (const float *)lane->values + (int64_t)j * kind->head_dim;
    return (const float *)lane->keys + (int64_t)j * kind->head_dim;
}

static double dot(const float *a, const float *b, int32_t n) {
    double sum = 0;
    for (int32_t i = 0; i < n; i++) sum += (double)a[i] * b[i];
    return sum;
}

static void rotate(float *x, int64_t heads, int64_t head_dim, const float *cos, const float *sin) {
    int64_t half = head_dim / 2;
    for (int64_t h = 0; h < heads; h++, x += head_dim)
        for (int64_t i = 0; i < half; i++) {
            double a = x[i], b = x[half + i];
            x[i] = (float)(a * cos[i] - b * sin[i]);
            x[half + i] = (float)(b * cos[i] + a * sin[i]);
        }
}

static kvb_status attend(const kvb_lane_kind *kind, const kvb_attn_row *rows, int32_t n, int32_t heads,
                         int32_t kv_heads, const float *q, double scale, kvb_tensor *y) {
    int32_t d = kind->head_dim, group = heads / kv_heads;
    double *sum = kvb_alloc(kvb_mul_size((size_t)d, sizeof *sum), KVB_MEM_SCRATCH);
    if (!sum) return KVB_E_MEMORY;
    for (int32_t r = 0; r < n; r++)
        for (int32_t h = 0; h < heads; h++) {
            const kvb_attn_row *row = rows + r;
            const float *query = q + ((int64_t)r * heads + h) * d, *value = NULL;
            int32_t keys = (row->prefix ? row->prefix[h / group].n : 0) + row->own_n;
            double largest = -INFINITY, total = 0;
            for (int32_t j = 0; j < keys; j++) {
                const float *key = nth(kind, row, h / group, j, &value);
                if (key) largest = fmax(largest, scale * dot(query, key, d));
            }
            memset(sum, 0, (size_t)d * sizeof *sum);
            for (int32_t j = 0; j < keys; j++) {
                const float *key = nth(kind, row, h / group, j, &value);
                if (!key) continue;
                double p = exp(scale * dot(query, key, d) - largest);
                total += p;
                for (int32_t i = 0; i < d; i++) sum[i] += p * value[i];
            }
            float *out = (float *)y->data + ((int64_t)r * heads + h) * d;
            for (int32_t i = 0; i < d; i++) out[i] = total > 0 ? (float)(sum[i] / total) : 0;
        }
    kvb_free(sum);
    return KVB_OK;
}

static kvb_status pack(const float *w, int32_t out, int32_t in, int32_t dtype, kvb_packed **packed) {
    if (dtype != KVB_F32)
        return kvb_fail(KVB_E_UNSUPPORTED, "the reference device computes in f32 only -> use --dtype f32");
    kvb_packed *p = kvb_alloc(sizeof *p, KVB_MEM_WEIGHTS);
    float *copy = kvb_alloc_array(kvb_mul_size((size_t)out, (size_t)in), sizeof *copy, KVB_MEM_WEIGHTS);
    if (!p || !copy) {
        kvb_free(p);
        kvb_free(copy);
        return KVB_E_MEMORY;
    }
    memcpy(copy, w, (size_t)out * (size_t)in * sizeof *copy);
    *p = (kvb_packed){out, in, copy};
    *packed = p;
    return KVB_OK;
}

static void pack_free(kvb_packed *p) {
    if (!p) return;
    kvb_free(p->w);
    kvb_free(p);
}

static int64_t pack_bytes(const kvb_packed *p) { return (int64_t)p->out * p->in * 4; }

static kvb_status multiply(kvb_packed *p, const void *x, int32_t rows, const float *bias, int32_t accumulate, void *y,
                           int32_t y_dtype) {
    if (y_dtype != KVB_F32) return kvb_fail(KVB_E_UNSUPPORTED, "the reference device computes in f32 only");
    for (int32_t r = 0; r < rows; r++)
        for (int32_t o = 0; o < p->out; o++) {
            double sum =
                dot((const float *)x + (int64_t)r * p->in, p->w + (int64_t)o * p->in, p->in) + (bias ? bias[o] : 0);
            float *out = (float *)y + (int64_t)r * p->out + o;
            *out = (float)(sum + (accumulate ? *out : 0));
        }
    return KVB_OK;
}

const kvb_backend kvb_backend_ref = {
    .name = "ref",
    .lane_bytes = lane_bytes,
    .lane_put = lane_put,
    .lane_get = lane_get,
    .rotate = rotate,
    .attend = attend,
    .pack = pack,
    .pack_free = pack_free,
    .pack_bytes = pack_bytes,
    .multiply = multiply,
#define KVB_OP(op, parameters, arguments) .op = ref_##op,
#include "../ops.def"
#undef KVB_OP
};
