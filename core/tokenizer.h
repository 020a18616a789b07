/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tokenizer.h - what the tokenizer's files share. The path of a text:
 *
 *   tokenizer.c            runs of valid UTF-8; invalid bytes are words of their own
 *   tokenizer_added.c      cuts out added tokens, before and after normalisation
 *   tokenizer_normalize.c  NFC and friends, with edits that lead back to the original bytes
 *   tokenizer_split.c      the pre-tokenizer: a chain of stages, each cuts the pieces of the one before
 *   tokenizer_bpe.c        a word's bytes to ids: vocabulary, merges, cache
 *   tokenizer_spm.c        or a whole segment's characters to ids, as SentencePiece does
 *   tokenizer_json.c, tokenizer_gguf.c   fill all of it from a file; tokenizer_regex.c translates split patterns
 *
 * Tokens are held as raw bytes everywhere: the printable alphabet of byte-level BPE, SentencePiece's visible space and
 * the names of its byte tokens exist in the files only.
 */
#ifndef KVB_TOKENIZER_H
#define KVB_TOKENIZER_H

#define PCRE2_CODE_UNIT_WIDTH 8
#include "internal.h"
#include <pcre2.h>

/* ---- growing arrays: data, n used, room ---------------------------------------------------------------------- */

typedef struct tok_bytes {
    char *data;
    size_t n, room;
} tok_bytes;

kvb_status tok_bytes_reserve(tok_bytes *b, size_t more);
kvb_status tok_bytes_add(tok_bytes *b, const void *data, size_t n);
/* Makes room for `more` elements of `size` bytes behind the first n of *data. */
kvb_status tok_grow(void **data, size_t *room, size_t n, size_t more, size_t size);

/* Text for an error line: at most 60 bytes, control characters and broken UTF-8 as '?'. Returns out. */
enum { TOK_SHOWN = 68 };
const char *tok_shown(char *out, const char *text, size_t n);

/* ---- Unicode ------------------------------------------------------------------------------------------------- */

/* Bytes of the character at s (n > 0), 0 when it is not valid UTF-8; *code is the code point. */
size_t tok_utf8_read(const char *s, size_t n, uint32_t *code);
size_t tok_utf8_valid_prefix(const char *s, size_t n); /* length of the longest valid prefix */
bool tok_is_space(uint32_t code);                      /* White_Space */
bool tok_is_word(uint32_t code);                       /* \w of the reference: alphabetic, marks, digits, connectors */

typedef enum tok_form { FORM_NONE = 0, FORM_NFC, FORM_NFD, FORM_NFKC, FORM_NFKD } tok_form;

/* Bytes [norm_from, norm_to) of the normalised text stand for [orig_from, orig_to); outside of edits bytes are equal.
 */
typedef struct tok_edit {
    size_t norm_from, norm_to, orig_from, orig_to;
} tok_edit;

typedef struct tok_normalized {
    tok_bytes text;
    tok_edit *edits;
    size_t n_edits, edits_room;
} tok_normalized;

/* Normalises valid UTF-8; out is overwritten. */
kvb_status tok_normalize(tok_form form, const char *text, size_t n, tok_normalized *out);
void tok_normalized_clear(tok_normalized *out);

/* ---- vocabulary and merges ----------------------------------------------------------------------------------- */

enum {
    TOKEN_PRESENT = 1,
    TOKEN_SPECIAL = 2,
    TOKEN_ADDED = 4,
    TOKEN_WORD = 8, /* a byte string that merging may produce */
    TOKEN_BYTE = 16 /* SentencePiece: stands for a byte of a character that the vocabulary lacks */
};

typedef struct tok_merge {
    uint64_t pair; /* left id << 32 | right id; UINT64_MAX = free */
    uint32_t rank, id;
} tok_merge;

typedef struct tok_symbol {
    int32_t id, previous, next;
    uint32_t from, to;
} tok_symbol;

typedef struct tok_candidate {
    uint32_t rank, at, id;
} tok_candidate;

typedef struct tok_cached {
    uint64_t hash;
    uint32_t text, ids;
    uint16_t bytes, n; /* n = 0: free */
} tok_cached;

typedef enum tok_prefix {
    PREFIX_NONE,
    PREFIX_EVERY,         /* every stretch between added tokens */
    PREFIX_WITHOUT_SPACE, /* every one that does not begin with a space */
    PREFIX_FIRST          /* the same, where the text begins only */
} tok_prefix;

