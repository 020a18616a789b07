/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_attention.c - every attention kernel against a sum in double on the host, the equalities that hold bit by bit,
 * and (`test_attention bench`) times at the shapes of a sweep. `small`, `races`: enough for compute-sanitizer.
 *
 * Layers other than the tested one hold NaN, keys behind the stored ones hold a large finite number, the output starts
 * as NaN between canaries: a wrong index shows. Data is drawn anew for each scene from a printed seed.
 */
#include "attention_variants.h"
#include "cuda_test.h"

enum { LAYERS = 2, LAYER = 1, MOST_SEQS = 64, MOST_ROWS = 4096, CANARY = 4096 };

/* ---- a scene: caches, sequences, rows ---- */

typedef struct slab { /* keys and values of some tokens, all layers and heads */
    char *host, *device;
    kvb_lane *table; /* device */
    int64_t room;
    int n, ragged;
} slab;

typedef struct scene {
    int heads, kv_heads, dim, dtype, n_seqs, n_rows, window;
    double scale;
    kvb_cuda_seq seq[MOST_SEQS], host_seq[MOST_SEQS]; /* device pointers; host pointers (base, masks) */
    slab *prefix[MOST_SEQS], *own[MOST_SEQS], slabs[2 * MOST_SEQS];
    int n_slabs, n_owned;
    void *owned[8 * MOST_SEQS];
    kvb_cuda_row row[MOST_ROWS];
    void *q;
} scene;

static int lane_of(const scene *s, int kv_head) { return LAYER * s->kv_heads + kv_head; }
static void *own_device(scene *s, void *p) { return s->owned[s->n_owned++] = p; }

static slab *slab_new(scene *s, int n, int ragged) {
    slab *b = s->slabs + s->n_slabs++;
    int size = size_of(s->dtype), capacity = (n + 15) / 16 * 16;
    b->n = n;
    b->ragged = ragged;
    b->room = kvb_round_up((int64_t)capacity * s->dim * size, 256);
    size_t bytes = (size_t)(2 * LAYERS * s->kv_heads * b->room);
    b->host = malloc(bytes ? bytes : 1);
    memset(b->host, 0xff, bytes);
    kvb_lane table[LAYERS * 64] = {{0}};
    b->device = own_device(s, need_memory(bytes + 256));
    for (int h = 0; h < s->kv_heads; h++) {
        int lane = lane_of(s, h);
        char *at = b->host + 2 * lane * b->room;
        for (int part = 0; part < 2; part++)
            for (int64_t i = 0; i < (int64_t)capacity * s->dim; i++)
                if (i >= (int64_t)n * s->dim)
                    put(at + part * b->room, i, 30000, s->dtype);
                else
                    put(at + part * b->room, i, normal(), s->dtype);
        table[lane].keys = b->device + 2 * lane * b->room;
        table[lane].values = b->device + (2 * lane + 1) * b->room;
        table[lane].n = ragged ? below(n + 1) : n;
        table[lane].capacity = capacity;
    }
    need(kvb_cuda_upload(b->device, b->host, bytes));
    b->table = own_device(s, to_device(table, sizeof table));
    if (ragged) { /* the reference reads the lengths from here */
        b->host = realloc(b->host, bytes + sizeof table);
        memcpy(b->host + bytes, table, sizeof table);
    }
    return b;
}
static int slab_n(const scene *s, const slab *b, int kv_head) {
    if (!b->ragged) return b->n;
    return ((kvb_lane *)(b->host + 2 * LAYERS * s->kv_heads * b->room))[lane_of(s, kv_head)].n;
}

enum { MASK_NONE, MASK_ONES, MASK_HALF, MASK_TILES, MASK_NOTHING, MASK_KINDS };

