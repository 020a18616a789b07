/* SPDX-License-Identifier: Apache-2.0 */
/*
 * operands.c - which operands the tensor ops accept. Every backend asks here, so that a mistake is the same line
 * everywhere.
 *
 * Broadcasting is the caller's: an expanded view has stride 0 and the full shape, so the ops only ever see equal
 * shapes. Rejected: broadcasting inside each op (five implementations of the same rule).
 */
#include "operands.h"
#include <math.h>

static kvb_status check_present(const char *op, const char *argument, const kvb_tensor *t, int32_t dtype) {
    if (!t || t->ndim < 0 || t->ndim > KVB_MAX_DIMS || (!t->data && (t->ndim == 0 || kvb_tensor_count(t) > 0)))
        return kvb_fail(KVB_E_ARG, "%s: %s is missing or closed", op, argument);
    if (t->dtype != dtype) return kvb_tensor_expect(op, argument, t, dtype, t->ndim, t->shape);
    return KVB_OK;
}

kvb_status ref_check_output(const char *op, const kvb_tensor *y, int32_t dtype) {
    KVB_TRY(check_present(op, "the output", y, dtype));
    for (int i = 0; i < y->ndim && kvb_tensor_count(y) > 0; i++)
        if (y->shape[i] > 1 && y->stride[i] == 0)
            return kvb_fail(KVB_E_ARG, "%s: the output repeats its elements along dimension %d", op, i + 1);
    return KVB_OK;
}

kvb_status ref_check_input(const char *op, const char *argument, const kvb_tensor *t, int32_t dtype,
    const kvb_tensor *like,
                           int32_t except) {
    int64_t shape[KVB_MAX_DIMS];
    KVB_TRY(check_present(op, argument, t, dtype));
    for (int i = 0; i < like->ndim; i++) shape[i] = i == except ? -1 : like->shape[i];
    return kvb_tensor_expect(op, argument, t, dtype, like->ndim, shape);
}

static kvb_status check_kind(const char *op, int32_t kind, int32_t kinds) {
    if (kind >= 0 && kind < kinds) return KVB_OK;
    return kvb_fail(KVB_E_ARG, "%s: kind %d is not one of 0 to %d", op, kind, kinds - 1);
}

kvb_status ref_check_unary(const kvb_tensor *x, const kvb_tensor *y, int32_t kind) {
    KVB_TRY(check_kind("unary", kind, UNARY_KINDS));
    KVB_TRY(ref_check_output("unary", y, KVB_F32));
    return ref_check_input("unary", "x", x, KVB_F32, y, -1);
}

kvb_status ref_check_binary(const kvb_tensor *a, const kvb_tensor *b, const kvb_tensor *y, int32_t kind) {
    KVB_TRY(check_kind("binary", kind, BINARY_KINDS));
    KVB_TRY(ref_check_output("binary", y, KVB_F32));
    KVB_TRY(ref_check_input("binary", "a", a, KVB_F32, y, -1));
    return ref_check_input("binary", "b", b, KVB_F32, y, -1);
}

kvb_status ref_check_where(const kvb_tensor *c, const kvb_tensor *a, const kvb_tensor *b, const kvb_tensor *y) {
    KVB_TRY(ref_check_output("where", y, KVB_F32));
    KVB_TRY(ref_check_input("where", "the condition", c, KVB_F32, y, -1));
    KVB_TRY(ref_check_input("where", "a", a, KVB_F32, y, -1));
    return ref_check_input("where", "b", b, KVB_F32, y, -1);
}

static kvb_status check_dim(const char *op, const kvb_tensor *t, int32_t dim) {
    if (dim >= 0 && dim < t->ndim) return KVB_OK;
    return kvb_fail(KVB_E_SHAPE, "%s: dimension %d of a tensor with %d", op, dim + 1, t->ndim);
}

kvb_tensor ref_drop_dim(const kvb_tensor *t, int32_t dim) {
    kvb_tensor out = *t;
    for (int i = dim; i + 1 < t->ndim; i++) {
        out.shape[i] = t->shape[i + 1];
        out.stride[i] = t->stride[i + 1];
    }
    out.ndim--;
    return out;
}

kvb_status ref_check_reduce(const kvb_tensor *x, const kvb_tensor *y, int32_t dim, int32_t kind, double p) {
    int32_t dtype = kind == REDUCE_ARGMIN || kind == REDUCE_ARGMAX ? KVB_I32 : KVB_F32;
    KVB_TRY(check_kind("reduce", kind, REDUCE_KINDS));
    KVB_TRY(check_present("reduce", "x", x, KVB_F32));
    KVB_TRY(check_dim("reduce", x, dim));
    KVB_TRY(ref_check_output("reduce", y, dtype));
    kvb_tensor dropped = ref_drop_dim(x, dim);
    KVB_TRY(kvb_tensor_expect("reduce", "the output", y, dtype, dropped.ndim, dropped.shape));
    if (kind == REDUCE_NORM && !(p > 0)) return kvb_fail(KVB_E_ARG,
        "reduce: the norm's order is %g, it must be above 0", p);
    bool needs_one = kind == REDUCE_MIN || kind == REDUCE_MAX || dtype == KVB_I32;
    if (needs_one && x->shape[dim] == 0 && kvb_tensor_count(y) > 0)
        return kvb_fail(KVB_E_SHAPE, "reduce: the smallest or largest of no elements (dimension %d has size 0)",
            dim + 1);
    return KVB_OK;
}

