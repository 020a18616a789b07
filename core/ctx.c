/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ctx.c - the cache of one passage: prefilled once, then read, evicted and asked many times.
 *
 * A context is immutable after prefill, which is what lets every press, ratio and question share it. Evicting makes a
 * second context with per-head lengths: the physical twin of a mask, and each is the other's test. Rejected: evicting
 * in place (the next ratio would need a new prefill).
 */
#include "model.h"

static kvb_ctx *make(kvb_model *m, int32_t tokens) {
    kvb_ctx *c = kvb_alloc(sizeof *c, KVB_MEM_CACHE);
    if (!c) return NULL;
    atomic_init(&c->references, 1);
    c->model = m;
    kvb_model_retain(m);
    c->tokens = tokens;
    c->lane = kvb_alloc_array(kvb_mul_size((size_t)m->desc.layers, (size_t)m->desc.kv_heads), sizeof *c->lane,
            KVB_MEM_CACHE);
    c->ids = kvb_alloc_array((size_t)tokens, sizeof *c->ids, KVB_MEM_CACHE);
    if (c->lane && c->ids) return c;
    kvb_ctx_free(c);
    return NULL;
}

void kvb_ctx_retain(kvb_ctx *c) {
    if (c) atomic_fetch_add(&c->references, 1);
}

void kvb_ctx_forget(kvb_ctx *c) {
    const kvb_backend *b = c->model->backend;
    kvb_tensor_release(&c->kept_queries);
    kvb_backend_free(b, c->hidden);
    kvb_backend_free(b, c->logits);
    c->queries = c->hidden = c->logits = NULL;
    c->observed = c->window = 0;
}

void kvb_ctx_free(kvb_ctx *c) {
    if (!c || atomic_fetch_sub(&c->references, 1) != 1) return;
    kvb_ctx_forget(c);
    kvb_free(c->lane);
    kvb_free(c->ids);
    kvb_backend_free(c->model->backend, c->cache);
    kvb_backend_free(c->model->backend, c->lane_table);
    kvb_backend_free(c->model->backend, c->position_table);
    kvb_backend_free(c->model->backend, c->position_at_table);
    kvb_free(c->positions);
    kvb_free(c->position_at);
    kvb_model_free(c->model);
    kvb_free(c);
}

int32_t kvb_ctx_tokens(const kvb_ctx *c) { return c->tokens; }
int32_t kvb_ctx_is_ragged(const kvb_ctx *c) { return c->ragged; }
int64_t kvb_ctx_bytes(const kvb_ctx *c) { return c->cache_bytes; }
int32_t kvb_ctx_observed(const kvb_ctx *c) { return c->observed; }

/* ---- prefill ---- */

/* n floats where the model's device can write them. */
static float *take(const kvb_ctx *c, int64_t n) {
    return kvb_backend_alloc(c->model->backend, kvb_mul_size(kvb_size(n), sizeof(float)), KVB_MEM_CACHE);
}

static kvb_status make_observations(kvb_ctx *c, int32_t observe, int32_t window) {
    const kvb_model_desc *d = &c->model->desc;
    if (observe & KVB_OBSERVE_QUERIES) {
        c->window = window > 0 && window < c->tokens ? window : c->tokens;
        int64_t shape[] = {d->layers, d->heads, c->window, d->head_dim};
        KVB_TRY(kvb_tensor_new_on(d->device, KVB_F32, 4, shape, 1, &c->kept_queries));
        c->queries = c->kept_queries.data;
    }
    if (observe & KVB_OBSERVE_HIDDEN) {
        c->hidden = take(c, (int64_t)(d->layers + 1) * c->tokens * d->hidden);
        if (!c->hidden) return KVB_E_MEMORY;
    }
    if (observe & (KVB_OBSERVE_LOGITS | KVB_OBSERVE_LAST_LOGITS)) {
        int32_t rows = observe & KVB_OBSERVE_LOGITS ? c->tokens : 1;
        c->logits = take(c, (int64_t)rows * d->vocab);
        if (!c->logits) return KVB_E_MEMORY;
    }
    c->observed = observe;
    return KVB_OK;
}

