/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tokenizer_split.c - the pre-tokenizer: a chain of stages, each of which cuts every piece that the one before it left.
 *
 * A stage sees a piece and nothing around it (look-ahead ends at the piece), as in the reference. All stages are the
 * same thing, a pattern and what happens to its matches; digits, punctuation and GPT-2's split are patterns too.
 * Matching is bounded by PCRE2's match limit: a pattern that explodes is an error, not a hang.
 */
#include "tokenizer.h"

const char tok_gpt2_pattern[] = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

enum { JIT_STACK_START = 32 << 10, JIT_STACK_MAX = 8 << 20, MAX_PATTERN = 64 << 10 };

static void *regex_alloc(size_t bytes, void *unused) {
    (void)unused;
    return kvb_alloc_raw(bytes, KVB_MEM_OTHER);
}

static void regex_free(void *p, void *unused) {
    (void)unused;
    kvb_free(p);
}

kvb_status tok_splitter_start(tok_splitter *s) {
    s->general = pcre2_general_context_create(regex_alloc, regex_free, NULL);
    s->compile = s->general ? pcre2_compile_context_create(s->general) : NULL;
    s->match = s->general ? pcre2_match_context_create(s->general) : NULL;
    if (!s->compile || !s->match) return KVB_E_MEMORY;
    pcre2_set_newline(s->compile, PCRE2_NEWLINE_LF);
    s->stack = pcre2_jit_stack_create(JIT_STACK_START, JIT_STACK_MAX, s->general);
    if (s->stack) pcre2_jit_stack_assign(s->match, NULL, s->stack);
    return KVB_OK;
}

static kvb_status compile(tok_splitter *s, tok_stage *stage, const char *where, const char *regex, size_t n) {
    if (n > MAX_PATTERN) return kvb_fail(KVB_E_FORMAT, "tokenizer '%s': a split pattern of %zu bytes", where, n);
    tok_bytes pattern = {0};
    kvb_status status = tok_regex_translate(where, regex, n, &pattern);
    int error = 0;
    PCRE2_SIZE at = 0;
    if (status == KVB_OK) {
        /* MULTILINE: $ and ^ are those of lines in Oniguruma */
        stage->code =
            pcre2_compile((PCRE2_SPTR)pattern.data, pattern.n,
                          PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C, &error, &at, s->compile);
        if (!stage->code && error == PCRE2_ERROR_HEAP_FAILED)
            status = kvb_fail(KVB_E_MEMORY, "out of memory for a split pattern");
        else if (!stage->code) {
            char reason[128] = "", shown[TOK_SHOWN];
            size_t from = at < 20 ? 0 : at - 20;
            pcre2_get_error_message(error, (PCRE2_UCHAR *)reason, sizeof reason);
            status = kvb_fail(KVB_E_FORMAT, "tokenizer '%s': split pattern: %s at byte %zu, near '%s'", where, reason,
                              (size_t)at, tok_shown(shown, pattern.data + from, pattern.n - from));
        }
    }
    kvb_free(pattern.data);
    KVB_TRY(status);
    pcre2_jit_compile(stage->code,
                      PCRE2_JIT_COMPLETE); /* without it (no executable memory) the interpreter runs: slower, equal */
    stage->match = pcre2_match_data_create(1, s->general);
    return stage->match ? KVB_OK : KVB_E_MEMORY;
}

kvb_status tok_splitter_add(tok_splitter *s, const char *where, const char *regex, size_t regex_n, const char *literal,
                            size_t literal_n, tok_behaviour behaviour, bool invert, bool prefix_space) {
    if (s->n == TOK_MAX_STAGES)
        return kvb_fail(KVB_E_UNSUPPORTED, "tokenizer '%s': more than %d pre-tokenizers in a row", where,
                        TOK_MAX_STAGES);
    tok_stage *stage = &s->stages[s->n++]; /* counted before it can fail, so that clearing finds what it got */
    stage->behaviour = behaviour;
    stage->invert = invert;
    stage->prefix_space = prefix_space;
    if (regex) return compile(s, stage, where, regex, regex_n);
    if (!literal || !literal_n) return KVB_OK;
    stage->literal = kvb_strdup_n(literal, literal_n, KVB_MEM_OTHER);
    stage->literal_n = literal_n;
    return stage->literal ? KVB_OK : KVB_E_MEMORY;
}

void tok_splitter_clear(tok_splitter *s) {
    for (int32_t i = 0; i < s->n; i++) {
        tok_stage *stage = &s->stages[i];
        pcre2_match_data_free(stage->match);
        pcre2_code_free(stage->code);
        kvb_free(stage->literal);
        kvb_free(stage->ranges);
        kvb_free(stage->prefixed.data);
    }
    pcre2_jit_stack_free(s->stack);
    pcre2_match_context_free(s->match);
    pcre2_compile_context_free(s->compile);
    pcre2_general_context_free(s->general);
    memset(s, 0, sizeof *s);
}

/* ---- cutting ------------------------------------------------------------------------------------------------- */

