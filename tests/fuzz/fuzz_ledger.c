/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_ledger.c - any bytes as a ledger entry: refused with one line, or keep-sets that can be counted, packed again and
 * come back equal.
 */
#include "internal.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void expect(int ok) {
    if (!ok) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    static const int32_t asked[] = {0, 1, 7, 254, -1, INT32_MAX};
    for (size_t i = 0; i < sizeof asked / sizeof *asked; i++) {
        kvb_keep *keep = NULL, *back = NULL;
        kvb_diag_clear();
        kvb_status status = kvb_ledger_unpack(data, (int64_t)bytes, asked[i], &keep);
        if (status != KVB_OK) {
            expect(!keep && kvb_diag_code() == status && *kvb_diag_message() && !strchr(kvb_diag_message(), '\n'));
            continue;
        }
        int64_t total = kvb_keep_total(keep), most = (int64_t)kvb_keep_layers(keep) * kvb_keep_heads(keep);
        expect(total >= 0 && total <= most * kvb_keep_tokens(keep));
        const void *packed;
        int64_t n;
        const kvb_keep *one = keep;
        expect(kvb_ledger_pack(&one, 1, &packed, &n) == KVB_OK);
        expect(kvb_ledger_unpack(packed, n, 0, &back) == KVB_OK && kvb_keep_hash(back) == kvb_keep_hash(keep));
        kvb_keep_free(keep);
        kvb_keep_free(back);
    }
    return 0;
}
