/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weights.c - opening, looking up, reading and hashing weight files of any kind.
 *
 * Files are mapped, never read: opening a 16 GB model costs its header, and the page cache is shared between
 * processes. After open everything is immutable but for the cached hash, so any number of threads may read. Names are
 * found through one hash table, because a loader that scans 300 tensors for each of 300 names is the slow start
 * everybody knows.
 * Rejected: recognising files by extension alone (a .bin that is a GGUF exists; so does a .gguf that is an HTML error
 * page).
 */
#include "weights.h"
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

const char *kvb_printable(const char *s, size_t n) {
    static _Thread_local char ring[4][96];
    static _Thread_local unsigned turn;
    char *out = ring[turn++ % 4];
    size_t shown = n < 80 ? n : 80;
    for (size_t i = 0; i < shown; i++) out[i] = (unsigned char)s[i] < 0x20 || s[i] == 0x7f ? '?' : s[i];
    memcpy(out + shown, n > shown ? "..." : "", n > shown ? 4 : 1);
    return out;
}

bool kvb_shape_product(const int64_t *shape, int32_t ndim, int64_t *product) {
    int64_t p = 1;
    for (int32_t i = 0; i < ndim; i++)
        if (shape[i] < 0 || __builtin_mul_overflow(p, shape[i], &p) || p > INT64_C(1) << 62) return false;
    *product = p;
    return true;
}

/* ---- tables ------------------------------------------------------------------------------------------------- */

static void *push(void **array, int32_t *n, int32_t *room, size_t size) {
    if (*n == *room) {
        if (*room > INT32_MAX / 2 - 64) {
            kvb_fail(KVB_E_UNSUPPORTED, "weight files with more than %d entries are not supported", *room);
            return NULL;
        }
        int32_t grown = *room ? *room * 2 : 64;
        void *p = kvb_realloc(*array, kvb_mul_size((size_t)grown, size), KVB_MEM_OTHER);
        if (!p) return NULL;
        *array = p;
        *room = grown;
    }
    return (char *)*array + (size_t)(*n)++ * size;
}

weight_entry *kvb_weights_push(kvb_weights *w) {
    return push((void **)&w->entries, &w->n_entries, &w->room_entries, sizeof *w->entries);
}

weight_meta *kvb_weights_push_meta(kvb_weights *w) {
    return push((void **)&w->meta, &w->n_meta, &w->room_meta, sizeof *w->meta);
}

static const char *entry_name(const kvb_weights *w, int32_t i) { return w->entries[i].name; }
static const char *meta_name(const kvb_weights *w, int32_t i) { return w->meta[i].key; }
typedef const char *(*name_of)(const kvb_weights *w, int32_t i);

static int32_t lookup(const kvb_weights *w, const name_index *index, name_of name, const char *key,
                      uint32_t *free_slot) {
    if (!index->slots) return -1;
    uint32_t at = (uint32_t)kvb_hash64(key, (int64_t)strlen(key), 0) & index->mask;
    for (; index->slots[at]; at = (at + 1) & index->mask)
        if (strcmp(name(w, index->slots[at] - 1), key) == 0) return index->slots[at] - 1;
    if (free_slot) *free_slot = at;
    return -1;
}

static kvb_status build_index(kvb_weights *w, name_index *index, int32_t n, name_of name, const char *noun) {
    uint32_t size = 16;
    while (size < 2 * (uint32_t)n) size *= 2;
    index->slots = kvb_alloc_array(size, sizeof *index->slots, KVB_MEM_OTHER);
    if (!index->slots) return KVB_E_MEMORY;
    index->mask = size - 1;
    for (int32_t i = 0; i < n; i++) {
        uint32_t slot = 0;
        const char *key = name(w, i);
        if (lookup(w, index, name, key, &slot) >= 0)
            return kvb_fail(KVB_E_FORMAT, "%s '%s': %s '%s' occurs twice", w->kind, w->path, noun,
                            kvb_printable(key, strlen(key)));
        index->slots[slot] = i + 1;
    }
    return KVB_OK;
}