static kvb_status begin(kvb_model *m, const int32_t *ids, int32_t n, int32_t index, int32_t observe, int32_t window,
                        kvb_ctx **out) {
    if (n < 1) {
        kvb_fail(KVB_E_ARG, "prefill: passage %d has no tokens", index + 1);
        kvb_hint("-> give a text that is not empty");
        return KVB_E_ARG;
    }
    if (n > m->desc.max_positions) {
        kvb_fail(KVB_E_ARG, "prefill: passage %d has %d tokens, the model was made for %d positions", index + 1, n,
                 m->desc.max_positions);
        kvb_hint("-> shorten the passage or take a model with a longer context");
        return KVB_E_ARG;
    }
    KVB_TRY(kvb_model_check_ids(m, ids, n));
    kvb_ctx *c = make(m, n);
    if (!c) return KVB_E_MEMORY;
    memcpy(c->ids, ids, (size_t)n * sizeof *ids);
    c->cache_bytes = kvb_model_kv_bytes(m, n);
    c->cache = kvb_backend_alloc(m->backend, kvb_size(c->cache_bytes), KVB_MEM_CACHE);
    kvb_status status = c->cache ? make_observations(c, observe, window) : KVB_E_MEMORY;
    if (status != KVB_OK) {
        kvb_ctx_free(c);
        return status;
    }
    kvb_model_carve_lanes(m, c->lane, c->cache, n);
    for (int32_t i = 0; i < m->desc.layers * m->desc.kv_heads; i++) c->lane[i].n = n;
    *out = c;
    return KVB_OK;
}

kvb_status kvb_ctx_watch(kvb_model *m, const kvb_lane *lane, int32_t capacity, kvb_ctx **out) {
    kvb_ctx *c = make(m, capacity);
    if (!c) return KVB_E_MEMORY;
    kvb_status status = make_observations(c, KVB_OBSERVE_QUERIES, 0);
    if (status != KVB_OK) {
        kvb_ctx_free(c);
        return status;
    }
    for (int32_t i = 0; i < m->desc.layers * m->desc.kv_heads; i++) {
        c->lane[i] = lane[i];
        c->lane[i].n = capacity;
    }
    *out = c;
    return KVB_OK;
}

static kvb_row row_of(kvb_ctx *c, int32_t t) {
    float *logits = NULL;
    if (c->logits && c->observed & KVB_OBSERVE_LOGITS)
        logits = c->logits + (int64_t)t * c->model->desc.vocab;
    else if (c->logits && t == c->tokens - 1)
        logits = c->logits;
    return (kvb_row){.id = c->ids[t], .position = t, .index = t, .own = c->lane, .observer = c, .logits = logits};
}

/* Every token of every passage from `first` on in packed steps, `lag` of them under way behind the one being packed. */
static kvb_status run_steps(kvb_step *step, kvb_model *m, kvb_row *rows, kvb_ctx **ctx, int32_t count, int32_t first) {
    int32_t n = 0, under_way = 0;
    for (int32_t i = 0; i < count; i++)
        for (int32_t t = first; t < ctx[i]->tokens; t++) {
            rows[n++] = row_of(ctx[i], t);
            bool last = i == count - 1 && t == ctx[i]->tokens - 1;
            if (n < m->step_rows && !last) continue;
            KVB_TRY(kvb_step_submit(step, rows, n));
            n = 0;
            if (++under_way <= kvb_step_lag(step)) continue;
            KVB_TRY(kvb_step_collect(step));
            under_way--;
        }
    for (; under_way > 0; under_way--) KVB_TRY(kvb_step_collect(step));
    return KVB_OK;
}

static kvb_status run_all(kvb_model *m, kvb_ctx **ctx, int32_t count, int32_t first) {
    kvb_step *step = NULL;
    kvb_row *rows = kvb_alloc_array((size_t)m->step_rows, sizeof *rows, KVB_MEM_SCRATCH);
    kvb_status status = rows ? kvb_step_new(m, &step) : KVB_E_MEMORY;
    if (status == KVB_OK) status = run_steps(step, m, rows, ctx, count, first);
    kvb_step_free(step);
    kvb_free(rows);
    return status;
}

/* ---- passages that begin alike ---- */

