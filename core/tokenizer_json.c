/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tokenizer_json.c - a Hugging Face tokenizer.json into a tokenizer: byte-level BPE, or SentencePiece's BPE with byte
 * fallback (Gemma, LLaMA 2).
 *
 * Everything in the file that could change ids is either obeyed or refused by name; nothing is skipped in silence.
 * Sizes follow from what the file really holds: with N tokens every id must be below N, so a claimed id of 2^40 costs
 * nothing. Rejected: a parser of our own (jansson needs 0.4 s for LLaMA-3's 9 MB, once per run, and knows every corner
 * of JSON).
 */
#include "tokenizer.h"
#include <jansson.h>
#include <stdio.h>
#include <zstd.h>

typedef struct loader {
    kvb_tokenizer *t;
    const char *where;
    const json_t *vocab, *merges, *added;
    bool spaces; /* the normalizer or pre-tokenizer makes spaces visible */
} loader;

static kvb_status unsupported(const loader *l, const char *what, const char *name, const char *known) {
    char shown[TOK_SHOWN];
    kvb_fail(KVB_E_UNSUPPORTED, "tokenizer '%s': %s '%s' is not supported", l->where, what,
             tok_shown(shown, name, strlen(name)));
    kvb_hint("-> known: %s", known);
    return KVB_E_UNSUPPORTED;
}

static kvb_status broken(const loader *l, const char *what) {
    kvb_fail(KVB_E_FORMAT, "tokenizer '%s': %s", l->where, what);
    kvb_hint("-> the file is damaged or is not a tokenizer.json");
    return KVB_E_FORMAT;
}

/* A string member, or "" when it is absent or null; NULL when it is something else. */
static const char *text_of(const json_t *object, const char *key) {
    const json_t *value = json_object_get(object, key);
    if (!value || json_is_null(value)) return "";
    return json_string_value(value);
}

static bool flag_of(const json_t *object, const char *key, bool otherwise) {
    const json_t *value = json_object_get(object, key);
    return json_is_boolean(value) ? json_is_true(value) : otherwise;
}

/* ---- normaliser ---------------------------------------------------------------------------------------------- */

/* The forms one after the other are one form: K if any has it, and composed if the last one is. */
static tok_form then(tok_form first, tok_form next) {
    bool compat = first == FORM_NFKC || first == FORM_NFKD || next == FORM_NFKC || next == FORM_NFKD;
    bool composed = next == FORM_NFC || next == FORM_NFKC;
    return compat ? (composed ? FORM_NFKC : FORM_NFKD) : (composed ? FORM_NFC : FORM_NFD);
}

static bool is_text(const json_t *value, const char *text) {
    return json_is_string(value) && strcmp(json_string_value(value), text) == 0;
}

static const char visible_space[] = "\xe2\x96\x81";

/* Does a Replace write `to` for every `from`? */
static bool replaces(const json_t *spec, const char *from, const char *to) {
    return is_text(json_object_get(json_object_get(spec, "pattern"), "String"), from) &&
           is_text(json_object_get(spec, "content"), to);
}

/* A normalizer of SentencePiece's: spaces become visible, or one is put in front. *is says whether it is one. */
static void read_space(loader *l, const json_t *spec, const char *type, bool *is) {
    bool replace = strcmp(type, "Replace") == 0 && replaces(spec, " ", visible_space),
         prepend = strcmp(type, "Prepend") == 0 && is_text(json_object_get(spec, "prepend"), visible_space);
    *is = l->t->bpe.pieces && (replace || prepend);
    if (*is && replace) l->spaces = true;
    if (*is && prepend) l->t->bpe.space_prefix = PREFIX_EVERY;
}

