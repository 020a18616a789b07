/* SPDX-License-Identifier: Apache-2.0 */
/*
 * step.c - one packed step on the host: up to 512 rows (tokens) of any sequences through the whole decoder.
 *
 * Prefill, appended questions and decoding are the same thing here: rows that know where their key goes and which keys
 * they see. Rows are padded to a bucket proven row-independent, so a row's bits depend neither on its neighbours nor on
 * their number; that is what lets thousands of conditions share a step and still equal a run of their own, bit for bit.
 * Rejected: separate prefill and decode paths (two sets of bits to keep equal).
 */
#include "look.h"
#include <math.h>

struct kvb_step {
    kvb_model *m; /* first in every backend's own struct */
    float *x;      /* [512][hidden] residual stream */
    float *branch; /* [512][hidden] what a block adds to it, where that is normalised first */
    void *normed;  /* [512][hidden] in the model's dtype */
    float *qkv;    /* [512][(heads + 2 kv_heads) head_dim] */
    float *q;      /* [512][heads][head_dim] after RoPE */
    void *mixed;   /* [512][heads head_dim] attention output, model's dtype */
    void *gate_up; /* [512][2 ffn], model's dtype */
    void *act;     /* [512][ffn], model's dtype */
    float *logits; /* [512][KVB_HEAD_COLUMNS] */
    kvb_attn_row *attn;
    kvb_look *look; /* rows whose attention is observed */
    bool traced;    /* any row of this step has a trace */
    int32_t *from; /* [512][kv_heads] where each row's window begins in its prefix */
    int32_t *chosen; /* rows that need logits */
    float *best, *second;
    int32_t *best_id;
};

void kvb_host_step_free(kvb_step *s) {
    if (!s) return;
    void *owned[] = {s->branch, s->from,   s->x,    s->normed, s->qkv,    s->q,    s->mixed,  s->gate_up, s->act,
                     s->logits, s->attn,   s->look,   s->chosen, s->best, s->second, s->best_id};
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++) kvb_free(owned[i]);
    kvb_free(s);
}

kvb_status kvb_host_step_new(kvb_model *m, kvb_step **out) {
    const kvb_model_desc *d = &m->desc;
    size_t rows = KVB_HOST_ROWS, unit = (size_t)kvb_dtype_bytes(d->dtype), q = (size_t)(d->heads * d->head_dim);
    kvb_step *s = kvb_alloc(sizeof *s, KVB_MEM_SCRATCH);
    if (!s) return KVB_E_MEMORY;
    s->m = m;
    bool ok = true;
#define TAKE(field, count, size) ok = ok && (s->field = kvb_alloc(kvb_mul_size(count, size), KVB_MEM_SCRATCH))
    TAKE(x, rows * (size_t)d->hidden, sizeof(float));
    TAKE(branch, rows * (d->post_norms ? (size_t)d->hidden : 0), sizeof(float));
    TAKE(from, rows * (d->sliding_window ? (size_t)d->kv_heads : 0), sizeof *s->from);
    TAKE(normed, rows * (size_t)d->hidden, unit);
    TAKE(qkv, rows * (q + 2 * (size_t)(d->kv_heads * d->head_dim)), sizeof(float));
    TAKE(q, rows * q, sizeof(float));
    TAKE(mixed, rows * q, unit);
    TAKE(gate_up, rows * 2 * (size_t)d->ffn, unit);
    TAKE(act, rows * (size_t)d->ffn, unit);
    TAKE(logits, rows * KVB_HEAD_COLUMNS, sizeof(float));
    TAKE(attn, rows, sizeof *s->attn);
    TAKE(look, rows, sizeof *s->look);
    TAKE(chosen, rows, sizeof *s->chosen);
    TAKE(best, rows, sizeof *s->best);
    TAKE(second, rows, sizeof *s->second);
    TAKE(best_id, rows, sizeof *s->best_id);
#undef TAKE
    if (!ok) {
        kvb_host_step_free(s);
        return KVB_E_MEMORY;
    }
    *out = s;
    return KVB_OK;
}

static void embed(const kvb_step *s, const kvb_row *row, int32_t n) {
    const kvb_model_desc *d = &s->m->desc;
    for (int32_t r = 0; r < n; r++) {
        float *x = s->x + (int64_t)r * d->hidden;
        int64_t at = (int64_t)row[r].id * d->hidden;
        if (d->dtype == KVB_F32)
            memcpy(x, (const float *)s->m->embed + at, (size_t)d->hidden * sizeof *x);
        else
            for (int32_t i = 0; i < d->hidden; i++) x[i] = kvb_bf16_to_f32(((const uint16_t *)s->m->embed)[at + i]);
        if (d->embedding_scale > 0)
            for (int32_t i = 0; i < d->hidden; i++) x[i] *= (float)d->embedding_scale;
    }
}

