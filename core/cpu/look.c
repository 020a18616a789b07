/* SPDX-License-Identifier: Apache-2.0 */
/*
 * look.c - observed attention on the CPU: scores once more for the rows that are observed, whole rows of them, then one
 * pass per row and head over what is asked.
 *
 * Blocks of rows share a passage, as in attend.c, and scores come from the same products (AMX in bf16). Whole rows are
 * needed because masses want the final maximum. In bf16 tops and masses come from attention itself (observe_amx.inc),
 * and only whole rows and keep-sets come here.
 */
#include "../look.h"
#include "attend.h"
#include <math.h>
#include <omp.h>

/* One call; rows and queries of the looks, packed. */
typedef struct call {
    const kvb_cpu_kernels *kernels;
    kvb_attn_call attn;
    const kvb_look *look;
    kvb_attn_row *row;
    float *q;
    int32_t kv_heads, tiles; /* tiles: the most of any look, prefix and own */
    int64_t cells;           /* from one keep-set's results to the next */
    bool keeps;              /* any look weighs keep-sets */
} call;

/* A thread's memory. */
typedef struct place {
    float *s;       /* [KVB_QUERY_BLOCK][64 tiles] */
    uint64_t *word; /* [tiles] */
    uint64_t *kept; /* [tiles] */
    float *value;   /* [64 tiles][dim], only with keep-sets */
    float *o;       /* [2][dim] */
    void *scratch;  /* of the score kernels */
} place;

static int64_t padded_dim(const call *c) { return kvb_round_up(c->attn.kind->head_dim, 16); }

static char *carve(const call *c, place *p, char *memory, int64_t scratch) {
    int64_t keys = (int64_t)c->tiles * KVB_TILE, dim = padded_dim(c);
#define TAKE(field, bytes)                                                                                             \
    p->field = (void *)memory;                                                                                         \
    memory += kvb_round_up((int64_t)(bytes), 64)
    TAKE(s, KVB_QUERY_BLOCK * keys * 4);
    TAKE(word, c->tiles * 8);
    TAKE(kept, c->tiles * 8);
    TAKE(value, c->keeps ? keys * dim * 4 : 0);
    TAKE(o, 2 * dim * 4);
    TAKE(scratch, scratch);
#undef TAKE
    return memory;
}

/* Scores of a block in f32: the prefix for all rows, each row's own keys for it alone. */
static void scores_f32(const call *c, const place *p, int32_t first, int32_t n, int32_t kv_head) {
    int32_t dim = c->attn.kind->head_dim, group = c->attn.group, rows = n * group;
    const kvb_lane *prefix = c->row[first].prefix + kv_head;
    int64_t wide = (int64_t)c->tiles * KVB_TILE;
    kvb_attn_block b = {.rows = rows, .head_dim = dim, .q = p->scratch};
    b.s = b.q + kvb_round_up((KVB_QUERY_BLOCK + 16) * dim, 16);
    memset(b.q, 0, (size_t)(KVB_QUERY_BLOCK + 16) * (size_t)dim * sizeof *b.q);
    for (int32_t i = 0; i < n; i++)
        memcpy(b.q + (int64_t)i * group * dim, c->q + ((int64_t)(first + i) * c->attn.heads + kv_head * group) * dim,
               (size_t)group * (size_t)dim * sizeof *b.q);
    int32_t prefix_tiles = (prefix->n + KVB_TILE - 1) / KVB_TILE;
    for (int32_t t = 0; t < prefix_tiles; t++) {
        c->kernels->scores(&b, 0, rows, prefix->keys, t, (int32_t)kvb_min64(prefix->n - t * KVB_TILE, KVB_TILE));
        for (int32_t r = 0; r < rows; r++)
            memcpy(p->s + r * wide + t * KVB_TILE, b.s + (int64_t)r * KVB_TILE, KVB_TILE * sizeof *p->s);
    }
    for (int32_t i = 0; i < n; i++)
        for (int32_t t = 0; t * KVB_TILE < c->row[first + i].own_n; t++) {
            c->kernels->scores(&b, i * group, group, c->row[first + i].own[kv_head].keys, t,
                               (int32_t)kvb_min64(c->row[first + i].own_n - t * KVB_TILE, KVB_TILE));
            for (int32_t r = i * group; r < (i + 1) * group; r++)
                memcpy(p->s + r * wide + (prefix_tiles + t) * KVB_TILE, b.s + (int64_t)r * KVB_TILE,
                       KVB_TILE * sizeof *p->s);
        }
}

