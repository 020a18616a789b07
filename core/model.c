/* SPDX-License-Identifier: Apache-2.0 */
/*
 * model.c - a decoder's weights: loaded slot by slot, packed for the backend, proven row-independent, then ready to
 * run.
 *
 * q, k, v (and gate, up) become one matrix each, because one larger product is faster than three and rows stay the
 * same. llama-family GGUF files store q and k with interleaved RoPE rows; they are put back into the rotate-half order
 * here, so that keys and channels mean the same whatever file they came from. Rejected: an architecture switch in C (a
 * family is a Lua table over this one decoder).
 */
#include "model.h"
#include <math.h>
#include <stdio.h>

/* Everything that is sized by a description (weights, a cache and every observation of the longest passage) stays below
 * 2^60 bytes, so that no product of its fields overflows anywhere. */
static kvb_status check_sizes(const kvb_model_desc *d) {
    const int64_t wide = kvb_mul64(d->heads, d->head_dim), most = (int64_t)1 << 60, unit = 16; /* bytes, with slack */
    const int64_t sizes[] = {
        kvb_mul64(kvb_mul64(d->layers + 1, d->max_positions), kvb_mul64(wide, unit)),   /* keys, values, queries */
        kvb_mul64(kvb_mul64(d->layers + 1, d->max_positions), kvb_mul64(d->hidden, unit)), /* hidden states */
        kvb_mul64(kvb_mul64(d->vocab, d->max_positions), unit),                           /* logits */
        kvb_mul64(kvb_mul64(d->vocab, d->hidden), unit),
        kvb_mul64(kvb_mul64(d->layers, d->hidden), kvb_mul64(kvb_mul64(3, wide) + 2 * (int64_t)d->ffn, unit)),
    };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        if (sizes[i] > most) {
            kvb_fail(KVB_E_ARG, "model: %d layers x %d hidden x %d positions x %d tokens need more than 2^60 bytes",
                     d->layers, d->hidden, d->max_positions, d->vocab);
            kvb_hint("-> the configuration is damaged");
            return KVB_E_ARG;
        }
    return KVB_OK;
}

