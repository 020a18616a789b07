/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tensor_rank.c - ranks and stable orders of rows on the CPU, by radix sort.
 *
 * A float maps to an integer of the same order (sign bit flipped, negatives inverted, -0 first made 0); counting sort
 * by its four bytes is stable, so equal values stay in position order, which is the definition. Bytes that are equal
 * in the whole row are skipped. Rejected: a comparison sort of indices (three times slower at 250 elements, and qsort
 * is not stable).
 */
#include "cpu.h"
#include "tensor_cpu.h"

typedef struct item {
    uint32_t key;
    int32_t position;
} item;

/* Ascending in the result means: comes earlier. */
static uint32_t key_of(float x, bool descending) {
    uint32_t u;
    x += 0.0f; /* -0 + 0 = 0 */
    memcpy(&u, &x, 4);
    u = u & 0x80000000u ? ~u : u | 0x80000000u;
    return descending ? ~u : u;
}

/* Sorts items by key; returns whichever of the two buffers holds the result. */
static item *sort(item *items, item *spare, int64_t n) {
    for (int shift = 0; shift < 32 && !kvb_cancelled(); shift += 8) {
        int64_t start[257] = {0};
        KVB_SPANS(first, n)
            for (int64_t i = first; i < kvb_min64(first + KVB_SPAN, n); i++) start[(items[i].key >> shift & 255) + 1]++;
        if (kvb_cancelled()) break;
        if (n > 0 && start[(items[0].key >> shift & 255) + 1] == n) continue;
        for (int b = 0; b < 256; b++) start[b + 1] += start[b];
        KVB_SPANS(first, n)
            for (int64_t i = first; i < kvb_min64(first + KVB_SPAN, n); i++)
                spare[start[items[i].key >> shift & 255]++] = items[i];
        item *swap = items;
        items = spare;
        spare = swap;
    }
    return items;
}

/* Every row of x sorted; y gets ranks (as_rank) or positions. */
static kvb_status order(const char *op, const kvb_tensor *x, kvb_tensor *y, bool descending, bool as_rank,
    int32_t base) {
    int32_t last = x->ndim - 1;
    kvb_tensor x0 = ref_drop_dim(x, last), y0 = ref_drop_dim(y, last);
    const kvb_tensor *const t[] = {&x0, &y0};
    kvb_loop loop = kvb_loop_over(t, 2, false);
    int64_t n = x->shape[last], sx = x->stride[last], sy = y->stride[last], rows = loop.outer * loop.run;
    int64_t bad_row = INT64_MAX, bad_position = 0;
    int32_t failed = 0;
    if (n == 0) return KVB_OK;
#pragma omp parallel num_threads(kvb_loop_threads(rows * n * 8))
    {
        item *items = kvb_alloc_raw(kvb_mul_size(kvb_mul_size(2, (size_t)n), sizeof *items), KVB_MEM_SCRATCH);
        if (!items) {
#pragma omp atomic write
            failed = 1;
        }
#pragma omp for schedule(static)
        for (int64_t r = 0; r < rows; r++) {
            int64_t at[KVB_OPERANDS], within = r % loop.run, nan = -1;
            if (!items || kvb_cancelled()) continue;
            kvb_loop_at(&loop, r / loop.run, at);
            const float *in = (const float *)x->data + at[0] + within * loop.stride[0][loop.ndim];
            int32_t *out = (int32_t *)y->data + at[1] + within * loop.stride[1][loop.ndim];
            for (int64_t i = 0; i < n && (i % KVB_SPAN || !kvb_cancelled()); i++) {
                float v = in[i * sx];
                if (v != v && nan < 0) nan = i;
                items[i] = (item){key_of(v, descending), (int32_t)i};
            }
            if (nan >= 0) {
#pragma omp critical(kvb_tensor_rank_nan)
                if (r < bad_row) bad_row = r, bad_position = nan;
                continue;
            }
            const item *sorted = sort(items, items + n, n);
            if (kvb_cancelled()) continue; /* half sorted: there are positions that nobody wrote */
            for (int64_t i = 0; i < n; i++)
                if (as_rank) out[sorted[i].position * sy] = (int32_t)i;
                else out[i * sy] = sorted[i].position + base;
        }
        kvb_free(items);
    }
    if (failed) return kvb_fail(KVB_E_MEMORY, "%s: out of memory for a row of %lld elements", op, (long long)n);
    return bad_row == INT64_MAX ? KVB_OK : ref_fail_nan(op, bad_row, bad_position);
}

kvb_status cpu_rank(const kvb_tensor *x, kvb_tensor *y) {
    KVB_TRY(ref_check_rank("rank", x, y, KVB_U32));
    return order("rank", x, y, true, true, 0);
}

kvb_status cpu_argsort(const kvb_tensor *x, kvb_tensor *y, int32_t descending, int32_t base) {
    KVB_TRY(ref_check_rank("argsort", x, y, KVB_I32));
    return order("argsort", x, y, descending != 0, false, base);
}
