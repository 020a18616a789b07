/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ops.c - the decoder's ops on the CPU: shape checks, contiguity, threads; the arithmetic is in the row kernels.
 *
 * Strided inputs go to the reference: the decoder never makes them, and a second set of loops would only be tested, not
 * used.
 */
#include "../ref/ref.h"
#include "cpu.h"
#include <math.h>

enum { ROWS_PER_TASK = 16 };

static bool plain(const kvb_tensor *a, const kvb_tensor *b) {
    return kvb_tensor_contiguous(a) && kvb_tensor_contiguous(b);
}

kvb_status cpu_rmsnorm(const kvb_tensor *x, const kvb_tensor *w, kvb_tensor *y, double eps) {
    if (!plain(x, y) || !kvb_tensor_contiguous(w) || x->ndim != 2) return ref_rmsnorm(x, w, y, eps);
    int64_t rows = x->shape[0], dim = x->shape[1];
    bool bf16 = y->dtype == KVB_BF16;
    KVB_TRY(kvb_tensor_expect("rmsnorm", "x", x, KVB_F32, 2, (int64_t[]){-1, -1}));
    KVB_TRY(kvb_tensor_expect("rmsnorm", "w", w, KVB_F32, 1, (int64_t[]){dim}));
    KVB_TRY(kvb_tensor_expect("rmsnorm", "y", y, bf16 ? KVB_BF16 : KVB_F32, 2, (int64_t[]){rows, dim}));
    const kvb_cpu_kernels *k = kvb_cpu_pick();
#pragma omp parallel for schedule(static) num_threads(kvb_threads()) if (rows > ROWS_PER_TASK)
    for (int64_t r = 0; r < rows; r += ROWS_PER_TASK)
        k->rmsnorm((const float *)x->data + r * dim, w->data, (char *)y->data + r * dim * (bf16 ? 2 : 4), bf16,
                   kvb_min64(ROWS_PER_TASK, rows - r), dim, (float)eps);
    return KVB_OK;
}

typedef void gate_kernel(const void *x, void *y, int32_t bf16, int64_t rows, int64_t dim);

static kvb_status gate_mul(const char *op, gate_kernel *kernel, const kvb_tensor *x, kvb_tensor *y) {
    int64_t rows = x->shape[0], dim = x->shape[1] / 2;
    bool bf16 = y->dtype == KVB_BF16;
    KVB_TRY(kvb_tensor_expect(op, "x", x, bf16 ? KVB_BF16 : KVB_F32, 2, (int64_t[]){-1, -1}));
    KVB_TRY(kvb_tensor_expect(op, "y", y, bf16 ? KVB_BF16 : KVB_F32, 2, (int64_t[]){rows, dim}));
#pragma omp parallel for schedule(static) num_threads(kvb_threads()) if (rows > ROWS_PER_TASK)
    for (int64_t r = 0; r < rows; r += ROWS_PER_TASK)
        kernel((const char *)x->data + r * 2 * dim * (bf16 ? 2 : 4), (char *)y->data + r * dim * (bf16 ? 2 : 4), bf16,
               kvb_min64(ROWS_PER_TASK, rows - r), dim);
    return KVB_OK;
}

/* Whether a gate is for the kernels. */
static bool is_usual(const kvb_tensor *x, const kvb_tensor *y) {
    return plain(x, y) && x->ndim == 2 && x->shape[1] % 2 == 0 && (x->dtype == KVB_BF16) == (y->dtype == KVB_BF16);
}

kvb_status cpu_silu_mul(const kvb_tensor *x, kvb_tensor *y) {
    return is_usual(x, y) ? gate_mul("silu_mul", kvb_cpu_pick()->silu_mul, x, y) : ref_silu_mul(x, y);
}

kvb_status cpu_gelu_mul(const kvb_tensor *x, kvb_tensor *y) {
    return is_usual(x, y) ? gate_mul("gelu_mul", kvb_cpu_pick()->gelu_mul, x, y) : ref_gelu_mul(x, y);
}

void kvb_cpu_rotate(float *x, int64_t heads, int64_t head_dim, const float *cos, const float *sin) {
    kvb_cpu_pick()->rope(x, heads, head_dim, cos, sin);
}