static void mask_new(scene *s, int seq, int suffix, int kind, int keys) {
    int words = (keys + 63) / 64;
    const uint64_t **device = suffix ? &s->seq[seq].suffix_mask : &s->seq[seq].prefix_mask;
    const uint64_t **host = suffix ? &s->host_seq[seq].suffix_mask : &s->host_seq[seq].prefix_mask;
    *device = *host = NULL;
    if (suffix)
        s->seq[seq].suffix_words = s->host_seq[seq].suffix_words = words;
    else
        s->seq[seq].prefix_words = s->host_seq[seq].prefix_words = words;
    if (kind == MASK_NONE || words == 0) return;
    uint64_t *w = calloc((size_t)(LAYERS * s->kv_heads * words), 8);
    for (int h = 0; h < s->kv_heads; h++)
        for (int t = 0; t < words; t++) {
            uint64_t half = random_bits(), whole = random_bits() % 3;
            w[lane_of(s, h) * words + t] = kind == MASK_ONES    ? ~0ull
                                           : kind == MASK_HALF  ? half
                                           : kind == MASK_TILES ? (whole == 0   ? 0
                                                                   : whole == 1 ? half & random_bits()
                                                                                : ~0ull)
                                                                : 0;
        }
    *host = w;
    *device = own_device(s, to_device(w, (size_t)(LAYERS * s->kv_heads * words) * 8));
}

static void scene_begin(scene *s, int heads, int kv_heads, int dim, int dtype) {
    memset(s, 0, sizeof *s);
    s->heads = heads;
    s->kv_heads = kv_heads;
    s->dim = dim;
    s->dtype = dtype;
    s->scale = 1 / sqrt(dim);
}

/* Sequence with rows for own tokens first .. own->n - 1. */
static int seq_add(scene *s, slab *prefix, int table, int mask, slab *own, int suffix_mask, int first) {
    int i = s->n_seqs++;
    kvb_cuda_seq *q = s->seq + i;
    s->prefix[i] = prefix;
    s->own[i] = own;
    if (prefix) {
        q->prefix = (kvb_cuda_lanes){prefix->device, prefix->room, table ? prefix->table : NULL};
        q->prefix_n = prefix->n;
    }
    q->own = (kvb_cuda_lanes){own->device, own->room, table ? own->table : NULL};
    mask_new(s, i, 0, mask, prefix ? prefix->n : 0);
    mask_new(s, i, 1, suffix_mask, own->n);
    for (int t = first; t < own->n; t++) s->row[s->n_rows++] = (kvb_cuda_row){i, t, q->prefix_n + t, 0};
    return i;
}

static void scene_ready(scene *s, float sharpness) {
    int64_t n = (int64_t)s->n_rows * s->heads * s->dim;
    s->q = malloc((size_t)(n * size_of(s->dtype)));
    for (int64_t i = 0; i < n; i++) put(s->q, i, normal() * sharpness, s->dtype);
}
static void scene_end(scene *s) {
    for (int i = 0; i < s->n_owned; i++) kvb_cuda_free(s->owned[i]);
    for (int i = 0; i < s->n_slabs; i++) free(s->slabs[i].host);
    for (int i = 0; i < s->n_seqs; i++) {
        free((void *)(uintptr_t)s->host_seq[i].prefix_mask);
        free((void *)(uintptr_t)s->host_seq[i].suffix_mask);
    }
    free(s->q);
}

typedef struct variant {
    const char *name;
    kvb_status (*run)(const kvb_cuda_attention *);
    int cut; /* items of at most so many rows; 0 = as planned */
} variant;

static char behind[CANARY];

/* Runs some of the scene's rows (row_of: which; NULL = all, in order) -> y on the host, malloc'ed. cut: most rows of an
 * item, 0 = as planned. */
