/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tokenizer_normalize.c - UTF-8, character classes, and Unicode normalisation that knows where each byte came from.
 *
 * A text is cut before every character that can neither combine with what stands before it nor be reordered; such
 * chunks normalise independently, so an edit of the text is a chunk whose bytes changed, and everything else maps byte
 * by byte. Marks are ordered with a counting sort: a letter under 100,000 marks is data, not an attack. Rejected:
 * normalising the whole text and aligning afterwards (ambiguous), utf8proc_map (quadratic in marks, stops at NUL).
 */
#include "tokenizer.h"
#include <utf8proc.h>

size_t tok_utf8_read(const char *s, size_t n, uint32_t *code) {
    const unsigned char *p = (const unsigned char *)s;
    uint32_t c = p[0];
    if (c < 0x80) {
        *code = c;
        return 1;
    }
    size_t bytes = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
    if (c < 0xc2 || c > 0xf4 || bytes > n) return 0;
    c &= 0xffu >> (bytes + 1);
    for (size_t i = 1; i < bytes; i++) {
        if ((p[i] & 0xc0) != 0x80) return 0;
        c = c << 6 | (p[i] & 0x3fu);
    }
    if ((bytes == 3 && (c < 0x800 || (c >= 0xd800 && c < 0xe000))) || (bytes == 4 && (c < 0x10000 || c > 0x10ffff)))
        return 0;
    *code = c;
    return bytes;
}

size_t tok_utf8_valid_prefix(const char *s, size_t n) {
    size_t i = 0;
    while (i < n) {
        if ((unsigned char)s[i] < 0x80) {
            i++;
            continue;
        }
        uint32_t code;
        size_t bytes = tok_utf8_read(s + i, n - i, &code);
        if (!bytes) break;
        i += bytes;
    }
    return i;
}

const char *tok_shown(char *out, const char *text, size_t n) {
    size_t used = 0;
    for (size_t i = 0; i < n;) {
        uint32_t code = 0;
        size_t bytes = tok_utf8_read(text + i, n - i, &code);
        bool plain = bytes && code >= 0x20 && (code < 0x7f || code > 0x9f);
        if (used + (plain ? bytes : 1) > 60) {
            memcpy(out + used, "...", 3);
            used += 3;
            break;
        }
        if (plain)
            memcpy(out + used, text + i, bytes);
        else
            out[used] = '?';
        used += plain ? bytes : 1;
        i += bytes ? bytes : 1;
    }
    out[used] = 0;
    return out;
}

bool tok_is_space(uint32_t c) {
    return (c >= 9 && c <= 13) || c == 0x20 || c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) ||
           c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

bool tok_is_word(uint32_t c) {
    utf8proc_category_t k = utf8proc_category((utf8proc_int32_t)c);
    bool joins = k == UTF8PROC_CATEGORY_PC || c == 0x200c || c == 0x200d;
    bool enclosed = (c >= 0x24b6 && c <= 0x24e9) || (c >= 0x1f130 && c <= 0x1f189); /* alphabetic symbols */
    return (k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_NL) || joins || enclosed;
}

/* ---- normalisation ------------------------------------------------------------------------------------------- */

static bool composes(tok_form form) { return form == FORM_NFC || form == FORM_NFKC; }

static utf8proc_option_t options_of(tok_form form) {
    utf8proc_option_t o = UTF8PROC_STABLE | (composes(form) ? UTF8PROC_COMPOSE : UTF8PROC_DECOMPOSE);
    return form == FORM_NFKC || form == FORM_NFKD ? o | UTF8PROC_COMPAT : o;
}

/* Can this (decomposed) character join or pass what stands before it? Marks, and Hangul vowels and finals. */
static bool clings(utf8proc_int32_t c) {
    if (c < 0x300) return false;
    /* 0x11a7 is no final, but utf8proc 2.8 lets it vanish into a syllable: it must not share a chunk with one */
    if ((c >= 0x1160 && c < 0x1200 && c != 0x11a7) || (c >= 0xd7b0 && c < 0xd800)) return true;
    utf8proc_category_t k = utf8proc_category(c);
    return k == UTF8PROC_CATEGORY_MN || k == UTF8PROC_CATEGORY_MC || k == UTF8PROC_CATEGORY_ME;
}

typedef struct codes {
    utf8proc_int32_t *data;
    size_t n, room;
} codes;

enum { MAX_DECOMPOSITION = 32 }; /* Unicode's longest is 18 */

static kvb_status decompose(uint32_t code, utf8proc_option_t options, codes *out) {
    KVB_TRY(tok_grow((void **)&out->data, &out->room, out->n, MAX_DECOMPOSITION, sizeof *out->data));
    int boundary = 0;
    /* without COMPOSE: composing is a step over the whole chunk, later */
    utf8proc_option_t only = (options & ~UTF8PROC_COMPOSE) | UTF8PROC_DECOMPOSE;
    utf8proc_ssize_t n =
        utf8proc_decompose_char((utf8proc_int32_t)code, out->data + out->n, MAX_DECOMPOSITION, only, &boundary);
    if (n < 1 || n > MAX_DECOMPOSITION) { /* a code point that this utf8proc does not know: it stands for itself */
        out->data[out->n] = (utf8proc_int32_t)code;
        n = 1;
    }
    out->n += (size_t)n;
    return KVB_OK;
}

