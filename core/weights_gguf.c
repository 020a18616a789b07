/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weights_gguf.c - the GGUF container, versions 2 and 3 (little-endian).
 *
 * One cursor walks the header; every count and length is compared with the bytes that are left before anything is
 * stepped over, allocated or multiplied, so a hostile file costs time linear in its own size and nothing else. String
 * arrays (a tokenizer's vocabulary) are walked once to validate them and leave a landmark every eighth string instead
 * of a pointer each.
 * Rejected: arrays of arrays (ggml refuses them too) and version 1 (its counts have other widths; no file in use has
 * it).
 *
 * Source: ggml/docs/gguf.md.
 */
#include "weights.h"

typedef struct cursor {
    const weight_file *file;
    uint64_t at;
} cursor;

/* kvb_fail with the file's name in front. */
#define BROKEN(c, format, ...) kvb_fail(KVB_E_FORMAT, "gguf '%s': " format, (c)->file->path, __VA_ARGS__)

static uint64_t left(const cursor *c) { return (uint64_t)c->file->bytes - c->at; }

static kvb_status take(cursor *c, uint64_t n, const char *what, const uint8_t **out) {
    if (n > left(c))
        return BROKEN(c, "truncated: %s needs %llu bytes at offset %llu, the file has %lld bytes", what,
                      (unsigned long long)n, (unsigned long long)c->at, (long long)c->file->bytes);
    *out = c->file->data + c->at;
    c->at += n;
    return KVB_OK;
}

static kvb_status take_u32(cursor *c, const char *what, uint32_t *out) {
    const uint8_t *p = NULL;
    KVB_TRY(take(c, 4, what, &p));
    memcpy(out, p, 4);
    return KVB_OK;
}

static kvb_status take_u64(cursor *c, const char *what, uint64_t *out) {
    const uint8_t *p = NULL;
    KVB_TRY(take(c, 8, what, &p));
    memcpy(out, p, 8);
    return KVB_OK;
}

/* A key or tensor name: copied, NUL-terminated, without NUL bytes inside. */
static kvb_status take_name(cursor *c, const char *what, char **out) {
    uint64_t n = 0;
    const uint8_t *p = NULL;
    KVB_TRY(take_u64(c, what, &n));
    KVB_TRY(take(c, n, what, &p));
    if (n == 0 || n > 65535)
        return BROKEN(c, "%s of %llu bytes at offset %llu", what, (unsigned long long)n, (unsigned long long)c->at - n);
    if (memchr(p, 0, n)) return BROKEN(c, "%s '%s' contains a NUL byte", what, kvb_printable((const char *)p, n));
    *out = kvb_strdup_n((const char *)p, n, KVB_MEM_OTHER);
    return *out ? KVB_OK : KVB_E_MEMORY;
}

/* ---- metadata ----------------------------------------------------------------------------------------------- */

static uint64_t scalar_bytes(uint32_t type) {
    static const uint8_t sizes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    return type < sizeof sizes ? sizes[type] : 0;
}

static kvb_status take_strings(cursor *c, weight_meta *m, uint64_t n) {
    const uint8_t *p = NULL;
    if (n > left(c) / 8)
        return BROKEN(c, "metadata '%s' claims %llu strings at offset %llu, the file has %lld bytes",
                      kvb_printable(m->key, strlen(m->key)), (unsigned long long)n, (unsigned long long)c->at,
                      (long long)c->file->bytes);
    uint64_t start = c->at;
    if (n > KVB_META_STRIDE) {
        m->landmarks = kvb_alloc_array(kvb_add_size(n / KVB_META_STRIDE, 1), sizeof *m->landmarks, KVB_MEM_OTHER);
        if (!m->landmarks) return KVB_E_MEMORY;
    }
    for (uint64_t i = 0; i < n; i++) {
        uint64_t length = 0;
        if (m->landmarks && i % KVB_META_STRIDE == 0) m->landmarks[i / KVB_META_STRIDE] = c->at - start;
        KVB_TRY(take_u64(c, "a string in the metadata", &length));
        KVB_TRY(take(c, length, "a string in the metadata", &p));
    }
    m->data = c->file->data + start;
    return KVB_OK;
}

static kvb_status take_value(cursor *c, weight_meta *m) {
    const char *key = kvb_printable(m->key, strlen(m->key));
    uint32_t type = 0;
    uint64_t n = 1;
    KVB_TRY(take_u32(c, "a metadata type", &type));
    if (type == KVB_META_ARRAY) {
        KVB_TRY(take_u32(c, "an array's element type", &type));
        KVB_TRY(take_u64(c, "an array's length", &n));
        if (type == KVB_META_ARRAY)
            return BROKEN(c, "metadata '%s' is an array of arrays, which is not supported", key);
    }
    m->type = (int32_t)type;
    if (n > INT64_MAX / 16)
        return BROKEN(c, "metadata '%s' claims %llu elements, the file has %lld bytes", key, (unsigned long long)n,
                      (long long)c->file->bytes);
    m->count = (int64_t)n;
    if (type == KVB_META_STRING) return take_strings(c, m, n);
    if (!scalar_bytes(type)) return BROKEN(c, "metadata '%s' has unknown type %u", key, type);
    return take(c, n * scalar_bytes(type), key, &m->data);
}

/* ---- tensors ------------------------------------------------------------------------------------------------ */

/* `data` holds the offset into the data section until place_tensors turns it into an address. */
typedef struct pending {
    uint64_t offset;
} pending;

static kvb_status take_shape(cursor *c, weight_entry *e) {
    const char *name = kvb_printable(e->name, strlen(e->name));
    uint32_t ndim = 0;
    KVB_TRY(take_u32(c, "a tensor's number of dimensions", &ndim));
    if (ndim > 4) return BROKEN(c, "tensor '%s' has %u dimensions, at most 4 are allowed", name, ndim);
    e->ndim = (int32_t)ndim;
    for (uint32_t i = 0; i < ndim; i++) {
        uint64_t n = 0;
        KVB_TRY(take_u64(c, "a tensor's shape", &n));
        if (n > INT64_MAX)
            return BROKEN(c, "tensor '%s' claims %llu elements along one dimension", name, (unsigned long long)n);
        e->shape[ndim - 1 - i] = (int64_t)n;
    }
    if (!kvb_shape_product(e->shape, e->ndim, &e->elements))
        return BROKEN(c, "tensor '%s' claims %lld x %lld x %lld x %lld elements, the file has %lld bytes", name,
                      (long long)e->shape[0], (long long)(ndim > 1 ? e->shape[1] : 1),
                      (long long)(ndim > 2 ? e->shape[2] : 1), (long long)(ndim > 3 ? e->shape[3] : 1),
                      (long long)c->file->bytes);
    return KVB_OK;
}

static kvb_status take_format(cursor *c, weight_entry *e) {
    const char *name = kvb_printable(e->name, strlen(e->name));
    uint32_t type = 0;
    KVB_TRY(take_u32(c, "a tensor's type", &type));
    e->format = kvb_format_ggml(type);
    if (!e->format) {
        char text[32] = "ggml type ";
        size_t n = strlen(text);
        char digits[12];
        int d = 0;
        do digits[d++] = (char)('0' + type % 10);
        while (type /= 10);
        while (d) text[n++] = digits[--d];
        e->type_name = kvb_strdup_n(text, n, KVB_MEM_OTHER);
        return e->type_name ? KVB_OK : KVB_E_MEMORY;
    }
    int64_t row = e->ndim ? e->shape[e->ndim - 1] : 1;
    if (row % e->format->block)
        return BROKEN(c, "tensor '%s' has rows of %lld elements, type %s needs a multiple of %d", name, (long long)row,
                      e->format->name, e->format->block);
    if (__builtin_mul_overflow(e->elements / e->format->block, (int64_t)e->format->bytes, &e->bytes))
        return BROKEN(c, "tensor '%s' claims %lld elements of type %s, the file has %lld bytes", name,
                      (long long)e->elements, e->format->name, (long long)c->file->bytes);
    return KVB_OK;
}

static kvb_status place_tensors(cursor *c, kvb_weights *w, const pending *offsets, uint64_t alignment) {
    const weight_file *f = c->file;
    uint64_t start = (c->at + alignment - 1) / alignment * alignment; /* both are far below 2^63 */
    if (w->n_entries && start > (uint64_t)f->bytes)
        return BROKEN(c, "truncated: the tensors begin at byte %llu, the file has %lld bytes",
                      (unsigned long long)start, (long long)f->bytes);
    for (int32_t i = 0; i < w->n_entries; i++) {
        weight_entry *e = &w->entries[i];
        const char *name = kvb_printable(e->name, strlen(e->name));
        uint64_t offset = offsets[i].offset, room = (uint64_t)f->bytes - start;
        if (offset % alignment)
            return BROKEN(c, "tensor '%s' is at offset %llu, which is not a multiple of the alignment %llu", name,
                          (unsigned long long)offset, (unsigned long long)alignment);
        if (offset > room || (uint64_t)e->bytes > room - offset) {
            BROKEN(c, "tensor '%s' claims %lld elements (%lld bytes) at offset %llu, the file has %lld bytes", name,
                   (long long)e->elements, (long long)e->bytes, (unsigned long long)(start + offset),
                   (long long)f->bytes);
            kvb_hint("-> the file may be cut short: fetch it again");
            return KVB_E_FORMAT;
        }
        e->data = f->data + start + offset;
    }
    return kvb_weights_check_overlaps(w, 0, f, (int64_t)start, false);
}

static kvb_status read_alignment(cursor *c, const kvb_weights *w, uint64_t *out) {
    *out = 32;
    for (int32_t i = 0; i < w->n_meta; i++) {
        const weight_meta *m = &w->meta[i];
        if (strcmp(m->key, "general.alignment") != 0) continue;
        uint32_t a;
        if (m->type != 4 || m->count != 1)
            return BROKEN(c, "general.alignment has type %d, expected a 32-bit unsigned number", m->type);
        memcpy(&a, m->data, 4);
        if (a == 0 || a > 1u << 20 || (a & (a - 1)))
            return BROKEN(c, "general.alignment is %u, expected a power of two up to 2^20", a);
        *out = a;
    }
    return KVB_OK;
}

static kvb_status take_tensors(cursor *c, kvb_weights *w, uint64_t n, pending *offsets) {
    for (uint64_t i = 0; i < n; i++) {
        weight_entry *e = kvb_weights_push(w);
        if (!e) return KVB_E_MEMORY;
        KVB_TRY(take_name(c, "a tensor's name", &e->name));
        KVB_TRY(take_shape(c, e));
        KVB_TRY(take_format(c, e));
        KVB_TRY(take_u64(c, "a tensor's offset", &offsets[i].offset));
    }
    uint64_t alignment = 0;
    KVB_TRY(read_alignment(c, w, &alignment));
    return place_tensors(c, w, offsets, alignment);
}

static kvb_status take_version(cursor *c) {
    const uint8_t *magic = NULL;
    uint32_t version = 0;
    KVB_TRY(take(c, 4, "the magic number", &magic));
    if (memcmp(magic, "GGUF", 4) != 0) {
        BROKEN(c, "wrong magic number: it begins with '%s', expected 'GGUF'", kvb_printable((const char *)magic, 4));
        kvb_hint("-> this is no GGUF file; was an error page downloaded instead?");
        return KVB_E_FORMAT;
    }
    KVB_TRY(take_u32(c, "the version", &version));
    if (version == 2 || version == 3) return KVB_OK;
    if (version && (version & 0xffff) == 0)
        BROKEN(c, "big-endian file (version reads as 0x%08x), only little-endian is supported", version);
    else
        BROKEN(c, "version %u, supported are 2 and 3", version);
    kvb_hint("-> convert the model again with a current llama.cpp");
    return KVB_E_FORMAT;
}

kvb_status kvb_gguf_parse(kvb_weights *w, const weight_file *file) {
    cursor c = {file, 0};
    uint64_t n_tensors = 0, n_meta = 0;
    KVB_TRY(take_version(&c));
    KVB_TRY(take_u64(&c, "the number of tensors", &n_tensors));
    KVB_TRY(take_u64(&c, "the number of metadata entries", &n_meta));
    enum { SMALLEST_TENSOR = 8 + 1 + 4 + 4 + 8, SMALLEST_META = 8 + 1 + 4 + 1 };
    if (n_tensors > left(&c) / SMALLEST_TENSOR || n_meta > left(&c) / SMALLEST_META)
        return BROKEN(&c, "claims %llu tensors and %llu metadata entries, the file has %lld bytes",
                      (unsigned long long)n_tensors, (unsigned long long)n_meta, (long long)file->bytes);
    for (uint64_t i = 0; i < n_meta; i++) {
        weight_meta *m = kvb_weights_push_meta(w);
        if (!m) return KVB_E_MEMORY;
        KVB_TRY(take_name(&c, "a metadata key", &m->key));
        KVB_TRY(take_value(&c, m));
    }
    pending *offsets = kvb_alloc_array(n_tensors, sizeof *offsets, KVB_MEM_OTHER);
    if (!offsets) return KVB_E_MEMORY;
    kvb_status status = take_tensors(&c, w, n_tensors, offsets);
    kvb_free(offsets);
    return status;
}
