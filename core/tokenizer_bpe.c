/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tokenizer_bpe.c - byte-pair encoding: the vocabulary, the merges, and a word's bytes to ids.
 *
 * The pair of lowest rank merges first, the leftmost of equals; short words scan for it, long ones keep candidates in a
 * heap, so that a word of 100,000 bytes costs n log n. Both give the same ids. Words repeat, so a bounded table
 * remembers up to 64-byte words; it is emptied when full, which keeps results and memory independent of history.
 * Rejected: merging on strings (the reference's map of pairs of ids is the same rule and needs no allocation per step).
 */
#include "tokenizer.h"

enum {
    SCAN_SYMBOLS = 24,     /* at most this many: scanning beats the heap */
    CACHED_BYTES = 64,     /* longer words are not remembered */
    CACHE_SLOTS = 1 << 16, /* power of two */
    CACHE_WORDS = CACHE_SLOTS / 2
};

/* ---- growing arrays ------------------------------------------------------------------------------------------ */

kvb_status tok_grow(void **data, size_t *room, size_t n, size_t more, size_t size) {
    if (more <= *room - n) return KVB_OK;
    size_t wanted = n + more < 2 * n ? 2 * n : n + more;
    if (wanted < 64) wanted = 64;
    if (n + more < n || kvb_mul_size(wanted, size) > SIZE_MAX / 4)
        return kvb_fail(KVB_E_MEMORY, "out of memory: %zu elements of %zu bytes cannot be addressed", n + more, size);
    void *grown = kvb_realloc(*data, kvb_mul_size(wanted, size), KVB_MEM_OTHER);
    if (!grown) return KVB_E_MEMORY;
    *data = grown;
    *room = wanted;
    return KVB_OK;
}

kvb_status tok_bytes_reserve(tok_bytes *b, size_t more) { return tok_grow((void **)&b->data, &b->room, b->n, more, 1); }

kvb_status tok_bytes_add(tok_bytes *b, const void *data, size_t n) {
    if (n == 0) return KVB_OK;
    KVB_TRY(tok_bytes_reserve(b, n));
    memcpy(b->data + b->n, data, n);
    b->n += n;
    return KVB_OK;
}

/* ---- the printable alphabet ---------------------------------------------------------------------------------- */

/* GPT-2's table: printable Latin-1 stands for itself, the other 68 bytes for U+0100.. in order. */
static int32_t byte_of_code(uint32_t code) {
    if ((code >= 0x21 && code <= 0x7e) || (code >= 0xa1 && code <= 0xac) || (code >= 0xae && code <= 0xff))
        return (int32_t)code;
    if (code < 0x100 || code >= 0x100 + 68) return -1;
    uint32_t k = code - 0x100;
    if (k < 33) return (int32_t)k;                    /* 0x00 .. 0x20 */
    if (k < 33 + 34) return (int32_t)(k - 33 + 0x7f); /* 0x7f .. 0xa0 */
    return 0xad;
}

bool tok_bpe_unmap(const char *mapped, size_t n, char *out, size_t *out_n) {
    *out_n = 0;
    for (size_t i = 0; i < n;) {
        uint32_t code;
        size_t bytes = tok_utf8_read(mapped + i, n - i, &code);
        int32_t byte = bytes ? byte_of_code(code) : -1;
        if (byte < 0) return false;
        out[(*out_n)++] = (char)byte;
        i += bytes;
    }
    return true;
}

/* ---- building ------------------------------------------------------------------------------------------------ */

static size_t power_of_two_above(size_t n) {
    size_t p = 16;
    while (p < n) p *= 2;
    return p;
}

kvb_status tok_bpe_start(tok_bpe *b, int32_t size) {
    b->size = size;
    b->unknown = -1;
    for (int i = 0; i < 256; i++) b->byte_id[i] = -1;
    size_t n = (size_t)size;
    b->start = kvb_alloc_array(n, sizeof *b->start, KVB_MEM_OTHER);
    b->length = kvb_alloc_array(n, sizeof *b->length, KVB_MEM_OTHER);
    b->flags = kvb_alloc_array(n, 1, KVB_MEM_OTHER);
    return b->start && b->length && b->flags ? KVB_OK : KVB_E_MEMORY;
}

kvb_status tok_bpe_token(tok_bpe *b, int32_t id, const char *bytes, size_t n, uint8_t flags) {
    if (b->text.n + n > UINT32_MAX) return kvb_fail(KVB_E_FORMAT, "the tokens have more than 4 GiB of text");
    b->start[id] = (uint32_t)b->text.n;
    b->length[id] = (uint32_t)n;
    KVB_TRY(tok_bytes_add(&b->text, bytes, n));
    b->flags[id] = flags | TOKEN_PRESENT;
    return KVB_OK;
}

static size_t word_slot(const tok_bpe *b, const char *bytes, size_t n) {
    size_t slot = (size_t)kvb_hash64(bytes, (int64_t)n, 0) & b->words_mask;
    for (;; slot = (slot + 1) & b->words_mask) {
        int32_t id = b->words[slot];
        if (id < 0 || (b->length[id] == n && memcmp(b->text.data + b->start[id], bytes, n) == 0)) return slot;
    }
}

kvb_status tok_bpe_index(tok_bpe *b, const char *where) {
    size_t slots = power_of_two_above((size_t)b->size * 2);
    KVB_TRY(tok_bytes_reserve(&b->text, 1)); /* data is never NULL, also when every token is empty */
    b->words = kvb_alloc_array(slots, sizeof *b->words, KVB_MEM_OTHER);
    if (!b->words) return KVB_E_MEMORY;
    memset(b->words, 0xff, slots * sizeof *b->words);
    b->words_mask = slots - 1;
    for (int32_t id = 0; id < b->size; id++) {
        if (!(b->flags[id] & TOKEN_WORD) || b->length[id] == 0) continue;
        const char *bytes = b->text.data + b->start[id];
        size_t slot = word_slot(b, bytes, b->length[id]);
        if (b->words[slot] >= 0)
            return kvb_fail(KVB_E_FORMAT, "tokenizer '%s': tokens %d and %d are the same bytes", where, b->words[slot],
                            id);
        b->words[slot] = id;
        if (b->length[id] == 1) b->byte_id[(unsigned char)*bytes] = id;
    }
    return KVB_OK;
}

int32_t tok_bpe_find(const tok_bpe *b, const char *bytes, size_t n) {
    return n ? b->words[word_slot(b, bytes, n)] : -1;
}

static size_t merge_slot(const tok_bpe *b, uint64_t pair) {
    size_t slot = (size_t)((pair * 0x9e3779b97f4a7c15ull) >> 20) & b->merges_mask;
    while (b->merges[slot].pair != UINT64_MAX && b->merges[slot].pair != pair) slot = (slot + 1) & b->merges_mask;
    return slot;
}

kvb_status tok_bpe_merges_start(tok_bpe *b, size_t count) {
    size_t slots = power_of_two_above(count * 2);
    b->merges = kvb_alloc_array(slots, sizeof *b->merges, KVB_MEM_OTHER);
    if (!b->merges) return KVB_E_MEMORY;
    for (size_t i = 0; i < slots; i++) b->merges[i].pair = UINT64_MAX;
    b->merges_mask = slots - 1;
    return KVB_OK;
}

static uint64_t pair_of(int32_t left, int32_t right) { return (uint64_t)(uint32_t)left << 32 | (uint32_t)right; }

const tok_merge *tok_bpe_merge_of(const tok_bpe *b, int32_t left, int32_t right) {
    const tok_merge *m = &b->merges[merge_slot(b, pair_of(left, right))];
    return m->pair == UINT64_MAX ? NULL : m;
}

/* Bytes of a name in the file. */
static bool bytes_of(const tok_bpe *b, const char *name, size_t n, char *out, size_t *out_n) {
    if (!b->pieces) return tok_bpe_unmap(name, n, out, out_n);
    tok_spm_spaces(name, n, out, out_n);
    return true;
}

kvb_status tok_bpe_merge_text(tok_bpe *b, const char *where, const char *left, size_t left_n, const char *right,
                              size_t right_n, uint32_t rank) {
    tok_bytes joined = {0};
    size_t n[2] = {0, 0};
    kvb_status status = tok_bytes_reserve(&joined, left_n + right_n);
    if (status != KVB_OK) return status;
    int32_t a = -1, c = -1, both = -1;
    if (bytes_of(b, left, left_n, joined.data, &n[0])) a = tok_bpe_find(b, joined.data, n[0]);
    if (a >= 0 && bytes_of(b, right, right_n, joined.data + n[0], &n[1]))
        c = tok_bpe_find(b, joined.data + n[0], n[1]);
    if (c >= 0) both = tok_bpe_find(b, joined.data, n[0] + n[1]);
    if (both >= 0) {
        uint64_t pair = pair_of(a, c);
        b->merges[merge_slot(b, pair)] = (tok_merge){pair, rank, (uint32_t)both};
    } else {
        const char *what = a < 0   ? "its left side is no token"
                           : c < 0 ? "its right side is no token"
                                   : "its result is no token";
        char l[TOK_SHOWN], r[TOK_SHOWN];
        status = kvb_fail(KVB_E_FORMAT, "tokenizer '%s': merge %u joins '%s' and '%s', but %s", where, rank,
                          tok_shown(l, left, left_n), tok_shown(r, right, right_n), what);
    }
    kvb_free(joined.data);
    return status;
}

void tok_bpe_clear(tok_bpe *b) {
    void *const parts[] = {b->start,   b->length, b->flags, b->text.data,       b->words,    b->merges,
                           b->symbols, b->heap,   b->cache, b->cache_text.data, b->cache_ids, b->rank};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) kvb_free(parts[i]);
    memset(b, 0, sizeof *b);
}

