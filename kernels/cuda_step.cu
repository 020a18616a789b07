/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cuda_step.cu - one packed step on the device: up to 8,192 rows of any sequences through the whole decoder.
 *
 * The same arithmetic as core/step.c (f32 residual stream, rounding where the host rounds), as launches on one stream.
 * Submitting never waits: a row whose token the host does not know yet reads it from its sequence's token slot. The
 * host packs the next step meanwhile, and one small copy brings the tokens back. Rejected: CUDA graphs for large steps
 * (290 launches hide behind 100 ms of products).
 */
#include "attention_lone.h"
#include "cuda_gemv.h"
#include "cuda_profile.h"
#include "cuda_resident.h"
#include "cuda_rows.h"
#include "cuda_trace.h"
#include <algorithm>
#include <math.h>

enum { FLIGHTS = 2 };

/* What one step takes along in pinned memory, and what of it the host wants back. */
struct cargo {
    kvb_cuda_row *rows;
    kvb_cuda_seq *seqs;
    kvb_cuda_item *items;
    kvb_cuda_observer *observers;
    int32_t *chosen, *slot; /* rows that need logits; the token slots of their sequences */
    int32_t *best;          /* [chosen], come back */
    float *margin;
    int32_t **best_to; /* where the host wants them */
    float **margin_to;
    int32_t n_rows, n_seqs, n_items, n_chosen, splits;
    bool observed;
    cudaEvent_t back;
};

struct kvb_step {
    kvb_model *m; /* first in every backend's own struct */
    cargo flight[FLIGHTS];
    int32_t first, under_way;
    /* device */
    float *x, *qkv, *logits, *branch; /* branch: what a block adds, where that is normalised first */
    void *normed, *q, *mixed, *gate_up, *act;
    kvb_cuda_row *rows;
    kvb_cuda_seq *seqs;
    kvb_cuda_item *items;
    kvb_cuda_observer *observers;
    int32_t *chosen, *slot, *best, *tokens;
    float *margin;
    float *parts; /* of attention; gate_up's memory, which waits for its turn then */
    int64_t part_floats;
    kvb_cuda_traces traces;
};

void kvb_cuda_step_free(kvb_step *s) {
    if (!s || kvb_model_enter(s->m) != KVB_OK) return;
    cudaStreamSynchronize(kvb_cuda_stream());
    void *device[] = {s->x,     s->qkv,  s->logits, s->normed,    s->q,      s->mixed, s->gate_up, s->act,
                      s->rows,  s->seqs, s->items,  s->observers, s->chosen, s->slot,  s->best,    s->tokens,
                      s->margin, s->branch};
    for (void *p : device) kvb_cuda_free(p);
    kvb_cuda_traces_free(&s->traces);
    for (cargo &f : s->flight) {
        void *pinned[] = {f.rows, f.seqs, f.items, f.observers, f.chosen, f.slot, f.best, f.margin};
        for (void *p : pinned) cudaFreeHost(p);
        kvb_free(f.best_to);
        kvb_free(f.margin_to);
        if (f.back) cudaEventDestroy(f.back);
    }
    kvb_free(s);
}

static kvb_status make_cargo(cargo *f, size_t rows) {
    KVB_CUDA_TRY(cudaMallocHost(&f->rows, rows * sizeof *f->rows));
    KVB_CUDA_TRY(cudaMallocHost(&f->seqs, rows * sizeof *f->seqs));
    KVB_CUDA_TRY(cudaMallocHost(&f->items, rows * sizeof *f->items));
    KVB_CUDA_TRY(cudaMallocHost(&f->observers, rows * sizeof *f->observers));
    KVB_CUDA_TRY(cudaMallocHost(&f->chosen, rows * sizeof *f->chosen));
    KVB_CUDA_TRY(cudaMallocHost(&f->slot, rows * sizeof *f->slot));
    KVB_CUDA_TRY(cudaMallocHost(&f->best, rows * sizeof *f->best));
    KVB_CUDA_TRY(cudaMallocHost(&f->margin, rows * sizeof *f->margin));
    KVB_CUDA_TRY(cudaEventCreateWithFlags(&f->back, cudaEventDisableTiming));
    f->best_to = (int32_t **)kvb_alloc_array(rows, sizeof *f->best_to, KVB_MEM_SCRATCH);
    f->margin_to = (float **)kvb_alloc_array(rows, sizeof *f->margin_to, KVB_MEM_SCRATCH);
    return f->best_to && f->margin_to ? KVB_OK : KVB_E_MEMORY;
}

