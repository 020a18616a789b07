/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tokenizer_gguf.c - the vocabulary of a GGUF file into a tokenizer.
 *
 * A GGUF names its pre-tokenizer instead of describing it; the table below says what the names mean. Where llama.cpp
 * and the model's own tokenizer.json differ (Qwen's NFC), the tokenizer.json is right: the model was trained with it.
 * An unknown name is an error: a wrong split gives plausible, wrong ids.
 */
#include "tokenizer.h"
#include <stdio.h>

#define CONTRACTIONS "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define WORDS        "[^\\r\\n\\p{L}\\p{N}]?\\p{L}+"
#define REST         "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define UPPER        "\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}"
#define LOWER        "\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}"

static const char gpt2_no_rest[] = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)";

typedef struct pre_tokenizer {
    const char *names; /* separated by commas */
    const char *patterns[4];
    tok_form form;
    bool ignore_merges, add_bos;
} pre_tokenizer;

/* Source: llama.cpp's pre-tokenizer names; the patterns are those of the models' tokenizer.json files. */
static const pre_tokenizer known[] = {
    {"gpt-2,gpt2,olmo,phi-2,mpt,jina-v2-code,modern-bert", {tok_gpt2_pattern}, FORM_NONE, false, false},
    {"smollm,starcoder,refact,command-r,codeshell,exaone", {"\\p{N}", tok_gpt2_pattern}, FORM_NONE, false, false},
    {"llama-bpe,llama3,llama-v3,falcon3", {CONTRACTIONS "|" WORDS "|\\p{N}{1,3}" REST}, FORM_NONE, true, true},
    {"dbrx,smaug-bpe", {CONTRACTIONS "|" WORDS "|\\p{N}{1,3}" REST}, FORM_NONE, false, false},
    {"qwen2,deepseek-r1-qwen", {CONTRACTIONS "|" WORDS "|\\p{N}" REST}, FORM_NFC, false, false},
    {"tekken",
     {"[^\\r\\n\\p{L}\\p{N}]?[" UPPER "]*[" LOWER "]+|[^\\r\\n\\p{L}\\p{N}]?[" UPPER "]+[" LOWER "]*|\\p{N}"
      "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"},
     FORM_NONE,
     true,
     true},
    {"default", {"[\\p{P}\\$\\+<=>\\^~\\|]+", gpt2_no_rest, "\\p{N}+", "[0-9][0-9][0-9]"}, FORM_NONE, false, false},
};

static bool is_named(const pre_tokenizer *p, const char *name, size_t n) {
    for (const char *at = p->names; *at;) {
        size_t length = strcspn(at, ",");
        if (length == n && memcmp(at, name, n) == 0) return true;
        at += length + (at[length] == ',');
    }
    return false;
}

static kvb_status find_pre(const kvb_weights *w, const char *where, const pre_tokenizer **out) {
    const char *name = "default"; /* what llama.cpp takes when the key is absent */
    int64_t n = 7;
    const char *key = "tokenizer.ggml.pre";
    if (kvb_weights_meta_count(w, key)) {
        if (!kvb_weights_meta_is_string(w, key) || !(name = kvb_weights_meta_string(w, key, 0, &n)))
            return kvb_fail(KVB_E_FORMAT, "tokenizer of '%s': %s is not a string", where, key);
    }
    char names[512] = "";
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (is_named(&known[i], name, (size_t)n)) {
            *out = &known[i];
            return KVB_OK;
        }
        snprintf(names + strlen(names), sizeof names - strlen(names), "%s%s", i ? "," : "", known[i].names);
    }
    char shown[TOK_SHOWN];
    kvb_fail(KVB_E_UNSUPPORTED, "tokenizer of '%s': unknown pre-tokenizer '%s'", where,
             tok_shown(shown, name, (size_t)n));
    kvb_hint("-> known: %s; or use the model's folder with its tokenizer.json", names);
    return KVB_E_UNSUPPORTED;
}

