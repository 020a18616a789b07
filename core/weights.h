/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weights.h - what the weight-file parsers share: mapped files, the tensor and metadata tables, storage formats.
 *
 * Invariant: a table entry exists only after its bytes were proven to lie inside its mapped file, so reading never
 * checks again. A parser only fills the tables; lookup, dequantisation and hashing know nothing about file formats.
 */
#ifndef KVB_WEIGHTS_H
#define KVB_WEIGHTS_H

#include "internal.h"

/* A storage format: `block` elements take `bytes` bytes. */
typedef struct weight_format {
    const char *name;
    int32_t block, bytes;
    void (*to_f32)(const uint8_t *in, float *out, int64_t blocks);     /* NULL: not readable as float */
    void (*to_i64)(const uint8_t *in, int64_t *out, int64_t elements); /* NULL: not an integer format */
} weight_format;

const weight_format *kvb_format_named(const char *name); /* as safetensors spells it, or NULL */
const weight_format *kvb_format_ggml(uint32_t type);     /* ggml's type number, or NULL */

typedef struct weight_file {
    const uint8_t *data;
    int64_t bytes;
    char *path;
    bool mapped; /* false: borrowed memory */
} weight_file;

typedef struct weight_entry {
    char *name;
    char *type_name;             /* set only when format is NULL */
    const weight_format *format; /* NULL: a format this build does not know */
    const uint8_t *data;
    int64_t shape[4];
    int64_t bytes, elements;
    int32_t ndim;
    int32_t file; /* which of the files holds it */
} weight_entry;

enum { KVB_META_STRING = 8, KVB_META_ARRAY = 9 }; /* value types are GGUF's own numbers */
enum { KVB_META_STRIDE = 8 };

typedef struct weight_meta {
    char *key;
    char *text;          /* safetensors: the string itself, copied; else NULL */
    const uint8_t *data; /* GGUF: the first element */
    uint64_t *landmarks; /* arrays of strings: offset from data of every KVB_META_STRIDE-th string */
    int64_t count;
    int64_t text_bytes;
    int32_t type;
} weight_meta;

typedef struct name_index {
    int32_t *slots; /* entry + 1; 0 = free */
    uint32_t mask;
} name_index;

struct kvb_weights {
    const char *kind; /* "gguf" or "safetensors" */
    char *path;
    weight_file *files;
    weight_entry *entries;
    weight_meta *meta;
    int32_t n_files, n_entries, n_meta;
    int32_t room_entries, room_meta;
    name_index entry_index, meta_index;
    uint64_t hash; /* 0 = not computed yet; accessed atomically */
};

/* One more zeroed entry at the end, or NULL with the diagnostic set. The pointer is valid until the next push. */
weight_entry *kvb_weights_push(kvb_weights *w);
weight_meta *kvb_weights_push_meta(kvb_weights *w);
/* Maps a file and appends it. `described` names its role in errors ("gguf file", "shard"). */
kvb_status kvb_weights_map(kvb_weights *w, const char *path, const char *described, weight_file **out);
void kvb_weights_unmap(weight_file *file);
/* Checks that no two entries from `first` on share bytes; all of them must lie in one file. `exact`: no gaps either. */
kvb_status kvb_weights_check_overlaps(const kvb_weights *w, int32_t first, const weight_file *file, int64_t data_start,
                                      bool exact);
/* Multiplies the shape out; false on overflow past 2^62. */
bool kvb_shape_product(const int64_t *shape, int32_t ndim, int64_t *product);
/* A name from a file as one printable line of at most 80 bytes, in one of four rotating per-thread buffers. */
const char *kvb_printable(const char *s, size_t n);

kvb_status kvb_gguf_parse(kvb_weights *w, const weight_file *file);
kvb_status kvb_safetensors_parse(kvb_weights *w, const weight_file *file);
kvb_status kvb_safetensors_index_parse(kvb_weights *w, const char *path);

/* Opens bytes that the caller keeps; kind is "gguf" or "safetensors". For tests and fuzzing. */
kvb_status kvb_weights_open_memory(const void *data, int64_t bytes, const char *kind, kvb_weights **out);

#endif