static kvb_status make_buffers(kvb_step *s) {
    const kvb_model_desc *d = &s->m->desc;
    size_t rows = (size_t)s->m->step_rows, unit = (size_t)kvb_dtype_bytes(d->dtype);
    size_t q = (size_t)d->heads * (size_t)d->head_dim, kv = (size_t)d->kv_heads * (size_t)d->head_dim;
    size_t head = rows < KVB_CUDA_HEAD_ROWS ? rows : KVB_CUDA_HEAD_ROWS;
    size_t wide = std::max({rows * 2 * (size_t)d->ffn * unit,
                            (size_t)kvb_cuda_part_floats((int64_t)rows, d->heads, d->head_dim) * sizeof(float),
                            (size_t)kvb_cuda_lone_bytes(d->heads, d->kv_heads, d->head_dim)});
    bool ok = true;
#define TAKE(field, count, size)                                                                                       \
    ok = ok && (s->field = (decltype(s->field))kvb_cuda_alloc((count) * (size), KVB_MEM_SCRATCH))
    TAKE(x, rows * (size_t)d->hidden, sizeof(float));
    if (d->post_norms) TAKE(branch, rows * (size_t)d->hidden, sizeof(float));
    TAKE(normed, rows * (size_t)d->hidden, unit);
    TAKE(qkv, rows * (q + 2 * kv), sizeof(float));
    TAKE(q, rows * q, unit);
    TAKE(mixed, rows * q, unit);
    TAKE(gate_up, 1, wide);
    TAKE(act, rows * (size_t)d->ffn, unit);
    TAKE(logits, head * (size_t)d->vocab, sizeof(float));
    TAKE(rows, rows, sizeof *s->rows);
    TAKE(seqs, rows, sizeof *s->seqs);
    TAKE(items, rows, sizeof *s->items);
    TAKE(observers, rows, sizeof *s->observers);
    TAKE(chosen, rows, sizeof *s->chosen);
    TAKE(slot, rows, sizeof *s->slot);
    TAKE(best, rows, sizeof *s->best);
    TAKE(margin, rows, sizeof *s->margin);
    TAKE(tokens, rows, sizeof *s->tokens);
#undef TAKE
    if (!ok) return KVB_E_MEMORY;
    s->parts = (float *)s->gate_up;
    s->part_floats = (int64_t)(wide / sizeof(float));
    for (cargo &f : s->flight) KVB_TRY(make_cargo(&f, rows));
    return KVB_OK;
}

kvb_status kvb_cuda_step_new(kvb_model *m, kvb_step **out) {
    kvb_step *s = (kvb_step *)kvb_alloc(sizeof *s, KVB_MEM_SCRATCH);
    if (!s) return KVB_E_MEMORY;
    s->m = m;
    kvb_status status = make_buffers(s);
    if (status != KVB_OK)
        kvb_cuda_step_free(s);
    else
        *out = s;
    return status;
}

/* ---- packing: rows of the host as rows of the device ---- */

static kvb_cuda_lanes lanes_of(const kvb_lane *lane) {
    return {(char *)lane->keys, (char *)lane->values - (char *)lane->keys, NULL};
}

static kvb_status sequence_of(const kvb_row *row, int32_t device, kvb_cuda_seq *seq) {
    *seq = {};
    seq->own = lanes_of(row->own);
    seq->temperature = row->trace ? row->trace->temperature : NULL;
    if (row->own_keep) {
        seq->suffix_words = row->own_keep->words;
        KVB_TRY(kvb_keep_device_bits(row->own_keep, device, &seq->suffix_mask));
    }
    if (!row->prefix) return KVB_OK;
    seq->prefix = lanes_of(row->prefix->lane);
    seq->prefix.table = row->prefix->lane_table;
    seq->prefix_n = row->prefix->tokens;
    seq->positions = row->prefix->position_table;
    seq->position_at = row->prefix->position_at_table;
    if (!row->keep) return KVB_OK;
    seq->prefix_words = row->keep->words;
    return kvb_keep_device_bits(row->keep, device, &seq->prefix_mask);
}

static kvb_cuda_observer observer_of(const kvb_row *row) {
    const kvb_ctx *c = row->observer;
    kvb_cuda_observer o = {};
    if (!c) return o;
    const kvb_model_desc *d = &c->model->desc;
    int32_t at = row->index - (c->tokens - c->window);
    if (c->queries && at >= 0) {
        o.queries = c->queries + (int64_t)at * d->head_dim;
        o.query_head = (int64_t)c->window * d->head_dim;
    }
    if (c->hidden) {
        o.hidden = c->hidden + (int64_t)row->index * d->hidden;
        o.hidden_level = (int64_t)c->tokens * d->hidden;
    }
    return o;
}

