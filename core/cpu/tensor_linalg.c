/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tensor_linalg.c - batches of small matrices on the CPU: the reference's function of one matrix, dealt to the threads.
 *
 * The results are the reference's bits. Rejected: faster algorithms (tridiagonal QL, blocked factorisations): what
 * presses factorise are a hundred matrices of head_dim size, once a passage.
 */
#include "../ref/matrix.h"
#include "cpu.h"
#include "tensor_cpu.h"

static kvb_status run(const char *name, const ref_matrix_op *op, const ref_matrices *t) {
    KVB_TRY(op->check(t));
    kvb_tensor batch = ref_batch_of(t->a);
    int64_t count = kvb_tensor_count(&batch), work = 1;
    size_t doubles = op->doubles(t);
    for (int i = 0; i < 2; i++) work *= kvb_max64(1, t->a->shape[t->a->ndim - 1 - i]);
    work *= kvb_max64(ref_columns(t->a), t->b ? ref_columns(t->b) : 1);
    bool failed = false;
#pragma omp parallel num_threads((int32_t)kvb_max64(1, kvb_min64(count, kvb_loop_threads(count * work))))
    {
        double *scratch = kvb_alloc_array(doubles, sizeof *scratch, KVB_MEM_SCRATCH);
        if (!scratch) {
#pragma omp atomic write
            failed = true;
        }
#pragma omp for schedule(dynamic)
        for (int64_t i = 0; i < count; i++) {
            ref_walk w = {.more = true};
            int64_t rest = i;
            for (int32_t d = batch.ndim - 1; d >= 0; rest /= batch.shape[d--]) w.at[d] = rest % batch.shape[d];
            if (scratch && !kvb_cancelled()) op->one(t, &w, scratch);
        }
        kvb_free(scratch);
    }
    return failed ? kvb_fail(KVB_E_MEMORY, "%s: out of memory for %zu doubles", name, doubles) : KVB_OK;
}

kvb_status cpu_cholesky(const kvb_tensor *x, kvb_tensor *y, kvb_tensor *info) {
    return run("cholesky", &ref_op_cholesky, &(ref_matrices){.a = x, .out = {y, info}});
}

kvb_status cpu_triangular(const kvb_tensor *a, const kvb_tensor *b, kvb_tensor *y, int32_t upper, int32_t transpose) {
    return run("triangular", &ref_op_triangular,
               &(ref_matrices){.a = a, .b = b, .out = {y}, .flags = {upper, transpose}});
}

kvb_status cpu_solve(const kvb_tensor *a, const kvb_tensor *b, kvb_tensor *y, kvb_tensor *info) {
    return run("solve", &ref_op_solve, &(ref_matrices){.a = a, .b = b, .out = {y, info}});
}

kvb_status cpu_qr(const kvb_tensor *x, kvb_tensor *q, kvb_tensor *r) {
    return run("qr", &ref_op_qr, &(ref_matrices){.a = x, .out = {q, r}});
}

kvb_status cpu_eigh(const kvb_tensor *x, kvb_tensor *w, kvb_tensor *v) {
    return run("eigh", &ref_op_eigh, &(ref_matrices){.a = x, .out = {w, v}});
}

kvb_status cpu_svd(const kvb_tensor *x, kvb_tensor *u, kvb_tensor *s, kvb_tensor *v) {
    return run("svd", &ref_op_svd, &(ref_matrices){.a = x, .out = {u, s, v}});
}