static void read_values(const call *c, const place *p, const kvb_lane *lane, int32_t n, int32_t tile) {
    for (int32_t j = 0; j < n; j++)
        kvb_cpu_lane_get(c->attn.kind, lane, j, NULL, p->value + (int64_t)(tile * KVB_TILE + j) * padded_dim(c));
}

/* o = sum p v / sum p over the visible keys that `keep` keeps (NULL: all of them) and the own ones; the weight on the
 * context. */
static float output(const call *c, const place *p, const float *s, const kvb_weigh *w, const uint64_t *keep, float *o) {
    int32_t dim = (int32_t)padded_dim(c), own = w->tiles - w->prefix_tiles;
    for (int32_t t = 0; t < w->prefix_tiles; t++) p->kept[t] = w->word[t] & (keep ? keep[t] : ~0ull);
    memset(o, 0, (size_t)dim * sizeof *o);
    int64_t skip = (int64_t)w->prefix_tiles * KVB_TILE;
    float context = c->kernels->mix(s, p->kept, w->prefix_tiles, p->value, dim, o);
    float sum = context + c->kernels->mix(s + skip, w->word + w->prefix_tiles, own, p->value + skip * dim, dim, o);
    for (int32_t i = 0; i < dim; i++) o[i] = sum > 0 ? o[i] / sum : 0;
    return context;
}

static void look_keeps(const call *c, const place *p, const kvb_look *look, const float *s, const kvb_weigh *w,
                       int32_t kv_head, int32_t at) {
    int32_t dim = c->attn.kind->head_dim;
    float *o = p->o, *part = p->o + padded_dim(c), all = output(c, p, s, w, NULL, o);
    double norm = 0;
    for (int32_t i = 0; i < dim; i++) norm += (double)o[i] * o[i];
    for (int32_t k = 0; k < look->trace->watch.n_keeps; k++) {
        float kept = output(c, p, s, w, kvb_keep_row(look->trace->keep[k], look->layer, kv_head), part);
        double apart = 0;
        for (int32_t i = 0; i < dim; i++) apart += ((double)part[i] - o[i]) * ((double)part[i] - o[i]);
        look->recall[k * c->cells + at] = all > 0 ? kept / all : 1;
        look->error[k * c->cells + at] = norm > 0 ? (float)sqrt(apart / norm) : 0;
    }
}

static void write_weights(const kvb_look *look, const kvb_attn_row *row, const float *s, const kvb_weigh *w,
                          int32_t at) {
    float inverse = 1.0f / (w->context + w->own), *to = look->weights + (int64_t)at * look->trace->width;
    for (int32_t j = 0; j < look->trace->tokens; j++) to[j] = s[j] * inverse;
    for (int32_t j = 0; j < row->own_n; j++)
        to[look->trace->tokens + j] = s[(int64_t)w->prefix_tiles * KVB_TILE + j] * inverse;
}

static void look_row(const call *c, const place *p, int32_t i, int32_t g, int32_t kv_head, float *s) {
    const kvb_look *look = c->look + i;
    const kvb_attn_row *row = c->row + i;
    const kvb_trace *t = look->trace;
    int32_t at = kv_head * c->attn.group + g, classes = t->watch.n_classes;
    kvb_weigh w = {.word = p->word,
                   .prefix_tiles = t->words,
                   .scale = c->attn.scale,
                   .class_words = t->class_words,
                   .classes = classes,
                   .words = t->words,
                   .within = t->class_words + (int64_t)classes * t->words};
    w.tiles = t->words + (row->own_n + KVB_TILE - 1) / KVB_TILE;
    for (int32_t k = 0; k < w.tiles; k++)
        p->word[k] = kvb_look_word(row, k < t->words ? k : k - t->words, kv_head, k < t->words);
    c->kernels->weigh(s, &w);
    if (look->top) {
        float inverse = 1.0f / (w.context + w.own), *mass = look->mass + (int64_t)at * (classes + 1);
        look->top[at] = w.top;
        look->top_within[at] = w.top_within;
        for (int32_t k = 0; k < classes; k++) mass[k] = w.mass[k] * inverse;
        mass[classes] = w.own * inverse;
    }
    if (look->weights) write_weights(look, row, s, &w, at);
    if (look->recall) look_keeps(c, p, look, s, &w, kv_head, at);
}

