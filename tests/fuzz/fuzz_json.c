/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_json.c - any bytes as JSON: every value walked through the public verbs, or refused with one line. */
#include "internal.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static double walk(const kvb_json *v) {
    const char *key;
    int64_t n;
    const kvb_json *child;
    double sum = 0;
    switch (kvb_json_kind(v)) {
    case KVB_JSON_NUMBER:
        return kvb_json_number(v);
    case KVB_JSON_STRING: {
        const char *s = kvb_json_string(v, &n);
        if (s[n] != 0) abort();
        return (double)n;
    }
    case KVB_JSON_ARRAY:
        for (int32_t i = 0; i < kvb_json_count(v); i++) sum += walk(kvb_json_at(v, i));
        return sum;
    case KVB_JSON_OBJECT:
        for (void *at = NULL; (at = kvb_json_next(v, at, &key, &n, &child));) {
            if (kvb_json_get(v, key) != child) abort();
            sum += walk(child);
        }
        return sum;
    default:
        return 0;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    kvb_json *v = NULL;
    kvb_diag_clear();
    kvb_status status = kvb_json_parse((const char *)data, (int64_t)bytes, "fuzz", &v);
    if (status == KVB_OK)
        walk(v);
    else if (v || kvb_diag_code() != status || strchr(kvb_diag_message(), '\n'))
        abort();
    kvb_json_free(v);
    return 0;
}
