/* SPDX-License-Identifier: Apache-2.0 */
/*
 * trunk.c - finding the trunk that a request can share, by context, keep-set, position and tokens.
 *
 * Keep-sets count as equal when they are the same object: the sweep hands every question of a condition the same one.
 */
#include "trunk.h"

static uint64_t hash_of(const kvb_ctx *ctx, const kvb_keep *keep, int32_t position, const int32_t *ids, int32_t n) {
    uint64_t key[3] = {(uint64_t)(uintptr_t)ctx, (uint64_t)(uintptr_t)keep, (uint64_t)(uint32_t)position};
    return kvb_hash64(ids, (int64_t)n * (int64_t)sizeof *ids, kvb_hash64(key, sizeof key, 0)) % KVB_TRUNK_BUCKETS;
}

static void destroy(kvb_trunk *t) {
    kvb_ctx_free(t->ctx);
    kvb_keep_free(t->keep);
    kvb_free(t->ids);
    kvb_free(t);
}

kvb_status kvb_trunk_get(kvb_trunks *all, kvb_ctx *ctx, kvb_keep *keep, int32_t position, const int32_t *ids, int32_t n,
                         bool *made, kvb_trunk **out) {
    kvb_trunk **bucket = all->bucket + hash_of(ctx, keep, position, ids, n);
    *made = false;
    for (kvb_trunk *t = *bucket; t; t = t->next)
        if (t->ctx == ctx && t->keep == keep && t->position == position && t->n == n &&
            memcmp(t->ids, ids, (size_t)n * sizeof *ids) == 0) {
            *out = t;
            return KVB_OK;
        }
    kvb_trunk *t = kvb_alloc(sizeof *t, KVB_MEM_OTHER);
    if (!t) return KVB_E_MEMORY;
    kvb_ctx_retain(ctx);
    kvb_keep_retain(keep);
    t->ctx = ctx;
    t->keep = keep;
    t->position = position;
    t->n = n;
    t->ids = kvb_alloc_array((size_t)n, sizeof *ids, KVB_MEM_OTHER);
    if (!t->ids) {
        destroy(t);
        return KVB_E_MEMORY;
    }
    memcpy(t->ids, ids, (size_t)n * sizeof *ids);
    t->next = *bucket;
    *bucket = t;
    *made = true;
    *out = t;
    return KVB_OK;
}

void kvb_trunk_drop(kvb_trunks *all, kvb_trunk *t) {
    kvb_trunk **at = all->bucket + hash_of(t->ctx, t->keep, t->position, t->ids, t->n);
    while (*at != t) at = &(*at)->next;
    *at = t->next;
    destroy(t);
}
