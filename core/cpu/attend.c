/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attend.c - canonical attention on the CPU: the layout of lanes, and the walk over blocks of query rows and tiles of
 * keys.
 *
 * Query rows that read the same passage are worked on together, whatever their keep-sets: a tile's scores are one dense
 * product for all of them, and each row's mask word decides afterwards. Evicted keys cost arithmetic but no
 * bookkeeping, and a row's bits cannot depend on who shares its block. Rejected: gathering the kept keys of each row (a
 * different order of summation per keep-set, so that "evict nothing" would not be bit-equal to the full cache; and
 * slower under 2k tokens).
 */
#include "attend.h"
#include <math.h>
#include <omp.h>

static const kvb_cpu_kernels *pick(void) {
#if defined(__x86_64__)
    const char *tier = kvb_cpu_tier();
    if (strcmp(tier, "amx-bf16") == 0) return &kvb_kernels_amx;
    if (strcmp(tier, "avx512") == 0) return &kvb_kernels_avx512;
    if (strcmp(tier, "avx2") == 0) return &kvb_kernels_avx2;
#endif
    return &kvb_kernels_scalar;
}

const kvb_cpu_kernels *kvb_cpu_pick(void) {
    static const kvb_cpu_kernels *picked;
    if (!picked) picked = pick();
    return picked;
}

/* ---- lanes ---- */

static int64_t padded(int32_t head_dim) { return kvb_round_up(head_dim, 32); }

int64_t kvb_cpu_lane_bytes(const kvb_lane_kind *kind, int32_t capacity) {
    int64_t keys = kvb_round_up(capacity, KVB_LANE_UNIT);
    return kind->dtype == KVB_BF16 ? keys * padded(kind->head_dim) * 2 : keys * kind->head_dim * 4;
}

/* bf16: keys are plain rows; values come per block of 32 keys and 16 dimensions, pairs of keys side by side ([16 key
 * pairs][16 dims][2]), as AMX reads its second operand. */
static int64_t key16_at(int64_t dim_padded, int32_t index, int32_t d) { return index * dim_padded + d; }

static int64_t value16_at(int64_t dim_padded, int32_t index, int32_t d) {
    return (index / 32) * 32 * dim_padded + (d / 16) * 512 + (index % 32 / 2) * 32 + (d % 16) * 2 + index % 2;
}

static int64_t key32_at(int32_t dim, int32_t index, int32_t d) {
    return (int64_t)(index / KVB_KEY_BLOCK) * KVB_KEY_BLOCK * dim + (int64_t)d * KVB_KEY_BLOCK + index % KVB_KEY_BLOCK;
}

void kvb_cpu_lane_put(const kvb_lane_kind *kind, kvb_lane *lane, int32_t index, const float *key, const float *value) {
    int32_t dim = kind->head_dim;
#if defined(__x86_64__)
    if (kind->dtype == KVB_BF16) {
        kvb_amx_lane_put(kind, lane, index, key, value);
        return;
    }
#endif
    float *k = (float *)lane->keys + key32_at(dim, index, 0);
    for (int32_t d = 0; d < dim; d++) k[(int64_t)d * KVB_KEY_BLOCK] = key[d];
    memcpy((float *)lane->values + (int64_t)index * dim, value, (size_t)dim * sizeof(float));
}

/* The lines that lane_put will touch. */
void kvb_cpu_lane_fetch(const kvb_lane_kind *kind, const kvb_lane *lane, int32_t index) {
    if (kind->dtype != KVB_BF16) return;
    int64_t wide = padded(kind->head_dim);
    const uint16_t *k = (const uint16_t *)lane->keys + key16_at(wide, index, 0),
                   *v = (const uint16_t *)lane->values + value16_at(wide, index, 0);
    for (int32_t d = 0; d < kind->head_dim; d += 32) __builtin_prefetch(k + d, 1);
    for (int32_t d = 0; d < kind->head_dim; d += 16, v += 512) __builtin_prefetch(v, 1);
}

void kvb_cpu_lane_get(const kvb_lane_kind *kind, const kvb_lane *lane, int32_t index, float *key, float *value) {
    int32_t dim = kind->head_dim;
    if (kind->dtype == KVB_BF16) {
        int64_t wide = padded(dim);
        for (int32_t d = 0; key && d < dim; d++)
            key[d] = kvb_bf16_to_f32(((const uint16_t *)lane->keys)[key16_at(wide, index, d)]);
        for (int32_t d = 0; value && d < dim; d++)
            value[d] = kvb_bf16_to_f32(((const uint16_t *)lane->values)[value16_at(wide, index, d)]);
        return;
    }
    for (int32_t d = 0; key && d < dim; d++) key[d] = ((const float *)lane->keys)[key32_at(dim, index, d)];
    if (value) memcpy(value, (const float *)lane->values + (int64_t)index * dim, (size_t)dim * sizeof(float));
}

