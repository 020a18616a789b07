/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cpu.h - the CPU backend's own parts: row kernels compiled once per instruction set, and GEMM.
 *
 * The row kernels are one source (kernels.inc) compiled as scalar, AVX2 and AVX-512; AMX adds its own attention for
 * bf16. Within a tier a row's bits never depend on how many rows are computed together; across tiers they differ by
 * rounding.
 */
#ifndef KVB_CPU_H
#define KVB_CPU_H
#include "../backend.h"

enum { KVB_KEY_BLOCK = 16, KVB_LANE_UNIT = 32, KVB_QUERY_BLOCK = 64 };

/* A block of query rows of one KV head against one lane's keys, in f32: the inner call of attention (attend.c). */
typedef struct kvb_attn_block {
    int32_t rows;                 /* query rows (tokens x query heads of the group), <= KVB_QUERY_BLOCK */
    int32_t head_dim;
    float scale;                  /* softmax scale times log2(e): exponentials are powers of two */
    float *q;                     /* [KVB_QUERY_BLOCK + 16][head_dim] f32, rows past `rows` are zero */
    float *o;                     /* [KVB_QUERY_BLOCK + 16][head_dim] running sum of p v */
    float *m, *l;                 /* running maximum (log2 units) and sum of p */
    float *s;                     /* [KVB_QUERY_BLOCK + 16][KVB_TILE] scores of one tile */
} kvb_attn_block;

/* One observed row of one head: what its scores are weighed for (look.c). */
typedef struct kvb_weigh {
    const uint64_t *word;        /* [tiles] which keys it sees */
    int32_t prefix_tiles, tiles; /* the context's, then with the row's own */
    float scale;                 /* as in kvb_attn_block */
    const uint64_t *class_words; /* [classes][words] */
    int32_t classes, words;
    const uint64_t *within;      /* [words] */
    int32_t top, top_within;     /* written: keys, or -1 */
    float mass[KVB_MAX_CLASSES], own, context; /* written: sums of p by class, of own keys, of the context's */
} kvb_weigh;

typedef struct kvb_cpu_kernels {
    /* s = q k^T for rows [first, first + n) and keys [64 t, 64 t + keys) of a lane. Rows right behind may be
     * overwritten. */
    void (*scores)(kvb_attn_block *b, int32_t first, int32_t n, const void *lane_keys, int32_t t, int32_t keys);
    /* s -> p with the online update of m, l and o; word[i] says which keys of the tile row first + i sees. */
    void (*softmax)(kvb_attn_block *b, int32_t first, int32_t n, const uint64_t *word);
    /* o += p v for rows [first, first + n), the tile's sum formed first and added once. */
    void (*values)(kvb_attn_block *b, int32_t first, int32_t n, const void *lane_values, int32_t t, int32_t keys);
    void (*rmsnorm)(const float *x, const float *w, void *y, int32_t bf16, int64_t rows, int64_t dim, float eps);
    /* x [rows][2 dim]: gate, then up; bf16 says whether x and y are both bf16 or both f32 */
    void (*silu_mul)(const void *x, void *y, int32_t bf16, int64_t rows, int64_t dim);
    void (*gelu_mul)(const void *x, void *y, int32_t bf16, int64_t rows, int64_t dim);
    /* x [heads][dim] of one row rotated with this position's cos, sin [dim / 2] */
    void (*rope)(float *x, int64_t heads, int64_t dim, const float *cos, const float *sin);
    /* Folds x [n], columns first_index.., into a running best and second best. */
    void (*top2)(const float *x, int64_t n, int32_t first_index, float *best, int32_t *index, float *second);
    /* s [64 tiles] scores -> p = 2^(scale s - its largest), 0 where a key is not visible */
    void (*weigh)(float *s, kvb_weigh *w);
    /* o [dim] += sum of p v over the keys of words [tiles]; v [64 tiles][dim], dim a multiple of 16. Returns the sum
     * of p. */
    float (*mix)(const float *p, const uint64_t *words, int32_t tiles, const float *v, int32_t dim, float *o);
} kvb_cpu_kernels;