static kvb_status check_desc(const kvb_model_desc *d) {
    struct {
        const char *name;
        int64_t value, low, high;
    } ranges[] = {
        {"layers", d->layers, 1, 4096},
        {"hidden", d->hidden, 1, 1 << 20},
        {"heads", d->heads, 1, 4096},
        {"kv_heads", d->kv_heads, 1, d->heads},
        {"head_dim", d->head_dim, 2, 1024},
        {"ffn", d->ffn, 1, 1 << 22},
        {"vocab", d->vocab, 2, 1 << 24},
        {"max_positions", d->max_positions, 1, 1 << 26},
        {"dtype", d->dtype == KVB_F32 || d->dtype == KVB_BF16 || (d->dtype == KVB_F16 && d->device >= KVB_DEVICE_CUDA),
         1, 1},
        {"rope_kind", d->rope_kind, KVB_ROPE_DEFAULT, KVB_ROPE_LINEAR},
        {"activation", d->activation, KVB_SILU, KVB_GELU},
        {"sliding_window", d->sliding_window, 0, 1 << 26},
    };
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
        if (ranges[i].value < ranges[i].low || ranges[i].value > ranges[i].high)
            return kvb_fail(KVB_E_ARG, "model: %s is %lld, expected %lld to %lld", ranges[i].name,
                            (long long)ranges[i].value, (long long)ranges[i].low, (long long)ranges[i].high);
    if (d->heads % d->kv_heads)
        return kvb_fail(KVB_E_ARG, "model: %d query heads cannot share %d KV heads", d->heads, d->kv_heads);
    if (d->head_dim % 2) return kvb_fail(KVB_E_ARG, "model: head_dim is %d, RoPE needs an even number", d->head_dim);
    if (d->dtype != KVB_F32 && d->head_dim % 16) {
        kvb_fail(KVB_E_UNSUPPORTED, "model: 16-bit weights need a head_dim that is a multiple of 16, this one has %d",
                 d->head_dim);
        kvb_hint("-> use --dtype f32");
        return KVB_E_UNSUPPORTED;
    }
    KVB_TRY(check_sizes(d));
    if (!(d->norm_eps > 0) || !(d->norm_eps < 1)) return kvb_fail(KVB_E_ARG, "model: norm epsilon is %g", d->norm_eps);
    if (!(d->rope_theta > 1) || !isfinite(d->rope_theta))
        return kvb_fail(KVB_E_ARG, "model: RoPE theta is %g", d->rope_theta);
    if (d->rope_kind != KVB_ROPE_DEFAULT && !(d->rope_factor >= 1))
        return kvb_fail(KVB_E_ARG, "model: RoPE factor is %g", d->rope_factor);
    if (d->rope_kind == KVB_ROPE_LLAMA3 && (!(d->rope_high_freq > d->rope_low_freq) || d->rope_original_positions < 1))
        return kvb_fail(KVB_E_ARG,
                        "model: llama3 RoPE with low_freq_factor %g, high_freq_factor %g, original positions %d",
                        d->rope_low_freq, d->rope_high_freq, d->rope_original_positions);
    if (d->sliding_window > 0 && d->layers > KVB_MOST_WINDOWED)
        return kvb_fail(KVB_E_UNSUPPORTED, "model: sliding windows in %d layers, at most %d are supported", d->layers,
                        KVB_MOST_WINDOWED);
    if (d->sliding_window > 0 && (!(d->sliding_theta > 1) || !isfinite(d->sliding_theta)))
        return kvb_fail(KVB_E_ARG, "model: RoPE theta of sliding layers is %g", d->sliding_theta);
    if (!(d->query_scale >= 0) || !isfinite(d->query_scale))
        return kvb_fail(KVB_E_ARG, "model: query scale is %g", d->query_scale);
    if (!(d->embedding_scale >= 0) || !isfinite(d->embedding_scale))
        return kvb_fail(KVB_E_ARG, "model: embedding scale is %g", d->embedding_scale);
    return KVB_OK;
}

double kvb_model_query_scale(const kvb_model *m) {
    return m->desc.query_scale > 0 ? m->desc.query_scale : 1 / sqrt((double)m->desc.head_dim);
}

kvb_status kvb_model_new(const kvb_model_desc *desc, kvb_model **out) {
    KVB_TRY(check_desc(desc));
    const kvb_backend *backend = kvb_backend_get(desc->device);
    if (!backend) return KVB_E_ARG;
    kvb_model *m = kvb_alloc(sizeof *m, KVB_MEM_OTHER);
    if (!m) return KVB_E_MEMORY;
    atomic_init(&m->references, 1);
    m->desc = *desc;
    m->backend = backend;
    snprintf(m->tier, sizeof m->tier, "%s%s%s", backend->name, desc->device == KVB_DEVICE_CPU ? " " : "",
             desc->device == KVB_DEVICE_CPU ? kvb_cpu_tier() : "");
    /* A device has memory for all logits of some rows; the host keeps a chunk of all rows in its caches. */
    m->head_columns = backend->ready ? desc->vocab : KVB_HEAD_COLUMNS;
    m->step_rows = KVB_HOST_ROWS;
    m->head_chunks = (desc->vocab + m->head_columns - 1) / m->head_columns;
    m->layer = kvb_alloc_array((size_t)desc->layers, sizeof *m->layer, KVB_MEM_OTHER);
    m->head = kvb_alloc_array((size_t)m->head_chunks, sizeof *m->head, KVB_MEM_OTHER);
    if (!m->layer || !m->head) {
        kvb_model_free(m);
        return KVB_E_MEMORY;
    }
    *out = m;
    return KVB_OK;
}