/* *pieces tells SentencePiece from byte-level BPE. */
static kvb_status check_model(const kvb_weights *w, const char *where, bool *pieces) {
    int64_t n = 0;
    const char *key = "tokenizer.ggml.model";
    const char *model = kvb_weights_meta_is_string(w, key) ? kvb_weights_meta_string(w, key, 0, &n) : NULL;
    if (!model) {
        kvb_fail(KVB_E_MISSING, "'%s' has no tokenizer (no %s)", where, key);
        kvb_hint("-> work with token ids, or put a tokenizer.json beside it and open the folder");
        return KVB_E_MISSING;
    }
    *pieces = n == 5 && memcmp(model, "llama", 5) == 0;
    if (*pieces || (n == 4 && memcmp(model, "gpt2", 4) == 0)) return KVB_OK;
    char shown[TOK_SHOWN];
    kvb_fail(KVB_E_UNSUPPORTED, "tokenizer of '%s': model '%s' is not supported", where,
             tok_shown(shown, model, (size_t)n));
    kvb_hint("-> known: gpt2 (byte-level BPE), llama (SentencePiece BPE)");
    return KVB_E_UNSUPPORTED;
}

kvb_status tok_gguf_token(const kvb_tokenizer *t, const kvb_weights *w, int32_t id, const char **text, size_t *n,
                          int32_t *type) {
    int64_t bytes = 0;
    double number = kvb_weights_meta_count(w, "tokenizer.ggml.token_type")
                        ? kvb_weights_meta_number(w, "tokenizer.ggml.token_type", id)
                        : TYPE_NORMAL;
    *text = kvb_weights_meta_string(w, "tokenizer.ggml.tokens", id, &bytes);
    if (!*text || bytes < 0) return kvb_fail(KVB_E_FORMAT, "tokenizer of '%s': token %d is not a string", t->where, id);
    if (!(number >= TYPE_NORMAL && number <= TYPE_BYTE))
        return kvb_fail(KVB_E_FORMAT, "tokenizer of '%s': token %d has unknown type %g", t->where, id, number);
    *type = (int32_t)number;
    *n = (size_t)bytes;
    return KVB_OK;
}

kvb_status tok_gguf_count(const kvb_tokenizer *t, const kvb_weights *w, int32_t *out) {
    int64_t count = kvb_weights_meta_count(w, "tokenizer.ggml.tokens");
    int64_t types = kvb_weights_meta_count(w, "tokenizer.ggml.token_type");
    if (count < 1 || count > INT32_MAX / 2 || !kvb_weights_meta_is_string(w, "tokenizer.ggml.tokens"))
        return kvb_fail(KVB_E_FORMAT, "tokenizer of '%s': tokenizer.ggml.tokens is no list of strings", t->where);
    if (types && (types != count || kvb_weights_meta_is_string(w, "tokenizer.ggml.token_type")))
        return kvb_fail(KVB_E_FORMAT, "tokenizer of '%s': %lld tokens have %lld types", t->where, (long long)count,
                        (long long)types);
    *out = (int32_t)count;
    return KVB_OK;
}

static kvb_status read_token(kvb_tokenizer *t, const kvb_weights *w, int32_t id, tok_bytes *raw) {
    const char *text;
    size_t n;
    int32_t type;
    KVB_TRY(tok_gguf_token(t, w, id, &text, &n, &type));
    raw->n = 0;
    KVB_TRY(tok_bytes_reserve(raw, n + 1));
    if (type == TYPE_NORMAL && tok_bpe_unmap(text, n, raw->data, &raw->n))
        return tok_bpe_token(&t->bpe, id, raw->data, raw->n, TOKEN_WORD);
    KVB_TRY(tok_bpe_token(&t->bpe, id, text, n, 0));
    bool special = type == TYPE_CONTROL || type == TYPE_UNKNOWN;
    if ((!special && type != TYPE_USER_DEFINED) || n == 0) return KVB_OK;
    return tok_added(t, id, text, n, special, 0);
}

static kvb_status read_tokens(kvb_tokenizer *t, const kvb_weights *w) {
    int32_t count;
    KVB_TRY(tok_gguf_count(t, w, &count));
    KVB_TRY(tok_bpe_start(&t->bpe, count));
    tok_bytes raw = {0};
    kvb_status status = KVB_OK;
    for (int32_t id = 0; id < count && status == KVB_OK; id++) status = read_token(t, w, id, &raw);
    kvb_free(raw.data);
    KVB_TRY(status);
    return tok_bpe_index(&t->bpe, t->where);
}

