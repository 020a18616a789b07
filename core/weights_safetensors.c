/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weights_safetensors.c - safetensors files, and folders of them behind an index.
 *
 * The header is JSON: everything in it is a claim. Offsets must lie in the file, agree with shape and type, and tile
 * the data without overlap or gap (the format demands it, so a file that was cut or glued together is caught). An
 * index may only name files in or below its own folder, and each tensor must really be in the shard it is mapped to.
 * Rejected: opening every *.safetensors of a folder without an index (a stray adapter file would shadow weights).
 *
 * Source: the format section of the safetensors README.
 */
#include "weights.h"
#include <stdio.h>

#define BROKEN(file, format, ...) kvb_fail(KVB_E_FORMAT, "safetensors '%s': " format, (file)->path, __VA_ARGS__)

/* A JSON number that is a whole number in [0, 2^53]; -1 otherwise. */
static int64_t whole(const kvb_json *v) {
    double x = kvb_json_kind(v) == KVB_JSON_NUMBER ? kvb_json_number(v) : -1;
    return x >= 0 && x <= 0x1p53 && x == (double)(int64_t)x ? (int64_t)x : -1;
}

static kvb_status read_shape(const weight_file *f, weight_entry *e, const char *name, const kvb_json *shape) {
    int32_t n = kvb_json_kind(shape) == KVB_JSON_ARRAY ? kvb_json_count(shape) : -1;
    if (n < 0 || n > 4) return BROKEN(f, "tensor '%s' has %d dimensions, expected an array of 0 to 4", name, n);
    e->ndim = n;
    for (int32_t i = 0; i < n; i++) {
        e->shape[i] = whole(kvb_json_at(shape, i));
        if (e->shape[i] < 0)
            return BROKEN(f, "tensor '%s': dimension %d of its shape is not a whole number from 0 to 2^53", name, i);
    }
    if (!kvb_shape_product(e->shape, n, &e->elements))
        return BROKEN(f, "tensor '%s' claims more than 2^62 elements, the file has %lld bytes", name,
                      (long long)f->bytes);
    return KVB_OK;
}

static kvb_status read_type(const weight_file *f, weight_entry *e, const char *name, const kvb_json *dtype) {
    int64_t bytes;
    const char *text = kvb_json_string(dtype, &bytes);
    if (!text || bytes == 0 || bytes > 64) return BROKEN(f, "tensor '%s' has no dtype", name);
    e->format = kvb_format_named(text);
    if (e->format) return KVB_OK;
    e->type_name = kvb_strdup_n(text, (size_t)bytes, KVB_MEM_OTHER);
    return e->type_name ? KVB_OK : KVB_E_MEMORY;
}

static kvb_status read_tensor(const kvb_weights *w, const weight_file *f, weight_entry *e, const kvb_json *v,
                              int64_t start) {
    const char *name = kvb_printable(e->name, strlen(e->name));
    if (kvb_json_kind(v) != KVB_JSON_OBJECT) return BROKEN(f, "tensor '%s' is not described by an object", name);
    KVB_TRY(read_shape(f, e, name, kvb_json_get(v, "shape")));
    KVB_TRY(read_type(f, e, name, kvb_json_get(v, "dtype")));
    const kvb_json *offsets = kvb_json_get(v, "data_offsets");
    bool pair = kvb_json_kind(offsets) == KVB_JSON_ARRAY && kvb_json_count(offsets) == 2;
    int64_t from = pair ? whole(kvb_json_at(offsets, 0)) : -1, to = pair ? whole(kvb_json_at(offsets, 1)) : -1;
    if (from < 0 || to < from) return BROKEN(f, "tensor '%s': data_offsets are not two ascending whole numbers", name);
    if (to > f->bytes - start) {
        BROKEN(f, "tensor '%s' ends at byte %lld, the file has %lld bytes", name, (long long)(start + to),
               (long long)f->bytes);
        kvb_hint("-> the file may be cut short: fetch it again");
        return KVB_E_FORMAT;
    }
    int64_t expected = to - from;
    if (e->format &&
        (__builtin_mul_overflow(e->elements, (int64_t)e->format->bytes, &expected) || expected != to - from))
        return BROKEN(f, "tensor '%s' has %lld elements of type %s, but its data_offsets span %lld bytes", name,
                      (long long)e->elements, e->format->name, (long long)(to - from));
    e->bytes = to - from;
    e->data = f->data + start + from;
    e->file = w->n_files - 1; /* shards are parsed as soon as they are mapped */
    return KVB_OK;
}

static bool has_meta(const kvb_weights *w, const char *key) {
    for (int32_t i = 0; i < w->n_meta; i++)
        if (strcmp(w->meta[i].key, key) == 0) return true;
    return false;
}

