/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_tokenizer_gguf.c - any bytes as a GGUF file with a vocabulary (byte-level BPE or SentencePiece): refused with one
 * line, or a tokenizer that encodes anything to ids and ranges inside the text, in order, and decodes every id it has.
 */
#include "weights.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void expect(int ok) {
    if (!ok) abort();
}

static void use(kvb_tokenizer *t, const char *text, int64_t bytes, int32_t parse_special) {
    const int32_t *ids, *spans;
    int32_t n;
    expect(kvb_tokenizer_encode(t, text, bytes, parse_special, &ids, &spans, &n) == KVB_OK);
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
    static const char prose[] = "ab  abc <s><h1> \xe2\x96\x81" "ab\xe2\x82\xac\xff z\n\n<0x41> \xe2\x96";
    kvb_weights *w = NULL;
    kvb_tokenizer *t = NULL;
    int64_t before = kvb_memory_bytes(KVB_MEM_ALL);
    kvb_diag_clear();
    if (kvb_weights_open_memory(data, (int64_t)bytes, "gguf", &w) == KVB_OK) {
        kvb_status status = kvb_tokenizer_from_gguf(w, "fuzz", &t);
        if (status == KVB_OK) {
            use(t, prose, sizeof prose, 1); /* its NUL included */
            use(t, (const char *)data, (int64_t)bytes, 0);
            const char *text;
            int64_t n;
            for (int32_t id = 0; id < kvb_tokenizer_size(t); id++)
                expect(kvb_tokenizer_decode(t, &id, 1, 0, &text, &n) == KVB_OK);
            expect(kvb_tokenizer_bos(t) < kvb_tokenizer_size(t) && kvb_tokenizer_kind(t));
        } else
            expect(!t && kvb_diag_code() == status && *kvb_diag_message() && !strchr(kvb_diag_message(), '\n'));
    }
    kvb_tokenizer_free(t);
    kvb_weights_free(w);
    expect(kvb_memory_bytes(KVB_MEM_ALL) == before);
    return 0;
}