static kvb_status load(kvb_step *s, cargo *f, const kvb_row *row, int32_t n) {
    const kvb_model_desc *d = &s->m->desc;
    f->n_rows = n;
    f->n_seqs = f->n_chosen = 0;
    f->observed = false;
    for (int32_t r = 0; r < n; r++) {
        if (r == 0 || row[r].own != row[r - 1].own) KVB_TRY(sequence_of(row + r, d->device, f->seqs + f->n_seqs++));
        int32_t id = row[r].id == KVB_ID_FROM_SLOT ? -row[r].slot - 1 : row[r].id;
        f->rows[r] = {f->n_seqs - 1, row[r].index, row[r].position, id};
        f->observers[r] = observer_of(row + r);
        f->observed = f->observed || f->observers[r].queries || f->observers[r].hidden;
        if (!row[r].logits && !row[r].best) continue;
        f->best_to[f->n_chosen] = row[r].best;
        f->margin_to[f->n_chosen] = row[r].margin;
        f->slot[f->n_chosen] = row[r].best ? row[r].slot : -1;
        f->chosen[f->n_chosen++] = r;
    }
    f->splits = kvb_cuda_attention_splits(f->rows, n, f->seqs);
    f->n_items = kvb_cuda_attention_plan(f->rows, n, f->seqs, d->heads / d->kv_heads, d->head_dim, d->dtype, f->items);
    return KVB_OK;
}

static kvb_status send(kvb_step *s, const cargo *f) {
    KVB_TRY(kvb_cuda_upload(s->rows, f->rows, (size_t)f->n_rows * sizeof *f->rows));
    KVB_TRY(kvb_cuda_upload(s->seqs, f->seqs, (size_t)f->n_seqs * sizeof *f->seqs));
    KVB_TRY(kvb_cuda_upload(s->items, f->items, (size_t)f->n_items * sizeof *f->items));
    if (f->observed) KVB_TRY(kvb_cuda_upload(s->observers, f->observers, (size_t)f->n_rows * sizeof *f->observers));
    KVB_TRY(kvb_cuda_upload(s->chosen, f->chosen, (size_t)f->n_chosen * sizeof *f->chosen));
    return kvb_cuda_upload(s->slot, f->slot, (size_t)f->n_chosen * sizeof *f->slot);
}

/* ---- the decoder ---- */

/* Whether this step runs in the interactive tier: one row, in another order of summation. */
static bool goes_alone(const kvb_step *s, const cargo *f) {
    const kvb_model_desc *d = &s->m->desc;
    return s->m->interactive && f->n_rows == 1 && kvb_cuda_gemv_fits(d->dtype, d->hidden) &&
           kvb_cuda_gemv_fits(d->dtype, d->ffn) && kvb_cuda_gemv_fits(d->dtype, d->heads * d->head_dim);
}

static kvb_status attention(kvb_step *s, const cargo *f, int32_t layer) {
    const kvb_model_desc *d = &s->m->desc;
    const kvb_resident *r = s->m->resident;
    kvb_cuda_place place = {};
    place.rows = s->rows;
    place.seqs = s->seqs;
    place.observers = f->observed ? s->observers : NULL;
    place.qkv = s->qkv;
    const bool slides = kvb_model_slides(s->m, layer);
    place.cos = r->cos[slides];
    place.sin = r->sin[slides];
    place.q_norm = d->qk_norm ? r->layer[layer].q_norm : NULL;
    place.k_norm = d->qk_norm ? r->layer[layer].k_norm : NULL;
    place.q = s->q;
    place.n = f->n_rows;
    place.layer = layer;
    place.heads = d->heads;
    place.kv_heads = d->kv_heads;
    place.head_dim = d->head_dim;
    place.dtype = d->dtype;
    place.eps = (float)d->norm_eps;
    KVB_TRY(kvb_cuda_place_rows(&place));
    KVB_TRY(kvb_cuda_profile_mark(KVB_PART_REST));
    kvb_cuda_attention a = {};
    a.rows = s->rows;
    a.seqs = s->seqs;
    a.items = s->items;
    a.n_rows = f->n_rows;
    a.n_items = f->n_items;
    a.splits = f->splits;
    a.parts = s->parts;
    a.part_floats = s->part_floats;
    a.layer = layer;
    a.heads = d->heads;
    a.kv_heads = d->kv_heads;
    a.head_dim = d->head_dim;
    a.dtype = d->dtype;
    a.scale = kvb_model_query_scale(s->m);
    a.window = slides ? d->sliding_window : 0;
    a.q = s->q;
    a.y = s->mixed;
    KVB_TRY(goes_alone(s, f) ? kvb_cuda_attend_lone(&a, s->parts) : kvb_cuda_attend(&a));
    KVB_TRY(kvb_cuda_look_rows(&s->traces, &a));
    return kvb_cuda_profile_mark(KVB_PART_ATTENTION);
}

