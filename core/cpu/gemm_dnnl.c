/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gemm_dnnl.c - y = x w^T in f32 through oneDNN: weights packed once, one primitive per shape, 2.x and 3.x behind the
 * same calls. Packing and multiplying begin here and go on to gemm_amx.c (bf16) or gemm_avx2.c where those are better.
 *
 * Packing uses the layout that the largest row bucket prefers, and every other bucket is built on that layout, so that
 * a matrix exists once. f32 means f32 (no implicit down-conversion). Rejected: OpenBLAS (a GEMM of its own for every
 * CPU it knows, but bits that change with the number of rows even there).
 */
#include "cpu.h"
#include <dnnl.h>
#include <stdio.h>

enum { LARGEST_BUCKET = 512 };

/* ---- the difference between oneDNN 2 and 3 ---- */
#if DNNL_VERSION_MAJOR >= 3
typedef dnnl_memory_desc_t md_handle;
static dnnl_status_t md_make(md_handle *md, int64_t rows, int64_t columns, dnnl_data_type_t type,
                             dnnl_format_tag_t tag) {
    dnnl_dims_t dims = {rows, columns};
    return dnnl_memory_desc_create_with_tag(md, 2, dims, type, tag);
}
static void md_drop(md_handle *md) { dnnl_memory_desc_destroy(*md); }
static size_t md_bytes(const md_handle *md) { return dnnl_memory_desc_get_size(*md); }
static dnnl_status_t md_query_weights(md_handle *md, const_dnnl_primitive_desc_t pd) {
    return dnnl_memory_desc_clone(md, dnnl_primitive_desc_query_md(pd, dnnl_query_weights_md, 0));
}
static dnnl_status_t memory_make(dnnl_memory_t *m, const md_handle *md, dnnl_engine_t engine, void *data) {
    return dnnl_memory_create(m, *md, engine, data);
}
static dnnl_status_t matmul_make(dnnl_primitive_desc_t *pd, dnnl_engine_t engine, const md_handle *src,
                                 const md_handle *weights, const md_handle *bias, const md_handle *dst,
                                 dnnl_primitive_attr_t attr) {
    return dnnl_matmul_primitive_desc_create(pd, engine, *src, *weights, bias ? *bias : NULL, *dst, attr);
}
static dnnl_status_t reorder_make(dnnl_primitive_desc_t *pd, const md_handle *from, const md_handle *to,
                                  dnnl_engine_t engine) {
    return dnnl_reorder_primitive_desc_create(pd, *from, engine, *to, engine, NULL);
}
static dnnl_status_t append_sum(dnnl_post_ops_t ops) {
    return dnnl_post_ops_append_sum(ops, 1.0f, 0, dnnl_data_type_undef);
}
#else
typedef dnnl_memory_desc_t md_handle;
static dnnl_status_t md_make(md_handle *md, int64_t rows, int64_t columns, dnnl_data_type_t type,
                             dnnl_format_tag_t tag) {
    dnnl_dims_t dims = {rows, columns};
    return dnnl_memory_desc_init_by_tag(md, 2, dims, type, tag);
}
static void md_drop(md_handle *md) { (void)md; }
static size_t md_bytes(const md_handle *md) { return dnnl_memory_desc_get_size(md); }
static dnnl_status_t md_query_weights(md_handle *md, const_dnnl_primitive_desc_t pd) {
    const dnnl_memory_desc_t *found = dnnl_primitive_desc_query_md(pd, dnnl_query_weights_md, 0);
    if (!found) return dnnl_unimplemented;
    *md = *found;
    return dnnl_success;
}
static dnnl_status_t memory_make(dnnl_memory_t *m, const md_handle *md, dnnl_engine_t engine, void *data) {
    return dnnl_memory_create(m, md, engine, data);
}
static dnnl_status_t matmul_make(dnnl_primitive_desc_t *pd, dnnl_engine_t engine, const md_handle *src,
                                 const md_handle *weights, const md_handle *bias, const md_handle *dst,
                                 dnnl_primitive_attr_t attr) {
    dnnl_matmul_desc_t desc;
    dnnl_status_t status = dnnl_matmul_desc_init(&desc, src, weights, bias, dst);
    return status == dnnl_success ? dnnl_primitive_desc_create(pd, &desc, attr, engine, NULL) : status;
}
static dnnl_status_t reorder_make(dnnl_primitive_desc_t *pd, const md_handle *from, const md_handle *to,
                                  dnnl_engine_t engine) {
    return dnnl_reorder_primitive_desc_create(pd, from, engine, to, engine, NULL);
}
static dnnl_status_t append_sum(dnnl_post_ops_t ops) { return dnnl_post_ops_append_sum(ops, 1.0f); }
#endif