static kvb_status read_normalizer(loader *l, const json_t *spec, int depth) {
    if (!spec || json_is_null(spec)) return KVB_OK;
    const char *type = text_of(spec, "type");
    if (!json_is_object(spec) || !type) return broken(l, "the normalizer is not an object with a type");
    static const char *const forms[] = {"NFC", "NFD", "NFKC", "NFKD"};
    for (int i = 0; i < 4; i++)
        if (strcmp(type, forms[i]) == 0) {
            l->t->form = then(l->t->form, (tok_form)(i + 1));
            return KVB_OK;
        }
    bool space;
    read_space(l, spec, type, &space);
    if (space) return KVB_OK;
    const json_t *parts = json_object_get(spec, "normalizers");
    if (strcmp(type, "Sequence") != 0)
        return unsupported(l, "normalizer", type,
                           "NFC, NFD, NFKC, NFKD, Replace and Prepend of SentencePiece's visible space, Sequence of "
                           "these, null");
    if (!json_is_array(parts) || depth == 4) return broken(l, "the normalizer Sequence has no list of normalizers");
    for (size_t i = 0; i < json_array_size(parts); i++)
        KVB_TRY(read_normalizer(l, json_array_get(parts, i), depth + 1));
    return KVB_OK;
}

/* ---- pre-tokenizer ------------------------------------------------------------------------------------------- */

static kvb_status read_behaviour(const loader *l, const json_t *spec, tok_behaviour *out) {
    static const char *const names[] = {"Isolated", "Removed", "Contiguous", "MergedWithPrevious", "MergedWithNext"};
    const char *name = text_of(spec, "behavior");
    for (int i = 0; name && i < 5; i++)
        if (strcmp(name, names[i]) == 0) {
            *out = (tok_behaviour)i;
            return KVB_OK;
        }
    return unsupported(l, "split behavior", name ? name : "?",
                       "Isolated, Removed, Contiguous, MergedWithPrevious, MergedWithNext");
}

static kvb_status read_split(loader *l, const json_t *spec) {
    tok_behaviour behaviour;
    KVB_TRY(read_behaviour(l, spec, &behaviour));
    const json_t *pattern = json_object_get(spec, "pattern");
    const json_t *regex = json_object_get(pattern, "Regex"), *literal = json_object_get(pattern, "String");
    if (json_is_string(pattern)) literal = pattern;
    if (!json_is_string(regex) && !json_is_string(literal))
        return broken(l, "a Split has neither a Regex nor a String pattern");
    return tok_splitter_add(&l->t->splitter, l->where, json_string_value(regex), json_string_length(regex),
                            json_string_value(literal), json_string_length(literal), behaviour,
                            flag_of(spec, "invert", false), false);
}

static kvb_status add_pattern(loader *l, const char *regex, tok_behaviour behaviour, bool prefix_space) {
    return tok_splitter_add(&l->t->splitter, l->where, regex, regex ? strlen(regex) : 0, NULL, 0, behaviour, false,
                            prefix_space);
}

static kvb_status read_pretokenizer(loader *l, const json_t *spec, int depth, bool *byte_level) {
    const char *type = text_of(spec, "type");
    if (!json_is_object(spec) || !type) return broken(l, "the pre_tokenizer is not an object with a type");
    if (*byte_level) return unsupported(l, "behind ByteLevel the pre_tokenizer", type, "ByteLevel as the last one");
    if (strcmp(type, "Split") == 0) return read_split(l, spec);
    if (strcmp(type, "Digits") == 0)
        return add_pattern(l, "\\p{N}", flag_of(spec, "individual_digits", false) ? SPLIT_ISOLATED : SPLIT_CONTIGUOUS,
                           false);
    if (strcmp(type, "Punctuation") == 0) {
        tok_behaviour behaviour = SPLIT_ISOLATED;
        if (json_object_get(spec, "behavior")) KVB_TRY(read_behaviour(l, spec, &behaviour));
        return add_pattern(l, "[\\p{P}$+<=>^`|~]", behaviour, false);
    }
    if (strcmp(type, "ByteLevel") == 0) {
        *byte_level = true;
        return add_pattern(l, flag_of(spec, "use_regex", true) ? tok_gpt2_pattern : NULL, SPLIT_ISOLATED,
                           flag_of(spec, "add_prefix_space", true));
    }
    const json_t *parts = json_object_get(spec, "pretokenizers");
    if (strcmp(type, "Sequence") != 0)
        return unsupported(l, "pre_tokenizer", type, "Split, Digits, Punctuation, ByteLevel, Sequence of these");
    if (!json_is_array(parts) || depth == 4)
        return broken(l, "the pre_tokenizer Sequence has no list of pretokenizers");
    for (size_t i = 0; i < json_array_size(parts); i++)
        KVB_TRY(read_pretokenizer(l, json_array_get(parts, i), depth + 1, byte_level));
    return KVB_OK;
}

