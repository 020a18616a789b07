/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tokenizer_spm.c - SentencePiece's BPE, as Gemma and LLaMA 2 use it: pieces with scores in GGUF files; in a
 * tokenizer.json a list of merges made from them, which then decides instead.
 *
 * A stretch of text is merged as a whole, without a split into words: characters first, then always the neighbours
 * whose joint text is the piece of the highest score, the leftmost of equals. A character that is no piece becomes its
 * bytes. Spaces are held as spaces, so that a piece is the bytes it stands for; the visible space of the files
 * (U+2581), written in a text, is a space too, as it is there. Control and byte pieces are never the result of a merge:
 * text that merely looks like one stays text. Rejected: a table of all pairs that merge, as byte-level BPE has one (a
 * million entries for Gemma; looking the joint text up costs the same).
 *
 * Source: Kudo & Richardson, arXiv:1808.06226; the order of merging and the keys are llama.cpp's.
 */
#include "tokenizer.h"
#include <math.h>
#include <stdlib.h>

static const char visible_space[] = "\xe2\x96\x81";

/* ---- loading -------------------------------------------------------------------------------------------------- */

int32_t tok_spm_byte(const char *text, size_t n) {
    if (n != 6 || memcmp(text, "<0x", 3) != 0 || text[5] != '>') return -1;
    int32_t byte = 0;
    for (size_t i = 3; i < 5; i++) {
        char c = text[i];
        int32_t digit = c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
        if (digit < 0) return -1;
        byte = byte * 16 + digit;
    }
    return byte;
}

void tok_spm_spaces(const char *text, size_t n, char *out, size_t *out_n) {
    *out_n = 0;
    for (size_t i = 0; i < n;) {
        bool space = n - i >= 3 && memcmp(text + i, visible_space, 3) == 0;
        out[(*out_n)++] = space ? ' ' : text[i];
        i += space ? 3 : 1;
    }
}

static kvb_status read_piece(kvb_tokenizer *t, const kvb_weights *w, int32_t id, tok_bytes *raw) {
    const char *text;
    size_t n;
    int32_t type;
    KVB_TRY(tok_gguf_token(t, w, id, &text, &n, &type));
    if (type == TYPE_BYTE) {
        int32_t byte = tok_spm_byte(text, n);
        char shown[TOK_SHOWN], value = (char)byte;
        if (byte < 0)
            return kvb_fail(KVB_E_FORMAT, "tokenizer of '%s': byte token %d is '%s', expected <0x00> to <0xFF>",
                            t->where, id, tok_shown(shown, text, n));
        return tok_bpe_token(&t->bpe, id, &value, 1, TOKEN_BYTE);
    }
    if (type == TYPE_NORMAL || type == TYPE_USER_DEFINED) {
        KVB_TRY(tok_bytes_reserve(raw, n + 1));
        tok_spm_spaces(text, n, raw->data, &raw->n);
        text = raw->data;
        n = raw->n;
    }
    if (type == TYPE_UNKNOWN) t->bpe.unknown = id;
    KVB_TRY(tok_bpe_token(&t->bpe, id, text, n, type == TYPE_NORMAL ? TOKEN_WORD : 0));
    bool special = type == TYPE_CONTROL || type == TYPE_UNKNOWN;
    if ((!special && type != TYPE_USER_DEFINED) || n == 0) return KVB_OK;
    return tok_added(t, id, text, n, special, 0);
}

typedef struct scored {
    float score;
    int32_t id;
} scored;

static int by_score(const void *a, const void *b) {
    const scored *x = a, *y = b;
    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    return x->id < y->id ? -1 : 1;
}