extern const kvb_cpu_kernels kvb_kernels_scalar, kvb_kernels_avx2, kvb_kernels_avx512, kvb_kernels_amx;
const kvb_cpu_kernels *kvb_cpu_pick(void);
void kvb_amx_begin(void); /* per thread, before its first tile */
void kvb_amx_end(void);

/* Lanes: [16-key block][dim][16] keys and [key][dim] values in f32; in bf16 see attend_amx.c. */
int64_t kvb_cpu_lane_bytes(const kvb_lane_kind *kind, int32_t capacity);
void kvb_cpu_lane_put(const kvb_lane_kind *kind, kvb_lane *lane, int32_t index, const float *key, const float *value);
void kvb_cpu_lane_fetch(const kvb_lane_kind *kind, const kvb_lane *lane, int32_t index);
void kvb_cpu_lane_get(const kvb_lane_kind *kind, const kvb_lane *lane, int32_t index, float *key, float *value);
kvb_status kvb_cpu_lanes_read(const kvb_lane_kind *kind, const kvb_lane *lane, int32_t count, int32_t tokens, bool keys,
                              kvb_tensor *out);
void kvb_cpu_rotate(float *x, int64_t heads, int64_t head_dim, const float *cos, const float *sin);
kvb_status kvb_cpu_attend(const kvb_lane_kind *kind, const kvb_attn_row *row, int32_t rows, int32_t heads,
                          int32_t kv_heads, const float *q, double scale, kvb_tensor *y);

bool kvb_cpu_attend_observes(const kvb_lane_kind *kind);
kvb_status kvb_cpu_look(const kvb_lane_kind *kind, const kvb_attn_row *row, const struct kvb_look *look, int32_t n,
                        int32_t heads, int32_t kv_heads, const float *q, double scale);

/* GEMM: gemm_amx.c for bf16; f32 in gemm_avx2.c on that tier, else in gemm_dnnl.c. */
struct kvb_packed {
    int32_t out, in, dtype;
    int64_t bytes;
    void *data;
};
kvb_status kvb_cpu_pack(const float *w, int32_t out, int32_t in, int32_t dtype, kvb_packed **packed);
void kvb_cpu_pack_free(kvb_packed *packed);
int64_t kvb_cpu_pack_bytes(const kvb_packed *packed);
kvb_status kvb_cpu_multiply(kvb_packed *packed, const void *x, int32_t rows, const float *bias, int32_t accumulate,
                            void *y, int32_t y_dtype);
kvb_status kvb_avx2_pack(const float *w, int32_t out, int32_t in, kvb_packed **packed);
kvb_status kvb_avx2_multiply(const kvb_packed *w, const float *x, int32_t rows, const float *bias, int32_t accumulate,
                             float *y);
kvb_status kvb_amx_pack(const float *w, int32_t out, int32_t in, kvb_packed **packed);
kvb_status kvb_amx_multiply(const kvb_packed *w, const void *x, int32_t rows, const float *bias, int32_t accumulate,
                            void *y, int32_t y_dtype);
kvb_status kvb_amx_normed_multiply(const kvb_packed *w, const float *x, int32_t rows, const float *norm, double eps,
                                   const float *bias, float *y);
kvb_status kvb_amx_feed_forward(const kvb_packed *gate_up, const kvb_packed *down, float *x, int32_t rows,
                                const float *norm, double eps, int32_t activation, float *y);
kvb_status kvb_amx_best(kvb_packed *const *head, int32_t chunks, const void *x, int32_t rows, float *best,
                        float *second, int32_t *index);

/* ops */
#define KVB_OP(name, parameters, arguments) kvb_status cpu_##name parameters;
#include "../ops.def"
#undef KVB_OP

#endif