/* Of SentencePiece's: spaces are visible by now, so that a split at spaces cuts nothing; or Metaspace makes them so. */
static kvb_status read_piece_pretokenizer(loader *l, const json_t *spec) {
    const char *type = text_of(spec, "type");
    if (!json_is_object(spec) || !type) return broken(l, "the pre_tokenizer is not an object with a type");
    const json_t *pattern = json_object_get(json_object_get(spec, "pattern"), "String");
    if (l->spaces && strcmp(type, "Split") == 0 && is_text(pattern, " ")) return KVB_OK;
    static const char *const schemes[] = {"never", "always", "first"};
    static const tok_prefix prefixes[] = {PREFIX_NONE, PREFIX_WITHOUT_SPACE, PREFIX_FIRST};
    const char *scheme = text_of(spec, "prepend_scheme");
    bool whole = strcmp(type, "Metaspace") == 0 && !flag_of(spec, "split", true) &&
                 is_text(json_object_get(spec, "replacement"), visible_space);
    for (int i = 0; whole && scheme && i < 3; i++)
        if (strcmp(scheme, schemes[i]) == 0) {
            l->spaces = true;
            l->t->bpe.space_prefix = prefixes[i];
            return KVB_OK;
        }
    return unsupported(l, "with byte_fallback the pre_tokenizer", type,
                       "null, a Split at spaces that the normalizer replaced, Metaspace with split false");
}

/* ---- what must be as byte-level BPE has it ------------------------------------------------------------------- */

static kvb_status check_decoder(const loader *l, const json_t *spec, int depth) {
    if (!spec || json_is_null(spec)) return KVB_OK; /* bytes are bytes */
    const char *type = text_of(spec, "type");
    if (!json_is_object(spec) || !type) return broken(l, "the decoder is not an object with a type");
    if (!l->t->bpe.pieces && strcmp(type, "ByteLevel") == 0) return KVB_OK;
    /* pieces are held as what they decode to */
    if (l->t->bpe.pieces && (strcmp(type, "ByteFallback") == 0 || strcmp(type, "Fuse") == 0)) return KVB_OK;
    const bool strip = strcmp(type, "Strip") == 0 && is_text(json_object_get(spec, "content"), " ") &&
                       json_integer_value(json_object_get(spec, "start")) == 1 &&
                       json_integer_value(json_object_get(spec, "stop")) == 0;
    if (l->t->bpe.pieces && (strip || strcmp(type, "Metaspace") == 0)) {
        l->t->bpe.strip_space = strip || l->t->bpe.space_prefix != PREFIX_NONE;
        return KVB_OK;
    }
    if (l->t->bpe.pieces && strcmp(type, "Replace") == 0 && replaces(spec, visible_space, " ")) return KVB_OK;
    const json_t *parts = json_object_get(spec, "decoders");
    if (strcmp(type, "Sequence") != 0 || !json_is_array(parts) || depth == 4)
        return unsupported(l, "decoder", type,
                           !l->t->bpe.pieces ? "ByteLevel"
                                             : "Replace of the visible space, ByteFallback, Fuse, Strip of one space, "
                                               "Metaspace");
    for (size_t i = 0; i < json_array_size(parts); i++) KVB_TRY(check_decoder(l, json_array_get(parts, i), depth + 1));
    return KVB_OK;
}