/* n rows of `width` floats in each of `blocks` blocks, `from_rows` and `to_rows` of them apart. */
static kvb_status copy_rows(const kvb_model *m, float *from, int64_t from_rows, float *to, int64_t to_rows,
                            int64_t blocks, int64_t n, int64_t width) {
    kvb_tensor source = kvb_view3(from, KVB_F32, blocks, n, width), target = kvb_view3(to, KVB_F32, blocks, n, width);
    source.stride[0] = from_rows * width;
    target.stride[0] = to_rows * width;
    return n > 0 ? kvb_op_copy(m->desc.device, &source, &target) : KVB_OK;
}

/* Whether base has what c observes of the first n tokens. */
static kvb_status check_base(const kvb_ctx *base, const kvb_ctx *c, int32_t n) {
    if (base->model != c->model) return kvb_fail(KVB_E_ARG, "prefill: the context to go on from is another model's");
    if (base->ragged) return kvb_fail(KVB_E_ARG, "prefill: an evicted context cannot be gone on from");
    if (n < 1 || n > base->tokens || n >= c->tokens)
        return kvb_fail(KVB_E_ARG, "prefill: %d tokens shared by contexts of %d and %d", n, base->tokens, c->tokens);
    if (memcmp(base->ids, c->ids, (size_t)n * sizeof *base->ids))
        return kvb_fail(KVB_E_ARG, "prefill: the context does not begin with the same %d tokens", n);
    bool queries = !c->queries || (base->queries && c->tokens - c->window >= base->tokens - base->window);
    bool logits = !(c->observed & KVB_OBSERVE_LOGITS) || base->observed & KVB_OBSERVE_LOGITS;
    if (queries && logits && (!c->hidden || base->hidden)) return KVB_OK;
    kvb_fail(KVB_E_MISSING, "prefill: the context to go on from did not observe what is asked for");
    kvb_hint("-> prefill it with the same needs");
    return KVB_E_MISSING;
}

/* The first n tokens of c, and what was observed of them, from base: the bits that computing them would give. */
static kvb_status go_on_from(const kvb_ctx *base, kvb_ctx *c, int32_t n) {
    const kvb_model_desc *d = &c->model->desc;
    KVB_TRY(check_base(base, c, n));
    kvb_lane_copy copy = {base->lane, c->lane, n};
    KVB_TRY(kvb_lanes_copy(c->model, &copy, 1));
    if (c->queries) { /* rows are the windows' last tokens */
        int32_t first = c->tokens - c->window, base_first = base->tokens - base->window;
        KVB_TRY(copy_rows(c->model, base->queries + (int64_t)(first - base_first) * d->head_dim, base->window,
                          c->queries, c->window, (int64_t)d->layers * d->heads, n - first, d->head_dim));
    }
    if (c->hidden)
        KVB_TRY(copy_rows(c->model, base->hidden, base->tokens, c->hidden, c->tokens, d->layers + 1, n, d->hidden));
    if (c->observed & KVB_OBSERVE_LOGITS) return copy_rows(c->model, base->logits, 0, c->logits, 0, 1, n, d->vocab);
    return KVB_OK;
}

kvb_status kvb_prefill_from(kvb_model *m, const kvb_ctx *base, int32_t shared, const int32_t *ids,
                            const int32_t *lengths, int32_t count, int32_t observe, int32_t window, kvb_ctx **out) {
    if (count < 1) return kvb_fail(KVB_E_ARG, "prefill: no passages");
    kvb_status status = kvb_model_enter(m);
    int32_t made = 0, longest = 0;
    for (; made < count && status == KVB_OK; made++) {
        out[made] = NULL;
        status = begin(m, ids, lengths[made], made, observe, window, out + made);
        if (status == KVB_OK && base) status = go_on_from(base, out[made], shared);
        ids += lengths[made] > 0 ? lengths[made] : 0;
        longest = lengths[made] > longest ? lengths[made] : longest;
    }
    if (status == KVB_OK) status = kvb_model_cover(m, longest);
    if (status == KVB_OK) status = run_all(m, out, count, base ? shared : 0);
    for (int32_t i = 0; i < made && status != KVB_OK; i++) {
        kvb_ctx_free(out[i]);
        out[i] = NULL;
    }
    return status;
}