kvb_status cpu_rope(kvb_tensor *x, const kvb_tensor *cos, const kvb_tensor *sin, const kvb_tensor *position) {
    if (!kvb_tensor_contiguous(x) || !plain(cos, sin) || !kvb_tensor_contiguous(position) || x->ndim != 3 ||
        x->shape[2] % 2)
        return ref_rope(x, cos, sin, position);
    int64_t rows = x->shape[0], heads = x->shape[1], dim = x->shape[2];
    KVB_TRY(kvb_tensor_expect("rope", "x", x, KVB_F32, 3, (int64_t[]){-1, -1, -1}));
    KVB_TRY(kvb_tensor_expect("rope", "cos", cos, KVB_F32, 2, (int64_t[]){-1, dim}));
    KVB_TRY(kvb_tensor_expect("rope", "sin", sin, KVB_F32, 2, (int64_t[]){cos->shape[0], dim}));
    KVB_TRY(kvb_tensor_expect("rope", "position", position, KVB_I32, 1, (int64_t[]){rows}));
    const int32_t *p = position->data;
    for (int64_t r = 0; r < rows; r++)
        if (p[r] < 0 || p[r] >= cos->shape[0]) return ref_rope(x, cos, sin, position); /* it says which row is wrong */
    const kvb_cpu_kernels *k = kvb_cpu_pick();
#pragma omp parallel for schedule(static) num_threads(kvb_threads()) if (rows * heads * dim > 32768)
    for (int64_t r = 0; r < rows; r++)
        k->rope((float *)x->data + r * heads * dim, heads, dim, (const float *)cos->data + p[r] * dim,
                (const float *)sin->data + p[r] * dim);
    return KVB_OK;
}

kvb_status cpu_argmax_margin(const kvb_tensor *x, kvb_tensor *index, kvb_tensor *margin) {
    if (!kvb_tensor_contiguous(x) || !plain(index, margin) || x->ndim != 2 || x->shape[1] == 0)
        return ref_argmax_margin(x, index, margin);
    int64_t rows = x->shape[0], n = x->shape[1];
    KVB_TRY(kvb_tensor_expect("argmax_margin", "x", x, KVB_F32, 2, (int64_t[]){-1, -1}));
    KVB_TRY(kvb_tensor_expect("argmax_margin", "index", index, KVB_I32, 1, (int64_t[]){rows}));
    KVB_TRY(kvb_tensor_expect("argmax_margin", "margin", margin, KVB_F32, 1, (int64_t[]){rows}));
    const kvb_cpu_kernels *k = kvb_cpu_pick();
#pragma omp parallel for schedule(static) num_threads(kvb_threads()) if (rows * n > 65536)
    for (int64_t r = 0; r < rows; r++) {
        float best = ((const float *)x->data)[r * n], second = -INFINITY;
        int32_t at = 0;
        k->top2((const float *)x->data + r * n + 1, n - 1, 1, &best, &at, &second);
        ((int32_t *)index->data)[r] = at;
        ((float *)margin->data)[r] = best - second;
    }
    return KVB_OK;
}

kvb_status cpu_linear(const kvb_tensor *x, const kvb_tensor *w, const kvb_tensor *bias, kvb_tensor *y) {
    bool bf16 = x->dtype == KVB_BF16;
    if (!plain(x, y) || !kvb_tensor_contiguous(w) || (bias && !kvb_tensor_contiguous(bias)) ||
        kvb_tensor_count(x) == 0 || kvb_tensor_count(w) == 0 || (bf16 && strcmp(kvb_cpu_tier(), "amx-bf16") != 0))
        return ref_linear(x, w, bias, y);
    KVB_TRY(kvb_tensor_expect("linear", "x", x, bf16 ? KVB_BF16 : KVB_F32, 2, (int64_t[]){-1, -1}));
    KVB_TRY(kvb_tensor_expect("linear", "w", w, KVB_F32, 2, (int64_t[]){-1, x->shape[1]}));
    if (bias) KVB_TRY(kvb_tensor_expect("linear", "bias", bias, KVB_F32, 1, (int64_t[]){w->shape[0]}));
    KVB_TRY(kvb_tensor_expect("linear", "y", y, KVB_F32, 2, (int64_t[]){x->shape[0], w->shape[0]}));
    kvb_packed *packed;
    KVB_TRY(kvb_cpu_pack(w->data, (int32_t)w->shape[0], (int32_t)w->shape[1], bf16 ? KVB_BF16 : KVB_F32, &packed));
    kvb_status status =
        kvb_cpu_multiply(packed, x->data, (int32_t)x->shape[0], bias ? bias->data : NULL, 0, y->data, KVB_F32);
    kvb_cpu_pack_free(packed);
    return status;
}

/* ---- attention as an op: tensors become lanes, mask bytes become words, then the engine's own call ---- */