static kvb_status check_model(loader *l, const json_t *model) {
    if (!json_is_object(model)) return broken(l, "it has no model");
    const char *type = text_of(model, "type");
    if (!type) return broken(l, "the model's type is not a string");
    if (*type && strcmp(type, "BPE") != 0) return unsupported(l, "model type", type, "BPE (byte-level)");
    static const char *const affixes[] = {"continuing_subword_prefix", "end_of_word_suffix"};
    for (int i = 0; i < 2; i++) {
        const char *affix = text_of(model, affixes[i]);
        if (!affix || *affix) return unsupported(l, "a model with", affixes[i], "models without it");
    }
    const json_t *dropout = json_object_get(model, "dropout");
    if (json_is_number(dropout) && json_number_value(dropout) != 0)
        return unsupported(l, "a model with", "dropout", "dropout null or 0");
    l->vocab = json_object_get(model, "vocab");
    l->merges = json_object_get(model, "merges");
    /* byte_fallback needs tokens like <0xC4>; a byte-level vocabulary has none, so that the switch alone changes
     * nothing */
    l->t->bpe.pieces = flag_of(model, "byte_fallback", false) && json_object_get(l->vocab, "<0xC4>");
    for (int i = 0; l->t->bpe.pieces && i < 256; i++) {
        char name[8];
        snprintf(name, sizeof name, "<0x%02X>", (unsigned)i);
        if (!json_object_get(l->vocab, name))
            return unsupported(l, "byte_fallback without the token", name, "vocabularies with all 256 byte tokens");
    }
    if (!json_is_object(l->vocab) || json_object_size(l->vocab) == 0) return broken(l, "the model has no vocab");
    if (!json_is_array(l->merges)) return broken(l, "the model has no list of merges");
    return KVB_OK;
}

/* ---- tokens -------------------------------------------------------------------------------------------------- */

/* An id below `size` that no token has yet. */
static kvb_status check_id(const loader *l, const json_t *id, int32_t size, const char *token, size_t n, int32_t *out) {
    char shown[TOK_SHOWN];
    tok_shown(shown, token, n);
    if (!json_is_integer(id))
        return kvb_fail(KVB_E_FORMAT, "tokenizer '%s': the id of '%s' is not an integer", l->where, shown);
    json_int_t value = json_integer_value(id);
    if (value < 0 || value >= size) {
        kvb_fail(KVB_E_FORMAT, "tokenizer '%s': '%s' has id %lld, but the file has %d tokens, so ids run from 0 to %d",
                 l->where, shown, (long long)value, size, size - 1);
        kvb_hint("-> the vocabulary has holes or the file is damaged");
        return KVB_E_FORMAT;
    }
    if (l->t->bpe.flags[value] & TOKEN_PRESENT)
        return kvb_fail(KVB_E_FORMAT, "tokenizer '%s': '%s' has id %lld, which another token has too", l->where, shown,
                        (long long)value);
    *out = (int32_t)value;
    return KVB_OK;
}

/* A piece; one that has a real space in its name can be nobody's result, since spaces are visible by then. */
static kvb_status add_piece(loader *l, int32_t id, const char *name, size_t n, tok_bytes *raw) {
    int32_t byte = tok_spm_byte(name, n);
    char value = (char)byte;
    if (byte >= 0) return tok_bpe_token(&l->t->bpe, id, &value, 1, TOKEN_BYTE);
    tok_spm_spaces(name, n, raw->data, &raw->n);
    return tok_bpe_token(&l->t->bpe, id, raw->data, raw->n, memchr(name, ' ', n) ? 0 : TOKEN_WORD);
}

static kvb_status add_word(loader *l, const char *name, size_t n, const json_t *id_value, tok_bytes *raw) {
    int32_t id;
    KVB_TRY(check_id(l, id_value, l->t->bpe.size, name, n, &id));
    raw->n = 0;
    KVB_TRY(tok_bytes_reserve(raw, n + 1));
    if (l->t->bpe.pieces) return add_piece(l, id, name, n, raw);
    /* a name outside of the printable alphabet can be no merge's result; it decodes as it is written */
    if (tok_bpe_unmap(name, n, raw->data, &raw->n)) return tok_bpe_token(&l->t->bpe, id, raw->data, raw->n, TOKEN_WORD);
    return tok_bpe_token(&l->t->bpe, id, name, n, 0);
}

static const json_t *content_of(const loader *l, size_t i) {
    return json_object_get(json_array_get(l->added, i), "content");
}