static kvb_status read_merges(kvb_tokenizer *t, const kvb_weights *w) {
    const char *key = "tokenizer.ggml.merges";
    int64_t count = kvb_weights_meta_count(w, key);
    if (count > INT32_MAX / 4 || (count && !kvb_weights_meta_is_string(w, key)))
        return kvb_fail(KVB_E_FORMAT, "tokenizer of '%s': %s is no list of strings", t->where, key);
    if (!count) return kvb_fail(KVB_E_FORMAT, "tokenizer of '%s': it has no merges (%s)", t->where, key);
    KVB_TRY(tok_bpe_merges_start(&t->bpe, (size_t)count));
    for (int64_t i = 0; i < count; i++) {
        int64_t n = 0;
        const char *text = kvb_weights_meta_string(w, key, i, &n);
        const char *space = text && n > 1 ? memchr(text + 1, ' ', (size_t)n - 1) : NULL;
        if (!space)
            return kvb_fail(KVB_E_FORMAT, "tokenizer of '%s': merge %lld is not two tokens with a space between",
                            t->where, (long long)i);
        size_t left = (size_t)(space - text);
        KVB_TRY(tok_bpe_merge_text(&t->bpe, t->where, text, left, space + 1, (size_t)n - left - 1, (uint32_t)i));
    }
    return KVB_OK;
}

kvb_status tok_gguf_bos(kvb_tokenizer *t, const kvb_weights *w, bool add) {
    if (kvb_weights_meta_count(w, "tokenizer.ggml.add_bos_token") == 1)
        add = kvb_weights_meta_number(w, "tokenizer.ggml.add_bos_token", 0) != 0;
    if (!add || kvb_weights_meta_count(w, "tokenizer.ggml.bos_token_id") != 1) return KVB_OK;
    double id = kvb_weights_meta_number(w, "tokenizer.ggml.bos_token_id", 0);
    if (!(id >= 0 && id < t->bpe.size))
        return kvb_fail(KVB_E_FORMAT, "tokenizer of '%s': bos_token_id %.0f, ids go up to %d", t->where, id,
                        t->bpe.size - 1);
    t->bos = (int32_t)id;
    return KVB_OK;
}

static kvb_status load(kvb_tokenizer *t, const kvb_weights *w) {
    const pre_tokenizer *pre = NULL;
    bool pieces;
    KVB_TRY(check_model(w, t->where, &pieces));
    if (pieces) return tok_spm_load(t, w);
    KVB_TRY(find_pre(w, t->where, &pre));
    t->form = pre->form;
    for (size_t i = 0; i < sizeof pre->patterns / sizeof *pre->patterns && pre->patterns[i]; i++)
        KVB_TRY(tok_splitter_add(&t->splitter, t->where, pre->patterns[i], strlen(pre->patterns[i]), NULL, 0,
                                 SPLIT_ISOLATED, false, false));
    KVB_TRY(read_tokens(t, w));
    KVB_TRY(read_merges(t, w));
    t->bpe.ignore_merges = pre->ignore_merges;
    KVB_TRY(tok_gguf_bos(t, w, pre->add_bos));
    char kind[128];
    int first = (int)strcspn(pre->names, ",");
    snprintf(kind, sizeof kind, "byte-level BPE, %.*s split%s", first, pre->names,
             pre->form == FORM_NFC ? ", NFC" : "");
    t->kind = kvb_strdup_n(kind, strlen(kind), KVB_MEM_OTHER);
    return t->kind ? KVB_OK : KVB_E_MEMORY;
}

kvb_status kvb_tokenizer_from_gguf(const kvb_weights *gguf, const char *where, kvb_tokenizer **out) {
    kvb_tokenizer *t = NULL;
    *out = NULL;
    KVB_TRY(tok_new(where, &t));
    kvb_status status = load(t, gguf);
    if (status == KVB_OK)
        *out = t;
    else
        kvb_tokenizer_free(t);
    return status;
}