/* ---- merging ------------------------------------------------------------------------------------------------- */

/* The word's bytes as symbols. Bytes without a token become the unknown token or vanish; *exact tells that none did. */
static kvb_status load_symbols(tok_bpe *b, const char *word, size_t n, int32_t *count, bool *exact) {
    if (n > INT32_MAX / 4)
        return kvb_fail(KVB_E_UNSUPPORTED, "a word of %zu bytes is too long to merge -> break the text into lines", n);
    KVB_TRY(tok_grow((void **)&b->symbols, &b->symbols_room, 0, n, sizeof *b->symbols));
    int32_t k = 0;
    bool after_unknown = false;
    *exact = true;
    for (size_t i = 0; i < n; i++) {
        int32_t id = b->byte_id[(unsigned char)word[i]];
        bool unknown = id < 0;
        if (unknown) {
            *exact = false;
            id = b->unknown;
            if (id < 0) continue;
            if (after_unknown && b->fuse_unknown) {
                b->symbols[k - 1].to = (uint32_t)i + 1;
                continue;
            }
        }
        after_unknown = unknown;
        b->symbols[k] = (tok_symbol){id, k - 1, k + 1, (uint32_t)i, (uint32_t)i + 1};
        k++;
    }
    if (k) b->symbols[k - 1].next = -1;
    *count = k;
    return KVB_OK;
}