kvb_status ref_check_along(const char *op, const kvb_tensor *x, const kvb_tensor *y, int32_t dim) {
    KVB_TRY(ref_check_output(op, y, KVB_F32));
    KVB_TRY(ref_check_input(op, "x", x, KVB_F32, y, -1));
    return check_dim(op, x, dim);
}

kvb_status ref_check_gather(const kvb_tensor *x, const kvb_tensor *index, const kvb_tensor *y, int32_t dim) {
    KVB_TRY(ref_check_along("gather", y, y, dim));
    KVB_TRY(ref_check_input("gather", "x", x, KVB_F32, y, dim));
    return ref_check_input("gather", "the index", index, KVB_I32, y, -1);
}

kvb_status ref_check_scatter(const kvb_tensor *x, const kvb_tensor *index, const kvb_tensor *y, int32_t dim,
                             int32_t kind) {
    KVB_TRY(check_kind("scatter", kind, SCATTER_KINDS));
    KVB_TRY(ref_check_along("scatter", y, y, dim));
    KVB_TRY(ref_check_input("scatter", "x", x, KVB_F32, y, dim));
    return ref_check_input("scatter", "the index", index, KVB_I32, x, -1);
}

kvb_status ref_fail_index(const char *op, int64_t index, int32_t dim, int64_t size) {
    return kvb_fail(KVB_E_ARG, "%s: index %lld is outside dimension %d of size %lld", op, (long long)index, dim + 1,
                    (long long)size);
}

kvb_status ref_first_bad_index(const char *op, const kvb_tensor *index, int32_t dim, int32_t base, int64_t size) {
    for (ref_walk w = ref_walk_start(index); w.more; ref_walk_next(&w, index)) {
        int64_t i = ((const int32_t *)index->data)[ref_offset(index, &w)];
        if (i < base || i >= size + base) return ref_fail_index(op, i, dim, size);
    }
    return KVB_OK;
}

kvb_status ref_check_pool1d(const kvb_tensor *x, const kvb_tensor *y, int32_t kind, int32_t kernel, int32_t step,
                            int32_t padding) {
    KVB_TRY(check_kind("pool1d", kind, POOL_KINDS));
    KVB_TRY(ref_check_along("pool1d", y, y, y ? y->ndim - 1 : 0));
    int32_t last = y->ndim - 1;
    KVB_TRY(ref_check_input("pool1d", "x", x, KVB_F32, y, last));
    if (kernel < 1 || step < 1 || padding < 0 || padding > kernel / 2)
        return kvb_fail(KVB_E_ARG, "pool1d: kernel %d, stride %d, padding %d (padding may be at most half the kernel)",
                        kernel, step, padding);
    int64_t n = x->shape[last], room = n + 2 * (int64_t)padding - kernel, m = room < 0 ? 0 : room / step + 1;
    if (y->shape[last] == m) return KVB_OK;
    return kvb_fail(KVB_E_SHAPE, "pool1d: the output has %lld positions, but %lld in give %lld",
                    (long long)y->shape[last], (long long)n, (long long)m);
}

kvb_status ref_check_vecdot(const kvb_tensor *a, const kvb_tensor *b, const kvb_tensor *y) {
    KVB_TRY(check_present("vecdot", "a", a, KVB_F32));
    KVB_TRY(check_dim("vecdot", a, a->ndim - 1));
    KVB_TRY(ref_check_input("vecdot", "b", b, KVB_F32, a, -1));
    KVB_TRY(ref_check_output("vecdot", y, KVB_F32));
    return kvb_tensor_expect("vecdot", "the output", y, KVB_F32, a->ndim - 1, a->shape);
}

kvb_status ref_check_matmul(const kvb_tensor *a, const kvb_tensor *b, const kvb_tensor *y) {
    KVB_TRY(ref_check_output("matmul", y, KVB_F32));
    KVB_TRY(check_present("matmul", "a", a, KVB_F32));
    KVB_TRY(check_present("matmul", "b", b, KVB_F32));
    int32_t n = y->ndim;
    if (n < 2) return kvb_fail(KVB_E_SHAPE, "matmul: the output has %d dimensions, at least 2 are needed", n);
    int64_t shape[KVB_MAX_DIMS];
    memcpy(shape, y->shape, sizeof shape);
    shape[n - 1] = -1;
    KVB_TRY(kvb_tensor_expect("matmul", "a", a, KVB_F32, n, shape));
    shape[n - 1] = y->shape[n - 1];
    shape[n - 2] = a->shape[n - 1];
    return kvb_tensor_expect("matmul", "b", b, KVB_F32, n, shape);
}

kvb_status ref_check_rank(const char *op, const kvb_tensor *x, const kvb_tensor *y, int32_t dtype) {
    KVB_TRY(ref_check_output(op, y, dtype));
    KVB_TRY(ref_check_input(op, "x", x, KVB_F32, y, -1));
    KVB_TRY(check_dim(op, x, x->ndim - 1));
    if (x->shape[x->ndim - 1] > INT32_MAX) return kvb_fail(KVB_E_SHAPE, "%s: rows of more than 2^31 elements", op);
    return KVB_OK;
}

kvb_status ref_fail_nan(const char *op, int64_t row, int64_t position) {
    kvb_fail(KVB_E_ARG, "%s: NaN at position %lld of row %lld has no place in an order", op, (long long)position,
        (long long)row);
    kvb_hint("-> find where it arises: tensor.locate_nan(t)");
    return KVB_E_ARG;
}