static int by_address(const void *a, const void *b) {
    const weight_entry *x = *(weight_entry *const *)a, *y = *(weight_entry *const *)b;
    if (x->data != y->data) return x->data < y->data ? -1 : 1;
    return (x->bytes > y->bytes) - (x->bytes < y->bytes); /* empty ones first */
}

static kvb_status check_sorted(const kvb_weights *w, weight_entry **sorted, int32_t n, const weight_file *file,
                               int64_t start, bool exact) {
    int64_t end = start;
    const weight_entry *before = NULL;
    for (int32_t i = 0; i < n; i++) {
        const weight_entry *e = sorted[i];
        int64_t at = e->data - file->data;
        const char *name = kvb_printable(e->name, strlen(e->name));
        if (at < end)
            return kvb_fail(
                KVB_E_FORMAT,
                "%s '%s': tensors '%s' and '%s' overlap: the second begins at byte %lld, the first ends at %lld",
                w->kind, file->path, before ? kvb_printable(before->name, strlen(before->name)) : "(header)", name,
                (long long)at, (long long)end);
        if (exact && at > end)
            return kvb_fail(KVB_E_FORMAT, "%s '%s': %lld bytes before tensor '%s' (at byte %lld) belong to no tensor",
                            w->kind, file->path, (long long)(at - end), name, (long long)at);
        end = at + e->bytes;
        before = e;
    }
    if (exact && end != file->bytes)
        return kvb_fail(KVB_E_FORMAT, "%s '%s': the tensors end at byte %lld, the file has %lld bytes", w->kind,
                        file->path, (long long)end, (long long)file->bytes);
    return KVB_OK;
}

kvb_status kvb_weights_check_overlaps(const kvb_weights *w, int32_t first, const weight_file *file, int64_t data_start,
                                      bool exact) {
    int32_t n = w->n_entries - first;
    weight_entry **sorted = kvb_alloc_array((size_t)n, sizeof *sorted, KVB_MEM_OTHER);
    if (!sorted) return KVB_E_MEMORY;
    for (int32_t i = 0; i < n; i++) sorted[i] = &w->entries[first + i];
    if (n) qsort(sorted, (size_t)n, sizeof *sorted, by_address);
    kvb_status status = check_sorted(w, sorted, n, file, data_start, exact);
    kvb_free(sorted);
    return status;
}

/* ---- opening and closing ------------------------------------------------------------------------------------ */

kvb_status kvb_weights_map(kvb_weights *w, const char *path, const char *described, weight_file **out) {
    weight_file *files = kvb_realloc(w->files, kvb_mul_size(kvb_add_size((size_t)w->n_files, 1), sizeof *files),
            KVB_MEM_OTHER);
    if (!files) return KVB_E_MEMORY;
    w->files = files;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return kvb_fail(errno == ENOENT ? KVB_E_MISSING : KVB_E_IO, "cannot open the %s '%s': %s", described, path,
                        strerror(errno));
    struct stat info;
    kvb_status status = KVB_OK;
    weight_file file = {0};
    if (fstat(fd, &info) != 0)
        status = kvb_fail(KVB_E_IO, "cannot read the %s '%s': %s", described, path, strerror(errno));
    else if (!S_ISREG(info.st_mode))
        status = kvb_fail(KVB_E_IO, "the %s '%s' is not a regular file", described, path);
    else if (info.st_size == 0)
        status = kvb_fail(KVB_E_FORMAT, "the %s '%s' is empty (0 bytes)", described, path);
    else {
        void *data = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (data == MAP_FAILED)
            status = kvb_fail(KVB_E_IO, "cannot map the %s '%s': %s", described, path, strerror(errno));
        else
            file = (weight_file){data, info.st_size, NULL, true};
    }
    close(fd);
    if (status != KVB_OK) return status;
    files[w->n_files] = file;
    files[w->n_files++].path =
        kvb_strdup_n(path, strlen(path), KVB_MEM_OTHER); /* counted first: free unmaps it in any case */
    *out = &files[w->n_files - 1];
    return (*out)->path ? KVB_OK : KVB_E_MEMORY;
}

void kvb_weights_unmap(weight_file *file) {
    if (file->mapped) munmap((void *)(uintptr_t)file->data, (size_t)file->bytes);
    kvb_free(file->path);
}

