/* SPDX-License-Identifier: Apache-2.0 */
/*
 * trace.c - interventions and records of a continuation: checked and copied when asked for, given memory when the
 * sequence is admitted, brought to the host when it is finished.
 *
 * Rows are the sequence's own: 0 is the first question token, n the first generated one. Level l is the residual stream
 * that enters layer l; level `layers` is what enters the final norm, so that final norm and LM head over any level are
 * the logit lens. Rejected: the hidden states after the final norm as the last level (a lens of it would norm twice).
 */
#include "trace.h"
#include "model.h"
#include <math.h>

static kvb_status check_list(const char *what, const int32_t *list, int32_t n, int32_t end) {
    if (n < 0 || (n > 0 && !list)) return kvb_fail(KVB_E_ARG, "batch: %d %s to record", n, what);
    for (int32_t i = 0; i < n; i++)
        if (list[i] < 0 || list[i] >= end)
            return kvb_fail(KVB_E_ARG, "batch: hidden states of %s %d, there are 0 to %d", what, list[i], end - 1);
    return KVB_OK;
}

static kvb_status check(const kvb_model *m, const kvb_request *r) {
    const kvb_model_desc *d = &m->desc;
    for (int32_t l = 0; r->temperature && l < d->layers; l++)
        if (!isfinite(r->temperature[l]) || r->temperature[l] < 0)
            return kvb_fail(KVB_E_ARG, "batch: the temperature factor of layer %d is %g, expected 0 or more", l,
                            (double)r->temperature[l]);
    for (int32_t i = 0; i < r->n_patches; i++) {
        const kvb_patch *p = r->patches + i;
        if (p->layer < 0 || p->layer > d->layers)
            return kvb_fail(KVB_E_ARG, "batch: a patch enters layer %d, there are 0 to %d (%d = the final norm)",
                            p->layer, d->layers, d->layers);
        if (p->row < 0 || p->row >= r->n + r->max_new)
            return kvb_fail(KVB_E_ARG, "batch: a patch is for row %d, the question has rows 0 to %d", p->row, r->n - 1);
        if (!p->hidden) return kvb_fail(KVB_E_ARG, "batch: a patch has no hidden state");
    }
    if (!r->watch) return KVB_OK;
    KVB_TRY(check_list("layer", r->watch->hidden_layers, r->watch->n_hidden_layers, d->layers + 1));
    return check_list("row", r->watch->hidden_rows, r->watch->n_hidden_rows, r->n + r->max_new);
}

void kvb_trace_free(kvb_trace *t) {
    if (!t) return;
    const kvb_backend *b = t->m->backend;
    kvb_backend_free(b, t->temperature);
    kvb_backend_free(b, t->patched);
    for (int32_t i = 0; i < KVB_RECORDS; i++) {
        if (t->record[i].host != t->record[i].memory) kvb_free(t->record[i].host);
        kvb_backend_free(b, t->record[i].memory);
    }
    kvb_trace_attention_free(t);
    kvb_free(t->patch);
    kvb_free(t->level);
    kvb_free(t->row);
    kvb_free(t);
}

/* n numbers into the model's memory. */
static kvb_status put(const kvb_trace *t, const float *from, int64_t n, float **to) {
    size_t bytes = (size_t)n * sizeof *from;
    *to = kvb_backend_alloc(t->m->backend, bytes, KVB_MEM_CACHE);
    return *to ? kvb_backend_upload(t->m->backend, *to, from, bytes) : KVB_E_MEMORY;
}

static kvb_status copy_patches(kvb_trace *t, const kvb_request *r) {
    int64_t hidden = t->m->desc.hidden;
    t->n_patches = r->n_patches;
    t->patch = kvb_alloc_array((size_t)r->n_patches, sizeof *t->patch, KVB_MEM_CACHE);
    t->patched = kvb_backend_alloc(
        t->m->backend, kvb_mul_size(kvb_mul_size((size_t)r->n_patches, (size_t)hidden), sizeof(float)), KVB_MEM_CACHE);
    if (!t->patch || !t->patched) return KVB_E_MEMORY;
    for (int32_t i = 0; i < r->n_patches; i++) {
        float *to = t->patched + i * hidden;
        KVB_TRY(kvb_backend_upload(t->m->backend, to, r->patches[i].hidden, (size_t)hidden * sizeof(float)));
        t->patch[i] = (kvb_patch){r->patches[i].layer, r->patches[i].row, to};
    }
    return KVB_OK;
}