/* *found = is there a match at or after `at`? */
static kvb_status find(kvb_tokenizer *t, tok_stage *stage, const char *text, size_t n, size_t at, bool *found,
                       size_t *from, size_t *to) {
    *found = false;
    if (stage->literal) {
        const char *p = memmem(text + at, n - at, stage->literal, stage->literal_n);
        if (!p) return KVB_OK;
        *found = true;
        *from = (size_t)(p - text);
        *to = *from + stage->literal_n;
        return KVB_OK;
    }
    int rc = pcre2_match(stage->code, (PCRE2_SPTR)text, n, at, PCRE2_NO_UTF_CHECK, stage->match, t->splitter.match);
    if (rc == PCRE2_ERROR_JIT_STACKLIMIT)
        rc = pcre2_match(stage->code, (PCRE2_SPTR)text, n, at, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, stage->match,
                         t->splitter.match);
    if (rc == PCRE2_ERROR_NOMATCH) return KVB_OK;
    if (rc < 0) {
        char reason[128] = "";
        pcre2_get_error_message(rc, (PCRE2_UCHAR *)reason, sizeof reason);
        kvb_fail(rc == PCRE2_ERROR_NOMEMORY ? KVB_E_MEMORY : KVB_E_UNSUPPORTED,
                 "tokenizer '%s': splitting a piece of %zu bytes at byte %zu: %s", t->where, n, at, reason);
        kvb_hint("-> the tokenizer's split pattern is too expensive for this text; break the text into shorter lines");
        return kvb_diag_code();
    }
    const PCRE2_SIZE *ends = pcre2_get_ovector_pointer(stage->match);
    if (ends[1] < ends[0] || ends[0] < at)
        return kvb_fail(KVB_E_UNSUPPORTED, "tokenizer '%s': the split pattern matches backwards", t->where);
    *found = true;
    *from = ends[0];
    *to = ends[1];
    return KVB_OK;
}

static kvb_status add_range(tok_stage *stage, size_t from, size_t to, bool match) {
    KVB_TRY(tok_grow((void **)&stage->ranges, &stage->room, stage->n, 1, sizeof *stage->ranges));
    stage->ranges[stage->n++] = (tok_range){from, to, match != stage->invert};
    return KVB_OK;
}

static size_t next_char(const char *text, size_t n, size_t at) {
    do at++;
    while (at < n && ((unsigned char)text[at] & 0xc0) == 0x80);
    return at;
}

/* The whole piece as ranges that match or do not, in order. An empty match cuts, but not right behind another match. */
static kvb_status find_all(kvb_tokenizer *t, tok_stage *stage, const char *text, size_t n) {
    size_t done = 0, at = 0, from = 0, to = 0, last_end = SIZE_MAX;
    bool found;
    stage->n = 0;
    while (at <= n) {
        KVB_TRY(find(t, stage, text, n, at, &found, &from, &to));
        if (!found) break;
        if (from == to && to == last_end) {
            at = at < n ? next_char(text, n, at) : n + 1;
            continue;
        }
        if (from > done) KVB_TRY(add_range(stage, done, from, false));
        KVB_TRY(add_range(stage, from, to, true));
        done = at = last_end = to;
    }
    return done < n ? add_range(stage, done, n, false) : KVB_OK;
}

/* Joins neighbours as the stage's behaviour says; afterwards every range is a piece. */
static void join_ranges(tok_stage *stage) {
    tok_range *r = stage->ranges;
    size_t kept = 0;
    bool last = false;
    switch (stage->behaviour) {
    case SPLIT_ISOLATED:
        return;
    case SPLIT_REMOVED:
        for (size_t i = 0; i < stage->n; i++)
            if (!r[i].match) r[kept++] = r[i];
        break;
    case SPLIT_CONTIGUOUS:
    case SPLIT_MERGED_WITH_PREVIOUS:
        for (size_t i = 0; i < stage->n; i++) {
            bool match = r[i].match;
            bool joins = stage->behaviour == SPLIT_CONTIGUOUS ? match == last : match && !last;
            if (joins && kept)
                r[kept - 1].to = r[i].to;
            else
                r[kept++] = r[i];
            last = match;
        }
        break;
    case SPLIT_MERGED_WITH_NEXT: /* from the end; the pieces gather at the end of the array and move to its front */
        kept = stage->n;
        for (size_t i = stage->n; i-- > 0;) {
            bool match = r[i].match;
            if (match && !last && kept < stage->n)
                r[kept].from = r[i].from;
            else
                r[--kept] = r[i];
            last = match;
        }
        memmove(r, r + kept, (stage->n - kept) * sizeof *r);
        kept = stage->n - kept;
        break;
    }
    stage->n = kept;
}

static kvb_status split(kvb_tokenizer *t, int32_t index, const char *text, size_t n, int64_t origin, int64_t floor) {
    if (n == 0) return KVB_OK;
    if (index == t->splitter.n) return tok_bpe_encode(t, text, n, origin, floor);
    tok_stage *stage = &t->splitter.stages[index];
    if (stage->prefix_space && *text != ' ') {
        stage->prefixed.n = 0;
        KVB_TRY(tok_bytes_add(&stage->prefixed, " ", 1));
        KVB_TRY(tok_bytes_add(&stage->prefixed, text, n));
        text = stage->prefixed.data;
        n++;
        origin--;
    }
    if (!stage->code && !stage->literal) return split(t, index + 1, text, n, origin, floor);
    KVB_TRY(find_all(t, stage, text, n));
    join_ranges(stage);
    for (size_t i = 0; i < stage->n; i++) {
        tok_range r = stage->ranges[i];
        KVB_TRY(split(t, index + 1, text + r.from, r.to - r.from, origin + (int64_t)r.from, floor));
    }
    return KVB_OK;
}

kvb_status tok_split(kvb_tokenizer *t, const char *text, size_t n, int64_t origin) {
    return split(t, 0, text, n, origin, origin);
}
