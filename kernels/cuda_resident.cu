/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cuda_resident.cu - taking a loaded model over: row buckets proven, norms, biases and RoPE tables in device memory.
 *
 * All vectors lie in one block, because thousands of tiny allocations would each be rounded up to the pool's unit.
 */
#include "cuda_resident.h"
#include "cuda_gemm.h"
#include <stdio.h>

static const int32_t sizes[] = {64, 128, 256, 512, 1024, 2048, 4096, 8192};
enum { SIZES = sizeof sizes / sizeof *sizes };

/* ---- vectors ---- */

struct vectors {
    float *next;
    kvb_status status;
};

/* Copies n floats behind those before and returns where they lie. Without a target it only counts. */
static float *put(vectors *v, const float *from, int64_t n) {
    if (!from || v->status != KVB_OK) return NULL;
    float *at = v->next;
    v->next += kvb_round_up(n, 64);
    v->status = kvb_cuda_upload(at, from, (size_t)n * sizeof *from);
    return at;
}

static kvb_status upload_vectors(kvb_model *m, kvb_resident *r) {
    const kvb_model_desc *d = &m->desc;
    int64_t q = (int64_t)d->heads * d->head_dim, kv = (int64_t)d->kv_heads * d->head_dim;
    int64_t layer = (d->post_norms ? 4 : 2) * kvb_round_up(d->hidden, 64) + 2 * kvb_round_up(d->head_dim, 64) +
                    kvb_round_up(q + 2 * kv, 64);
    int64_t floats = d->layers * layer + kvb_round_up(d->hidden, 64);
    r->block = (float *)kvb_cuda_alloc_raw((size_t)floats * sizeof(float), KVB_MEM_WEIGHTS);
    r->layer = (kvb_cuda_layer *)kvb_alloc_array((size_t)d->layers, sizeof *r->layer, KVB_MEM_OTHER);
    if (!r->block || !r->layer) return KVB_E_MEMORY;
    vectors v = {r->block, KVB_OK};
    for (int32_t l = 0; l < d->layers; l++) {
        const kvb_layer *from = m->layer + l;
        r->layer[l].attn_norm = put(&v, from->attn_norm, d->hidden);
        r->layer[l].ffn_norm = put(&v, from->ffn_norm, d->hidden);
        r->layer[l].post_attn_norm = put(&v, from->post_attn_norm, d->hidden);
        r->layer[l].post_ffn_norm = put(&v, from->post_ffn_norm, d->hidden);
        r->layer[l].q_norm = put(&v, from->q_norm, d->head_dim);
        r->layer[l].k_norm = put(&v, from->k_norm, d->head_dim);
        r->layer[l].qkv_bias = put(&v, from->qkv_bias, q + 2 * kv);
    }
    r->final_norm = put(&v, m->final_norm, d->hidden);
    return v.status;
}

kvb_status kvb_cuda_cover(kvb_model *m) {
    kvb_resident *r = m->resident;
    size_t bytes = (size_t)m->rope_positions * (size_t)(m->desc.head_dim / 2) * sizeof(float);
    for (int i = 0; i < 2 && m->rope_cos[i]; i++) {
        float *cosine = (float *)kvb_cuda_alloc_raw(bytes, KVB_MEM_WEIGHTS);
        float *sine = (float *)kvb_cuda_alloc_raw(bytes, KVB_MEM_WEIGHTS);
        kvb_status status = cosine && sine ? kvb_cuda_upload(cosine, m->rope_cos[i], bytes) : KVB_E_MEMORY;
        if (status == KVB_OK) status = kvb_cuda_upload(sine, m->rope_sin[i], bytes);
        if (status != KVB_OK) {
            kvb_cuda_free(cosine);
            kvb_cuda_free(sine);
            return status;
        }
        kvb_cuda_free(r->cos[i]);
        kvb_cuda_free(r->sin[i]);
        r->cos[i] = cosine;
        r->sin[i] = sine;
    }
    return KVB_OK;
}

/* ---- rows of a step ---- */