static char *run(const scene *s, kvb_status (*call)(const kvb_cuda_attention *), const int *row_of, int n, int cut) {
    int64_t each = (int64_t)s->heads * s->dim * size_of(s->dtype);
    if (!row_of) n = s->n_rows;
    kvb_cuda_row *row = malloc((size_t)n * sizeof *row);
    kvb_cuda_item *item = malloc((size_t)n * sizeof *item);
    char *q = malloc((size_t)(n * each)), *y = malloc((size_t)(n * each + 2 * CANARY));
    for (int i = 0; i < n; i++) {
        int from = row_of ? row_of[i] : i;
        row[i] = s->row[from];
        memcpy(q + i * each, (char *)s->q + from * each, (size_t)each);
    }
    int items = kvb_cuda_attention_plan(row, n, s->seq, s->heads / s->kv_heads, s->dim, s->dtype, item);
    if (cut) {
        kvb_cuda_item *cuts = malloc((size_t)n * sizeof *cuts);
        int m = 0;
        for (int i = 0; i < items; i++)
            for (int j = 0; j < item[i].rows; j += cut)
                cuts[m++] = (kvb_cuda_item){item[i].first_row + j, item[i].rows - j < cut ? item[i].rows - j : cut};
        free(item);
        item = cuts;
        items = m;
    }
    memset(y, 0xff, (size_t)(n * each + 2 * CANARY));
    memset(y, 0xa5, CANARY);
    memset(y + CANARY + n * each, 0xa5, CANARY);
    char *dq = to_device(q, (size_t)(n * each)), *dy = to_device(y, (size_t)(n * each + 2 * CANARY));
    void *drow = to_device(row, (size_t)n * sizeof *row), *ditem = to_device(item, (size_t)items * sizeof *item),
         *dseq = to_device(s->seq, (size_t)s->n_seqs * sizeof *s->seq);
    int splits = kvb_cuda_attention_splits(row, n, s->seq);
    int64_t floats = splits > 1 ? kvb_cuda_part_floats((int64_t)n * splits, s->heads, s->dim) : 0;
    char *parts = need_memory((size_t)floats * 4 + CANARY);
    need(kvb_cuda_check(cudaMemsetAsync(parts, 0xff, (size_t)floats * 4, kvb_cuda_stream()), "NaN")); /* not written */
    need(kvb_cuda_upload(parts + floats * 4, y, CANARY));
    kvb_cuda_attention a = {.rows = drow,
                            .seqs = dseq,
                            .items = ditem,
                            .n_rows = n,
                            .n_items = items,
                            .splits = splits,
                            .parts = (float *)parts,
                            .part_floats = floats,
                            .layer = LAYER,
                            .heads = s->heads,
                            .kv_heads = s->kv_heads,
                            .head_dim = s->dim,
                            .dtype = s->dtype,
                            .scale = s->scale,
                            .window = s->window,
                            .q = dq,
                            .y = dy + CANARY};
    need(call(&a));
    need(kvb_cuda_download(y, dy, (size_t)(n * each + 2 * CANARY)));
    need(kvb_cuda_download(behind, parts + floats * 4, CANARY));
    if (memcmp(behind, y, CANARY)) check(0, "what lies behind the splits' results was overwritten");
    kvb_cuda_free(parts);
    for (int i = 0; i < CANARY; i++)
        if ((unsigned char)y[i] != 0xa5 || (unsigned char)y[CANARY + n * each + i] != 0xa5) {
            check(0, "a canary around the output was overwritten");
            break;
        }
    memmove(y, y + CANARY, (size_t)(n * each));
    kvb_cuda_free(dq);
    kvb_cuda_free(dy);
    kvb_cuda_free(drow);
    kvb_cuda_free(ditem);
    kvb_cuda_free(dseq);
    free(row);
    free(item);
    free(q);
    return y;
}

/* ---- against double ---- */