kvb_status kvb_prefill(kvb_model *m, const int32_t *ids, const int32_t *lengths, int32_t count, int32_t observe,
                       int32_t window, kvb_ctx **out) {
    return kvb_prefill_from(m, NULL, 0, ids, lengths, count, observe, window, out);
}

/* ---- reading ---- */

static kvb_status check_layers(const kvb_ctx *c, int32_t first, int32_t given, int32_t levels) {
    if (first >= 0 && given >= 0 && first <= levels && given <= levels - first) return KVB_OK;
    return kvb_fail(KVB_E_ARG, "context: %d layers from %d of %d (%d tokens)", given, first, levels, c->tokens);
}

static kvb_status missing(const char *what, const char *flag) {
    kvb_fail(KVB_E_MISSING, "context: %s were not observed during prefill (or were dropped since)", what);
    kvb_hint("-> prefill with %s", flag);
    return KVB_E_MISSING;
}

static kvb_status read_lanes(const kvb_ctx *c, bool keys, int32_t first, int32_t given, kvb_tensor *out) {
    const kvb_model_desc *d = &c->model->desc;
    if (c->ragged) {
        kvb_fail(KVB_E_UNSUPPORTED,
                 "context: after evict, heads keep different numbers of tokens and do not form one tensor");
        kvb_hint("-> read one head at a time: ctx:head(layer, head)");
        return KVB_E_UNSUPPORTED;
    }
    KVB_TRY(check_layers(c, first, given, d->layers));
    KVB_TRY(
        kvb_tensor_expect("context", "out", out, KVB_F32, 4, (int64_t[]){given, d->kv_heads, c->tokens, d->head_dim}));
    return kvb_lanes_read(c->model, c->lane + (int64_t)first * d->kv_heads, given * d->kv_heads, c->tokens, keys, out);
}

/* Floats of the model's device to a tensor on that device or on the host. */
static kvb_status copy_out(const kvb_ctx *c, const float *from, size_t n, kvb_tensor *out) {
    kvb_tensor view = kvb_view1((void *)from, KVB_F32, (int64_t)n), flat = kvb_view1(out->data, KVB_F32, (int64_t)n);
    if (out->device_id == 0) return kvb_backend_download(c->model->backend, out->data, from, n * sizeof *from);
    return kvb_op_copy(c->model->desc.device, &view, &flat);
}

kvb_status kvb_ctx_queries(const kvb_ctx *c, kvb_tensor *out) {
    if (!c->queries) return missing("queries", "needs = {queries = true} or {window_queries = n}");
    kvb_tensor_retain(&c->kept_queries);
    *out = c->kept_queries;
    return KVB_OK;
}

kvb_status kvb_ctx_read(const kvb_ctx *c, int32_t what, int32_t first, int32_t given, kvb_tensor *out) {
    const kvb_model_desc *d = &c->model->desc;
    KVB_TRY(kvb_model_enter(c->model));
    if (out->device_id != 0 && out->device_id != d->device)
        return kvb_fail(KVB_E_ARG, "context: the tensor to read into is on another device than the model");
    if (!kvb_tensor_contiguous(out)) return kvb_fail(KVB_E_ARG, "context: the tensor to read into must be contiguous");
    const float *from;
    size_t n;
    switch (what) {
    case KVB_KEYS:
    case KVB_VALUES:
        return read_lanes(c, what == KVB_KEYS, first, given, out);
    case KVB_QUERIES:
        if (!c->queries) return missing("queries", "needs = {queries = true} or {window_queries = n}");
        KVB_TRY(check_layers(c, first, given, d->layers));
        KVB_TRY(
            kvb_tensor_expect("context", "out", out, KVB_F32, 4, (int64_t[]){given, d->heads, c->window, d->head_dim}));
        n = (size_t)d->heads * (size_t)c->window * (size_t)d->head_dim;
        from = c->queries + (size_t)first * n;
        break;
    case KVB_HIDDEN:
        if (!c->hidden) return missing("hidden states", "needs = {hidden = true}");
        KVB_TRY(check_layers(c, first, given, d->layers + 1));
        KVB_TRY(kvb_tensor_expect("context", "out", out, KVB_F32, 3, (int64_t[]){given, c->tokens, d->hidden}));
        n = (size_t)c->tokens * (size_t)d->hidden;
        from = c->hidden + (size_t)first * n;
        break;
    case KVB_LOGITS:
        if (!c->logits) return missing("logits", "observe = {logits = true}");
        given = 1;
        n = (size_t)(c->observed & KVB_OBSERVE_LOGITS ? c->tokens : 1) * (size_t)d->vocab;
        KVB_TRY(kvb_tensor_expect("context", "out", out, KVB_F32, 2, (int64_t[]){(int64_t)n / d->vocab, d->vocab}));
        from = c->logits;
        break;
    default:
        return kvb_fail(KVB_E_ARG, "context: there is nothing number %d to read", what);
    }
    return n && given ? copy_out(c, from, n * (size_t)given, out) : KVB_OK;
}

