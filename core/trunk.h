/* SPDX-License-Identifier: Apache-2.0 */
/*
 * trunk.h - the tokens that several questions of one condition begin with: run once, copied to whoever continues them.
 *
 * A question's first tokens see the passage, the keep-set and themselves, so their keys and values are the same bits
 * for every question that begins so. Copying them is exact and costs a thousandth of computing them. Rejected:
 * attention over a third segment (the same bits, for a branch in the hottest kernel).
 */
#ifndef KVB_TRUNK_H
#define KVB_TRUNK_H
#include "model.h"

typedef struct kvb_trunk {
    struct kvb_trunk *next; /* in its bucket */
    kvb_ctx *ctx;           /* retained, as keep */
    kvb_keep *keep;
    int32_t position, n, *ids;
    int32_t waiting;     /* requests that will continue it */
    bool ready;          /* its keys are in `slot` */
    struct kvb_slot *slot; /* of the batch; NULL until ready */
} kvb_trunk;

enum { KVB_TRUNK_BUCKETS = 1024 };
typedef struct kvb_trunks {
    kvb_trunk *bucket[KVB_TRUNK_BUCKETS];
} kvb_trunks;

/* The trunk of these n tokens behind ctx and keep, made if it is new (then *made is true). */
kvb_status kvb_trunk_get(kvb_trunks *all, kvb_ctx *ctx, kvb_keep *keep, int32_t position, const int32_t *ids, int32_t n,
                         bool *made, kvb_trunk **out);
/* Takes one out of the table and frees it; its slot is the caller's business. */
void kvb_trunk_drop(kvb_trunks *all, kvb_trunk *t);

#endif
