/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tokenizer.c - the tokenizer object and its calls.
 *
 * Encoding walks the text once and keeps, for the segment at hand, how its normalised bytes lead back to the original;
 * every token is emitted with that range, so that an answer's tokens can be found by byte offsets. Invalid UTF-8 is not
 * an error: each invalid byte is a word of its own (patterns and normalisation never see it). The object holds the
 * scratch and the result of its last call: one thread at a time.
 */
#include "tokenizer.h"

kvb_status tok_new(const char *where, kvb_tokenizer **out) {
    kvb_tokenizer *t = kvb_alloc(sizeof *t, KVB_MEM_OTHER);
    if (!t) return KVB_E_MEMORY;
    t->bos = -1;
    t->bpe.unknown = -1;
    t->where = kvb_strdup_n(where, strlen(where), KVB_MEM_OTHER);
    kvb_status status = t->where ? tok_splitter_start(&t->splitter) : KVB_E_MEMORY;
    if (status != KVB_OK) {
        kvb_tokenizer_free(t);
        return status;
    }
    *out = t;
    return KVB_OK;
}

void kvb_tokenizer_free(kvb_tokenizer *t) {
    if (!t) return;
    tok_bpe_clear(&t->bpe);
    tok_splitter_clear(&t->splitter);
    tok_normalized_clear(&t->segment);
    void *const parts[] = {
        t->raw.nodes, t->normalized.nodes, t->added_flags, t->where, t->kind, t->ids, t->spans, t->decoded.data, t};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) kvb_free(parts[i]);
}

int32_t kvb_tokenizer_size(const kvb_tokenizer *t) { return t->bpe.size; }
int32_t kvb_tokenizer_bos(const kvb_tokenizer *t) { return t->bos; }
const char *kvb_tokenizer_kind(const kvb_tokenizer *t) { return t->kind; }

int32_t kvb_tokenizer_is_special(const kvb_tokenizer *t, int32_t id) {
    return id >= 0 && id < t->bpe.size && (t->bpe.flags[id] & TOKEN_SPECIAL) ? 1 : 0;
}

int32_t kvb_tokenizer_id(const kvb_tokenizer *t, const char *token, int64_t bytes) {
    if (bytes <= 0) return -1;
    size_t n = (size_t)bytes;
    int32_t id = tok_bpe_find(&t->bpe, token, n);
    for (int32_t i = t->bpe.size; id < 0 && i-- > 0;) /* tokens that no merge produces are few and mostly last */
        if (t->bpe.length[i] == n && !(t->bpe.flags[i] & TOKEN_BYTE) &&
            memcmp(t->bpe.text.data + t->bpe.start[i], token, n) == 0)
            id = i;
    return id < 0 && n == 1 ? t->bpe.byte_id[(unsigned char)*token] : id;
}

/* ---- building, shared by both kinds of file ------------------------------------------------------------------ */

kvb_status tok_added(kvb_tokenizer *t, int32_t id, const char *content, size_t n, bool special, uint8_t flags) {
    if (!t->added_flags && !(t->added_flags = kvb_alloc_array((size_t)t->bpe.size, 1, KVB_MEM_OTHER)))
        return KVB_E_MEMORY;
    t->added_flags[id] = flags;
    t->bpe.flags[id] |= (uint8_t)(TOKEN_ADDED | (special ? TOKEN_SPECIAL : 0));
    tok_trie *trie = flags & ADDED_NORMALIZED ? &t->normalized : &t->raw;
    if (trie == &t->normalized && t->form != FORM_NONE) {
        KVB_TRY(tok_normalize(t->form, content, n, &t->segment));
        content = t->segment.text.data;
        n = t->segment.text.n;
    }
    return tok_trie_add(trie, content, n, id, special);
}

kvb_status tok_check_holes(const kvb_tokenizer *t) {
    for (int32_t id = 0; id < t->bpe.size; id++) {
        if (t->bpe.flags[id] & TOKEN_PRESENT) continue;
        kvb_fail(KVB_E_FORMAT, "tokenizer '%s': no token has id %d, ids go up to %d", t->where, id, t->bpe.size - 1);
        kvb_hint("-> the file is damaged or was cut; fetch it again");
        return KVB_E_FORMAT;
    }
    return KVB_OK;
}

/* ---- encoding ------------------------------------------------------------------------------------------------ */

/* Normalised [from, to) of the current segment to original bytes. Calls come nearly in order, so a cursor finds the
 * edit. */
static void to_original(kvb_tokenizer *t, int64_t from, int64_t to, int64_t *orig_from, int64_t *orig_to) {
    const tok_edit *e = t->edits;
    while (t->edit_at > 0 && (int64_t)e[t->edit_at - 1].norm_to > from) t->edit_at--;
    while (t->edit_at < t->n_edits && (int64_t)e[t->edit_at].norm_to <= from) t->edit_at++;
    size_t i = t->edit_at;
    int64_t shift = i ? (int64_t)e[i - 1].orig_to - (int64_t)e[i - 1].norm_to : 0;
    *orig_from = i < t->n_edits && (int64_t)e[i].norm_from < from ? (int64_t)e[i].orig_from : from + shift;
    while (i < t->n_edits && (int64_t)e[i].norm_to <= to) i++;
    if (i < t->n_edits && (int64_t)e[i].norm_from < to)
        *orig_to = (int64_t)e[i].orig_to;
    else
        *orig_to = to + (i ? (int64_t)e[i - 1].orig_to - (int64_t)e[i - 1].norm_to : 0);
}

