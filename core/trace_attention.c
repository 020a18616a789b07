/* SPDX-License-Identifier: Apache-2.0 */
/*
 * trace_attention.c - what of a continuation's attention is recorded: checked, copied, and laid out row by row, so that
 * a step writes one stretch of memory per row.
 */
#include "look.h"
#include "trunk.h"

static kvb_status check_range(const char *what, int32_t from, int32_t rows, const kvb_request *r) {
    int32_t end = r->n + (r->max_new > 0 ? r->max_new - 1 : 0); /* rows that can run */
    if (rows == 0) return KVB_OK;
    if (from < 0 || rows < 0 || from + rows > end)
        return kvb_fail(KVB_E_ARG, "batch: %s of rows %d to %d, there are 0 to %d", what, from, from + rows - 1,
                        end - 1);
    return KVB_OK;
}

static kvb_status check_keeps(const kvb_model_desc *d, const kvb_request *r) {
    const kvb_watch *w = r->watch;
    if (w->n_keeps < 0 || (w->n_keeps > 0 && !w->keeps))
        return kvb_fail(KVB_E_ARG, "batch: %d keep-sets to weigh", w->n_keeps);
    for (int32_t i = 0; i < w->n_keeps; i++) {
        const kvb_keep *k = w->keeps[i];
        if (k->layers != d->layers || k->heads != d->kv_heads || k->tokens != r->ctx->tokens)
            return kvb_fail(
                KVB_E_SHAPE,
                "batch: keep-set %d to weigh is for [%d layers, %d KV heads, %d tokens], the context is [%d, "
                "%d, %d]",
                i, k->layers, k->heads, k->tokens, d->layers, d->kv_heads, r->ctx->tokens);
    }
    return KVB_OK;
}

static kvb_status check(const kvb_model_desc *d, const kvb_request *r) {
    const kvb_watch *w = r->watch;
    if (w->n_classes < 1 || w->n_classes > KVB_MAX_CLASSES)
        return kvb_fail(KVB_E_ARG, "batch: %d classes of tokens, 1 to %d are possible", w->n_classes, KVB_MAX_CLASSES);
    for (int32_t t = 0; w->classes && t < r->ctx->tokens; t++)
        if (w->classes[t] >= w->n_classes)
            return kvb_fail(KVB_E_ARG, "batch: token %d has class %d of %d", t, w->classes[t], w->n_classes);
    for (int32_t i = 0; i < w->n_weight_layers; i++)
        if (w->weight_layers[i] < 0 || w->weight_layers[i] >= d->layers)
            return kvb_fail(KVB_E_ARG, "batch: weights of layer %d, there are 0 to %d", w->weight_layers[i],
                            d->layers - 1);
    KVB_TRY(check_range("attention", w->attention_from, w->attention_rows, r));
    KVB_TRY(check_range("weights", w->weights_from, w->weights_rows, r));
    KVB_TRY(check_range("what keep-sets lose", w->keeps_from, w->keeps_rows, r));
    KVB_TRY(check_keeps(d, r));
    if (r->ctx->ragged) {
        kvb_fail(KVB_E_UNSUPPORTED,
                 "batch: an evicted context's heads keep different tokens; their attention has no rows");
        kvb_hint("-> observe the original context with a keep-set: the same attention");
        return KVB_E_UNSUPPORTED;
    }
    return KVB_OK;
}

static void lay_out(kvb_trace *t) {
    const kvb_model_desc *d = &t->m->desc;
    const kvb_watch *w = &t->watch;
    const int64_t cells = kvb_mul64(kvb_mul64(d->layers, d->heads), sizeof(float));
    const int64_t row = kvb_mul64(kvb_mul64(d->heads, t->width), sizeof(float));
    kvb_record *r = t->record;
    r[KVB_REC_TOP].bytes = r[KVB_REC_WITHIN].bytes = kvb_mul64(w->attention_rows, cells);
    r[KVB_REC_MASS].bytes = kvb_mul64(kvb_mul64(w->attention_rows, cells), w->n_classes + 1);
    r[KVB_REC_WEIGHTS].bytes = kvb_mul64(kvb_mul64(w->weights_rows, w->n_weight_layers), row);
    r[KVB_REC_RECALL].bytes = r[KVB_REC_ERROR].bytes = kvb_mul64(kvb_mul64(w->keeps_rows, cells), w->n_keeps);
}