kvb_status kvb_model_enter(const kvb_model *m) { return kvb_backend_get(m->desc.device) ? KVB_OK : kvb_diag_code(); }

void kvb_model_retain(kvb_model *m) { atomic_fetch_add(&m->references, 1); }

void kvb_model_free(kvb_model *m) {
    if (!m || atomic_fetch_sub(&m->references, 1) != 1) return;
    if (m->resident) m->backend->gone(m);
    for (int32_t l = 0; m->layer && l < m->desc.layers; l++) {
        kvb_layer *y = m->layer + l;
        float *plain[] = {y->attn_norm, y->ffn_norm,  y->q_norm,        y->k_norm,        y->post_attn_norm,
                          y->post_ffn_norm, y->qkv_bias, y->qkv_plain, y->gate_up_plain};
        kvb_packed *packed[] = {y->qkv, y->o, y->gate_up, y->down};
        for (size_t i = 0; i < sizeof plain / sizeof *plain; i++) kvb_free(plain[i]);
        for (size_t i = 0; i < sizeof packed / sizeof *packed; i++) m->backend->pack_free(packed[i]);
    }
    for (int32_t c = 0; m->head && c < m->head_chunks; c++)
        if (m->head[c] != m->embed_rows) m->backend->pack_free(m->head[c]);
    if (m->embed_rows) m->backend->pack_free(m->embed_rows);
    kvb_free(m->head);
    kvb_free(m->layer);
    kvb_free(m->embed);
    kvb_free(m->final_norm);
    for (int i = 0; i < 2; i++) {
        kvb_free(m->rope_cos[i]);
        kvb_free(m->rope_sin[i]);
    }
    kvb_free(m);
}

/* ---- slots ---- */

typedef struct slot_shape {
    const char *name;
    int64_t rows, columns; /* columns 0: a vector of `rows` */
    bool global;
} slot_shape;

static slot_shape shape_of(const kvb_model_desc *d, int32_t slot) {
    int64_t q = (int64_t)d->heads * d->head_dim, kv = (int64_t)d->kv_heads * d->head_dim;
    switch (slot) {
    case KVB_W_EMBED:
        return (slot_shape){"token embedding", d->vocab, d->hidden, true};
    case KVB_W_FINAL_NORM:
        return (slot_shape){"final norm", d->hidden, 0, true};
    case KVB_W_LM_HEAD:
        return (slot_shape){"LM head", d->vocab, d->hidden, true};
    case KVB_W_ATTN_NORM:
        return (slot_shape){"attention norm", d->hidden, 0, false};
    case KVB_W_Q:
        return (slot_shape){"q", q, d->hidden, false};
    case KVB_W_K:
        return (slot_shape){"k", kv, d->hidden, false};
    case KVB_W_V:
        return (slot_shape){"v", kv, d->hidden, false};
    case KVB_W_O:
        return (slot_shape){"o", d->hidden, q, false};
    case KVB_W_Q_BIAS:
        return (slot_shape){"q bias", q, 0, false};
    case KVB_W_K_BIAS:
        return (slot_shape){"k bias", kv, 0, false};
    case KVB_W_V_BIAS:
        return (slot_shape){"v bias", kv, 0, false};
    case KVB_W_Q_NORM:
        return (slot_shape){"q norm", d->head_dim, 0, false};
    case KVB_W_K_NORM:
        return (slot_shape){"k norm", d->head_dim, 0, false};
    case KVB_W_FFN_NORM:
        return (slot_shape){"feed-forward norm", d->hidden, 0, false};
    case KVB_W_POST_ATTN_NORM:
        return (slot_shape){"norm after attention", d->hidden, 0, false};
    case KVB_W_POST_FFN_NORM:
        return (slot_shape){"norm after feed-forward", d->hidden, 0, false};
    case KVB_W_GATE:
        return (slot_shape){"gate", d->ffn, d->hidden, false};
    case KVB_W_UP:
        return (slot_shape){"up", d->ffn, d->hidden, false};
    case KVB_W_DOWN:
        return (slot_shape){"down", d->hidden, d->ffn, false};
    default:
        return (slot_shape){NULL, 0, 0, false};
    }
}