static kvb_status block(kvb_step *s, const cargo *f, int32_t rows, int32_t layer) {
    const kvb_model_desc *d = &s->m->desc;
    const kvb_cuda_layer *v = s->m->resident->layer + layer;
    const kvb_layer *y = s->m->layer + layer;
    float eps = (float)d->norm_eps;
    KVB_TRY(kvb_cuda_norm_rows(s->x, NULL, v->attn_norm, s->normed, d->dtype, f->n_rows, d->hidden, eps));
    KVB_TRY(kvb_cuda_profile_mark(KVB_PART_REST));
    KVB_TRY(kvb_cuda_multiply(y->qkv, s->normed, rows, v->qkv_bias, 0, s->qkv, KVB_F32));
    KVB_TRY(kvb_cuda_profile_mark(KVB_PART_PRODUCTS));
    KVB_TRY(attention(s, f, layer));
    float *to = d->post_norms ? s->branch : s->x;
    KVB_TRY(kvb_cuda_multiply(y->o, s->mixed, rows, NULL, !d->post_norms, to, KVB_F32));
    KVB_TRY(kvb_cuda_profile_mark(KVB_PART_PRODUCTS));
    if (d->post_norms) KVB_TRY(kvb_cuda_add_norm_rows(s->x, s->branch, v->post_attn_norm, f->n_rows, d->hidden, eps));
    KVB_TRY(kvb_cuda_norm_rows(s->x, NULL, v->ffn_norm, s->normed, d->dtype, f->n_rows, d->hidden, eps));
    KVB_TRY(kvb_cuda_profile_mark(KVB_PART_REST));
    KVB_TRY(kvb_cuda_multiply(y->gate_up, s->normed, rows, NULL, 0, s->gate_up, d->dtype));
    KVB_TRY(kvb_cuda_profile_mark(KVB_PART_PRODUCTS));
    KVB_TRY(kvb_cuda_gate_rows(s->gate_up, s->act, d->dtype, f->n_rows, d->ffn, d->activation));
    KVB_TRY(kvb_cuda_profile_mark(KVB_PART_REST));
    KVB_TRY(kvb_cuda_multiply(y->down, s->act, rows, NULL, !d->post_norms, to, KVB_F32));
    KVB_TRY(kvb_cuda_profile_mark(KVB_PART_PRODUCTS));
    if (!d->post_norms) return KVB_OK;
    KVB_TRY(kvb_cuda_add_norm_rows(s->x, s->branch, v->post_ffn_norm, f->n_rows, d->hidden, eps));
    return kvb_cuda_profile_mark(KVB_PART_REST);
}

static kvb_status multiply_row(const kvb_packed *w, const void *x, const float *norm, const float *bias, void *y,
                               float eps, int32_t what) {
    const kvb_cuda_gemv g = {w, x, norm, bias, y, eps, what};
    KVB_TRY(kvb_cuda_gemv_run(&g));
    return kvb_cuda_profile_mark(KVB_PART_PRODUCTS);
}

/* `block` for one row: norms and SwiGLU are part of the products. */
static kvb_status lone_block(kvb_step *s, const cargo *f, int32_t layer) {
    const kvb_cuda_layer *v = s->m->resident->layer + layer;
    const kvb_layer *y = s->m->layer + layer;
    float eps = (float)s->m->desc.norm_eps;
    KVB_TRY(multiply_row(y->qkv, s->x, v->attn_norm, v->qkv_bias, s->qkv, eps, KVB_GEMV_STORE));
    KVB_TRY(attention(s, f, layer));
    KVB_TRY(multiply_row(y->o, s->mixed, NULL, NULL, s->x, 0, KVB_GEMV_ACCUMULATE));
    KVB_TRY(multiply_row(y->gate_up, s->x, v->ffn_norm, NULL, s->act, eps, KVB_GEMV_SWIGLU));
    return multiply_row(y->down, s->act, NULL, NULL, s->x, 0, KVB_GEMV_ACCUMULATE);
}