#define DNNL_TRY(call, what)                                                                                           \
    do {                                                                                                               \
        dnnl_status_t dnnl_result = (call);                                                                            \
        if (dnnl_result != dnnl_success)                                                                               \
            return kvb_fail(KVB_E_INTERNAL, "oneDNN: %s failed with status %d", what, (int)dnnl_result);               \
    } while (0)

static dnnl_engine_t engine;
static dnnl_stream_t stream;

static kvb_status start(void) {
    if (stream) return KVB_OK;
    DNNL_TRY(dnnl_engine_create(&engine, dnnl_cpu, 0), "creating the CPU engine");
    DNNL_TRY(dnnl_stream_create(&stream, engine, dnnl_stream_default_flags), "creating a stream");
    return KVB_OK;
}

/* ---- one primitive per (shape, rows, bias, accumulate); layers share them ---- */

typedef struct product {
    int32_t out, in, rows, bias, accumulate;
    dnnl_primitive_t primitive;
    dnnl_memory_t src, weights, bias_memory, dst;
} product;

static product *products;
static int32_t n_products, product_room; /* grown by doubling, kept for the life of the process */

static kvb_status describe(int32_t out, int32_t in, int32_t rows, int32_t bias, int32_t accumulate,
                           const md_handle *weights, dnnl_primitive_desc_t *pd) {
    md_handle src, dst, bias_md;
    DNNL_TRY(md_make(&src, rows, in, dnnl_f32, dnnl_ab), "describing x");
    DNNL_TRY(md_make(&dst, rows, out, dnnl_f32, dnnl_ab), "describing y");
    DNNL_TRY(md_make(&bias_md, 1, out, dnnl_f32, dnnl_ab), "describing the bias");
    dnnl_primitive_attr_t attr;
    DNNL_TRY(dnnl_primitive_attr_create(&attr), "creating attributes");
    if (accumulate) {
        dnnl_post_ops_t ops;
        DNNL_TRY(dnnl_post_ops_create(&ops), "creating post-ops");
        DNNL_TRY(append_sum(ops), "appending a sum");
        DNNL_TRY(dnnl_primitive_attr_set_post_ops(attr, ops), "setting post-ops");
        dnnl_post_ops_destroy(ops);
    }
    dnnl_status_t status = matmul_make(pd, engine, &src, weights, bias ? &bias_md : NULL, &dst, attr);
    dnnl_primitive_attr_destroy(attr);
    md_drop(&src);
    md_drop(&dst);
    md_drop(&bias_md);
    if (status != dnnl_success)
        return kvb_fail(KVB_E_UNSUPPORTED, "oneDNN has no f32 product for %d rows, %d -> %d on this CPU (status %d)",
                        rows, in, out, (int)status);
    return KVB_OK;
}