static bool ends_with(const char *s, const char *end) {
    size_t n = strlen(s), m = strlen(end);
    return n >= m && strcmp(s + n - m, end) == 0;
}

static bool looks_like_safetensors(const weight_file *f) {
    return f->bytes > 8 && f->data[8] == '{' && f->data[7] == 0;
}

static kvb_status parse_any(kvb_weights *w, const char *path) {
    if (ends_with(path, ".json")) {
        w->kind = "safetensors";
        return kvb_safetensors_index_parse(w, path);
    }
    weight_file *file;
    KVB_TRY(kvb_weights_map(w, path, "model file", &file));
    bool magic = file->bytes >= 4 && memcmp(file->data, "GGUF", 4) == 0;
    if (magic || ends_with(path, ".gguf")) {
        w->kind = "gguf";
        return kvb_gguf_parse(w, file);
    }
    if (looks_like_safetensors(file) || ends_with(path, ".safetensors")) {
        w->kind = "safetensors";
        return kvb_safetensors_parse(w, file);
    }
    kvb_fail(KVB_E_FORMAT, "'%s' is neither a GGUF nor a safetensors file: it begins with '%s'", path,
             kvb_printable((const char *)file->data, (size_t)kvb_min64(file->bytes, 8)));
    kvb_hint("-> give a .gguf file, a .safetensors file, or a Hugging Face model folder");
    return KVB_E_FORMAT;
}

static kvb_status open_into(kvb_weights *w, const char *path, const void *data, int64_t bytes) {
    w->path = kvb_strdup_n(path, strlen(path), KVB_MEM_OTHER);
    if (!w->path) return KVB_E_MEMORY;
    if (data) {
        w->files = kvb_alloc(sizeof *w->files, KVB_MEM_OTHER);
        char *copy = w->files ? kvb_strdup_n(path, strlen(path), KVB_MEM_OTHER) : NULL;
        if (!copy) return KVB_E_MEMORY;
        *w->files = (weight_file){data, bytes, copy, false};
        w->n_files = 1;
        KVB_TRY(strcmp(w->kind, "gguf") == 0 ? kvb_gguf_parse(w, w->files) : kvb_safetensors_parse(w, w->files));
    } else {
        KVB_TRY(parse_any(w, path));
    }
    KVB_TRY(build_index(w, &w->entry_index, w->n_entries, entry_name, "tensor"));
    return build_index(w, &w->meta_index, w->n_meta, meta_name, "metadata key");
}

static kvb_status open_any(const char *path, const void *data, int64_t bytes, const char *kind, kvb_weights **out) {
    *out = NULL;
    kvb_weights *w = kvb_alloc(sizeof *w, KVB_MEM_OTHER);
    if (!w) return KVB_E_MEMORY;
    w->kind = kind;
    kvb_status status = open_into(w, path, data, bytes);
    if (status == KVB_OK)
        *out = w;
    else
        kvb_weights_free(w);
    return status;
}

kvb_status kvb_weights_open(const char *path, kvb_weights **out) {
    *out = NULL;
    if (!path) return kvb_fail(KVB_E_ARG, "weights: no file name was given");
    return open_any(path, NULL, 0, "", out);
}

kvb_status kvb_weights_open_memory(const void *data, int64_t bytes, const char *kind, kvb_weights **out) {
    return open_any("memory", data, bytes, kind, out);
}

void kvb_weights_free(kvb_weights *w) {
    if (!w) return;
    for (int32_t i = 0; i < w->n_entries; i++) {
        kvb_free(w->entries[i].name);
        kvb_free(w->entries[i].type_name);
    }
    for (int32_t i = 0; i < w->n_meta; i++) {
        kvb_free(w->meta[i].key);
        kvb_free(w->meta[i].text);
        kvb_free(w->meta[i].landmarks);
    }
    for (int32_t i = 0; i < w->n_files; i++) kvb_weights_unmap(&w->files[i]);
    kvb_free(w->entries);
    kvb_free(w->meta);
    kvb_free(w->files);
    kvb_free(w->entry_index.slots);
    kvb_free(w->meta_index.slots);
    kvb_free(w->path);
    kvb_free(w);
}