static kvb_status read_ranks(kvb_tokenizer *t, const kvb_weights *w) {
    const char *key = "tokenizer.ggml.scores";
    int32_t size = t->bpe.size;
    if (kvb_weights_meta_count(w, key) != size || kvb_weights_meta_is_string(w, key))
        return kvb_fail(KVB_E_FORMAT, "tokenizer of '%s': %d tokens have %lld scores (%s)", t->where, size,
                        (long long)kvb_weights_meta_count(w, key), key);
    scored *list = kvb_alloc_array((size_t)size, sizeof *list, KVB_MEM_SCRATCH);
    t->bpe.rank = kvb_alloc_array((size_t)size, sizeof *t->bpe.rank, KVB_MEM_OTHER);
    kvb_status status = list && t->bpe.rank ? KVB_OK : KVB_E_MEMORY;
    for (int32_t id = 0; status == KVB_OK && id < size; id++) {
        list[id] = (scored){(float)kvb_weights_meta_number(w, key, id), id};
        if (!isfinite(list[id].score))
            status = kvb_fail(KVB_E_FORMAT, "tokenizer of '%s': the score of token %d is not a number", t->where, id);
    }
    if (status == KVB_OK) {
        qsort(list, (size_t)size, sizeof *list, by_score);
        uint32_t rank = 0;
        for (int32_t i = 0; i < size; i++) {
            if (i && list[i].score != list[i - 1].score) rank++;
            t->bpe.rank[list[i].id] = rank;
        }
    }
    kvb_free(list);
    return status;
}

/* Bytes without a byte token become the unknown token, or vanish. */
void tok_spm_index_bytes(tok_bpe *b) {
    for (int i = 0; i < 256; i++) b->byte_id[i] = -1; /* pieces of one byte are found by their text */
    for (int32_t id = 0; id < b->size; id++)
        if (b->flags[id] & TOKEN_BYTE) b->byte_id[(unsigned char)b->text.data[b->start[id]]] = id;
}

kvb_status tok_spm_load(kvb_tokenizer *t, const kvb_weights *w) {
    int32_t count;
    KVB_TRY(tok_gguf_count(t, w, &count));
    KVB_TRY(tok_bpe_start(&t->bpe, count));
    tok_bytes raw = {0};
    kvb_status status = KVB_OK;
    for (int32_t id = 0; id < count && status == KVB_OK; id++) status = read_piece(t, w, id, &raw);
    kvb_free(raw.data);
    KVB_TRY(status);
    KVB_TRY(tok_bpe_index(&t->bpe, t->where));
    tok_spm_index_bytes(&t->bpe);
    KVB_TRY(read_ranks(t, w));
    t->bpe.pieces = true;
    const char *key = "tokenizer.ggml.add_space_prefix";
    bool prefix = kvb_weights_meta_count(w, key) != 1 || kvb_weights_meta_number(w, key, 0) != 0;
    t->bpe.space_prefix = prefix ? PREFIX_EVERY : PREFIX_NONE;
    KVB_TRY(tok_gguf_bos(t, w, true));
    const char *kind = t->bpe.space_prefix ? "SentencePiece BPE, byte fallback, a space in front"
                                           : "SentencePiece BPE, byte fallback";
    t->kind = kvb_strdup_n(kind, strlen(kind), KVB_MEM_OTHER);
    return t->kind ? KVB_OK : KVB_E_MEMORY;
}

/* ---- encoding ------------------------------------------------------------------------------------------------- */

static kvb_status add_edit(tok_normalized *out, size_t orig_from, size_t orig_to) {
    KVB_TRY(tok_grow((void **)&out->edits, &out->edits_room, out->n_edits, 1, sizeof *out->edits));
    out->edits[out->n_edits++] = (tok_edit){out->text.n, out->text.n + 1, orig_from, orig_to};
    return tok_bytes_add(&out->text, " ", 1);
}

/* Is a space put before this stretch? */
static bool prefixed(const tok_bpe *b, const char *text, size_t n, bool first) {
    bool space = (n && *text == ' ') || (n >= 3 && memcmp(text, visible_space, 3) == 0);
    return b->space_prefix == PREFIX_EVERY || (b->space_prefix == PREFIX_WITHOUT_SPACE && !space) ||
           (b->space_prefix == PREFIX_FIRST && !space && first);
}

kvb_status tok_spm_normalize(const tok_bpe *b, const char *text, size_t n, bool first, tok_normalized *out) {
    out->text.n = out->n_edits = 0;
    KVB_TRY(tok_bytes_reserve(&out->text, n + 1));
    if (prefixed(b, text, n, first)) KVB_TRY(add_edit(out, 0, 0));
    for (size_t i = 0; i < n;) {
        const char *next = memchr(text + i, visible_space[0], n - i);
        size_t end = next ? (size_t)(next - text) : n;
        KVB_TRY(tok_bytes_add(&out->text, text + i, end - i));
        i = end;
        if (i == n) break;
        bool space = n - i >= 3 && memcmp(text + i, visible_space, 3) == 0;
        KVB_TRY(space ? add_edit(out, i, i + 3) : tok_bytes_add(&out->text, text + i, 1));
        i += space ? 3 : 1;
    }
    return KVB_OK;
}