static void read_keys32(const float *lane, int32_t dim, int32_t tokens, float *out) {
    for (int32_t t = 0; t < tokens; t += KVB_KEY_BLOCK)
        for (int32_t d = 0; d < dim; d += 16)
            for (int32_t i = 0; i < KVB_KEY_BLOCK && t + i < tokens; i++)
                for (int32_t e = d; e < d + 16 && e < dim; e++)
                    out[(int64_t)(t + i) * dim + e] = lane[key32_at(dim, t + i, e)];
}

/* lane_get for whole lanes: the loops run along the layout. */
kvb_status kvb_cpu_lanes_read(const kvb_lane_kind *kind, const kvb_lane *lane, int32_t count, int32_t tokens, bool keys,
                              kvb_tensor *out) {
    int32_t dim = kind->head_dim;
#pragma omp parallel for schedule(static) num_threads(kvb_threads()) if (count > 1)
    for (int32_t i = 0; i < count; i++) {
        float *to = (float *)out->data + (int64_t)i * tokens * dim;
        const void *from = keys ? lane[i].keys : lane[i].values;
#if defined(__x86_64__)
        if (kind->dtype == KVB_BF16) {
            (keys ? kvb_amx_keys_read : kvb_amx_values_read)(kind, lane + i, tokens, to);
            continue;
        }
#endif
        if (keys)
            read_keys32(from, dim, tokens, to);
        else
            memcpy(to, from, (size_t)tokens * (size_t)dim * sizeof *to);
    }
    return KVB_OK;
}

/* ---- the walk in f32 ---- */

enum { ROOM = KVB_QUERY_BLOCK + 16 }; /* tiles work on up to 16 rows at once and may touch rows past the block's last */

typedef struct scratch {
    kvb_attn_block block;
    uint64_t word[KVB_QUERY_BLOCK];
} scratch;

static char *carve(scratch *s, char *memory, int32_t dim) {
    kvb_attn_block *b = &s->block;
    b->head_dim = dim;
#define TAKE(field, count)                                                                                             \
    b->field = (void *)memory;                                                                                         \
    memory += kvb_round_up((int64_t)(count) * (int64_t)sizeof *b->field, 64)
    TAKE(q, ROOM * dim);
    TAKE(o, ROOM * dim);
    TAKE(s, ROOM * KVB_TILE);
    TAKE(m, ROOM);
    TAKE(l, ROOM);
#undef TAKE
    return memory;
}

static int64_t scratch_bytes(const kvb_lane_kind *kind) {
    scratch s;
#if defined(__x86_64__)
    if (kind->dtype == KVB_BF16) return kvb_amx_scratch_bytes(kind->head_dim);
#endif
    return carve(&s, (char *)0, kind->head_dim) - (char *)0;
}

/* What a decoding sequence reads of its own lane comes from memory, once a step: asked for while the one before it is
 * worked on. */
static void fetch(const kvb_attn_run *r, int32_t row_bytes) {
    int64_t bytes = kvb_round_up(r->longest < KVB_TILE ? r->longest : KVB_TILE, KVB_KEY_BLOCK) * row_bytes;
    for (int64_t i = 0; i < bytes; i += 64) __builtin_prefetch((const char *)r->lane->keys + i);
    for (int64_t i = 0; i < bytes; i += 64) __builtin_prefetch((const char *)r->lane->values + i);
}

/*
 * All tiles of the block's runs. Stage by stage over the runs, not run by run: the products of many short runs
 * (decoding sequences) do not wait for each other's softmax. The stages may overwrite s behind a run's last row, so
 * runs go upwards.
 */
static void walk(scratch *s, const kvb_cpu_kernels *kernels, const kvb_attn_run *runs, int32_t n_runs,
                 const kvb_attn_row *row, int32_t group, int32_t kv_head, bool prefix) {
    int32_t longest = 0, tokens = 0, row_bytes = s->block.head_dim * 4;
    for (int32_t i = 0; i < n_runs; i++) {
        longest = runs[i].longest > longest ? runs[i].longest : longest;
        tokens += runs[i].tokens;
    }
    for (int32_t t = 0; t * KVB_TILE < longest; t++) {
        uint64_t seen[KVB_QUERY_BLOCK], any = 0; /* per run: which keys any of its rows sees */
        for (int32_t i = 0; i < n_runs; i++) {
            const kvb_attn_run *r = runs + i;
            seen[i] = 0;
            for (int32_t k = r->first; k < r->first + r->tokens; k++) {
                uint64_t word = kvb_attn_word(row + k, r, t, kv_head, prefix);
                seen[i] |= word;
                for (int32_t g = 0; g < group; g++) s->word[k * group + g] = word;
            }
            any |= seen[i];
            if (t == 0 && i + 1 < n_runs) fetch(r + 1, row_bytes);
            if (seen[i])
                kernels->scores(&s->block, r->first * group, r->tokens * group, r->lane->keys, t,
                                (int32_t)kvb_min64(r->longest - t * KVB_TILE, KVB_TILE));
        }
        if (!any) continue;
        kernels->softmax(&s->block, runs[0].first * group, tokens * group, s->word + runs[0].first * group);
        for (int32_t i = 0; i < n_runs; i++) {
            const kvb_attn_run *r = runs + i;
            if (seen[i])
                kernels->values(&s->block, r->first * group, r->tokens * group, r->lane->values, t,
                                (int32_t)kvb_min64(r->longest - t * KVB_TILE, KVB_TILE));
        }
    }
}