static kvb_status copy_keeps(kvb_trace *t, const kvb_request *r) {
    t->keep = kvb_alloc_array((size_t)t->watch.n_keeps, sizeof *t->keep, KVB_MEM_CACHE);
    if (!t->keep) return KVB_E_MEMORY;
    for (int32_t i = 0; i < t->watch.n_keeps; i++) {
        if (!t->m->backend->alloc) KVB_TRY(kvb_keep_host_bits(r->watch->keeps[i], NULL));
        t->keep[i] = r->watch->keeps[i];
        kvb_keep_retain(t->keep[i]);
    }
    return KVB_OK;
}

static kvb_status copy_classes(kvb_trace *t, const kvb_request *r, uint8_t **classes) {
    const kvb_watch *w = r->watch;
    *classes = kvb_alloc_array((size_t)t->tokens, 1, KVB_MEM_CACHE);
    /* room for the most classes: kernels read as many of each row as any row has */
    const size_t all = kvb_mul_size(KVB_MAX_CLASSES + 1, kvb_size(t->words));
    t->class_words = kvb_alloc_array(all, sizeof *t->class_words, KVB_MEM_CACHE);
    if (!*classes || !t->class_words) return KVB_E_MEMORY;
    for (int32_t i = 0; i < t->tokens; i++) {
        uint8_t class = (*classes)[i] = w->classes ? w->classes[i] : 0;
        uint64_t bit = 1ull << i % 64;
        t->class_words[(int64_t) class * t->words + i / 64] |= bit;
        if (w->within >> class & 1) t->class_words[(int64_t)w->n_classes * t->words + i / 64] |= bit;
    }
    return KVB_OK;
}

/* What kernels read, into the memory of a device. */
static kvb_status to_device(kvb_trace *t, const uint8_t *classes) {
    const kvb_backend *b = t->m->backend;
    size_t slots = (size_t)t->m->desc.layers * sizeof *t->weight_slot,
           keeps = (size_t)t->watch.n_keeps * sizeof(void *);
    if (!b->alloc) return KVB_OK;
    t->device_classes = kvb_backend_alloc(b, (size_t)t->tokens, KVB_MEM_CACHE);
    t->device_slot = kvb_backend_alloc(b, slots, KVB_MEM_CACHE);
    t->device_keep = kvb_backend_alloc(b, keeps, KVB_MEM_CACHE);
    const uint64_t **words = kvb_alloc_array((size_t)t->watch.n_keeps, sizeof *words, KVB_MEM_SCRATCH);
    kvb_status status = t->device_classes && t->device_slot && t->device_keep && words ? KVB_OK : KVB_E_MEMORY;
    for (int32_t i = 0; i < t->watch.n_keeps && status == KVB_OK; i++)
        status = kvb_keep_device_bits(t->keep[i], t->m->desc.device, words + i);
    if (status == KVB_OK) status = kvb_backend_upload(b, t->device_classes, classes, (size_t)t->tokens);
    if (status == KVB_OK) status = kvb_backend_upload(b, t->device_slot, t->weight_slot, slots);
    if (status == KVB_OK) status = kvb_backend_upload(b, (void *)t->device_keep, words, keeps);
    kvb_free((void *)words);
    return status;
}