int64_t kvb_cuda_step_bytes(const kvb_model *m, int32_t rows) {
    const kvb_model_desc *d = &m->desc;
    int64_t unit = kvb_dtype_bytes(d->dtype), q = (int64_t)d->heads * d->head_dim,
            kv = (int64_t)d->kv_heads * d->head_dim, head = rows < KVB_CUDA_HEAD_ROWS ? rows : KVB_CUDA_HEAD_ROWS;
    int64_t row = d->hidden * (4 + unit + (d->post_norms ? 4 : 0)) + (q + 2 * kv) * 4 + 2 * q * unit +
                  3 * (int64_t)d->ffn * unit;
    return rows * row + head * (int64_t)d->vocab * 4;
}

/* As many as the largest bucket whose buffers leave three quarters of the memory to caches. */
static int32_t choose_rows(const kvb_model *m) {
    int64_t available = kvb_cuda_free_bytes();
    int32_t b = SIZES - 1;
    while (b > 0 && kvb_cuda_step_bytes(m, sizes[b]) > available / 4) b--;
    return b + 1;
}

static kvb_status prove(kvb_model *m, int32_t count) {
    const kvb_model_desc *d = &m->desc;
    const kvb_layer *y = m->layer;
    int32_t q = d->heads * d->head_dim, kv = d->kv_heads * d->head_dim;
    const struct {
        kvb_cuda_product product;
        const kvb_packed *w;
        bool head;
    } uses[] = {
        {{q + 2 * kv, d->hidden, d->dtype, KVB_F32, y->qkv_bias != NULL, 0}, y->qkv, false},
        {{d->hidden, q, d->dtype, KVB_F32, 0, !d->post_norms}, y->o, false},
        {{2 * d->ffn, d->hidden, d->dtype, d->dtype, 0, 0}, y->gate_up, false},
        {{d->hidden, d->ffn, d->dtype, KVB_F32, 0, !d->post_norms}, y->down, false},
        {{d->vocab, d->hidden, d->dtype, KVB_F32, 0, 0}, m->head[0], true},
    };
    bool proven[SIZES];
    for (int32_t b = 0; b < count; b++) proven[b] = true;
    for (const auto &use : uses) {
        int32_t buckets = count;
        while (use.head && buckets > 1 && sizes[buckets - 1] > KVB_CUDA_HEAD_ROWS) buckets--;
        KVB_TRY(kvb_cuda_prove(&use.product, use.w, sizes, buckets, proven));
    }
    m->buckets = 0;
    for (int32_t b = 0; b < count; b++)
        if (proven[b]) m->bucket[m->buckets++] = sizes[b];
    if (m->buckets == 0 || !proven[count - 1]) {
        kvb_fail(KVB_E_UNSUPPORTED, "cuda: cuBLASLt has no algorithm without split-K for the products of this model");
        kvb_hint("-> use another --dtype or --device cpu");
        return KVB_E_UNSUPPORTED;
    }
    m->step_rows = m->bucket[m->buckets - 1];
    return KVB_OK;
}

kvb_status kvb_cuda_ready(kvb_model *m) {
    kvb_resident *r = (kvb_resident *)kvb_alloc(sizeof *r, KVB_MEM_OTHER);
    if (!r) return KVB_E_MEMORY;
    m->resident = r;
    kvb_status status = upload_vectors(m, r);
    if (status == KVB_OK) status = kvb_cuda_cover(m);
    if (status == KVB_OK) status = prove(m, choose_rows(m));
    if (status == KVB_OK) snprintf(m->tier, sizeof m->tier, "cuda sm_%d%d%s", kvb_cuda_current()->major,
                                   kvb_cuda_current()->minor, m->interactive ? " interactive" : "");
    if (status != KVB_OK) kvb_cuda_gone(m);
    return status;
}

void kvb_cuda_gone(kvb_model *m) {
    kvb_resident *r = m->resident;
    kvb_cuda_free(r->block);
    for (int i = 0; i < 2; i++) {
        kvb_cuda_free(r->cos[i]);
        kvb_cuda_free(r->sin[i]);
    }
    kvb_free(r->layer);
    kvb_free(r);
    m->resident = NULL;
    kvb_cuda_trim();
}