/* Where the window of a row that stands at `position` begins among a context's keys. */
static int32_t window_begin(const kvb_ctx *c, int32_t lane, int32_t position, int32_t window) {
    int32_t first = position - window + 1, low = 0, high = c->lane[lane].n;
    if (!c->ragged) return first > 0 ? first < high ? first : high : 0;
    const int32_t *at = c->positions + c->position_at[lane];
    while (low < high) {
        int32_t middle = low + (high - low) / 2;
        if (at[middle] < first) low = middle + 1;
        else high = middle;
    }
    return low;
}

static void observe_hidden(const kvb_step *s, const kvb_row *row, int32_t n, int32_t level) {
    size_t bytes = (size_t)s->m->desc.hidden * sizeof(float);
    for (int32_t r = 0; r < n; r++) {
        kvb_ctx *c = row[r].observer;
        if (c && c->hidden)
            memcpy(c->hidden + ((int64_t)level * c->tokens + row[r].index) * s->m->desc.hidden,
                   s->x + (int64_t)r * s->m->desc.hidden, bytes);
    }
}

/* Patches what enters a level, then records it. */
static void trace_level(const kvb_step *s, const kvb_row *row, int32_t n, int32_t level) {
    size_t bytes = (size_t)s->m->desc.hidden * sizeof(float);
    for (int32_t r = 0; r < n; r++) {
        if (!row[r].trace) continue;
        float *x = s->x + (int64_t)r * s->m->desc.hidden, *place = kvb_trace_place(row[r].trace, level, row[r].index);
        const float *patch = kvb_trace_patch(row[r].trace, level, row[r].index);
        if (patch) memcpy(x, patch, bytes);
        if (place) memcpy(place, x, bytes);
    }
}

static bool any_trace(const kvb_row *row, int32_t n) {
    for (int32_t r = 0; r < n; r++)
        if (row[r].trace) return true;
    return false;
}

/* RMSNorm over head_dim of every head of one row, in place. */
static kvb_status norm_heads(kvb_model *m, float *x, int32_t heads, const float *w) {
    kvb_tensor t = kvb_view2(x, KVB_F32, heads, m->desc.head_dim),
               weight = kvb_view1((void *)w, KVB_F32, m->desc.head_dim);
    return kvb_op_rmsnorm(m->desc.device, &t, &weight, &t, m->desc.norm_eps);
}

/* Splits qkv, normalises and rotates, stores keys and values, and notes what each row will attend to. */
static kvb_status place_row(kvb_step *s, const kvb_row *row, int32_t r, int32_t layer) {
    kvb_model *m = s->m;
    const kvb_model_desc *d = &m->desc;
    const int64_t q_size = (int64_t)d->heads * d->head_dim, kv_size = (int64_t)d->kv_heads * d->head_dim;
    const kvb_lane_kind kind = kvb_model_lane_kind(m);
    const bool slides = kvb_model_slides(m, layer);
    const float *cosine = m->rope_cos[slides] + (int64_t)row->position * (d->head_dim / 2),
                *sine = m->rope_sin[slides] + (int64_t)row->position * (d->head_dim / 2);
    float *qkv = s->qkv + r * (q_size + 2 * kv_size), *k = qkv + q_size, *v = k + kv_size, *q = s->q + r * q_size;
    if (d->qk_norm) {
        KVB_TRY(norm_heads(m, qkv, d->heads, m->layer[layer].q_norm));
        KVB_TRY(norm_heads(m, k, d->kv_heads, m->layer[layer].k_norm));
    }
    kvb_ctx *c = row->observer;
    int32_t slot = c && c->queries ? row->index - (c->tokens - c->window) : -1;
    if (slot >= 0)
        for (int32_t h = 0; h < d->heads; h++)
            memcpy(c->queries + (((int64_t)layer * d->heads + h) * c->window + slot) * d->head_dim,
                   qkv + (int64_t)h * d->head_dim, (size_t)d->head_dim * sizeof *qkv);
    memcpy(q, qkv, (size_t)q_size * sizeof *q);
    m->backend->rotate(q, d->heads, d->head_dim, cosine, sine);
    if (row->trace && row->trace->temperature) /* on the query: every kernel then scales its logits alike */
        for (int64_t i = 0; i < q_size; i++) q[i] *= row->trace->temperature[layer];
    m->backend->rotate(k, d->kv_heads, d->head_dim, cosine, sine);
    kvb_lane *own = row->own + (int64_t)layer * d->kv_heads;
    for (int32_t h = 0; h < d->kv_heads; h++)
        m->backend->lane_put(&kind, own + h, row->index, k + (int64_t)h * d->head_dim, v + (int64_t)h * d->head_dim);
    s->attn[r] = (kvb_attn_row){
        .prefix = row->prefix ? row->prefix->lane + (int64_t)layer * d->kv_heads : NULL,
        .mask = row->keep ? kvb_keep_row(row->keep, layer, 0) : NULL,
        .words = row->keep ? row->keep->words : 0,
        .own = own,
        .own_mask = row->own_keep ? kvb_keep_row(row->own_keep, layer, 0) : NULL,
        .own_words = row->own_keep ? row->own_keep->words : 0,
        .own_n = row->index + 1,
    };
    if (!slides) return KVB_OK;
    int32_t *from = s->from + (int64_t)r * d->kv_heads, window = d->sliding_window;
    for (int32_t h = 0; row->prefix && h < d->kv_heads; h++)
        from[h] = window_begin(row->prefix, layer * d->kv_heads + h, row->position, window);
    s->attn[r].prefix_from = row->prefix ? from : NULL;
    s->attn[r].own_from = row->index - window + 1 > 0 ? row->index - window + 1 : 0;
    return KVB_OK;
}