static bool slot_used(const kvb_model_desc *d, int32_t slot) {
    switch (slot) {
    case KVB_W_LM_HEAD:
        return !d->tied_embeddings;
    case KVB_W_Q_BIAS:
    case KVB_W_K_BIAS:
    case KVB_W_V_BIAS:
        return d->qkv_bias;
    case KVB_W_Q_NORM:
    case KVB_W_K_NORM:
        return d->qk_norm;
    case KVB_W_POST_ATTN_NORM:
    case KVB_W_POST_FFN_NORM:
        return d->post_norms;
    default:
        return true;
    }
}

/* GGUF's row (head, j, half) back to rotate-half's (head, half, j). A bias is a matrix of one column. */
static kvb_status deinterleave(float *w, int64_t rows, int64_t columns, int32_t head_dim) {
    float *copy = kvb_alloc_raw(kvb_mul_size(kvb_size(kvb_mul64(rows, columns)), sizeof *copy), KVB_MEM_SCRATCH);
    if (!copy) return KVB_E_MEMORY;
    memcpy(copy, w, (size_t)(rows * columns) * sizeof *copy);
    for (int64_t r = 0; r < rows; r++) {
        int64_t head = r / head_dim, i = r % head_dim, half = i / (head_dim / 2), j = i % (head_dim / 2);
        memcpy(w + r * columns, copy + (head * head_dim + 2 * j + half) * columns, (size_t)columns * sizeof *w);
    }
    kvb_free(copy);
    return KVB_OK;
}

/* Copies a part into a joint matrix at `first` and packs the whole once every part is there. */
static kvb_status join(kvb_model *m, float **plain, kvb_packed **packed, const float *part, int64_t first, int64_t rows,
                       int64_t total, bool complete) {
    int64_t columns = m->desc.hidden;
    if (!*plain) *plain = kvb_alloc_array(kvb_size(kvb_mul64(total, columns)), sizeof **plain, KVB_MEM_SCRATCH);
    if (!*plain) return KVB_E_MEMORY;
    memcpy(*plain + first * columns, part, (size_t)(rows * columns) * sizeof *part);
    if (!complete) return KVB_OK;
    KVB_TRY(m->backend->pack(*plain, (int32_t)total, (int32_t)columns, m->desc.dtype,
                             packed)); /* on failure the parts stay */
    kvb_free(*plain);
    *plain = NULL;
    return KVB_OK;
}

static kvb_status keep_vector(kvb_model *m, float **slot, const float *values, int64_t first, int64_t n,
                              int64_t total) {
    if (!*slot) {
        *slot = kvb_alloc_array((size_t)total, sizeof **slot, KVB_MEM_WEIGHTS);
        if (!*slot) return KVB_E_MEMORY;
        m->plain_bytes += total * 4;
    }
    memcpy(*slot + first, values, (size_t)n * sizeof *values);
    return KVB_OK;
}

static kvb_status keep_embedding(kvb_model *m, const float *w) {
    if (m->backend->ready) {
        if (!m->embed_rows) KVB_TRY(m->backend->pack(w, m->desc.vocab, m->desc.hidden, m->desc.dtype, &m->embed_rows));
        if (m->desc.tied_embeddings) m->head[0] = m->embed_rows;
        return KVB_OK;
    }
    int64_t n = (int64_t)m->desc.vocab * m->desc.hidden, unit = kvb_dtype_bytes(m->desc.dtype);
    if (m->embed) return KVB_OK; /* kept by an earlier call whose LM head failed */
    m->embed = kvb_alloc_raw(kvb_size(kvb_mul64(n, unit)), KVB_MEM_WEIGHTS);
    if (!m->embed) return KVB_E_MEMORY;
    m->plain_bytes += n * unit;
    if (m->desc.dtype == KVB_F32)
        memcpy(m->embed, w, (size_t)n * sizeof *w);
    else
        for (int64_t i = 0; i < n; i++) ((uint16_t *)m->embed)[i] = kvb_f32_to_bf16(w[i]);
    return KVB_OK;
}