static const kvb_lane *lane_of(const kvb_ctx *c, int32_t layer, int32_t head) {
    if (layer < 0 || layer >= c->model->desc.layers || head < 0 || head >= c->model->desc.kv_heads) return NULL;
    return c->lane + (int64_t)layer * c->model->desc.kv_heads + head;
}

int32_t kvb_ctx_head_tokens(const kvb_ctx *c, int32_t layer, int32_t head) {
    const kvb_lane *lane = lane_of(c, layer, head);
    return lane ? lane->n : -1;
}

kvb_status kvb_ctx_head(const kvb_ctx *c, int32_t layer, int32_t head, kvb_tensor *keys, kvb_tensor *values,
                        int32_t *positions) {
    const kvb_lane *lane = lane_of(c, layer, head);
    int32_t dim = c->model->desc.head_dim;
    if (!lane)
        return kvb_fail(KVB_E_ARG, "context: no layer %d, KV head %d in a model of %d and %d", layer, head,
                        c->model->desc.layers, c->model->desc.kv_heads);
    int64_t shape[2] = {lane->n, dim};
    if (keys) KVB_TRY(kvb_tensor_expect("context", "keys", keys, KVB_F32, 2, shape));
    if (values) KVB_TRY(kvb_tensor_expect("context", "values", values, KVB_F32, 2, shape));
    if ((keys && !kvb_tensor_contiguous(keys)) || (values && !kvb_tensor_contiguous(values)))
        return kvb_fail(KVB_E_ARG, "context: the tensors to read into must be contiguous");
    KVB_TRY(kvb_model_enter(c->model));
    if (keys) KVB_TRY(kvb_lanes_read(c->model, lane, 1, lane->n, true, keys));
    if (values) KVB_TRY(kvb_lanes_read(c->model, lane, 1, lane->n, false, values));
    for (int32_t t = 0; positions && t < lane->n; t++)
        positions[t] = c->ragged ? c->positions[c->position_at[lane - c->lane] + t] : t;
    return KVB_OK;
}

/* ---- physical eviction ---- */

/* A copy where kernels can read it. */
static kvb_status to_device(const kvb_backend *b, const void *from, size_t bytes, void **to) {
    *to = kvb_backend_alloc(b, bytes ? bytes : 1, KVB_MEM_CACHE);
    return *to ? kvb_backend_upload(b, *to, from, bytes) : KVB_E_MEMORY;
}

/* Lays the lanes of `e` out behind each other, notes which positions they keep, and copies those. */
static kvb_status fill_evicted(const kvb_ctx *c, const kvb_keep *keep, kvb_ctx *e) {
    const kvb_model_desc *d = &c->model->desc;
    const kvb_backend *b = c->model->backend;
    int32_t lanes = d->layers * d->kv_heads;
    char *memory = e->cache;
    int64_t position = 0;
    for (int32_t i = 0; i < lanes; i++) {
        int32_t layer = i / d->kv_heads, head = i % d->kv_heads, n = kvb_keep_count(keep, layer, head, 0, c->tokens);
        int64_t room = kvb_lane_room(c->model, n);
        e->lane[i] = (kvb_lane){memory, memory + room, n, n};
        e->position_at[i] = position;
        memory += 2 * room;
        for (int32_t t = 0; t < c->tokens; t++)
            if (kvb_keep_kept(keep, layer, head, t)) e->positions[position++] = t;
    }
    if (b->alloc) {
        size_t n = (size_t)lanes;
        KVB_TRY(to_device(b, e->lane, n * sizeof *e->lane, (void **)&e->lane_table));
        if (d->sliding_window > 0) {
            size_t bytes = (size_t)position * sizeof *e->positions;
            KVB_TRY(to_device(b, e->positions, bytes, (void **)&e->position_table));
            KVB_TRY(to_device(b, e->position_at, n * sizeof *e->position_at, (void **)&e->position_at_table));
        }
    }
    return kvb_lanes_gather(c->model, c->lane, e->lane, lanes, e->positions, e->position_at, position);
}