static void attend_block(void *memory, const kvb_cpu_kernels *kernels, const kvb_attn_call *call,
                         const kvb_attn_work *work) {
    scratch s;
    kvb_attn_block *b = &s.block;
    const kvb_attn_row *row = work->row;
    int32_t dim = call->kind->head_dim, tokens = work->tokens, group = call->group, kv_head = work->kv_head;
    carve(&s, memory, dim);
    b->scale = call->scale;
    b->rows = tokens * group;
    for (int32_t i = 0; i < tokens; i++)
        memcpy(b->q + (int64_t)i * group * dim, work->q + ((int64_t)i * call->heads + kv_head * group) * dim,
               (size_t)group * (size_t)dim * sizeof(float));
    memset(b->q + (int64_t)b->rows * dim, 0, (size_t)(ROOM - b->rows) * (size_t)dim * sizeof(float));
    memset(b->o, 0, (size_t)ROOM * (size_t)dim * sizeof(float));
    for (int32_t r = 0; r < ROOM; r++) b->m[r] = -INFINITY, b->l[r] = 0;

    if (row->prefix) {
        kvb_attn_run whole = {row->prefix + kv_head, 0, tokens, row->prefix[kv_head].n};
        walk(&s, kernels, &whole, 1, row, group, kv_head, true);
    }
    kvb_attn_run runs[KVB_QUERY_BLOCK];
    walk(&s, kernels, runs, kvb_attn_runs(row, tokens, kv_head, runs), row, group, kv_head, false);

    for (int32_t r = 0; r < b->rows; r++) {
        float *o = b->o + (int64_t)r * dim, inverse = b->l[r] > 0 ? 1.0f / b->l[r] : 0.0f;
        int64_t at = ((work->y_first + r / group) * call->heads + kv_head * group + r % group) * dim;
        for (int32_t d = 0; d < dim; d++) ((float *)work->y->data)[at + d] = o[d] * inverse;
    }
}

/* ---- the call ---- */

bool kvb_cpu_attend_observes(const kvb_lane_kind *kind) { return kind->dtype == KVB_BF16; }

kvb_status kvb_cpu_attend(const kvb_lane_kind *kind, const kvb_attn_row *row, int32_t rows, int32_t heads,
                          int32_t kv_heads, const float *q, double scale, kvb_tensor *y) {
    int32_t group = heads / kv_heads, most = KVB_QUERY_BLOCK / group;
    if (most < 1)
        return kvb_fail(KVB_E_UNSUPPORTED, "attention: %d query heads per KV head, at most %d are supported", group,
                        KVB_QUERY_BLOCK);
    const kvb_cpu_kernels *kernels = kvb_cpu_pick();
    const kvb_attn_call call = {kind, heads, group, (float)(scale * 1.4426950408889634)};
    int64_t each = kvb_round_up(scratch_bytes(kind), 64), row_size = (int64_t)heads * kind->head_dim;
    int32_t threads = kvb_threads(), blocks = 0;
    int32_t *start = kvb_alloc_array(kvb_add_size((size_t)rows, 1), sizeof *start, KVB_MEM_SCRATCH);
    char *memory = kvb_alloc_raw(kvb_size(kvb_mul64(each, threads)), KVB_MEM_SCRATCH);
    if (!start || !memory) {
        kvb_free(start);
        kvb_free(memory);
        return KVB_E_MEMORY;
    }
    for (int32_t i = 0; i < rows;) {
        int32_t n = 1;
        while (n < most && i + n < rows && row[i + n].prefix == row[i].prefix) n++;
        start[blocks++] = i;
        i += n;
    }
    start[blocks] = rows;
#pragma omp parallel num_threads(threads) if (blocks * kv_heads > 1)
    {
        void *mine = memory + each * omp_get_thread_num();
#if defined(__x86_64__)
        if (kind->dtype == KVB_BF16) kvb_amx_begin();
#endif
#pragma omp for schedule(dynamic, 1)
        for (int32_t task = 0; task < blocks * kv_heads; task++) {
            int32_t i = start[task / kv_heads];
            kvb_attn_work work = {row + i, start[task / kv_heads + 1] - i, task % kv_heads, q + i * row_size, y, i};
#if defined(__x86_64__)
            if (kind->dtype == KVB_BF16) {
                kvb_amx_attend(mine, &call, &work);
                continue;
            }
#endif
            attend_block(mine, kernels, &call, &work);
        }
#if defined(__x86_64__)
        if (kind->dtype == KVB_BF16) kvb_amx_end();
#endif
    }
    kvb_free(start);
    kvb_free(memory);
    return KVB_OK;
}