static void reference(const scene *s, int row, int head, double *y) {
    const kvb_cuda_row *r = s->row + row;
    const kvb_cuda_seq *host = s->host_seq + r->seq;
    int h = head / (s->heads / s->kv_heads), n = 0, lane = lane_of(s, h);
    slab *parts[2] = {s->prefix[r->seq], s->own[r->seq]};
    double *p = malloc(sizeof *p * 20000), largest = -INFINITY, total = 0;
    const char **value = malloc(sizeof *value * 20000);
    for (int part = 0; part < 2; part++) {
        slab *b = parts[part];
        if (!b) continue;
        int keys = part == 1 ? r->index + 1 : s->seq[r->seq].prefix.table ? slab_n(s, b, h) : b->n;
        const uint64_t *mask = part == 0 ? host->prefix_mask : host->suffix_mask;
        int words = part == 0 ? host->prefix_words : host->suffix_words;
        for (int k = 0; k < keys; k++) {
            int back = part == 0 ? r->position - k : r->index - k;
            if (s->window && back >= s->window) continue;
            if (mask && !(mask[lane * words + k / 64] >> k % 64 & 1)) continue;
            const char *key = b->host + 2 * lane * b->room;
            double sum = 0;
            for (int d = 0; d < s->dim; d++)
                sum += (double)get(s->q, ((int64_t)row * s->heads + head) * s->dim + d, s->dtype) *
                       get(key, (int64_t)k * s->dim + d, s->dtype);
            p[n] = sum * s->scale;
            largest = fmax(largest, p[n]);
            value[n++] = key + b->room + (int64_t)k * s->dim * size_of(s->dtype);
        }
    }
    for (int d = 0; d < s->dim; d++) y[d] = 0;
    for (int i = 0; i < n; i++) total += p[i] = exp(p[i] - largest);
    for (int i = 0; i < n; i++)
        for (int d = 0; d < s->dim; d++) y[d] += p[i] / total * get(value[i], d, s->dtype);
    free(p);
    free(value);
}

/* What all rows (or every step-th and the last) should be; free it. */
static double *expected(const scene *s, int step) {
    double *y = malloc((size_t)s->n_rows * (size_t)(s->heads * s->dim) * sizeof *y);
#pragma omp parallel for collapse(2) schedule(dynamic, 4)
    for (int row = 0; row < s->n_rows; row++)
        for (int head = 0; head < s->heads; head++)
            if (row % step == 0 || row == s->n_rows - 1)
                reference(s, row, head, y + ((int64_t)row * s->heads + head) * s->dim);
    return y;
}

static void compare(const scene *s, const char *what, const char *name, const char *y, const double *ref, int step) {
    double error = 0, norm = 0, worst = 0;
    int64_t width = (int64_t)s->heads * s->dim;
    int bad = 0;
    for (int row = 0; row < s->n_rows; row++) {
        for (int64_t i = row * width; i < (row + 1) * width; i++) {
            double x = get(y, i, s->dtype);
            if (isnan(x)) bad++;
            if (row % step && row != s->n_rows - 1) continue;
            double e = fabs(x - ref[i]);
            error += e * e;
            norm += ref[i] * ref[i];
            worst = fmax(worst, e);
        }
    }
    double relative = norm > 0 ? sqrt(error / norm) : sqrt(error);
    double tolerance = s->dtype == KVB_BF16 ? 6e-3 : s->dtype == KVB_F16 ? 8e-4 : 1e-5;
    check(bad == 0 && relative < tolerance && worst < 8 * tolerance,
          "%s, %s: heads %d/%d, dim %d, dtype %d, %d rows: relative error %.2g, worst %.2g, %d NaN", what, name,
          s->heads, s->kv_heads, s->dim, s->dtype, s->n_rows, relative, worst, bad);
}

/* As on a GPU of compute capability 8.6 or 8.9, with less shared memory; where that is too little, as
 * kvb_cuda_attend does. */