static void look_block(const call *c, const place *p, int32_t first, int32_t n, int32_t kv_head) {
    int64_t wide = (int64_t)c->tiles * KVB_TILE;
#if defined(__x86_64__)
    if (c->attn.kind->dtype == KVB_BF16) {
        kvb_attn_work work = {
            c->row + first, n, kv_head, c->q + (int64_t)first * c->attn.heads * c->attn.kind->head_dim, NULL, 0};
        kvb_amx_scores(p->scratch, &c->attn, &work, p->s, wide);
    } else
#endif
        scores_f32(c, p, first, n, kv_head);
    bool values = false;
    for (int32_t i = 0; i < n; i++) {
        const kvb_attn_row *row = c->row + first + i;
        if (c->look[first + i].recall) {
            if (!values) read_values(c, p, row->prefix + kv_head, row->prefix[kv_head].n, 0);
            values = true;
            read_values(c, p, row->own + kv_head, row->own_n, c->look[first + i].trace->words);
        }
        for (int32_t g = 0; g < c->attn.group; g++)
            look_row(c, p, first + i, g, kv_head, p->s + (int64_t)(i * c->attn.group + g) * wide);
    }
}

/* Rows and queries of the looks, side by side. */
static void gather(call *c, const kvb_attn_row *row, const float *q, int32_t n) {
    int64_t size = (int64_t)c->attn.heads * c->attn.kind->head_dim;
    for (int32_t i = 0; i < n; i++) {
        c->row[i] = row[c->look[i].row];
        memcpy(c->q + i * size, q + c->look[i].row * size, (size_t)size * sizeof *q);
        int32_t tiles = c->look[i].trace->words + (c->row[i].own_n + KVB_TILE - 1) / KVB_TILE;
        c->tiles = tiles > c->tiles ? tiles : c->tiles;
        c->keeps = c->keeps || c->look[i].recall;
    }
}

static void run(const call *c, const int32_t *start, int32_t blocks, char *memory, int64_t each, int64_t scratch) {
#pragma omp parallel num_threads(kvb_threads()) if (blocks * c->kv_heads > 1)
    {
        place mine;
        carve(c, &mine, memory + each * omp_get_thread_num(), scratch);
#if defined(__x86_64__)
        if (c->attn.kind->dtype == KVB_BF16) kvb_amx_begin();
#endif
#pragma omp for schedule(dynamic, 1)
        for (int32_t task = 0; task < blocks * c->kv_heads; task++) {
            int32_t b = task / c->kv_heads;
            look_block(c, &mine, start[b], start[b + 1] - start[b], task % c->kv_heads);
        }
#if defined(__x86_64__)
        if (c->attn.kind->dtype == KVB_BF16) kvb_amx_end();
#endif
    }
}

kvb_status kvb_cpu_look(const kvb_lane_kind *kind, const kvb_attn_row *row, const kvb_look *look, int32_t n,
                        int32_t heads, int32_t kv_heads, const float *q, double scale) {
    int32_t group = heads / kv_heads, most = KVB_QUERY_BLOCK / group, blocks = 0;
    call c = {kvb_cpu_pick(),
              {kind, heads, group, (float)(scale * 1.4426950408889634)},
              look,
              NULL,
              NULL,
              kv_heads,
              0,
              look[0].trace->m->desc.layers * (int64_t)heads,
              false};
    int64_t scratch = (KVB_QUERY_BLOCK + 16) * (int64_t)(kind->head_dim + KVB_TILE + 16) * 4;
#if defined(__x86_64__)
    if (kind->dtype == KVB_BF16) scratch = kvb_amx_scratch_bytes(kind->head_dim);
#endif
    c.row = kvb_alloc_array((size_t)n, sizeof *c.row, KVB_MEM_SCRATCH);
    const size_t queries = kvb_mul_size(kvb_size(n), kvb_mul_size(kvb_size(heads), kvb_size(kind->head_dim)));
    c.q = kvb_alloc_raw(kvb_mul_size(queries, sizeof *q), KVB_MEM_SCRATCH);
    int32_t *start = kvb_alloc_array(kvb_add_size(kvb_size(n), 1), sizeof *start, KVB_MEM_SCRATCH);
    char *memory = NULL;
    if (c.row && c.q && start) {
        gather(&c, row, q, n);
        for (int32_t i = 0, k; i < n; i += k) {
            for (k = 1; k < most && i + k < n && c.row[i + k].prefix == c.row[i].prefix;) k++;
            start[blocks++] = i;
        }
        start[blocks] = n;
        place p;
        int64_t each = kvb_round_up(carve(&c, &p, (char *)0, scratch) - (char *)0, 64);
        /* zeroed: keys that no row has yet and dimensions past the last are read, and must be finite */
        memory = kvb_alloc(kvb_size(kvb_mul64(each, kvb_threads())), KVB_MEM_SCRATCH);
        if (memory) run(&c, start, blocks, memory, each, scratch);
    }
    bool ok = memory;
    kvb_free(c.row);
    kvb_free(c.q);
    kvb_free(start);
    kvb_free(memory);
    return ok ? KVB_OK : KVB_E_MEMORY;
}
