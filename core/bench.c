/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench.c - what a device can do at best: its products back to back, and copying. The limits that a benchmark's JSON
 * stands beside.
 */
#include "model.h"

static kvb_status wait_for(const kvb_backend *b) { return b->wait ? b->wait("a benchmark") : KVB_OK; }

typedef struct product {
    kvb_packed *w;
    const float *bias;
    int32_t out, in, y_dtype, accumulate;
} product;

/* As the step does them: 0 qkv, 1 o, 2 gate and up, 3 down, 4 LM head. */
static product product_of(const kvb_model *m, int32_t layer, int32_t which) {
    const kvb_model_desc *d = &m->desc;
    const kvb_layer *y = m->layer + layer;
    int32_t q = d->heads * d->head_dim, kv = d->kv_heads * d->head_dim;
    switch (which) {
    case 0:
        return (product){y->qkv, y->qkv_bias, q + 2 * kv, d->hidden, KVB_F32, 0};
    case 1:
        return (product){y->o, NULL, d->hidden, q, KVB_F32, 1};
    case 2:
        return (product){y->gate_up, NULL, 2 * d->ffn, d->hidden, d->dtype, 0};
    case 3:
        return (product){y->down, NULL, d->hidden, d->ffn, KVB_F32, 1};
    default:
        return (product){m->head[0], NULL, (int32_t)kvb_min64(m->head_columns, d->vocab), d->hidden, KVB_F32, 0};
    }
}

static kvb_status run(const kvb_model *m, int32_t which, int32_t rows, const void *x, void *y, double *flops) {
    int32_t first = which < 0 ? 0 : which, last = which < 0 ? 3 : which;
    int32_t layers = which == 4 ? 1 : m->desc.layers;
    for (int32_t l = 0; l < layers; l++)
        for (int32_t i = first; i <= last; i++) {
            product p = product_of(m, l, i);
            /* On a device, noise is the bias too: time does not depend on it. */
            const float *bias = m->resident ? i == 0 && m->desc.qkv_bias ? x : NULL : p.bias;
            KVB_TRY(m->backend->multiply(p.w, x, rows, bias, p.accumulate, y, p.y_dtype));
            *flops += 2.0 * p.out * p.in * rows;
        }
    return KVB_OK;
}

kvb_status kvb_bench_products(kvb_model *m, int32_t which, int32_t rows, int32_t repeats, double *seconds,
                              double *flops) {
    const kvb_model_desc *d = &m->desc;
    if (!m->ready) return kvb_fail(KVB_E_MISSING, "bench: the model is not ready");
    if (which < -1 || which > 4 || repeats < 1 || kvb_model_bucket(m, rows) != rows)
        return kvb_fail(KVB_E_ARG, "bench: product %d, %d rows, %d repeats: rows must be a bucket", which, rows,
                        repeats);
    KVB_TRY(kvb_model_enter(m));
    const kvb_backend *b = m->backend;
    int64_t widest = kvb_max64(2 * (int64_t)d->ffn, kvb_max64((d->heads + 2 * d->kv_heads) * d->head_dim, d->hidden));
    if (which == 4) widest = kvb_min64(m->head_columns, d->vocab);
    size_t elements = kvb_mul_size((size_t)rows, (size_t)kvb_max64(d->ffn, kvb_max64(d->hidden,
            d->heads * d->head_dim)));
    size_t unit = (size_t)kvb_dtype_bytes(d->dtype);
    float *noise = kvb_alloc_raw(kvb_mul_size(elements, sizeof *noise), KVB_MEM_SCRATCH);
    char *x = kvb_backend_alloc(b, kvb_mul_size(elements, unit), KVB_MEM_SCRATCH);
    void *y = kvb_backend_alloc(b, kvb_mul_size(kvb_mul_size((size_t)rows, (size_t)widest), sizeof(float)),
            KVB_MEM_SCRATCH);
    kvb_tensor plain = kvb_view1(noise, KVB_F32, (int64_t)elements);
    kvb_status status = noise && x && y ? kvb_op_uniform(KVB_DEVICE_CPU, &plain, 1, 0) : KVB_E_MEMORY;
    if (status == KVB_OK && d->dtype == KVB_BF16)
        for (size_t i = 0; i < elements; i++) ((uint16_t *)noise)[i] = kvb_f32_to_bf16(noise[i] - .5f);
    if (status == KVB_OK) status = kvb_backend_upload(b, x, noise, elements * unit);
    *flops = 0;
    if (status == KVB_OK) status = run(m, which, rows, x, y, flops); /* warm */
    if (status == KVB_OK) status = wait_for(b);
    *flops = 0;
    double start = kvb_time();
    for (int32_t i = 0; i < repeats && status == KVB_OK; i++) status = run(m, which, rows, x, y, flops);
    if (status == KVB_OK) status = wait_for(b);
    *seconds = kvb_time() - start;
    kvb_free(noise);
    kvb_backend_free(b, x);
    kvb_backend_free(b, y);
    return status;
}

kvb_status kvb_bench_copy(int32_t device, int64_t bytes, int32_t repeats, double *seconds) {
    const kvb_backend *b = kvb_backend_get(device);
    if (!b) return kvb_diag_code();
    if (bytes < 4 || repeats < 1)
        return kvb_fail(KVB_E_ARG, "bench: %lld bytes, %d repeats", (long long)bytes, repeats);
    void *from = kvb_backend_alloc(b, (size_t)bytes, KVB_MEM_SCRATCH);
    void *to = kvb_backend_alloc(b, (size_t)bytes, KVB_MEM_SCRATCH);
    kvb_tensor x = kvb_view1(from, KVB_F32, bytes / 4), y = kvb_view1(to, KVB_F32, bytes / 4);
    x.device_id = y.device_id = b->alloc ? device : 0;
    kvb_status status = from && to ? kvb_op_copy(device, &x, &y) : KVB_E_MEMORY;
    if (status == KVB_OK) status = wait_for(b);
    double start = kvb_time();
    for (int32_t i = 0; i < repeats && status == KVB_OK; i++) status = kvb_op_copy(device, &x, &y);
    if (status == KVB_OK) status = wait_for(b);
    *seconds = kvb_time() - start;
    kvb_backend_free(b, from);
    kvb_backend_free(b, to);
    return status;
}

kvb_status kvb_profile_set(kvb_model *m, int32_t on) {
    if (!m->backend->profile_set)
        return kvb_fail(KVB_E_UNSUPPORTED, "backend '%s' does not time its steps' parts", m->backend->name);
    KVB_TRY(kvb_model_enter(m));
    return m->backend->profile_set(m, on != 0);
}

kvb_status kvb_profile_read(kvb_model *m, double *seconds) {
    if (!m->backend->profile_read)
        return kvb_fail(KVB_E_UNSUPPORTED, "backend '%s' does not time its steps' parts", m->backend->name);
    KVB_TRY(kvb_model_enter(m));
    return m->backend->profile_read(m, seconds);
}