kvb_status kvb_ctx_evict(const kvb_ctx *c, const kvb_keep *keep, kvb_ctx **out) {
    const kvb_model_desc *d = &c->model->desc;
    if (c->ragged)
        return kvb_fail(KVB_E_UNSUPPORTED,
                        "context: already evicted -> evict the original context with the smaller keep-set");
    if (keep->layers != d->layers || keep->heads != d->kv_heads || keep->tokens != c->tokens)
        return kvb_fail(KVB_E_SHAPE,
                        "evict: the keep-set is for [%d layers, %d KV heads, %d tokens], the context is [%d, %d, %d]",
                        keep->layers, keep->heads, keep->tokens, d->layers, d->kv_heads, c->tokens);
    int64_t lanes = (int64_t)d->layers * d->kv_heads, bytes = 0;
    KVB_TRY(kvb_model_enter(c->model));
    KVB_TRY(kvb_keep_host_bits(keep, NULL)); /* counting it cannot fail any more: sizes and contents agree */
    for (int32_t i = 0; i < lanes; i++)
        bytes += 2 * kvb_lane_room(c->model, kvb_keep_count(keep, i / d->kv_heads, i % d->kv_heads, 0, c->tokens));
    kvb_ctx *e = make(c->model, c->tokens);
    if (!e) return KVB_E_MEMORY;
    memcpy(e->ids, c->ids, (size_t)c->tokens * sizeof *e->ids);
    e->ragged = 1;
    e->cache_bytes = bytes;
    e->cache = kvb_backend_alloc(c->model->backend, kvb_size(bytes), KVB_MEM_CACHE);
    e->positions = kvb_alloc_array(kvb_add_size(kvb_size(kvb_keep_total(keep)), 1), sizeof *e->positions,
            KVB_MEM_CACHE);
    e->position_at = kvb_alloc_array((size_t)lanes, sizeof *e->position_at, KVB_MEM_CACHE);
    kvb_status status = e->cache && e->positions && e->position_at ? fill_evicted(c, keep, e) : KVB_E_MEMORY;
    if (status != KVB_OK)
        kvb_ctx_free(e);
    else
        *out = e;
    return status;
}

/* ---- variants ---- */

static kvb_status check_replacement(const kvb_ctx *c, const char *what, const kvb_tensor *t) {
    const kvb_model_desc *d = &c->model->desc;
    if (!t) return KVB_OK;
    KVB_TRY(kvb_tensor_expect("variant", what, t, KVB_F32, 4,
                              (int64_t[]){d->layers, d->kv_heads, c->tokens, d->head_dim}));
    if (kvb_tensor_contiguous(t)) return KVB_OK;
    return kvb_fail(KVB_E_ARG, "variant: %s must be contiguous", what);
}

kvb_status kvb_ctx_variant(const kvb_ctx *c, const kvb_tensor *keys, const kvb_tensor *values, kvb_ctx **out) {
    if (c->ragged) {
        kvb_fail(KVB_E_UNSUPPORTED, "variant: after evict, heads keep different numbers of tokens");
        kvb_hint("-> change keys and values first, then evict");
        return KVB_E_UNSUPPORTED;
    }
    KVB_TRY(check_replacement(c, "keys", keys));
    KVB_TRY(check_replacement(c, "values", values));
    KVB_TRY(kvb_model_enter(c->model));
    kvb_ctx *v;
    KVB_TRY(begin(c->model, c->ids, c->tokens, 0, 0, 0, &v));
    kvb_status status = kvb_lanes_write(c->model, c->lane, v->lane, c->model->desc.layers * c->model->desc.kv_heads,
                                        c->tokens, keys, values);
    if (status != KVB_OK)
        kvb_ctx_free(v);
    else
        *out = v;
    return status;
}
