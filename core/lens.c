/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lens.c - the logit lens: what the final norm and the LM head make of hidden states from anywhere in the model.
 *
 * The products are those of a step, bucket by bucket and chunk by chunk, so that the lens of the last level is the
 * model's own output. Source: nostalgebraist, "interpreting GPT: the logit lens", 2020.
 */
#include "model.h"

/* Buffers in the model's memory for one bucket of rows. */
typedef struct lens {
    float *x, *norm, *logits;
    void *normed;
} lens;

static kvb_status make(const kvb_model *m, int32_t rows, lens *s) {
    const kvb_model_desc *d = &m->desc;
    size_t n = (size_t)rows * (size_t)d->hidden, unit = (size_t)kvb_dtype_bytes(d->dtype);
    s->x = kvb_backend_alloc(m->backend, kvb_mul_size(n, sizeof *s->x), KVB_MEM_SCRATCH);
    s->normed = kvb_backend_alloc(m->backend, kvb_mul_size(n, unit), KVB_MEM_SCRATCH);
    s->norm = kvb_backend_alloc(m->backend, kvb_mul_size((size_t)d->hidden, sizeof *s->norm), KVB_MEM_SCRATCH);
    s->logits = kvb_backend_alloc(m->backend,
                                  kvb_mul_size(kvb_mul_size((size_t)rows, (size_t)m->head_columns), sizeof *s->logits),
                                  KVB_MEM_SCRATCH);
    if (!s->x || !s->normed || !s->norm || !s->logits) return KVB_E_MEMORY;
    return kvb_backend_upload(m->backend, s->norm, m->final_norm, (size_t)d->hidden * sizeof *s->norm);
}

/* n <= rows of the buffers: x to logits [n, vocab] on the host. */
static kvb_status look(const kvb_model *m, const lens *s, const float *x, int32_t n, float *logits) {
    const kvb_model_desc *d = &m->desc;
    kvb_tensor from = kvb_view2(s->x, KVB_F32, n, d->hidden), to = kvb_view2(s->normed, d->dtype, n, d->hidden);
    kvb_tensor weight = kvb_view1(s->norm, KVB_F32, d->hidden);
    KVB_TRY(kvb_backend_upload(m->backend, s->x, x, (size_t)n * (size_t)d->hidden * sizeof *x));
    KVB_TRY(kvb_op_rmsnorm(d->device, &from, &weight, &to, d->norm_eps));
    int32_t rows = kvb_model_bucket(m, n);
    for (int32_t c = 0; c < m->head_chunks; c++) {
        int32_t first = c * m->head_columns, columns = (int32_t)kvb_min64(m->head_columns, d->vocab - first);
        KVB_TRY(m->backend->multiply(m->head[c], s->normed, rows, NULL, 0, s->logits, KVB_F32));
        for (int32_t i = 0; i < n; i++)
            KVB_TRY(kvb_backend_download(m->backend, logits + (int64_t)i * d->vocab + first,
                                         s->logits + (int64_t)i * columns, (size_t)columns * sizeof *logits));
    }
    return KVB_OK;
}

kvb_status kvb_model_lens(kvb_model *m, const kvb_tensor *hidden, kvb_tensor *logits) {
    const kvb_model_desc *d = &m->desc;
    KVB_TRY(kvb_tensor_expect("lens", "hidden", hidden, KVB_F32, 2, (int64_t[]){-1, d->hidden}));
    int64_t n = hidden->shape[0];
    KVB_TRY(kvb_tensor_expect("lens", "logits", logits, KVB_F32, 2, (int64_t[]){n, d->vocab}));
    if (!kvb_tensor_contiguous(hidden) || !kvb_tensor_contiguous(logits) || hidden->device_id || logits->device_id)
        return kvb_fail(KVB_E_ARG, "lens: hidden states and logits must be contiguous and on the host");
    KVB_TRY(kvb_model_enter(m));
    int32_t most = (int32_t)kvb_min64(KVB_HOST_ROWS, m->step_rows),
            rows = kvb_model_bucket(m, (int32_t)kvb_min64(n, most));
    lens s = {0};
    kvb_status status = n > 0 ? make(m, rows, &s) : KVB_OK;
    for (int64_t i = 0; i < n && status == KVB_OK; i += most)
        status = look(m, &s, (const float *)hidden->data + i * d->hidden, (int32_t)kvb_min64(most, n - i),
                      (float *)logits->data + i * d->vocab);
    void *buffers[] = {s.x, s.normed, s.norm, s.logits};
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++) kvb_backend_free(m->backend, buffers[i]);
    return status;
}
