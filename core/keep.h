/* SPDX-License-Identifier: Apache-2.0 */
/* keep.h - the inside of a keep-set, for the engine: mask words that attention reads as they are. */
#ifndef KVB_KEEP_H
#define KVB_KEEP_H
#include "internal.h"

#ifdef __cplusplus
extern "C" {
#endif

struct kvb_keep {
    kvb_references references;
    int32_t layers, heads, tokens;
    int32_t words;  /* 64-bit words per (layer, head): one per 64-key tile */
    uint64_t *bits; /* [layers][heads][words]; bits past `tokens` are 0. NULL: only on `device` so far */
    uint64_t *device_bits; /* the same in the memory of a GPU, or NULL */
    int32_t device;
};

/* Brings the bits to the host, or to `device`, if they are not there yet. *out: valid until the set changes or ends. */
kvb_status kvb_keep_host_bits(const kvb_keep *k, const uint64_t **out);
kvb_status kvb_keep_device_bits(const kvb_keep *k, int32_t device, const uint64_t **out);

/* Of a set whose bits are on the host. */

static inline uint64_t *kvb_keep_row(const kvb_keep *k, int32_t layer, int32_t head) {
    return k->bits + ((int64_t)layer * k->heads + head) * k->words;
}

#ifdef __cplusplus
}
#endif
#endif