static void join(tok_symbol *symbols, int32_t at, int32_t id) {
    tok_symbol *left = &symbols[at], *right = &symbols[left->next];
    left->id = id;
    left->to = right->to;
    left->next = right->next;
    right->id = -1;
    if (left->next >= 0) symbols[left->next].previous = at;
}

static void merge_by_scan(tok_bpe *b, int32_t count) {
    tok_symbol *s = b->symbols;
    if (count < 2) return; /* with none, the first symbol is an earlier word's */
    uint32_t rank[SCAN_SYMBOLS], id[SCAN_SYMBOLS]; /* of the pair that starts at each symbol */
    for (int32_t i = 0; i + 1 < count; i++) {
        const tok_merge *m = tok_bpe_merge_of(b, s[i].id, s[i + 1].id);
        rank[i] = m ? m->rank : UINT32_MAX;
        id[i] = m ? m->id : 0;
    }
    for (;;) {
        int32_t best = -1;
        for (int32_t i = 0; i >= 0 && s[i].next >= 0; i = s[i].next)
            if (rank[i] != UINT32_MAX && (best < 0 || rank[i] < rank[best])) best = i;
        if (best < 0) return;
        join(s, best, (int32_t)id[best]);
        int32_t changed[2] = {s[best].previous, best};
        for (int k = 0; k < 2; k++) {
            int32_t i = changed[k];
            if (i < 0 || s[i].next < 0) continue;
            const tok_merge *m = tok_bpe_merge_of(b, s[i].id, s[s[i].next].id);
            rank[i] = m ? m->rank : UINT32_MAX;
            id[i] = m ? m->id : 0;
        }
    }
}