static const json_t *vocab_entry(const loader *l, const json_t *content) {
    return json_object_getn(l->vocab, json_string_value(content), json_string_length(content));
}

static kvb_status count_tokens(const loader *l, int32_t *size) {
    size_t n = json_object_size(l->vocab);
    for (size_t i = 0; i < json_array_size(l->added); i++) {
        const json_t *content = content_of(l, i);
        if (!json_is_string(content) || json_string_length(content) == 0)
            return kvb_fail(KVB_E_FORMAT, "tokenizer '%s': added token %zu has no content", l->where, i);
        if (!vocab_entry(l, content)) n++;
    }
    if (n > INT32_MAX / 2) return kvb_fail(KVB_E_FORMAT, "tokenizer '%s': %zu tokens are too many", l->where, n);
    *size = (int32_t)n;
    return KVB_OK;
}

static kvb_status read_added(loader *l, size_t i) {
    const json_t *spec = json_array_get(l->added, i), *content = content_of(l, i),
                 *id_value = json_object_get(spec, "id");
    const json_t *entry = vocab_entry(l, content);
    const char *text = json_string_value(content);
    size_t n = json_string_length(content);
    tok_bpe *b = &l->t->bpe;
    int32_t id;
    if (!entry) {
        KVB_TRY(check_id(l, id_value, b->size, text, n, &id));
        KVB_TRY(tok_bpe_token(b, id, text, n, 0));
    } else {
        id = (int32_t)json_integer_value(entry);
        if (!json_is_integer(id_value) || json_integer_value(id_value) != id) {
            char shown[TOK_SHOWN];
            return kvb_fail(KVB_E_FORMAT, "tokenizer '%s': added token '%s' has another id than in the vocab (%d)",
                            l->where, tok_shown(shown, text, n), id);
        }
    }
    bool special = flag_of(spec, "special", false);
    uint8_t flags = (uint8_t)((flag_of(spec, "lstrip", false) ? ADDED_LSTRIP : 0) |
                              (flag_of(spec, "rstrip", false) ? ADDED_RSTRIP : 0) |
                              (flag_of(spec, "single_word", false) ? ADDED_SINGLE_WORD : 0) |
                              (flag_of(spec, "normalized", !special) ? ADDED_NORMALIZED : 0));
    return tok_added(l->t, id, text, n, special, flags);
}

static kvb_status read_tokens(loader *l) {
    int32_t size = 0;
    KVB_TRY(count_tokens(l, &size));
    KVB_TRY(tok_bpe_start(&l->t->bpe, size));
    tok_bytes raw = {0};
    kvb_status status = KVB_OK;
    for (void *it = json_object_iter((json_t *)l->vocab); it && status == KVB_OK;
         it = json_object_iter_next((json_t *)l->vocab, it))
        status = add_word(l, json_object_iter_key(it), json_object_iter_key_len(it), json_object_iter_value(it), &raw);
    kvb_free(raw.data);
    KVB_TRY(status);
    for (size_t i = 0; i < json_array_size(l->added); i++) KVB_TRY(read_added(l, i));
    KVB_TRY(tok_check_holes(l->t));
    KVB_TRY(tok_bpe_index(&l->t->bpe, l->where));
    if (l->t->bpe.pieces) tok_spm_index_bytes(&l->t->bpe);
    return KVB_OK;
}

static kvb_status read_merge(loader *l, size_t i) {
    const json_t *merge = json_array_get(l->merges, i);
    const char *left, *right;
    size_t left_n, right_n;
    if (json_is_string(merge)) {
        left = json_string_value(merge);
        const char *end = left + json_string_length(merge), *space = memchr(left, ' ', (size_t)(end - left));
        if (!space || memchr(space + 1, ' ', (size_t)(end - space - 1)))
            return kvb_fail(KVB_E_FORMAT, "tokenizer '%s': merge %zu is not two tokens with a space between", l->where,
                            i);
        left_n = (size_t)(space - left);
        right = space + 1;
        right_n = (size_t)(end - right);
    } else {
        const json_t *a = json_array_get(merge, 0), *b = json_array_get(merge, 1);
        if (json_array_size(merge) != 2 || !json_is_string(a) || !json_is_string(b))
            return kvb_fail(KVB_E_FORMAT, "tokenizer '%s': merge %zu is neither \"a b\" nor [\"a\", \"b\"]", l->where,
                            i);
        left = json_string_value(a);
        left_n = json_string_length(a);
        right = json_string_value(b);
        right_n = json_string_length(b);
    }
    return tok_bpe_merge_text(&l->t->bpe, l->where, left, left_n, right, right_n, (uint32_t)i);
}