static kvb_status small_ring(const kvb_cuda_attention *a) {
    bool bf16 = a->dtype == KVB_BF16;
    kvb_cuda_device *device = kvb_cuda_current();
    int64_t real = device->shared_bytes;
    device->shared_bytes = 99 * 1024;
    kvb_status status = bf16 ? kvb_cuda_attend_row_bf16(a) : kvb_cuda_attend_row_f16(a);
    device->shared_bytes = real;
    if (status != KVB_E_UNSUPPORTED) return status;
    return bf16 ? kvb_cuda_attend_bf16(a) : kvb_cuda_attend_f16(a);
}

/* One place per row: a block then goes through the splits of its rows in turn. */
static kvb_status in_turn(const kvb_cuda_attention *a) {
    kvb_cuda_attention b = *a;
    b.part_floats = kvb_cuda_part_floats(a->n_rows, a->heads, a->head_dim);
    return a->dtype == KVB_BF16 ? kvb_cuda_attend_bf16(&b) : kvb_cuda_attend_f16(&b);
}

enum { MOST_VARIANTS = 5 };

static int variants_of(int dtype, variant *v) {
    v[0] = (variant){"v0", kvb_cuda_attend_v0, 0};
    if (dtype == KVB_F32) return 1;
    v[1] = (variant){"tensor cores", dtype == KVB_BF16 ? kvb_cuda_attend_bf16 : kvb_cuda_attend_f16, 0};
    v[2] = (variant){"tensor cores, splits in turn", in_turn, 0};
    v[3] = (variant){"single rows", dtype == KVB_BF16 ? kvb_cuda_attend_row_bf16 : kvb_cuda_attend_row_f16, 1};
    v[4] = (variant){"single rows, small ring", small_ring, 1};
    return MOST_VARIANTS;
}

/* Passages of awkward sizes, sequences with all kinds of masks and tables over them; maybe a sliding window. */
static void mixed(scene *s, int heads, int kv_heads, int dim, int dtype, int window) {
    static const int sizes[] = {1, 63, 64, 65, 17, 130, 200, 0};
    scene_begin(s, heads, kv_heads, dim, dtype);
    s->window = window;
    for (int i = 0; i < 3; i++) {
        int n = sizes[below(8)];
        slab *passage = n ? slab_new(s, n, 0) : NULL;
        for (int j = 0; j < 5; j++) {
            int own = j == 0 ? 1 + below(160) : 1 + below(20), first = below(2) ? own - 1 : 0;
            seq_add(s, passage, j % 2 == 1 && i == 1, below(MASK_KINDS), slab_new(s, own, 0),
                    below(3) ? MASK_NONE : below(MASK_KINDS), first);
        }
    }
    slab *ragged = slab_new(s, 150, 1);
    for (int j = 0; j < 3; j++)
        seq_add(s, ragged, 1, MASK_NONE, slab_new(s, 1 + below(30), 0), MASK_NONE, 0);
    scene_ready(s, below(2) ? 1 : 4);
}

/* More keys than one split: passages around its edge and far behind it, suffixes across it, heads of different
 * length. */
static void several_splits(scene *s, int heads, int kv_heads, int dim, int dtype, int window) {
    static const int sizes[] = {2047, 2048, 2049, 4000, 5300};
    scene_begin(s, heads, kv_heads, dim, dtype);
    s->window = window;
    for (int i = 0; i < 2; i++) {
        slab *passage = slab_new(s, sizes[below(5)], 0);
        for (int j = 0; j < 4; j++) {
            int own = j == 0 ? 60 + below(160) : 1 + below(20), first = below(2) ? own - 1 : own > 9 ? own - 9 : 0;
            seq_add(s, passage, 0, below(MASK_KINDS), slab_new(s, own, 0),
                    below(3) ? MASK_NONE : below(MASK_KINDS), first);
        }
    }
    slab *ragged = slab_new(s, 4500, 1);
    for (int j = 0; j < 2; j++)
        seq_add(s, ragged, 1, MASK_NONE, slab_new(s, 1 + below(30), 0), MASK_NONE, 0);
    seq_add(s, NULL, 0, MASK_NONE, slab_new(s, 2120, 0), MASK_NONE, 1980); /* its rows cross the edge */
    seq_add(s, NULL, 0, MASK_NONE, slab_new(s, 4200, 0), below(2) ? MASK_HALF : MASK_TILES, 4197);
    seq_add(s, NULL, 0, MASK_NONE, slab_new(s, 40, 0), MASK_NONE, 0);
    scene_ready(s, below(2) ? 1 : 4);
}