/* The pair that begins at a symbol, if its text is a piece, or where the file lists merges if it is listed. */
static kvb_status push_pair(tok_bpe *b, const char *text, int32_t at) {
    const tok_symbol *s = b->symbols;
    if (at < 0 || s[at].next < 0) return KVB_OK;
    if (!b->rank) {
        const tok_merge *m = tok_bpe_merge_of(b, s[at].id, s[s[at].next].id);
        return m ? tok_heap_push(b, (tok_candidate){m->rank, (uint32_t)at, m->id}) : KVB_OK;
    }
    uint32_t from = s[at].from, to = s[s[at].next].to;
    int32_t id = tok_bpe_find(b, text + from, to - from);
    return id < 0 ? KVB_OK : tok_heap_push(b, (tok_candidate){b->rank[id], (uint32_t)at, (uint32_t)id});
}

/* Characters as symbols; id -1 where one is no piece. */
static kvb_status load_symbols(tok_bpe *b, const char *text, size_t n, int32_t *count) {
    if (n > INT32_MAX / 4)
        return kvb_fail(KVB_E_UNSUPPORTED, "a text of %zu bytes is too long to merge -> break it into lines", n);
    KVB_TRY(tok_grow((void **)&b->symbols, &b->symbols_room, 0, n, sizeof *b->symbols));
    int32_t k = 0;
    for (size_t i = 0; i < n; k++) {
        uint32_t code;
        size_t bytes = tok_utf8_read(text + i, n - i, &code);
        if (!bytes) bytes = 1;
        b->symbols[k] =
            (tok_symbol){tok_bpe_find(b, text + i, bytes), k - 1, k + 1, (uint32_t)i, (uint32_t)(i + bytes)};
        i += bytes;
    }
    b->symbols[k - 1].next = -1;
    *count = k;
    return KVB_OK;
}

static kvb_status merge(tok_bpe *b, const char *text, int32_t count) {
    tok_symbol *s = b->symbols;
    b->heap_n = 0;
    for (int32_t i = 0; i + 1 < count; i++) KVB_TRY(push_pair(b, text, i));
    while (b->heap_n) {
        tok_candidate c = tok_heap_pop(b);
        tok_symbol *left = s + c.at;
        /* a side that has merged elsewhere meanwhile is longer now, or gone */
        if (left->from == left->to || left->next < 0 || s[left->next].to - left->from != b->length[c.id]) continue;
        tok_symbol *right = s + left->next;
        left->id = (int32_t)c.id;
        left->to = right->to;
        left->next = right->next;
        right->from = right->to;
        if (left->next >= 0) s[left->next].previous = (int32_t)c.at;
        KVB_TRY(push_pair(b, text, left->previous));
        KVB_TRY(push_pair(b, text, (int32_t)c.at));
    }
    return KVB_OK;
}

kvb_status tok_spm_encode(kvb_tokenizer *t, const char *text, size_t n, int64_t origin) {
    tok_bpe *b = &t->bpe;
    int32_t count = 0;
    if (n == 0) return KVB_OK;
    KVB_TRY(load_symbols(b, text, n, &count));
    KVB_TRY(merge(b, text, count));
    for (int32_t i = 0; i >= 0; i = b->symbols[i].next) {
        const tok_symbol *s = &b->symbols[i];
        if (s->id >= 0) {
            KVB_TRY(tok_emit(t, s->id, origin + s->from, origin + s->to));
            continue;
        }
        for (uint32_t at = s->from; at < s->to; at++) {
            int32_t id = b->byte_id[(unsigned char)text[at]];
            if (id < 0) id = b->unknown;
            if (id >= 0) KVB_TRY(tok_emit(t, id, origin + at, origin + at + 1));
        }
    }
    return KVB_OK;
}