/* Logits of the chosen rows, KVB_CUDA_HEAD_ROWS at a time; best tokens to their slots, asked logits to their owners. */
static kvb_status head(kvb_step *s, const cargo *f, const kvb_row *row) {
    const kvb_model_desc *d = &s->m->desc;
    for (int32_t first = 0; first < f->n_chosen; first += KVB_CUDA_HEAD_ROWS) {
        int32_t n = (int32_t)kvb_min64(KVB_CUDA_HEAD_ROWS, f->n_chosen - first);
        KVB_TRY(kvb_cuda_norm_rows(s->x, s->chosen + first, s->m->resident->final_norm, s->normed, d->dtype, n,
                                   d->hidden, (float)d->norm_eps));
        if (goes_alone(s, f))
            KVB_TRY(multiply_row(s->m->head[0], s->normed, NULL, NULL, s->logits, 0, KVB_GEMV_STORE));
        else
            KVB_TRY(kvb_cuda_multiply(s->m->head[0], s->normed, kvb_model_bucket(s->m, n), NULL, 0, s->logits,
                                      KVB_F32));
        KVB_TRY(kvb_cuda_best_rows(s->logits, n, d->vocab, s->best + first, s->margin + first, s->slot + first,
                                   s->tokens));
        for (int32_t i = 0; i < n; i++) {
            float *to = row[f->chosen[first + i]].logits;
            if (to) KVB_CUDA_TRY(cudaMemcpyAsync(to, s->logits + (int64_t)i * d->vocab, (size_t)d->vocab * sizeof *to,
                                                 cudaMemcpyDefault, kvb_cuda_stream()));
        }
    }
    return KVB_OK;
}

static kvb_status run(kvb_step *s, const cargo *f, const kvb_row *row) {
    const kvb_model_desc *d = &s->m->desc;
    int32_t rows = kvb_model_bucket(s->m, f->n_rows);
    KVB_TRY(kvb_cuda_profile_mark(KVB_PART_ALL));
    KVB_TRY(kvb_cuda_embed(s->rows, s->tokens, s->m->embed_rows->w, d->dtype, f->n_rows, d->hidden,
                           d->embedding_scale > 0 ? (float)d->embedding_scale : 1, s->x));
    for (int32_t l = 0; l < d->layers; l++) {
        KVB_TRY(kvb_cuda_traces_level(&s->traces, l, s->x, d->hidden));
        if (f->observed) KVB_TRY(kvb_cuda_observe_hidden(s->observers, s->x, NULL, l, f->n_rows, d->hidden, 0));
        KVB_TRY(goes_alone(s, f) ? lone_block(s, f, l) : block(s, f, rows, l));
    }
    KVB_TRY(kvb_cuda_traces_level(&s->traces, d->layers, s->x, d->hidden));
    if (f->observed)
        KVB_TRY(kvb_cuda_observe_hidden(s->observers, s->x, s->m->resident->final_norm, d->layers, f->n_rows, d->hidden,
                                        (float)d->norm_eps));
    KVB_TRY(head(s, f, row));
    return kvb_cuda_profile_mark(KVB_PART_HEAD);
}

kvb_status kvb_cuda_step_submit(kvb_step *s, const kvb_row *row, int32_t n) {
    if (kvb_cancelled()) return kvb_fail(KVB_E_CANCELLED, "interrupted");
    if (s->under_way == FLIGHTS) return kvb_fail(KVB_E_INTERNAL, "cuda: %d steps are under way already", FLIGHTS);
    cargo *f = s->flight + (s->first + s->under_way) % FLIGHTS;
    KVB_TRY(load(s, f, row, n));
    KVB_TRY(send(s, f));
    KVB_TRY(kvb_cuda_traces_load(&s->traces, row, n, s->m->desc.layers + 1));
    KVB_TRY(run(s, f, row));
    if (f->n_chosen) {
        size_t bytes = (size_t)f->n_chosen * 4;
        KVB_CUDA_TRY(cudaMemcpyAsync(f->best, s->best, bytes, cudaMemcpyDeviceToHost, kvb_cuda_stream()));
        KVB_CUDA_TRY(cudaMemcpyAsync(f->margin, s->margin, bytes, cudaMemcpyDeviceToHost, kvb_cuda_stream()));
    }
    KVB_CUDA_TRY(cudaEventRecord(f->back, kvb_cuda_stream()));
    s->under_way++;
    return KVB_OK;
}

kvb_status kvb_cuda_step_collect(kvb_step *s) {
    if (s->under_way == 0) return KVB_OK;
    cargo *f = s->flight + s->first;
    KVB_CUDA_TRY(cudaEventSynchronize(f->back));
    for (int32_t i = 0; i < f->n_chosen; i++) {
        if (f->best_to[i]) *f->best_to[i] = f->best[i];
        if (f->margin_to[i]) *f->margin_to[i] = f->margin[i];
    }
    s->first = (s->first + 1) % FLIGHTS;
    s->under_way--;
    return KVB_OK;
}