static bool before(tok_candidate a, tok_candidate b) { return a.rank != b.rank ? a.rank < b.rank : a.at < b.at; }

kvb_status tok_heap_push(tok_bpe *b, tok_candidate item) {
    KVB_TRY(tok_grow((void **)&b->heap, &b->heap_room, b->heap_n, 1, sizeof *b->heap));
    size_t i = b->heap_n++;
    for (; i > 0 && before(item, b->heap[(i - 1) / 2]); i = (i - 1) / 2) b->heap[i] = b->heap[(i - 1) / 2];
    b->heap[i] = item;
    return KVB_OK;
}

tok_candidate tok_heap_pop(tok_bpe *b) {
    tok_candidate top = b->heap[0], item = b->heap[--b->heap_n];
    size_t i = 0;
    for (size_t child; (child = 2 * i + 1) < b->heap_n; i = child) {
        if (child + 1 < b->heap_n && before(b->heap[child + 1], b->heap[child])) child++;
        if (!before(b->heap[child], item)) break;
        b->heap[i] = b->heap[child];
    }
    b->heap[i] = item;
    return top;
}

/* The pair that begins at a symbol, if it merges. */
static kvb_status push_pair(tok_bpe *b, int32_t at) {
    const tok_symbol *s = b->symbols;
    if (at < 0 || s[at].next < 0) return KVB_OK;
    const tok_merge *m = tok_bpe_merge_of(b, s[at].id, s[s[at].next].id);
    return m ? tok_heap_push(b, (tok_candidate){m->rank, (uint32_t)at, m->id}) : KVB_OK;
}

static kvb_status merge_by_heap(tok_bpe *b, int32_t count) {
    tok_symbol *s = b->symbols;
    b->heap_n = 0;
    for (int32_t i = 0; i + 1 < count; i++) KVB_TRY(push_pair(b, i));
    while (b->heap_n) {
        tok_candidate c = tok_heap_pop(b);
        int32_t at = (int32_t)c.at;
        if (s[at].id < 0 || s[at].next < 0) continue;
        const tok_merge *m = tok_bpe_merge_of(b, s[at].id, s[s[at].next].id);
        if (!m || m->id != c.id) continue; /* one of the two has merged elsewhere meanwhile */
        join(s, at, (int32_t)c.id);
        KVB_TRY(push_pair(b, s[at].previous));
        KVB_TRY(push_pair(b, at));
    }
    return KVB_OK;
}

/* ---- cache --------------------------------------------------------------------------------------------------- */