static kvb_status read_merges(loader *l, const json_t *model) {
    size_t count = json_array_size(l->merges);
    if (count > INT32_MAX / 4)
        return kvb_fail(KVB_E_FORMAT, "tokenizer '%s': %zu merges are too many", l->where, count);
    KVB_TRY(tok_bpe_merges_start(&l->t->bpe, count));
    for (size_t i = 0; i < count; i++) KVB_TRY(read_merge(l, i));
    l->t->bpe.ignore_merges = flag_of(model, "ignore_merges", false);
    l->t->bpe.fuse_unknown = flag_of(model, "fuse_unk", false);
    const json_t *unknown = json_object_get(model, "unk_token");
    if (!json_is_string(unknown)) return KVB_OK;
    const char *name = json_string_value(unknown);
    size_t n = json_string_length(unknown);
    l->t->bpe.unknown = kvb_tokenizer_id(l->t, name, (int64_t)n);
    char shown[TOK_SHOWN];
    if (l->t->bpe.unknown >= 0) return KVB_OK;
    return kvb_fail(KVB_E_FORMAT, "tokenizer '%s': the unk_token '%s' is no token", l->where,
                    tok_shown(shown, name, n));
}

/* ---- BOS: a TemplateProcessing that begins with a special token ---------------------------------------------- */

static void read_bos(loader *l, const json_t *spec, int depth) {
    const char *type = text_of(spec, "type");
    if (!type || depth == 4) return;
    const json_t *parts = json_object_get(spec, "processors");
    for (size_t i = 0; i < json_array_size(parts); i++) read_bos(l, json_array_get(parts, i), depth + 1);
    if (strcmp(type, "TemplateProcessing") != 0) return;
    const json_t *first = json_object_get(json_array_get(json_object_get(spec, "single"), 0), "SpecialToken");
    const char *name = text_of(first, "id");
    if (!name || !*name) return;
    const json_t *ids = json_object_get(json_object_get(json_object_get(spec, "special_tokens"), name), "ids");
    const json_t *id = json_array_get(ids, 0);
    if (json_is_integer(id) && json_integer_value(id) >= 0 && json_integer_value(id) < l->t->bpe.size)
        l->t->bos = (int32_t)json_integer_value(id);
}

/* ---- the file ------------------------------------------------------------------------------------------------ */

static kvb_status describe(loader *l) {
    static const char *const forms[] = {"", ", NFC", ", NFD", ", NFKC", ", NFKD"};
    char text[128];
    if (l->t->bpe.pieces)
        snprintf(text, sizeof text, "SentencePiece BPE, byte fallback%s",
                 l->t->bpe.space_prefix == PREFIX_NONE ? "" : ", a space in front");
    else
        snprintf(text, sizeof text, "byte-level BPE%s%s", forms[l->t->form],
                 l->t->bpe.ignore_merges ? ", whole words first" : "");
    l->t->kind = kvb_strdup_n(text, strlen(text), KVB_MEM_OTHER);
    return l->t->kind ? KVB_OK : KVB_E_MEMORY;
}