typedef struct tok_bpe {
    int32_t size;
    uint32_t *start, *length; /* [size] into text */
    uint8_t *flags;           /* [size] */
    tok_bytes text;
    int32_t *words; /* hash table of ids with TOKEN_WORD; -1 = free */
    size_t words_mask;
    tok_merge *merges;
    size_t merges_mask;
    int32_t byte_id[256]; /* -1: no token for this byte */
    int32_t unknown;      /* id for such a byte, or -1: it is dropped, as the reference does */
    bool fuse_unknown, ignore_merges;
    bool pieces;          /* SentencePiece: characters merge, over whole stretches of text */
    uint32_t *rank;       /* [size] its scores: place of each token's, best first, equals alike; NULL: merges decide */
    tok_prefix space_prefix; /* SentencePiece: where a space is put before text */
    bool strip_space;        /* and taken away where decoded text begins with one */
    /* scratch and cache */
    tok_symbol *symbols;
    size_t symbols_room;
    tok_candidate *heap;
    size_t heap_n, heap_room;
    tok_cached *cache;
    size_t cache_n;
    tok_bytes cache_text;
    int32_t *cache_ids;
    size_t cache_ids_n, cache_ids_room;
} tok_bpe;

/* size ids, none present yet. */
kvb_status tok_bpe_start(tok_bpe *b, int32_t size);
/* id must be free and below size. */
kvb_status tok_bpe_token(tok_bpe *b, int32_t id, const char *bytes, size_t n, uint8_t flags);
/* When all tokens are there: hash table and single bytes. Then merges may be added. */
kvb_status tok_bpe_index(tok_bpe *b, const char *where);
kvb_status tok_bpe_merges_start(tok_bpe *b, size_t count);
int32_t tok_bpe_find(const tok_bpe *b, const char *bytes, size_t n); /* among TOKEN_WORDs; -1 */
const tok_merge *tok_bpe_merge_of(const tok_bpe *b, int32_t left, int32_t right); /* NULL: they do not merge */
/* Decodes the printable alphabet; false when a character is outside of it. out has room for n bytes. */
bool tok_bpe_unmap(const char *mapped, size_t n, char *out, size_t *out_n);
/* A merge as two strings of the file: of the printable alphabet, or of pieces. `rank` also numbers it in errors. A
 * later rank for the same pair wins, as in the reference. */
kvb_status tok_bpe_merge_text(tok_bpe *b, const char *where, const char *left, size_t left_n, const char *right,
                              size_t right_n, uint32_t rank);
void tok_bpe_clear(tok_bpe *b);
/* Candidates for merging: lowest rank first, then the leftmost. Clear with heap_n = 0; pop only when heap_n > 0. */
kvb_status tok_heap_push(tok_bpe *b, tok_candidate item);
tok_candidate tok_heap_pop(tok_bpe *b);

struct kvb_tokenizer;
/* Appends the word's ids. Byte i of the word stands at origin + i of the piece's text, but never before `floor`. */
kvb_status tok_bpe_encode(struct kvb_tokenizer *t, const char *word, size_t n, int64_t origin, int64_t floor);

/* ---- SentencePiece ------------------------------------------------------------------------------------------- */

/* Vocabulary and scores of an open GGUF file whose tokenizer.ggml.model is "llama". */
kvb_status tok_spm_load(struct kvb_tokenizer *t, const kvb_weights *gguf);
/* Visible spaces (U+2581) to spaces and the space in front, as edits that lead back to the original. first: does the
 * whole text begin here? */
kvb_status tok_spm_normalize(const tok_bpe *b, const char *text, size_t n, bool first, tok_normalized *out);
/* A piece's text with spaces for visible ones; out has room for n bytes. */
void tok_spm_spaces(const char *text, size_t n, char *out, size_t *out_n);
/* "<0x41>" to 0x41, else -1. */
int32_t tok_spm_byte(const char *text, size_t n);
/* When all tokens are there: which ids stand for bytes. */
void tok_spm_index_bytes(tok_bpe *b);
/* Appends the ids of a stretch of normalised text that stands at `origin` of its segment. */
kvb_status tok_spm_encode(struct kvb_tokenizer *t, const char *text, size_t n, int64_t origin);

/* ---- added tokens -------------------------------------------------------------------------------------------- */

enum { ADDED_LSTRIP = 1, ADDED_RSTRIP = 2, ADDED_SINGLE_WORD = 4, ADDED_NORMALIZED = 8 };

typedef struct tok_node {
    int32_t child, sibling, id; /* -1 = none */
    uint8_t byte;
} tok_node;

/* A trie over bytes; nodes[0] is the root. `first` tells at once which bytes start no token. */
typedef struct tok_trie {
    tok_node *nodes;
    size_t n, room;
    int32_t first[256];
} tok_trie;

/* Of two tokens that normalise to the same bytes the first stays, unless `replace`. */
kvb_status tok_trie_add(tok_trie *trie, const char *bytes, size_t n, int32_t id, bool replace);

typedef struct tok_match {
    size_t from, to;
    int32_t id;
} tok_match;