/* ---- tensors ------------------------------------------------------------------------------------------------ */

int32_t kvb_weights_count(const kvb_weights *w) { return w->n_entries; }
int32_t kvb_weights_find(const kvb_weights *w, const char *name) {
    return lookup(w, &w->entry_index, entry_name, name, NULL);
}
const char *kvb_weights_kind(const kvb_weights *w) { return w->kind; }

int64_t kvb_weights_bytes(const kvb_weights *w) {
    int64_t bytes = 0;
    for (int32_t i = 0; i < w->n_files; i++) bytes += w->files[i].bytes;
    return bytes;
}

static kvb_status entry_at(const kvb_weights *w, int32_t index, const weight_entry **out) {
    if (index < 0 || index >= w->n_entries)
        return kvb_fail(KVB_E_ARG, "%s '%s': no tensor number %d, there are %d", w->kind, w->path, index, w->n_entries);
    *out = &w->entries[index];
    return KVB_OK;
}

static const char *type_of(const weight_entry *e) { return e->format ? e->format->name : e->type_name; }

kvb_status kvb_weights_info(const kvb_weights *w, int32_t index, kvb_weight_info *out) {
    const weight_entry *e = NULL;
    KVB_TRY(entry_at(w, index, &e));
    *out = (kvb_weight_info){.name = e->name, .type = type_of(e), .bytes = e->bytes, .ndim = e->ndim};
    memcpy(out->shape, e->shape, sizeof out->shape);
    return KVB_OK;
}

static kvb_status check_count(const kvb_weights *w, const weight_entry *e, int64_t count) {
    if (count == e->elements) return KVB_OK;
    return kvb_fail(KVB_E_SHAPE, "%s '%s': tensor '%s' has %lld elements, the buffer has room for %lld", w->kind,
                    w->path, kvb_printable(e->name, strlen(e->name)), (long long)e->elements, (long long)count);
}

static kvb_status unreadable(const kvb_weights *w, const weight_entry *e, const char *as) {
    kvb_fail(KVB_E_UNSUPPORTED, "%s '%s': tensor '%s' has type %s, which this build cannot read as %s", w->kind,
             w->path, kvb_printable(e->name, strlen(e->name)), type_of(e), as);
    if (e->format && e->format->to_i64)
        kvb_hint("-> it holds integers: read it with read_int");
    else
        kvb_hint("-> use a file in F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K or Q6_K");
    return KVB_E_UNSUPPORTED;
}

kvb_status kvb_weights_read(const kvb_weights *w, int32_t index, float *out, int64_t count) {
    const weight_entry *e = NULL;
    KVB_TRY(entry_at(w, index, &e));
    const weight_format *f = e->format;
    if (!f || !f->to_f32) return unreadable(w, e, "floating point");
    KVB_TRY(check_count(w, e, count));
    enum { CHUNK = 1 << 16 }; /* elements a thread takes at once; a multiple of every block size */
    int64_t chunks = (count + CHUNK - 1) / CHUNK;
#pragma omp parallel for schedule(static) num_threads(kvb_threads()) if (chunks > 4)
    for (int64_t c = 0; c < chunks; c++) {
        int64_t from = c * CHUNK, n = kvb_min64(CHUNK, count - from);
        f->to_f32(e->data + from / f->block * f->bytes, out + from, n / f->block);
    }
    return KVB_OK;
}

kvb_status kvb_weights_read_int(const kvb_weights *w, int32_t index, int64_t *out, int64_t count) {
    const weight_entry *e = NULL;
    KVB_TRY(entry_at(w, index, &e));
    if (!e->format || !e->format->to_i64) {
        KVB_TRY(e->format ? KVB_OK : unreadable(w, e, "integers"));
        return kvb_fail(KVB_E_UNSUPPORTED,
                        "%s '%s': tensor '%s' has type %s, which does not hold integers of up to 64 bits", w->kind,
                        w->path, kvb_printable(e->name, strlen(e->name)), type_of(e));
    }
    KVB_TRY(check_count(w, e, count));
    e->format->to_i64(e->data, out, count);
    return KVB_OK;
}