/* The packed layout of [in, out] weights: what the largest bucket asks for. */
static kvb_status packed_layout(int32_t out, int32_t in, md_handle *layout) {
    md_handle any;
    dnnl_primitive_desc_t pd;
    DNNL_TRY(md_make(&any, in, out, dnnl_f32, dnnl_format_tag_any), "describing the weights");
    kvb_status status = describe(out, in, LARGEST_BUCKET, 0, 0, &any, &pd);
    md_drop(&any);
    if (status != KVB_OK) return status;
    DNNL_TRY(md_query_weights(layout, pd), "asking for the weight layout");
    dnnl_primitive_desc_destroy(pd);
    return KVB_OK;
}

static kvb_status build(product *p) {
    md_handle layout, src, dst, bias_md;
    dnnl_primitive_desc_t pd;
    KVB_TRY(packed_layout(p->out, p->in, &layout));
    KVB_TRY(describe(p->out, p->in, p->rows, p->bias, p->accumulate, &layout, &pd));
    DNNL_TRY(dnnl_primitive_create(&p->primitive, pd), "creating a product");
    dnnl_primitive_desc_destroy(pd);
    DNNL_TRY(md_make(&src, p->rows, p->in, dnnl_f32, dnnl_ab), "describing x");
    DNNL_TRY(md_make(&dst, p->rows, p->out, dnnl_f32, dnnl_ab), "describing y");
    DNNL_TRY(md_make(&bias_md, 1, p->out, dnnl_f32, dnnl_ab), "describing the bias");
    DNNL_TRY(memory_make(&p->src, &src, engine, DNNL_MEMORY_NONE), "wrapping x");
    DNNL_TRY(memory_make(&p->dst, &dst, engine, DNNL_MEMORY_NONE), "wrapping y");
    DNNL_TRY(memory_make(&p->bias_memory, &bias_md, engine, DNNL_MEMORY_NONE), "wrapping the bias");
    DNNL_TRY(memory_make(&p->weights, &layout, engine, DNNL_MEMORY_NONE), "wrapping the weights");
    md_drop(&layout);
    md_drop(&src);
    md_drop(&dst);
    md_drop(&bias_md);
    return KVB_OK;
}

static kvb_status find(const kvb_packed *w, int32_t rows, int32_t bias, int32_t accumulate, product **out) {
    for (int32_t i = 0; i < n_products; i++) {
        product *p = products + i;
        if (p->out == w->out && p->in == w->in && p->rows == rows && p->bias == bias && p->accumulate == accumulate) {
            *out = p;
            return KVB_OK;
        }
    }
    if (n_products == product_room) {
        int32_t room = product_room ? 2 * product_room : 256;
        product *grown = kvb_realloc(products, kvb_mul_size((size_t)room, sizeof *products), KVB_MEM_OTHER);
        if (!grown) return KVB_E_MEMORY;
        products = grown;
        product_room = room;
    }
    product made = {.out = w->out, .in = w->in, .rows = rows, .bias = bias, .accumulate = accumulate};
    KVB_TRY(build(&made));
    products[n_products] = made;
    *out = products + n_products++;
    return KVB_OK;
}

/* ---- the backend's four calls ---- */

static kvb_status reorder(const float *w, kvb_packed *p, const md_handle *layout) {
    md_handle plain; /* w is [out, in]; oneDNN's weights are [in, out]: the same bytes read as "ba" */
    dnnl_primitive_desc_t pd;
    dnnl_primitive_t primitive;
    dnnl_memory_t from, to;
    DNNL_TRY(md_make(&plain, p->in, p->out, dnnl_f32, dnnl_ba), "describing plain weights");
    DNNL_TRY(reorder_make(&pd, &plain, layout, engine), "describing the packing");
    DNNL_TRY(dnnl_primitive_create(&primitive, pd), "creating the packing");
    DNNL_TRY(memory_make(&from, &plain, engine, (void *)w), "wrapping plain weights");
    DNNL_TRY(memory_make(&to, layout, engine, p->data), "wrapping packed weights");
    dnnl_exec_arg_t args[] = {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}};
    DNNL_TRY(dnnl_primitive_execute(primitive, stream, 2, args), "packing weights");
    DNNL_TRY(dnnl_stream_wait(stream), "waiting for the packing");
    dnnl_memory_destroy(from);
    dnnl_memory_destroy(to);
    dnnl_primitive_destroy(primitive);
    dnnl_primitive_desc_destroy(pd);
    md_drop(&plain);
    return KVB_OK;
}