kvb_status tok_emit(kvb_tokenizer *t, int32_t id, int64_t from, int64_t to) {
    if (t->n == t->ids_room) KVB_TRY(tok_grow((void **)&t->ids, &t->ids_room, t->n, 1, sizeof *t->ids));
    if (2 * t->n + 2 > t->spans_room)
        KVB_TRY(tok_grow((void **)&t->spans, &t->spans_room, 2 * t->n, 2, sizeof *t->spans));
    if (t->n_edits) to_original(t, from, to, &from, &to);
    t->ids[t->n] = id;
    t->spans[2 * t->n] = (int32_t)kvb_max64(from + t->segment_from, t->floor);
    t->spans[2 * t->n + 1] = (int32_t)kvb_max64(to + t->segment_from, t->floor);
    t->n++;
    return KVB_OK;
}

/* An added token, unless lstrip left nothing of it. */
static kvb_status emit_added(kvb_tokenizer *t, tok_match m) {
    if (m.to <= m.from) return KVB_OK;
    KVB_TRY(tok_emit(t, m.id, (int64_t)m.from, (int64_t)m.to));
    t->floor = t->spans[2 * t->n - 1];
    return KVB_OK;
}

static kvb_status encode_stretch(kvb_tokenizer *t, const char *text, size_t n, size_t at) {
    return t->bpe.pieces ? tok_spm_encode(t, text, n, (int64_t)at) : tok_split(t, text, n, (int64_t)at);
}

static kvb_status encode_normalized(kvb_tokenizer *t, const char *text, size_t n, bool parse_special) {
    size_t done = 0, at = 0;
    tok_match m;
    while (tok_added_next(t, &t->normalized, text, n, done, &at, parse_special, &m)) {
        if (m.from > done) KVB_TRY(encode_stretch(t, text + done, m.from - done, done));
        KVB_TRY(emit_added(t, m));
        done = m.to;
    }
    return done < n ? encode_stretch(t, text + done, n - done, done) : KVB_OK;
}

/* Text between added tokens; it stands at `offset` of the original. */
static kvb_status encode_segment(kvb_tokenizer *t, const char *text, size_t n, size_t offset, bool parse_special) {
    t->segment_from = (int64_t)offset;
    t->edit_at = t->n_edits = 0;
    if (t->form == FORM_NONE && !t->bpe.pieces) return encode_normalized(t, text, n, parse_special);
    KVB_TRY(t->bpe.pieces ? tok_spm_normalize(&t->bpe, text, n, offset == 0, &t->segment)
                        : tok_normalize(t->form, text, n, &t->segment));
    t->edits = t->segment.edits;
    t->n_edits = t->segment.n_edits;
    return encode_normalized(t, t->segment.text.data, t->segment.text.n, parse_special);
}

/* A run of valid UTF-8 at `offset` of the original. */
static kvb_status encode_run(kvb_tokenizer *t, const char *text, size_t n, size_t offset, bool parse_special) {
    size_t done = 0, at = 0;
    tok_match m;
    while (tok_added_next(t, &t->raw, text, n, done, &at, parse_special, &m)) {
        if (m.from > done) KVB_TRY(encode_segment(t, text + done, m.from - done, offset + done, parse_special));
        t->segment_from = (int64_t)offset;
        t->n_edits = 0;
        KVB_TRY(emit_added(t, m));
        done = m.to;
    }
    return done < n ? encode_segment(t, text + done, n - done, offset + done, parse_special) : KVB_OK;
}

kvb_status kvb_tokenizer_encode(kvb_tokenizer *t, const char *text, int64_t bytes, int32_t parse_special,
                                const int32_t **ids, const int32_t **spans, int32_t *n) {
    if (bytes < 0 || bytes > INT32_MAX - 16)
        return kvb_fail(KVB_E_ARG, "cannot encode a text of %lld bytes: offsets are 32-bit", (long long)bytes);
    t->n = 0;
    t->floor = 0;
    for (size_t i = 0, end = (size_t)bytes; i < end;) {
        size_t run = tok_utf8_valid_prefix(text + i, end - i);
        if (run) KVB_TRY(encode_run(t, text + i, run, i, parse_special != 0));
        i += run;
        if (i == end) break;
        t->segment_from = (int64_t)i;
        t->n_edits = 0;
        KVB_TRY(t->bpe.pieces ? tok_spm_encode(t, text + i, 1, 0) : tok_bpe_encode(t, text + i, 1, 0, 0));
        i++;
    }
    if (t->n > INT32_MAX) return kvb_fail(KVB_E_ARG, "a text of %lld bytes gives %zu tokens", (long long)bytes, t->n);
    *ids = t->ids;
    *spans = t->spans;
    *n = (int32_t)t->n;
    return KVB_OK;
}

/* ---- decoding ------------------------------------------------------------------------------------------------ */

kvb_status kvb_tokenizer_decode(kvb_tokenizer *t, const int32_t *ids, int32_t n, int32_t skip_special,
                                const char **text, int64_t *bytes) {
    const tok_bpe *b = &t->bpe;
    t->decoded.n = 0;
    for (int32_t i = 0; i < n; i++) {
        if (ids[i] < 0 || ids[i] >= b->size)
            return kvb_fail(KVB_E_ARG, "cannot decode: id %d at place %d, the tokenizer has ids 0 to %d", ids[i], i,
                            b->size - 1);
        if (skip_special && (b->flags[ids[i]] & TOKEN_SPECIAL)) continue;
        KVB_TRY(tok_bytes_add(&t->decoded, b->text.data + b->start[ids[i]], b->length[ids[i]]));
    }
    KVB_TRY(tok_bytes_reserve(&t->decoded, 1));
    t->decoded.data[t->decoded.n] = 0;
    const bool strip = b->strip_space && t->decoded.n && *t->decoded.data == ' ';
    *text = t->decoded.data + strip;
    *bytes = (int64_t)t->decoded.n - strip;
    return KVB_OK;
}
