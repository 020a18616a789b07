/* SPDX-License-Identifier: Apache-2.0 */
/*
 * look.c - observed attention, spelled out: softmax over the visible keys in double, then what is asked of it.
 *
 * top is the context token of the largest logit (the earliest on ties), mass the weights summed by class of token, own
 * tokens last. recall is the share of the weight on the context that a keep-set would keep; error is |o_a - o| / |o|
 * with o the head's output and o_a the same softmax over what is kept and the row's own tokens.
 */
#include "look.h"
#include <math.h>

/* One head's keys: prefix tokens, then own ones. */
typedef struct head {
    int32_t prefix_n, n, dim, kv_head;
    double *logit, *weight; /* [n]; -inf and 0 where a key is not visible */
    float *key, *value;     /* [n][dim] */
} head;

static bool visible(const kvb_attn_row *row, const head *h, int32_t j) {
    bool prefix = j < h->prefix_n;
    int32_t k = prefix ? j : j - h->prefix_n;
    return kvb_look_word(row, k / KVB_TILE, h->kv_head, prefix) >> k % KVB_TILE & 1;
}

static void read_keys(const kvb_backend *b, const kvb_lane_kind *kind, const kvb_attn_row *row, head *h) {
    for (int32_t j = 0; j < h->n; j++) {
        bool prefix = j < h->prefix_n;
        const kvb_lane *lane = (prefix ? row->prefix : row->own) + h->kv_head;
        b->lane_get(kind, lane, prefix ? j : j - h->prefix_n, h->key + (int64_t)j * h->dim,
                    h->value + (int64_t)j * h->dim);
    }
}

static void weigh(const kvb_lane_kind *kind, const kvb_attn_row *row, const float *q, double scale, head *h) {
    double largest = -INFINITY, sum = 0;
    for (int32_t j = 0; j < h->n; j++) {
        double dot = 0;
        for (int32_t i = 0; i < h->dim; i++) {
            float x = kind->dtype == KVB_BF16 ? kvb_bf16_to_f32(kvb_f32_to_bf16(q[i])) : q[i];
            dot += (double)x * h->key[(int64_t)j * h->dim + i];
        }
        h->logit[j] = visible(row, h, j) ? scale * dot : -INFINITY;
        largest = fmax(largest, h->logit[j]);
    }
    for (int32_t j = 0; j < h->n; j++) sum += h->weight[j] = exp(h->logit[j] - largest);
    for (int32_t j = 0; j < h->n; j++) h->weight[j] /= sum;
}

static bool has(const uint64_t *words, int32_t t) { return words[t / 64] >> t % 64 & 1; }

static void look_attention(const kvb_look *look, const head *h, int32_t at) {
    const kvb_trace *t = look->trace;
    int32_t classes = t->watch.n_classes;
    double best = -INFINITY, best_within = -INFINITY, mass[KVB_MAX_CLASSES + 1] = {0};
    look->top[at] = look->top_within[at] = -1;
    for (int32_t j = 0; j < h->prefix_n; j++) {
        if (h->logit[j] > best) best = h->logit[j], look->top[at] = j;
        if (h->logit[j] > best_within && has(t->class_words + (int64_t)classes * t->words, j))
            best_within = h->logit[j], look->top_within[at] = j;
        for (int32_t c = 0; c < classes; c++)
            if (has(t->class_words + (int64_t)c * t->words, j)) mass[c] += h->weight[j];
    }
    for (int32_t j = h->prefix_n; j < h->n; j++) mass[classes] += h->weight[j];
    for (int32_t c = 0; c <= classes; c++) look->mass[(int64_t)at * (classes + 1) + c] = (float)mass[c];
}

/* o [dim] = sum of weight v over what is kept and the own keys, over their weight; NULL keeps everything. Returns the
 * kept weight on the context. */
static double output(const head *h, const uint64_t *kept, double *o) {
    double sum = 0, context = 0;
    memset(o, 0, (size_t)h->dim * sizeof *o);
    for (int32_t j = 0; j < h->n; j++) {
        if (j < h->prefix_n && kept && !has(kept, j)) continue;
        sum += h->weight[j];
        context += j < h->prefix_n ? h->weight[j] : 0;
        for (int32_t i = 0; i < h->dim; i++) o[i] += h->weight[j] * h->value[(int64_t)j * h->dim + i];
    }
    for (int32_t i = 0; i < h->dim; i++) o[i] = sum > 0 ? o[i] / sum : 0;
    return context;
}

static void look_keeps(const kvb_look *look, const head *h, int32_t at, int64_t stride, double *o) {
    double all = output(h, NULL, o), norm = 0;
    for (int32_t i = 0; i < h->dim; i++) norm += o[i] * o[i];
    for (int32_t k = 0; k < look->trace->watch.n_keeps; k++) {
        double kept = output(h, kvb_keep_row(look->trace->keep[k], look->layer, h->kv_head), o + h->dim), apart = 0;
        for (int32_t i = 0; i < h->dim; i++) apart += (o[h->dim + i] - o[i]) * (o[h->dim + i] - o[i]);
        look->recall[k * stride + at] = all > 0 ? (float)(kept / all) : 1;
        look->error[k * stride + at] = norm > 0 ? (float)sqrt(apart / norm) : 0;
    }
}

static void look_head(const kvb_lane_kind *kind, const kvb_attn_row *row, const kvb_look *look, head *h, int32_t at,
                      int64_t stride, const float *q, double scale, double *o) {
    weigh(kind, row, q, scale, h);
    if (look->top) look_attention(look, h, at);
    for (int32_t j = 0; look->weights && j < h->n; j++) {
        int32_t to = j < h->prefix_n ? j : look->trace->tokens + j - h->prefix_n;
        look->weights[(int64_t)at * look->trace->width + to] = (float)h->weight[j];
    }
    if (look->recall) look_keeps(look, h, at, stride, o);
}

kvb_status kvb_look_reference(const kvb_backend *b, const kvb_lane_kind *kind, const kvb_attn_row *row,
                              const kvb_look *look, int32_t n, int32_t heads, int32_t kv_heads, const float *q,
                              double scale) {
    int32_t dim = kind->head_dim, group = heads / kv_heads;
    for (int32_t i = 0; i < n; i++) {
        const kvb_attn_row *r = row + look[i].row;
        head h = {.prefix_n = look[i].trace->tokens, .n = look[i].trace->tokens + r->own_n, .dim = dim};
        const size_t keys = kvb_size(h.n), wide = kvb_size(dim);
        const size_t numbers = kvb_mul_size(2, kvb_add_size(keys, wide)),
                     parts = kvb_mul_size(2, kvb_mul_size(keys, wide));
        double *memory = kvb_alloc_array(numbers, sizeof *memory, KVB_MEM_SCRATCH);
        h.key = kvb_alloc_array(parts, sizeof *h.key, KVB_MEM_SCRATCH);
        if (memory && h.key) {
            h.logit = memory;
            h.weight = memory + h.n;
            h.value = h.key + (int64_t)h.n * dim;
            for (int32_t at = 0; at < heads; at++) {
                h.kv_head = at / group;
                if (at % group == 0) read_keys(b, kind, r, &h);
                look_head(kind, r, look + i, &h, at, (int64_t)look[i].trace->m->desc.layers * heads,
                          q + ((int64_t)look[i].row * heads + at) * dim, scale, memory + 2 * h.n);
            }
        }
        bool ok = memory && h.key;
        kvb_free(memory);
        kvb_free(h.key);
        if (!ok) return KVB_E_MEMORY;
    }
    return KVB_OK;
}