static kvb_status pack_head(kvb_model *m, const float *w) {
    for (int32_t c = 0; c < m->head_chunks; c++) {
        int64_t first = (int64_t)c * m->head_columns, n = kvb_min64(m->head_columns, m->desc.vocab - first);
        if (!m->head[c])
            KVB_TRY(
                m->backend->pack(w + first * m->desc.hidden, (int32_t)n, m->desc.hidden, m->desc.dtype, m->head + c));
    }
    return KVB_OK;
}

static kvb_status place(kvb_model *m, int32_t slot, int32_t layer, const float *w) {
    const kvb_model_desc *d = &m->desc;
    kvb_layer *y = m->layer + layer;
    int64_t q = (int64_t)d->heads * d->head_dim, kv = (int64_t)d->kv_heads * d->head_dim;
    const uint32_t qkv = 1u << KVB_W_Q | 1u << KVB_W_K | 1u << KVB_W_V, pair = 1u << KVB_W_GATE | 1u << KVB_W_UP;
    uint32_t now = y->have | 1u << slot;
    switch (slot) {
    case KVB_W_EMBED:
        KVB_TRY(keep_embedding(m, w));
        return d->tied_embeddings ? pack_head(m, w) : KVB_OK;
    case KVB_W_LM_HEAD:
        return pack_head(m, w);
    case KVB_W_FINAL_NORM:
        return keep_vector(m, &m->final_norm, w, 0, d->hidden, d->hidden);
    case KVB_W_ATTN_NORM:
        return keep_vector(m, &y->attn_norm, w, 0, d->hidden, d->hidden);
    case KVB_W_FFN_NORM:
        return keep_vector(m, &y->ffn_norm, w, 0, d->hidden, d->hidden);
    case KVB_W_POST_ATTN_NORM:
        return keep_vector(m, &y->post_attn_norm, w, 0, d->hidden, d->hidden);
    case KVB_W_POST_FFN_NORM:
        return keep_vector(m, &y->post_ffn_norm, w, 0, d->hidden, d->hidden);
    case KVB_W_Q_NORM:
        return keep_vector(m, &y->q_norm, w, 0, d->head_dim, d->head_dim);
    case KVB_W_K_NORM:
        return keep_vector(m, &y->k_norm, w, 0, d->head_dim, d->head_dim);
    case KVB_W_Q_BIAS:
        return keep_vector(m, &y->qkv_bias, w, 0, q, q + 2 * kv);
    case KVB_W_K_BIAS:
        return keep_vector(m, &y->qkv_bias, w, q, kv, q + 2 * kv);
    case KVB_W_V_BIAS:
        return keep_vector(m, &y->qkv_bias, w, q + kv, kv, q + 2 * kv);
    case KVB_W_Q:
        return join(m, &y->qkv_plain, &y->qkv, w, 0, q, q + 2 * kv, (now & qkv) == qkv);
    case KVB_W_K:
        return join(m, &y->qkv_plain, &y->qkv, w, q, kv, q + 2 * kv, (now & qkv) == qkv);
    case KVB_W_V:
        return join(m, &y->qkv_plain, &y->qkv, w, q + kv, kv, q + 2 * kv, (now & qkv) == qkv);
    case KVB_W_GATE:
        return join(m, &y->gate_up_plain, &y->gate_up, w, 0, d->ffn, 2 * (int64_t)d->ffn, (now & pair) == pair);
    case KVB_W_UP:
        return join(m, &y->gate_up_plain, &y->gate_up, w, d->ffn, d->ffn, 2 * (int64_t)d->ffn, (now & pair) == pair);
    case KVB_W_O:
        return m->backend->pack(w, d->hidden, (int32_t)q, d->dtype, &y->o);
    default:
        return m->backend->pack(w, d->hidden, d->ffn, d->dtype, &y->down);
    }
}