static tok_cached *cache_slot(tok_bpe *b, const char *word, size_t n, uint64_t hash) {
    for (size_t slot = (size_t)hash & (CACHE_SLOTS - 1);; slot = (slot + 1) & (CACHE_SLOTS - 1)) {
        tok_cached *c = &b->cache[slot];
        if (c->n == 0 || (c->hash == hash && c->bytes == n && memcmp(b->cache_text.data + c->text, word, n) == 0))
            return c;
    }
}

static kvb_status cache_store(tok_bpe *b, const char *word, size_t n, uint64_t hash, const int32_t *ids, size_t count) {
    if (b->cache_n == CACHE_WORDS) {
        memset(b->cache, 0, CACHE_SLOTS * sizeof *b->cache);
        b->cache_n = b->cache_text.n = b->cache_ids_n = 0;
    }
    KVB_TRY(tok_grow((void **)&b->cache_ids, &b->cache_ids_room, b->cache_ids_n, count, sizeof *b->cache_ids));
    KVB_TRY(tok_bytes_add(&b->cache_text, word, n));
    tok_cached *c = cache_slot(b, word, n, hash);
    *c = (tok_cached){hash, (uint32_t)(b->cache_text.n - n), (uint32_t)b->cache_ids_n, (uint16_t)n, (uint16_t)count};
    memcpy(b->cache_ids + b->cache_ids_n, ids, count * sizeof *ids);
    b->cache_ids_n += count;
    b->cache_n++;
    return KVB_OK;
}

/* ---- a word -------------------------------------------------------------------------------------------------- */

static kvb_status emit(kvb_tokenizer *t, int32_t id, int64_t from, int64_t to, int64_t floor) {
    return tok_emit(t, id, from > floor ? from : floor, to > floor ? to : floor);
}

/* Ids whose lengths add up to the word: spans follow from the lengths. */
static kvb_status emit_exact(kvb_tokenizer *t, const int32_t *ids, size_t count, int64_t origin, int64_t floor) {
    for (size_t i = 0; i < count; i++) {
        int64_t to = origin + t->bpe.length[ids[i]];
        KVB_TRY(emit(t, ids[i], origin, to, floor));
        origin = to;
    }
    return KVB_OK;
}

kvb_status tok_bpe_encode(kvb_tokenizer *t, const char *word, size_t n, int64_t origin, int64_t floor) {
    tok_bpe *b = &t->bpe;
    if (b->ignore_merges) {
        int32_t whole = tok_bpe_find(b, word, n);
        if (whole >= 0) return emit(t, whole, origin, origin + (int64_t)n, floor);
    }
    uint64_t hash = 0;
    bool cacheable = n <= CACHED_BYTES;
    if (cacheable) {
        if (!b->cache && !(b->cache = kvb_alloc_array(CACHE_SLOTS, sizeof *b->cache, KVB_MEM_OTHER)))
            return KVB_E_MEMORY;
        hash = kvb_hash64(word, (int64_t)n, 1);
        tok_cached *c = cache_slot(b, word, n, hash);
        if (c->n) return emit_exact(t, b->cache_ids + c->ids, c->n, origin, floor);
    }
    int32_t count = 0;
    bool exact = false;
    KVB_TRY(load_symbols(b, word, n, &count, &exact));
    if (count <= SCAN_SYMBOLS)
        merge_by_scan(b, count);
    else
        KVB_TRY(merge_by_heap(b, count));
    int32_t ids[CACHED_BYTES];
    size_t kept = 0;
    for (int32_t i = count ? 0 : -1; i >= 0; i = b->symbols[i].next) {
        const tok_symbol *s = &b->symbols[i];
        KVB_TRY(emit(t, s->id, origin + s->from, origin + s->to, floor));
        if (kept < CACHED_BYTES) ids[kept++] = s->id;
    }
    return cacheable && exact && kept ? cache_store(b, word, n, hash, ids, kept) : KVB_OK;
}