static kvb_status load(loader *l, const json_t *root) {
    if (!json_is_object(root)) return broken(l, "it is not a JSON object");
    const json_t *model = json_object_get(root, "model");
    KVB_TRY(check_model(l, model));
    l->added = json_object_get(root, "added_tokens");
    if (l->added && !json_is_null(l->added) && !json_is_array(l->added)) return broken(l, "added_tokens is not a list");
    KVB_TRY(read_normalizer(l, json_object_get(root, "normalizer"), 0));
    bool byte_level = false;
    const json_t *pretokenizer = json_object_get(root, "pre_tokenizer");
    const bool any = pretokenizer && !json_is_null(pretokenizer), pieces = l->t->bpe.pieces;
    if (any)
        KVB_TRY(pieces ? read_piece_pretokenizer(l, pretokenizer)
                       : read_pretokenizer(l, pretokenizer, 0, &byte_level));
    if (pieces && (!l->spaces || l->t->form != FORM_NONE || flag_of(model, "ignore_merges", false)))
        return unsupported(l, "byte_fallback with",
                           !l->spaces ? "spaces that stay as they are" : "a Unicode form or ignore_merges",
                           "SentencePiece's visible spaces (Replace or Metaspace) and nothing else");
    if (!pieces && !byte_level) return unsupported(l, "a pre_tokenizer without", "ByteLevel", "byte-level BPE only");
    KVB_TRY(check_decoder(l, json_object_get(root, "decoder"), 0));
    KVB_TRY(read_tokens(l));
    KVB_TRY(read_merges(l, model));
    read_bos(l, json_object_get(root, "post_processor"), 0);
    return describe(l);
}

/* A JSON text to a tokenizer. */
static kvb_status from_plain(const char *text, size_t n, const char *where, kvb_tokenizer **out) {
    json_error_t error;
    json_t *root = json_loadb(n ? text : "", n, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    if (!root) {
        char shown[TOK_SHOWN];
        kvb_fail(KVB_E_FORMAT, "tokenizer '%s': not valid JSON at byte %d of %zu: %s", where, error.position, n,
                 tok_shown(shown, error.text, strlen(error.text)));
        kvb_hint("-> the file is damaged or is not a tokenizer.json");
        return KVB_E_FORMAT;
    }
    loader l = {.where = where};
    kvb_status status = tok_new(where, &l.t);
    if (status == KVB_OK) status = load(&l, root);
    json_decref(root);
    if (status == KVB_OK)
        *out = l.t;
    else
        kvb_tokenizer_free(l.t);
    return status;
}

enum { MAX_UNPACKED = 512 << 20 };

static kvb_status unpack(const char *data, size_t n, const char *where, tok_bytes *out) {
    ZSTD_DStream *z = ZSTD_createDStream();
    if (!z) return kvb_fail(KVB_E_MEMORY, "out of memory for unpacking '%s'", where);
    ZSTD_inBuffer in = {data, n, 0};
    kvb_status status = KVB_OK;
    size_t rc = 1;
    while (status == KVB_OK && (in.pos < in.size || rc != 0)) {
        if (out->n > MAX_UNPACKED)
            status = kvb_fail(KVB_E_FORMAT, "tokenizer '%s' unpacks to more than 512 MiB", where);
        else
            status = tok_bytes_reserve(out, 1 << 20);
        if (status != KVB_OK) break;
        ZSTD_outBuffer to = {out->data + out->n, out->room - out->n, 0};
        size_t pos = in.pos;
        rc = ZSTD_decompressStream(z, &to, &in);
        out->n += to.pos;
        if (ZSTD_isError(rc))
            status = kvb_fail(KVB_E_FORMAT, "tokenizer '%s': zstd: %s", where, ZSTD_getErrorName(rc));
        else if (to.pos == 0 && in.pos == pos)
            status = kvb_fail(KVB_E_FORMAT, "tokenizer '%s': the zstd data ends early", where);
    }
    ZSTD_freeDStream(z);
    return status;
}

kvb_status kvb_tokenizer_from_json(const char *text, int64_t bytes, const char *where, kvb_tokenizer **out) {
    *out = NULL;
    if (bytes < 0) return kvb_fail(KVB_E_ARG, "tokenizer '%s': a text of %lld bytes", where, (long long)bytes);
    if (bytes < 4 || memcmp(text, "\x28\xb5\x2f\xfd", 4) != 0) return from_plain(text, (size_t)bytes, where, out);
    tok_bytes plain = {0};
    kvb_status status = unpack(text, (size_t)bytes, where, &plain);
    if (status == KVB_OK) status = from_plain(plain.data, plain.n, where, out);
    kvb_free(plain.data);
    return status;
}