kvb_status kvb_model_load(kvb_model *m, int32_t slot, int32_t layer, const kvb_weights *w, int32_t index,
                          int32_t changes) {
    slot_shape s = shape_of(&m->desc, slot);
    kvb_weight_info info;
    if (!s.name || !slot_used(&m->desc, slot))
        return kvb_fail(KVB_E_ARG, "model: weight slot %d is not part of this model", slot);
    if (layer < 0 || layer >= m->desc.layers)
        return kvb_fail(KVB_E_ARG, "model: layer %d of %d", layer, m->desc.layers);
    uint32_t *have = s.global ? &m->have : &m->layer[layer].have;
    if (*have & 1u << slot) return kvb_fail(KVB_E_ARG, "model: %s of layer %d was loaded before", s.name, layer);
    KVB_TRY(kvb_weights_info(w, index, &info));
    bool fits = s.columns ? info.ndim == 2 && info.shape[0] == s.rows && info.shape[1] == s.columns
                          : info.ndim == 1 && info.shape[0] == s.rows;
    if (!fits) {
        kvb_fail(KVB_E_SHAPE, "tensor '%s' is [%lld%s%.0lld], the configuration asks for [%lld%s%.0lld]", info.name,
                 (long long)info.shape[0], info.ndim > 1 ? ", " : "", (long long)(info.ndim > 1 ? info.shape[1] : 0),
                 (long long)s.rows, s.columns ? ", " : "", (long long)s.columns);
        kvb_hint("-> config and weights belong to different models, or the file is damaged");
        return KVB_E_SHAPE;
    }
    int64_t count = s.rows * (s.columns ? s.columns : 1);
    float *values = kvb_alloc_raw(kvb_mul_size(kvb_size(count), sizeof *values), KVB_MEM_SCRATCH);
    if (!values) return KVB_E_MEMORY;
    kvb_status status = kvb_weights_read(w, index, values, count);
    bool rotated = slot == KVB_W_Q || slot == KVB_W_K || slot == KVB_W_Q_BIAS || slot == KVB_W_K_BIAS;
    bool norm = !s.columns && slot != KVB_W_Q_BIAS && slot != KVB_W_K_BIAS && slot != KVB_W_V_BIAS;
    for (int64_t i = 0; status == KVB_OK && changes & KVB_LOAD_PLUS_ONE && norm && i < count; i++) values[i] += 1;
    if (status == KVB_OK && changes & KVB_LOAD_INTERLEAVED && rotated)
        status = deinterleave(values, s.rows, s.columns ? s.columns : 1, m->desc.head_dim);
    if (status == KVB_OK) status = place(m, slot, layer, values);
    kvb_free(values);
    if (status == KVB_OK) {
        *have |= 1u << slot;
        m->parameters += count;
    }
    return status;
}

/* ---- ready ---- */

static const char *missing_slot(const kvb_model *m, int32_t *layer) {
    for (int32_t slot = 0; slot < KVB_W_SLOTS; slot++) {
        slot_shape s = shape_of(&m->desc, slot);
        for (*layer = 0; slot_used(&m->desc, slot) && *layer < (s.global ? 1 : m->desc.layers); ++*layer)
            if (!((s.global ? m->have : m->layer[*layer].have) & 1u << slot)) return s.name;
    }
    return NULL;
}

