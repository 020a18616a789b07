/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_tokenizer.c - any bytes as a tokenizer.json: refused with one line, or a tokenizer that encodes anything (the
 * bytes of the input among it) to ids and ranges inside the text, in order, and decodes every id it has.
 */
#include "kvbench.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void expect(int ok) {
    if (!ok) abort();
}

static void use(kvb_tokenizer *t, const char *text, int64_t bytes, int32_t parse_special) {
    const int32_t *ids, *spans;
    int32_t n;
    if (kvb_tokenizer_encode(t, text, bytes, parse_special, &ids, &spans, &n) != KVB_OK) {
        /* only a split pattern that explodes may refuse a text */
        expect(kvb_diag_code() == KVB_E_UNSUPPORTED && !strchr(kvb_diag_message(), '\n'));
        return;
    }
    for (int32_t i = 0, from = 0, to = 0; i < n; i++) {
        expect(ids[i] >= 0 && ids[i] < kvb_tokenizer_size(t));
        expect(spans[2 * i] >= from && spans[2 * i + 1] >= to && spans[2 * i] <= spans[2 * i + 1] &&
               spans[2 * i + 1] <= bytes);
        from = spans[2 * i];
        to = spans[2 * i + 1];
    }
    const char *decoded;
    int64_t decoded_bytes;
    expect(kvb_tokenizer_decode(t, ids, n, 0, &decoded, &decoded_bytes) == KVB_OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    static const char prose[] =
        "The  Spire's 1954 re\xcc\x81sume\xcc\x81, <|im_end|> Who?\n\n\xe6\x97\xa5\xff <mask> It in";
    kvb_tokenizer *t = NULL;
    int64_t before = kvb_memory_bytes(KVB_MEM_ALL);
    kvb_diag_clear();
    kvb_status status = kvb_tokenizer_from_json((const char *)data, (int64_t)bytes, "fuzz", &t);
    if (status == KVB_OK) {
        use(t, prose, sizeof prose, 1); /* its NUL included */
        use(t, (const char *)data, (int64_t)bytes, 0);
        const char *text;
        int64_t n;
        for (int32_t id = 0; id < kvb_tokenizer_size(t); id++) {
            expect(kvb_tokenizer_decode(t, &id, 1, 0, &text, &n) == KVB_OK);
            kvb_tokenizer_is_special(t, id);
        }
        expect(kvb_tokenizer_bos(t) < kvb_tokenizer_size(t) && kvb_tokenizer_kind(t));
    } else
        expect(!t && kvb_diag_code() == status && *kvb_diag_message() && !strchr(kvb_diag_message(), '\n'));
    kvb_tokenizer_free(t);
    expect(kvb_memory_bytes(KVB_MEM_ALL) == before);
    return 0;
}