static inline bool on_avx2(void) { return strcmp(kvb_cpu_tier(), "avx2") == 0; }

kvb_status kvb_cpu_pack(const float *w, int32_t out, int32_t in, int32_t dtype, kvb_packed **packed) {
    if (dtype == KVB_BF16 && strcmp(kvb_cpu_tier(), "amx-bf16") != 0) {
        kvb_fail(KVB_E_UNSUPPORTED, "dtype bf16: this CPU (%s, tier %s) has no fast bf16 matrix units", kvb_cpu_name(),
                 kvb_cpu_tier());
        kvb_hint("-> use --dtype f32");
        return KVB_E_UNSUPPORTED;
    }
#if defined(__x86_64__)
    if (dtype == KVB_BF16) return kvb_amx_pack(w, out, in, packed);
    if (on_avx2()) return kvb_avx2_pack(w, out, in, packed);
#endif
    md_handle layout;
    kvb_threads();
    KVB_TRY(start());
    KVB_TRY(packed_layout(out, in, &layout));
    kvb_packed *p = kvb_alloc(sizeof *p, KVB_MEM_WEIGHTS);
    if (!p) return KVB_E_MEMORY;
    *p = (kvb_packed){out, in, dtype, (int64_t)md_bytes(&layout), NULL};
    p->data = kvb_alloc((size_t)p->bytes, KVB_MEM_WEIGHTS);
    kvb_status status = p->data ? reorder(w, p, &layout) : KVB_E_MEMORY;
    md_drop(&layout);
    if (status != KVB_OK)
        kvb_cpu_pack_free(p);
    else
        *packed = p;
    return status;
}

void kvb_cpu_pack_free(kvb_packed *p) {
    if (!p) return;
    kvb_free(p->data);
    kvb_free(p);
}

int64_t kvb_cpu_pack_bytes(const kvb_packed *p) { return p->bytes; }

kvb_status kvb_cpu_multiply(kvb_packed *w, const void *x, int32_t rows, const float *bias, int32_t accumulate, void *y,
                            int32_t y_dtype) {
    product *p;
    if (rows == 0) return KVB_OK;
#if defined(__x86_64__)
    if (w->dtype == KVB_BF16) return kvb_amx_multiply(w, x, rows, bias, accumulate, y, y_dtype);
#endif
    if (y_dtype != KVB_F32) return kvb_fail(KVB_E_INTERNAL, "a product of f32 weights asked for %d", y_dtype);
#if defined(__x86_64__)
    if (on_avx2()) return kvb_avx2_multiply(w, x, rows, bias, accumulate, y);
#endif
    KVB_TRY(find(w, rows, bias != NULL, accumulate != 0, &p));
    dnnl_memory_set_data_handle(p->src, (void *)x);
    dnnl_memory_set_data_handle(p->dst, y);
    dnnl_memory_set_data_handle(p->weights, w->data);
    if (bias) dnnl_memory_set_data_handle(p->bias_memory, (void *)bias);
    dnnl_exec_arg_t args[] = {{DNNL_ARG_SRC, p->src},
                              {DNNL_ARG_WEIGHTS, p->weights},
                              {DNNL_ARG_DST, p->dst},
                              {DNNL_ARG_BIAS, p->bias_memory}};
    DNNL_TRY(dnnl_primitive_execute(p->primitive, stream, bias ? 4 : 3, args), "a product");
    DNNL_TRY(dnnl_stream_wait(stream), "waiting for a product");
    return KVB_OK;
}