kvb_status kvb_trace_attention_new(kvb_trace *t, const kvb_request *r) {
    const kvb_watch *w = r->watch;
    if (w->attention_rows == 0 && w->weights_rows == 0 && w->keeps_rows == 0) return KVB_OK;
    KVB_TRY(check(&t->m->desc, r));
    t->watch = *w;
    t->tokens = r->ctx->tokens;
    t->words = (t->tokens + 63) / 64;
    t->width = t->tokens + r->n + r->max_new;
    t->weight_slot = kvb_alloc_array((size_t)t->m->desc.layers, sizeof *t->weight_slot, KVB_MEM_CACHE);
    if (!t->weight_slot) return KVB_E_MEMORY;
    for (int32_t l = 0; l < t->m->desc.layers; l++) t->weight_slot[l] = -1;
    for (int32_t i = w->n_weight_layers - 1; i >= 0; i--) t->weight_slot[w->weight_layers[i]] = i;
    uint8_t *classes = NULL;
    kvb_status status = copy_keeps(t, r);
    if (status == KVB_OK) status = copy_classes(t, r, &classes);
    if (status == KVB_OK) status = to_device(t, classes);
    kvb_free(classes);
    t->watch.classes = NULL; /* the caller's */
    t->watch.keeps = NULL;
    t->watch.weight_layers = t->watch.hidden_layers = t->watch.hidden_rows = NULL;
    lay_out(t);
    return status;
}

void kvb_trace_attention_free(kvb_trace *t) {
    for (int32_t i = 0; t->keep && i < t->watch.n_keeps; i++) kvb_keep_free(t->keep[i]);
    kvb_free(t->keep);
    kvb_free(t->class_words);
    kvb_free(t->weight_slot);
    kvb_backend_free(t->m->backend, t->device_classes);
    kvb_backend_free(t->m->backend, t->device_slot);
    kvb_backend_free(t->m->backend, (void *)t->device_keep);
}

int32_t kvb_trace_attention_first(const kvb_trace *t) {
    const kvb_watch *w = &t->watch;
    int32_t first = w->attention_rows > 0 ? w->attention_from : INT32_MAX;
    if (w->weights_rows > 0 && w->weights_from < first) first = w->weights_from;
    if (w->keeps_rows > 0 && w->keeps_from < first) first = w->keeps_from;
    return first;
}

static bool inside(int32_t row, int32_t from, int32_t rows) { return row >= from && row < from + rows; }

bool kvb_trace_looks(const kvb_trace *t, int32_t row) {
    const kvb_watch *w = &t->watch;
    return inside(row, w->attention_from, w->attention_rows) || inside(row, w->weights_from, w->weights_rows) ||
           inside(row, w->keeps_from, w->keeps_rows);
}

float *kvb_trace_weights(const kvb_trace *t, int32_t row) {
    const kvb_watch *w = &t->watch;
    if (!inside(row, w->weights_from, w->weights_rows)) return NULL;
    int64_t each = (int64_t)w->n_weight_layers * t->m->desc.heads * t->width;
    return (float *)t->record[KVB_REC_WEIGHTS].memory + (row - w->weights_from) * each;
}

bool kvb_look_at(const kvb_trace *t, int32_t layer, int32_t index, kvb_look *out) {
    const kvb_model_desc *d = &t->m->desc;
    const kvb_watch *w = &t->watch;
    int64_t heads = d->heads;
    *out = (kvb_look){.layer = layer, .trace = t};
    if (inside(index, w->attention_from, w->attention_rows)) {
        int64_t at = ((int64_t)(index - w->attention_from) * d->layers + layer) * heads;
        out->top = (int32_t *)t->record[KVB_REC_TOP].memory + at;
        out->top_within = (int32_t *)t->record[KVB_REC_WITHIN].memory + at;
        out->mass = (float *)t->record[KVB_REC_MASS].memory + at * (w->n_classes + 1);
    }
    float *weights = kvb_trace_weights(t, index);
    if (weights && t->weight_slot[layer] >= 0) out->weights = weights + t->weight_slot[layer] * heads * t->width;
    if (inside(index, w->keeps_from, w->keeps_rows) && w->n_keeps > 0) {
        int64_t at = (int64_t)(index - w->keeps_from) * w->n_keeps * d->layers * heads + layer * heads;
        out->recall = (float *)t->record[KVB_REC_RECALL].memory + at;
        out->error = (float *)t->record[KVB_REC_ERROR].memory + at;
    }
    return out->top || out->weights || out->recall;
}