/* Stable counting sort of one run of marks by combining class. */
static kvb_status order_run(utf8proc_int32_t *run, size_t n, codes *scratch) {
    size_t at[257] = {0};
    bool sorted = true;
    for (size_t i = 0, last = 0; i < n; i++) {
        size_t class = (size_t)utf8proc_get_property(run[i])->combining_class & 0xff;
        if (class < last) sorted = false;
        last = class;
        at[class + 1]++;
    }
    if (sorted) return KVB_OK;
    for (int i = 0; i < 256; i++) at[i + 1] += at[i];
    KVB_TRY(tok_grow((void **)&scratch->data, &scratch->room, 0, n, sizeof *scratch->data));
    for (size_t i = 0; i < n; i++) scratch->data[at[utf8proc_get_property(run[i])->combining_class & 0xff]++] = run[i];
    memcpy(run, scratch->data, n * sizeof *run);
    return KVB_OK;
}

static kvb_status order_marks(codes *chunk, codes *scratch) {
    for (size_t i = 0; i < chunk->n;) {
        size_t from = i;
        while (i < chunk->n && utf8proc_get_property(chunk->data[i])->combining_class) i++;
        if (i > from + 1) KVB_TRY(order_run(chunk->data + from, i - from, scratch));
        if (i == from) i++;
    }
    return KVB_OK;
}

/* Composes and appends a chunk that stood at [orig_from, orig_to), and records an edit when its bytes changed. */
static kvb_status finish_chunk(tok_form form, codes *chunk, codes *scratch, const char *text, size_t orig_from,
                               size_t orig_to, tok_normalized *out) {
    KVB_TRY(order_marks(chunk, scratch));
    utf8proc_ssize_t n = (utf8proc_ssize_t)chunk->n;
    if (composes(form) && n > 1) n = utf8proc_normalize_utf32(chunk->data, n, UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    size_t from = out->text.n;
    KVB_TRY(tok_bytes_reserve(&out->text, (size_t)n * 4));
    for (utf8proc_ssize_t i = 0; i < n; i++)
        out->text.n += (size_t)utf8proc_encode_char(chunk->data[i], (utf8proc_uint8_t *)out->text.data + out->text.n);
    size_t bytes = out->text.n - from;
    chunk->n = 0;
    if (bytes == orig_to - orig_from && memcmp(out->text.data + from, text + orig_from, bytes) == 0) return KVB_OK;
    KVB_TRY(tok_grow((void **)&out->edits, &out->edits_room, out->n_edits, 1, sizeof *out->edits));
    out->edits[out->n_edits++] = (tok_edit){from, out->text.n, orig_from, orig_to};
    return KVB_OK;
}

static kvb_status normalize(tok_form form, const char *text, size_t n, tok_normalized *out, codes *chunk,
                            codes *scratch) {
    utf8proc_option_t options = options_of(form);
    uint32_t plain_below = form == FORM_NFC ? 0x300 : 0x80; /* these stay as they are when nothing clings to them */
    size_t chunk_from = 0;
    for (size_t i = 0; i < n;) {
        uint32_t code = 0;
        size_t bytes = tok_utf8_read(text + i, n - i, &code);
        if (!bytes) return kvb_fail(KVB_E_INTERNAL, "normalising text that is not UTF-8 at byte %zu", i);
        size_t kept = chunk->n;
        if (code < plain_below) {
            if (kept) KVB_TRY(finish_chunk(form, chunk, scratch, text, chunk_from, i, out));
            uint32_t next = 0;
            size_t end = i + bytes;
            if (end == n || (tok_utf8_read(text + end, n - end, &next) && next < 0x300)) {
                KVB_TRY(tok_bytes_add(&out->text, text + i, bytes));
                i = end;
                continue;
            }
            chunk_from = i;
            KVB_TRY(decompose(code, options, chunk));
            i = end;
            continue;
        }
        KVB_TRY(decompose(code, options, chunk));
        if (kept && !clings(chunk->data[kept])) {
            /* the new character starts the next chunk: finish the old one, then take the new one up again */
            chunk->n = kept;
            KVB_TRY(finish_chunk(form, chunk, scratch, text, chunk_from, i, out));
            KVB_TRY(decompose(code, options, chunk));
            kept = 0;
        }
        if (!kept) chunk_from = i;
        i += bytes;
    }
    return chunk->n ? finish_chunk(form, chunk, scratch, text, chunk_from, n, out) : KVB_OK;
}

kvb_status tok_normalize(tok_form form, const char *text, size_t n, tok_normalized *out) {
    codes chunk = {0}, scratch = {0};
    out->text.n = out->n_edits = 0;
    kvb_status status = normalize(form, text, n, out, &chunk, &scratch);
    kvb_free(chunk.data);
    kvb_free(scratch.data);
    return status;
}

void tok_normalized_clear(tok_normalized *out) {
    kvb_free(out->text.data);
    kvb_free(out->edits);
    memset(out, 0, sizeof *out);
}