static kvb_status copy_list(const int32_t *from, int32_t n, int32_t **to, int32_t *count) {
    *to = kvb_alloc_array((size_t)n, sizeof **to, KVB_MEM_CACHE);
    if (!*to) return KVB_E_MEMORY;
    if (n) memcpy(*to, from, (size_t)n * sizeof **to);
    *count = n;
    return KVB_OK;
}

static kvb_status copy(kvb_trace *t, const kvb_request *r) {
    if (r->temperature) KVB_TRY(put(t, r->temperature, t->m->desc.layers, &t->temperature));
    if (r->n_patches > 0) KVB_TRY(copy_patches(t, r));
    if (!r->watch) return KVB_OK;
    KVB_TRY(copy_list(r->watch->hidden_layers, r->watch->n_hidden_layers, &t->level, &t->n_levels));
    KVB_TRY(copy_list(r->watch->hidden_rows, r->watch->n_hidden_rows, &t->row, &t->n_rows));
    t->record[KVB_REC_HIDDEN].bytes =
        kvb_mul64(kvb_mul64(t->n_levels, t->n_rows), kvb_mul64(t->m->desc.hidden, sizeof(float)));
    return kvb_trace_attention_new(t, r);
}

kvb_status kvb_trace_new(const kvb_model *m, const kvb_request *r, kvb_trace **out) {
    *out = NULL;
    if (!r->temperature && r->n_patches <= 0 && !r->watch) return KVB_OK;
    KVB_TRY(check(m, r));
    kvb_trace *t = kvb_alloc(sizeof *t, KVB_MEM_CACHE);
    if (!t) return KVB_E_MEMORY;
    t->m = m;
    kvb_status status = copy(t, r);
    if (status != KVB_OK)
        kvb_trace_free(t);
    else
        *out = t;
    return status;
}

int32_t kvb_trace_first(const kvb_trace *t) {
    if (!t) return INT32_MAX;
    int32_t first = t->temperature ? 0 : kvb_trace_attention_first(t);
    for (int32_t i = 0; i < t->n_patches; i++) first = t->patch[i].row < first ? t->patch[i].row : first;
    for (int32_t i = 0; i < t->n_rows; i++) first = t->row[i] < first ? t->row[i] : first;
    return first;
}

int64_t kvb_trace_bytes(const kvb_trace *t) {
    int64_t bytes = 0;
    for (int32_t i = 0; t && i < KVB_RECORDS; i++)
        bytes = t->record[i].bytes > INT64_MAX - bytes ? INT64_MAX : bytes + t->record[i].bytes;
    return bytes;
}

kvb_status kvb_trace_begin(kvb_trace *t) {
    for (int32_t i = 0; t && i < KVB_RECORDS; i++) {
        kvb_record *r = t->record + i;
        if (r->memory || r->bytes == 0) continue;
        r->memory = kvb_backend_alloc(t->m->backend, (size_t)r->bytes, KVB_MEM_CACHE);
        if (!r->memory) return KVB_E_MEMORY;
    }
    return KVB_OK;
}

kvb_status kvb_trace_finish(kvb_trace *t) {
    for (int32_t i = 0; t && i < KVB_RECORDS; i++) {
        kvb_record *r = t->record + i;
        r->host = r->memory;
        if (!r->memory || !t->m->backend->alloc) continue;
        r->host = kvb_alloc_raw((size_t)r->bytes, KVB_MEM_CACHE);
        if (!r->host) return KVB_E_MEMORY;
        KVB_TRY(kvb_backend_download(t->m->backend, r->host, r->memory, (size_t)r->bytes));
        kvb_backend_free(t->m->backend, r->memory);
        r->memory = NULL;
    }
    return KVB_OK;
}

float *kvb_trace_place(const kvb_trace *t, int32_t level, int32_t row) {
    float *hidden = t->record[KVB_REC_HIDDEN].memory;
    for (int32_t i = 0; hidden && i < t->n_levels; i++)
        for (int32_t j = 0; t->level[i] == level && j < t->n_rows; j++)
            if (t->row[j] == row) return hidden + ((int64_t)i * t->n_rows + j) * t->m->desc.hidden;
    return NULL;
}

const float *kvb_trace_patch(const kvb_trace *t, int32_t level, int32_t row) {
    for (int32_t i = 0; i < t->n_patches; i++)
        if (t->patch[i].layer == level && t->patch[i].row == row) return t->patch[i].hidden;
    return NULL;
}