/*
 * The next added token at or after *at; false when there is none. *at becomes where to look on; `done` is where the
 * last one ended. As in the reference, rstrip may take text in which a later token begins (it then starts before
 * `done`), and lstrip may leave nothing of a token (to <= from: it is not emitted).
 */
bool tok_added_next(const struct kvb_tokenizer *t, const tok_trie *trie, const char *text, size_t n, size_t done,
                    size_t *at, bool parse_special, tok_match *out);

/* ---- splitting ----------------------------------------------------------------------------------------------- */

typedef enum tok_behaviour {
    SPLIT_ISOLATED,
    SPLIT_REMOVED,
    SPLIT_CONTIGUOUS,
    SPLIT_MERGED_WITH_PREVIOUS,
    SPLIT_MERGED_WITH_NEXT
} tok_behaviour;

typedef struct tok_range {
    size_t from, to;
    bool match;
} tok_range;

typedef struct tok_stage {
    pcre2_code *code; /* NULL and no literal: the stage does not cut */
    pcre2_match_data *match;
    char *literal;
    size_t literal_n;
    tok_behaviour behaviour;
    bool invert, prefix_space;
    tok_range *ranges; /* scratch of this stage while its pieces run through the later ones */
    size_t n, room;
    tok_bytes prefixed;
} tok_stage;

enum { TOK_MAX_STAGES = 16 };

typedef struct tok_splitter {
    pcre2_general_context *general;
    pcre2_compile_context *compile;
    pcre2_match_context *match;
    pcre2_jit_stack *stack;
    tok_stage stages[TOK_MAX_STAGES];
    int32_t n;
} tok_splitter;

/* The byte-level split of GPT-2. */
extern const char tok_gpt2_pattern[];

kvb_status tok_splitter_start(tok_splitter *s);
/* A stage; `where` names the file in errors. Exactly one of regex and literal, or neither (no cutting). */
kvb_status tok_splitter_add(tok_splitter *s, const char *where, const char *regex, size_t regex_n, const char *literal,
                            size_t literal_n, tok_behaviour behaviour, bool invert, bool prefix_space);
/* Cuts a piece that stands at `origin` of the normalised text and encodes the words. */
kvb_status tok_split(struct kvb_tokenizer *t, const char *text, size_t n, int64_t origin);
void tok_splitter_clear(tok_splitter *s);

/* Oniguruma's syntax to PCRE2's, as far as they differ; refuses what cannot be said the same way. */
kvb_status tok_regex_translate(const char *where, const char *pattern, size_t n, tok_bytes *out);

/* ---- the object ---------------------------------------------------------------------------------------------- */

struct kvb_tokenizer {
    tok_bpe bpe;
    tok_splitter splitter;
    tok_form form;
    tok_trie raw, normalized; /* added tokens sought before and after normalisation */
    uint8_t *added_flags;     /* [size] ADDED_* */
    int32_t bos;              /* -1: the file asks for none */
    char *where, *kind;
    /* the text being encoded: from normalised bytes of the current segment to the original */
    tok_normalized segment;
    int64_t segment_from; /* in the original */
    size_t edit_at;
    int64_t floor; /* in the original: what an added token covers is not covered again */
    const tok_edit *edits;
    size_t n_edits;
    /* results */
    int32_t *ids, *spans;
    size_t n, ids_room, spans_room;
    tok_bytes decoded;
};

kvb_status tok_new(const char *where, kvb_tokenizer **out);
/* Appends one id that covers [from, to) of the current segment's normalised text. */
kvb_status tok_emit(kvb_tokenizer *t, int32_t id, int64_t from, int64_t to);
/* Declares an added token; its id must be below size. Content is copied. */
kvb_status tok_added(kvb_tokenizer *t, int32_t id, const char *content, size_t n, bool special, uint8_t flags);
/* Every id below size must be a token. */
kvb_status tok_check_holes(const kvb_tokenizer *t);

/* From a GGUF file's metadata, shared by both of its kinds of vocabulary. */
enum { TYPE_NORMAL = 1, TYPE_UNKNOWN = 2, TYPE_CONTROL = 3, TYPE_USER_DEFINED = 4, TYPE_UNUSED = 5, TYPE_BYTE = 6 };
/* How many tokens there are, with as many types or none. */
kvb_status tok_gguf_count(const kvb_tokenizer *t, const kvb_weights *gguf, int32_t *count);
/* Token `id`: its text in the file, and its type. */
kvb_status tok_gguf_token(const kvb_tokenizer *t, const kvb_weights *gguf, int32_t id, const char **text, size_t *n,
                          int32_t *type);
/* BOS by the file's flag, `add` where it has none. */
kvb_status tok_gguf_bos(kvb_tokenizer *t, const kvb_weights *gguf, bool add);

#endif