/* Shards repeat their metadata ("format": "pt"): the first one counts. */
static kvb_status read_metadata(kvb_weights *w, const weight_file *f, const kvb_json *object) {
    const char *key, *text;
    int64_t key_bytes, bytes;
    const kvb_json *v;
    if (kvb_json_kind(object) != KVB_JSON_OBJECT) return BROKEN(f, "%s is not an object", "__metadata__");
    if (kvb_json_count(object) > 4096)
        return BROKEN(f, "__metadata__ has %d entries, at most 4096 are read", kvb_json_count(object));
    bool merging = w->n_meta > 0;
    for (void *at = NULL; (at = kvb_json_next(object, at, &key, &key_bytes, &v));) {
        text = kvb_json_string(v, &bytes);
        if (!text) return BROKEN(f, "metadata '%s' is not a string", kvb_printable(key, (size_t)key_bytes));
        if (merging && has_meta(w, key)) continue;
        weight_meta *m = kvb_weights_push_meta(w);
        if (!m) return KVB_E_MEMORY;
        m->type = KVB_META_STRING;
        m->count = 1;
        m->text_bytes = bytes;
        m->key = kvb_strdup_n(key, (size_t)key_bytes, KVB_MEM_OTHER);
        m->text = kvb_strdup_n(text, (size_t)bytes, KVB_MEM_OTHER);
        if (!m->key || !m->text) return KVB_E_MEMORY;
    }
    return KVB_OK;
}

static kvb_status read_header(kvb_weights *w, const weight_file *f, const kvb_json *header, int64_t start) {
    int32_t first = w->n_entries;
    const char *key;
    int64_t bytes;
    const kvb_json *v;
    if (kvb_json_kind(header) != KVB_JSON_OBJECT) return BROKEN(f, "the header is not a JSON %s", "object");
    for (void *at = NULL; (at = kvb_json_next(header, at, &key, &bytes, &v));) {
        if (strcmp(key, "__metadata__") == 0) {
            KVB_TRY(read_metadata(w, f, v));
            continue;
        }
        weight_entry *e = kvb_weights_push(w);
        if (!e) return KVB_E_MEMORY;
        e->name = kvb_strdup_n(key, (size_t)bytes, KVB_MEM_OTHER);
        if (!e->name) return KVB_E_MEMORY;
        KVB_TRY(read_tensor(w, f, e, v, start));
    }
    return kvb_weights_check_overlaps(w, first, f, start, true);
}

kvb_status kvb_safetensors_parse(kvb_weights *w, const weight_file *file) {
    uint64_t n;
    if (file->bytes < 8)
        return BROKEN(file, "truncated: %lld bytes, the header's length alone takes 8", (long long)file->bytes);
    memcpy(&n, file->data, 8);
    enum { LONGEST = 100000000 }; /* the format's own limit */
    if (n > (uint64_t)file->bytes - 8 || n > LONGEST) {
        BROKEN(file, "the header claims %llu bytes, the file has %lld (and the format allows %d)",
               (unsigned long long)n, (long long)file->bytes, LONGEST);
        kvb_hint("-> the file is cut short or no safetensors file: fetch it again");
        return KVB_E_FORMAT;
    }
    char where[512];
    snprintf(where, sizeof where, "safetensors '%.400s': header", file->path);
    kvb_json *header;
    KVB_TRY(kvb_json_parse((const char *)file->data + 8, (int64_t)n, where, &header));
    kvb_status status = read_header(w, file, header, 8 + (int64_t)n);
    kvb_json_free(header);
    return status;
}

/* ---- an index and its shards -------------------------------------------------------------------------------- */

/* A relative path without ".." components: links inside the folder are the user's own doing (the HF cache is made of
 * them). */
static bool stays_inside(const char *path, int64_t bytes) {
    if (bytes == 0 || path[0] == '/' || memchr(path, 0, (size_t)bytes)) return false;
    for (const char *p = path; p; p = strchr(p, '/') ? strchr(p, '/') + 1 : NULL)
        if (strncmp(p, "..", 2) == 0 && (p[2] == '/' || p[2] == 0)) return false;
    return true;
}

static kvb_status open_shard(kvb_weights *w, const char *index_path, const char *shard) {
    char path[4096];
    const char *slash = strrchr(index_path, '/');
    int folder = slash ? (int)(slash - index_path) + 1 : 0;
    if (snprintf(path, sizeof path, "%.*s%s", folder, index_path, shard) >= (int)sizeof path)
        return kvb_fail(KVB_E_ARG, "safetensors index '%s': the path of a shard is longer than %zu bytes", index_path,
                        sizeof path);
    weight_file *file;
    kvb_status status = kvb_weights_map(w, path, "shard", &file);
    if (status == KVB_E_MISSING) kvb_hint("-> '%s' names it: fetch the missing file into the same folder", index_path);
    KVB_TRY(status);
    return kvb_safetensors_parse(w, file);
}

