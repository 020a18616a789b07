/* SPDX-License-Identifier: Apache-2.0 */
/*
 * json.c - jansson behind a handful of verbs, for Lua and for the parsers of model folders.
 *
 * Every number becomes a double: tokenizer_config.json files really contain integers of 100 bits. Duplicate keys are
 * an error, since two answers to one question is how two readers of a model come to disagree. Rejected: handing
 * jansson our counted allocator (its 64-byte headers would triple the memory of a tokenizer.json, which lives for a
 * moment).
 */
#include "internal.h"
#include <jansson.h>

static const json_t *as_json(const kvb_json *value) { return (const json_t *)(const void *)value; }
static const kvb_json *as_ours(const json_t *value) { return (const kvb_json *)(const void *)value; }

kvb_status kvb_json_parse(const char *text, int64_t bytes, const char *where, kvb_json **out) {
    *out = NULL;
    if (bytes < 0) return kvb_fail(KVB_E_ARG, "%s: a text of %lld bytes", where, (long long)bytes);
    if (bytes >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) text += 3, bytes -= 3;
    json_error_t error;
    json_t *root =
        json_loadb(bytes ? text : "", (size_t)bytes,
                   JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL | JSON_ALLOW_NUL, &error);
    if (!root) {
        for (char *c = error.text; *c; c++)
            if ((unsigned char)*c < 0x20 || *c == 0x7f) *c = ' ';
        bool memory = json_error_code(&error) == json_error_out_of_memory;
        return kvb_fail(memory ? KVB_E_MEMORY : KVB_E_FORMAT,
                        "%s: not valid JSON at line %d, column %d (byte %d of %lld): %s", where, error.line,
                        error.column, error.position, (long long)bytes, error.text);
    }
    *out = (kvb_json *)(void *)root;
    return KVB_OK;
}

void kvb_json_free(kvb_json *root) { json_decref((json_t *)(void *)root); }

int32_t kvb_json_kind(const kvb_json *value) {
    if (!value) return KVB_JSON_NULL;
    switch (json_typeof(as_json(value))) {
    case JSON_OBJECT:
        return KVB_JSON_OBJECT;
    case JSON_ARRAY:
        return KVB_JSON_ARRAY;
    case JSON_STRING:
        return KVB_JSON_STRING;
    case JSON_INTEGER:
    case JSON_REAL:
        return KVB_JSON_NUMBER;
    case JSON_TRUE:
        return KVB_JSON_TRUE;
    case JSON_FALSE:
        return KVB_JSON_FALSE;
    default:
        return KVB_JSON_NULL;
    }
}

double kvb_json_number(const kvb_json *value) { return json_number_value(as_json(value)); }

const char *kvb_json_string(const kvb_json *value, int64_t *bytes) {
    if (bytes) *bytes = (int64_t)json_string_length(as_json(value));
    return json_string_value(as_json(value));
}

int32_t kvb_json_count(const kvb_json *value) {
    const json_t *v = as_json(value);
    size_t n = json_is_array(v) ? json_array_size(v) : json_object_size(v);
    return n > INT32_MAX ? INT32_MAX : (int32_t)n;
}

const kvb_json *kvb_json_at(const kvb_json *array, int32_t index) {
    return index < 0 ? NULL : as_ours(json_array_get(as_json(array), (size_t)index));
}

const kvb_json *kvb_json_get(const kvb_json *object, const char *key) {
    return as_ours(json_object_get(as_json(object), key));
}

void *kvb_json_next(const kvb_json *object, void *position, const char **key, int64_t *key_bytes,
                    const kvb_json **value) {
    json_t *v = (json_t *)(uintptr_t)object; /* jansson's iterators are not const-correct; nothing is changed */
    void *next = position ? json_object_iter_next(v, position) : json_object_iter(v);
    if (!next) return NULL;
    if (key) *key = json_object_iter_key(next);
    if (key_bytes) *key_bytes = (int64_t)json_object_iter_key_len(next);
    if (value) *value = as_ours(json_object_iter_value(next));
    return next;
}
