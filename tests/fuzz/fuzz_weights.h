/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_weights.h - what the fuzz targets of weight files do with an input. A refusal must carry a code and one line; an
 * accepted file must let every tensor and every metadata element be read, which shows that its checks were complete.
 */
#include "weights.h"
#include <stdlib.h>

static inline void fuzz_expect(int ok) {
    if (!ok) abort();
}

static inline void fuzz_read_tensors(const kvb_weights *w) {
    enum { MOST = 1 << 20 };
    for (int32_t i = 0; i < kvb_weights_count(w); i++) {
        kvb_weight_info info;
        fuzz_expect(kvb_weights_info(w, i, &info) == KVB_OK);
        fuzz_expect(kvb_weights_find(w, info.name) == i);
        int64_t n = 1;
        for (int32_t d = 0; d < info.ndim; d++) n = info.shape[d] > MOST || n > MOST ? MOST + 1 : n * info.shape[d];
        if (n > MOST) continue;
        float *out = malloc((size_t)n * 4 + 1);
        int64_t *ints = malloc((size_t)n * 8 + 1);
        kvb_weights_read(w, i, out, n);
        kvb_weights_read_int(w, i, ints, n);
        free(out);
        free(ints);
    }
}

static inline void fuzz_read_metadata(const kvb_weights *w) {
    uint64_t sum = 0;
    for (int32_t i = 0; i < kvb_weights_meta_keys(w); i++) {
        const char *key = kvb_weights_meta_key(w, i);
        int64_t n = kvb_weights_meta_count(w, key), bytes;
        for (int64_t k = -1; k <= n; k++) {
            const char *s = kvb_weights_meta_string(w, key, k, &bytes);
            if (s)
                sum ^= kvb_hash64(s, bytes, 0);
            else
                kvb_weights_meta_number(w, key, k);
        }
    }
    fuzz_expect(sum != 1 || w->n_meta > 0);
}

static inline int fuzz_weights(const uint8_t *data, size_t bytes, const char *kind) {
    kvb_weights *w = NULL;
    int64_t before = kvb_memory_bytes(KVB_MEM_ALL);
    kvb_diag_clear();
    kvb_status status = kvb_weights_open_memory(data, (int64_t)bytes, kind, &w);
    if (status == KVB_OK) {
        fuzz_read_tensors(w);
        fuzz_read_metadata(w);
        fuzz_expect(kvb_weights_hash(w) != 0);
    } else {
        fuzz_expect(w == NULL && kvb_diag_code() == status && kvb_diag_message()[0]);
        fuzz_expect(!strchr(kvb_diag_message(), '\n'));
    }
    kvb_weights_free(w);
    fuzz_expect(kvb_memory_bytes(KVB_MEM_ALL) == before);
    return 0;
}