static int32_t shard_number(const kvb_weights *w, int32_t folder, const char *shard) {
    for (int32_t i = 0; i < w->n_files; i++)
        if (strcmp(w->files[i].path + folder, shard) == 0) return i;
    return -1;
}

static kvb_status open_shards(kvb_weights *w, const char *path, const kvb_json *map) {
    const char *tensor, *shard;
    int64_t tensor_bytes, bytes;
    const kvb_json *v;
    const char *slash = strrchr(path, '/');
    int32_t folder = slash ? (int32_t)(slash - path) + 1 : 0;
    for (void *at = NULL; (at = kvb_json_next(map, at, &tensor, &tensor_bytes, &v));) {
        shard = kvb_json_string(v, &bytes);
        if (!shard || !stays_inside(shard, bytes))
            return kvb_fail(
                KVB_E_FORMAT,
                "safetensors index '%s': tensor '%s' is mapped to '%s', which is not a path inside the folder", path,
                kvb_printable(tensor, (size_t)tensor_bytes),
                shard ? kvb_printable(shard, (size_t)bytes) : "(no string)");
        if (shard_number(w, folder, shard) >= 0) continue;
        if (w->n_files == 4096)
            return kvb_fail(KVB_E_UNSUPPORTED, "safetensors index '%s' names more than 4096 shards", path);
        KVB_TRY(open_shard(w, path, shard));
    }
    return KVB_OK;
}

/* Every tensor in the shard it is mapped to, and nothing in the shards or the map that the other lacks. */
static kvb_status check_mapping(const kvb_weights *w, const char *path, const kvb_json *map) {
    int32_t matched = 0;
    const char *slash = strrchr(path, '/');
    int32_t folder = slash ? (int32_t)(slash - path) + 1 : 0;
    for (int32_t i = 0; i < w->n_entries; i++) {
        const weight_entry *e = &w->entries[i];
        const char *name = kvb_printable(e->name, strlen(e->name));
        const char *shard = kvb_json_string(kvb_json_get(map, e->name), NULL);
        const weight_file *f = &w->files[e->file];
        if (!shard)
            return kvb_fail(KVB_E_FORMAT, "safetensors index '%s': tensor '%s' of shard '%s' is not in the index", path,
                            name, f->path);
        if (strcmp(f->path + folder, shard) != 0)
            return kvb_fail(KVB_E_FORMAT, "safetensors index '%s': tensor '%s' is mapped to shard '%s', but is in '%s'",
                            path, name, kvb_printable(shard, strlen(shard)), f->path + folder);
        matched++;
    }
    if (matched == kvb_json_count(map)) return KVB_OK;
    const char *tensor;
    int64_t bytes;
    const kvb_json *v;
    for (void *at = NULL; (at = kvb_json_next(map, at, &tensor, &bytes, &v));) {
        int32_t i = 0;
        while (i < w->n_entries && strcmp(w->entries[i].name, tensor) != 0) i++;
        if (i == w->n_entries) {
            const char *shard = kvb_json_string(v, NULL);
            return kvb_fail(KVB_E_FORMAT,
                            "safetensors index '%s': tensor '%s' is not in the shard '%s' it is mapped to", path,
                            kvb_printable(tensor, (size_t)bytes), kvb_printable(shard, strlen(shard)));
        }
    }
    return KVB_OK;
}

static kvb_status read_index(kvb_weights *w, const char *path, const kvb_json *index) {
    const kvb_json *map = kvb_json_kind(index) == KVB_JSON_OBJECT ? kvb_json_get(index, "weight_map") : NULL;
    if (kvb_json_kind(map) != KVB_JSON_OBJECT || kvb_json_count(map) == 0) {
        kvb_fail(KVB_E_FORMAT, "safetensors index '%s': it has no weight_map object, or an empty one", path);
        kvb_hint("-> expected a model.safetensors.index.json");
        return KVB_E_FORMAT;
    }
    KVB_TRY(open_shards(w, path, map));
    return check_mapping(w, path, map);
}

kvb_status kvb_safetensors_index_parse(kvb_weights *w, const char *path) {
    weight_file *file;
    KVB_TRY(kvb_weights_map(w, path, "safetensors index", &file));
    weight_file index_file = *file;
    w->n_files--; /* the index is no shard: unmapped here, so that only weights are hashed */
    char where[512];
    snprintf(where, sizeof where, "safetensors index '%.400s'", path);
    kvb_json *index = NULL;
    kvb_status status = kvb_json_parse((const char *)index_file.data, index_file.bytes, where, &index);
    if (status == KVB_OK) status = read_index(w, path, index);
    kvb_json_free(index);
    kvb_weights_unmap(&index_file);
    return status;
}
