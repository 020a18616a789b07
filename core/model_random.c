/* SPDX-License-Identifier: Apache-2.0 */
/*
 * model_random.c - a model of given shapes with random weights, for benchmarks and tests without a file.
 *
 * Weights are uniform noise of standard deviation 0.02 (the usual initialisation), norms are one. Element i of matrix m
 * depends on the seed, m and i alone, so every device makes the same model, each where its weights will live. Rejected:
 * writing such a model to a file first (16 GB for 8B shapes).
 */
#include "model.h"
#include <math.h>

static const float deviation = 0.02f;

/* The joint matrices of a layer, and the two global ones behind the last layer. */
enum { QKV, O, GATE_UP, DOWN, QKV_BIAS, PER_LAYER, EMBED = 0, LM_HEAD = 1 };

static uint64_t seed_of(uint64_t seed, int32_t layer, int32_t which) {
    uint64_t key[2] = {(uint64_t)layer, (uint64_t)which};
    return kvb_hash64(key, sizeof key, seed);
}

static kvb_status fill(float *to, int64_t first, int64_t n, uint64_t seed, float scale) {
    kvb_tensor y = kvb_view1(to, KVB_F32, n);
    KVB_TRY(kvb_op_uniform(KVB_DEVICE_CPU, &y, seed, first));
    for (int64_t i = 0; i < n; i++) to[i] = (to[i] * 2 - 1) * scale;
    return KVB_OK;
}

/* Rows [first, first + out) of the matrix with this seed, packed. */
static kvb_status make(const kvb_model *m, int32_t first, int32_t out, int32_t in, uint64_t seed, kvb_packed **packed) {
    float scale = deviation * sqrtf(3); /* uniform noise in [-a, a) has deviation a / sqrt(3) */
    if (m->backend->pack_noise) return m->backend->pack_noise(out, in, m->desc.dtype, seed, scale, packed);
    float *w = kvb_alloc_raw(kvb_mul_size(kvb_mul_size((size_t)out, (size_t)in), sizeof *w), KVB_MEM_SCRATCH);
    if (!w) return KVB_E_MEMORY;
    kvb_status status = fill(w, (int64_t)first * in, (int64_t)out * in, seed, scale);
    if (status == KVB_OK) status = m->backend->pack(w, out, in, m->desc.dtype, packed);
    kvb_free(w);
    return status;
}

static kvb_status ones(kvb_model *m, float **to, int32_t n) {
    *to = kvb_alloc_array((size_t)n, sizeof **to, KVB_MEM_WEIGHTS);
    if (!*to) return KVB_E_MEMORY;
    for (int32_t i = 0; i < n; i++) (*to)[i] = 1;
    m->plain_bytes += (int64_t)n * 4;
    m->parameters += n;
    return KVB_OK;
}

static kvb_status make_layer(kvb_model *m, int32_t layer, uint64_t seed) {
    const kvb_model_desc *d = &m->desc;
    kvb_layer *y = m->layer + layer;
    int32_t q = d->heads * d->head_dim, joint = q + 2 * d->kv_heads * d->head_dim;
    KVB_TRY(ones(m, &y->attn_norm, d->hidden));
    KVB_TRY(ones(m, &y->ffn_norm, d->hidden));
    if (d->post_norms) {
        KVB_TRY(ones(m, &y->post_attn_norm, d->hidden));
        KVB_TRY(ones(m, &y->post_ffn_norm, d->hidden));
    }
    if (d->qk_norm) {
        KVB_TRY(ones(m, &y->q_norm, d->head_dim));
        KVB_TRY(ones(m, &y->k_norm, d->head_dim));
    }
    if (d->qkv_bias) {
        KVB_TRY(ones(m, &y->qkv_bias, joint));
        KVB_TRY(fill(y->qkv_bias, 0, joint, seed_of(seed, layer, QKV_BIAS), deviation * sqrtf(3)));
    }
    KVB_TRY(make(m, 0, joint, d->hidden, seed_of(seed, layer, QKV), &y->qkv));
    KVB_TRY(make(m, 0, d->hidden, q, seed_of(seed, layer, O), &y->o));
    KVB_TRY(make(m, 0, 2 * d->ffn, d->hidden, seed_of(seed, layer, GATE_UP), &y->gate_up));
    KVB_TRY(make(m, 0, d->hidden, d->ffn, seed_of(seed, layer, DOWN), &y->down));
    m->parameters += (int64_t)joint * d->hidden + (int64_t)d->hidden * q + 3 * (int64_t)d->ffn * d->hidden;
    y->have = ~0u;
    return KVB_OK;
}

/* Embeddings and LM head: the host keeps plain rows and packs the head in chunks. */
static kvb_status make_ends(kvb_model *m, uint64_t seed) {
    const kvb_model_desc *d = &m->desc;
    int64_t n = (int64_t)d->vocab * d->hidden, unit = kvb_dtype_bytes(d->dtype);
    uint64_t embed = seed_of(seed, d->layers, EMBED),
             head = d->tied_embeddings ? embed : seed_of(seed, d->layers, LM_HEAD);
    KVB_TRY(ones(m, &m->final_norm, d->hidden));
    m->parameters += d->tied_embeddings ? n : 2 * n;
    if (m->backend->pack_noise) {
        KVB_TRY(make(m, 0, d->vocab, d->hidden, embed, &m->embed_rows));
        if (!d->tied_embeddings) return make(m, 0, d->vocab, d->hidden, head, m->head);
        m->head[0] = m->embed_rows;
        return KVB_OK;
    }
    float *row = kvb_alloc_array((size_t)d->hidden, sizeof *row, KVB_MEM_SCRATCH);
    m->embed = kvb_alloc_raw(kvb_size(kvb_mul64(n, unit)), KVB_MEM_WEIGHTS);
    m->plain_bytes += n * unit;
    kvb_status status = row && m->embed ? KVB_OK : KVB_E_MEMORY;
    for (int32_t r = 0; r < d->vocab && status == KVB_OK; r++) {
        status = fill(row, (int64_t)r * d->hidden, d->hidden, embed, deviation * sqrtf(3));
        for (int32_t i = 0; i < d->hidden; i++)
            if (d->dtype == KVB_F32)
                ((float *)m->embed)[(int64_t)r * d->hidden + i] = row[i];
            else
                ((uint16_t *)m->embed)[(int64_t)r * d->hidden + i] = kvb_f32_to_bf16(row[i]);
    }
    kvb_free(row);
    for (int32_t c = 0; c < m->head_chunks && status == KVB_OK; c++) {
        int32_t first = c * m->head_columns, columns = (int32_t)kvb_min64(m->head_columns, d->vocab - first);
        status = make(m, first, columns, d->hidden, head, m->head + c);
    }
    return status;
}

kvb_status kvb_model_random(kvb_model *m, uint64_t seed) {
    if (m->have || m->layer[0].have) return kvb_fail(KVB_E_ARG, "model: weights were loaded before");
    KVB_TRY(kvb_model_enter(m));
    for (int32_t l = 0; l < m->desc.layers; l++) {
        if (kvb_cancelled()) return kvb_fail(KVB_E_CANCELLED, "interrupted");
        KVB_TRY(make_layer(m, l, seed));
    }
    KVB_TRY(make_ends(m, seed));
    m->have = ~0u;
    return KVB_OK;
}