/* Multiplies the same rows in every bucket and compares the bits. Inputs are noise from a fixed stream. */
static kvb_status same_bits(kvb_model *m, kvb_packed *w, int32_t in, int32_t out, const float *bias, int32_t accumulate,
                            int32_t y_dtype, bool *same) {
    const int32_t most = KVB_HOST_ROWS;
    int64_t unit = kvb_dtype_bytes(m->desc.dtype), y_unit = kvb_dtype_bytes(y_dtype);
    char *x = kvb_alloc_raw(kvb_size(kvb_mul64(kvb_mul64(most, in), unit)), KVB_MEM_SCRATCH);
    float *all = kvb_alloc_array(kvb_mul_size((size_t)most, (size_t)out), sizeof *all, KVB_MEM_SCRATCH);
    float *some = kvb_alloc_array(kvb_mul_size((size_t)most, (size_t)out), sizeof *some, KVB_MEM_SCRATCH);
    kvb_status status = x && all && some ? KVB_OK : KVB_E_MEMORY;
    uint64_t state = 1;
    for (int64_t i = 0; status == KVB_OK && i < (int64_t)most * in; i++) {
        state = state * 6364136223846793005ull + 1442695040888963407ull;
        float value = (float)((double)(state >> 40) / (1 << 23) - 1.0);
        if (m->desc.dtype == KVB_BF16)
            ((uint16_t *)x)[i] = kvb_f32_to_bf16(value);
        else
            ((float *)x)[i] = value;
    }
    if (status == KVB_OK) status = m->backend->multiply(w, x, most, bias, accumulate, all, y_dtype);
    for (int32_t b = 0; status == KVB_OK && b + 1 < m->buckets; b++) {
        int32_t rows = m->bucket[b], from = most - rows; /* other positions too: the last rows become the first */
        memset(some, 0, (size_t)rows * (size_t)out * sizeof *some);
        status = m->backend->multiply(w, x + from * (int64_t)in * unit, rows, bias, accumulate, some, y_dtype);
        if (status == KVB_OK &&
            memcmp(some, (char *)all + (int64_t)from * out * y_unit, (size_t)(rows * (int64_t)out * y_unit)) != 0)
            *same = false;
    }
    kvb_free(x);
    kvb_free(all);
    kvb_free(some);
    return status;
}

/* Rows must not depend on the bucket they run in; where one product breaks that, only the largest bucket is used. */
static kvb_status prove_buckets(kvb_model *m) {
    static const int32_t sizes[] = {16, 64, 128, 192, 256, 320, 384, KVB_HOST_ROWS};
    const kvb_model_desc *d = &m->desc;
    int32_t q = d->heads * d->head_dim, kv = d->kv_heads * d->head_dim;
    memcpy(m->bucket, sizes, sizeof sizes);
    m->buckets = sizeof sizes / sizeof *sizes;
    if (d->device == KVB_DEVICE_REF) return KVB_OK; /* one scalar loop per row */
    bool same = true;
    const kvb_layer *y = m->layer;
    int32_t last = d->vocab - (m->head_chunks - 1) * m->head_columns;
    KVB_TRY(same_bits(m, y->qkv, d->hidden, q + 2 * kv, y->qkv_bias, 0, KVB_F32, &same));
    KVB_TRY(same_bits(m, y->o, q, d->hidden, NULL, 1, KVB_F32, &same));
    KVB_TRY(same_bits(m, y->gate_up, d->hidden, 2 * d->ffn, NULL, 0, d->dtype, &same));
    KVB_TRY(same_bits(m, y->down, d->ffn, d->hidden, NULL, 1, KVB_F32, &same));
    KVB_TRY(same_bits(m, m->head[m->head_chunks - 1], d->hidden, last, NULL, 0, KVB_F32, &same));
    if (m->head_chunks > 1) KVB_TRY(same_bits(m, m->head[0], d->hidden, m->head_columns, NULL, 0, KVB_F32, &same));
    if (!same) {
        m->bucket[0] = KVB_HOST_ROWS;
        m->buckets = 1;
    }
    return KVB_OK;
}