static void fetch_row(const kvb_model *m, const kvb_row *row, int32_t layer) {
    const kvb_lane_kind kind = kvb_model_lane_kind(m);
    const kvb_lane *own = row->own + (int64_t)layer * m->desc.kv_heads;
    for (int32_t h = 0; m->backend->lane_fetch && h < m->desc.kv_heads; h++)
        m->backend->lane_fetch(&kind, own + h, row->index);
}

/* Notes which rows are observed in this layer; returns how many. */
static int32_t find_looks(kvb_step *s, const kvb_row *row, int32_t n, int32_t layer) {
    int32_t looks = 0;
    for (int32_t r = 0; r < n; r++) {
        if (!row[r].trace || !kvb_look_at(row[r].trace, layer, row[r].index, s->look + looks)) continue;
        s->look[looks].row = r;
        s->attn[r].look = s->look + looks++;
    }
    return looks;
}

/* What attention has not observed itself of the n looks of this layer. */
static kvb_status look(kvb_step *s, int32_t n, double scale) {
    const kvb_model_desc *d = &s->m->desc;
    const kvb_backend *b = s->m->backend;
    const kvb_lane_kind kind = kvb_model_lane_kind(s->m);
    const bool seen = b->attend_observes && b->attend_observes(&kind);
    int32_t looks = 0;
    for (int32_t i = 0; i < n; i++) {
        kvb_look o = s->look[i];
        if (seen) o.top = o.top_within = NULL, o.mass = NULL;
        if (o.top || o.weights || o.recall) s->look[looks++] = o;
    }
    if (looks == 0) return KVB_OK;
    if (b->look) return b->look(&kind, s->attn, s->look, looks, d->heads, d->kv_heads, s->q, scale);
    return kvb_look_reference(b, &kind, s->attn, s->look, looks, d->heads, d->kv_heads, s->q, scale);
}

static kvb_status attention(kvb_step *s, const kvb_row *row, int32_t n, int32_t layer) {
    kvb_model *m = s->m;
    const kvb_model_desc *d = &m->desc;
    int32_t failed = 0;
#pragma omp parallel for schedule(static) num_threads(kvb_threads()) if (n > 16)
    for (int32_t r = 0; r < n; r++) {
        if (r + 1 < n) fetch_row(m, row + r + 1, layer);
        if (place_row(s, row + r, r, layer) == KVB_OK) continue;
#pragma omp atomic write
        failed = 1;
    }
    if (failed) return kvb_fail(KVB_E_INTERNAL, "step: a row of layer %d could not be placed", layer);
    kvb_lane_kind kind = kvb_model_lane_kind(m);
    kvb_tensor mixed = kvb_view2(s->mixed, d->dtype, n, (int64_t)d->heads * d->head_dim);
    const double scale = kvb_model_query_scale(m);
    const int32_t looks = s->traced ? find_looks(s, row, n, layer) : 0;
    KVB_TRY(m->backend->attend(&kind, s->attn, n, d->heads, d->kv_heads, s->q, scale, &mixed));
    return looks ? look(s, looks, scale) : KVB_OK;
}