/* Variants 1 and up add in one order: y of variant k against the first of them, which is kept in *first. */
static void same_bits(const scene *s, const char *what, const variant *v, int k, char *y, char **first) {
    size_t bytes = (size_t)s->n_rows * (size_t)(s->heads * s->dim * size_of(s->dtype));
    if (k == 1) {
        *first = malloc(bytes);
        memcpy(*first, y, bytes);
    } else if (k > 1)
        check(memcmp(*first, y, bytes) == 0, "%s: %s have the bits of %s", what, v[k].name, v[1].name);
    free(y);
}

/* A row's bits: alone, in any cut, in any order of sequences. */
static void company(const scene *s, const char *what, const variant *v) {
    int64_t each = (int64_t)s->heads * s->dim * size_of(s->dtype);
    char *all = run(s, v->run, NULL, 0, v->cut);
    int same = 1;
    for (int i = 0; i < s->n_rows; i += 7) {
        char *alone = run(s, v->run, &i, 1, v->cut);
        same &= memcmp(alone, all + i * each, (size_t)each) == 0;
        free(alone);
    }
    check(same, "%s, %s: a row alone has the bits it has in company", what, v->name);
    for (int cut = 1; cut < 12 && !v->cut; cut += 5) {
        char *other = run(s, v->run, NULL, 0, cut);
        check(memcmp(other, all, (size_t)(s->n_rows * each)) == 0, "%s, %s: items of %d rows give the same bits", what,
              v->name, cut);
        free(other);
    }
    int *order = calloc((size_t)s->n_rows, sizeof *order), n = 0;
    for (int q = s->n_seqs - 1; q >= 0; q--)
        for (int i = 0; i < s->n_rows; i++)
            if (s->row[i].seq == q) order[n++] = i;
    char *other = run(s, v->run, order, n, v->cut);
    same = 1;
    for (int i = 0; i < n; i++) same &= memcmp(other + i * each, all + order[i] * each, (size_t)each) == 0;
    check(same, "%s, %s: any order of sequences gives the same bits", what, v->name);
    free(other);
    free(order);
    free(all);
}

/* Two ways to store or state the same thing: ones or no mask, table or base, whole tiles as prefix or own. prefix: a
 * multiple of the tile. */
static void equal_forms(int heads, int kv_heads, int dim, int dtype, int prefix) {
    variant v[MOST_VARIANTS];
    int n_variants = variants_of(dtype, v);
    for (int i = 0; i < n_variants; i++) {
        scene s;
        scene_begin(&s, heads, kv_heads, dim, dtype);
        slab *passage = slab_new(&s, prefix, 0), *whole = slab_new(&s, 120, 0),
             *both = slab_new(&s, prefix + 120, 0);
        for (int h = 0; h < kv_heads; h++) { /* both = passage + whole, which lie in its tiles as in theirs */
            int lane = lane_of(&s, h);
            for (int part = 0; part < 2; part++) {
                char *to = both->host + (2 * lane + part) * both->room;
                int64_t token = (int64_t)dim * size_of(dtype);
                memcpy(to, passage->host + (2 * lane + part) * passage->room, (size_t)(prefix * token));
                memcpy(to + prefix * token, whole->host + (2 * lane + part) * whole->room, (size_t)(120 * token));
            }
        }
        need(kvb_cuda_upload(both->device, both->host, (size_t)(2 * LAYERS * kv_heads * both->room)));
        seq_add(&s, passage, 0, MASK_NONE, whole, MASK_NONE, 110);
        seq_add(&s, passage, 0, MASK_ONES, whole, MASK_ONES, 110);
        seq_add(&s, passage, 1, MASK_NONE, whole, MASK_NONE, 110);
        seq_add(&s, NULL, 0, MASK_NONE, both, MASK_NONE, prefix + 110);
        scene_ready(&s, 2);
        int64_t each = (int64_t)heads * dim * size_of(dtype) * 10;
        for (int q = 1; q < s.n_seqs; q++) memcpy((char *)s.q + q * each, s.q, (size_t)each);
        char *y = run(&s, v[i].run, NULL, 0, v[i].cut);
        static const char *names[] = {"", "a mask of ones", "a table", "a prefix of whole tiles as own keys"};
        for (int q = 1; q < s.n_seqs; q++)
            check(memcmp(y + q * each, y, (size_t)each) == 0, "%s, dim %d, dtype %d: %s changes no bit", v[i].name, dim,
                  dtype, names[q]);
        double *ref = expected(&s, 1);
        compare(&s, "equal forms", v[i].name, y, ref, 1);
        free(ref);
        free(y);
        scene_end(&s);
    }
}