kvb_status kvb_model_ready(kvb_model *m) {
    int32_t layer;
    const char *missing = missing_slot(m, &layer);
    if (missing) return kvb_fail(KVB_E_MISSING, "model: %s of layer %d was never loaded", missing, layer);
    KVB_TRY(kvb_model_enter(m));
    KVB_TRY(kvb_model_cover(m, (int32_t)kvb_min64(m->desc.max_positions, 2048)));
    KVB_TRY(m->backend->ready ? m->backend->ready(m) : prove_buckets(m));
    m->ready = true;
    return KVB_OK;
}

int32_t kvb_model_bucket(const kvb_model *m, int32_t n) {
    for (int32_t b = 0; b < m->buckets; b++)
        if (n <= m->bucket[b]) return m->bucket[b];
    return m->step_rows;
}

int64_t kvb_model_bytes(const kvb_model *m) {
    int64_t bytes = m->plain_bytes;
    for (int32_t l = 0; l < m->desc.layers; l++) {
        kvb_packed *packed[] = {m->layer[l].qkv, m->layer[l].o, m->layer[l].gate_up, m->layer[l].down};
        for (int i = 0; i < 4; i++) bytes += packed[i] ? m->backend->pack_bytes(packed[i]) : 0;
    }
    for (int32_t c = 0; c < m->head_chunks; c++)
        bytes += m->head[c] && m->head[c] != m->embed_rows ? m->backend->pack_bytes(m->head[c]) : 0;
    if (m->embed_rows) bytes += m->backend->pack_bytes(m->embed_rows);
    return bytes;
}

int64_t kvb_model_parameters(const kvb_model *m) { return m->parameters; }
const char *kvb_model_tier(const kvb_model *m) { return m->tier; }

void kvb_model_interactive(kvb_model *m) {
    const kvb_model_desc *d = &m->desc;
    bool built = d->sliding_window == 0 && !d->post_norms && d->activation == KVB_SILU;
    m->interactive = m->backend->step_new != NULL && built;
}
const char *kvb_model_pins(const kvb_model *m) { return m->backend->pins ? m->backend->pins(m->desc.device) : ""; }

int32_t kvb_model_buckets(const kvb_model *m, int32_t *out) {
    memcpy(out, m->bucket, sizeof m->bucket);
    return m->buckets;
}

kvb_lane_kind kvb_model_lane_kind(const kvb_model *m) { return (kvb_lane_kind){m->desc.head_dim, m->desc.dtype}; }

int64_t kvb_lane_room(const kvb_model *m, int32_t capacity) {
    kvb_lane_kind kind = kvb_model_lane_kind(m);
    return kvb_round_up(m->backend->lane_bytes(&kind, capacity), m->backend->alloc ? 256 : 64);
}

int64_t kvb_model_kv_bytes(const kvb_model *m, int32_t capacity) {
    return kvb_mul64(kvb_mul64(2, kvb_lane_room(m, capacity)), (int64_t)m->desc.layers * m->desc.kv_heads);
}

void kvb_model_carve_lanes(const kvb_model *m, kvb_lane *lane, char *memory, int32_t capacity) {
    int64_t room = kvb_lane_room(m, capacity);
    for (int32_t i = 0; i < m->desc.layers * m->desc.kv_heads; i++, memory += 2 * room)
        lane[i] = (kvb_lane){memory, memory + room, capacity, 0};
}

kvb_status kvb_model_check_ids(const kvb_model *m, const int32_t *ids, int32_t n) {
    for (int32_t i = 0; i < n; i++)
        if (ids[i] < 0 || ids[i] >= m->desc.vocab)
            return kvb_fail(KVB_E_ARG, "token id %d at position %d is outside the vocabulary of %d", ids[i], i,
                            m->desc.vocab);
    return KVB_OK;
}