static kvb_status normalise(kvb_step *s, const float *w, int32_t n) {
    const kvb_model_desc *d = &s->m->desc;
    kvb_tensor x = kvb_view2(s->x, KVB_F32, n, d->hidden), y = kvb_view2(s->normed, d->dtype, n, d->hidden);
    kvb_tensor weight = kvb_view1((void *)w, KVB_F32, d->hidden);
    return kvb_op_rmsnorm(d->device, &x, &weight, &y, d->norm_eps);
}

/* x += the norm of what a block wrote beside it. */
static kvb_status add_normed(kvb_step *s, const float *w, int32_t n) {
    const kvb_model_desc *d = &s->m->desc;
    kvb_tensor x = kvb_view2(s->x, KVB_F32, n, d->hidden), y = kvb_view2(s->branch, KVB_F32, n, d->hidden);
    kvb_tensor weight = kvb_view1((void *)w, KVB_F32, d->hidden);
    KVB_TRY(kvb_op_rmsnorm(d->device, &y, &weight, &y, d->norm_eps));
    return kvb_op_binary(d->device, &x, &y, &x, 0);
}

/* x += the gated feed-forward of its norm, or that beside x; in one call where the backend has it. */
static kvb_status feed_forward(kvb_step *s, const kvb_layer *y, int32_t n, int32_t rows) {
    const kvb_model_desc *d = &s->m->desc;
    const kvb_backend *b = s->m->backend;
    float *beside = d->post_norms ? s->branch : NULL;
    if (b->feed_forward && d->dtype == KVB_BF16 && d->ffn % 32 == 0)
        return b->feed_forward(y->gate_up, y->down, s->x, n, y->ffn_norm, d->norm_eps, d->activation, beside);
    KVB_TRY(normalise(s, y->ffn_norm, n));
    KVB_TRY(b->multiply(y->gate_up, s->normed, rows, NULL, 0, s->gate_up, d->dtype));
    kvb_tensor gate_up = kvb_view2(s->gate_up, d->dtype, n, 2 * (int64_t)d->ffn),
               act = kvb_view2(s->act, d->dtype, n, d->ffn);
    KVB_TRY(d->activation == KVB_GELU ? kvb_op_gelu_mul(d->device, &gate_up, &act)
                                      : kvb_op_silu_mul(d->device, &gate_up, &act));
    return b->multiply(y->down, s->act, rows, NULL, !beside, beside ? beside : s->x, KVB_F32);
}

static kvb_status block(kvb_step *s, const kvb_row *row, int32_t n, int32_t rows, int32_t layer) {
    const kvb_model_desc *d = &s->m->desc;
    const kvb_layer *y = s->m->layer + layer;
    const kvb_backend *b = s->m->backend;
    if (b->normed_multiply && d->dtype == KVB_BF16)
        KVB_TRY(b->normed_multiply(y->qkv, s->x, n, y->attn_norm, d->norm_eps, y->qkv_bias, s->qkv));
    else {
        KVB_TRY(normalise(s, y->attn_norm, n));
        KVB_TRY(b->multiply(y->qkv, s->normed, rows, y->qkv_bias, 0, s->qkv, KVB_F32));
    }
    KVB_TRY(attention(s, row, n, layer));
    KVB_TRY(b->multiply(y->o, s->mixed, rows, NULL, !d->post_norms, d->post_norms ? s->branch : s->x, KVB_F32));
    if (d->post_norms) KVB_TRY(add_normed(s, y->post_attn_norm, n));
    KVB_TRY(feed_forward(s, y, n, rows));
    return d->post_norms ? add_normed(s, y->post_ffn_norm, n) : KVB_OK;
}

/* Folds one row's chunk of logits into its best and second best; NaN never wins, so broken weights give token 0, not a
 * crash. */
static kvb_status fold_best(kvb_step *s, int32_t n, int32_t first, int32_t columns) {
    kvb_tensor x = kvb_view2(s->logits, KVB_F32, n, columns);
    int32_t index[KVB_HOST_ROWS];
    float margin[KVB_HOST_ROWS];
    kvb_tensor index_view = kvb_view1(index, KVB_I32, n), margin_view = kvb_view1(margin, KVB_F32, n);
    KVB_TRY(kvb_op_argmax_margin(s->m->desc.device, &x, &index_view, &margin_view));
    for (int32_t i = 0; i < n; i++) {
        float top = s->logits[(int64_t)i * columns + index[i]], next = top - margin[i];
        if (top > s->best[i]) {
            s->second[i] = s->best[i] > next ? s->best[i] : next;
            s->best[i] = top;
            s->best_id[i] = first + index[i];
        } else if (top > s->second[i])
            s->second[i] = top;
    }
    return KVB_OK;
}