static void conformance(int small) {
    static const int dims[] = {16, 32, 64, 80, 96, 128, 256}, dtypes[] = {KVB_F32, KVB_BF16, KVB_F16};
    static const int shapes[][2] = {{4, 4}, {8, 2}, {6, 2}, {14, 2}, {16, 2}, {10, 2}, {4, 2}, {6, 1}};
    static scene s;
    for (int i = 0; i < 7; i++)
        for (int j = 0; j < 3; j++) {
            variant v[MOST_VARIANTS];
            int n = variants_of(dtypes[j], v);
            for (int round = 0; round < (small ? 1 : 4); round++) {
                const int *shape = shapes[(i + 3 * round + j) % 8];
                random_state = (uint64_t)(i * 100 + j * 10 + round);
                static const int windows[] = {0, 1, 40, 64, 100};
                mixed(&s, shape[0], shape[1], dims[i], dtypes[j], windows[(i + j + round) % 5]);
                double *ref = expected(&s, 1);
                char *first = NULL;
                for (int k = 0; k < n; k++) {
                    char *y = run(&s, v[k].run, NULL, 0, v[k].cut);
                    compare(&s, "mixed", v[k].name, y, ref, 1);
                    same_bits(&s, "mixed", v, k, y, &first);
                    if (!small && round < 2) company(&s, "mixed", v + k);
                }
                free(ref);
                free(first);
                scene_end(&s);
            }
            for (int round = 0; round < (small ? 1 : 2); round++) {
                const int *shape = shapes[(i + 3 * round + j + 1) % 8];
                random_state = (uint64_t)(7000 + i * 100 + j * 10 + round);
                several_splits(&s, shape[0], shape[1], dims[i], dtypes[j], round && (i + j) % 3 == 0 ? 2200 : 0);
                double *ref = expected(&s, 7);
                char *first = NULL;
                for (int k = 0; k < n; k++) {
                    char *y = run(&s, v[k].run, NULL, 0, v[k].cut);
                    compare(&s, "several splits", v[k].name, y, ref, 7);
                    same_bits(&s, "several splits", v, k, y, &first);
                    if (!small) company(&s, "several splits", v + k);
                }
                free(ref);
                free(first);
                scene_end(&s);
            }
            if (small) continue;
            equal_forms(shapes[i][0], shapes[i][1], dims[i], dtypes[j], 128);
            equal_forms(shapes[i][0], shapes[i][1], dims[i], dtypes[j], 2048 + 64 * (i % 3));
            scene_begin(&s, 4, 2, dims[i], dtypes[j]); /* prefill of a longer passage, and of short ones beside it */
            seq_add(&s, NULL, 0, MASK_NONE, slab_new(&s, 1100, 0), MASK_NONE, 0);
            for (int k = 0; k < 4; k++)
                seq_add(&s, NULL, 0, MASK_NONE, slab_new(&s, 60 + 3 * k, 0), MASK_NONE, 0);
            scene_ready(&s, 1);
            double *ref = expected(&s, 41);
            char *first = NULL;
            for (int k = 0; k < n; k++) {
                char *y = run(&s, v[k].run, NULL, 0, v[k].cut);
                compare(&s, "prefill", v[k].name, y, ref, 41);
                same_bits(&s, "prefill", v, k, y, &first);
                company(&s, "prefill", v + k);
            }
            free(ref);
            free(first);
            scene_end(&s);
        }
    /* Everything masked: zeros. */
    for (int j = 0; j < 3; j++) {
        variant v[MOST_VARIANTS];
        int n = variants_of(dtypes[j], v);
        random_state = 5;
        scene_begin(&s, 8, 2, 64, dtypes[j]);
        slab *passage = slab_new(&s, 100, 0);
        for (int k = 0; k < 3; k++)
            seq_add(&s, passage, 0, MASK_NOTHING, slab_new(&s, 20, 0), MASK_NOTHING, 0);
        scene_ready(&s, 1);
        for (int k = 0; k < n; k++) {
            char *y = run(&s, v[k].run, NULL, 0, v[k].cut);
            int zero = 1;
            for (int64_t i = 0; i < (int64_t)s.n_rows * 8 * 64 * size_of(dtypes[j]); i++) zero &= y[i] == 0;
            check(zero, "%s, dtype %d: rows without a visible key are zero", v[k].name, dtypes[j]);
            free(y);
        }
        scene_end(&s);
    }
    kvb_cuda_attention a = {.heads = 9, .kv_heads = 1, .head_dim = 64, .dtype = KVB_BF16, .n_rows = 1};
    check(kvb_cuda_attend(&a) == KVB_E_UNSUPPORTED, "a group of 9 is refused");
    a.heads = 8, a.head_dim = 72;
    check(kvb_cuda_attend(&a) == KVB_E_UNSUPPORTED, "head_dim 72 is refused");
}

