/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tokenizer_added.c - added tokens: finding them in a text before anything else looks at it.
 *
 * Leftmost first, the longest of those: the rule of the reference. A trie walked from every position that can start a
 * token needs no automaton: added tokens are short, and almost no byte of a text starts one.
 */
#include "tokenizer.h"

kvb_status tok_trie_add(tok_trie *trie, const char *bytes, size_t n, int32_t id, bool replace) {
    KVB_TRY(tok_grow((void **)&trie->nodes, &trie->room, trie->n, n + 1, sizeof *trie->nodes));
    if (trie->n == 0) {
        trie->nodes[trie->n++] = (tok_node){-1, -1, -1, 0};
        memset(trie->first, 0xff, sizeof trie->first);
    }
    int32_t at = 0;
    for (size_t i = 0; i < n; i++) {
        uint8_t byte = (uint8_t)bytes[i];
        int32_t child = i == 0 ? trie->first[byte] : trie->nodes[at].child;
        while (child >= 0 && trie->nodes[child].byte != byte) child = trie->nodes[child].sibling;
        if (child < 0) {
            if (trie->n == INT32_MAX)
                return kvb_fail(KVB_E_UNSUPPORTED, "the added tokens have more than 2 GiB of text");
            child = (int32_t)trie->n++;
            trie->nodes[child] = (tok_node){-1, i == 0 ? -1 : trie->nodes[at].child, -1, byte};
            if (i == 0)
                trie->first[byte] = child;
            else
                trie->nodes[at].child = child;
        }
        at = child;
    }
    if (trie->nodes[at].id < 0 || replace) trie->nodes[at].id = id;
    return KVB_OK;
}

/* The longest token that starts at text[at]; *end is where it ends. -1 = none. */
static int32_t longest_at(const tok_trie *trie, const char *text, size_t n, size_t at, size_t *end) {
    int32_t found = -1, node = trie->first[(uint8_t)text[at]];
    for (size_t i = at + 1; node >= 0; i++) {
        if (trie->nodes[node].id >= 0) {
            found = trie->nodes[node].id;
            *end = i;
        }
        if (i == n) break;
        node = trie->nodes[node].child;
        while (node >= 0 && trie->nodes[node].byte != (uint8_t)text[i]) node = trie->nodes[node].sibling;
    }
    return found;
}

static uint32_t code_before(const char *text, size_t at, size_t *start) {
    uint32_t code = 0;
    do at--;
    while (at > 0 && ((unsigned char)text[at] & 0xc0) == 0x80);
    *start = at;
    tok_utf8_read(text + at, 4, &code); /* the text is valid, so the length is not consulted beyond the character */
    return code;
}

static bool stands_alone(const char *text, size_t n, size_t from, size_t to) {
    size_t start;
    uint32_t code = 0;
    if (from > 0 && tok_is_word(code_before(text, from, &start))) return false;
    return to == n || !tok_utf8_read(text + to, n - to, &code) || !tok_is_word(code);
}

bool tok_added_next(const kvb_tokenizer *t, const tok_trie *trie, const char *text, size_t n, size_t done, size_t *at,
                    bool parse_special, tok_match *out) {
    if (!trie->n) return false;
    for (size_t i = *at; i < n; i++) {
        if (trie->first[(uint8_t)text[i]] < 0) continue;
        size_t end = i;
        int32_t id = longest_at(trie, text, n, i, &end);
        if (id < 0) continue;
        uint8_t flags = t->added_flags[id];
        if (((t->bpe.flags[id] & TOKEN_SPECIAL) && !parse_special) ||
            ((flags & ADDED_SINGLE_WORD) && !stands_alone(text, n, i, end))) {
            i = end - 1; /* the reference does not look inside a match that it discards */
            continue;
        }
        size_t from = i, to = end, start;
        if (flags & ADDED_LSTRIP) {
            while (from > done && tok_is_space(code_before(text, from, &start))) from = start;
            if (from < done) from = done;
        }
        if (flags & ADDED_RSTRIP) {
            uint32_t code = 0;
            for (size_t k; to < n && (k = tok_utf8_read(text + to, n - to, &code)) && tok_is_space(code);) to += k;
        }
        *out = (tok_match){from, to, id};
        *at = end; /* not `to`: the reference searches on behind the token itself */
        return true;
    }
    *at = n;
    return false;
}