/* Logits of the chosen rows chunk by chunk, so that they stay in the caches; handed to those who asked for them. */
static kvb_status head_in_chunks(kvb_step *s, const kvb_row *row, int32_t chosen) {
    kvb_model *m = s->m;
    int32_t rows = kvb_model_bucket(m, chosen);
    for (int32_t i = 0; i < chosen; i++) s->best[i] = s->second[i] = -INFINITY, s->best_id[i] = 0;
    for (int32_t c = 0; c < m->head_chunks; c++) {
        int32_t first = c * KVB_HEAD_COLUMNS, columns = (int32_t)kvb_min64(KVB_HEAD_COLUMNS, m->desc.vocab - first);
        KVB_TRY(m->backend->multiply(m->head[c], s->normed, rows, NULL, 0, s->logits, KVB_F32));
        KVB_TRY(fold_best(s, chosen, first, columns));
        for (int32_t i = 0; i < chosen; i++)
            if (row[s->chosen[i]].logits)
                memcpy(row[s->chosen[i]].logits + first, s->logits + (int64_t)i * columns,
                       (size_t)columns * sizeof(float));
    }
    return KVB_OK;
}

/* LM head, after the final norm, for the rows that asked. */
static kvb_status head(kvb_step *s, const kvb_row *row, int32_t n) {
    kvb_model *m = s->m;
    const kvb_model_desc *d = &m->desc;
    int32_t chosen = 0, logits = 0;
    for (int32_t r = 0; r < n; r++) {
        if (row[r].logits || row[r].best) s->chosen[chosen++] = r;
        logits += row[r].logits != NULL;
    }
    if (chosen == 0) return KVB_OK;
    size_t row_bytes = (size_t)d->hidden * (size_t)kvb_dtype_bytes(d->dtype);
    for (int32_t i = 0; i < chosen; i++)
        memmove((char *)s->normed + (size_t)i * row_bytes, (char *)s->normed + (size_t)s->chosen[i] * row_bytes,
                row_bytes);
    if (m->backend->best && d->dtype == KVB_BF16 && logits == 0)
        KVB_TRY(m->backend->best(m->head, m->head_chunks, s->normed, chosen, s->best, s->second, s->best_id));
    else
        KVB_TRY(head_in_chunks(s, row, chosen));
    for (int32_t i = 0; i < chosen; i++) {
        const kvb_row *asked = row + s->chosen[i];
        if (asked->best) *asked->best = s->best_id[i];
        if (asked->margin) *asked->margin = s->best[i] - s->second[i];
    }
    return KVB_OK;
}

/* The last level of `hidden` is after the final norm, in f32 whatever the model's dtype. */
static kvb_status observe_final(kvb_step *s, const kvb_row *row, int32_t n) {
    const kvb_model_desc *d = &s->m->desc;
    kvb_tensor weight = kvb_view1(s->m->final_norm, KVB_F32, d->hidden);
    for (int32_t r = 0; r < n; r++) {
        kvb_ctx *c = row[r].observer;
        if (!c || !c->hidden) continue;
        kvb_tensor x = kvb_view2(s->x + (int64_t)r * d->hidden, KVB_F32, 1, d->hidden);
        kvb_tensor y =
            kvb_view2(c->hidden + ((int64_t)d->layers * c->tokens + row[r].index) * d->hidden, KVB_F32, 1, d->hidden);
        KVB_TRY(kvb_op_rmsnorm(d->device, &x, &weight, &y, d->norm_eps));
    }
    return KVB_OK;
}

kvb_status kvb_host_step_submit(kvb_step *s, const kvb_row *row, int32_t n) {
    int32_t rows = kvb_model_bucket(s->m, n), layers = s->m->desc.layers;
    s->traced = any_trace(row, n);
    embed(s, row, n);
    for (int32_t l = 0; l < layers; l++) {
        if (kvb_cancelled()) return kvb_fail(KVB_E_CANCELLED, "interrupted");
        if (s->traced) trace_level(s, row, n, l);
        observe_hidden(s, row, n, l);
        KVB_TRY(block(s, row, n, rows, l));
    }
    if (s->traced) trace_level(s, row, n, layers);
    KVB_TRY(observe_final(s, row, n));
    KVB_TRY(normalise(s, s->m->final_norm, n));
    return head(s, row, n);
}