static kvb_status fill_lanes(const kvb_lane_kind *kind, const kvb_tensor *k, const kvb_tensor *v, kvb_lane *lane) {
    for (int64_t h = 0; h < k->shape[0]; h++) {
        int32_t n = (int32_t)k->shape[1];
        size_t bytes = (size_t)kvb_cpu_lane_bytes(kind, n);
        lane[h] = (kvb_lane){kvb_alloc(bytes, KVB_MEM_SCRATCH), kvb_alloc(bytes, KVB_MEM_SCRATCH), n, n};
        if (!lane[h].keys || !lane[h].values) return KVB_E_MEMORY;
        for (int32_t j = 0; j < n; j++)
            kvb_cpu_lane_put(kind, lane + h, j, (const float *)k->data + (h * n + j) * kind->head_dim,
                             (const float *)v->data + (h * n + j) * kind->head_dim);
    }
    return KVB_OK;
}

static void fill_words(const kvb_tensor *mask, uint64_t *words, int64_t per_head) {
    const uint8_t *bit = mask->data;
    for (int64_t row = 0; row < mask->shape[0] * mask->shape[1]; row++)
        for (int64_t j = 0; j < mask->shape[2]; j++)
            words[row * per_head + j / 64] |= (uint64_t)(bit[row * mask->shape[2] + j] != 0) << (j % 64);
}

kvb_status cpu_attention(const kvb_tensor *q, const kvb_tensor *k, const kvb_tensor *v, const kvb_tensor *mask,
                         kvb_tensor *y, double scale, int32_t bf16) {
    if (!plain(q, y) || !plain(k, v) || !kvb_tensor_contiguous(mask) || kvb_tensor_count(q) == 0 ||
        kvb_tensor_count(k) == 0 || (bf16 && (strcmp(kvb_cpu_tier(), "amx-bf16") != 0 || q->shape[2] % 16)))
        return ref_attention(q, k, v, mask, y, scale, bf16);
    int64_t rows = q->shape[0], heads = q->shape[1], dim = q->shape[2], kv_heads = k->shape[0], keys = k->shape[1];
    KVB_TRY(kvb_tensor_expect("attention", "q", q, KVB_F32, 3, (int64_t[]){-1, -1, -1}));
    KVB_TRY(kvb_tensor_expect("attention", "k", k, KVB_F32, 3, (int64_t[]){-1, -1, dim}));
    KVB_TRY(kvb_tensor_expect("attention", "v", v, KVB_F32, 3, (int64_t[]){kv_heads, keys, dim}));
    KVB_TRY(kvb_tensor_expect("attention", "mask", mask, KVB_U8, 3, (int64_t[]){rows, kv_heads, keys}));
    KVB_TRY(kvb_tensor_expect("attention", "y", y, KVB_F32, 3, (int64_t[]){rows, heads, dim}));
    if (heads % kv_heads) return ref_attention(q, k, v, mask, y, scale, bf16);
    kvb_lane_kind kind = {(int32_t)dim, bf16 ? KVB_BF16 : KVB_F32};
    int64_t per_head = (keys + 63) / 64;
    kvb_lane *lane =
        kvb_alloc_array(kvb_mul_size(2, (size_t)kv_heads), sizeof *lane,
                KVB_MEM_SCRATCH); /* then as many empty own lanes */
    uint64_t *words = kvb_alloc_array(kvb_mul_size(kvb_mul_size((size_t)rows, (size_t)kv_heads), (size_t)per_head),
            sizeof *words, KVB_MEM_SCRATCH);
    kvb_attn_row *row = kvb_alloc_array((size_t)rows, sizeof *row, KVB_MEM_SCRATCH);
    kvb_status status = lane && words && row ? fill_lanes(&kind, k, v, lane) : KVB_E_MEMORY;
    if (status == KVB_OK) {
        fill_words(mask, words, per_head);
        for (int64_t r = 0; r < rows; r++)
            row[r] = (kvb_attn_row){.prefix = lane,
                                    .mask = words + r * kv_heads * per_head,
                                    .own = lane + kv_heads,
                                    .words = (int32_t)per_head};
        status = kvb_cpu_attend(&kind, row, (int32_t)rows, (int32_t)heads, (int32_t)kv_heads, q->data, scale, y);
    }
    for (int64_t h = 0; lane && h < kv_heads; h++) {
        kvb_free(lane[h].keys);
        kvb_free(lane[h].values);
    }
    kvb_free(lane);
    kvb_free(words);
    kvb_free(row);
    return status;
}