/* What shares memory among threads, in every layout, small enough for the tool that looks for races. */
static void races(void) {
    static const int dims[] = {64, 128, 80, 256}, dtypes[] = {KVB_BF16, KVB_F16};
    static scene s;
    for (int i = 0; i < 4; i++) {
        variant v[MOST_VARIANTS];
        int n = variants_of(dtypes[i % 2], v);
        random_state = (uint64_t)i;
        scene_begin(&s, 4, 2, dims[i], dtypes[i % 2]);
        slab *passage = slab_new(&s, 130, 0);
        for (int k = 0; k < 6; k++)
            seq_add(&s, passage, 0, k % 2 ? MASK_HALF : MASK_NONE, slab_new(&s, 20 + 30 * (k % 3), 0), MASK_NONE,
                    k % 2 ? 19 : 0);
        seq_add(&s, NULL, 0, MASK_NONE, slab_new(&s, 2100, 0), MASK_NONE, 2090); /* two splits */
        scene_ready(&s, 1);
        double *ref = expected(&s, 3);
        for (int k = 1; k < n; k++) { /* the first is no variant with shared memory */
            char *y = run(&s, v[k].run, NULL, 0, v[k].cut);
            compare(&s, "races", v[k].name, y, ref, 3);
            free(y);
        }
        free(ref);
        scene_end(&s);
    }
}

#include "attention_times.h"

int main(int n, char **args) {
    const char *mode = n > 1 ? args[1] : "test";
    if (!open_gpu()) return 0;
    quiet = n < 3; /* a second word shows the passed ones too */
    if (strcmp(mode, "bench") == 0) {
        times();
        return 0;
    }
    if (strcmp(mode, "races") == 0)
        races();
    else
        conformance(strcmp(mode, "small") == 0);
    return closing_line();
}
