/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attention.cu - cuts a step into items and picks the attention kernel.
 *
 * An item is what one block works on per KV head: consecutive query tokens over one prefix, whose tiles are then loaded
 * once for all of them (27 conditions times the questions of a passage). Where an item is cut changes no bit, so the
 * plan looks only at speed. Rows without a prefix (a passage being prefilled) are not mixed with other sequences: their
 * own keys are the long ones, and a block shares them only within a sequence. A step of very few rows is cut into
 * single rows: then latency counts, and more blocks.
 */
#include "attention_variants.h"

enum { FEW_ROWS = 16 };

static bool same_prefix(const kvb_cuda_seq *a, const kvb_cuda_seq *b) {
    return a->prefix_n > 0 && a->prefix_n == b->prefix_n && a->prefix.base == b->prefix.base &&
           a->prefix.table == b->prefix.table;
}

int32_t kvb_cuda_attention_plan(const kvb_cuda_row *row, int32_t n, const kvb_cuda_seq *seq, int32_t group,
                                int32_t head_dim, int32_t dtype, kvb_cuda_item *item) {
    (void)dtype;
    int32_t items = 0, most = kvb_cuda_attention_rows(head_dim) / group;
    if (most < 1 || n <= FEW_ROWS) most = 1; /* most < 1: kvb_cuda_attend refuses such groups */
    for (int32_t i = 0; i < n;) {
        int32_t count = 1;
        while (count < most && i + count < n &&
               (row[i + count].seq == row[i].seq || same_prefix(seq + row[i].seq, seq + row[i + count].seq)))
            count++;
        item[items++] = {i, count};
        i += count;
    }
    return items;
}

int32_t kvb_cuda_attention_splits(const kvb_cuda_row *row, int32_t n, const kvb_cuda_seq *seq) {
    int32_t most = 1;
    for (int32_t i = 0; i < n; i++) {
        int32_t tiles = (seq[row[i].seq].prefix_n + KVB_TILE - 1) / KVB_TILE + row[i].index / KVB_TILE + 1;
        int32_t splits = (tiles + KVB_CUDA_SPLIT - 1) / KVB_CUDA_SPLIT;
        most = splits > most ? splits : most;
    }
    return most;
}

kvb_status kvb_cuda_attend(const kvb_cuda_attention *a) {
    if (a->kv_heads < 1 || a->heads % a->kv_heads || a->heads / a->kv_heads > 8)
        return kvb_fail(KVB_E_UNSUPPORTED, "attention: %d query heads over %d KV heads, groups of 1 to 8 are supported",
                        a->heads, a->kv_heads);
    switch (a->head_dim) {
    case 16:
    case 32:
    case 64:
    case 80:
    case 96:
    case 128:
    case 256:
        break;
    default:
        return kvb_fail(KVB_E_UNSUPPORTED, "attention: head_dim %d, supported are 16, 32, 64, 80, 96, 128 and 256",
                        a->head_dim);
    }
    if (a->n_rows == 0) return KVB_OK;
    if (a->splits > 1 && kvb_cuda_part_floats(a->n_rows, a->heads, a->head_dim) > a->part_floats)
        return kvb_fail(KVB_E_INTERNAL, "attention: no room for what splits leave, %d rows of %d heads", a->n_rows,
                        a->heads);
    if (a->dtype == KVB_F32) return kvb_cuda_attend_v0(a);
    if (a->dtype != KVB_BF16 && a->dtype != KVB_F16)
        return kvb_fail(KVB_E_UNSUPPORTED, "attention: caches are f32, bf16 or f16, not dtype %d", a->dtype);
    bool bf16 = a->dtype == KVB_BF16;
    if (a->n_items == a->n_rows && (int64_t)a->n_rows * a->kv_heads <= 2 * kvb_cuda_current()->multiprocessors) {
        kvb_status status = bf16 ? kvb_cuda_attend_row_bf16(a) : kvb_cuda_attend_row_f16(a);
        if (status != KVB_E_UNSUPPORTED) return status;
    }
    return bf16 ? kvb_cuda_attend_bf16(a) : kvb_cuda_attend_f16(a);
}