/* Fixed chunks, so that the result does not depend on how many threads hashed them. */
static uint64_t hash_file(const weight_file *f) {
    enum { CHUNK = 1 << 22 };
    int64_t chunks = (f->bytes + CHUNK - 1) / CHUNK;
    uint64_t sum = 0;
#pragma omp parallel for schedule(dynamic) num_threads(kvb_threads()) reduction(+ : sum) if (chunks > 4)
    for (int64_t c = 0; c < chunks; c++)
        sum += kvb_hash64(f->data + c * CHUNK, kvb_min64(CHUNK, f->bytes - c * CHUNK), (uint64_t)c);
    return sum;
}

uint64_t kvb_weights_hash(const kvb_weights *w) {
    uint64_t *cached = (uint64_t *)(uintptr_t)&w->hash; /* the one field that changes after open */
    uint64_t hash = __atomic_load_n(cached, __ATOMIC_ACQUIRE);
    if (hash) return hash;
    for (int32_t i = 0; i < w->n_files; i++) {
        uint64_t part = hash_file(&w->files[i]);
        hash = kvb_hash64(&part, sizeof part, hash);
    }
    hash = hash ? hash : 1;
    __atomic_store_n(cached, hash, __ATOMIC_RELEASE);
    return hash;
}

/* ---- metadata ----------------------------------------------------------------------------------------------- */

static const weight_meta *meta_at(const kvb_weights *w, const char *key) {
    int32_t i = lookup(w, &w->meta_index, meta_name, key, NULL);
    return i < 0 ? NULL : &w->meta[i];
}

int32_t kvb_weights_meta_keys(const kvb_weights *w) { return w->n_meta; }
const char *kvb_weights_meta_key(const kvb_weights *w, int32_t index) {
    return index >= 0 && index < w->n_meta ? w->meta[index].key : NULL;
}

int64_t kvb_weights_meta_count(const kvb_weights *w, const char *key) {
    const weight_meta *m = meta_at(w, key);
    return m ? m->count : 0;
}

int32_t kvb_weights_meta_is_string(const kvb_weights *w, const char *key) {
    const weight_meta *m = meta_at(w, key);
    return m && m->type == KVB_META_STRING;
}

#define NUMBER_AT(type)                                                                                                \
    do {                                                                                                               \
        type x;                                                                                                        \
        memcpy(&x, m->data + index * (int64_t)sizeof x, sizeof x);                                                     \
        return (double)x;                                                                                              \
    } while (0)

double kvb_weights_meta_number(const kvb_weights *w, const char *key, int64_t index) {
    const weight_meta *m = meta_at(w, key);
    if (!m || index < 0 || index >= m->count) return NAN;
    switch (m->type) {
    case 0:
        NUMBER_AT(uint8_t);
    case 1:
        NUMBER_AT(int8_t);
    case 2:
        NUMBER_AT(uint16_t);
    case 3:
        NUMBER_AT(int16_t);
    case 4:
        NUMBER_AT(uint32_t);
    case 5:
        NUMBER_AT(int32_t);
    case 6:
        NUMBER_AT(float);
    case 7:
        return m->data[index] != 0;
    case 10:
        NUMBER_AT(uint64_t);
    case 11:
        NUMBER_AT(int64_t);
    case 12:
        NUMBER_AT(double);
    default:
        return NAN;
    }
}

const char *kvb_weights_meta_string(const kvb_weights *w, const char *key, int64_t index, int64_t *bytes) {
    const weight_meta *m = meta_at(w, key);
    *bytes = 0;
    if (!m || m->type != KVB_META_STRING || index < 0 || index >= m->count) return NULL;
    if (m->text) {
        *bytes = m->text_bytes;
        return m->text;
    }
    const uint8_t *p = m->data + (m->landmarks ? m->landmarks[index / KVB_META_STRIDE] : 0);
    uint64_t n;
    for (int64_t skip = m->landmarks ? index % KVB_META_STRIDE : index;; skip--) {
        memcpy(&n, p, 8);
        p += 8;
        if (skip == 0) break;
        p += n;
    }
    *bytes = (int64_t)n;
    return (const char *)p;
}
