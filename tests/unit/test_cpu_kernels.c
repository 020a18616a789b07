/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_cpu_kernels.c - the CPU's attention and row kernels against the scalar reference, and against themselves: a row
 * alone must have the bits it has in company. Runs itself again for every lower instruction set that this CPU can be
 * lowered to. no valgrind: it has neither AMX nor AVX-512
 */
#include "cpu/cpu.h"
#include "ref/ref.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static uint64_t state = 7;
static int32_t below(int32_t n) {
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    return (int32_t)((state >> 33) % (uint64_t)n);
}
static float noise(void) { return (float)(below(20001) - 10000) / 4000.0f; }
static float rounded(float x) { return kvb_bf16_to_f32(kvb_f32_to_bf16(x)); }
static bool is_amx(void) { return strcmp(kvb_cpu_tier(), "amx-bf16") == 0; }

/* ---- lanes ---- */

static kvb_lane new_lane(const kvb_backend *b, const kvb_lane_kind *kind, int32_t capacity) {
    size_t bytes = (size_t)b->lane_bytes(kind, capacity);
    return (kvb_lane){kvb_alloc(bytes, KVB_MEM_SCRATCH), kvb_alloc(bytes, KVB_MEM_SCRATCH), capacity, 0};
}

static void drop_lane(kvb_lane *lane) {
    kvb_free(lane->keys);
    kvb_free(lane->values);
}

static void lanes_give_back_what_they_got(void **unused) {
    (void)unused;
    static const int32_t dims[] = {2, 8, 16, 30, 32, 64, 80, 96, 128};
    for (size_t i = 0; i < sizeof dims / sizeof *dims; i++)
        for (int32_t dtype = KVB_F32; dtype <= KVB_BF16; dtype += KVB_BF16 - KVB_F32) {
            kvb_lane_kind kind = {dims[i], dtype};
            if (dtype == KVB_BF16 && dims[i] % 16) continue;
            const int32_t n = 131;
            kvb_lane lane = new_lane(&kvb_backend_cpu, &kind, n);
            float *keys = malloc((size_t)(n * dims[i]) * sizeof *keys),
                  *values = malloc((size_t)(n * dims[i]) * sizeof *values);
            for (int32_t j = 0; j < n * dims[i]; j++) {
                keys[j] = dtype == KVB_BF16 ? rounded(noise()) : noise();
                values[j] = dtype == KVB_BF16 ? rounded(noise()) : noise();
            }
            for (int32_t t = n - 1; t >= 0; t--) /* any order */
                kvb_cpu_lane_put(&kind, &lane, t, keys + t * dims[i], values + t * dims[i]);
            float key[128], value[128];
            for (int32_t t = 0; t < n; t++) {
                kvb_cpu_lane_get(&kind, &lane, t, key, value);
                assert_memory_equal(key, keys + t * dims[i], (size_t)dims[i] * sizeof *key);
                assert_memory_equal(value, values + t * dims[i], (size_t)dims[i] * sizeof *value);
                kvb_cpu_lane_get(&kind, &lane, t, NULL, value); /* either may be left out */
                kvb_cpu_lane_get(&kind, &lane, t, key, NULL);
            }
            free(keys);
            free(values);
            drop_lane(&lane);
        }
}

/* ---- attention ---- */

enum { ROWS = 37, SEQUENCES = 3, PREFIXES = 2, MOST_KV = 2, PREFIX_N = 150 };

/* Two finished passages, three sequences with keys of their own, rows in sequence order, every other one with a
 * keep-set. */
typedef struct world {
    kvb_lane prefix[PREFIXES][MOST_KV], own[SEQUENCES][MOST_KV];
    kvb_attn_row row[ROWS];
} world;

static uint64_t words[ROWS][MOST_KV][(PREFIX_N + 63) / 64];

static void fill(const kvb_backend *b, const kvb_lane_kind *kind, kvb_lane *lane, int32_t n, bool bf16) {
    *lane = new_lane(b, kind, n);
    lane->n = n;
    float key[128], value[128];
    for (int32_t t = 0; t < n; t++) {
        for (int32_t d = 0; d < kind->head_dim; d++) {
            key[d] = bf16 ? rounded(noise()) : noise();
            value[d] = bf16 ? rounded(noise()) : noise();
        }
        b->lane_put(kind, lane, t, key, value);
    }
}

static void build(world *w, const kvb_backend *b, const kvb_lane_kind *kind, int32_t kv_heads, bool bf16) {
    static const int32_t prefix_n[PREFIXES] = {PREFIX_N, 64};
    state = 11; /* both backends see the same numbers */
    for (int32_t h = 0; h < kv_heads; h++) {
        for (int32_t p = 0; p < PREFIXES; p++) fill(b, kind, &w->prefix[p][h], prefix_n[p], bf16);
        for (int32_t s = 0; s < SEQUENCES; s++) fill(b, kind, &w->own[s][h], 80, bf16);
    }
    for (int32_t r = 0; r < ROWS; r++) {
        int32_t s = r * SEQUENCES / ROWS;
        w->row[r] = (kvb_attn_row){.own = w->own[s], .own_n = 1 + below(80), .words = (PREFIX_N + 63) / 64};
        if (s > 0) w->row[r].prefix = w->prefix[s - 1];
        if (s > 0 && r % 2) {
            memset(words[r], 0, sizeof words[r]);
            for (int32_t h = 0; h < kv_heads; h++)
                for (int32_t t = 0; t < prefix_n[s - 1]; t++)
                    if (r % 5 ? below(4) == 0 : t >= 64 * 2 && below(2))
                        words[r][h][t / 64] |= 1ull << t % 64;       /* or whole tiles gone */
            if (r == ROWS - 2) memset(words[r], 0, sizeof words[r]); /* nothing of the passage is kept */
            w->row[r].mask = words[r][0];
        }
    }
}

static void tear_down(world *w, int32_t kv_heads) {
    for (int32_t h = 0; h < kv_heads; h++) {
        for (int32_t p = 0; p < PREFIXES; p++) drop_lane(&w->prefix[p][h]);
        for (int32_t s = 0; s < SEQUENCES; s++) drop_lane(&w->own[s][h]);
    }
}

static void check_attention(int32_t dim, int32_t heads, int32_t kv_heads, bool bf16) {
    static world fast, slow;
    kvb_lane_kind kind = {dim, bf16 ? KVB_BF16 : KVB_F32}, plain = {dim, KVB_F32};
    size_t row_size = (size_t)(heads * dim), n = ROWS * row_size;
    float *q = malloc(n * sizeof *q), *a = malloc(n * sizeof *a), *b = malloc(n * sizeof *b),
          *alone = malloc(row_size * sizeof *alone);
    for (size_t i = 0; i < n; i++) q[i] = bf16 ? rounded(noise()) : noise();
    build(&fast, &kvb_backend_cpu, &kind, kv_heads, bf16);
    build(&slow, &kvb_backend_ref, &plain, kv_heads, bf16);
    kvb_tensor ya = kvb_view2(a, KVB_F32, ROWS, (int64_t)row_size), yb = kvb_view2(b, KVB_F32, ROWS, (int64_t)row_size);
    double scale = 1 / sqrt((double)dim), tolerance = bf16 ? 2e-2 : 5e-6;
    assert_int_equal(kvb_backend_cpu.attend(&kind, fast.row, ROWS, heads, kv_heads, q, scale, &ya), KVB_OK);
    assert_int_equal(kvb_backend_ref.attend(&plain, slow.row, ROWS, heads, kv_heads, q, scale, &yb), KVB_OK);
    for (size_t i = 0; i < n; i++)
        if (!(fabs((double)a[i] - b[i]) <= tolerance))
            fail_msg("%s, head_dim %d, %d/%d heads, row %zu: %g, expected %g", kvb_cpu_tier(), dim, heads, kv_heads,
                     i / row_size, a[i], b[i]);
    kvb_tensor one = kvb_view2(alone, KVB_F32, 1, (int64_t)row_size);
    for (int32_t r = 0; r < ROWS; r++) {
        assert_int_equal(
            kvb_backend_cpu.attend(&kind, fast.row + r, 1, heads, kv_heads, q + (size_t)r * row_size, scale, &one),
            KVB_OK);
        assert_memory_equal(alone, a + (size_t)r * row_size, row_size * sizeof *alone);
    }
    /* a keep-set that keeps everything has the bits of none */
    for (int32_t r = 0; r < ROWS; r++) {
        memset(words[r], 0xff, sizeof words[r]);
        fast.row[r].mask = fast.row[r].prefix ? words[r][0] : NULL;
    }
    assert_int_equal(kvb_backend_cpu.attend(&kind, fast.row, ROWS, heads, kv_heads, q, scale, &ya), KVB_OK);
    for (int32_t r = 0; r < ROWS; r++) fast.row[r].mask = NULL;
    assert_int_equal(kvb_backend_cpu.attend(&kind, fast.row, ROWS, heads, kv_heads, q, scale, &yb), KVB_OK);
    assert_memory_equal(a, b, n * sizeof *a);
    tear_down(&fast, kv_heads);
    tear_down(&slow, kv_heads);
    free(q);
    free(a);
    free(b);
    free(alone);
}

static void attention_agrees_with_the_reference(void **unused) {
    (void)unused;
    static const int32_t dims[] = {2, 8, 16, 20, 32, 64, 80, 96, 128};
    for (size_t i = 0; i < sizeof dims / sizeof *dims; i++) {
        check_attention(dims[i], 2, 2, false);
        check_attention(dims[i], 6, 2, false);
        check_attention(dims[i], 8, 1, false);
        if (!is_amx() || dims[i] % 16) continue;
        check_attention(dims[i], 2, 2, true);
        check_attention(dims[i], 6, 2, true);
        check_attention(dims[i], 8, 1, true);
    }
}

static void op_with_empty_rows(void **unused) {
    (void)unused;
    for (int32_t keys = 1; keys <= 200; keys += 33) {
        enum { R = 5, H = 4, G = 2, D = 32 };
        float *q = malloc(R * H * D * 4), *k = malloc((size_t)(G * keys * D) * 4),
              *v = malloc((size_t)(G * keys * D) * 4), y[R * H * D], z[R * H * D];
        uint8_t *mask = calloc((size_t)(R * G * keys), 1);
        for (int32_t i = 0; i < R * H * D; i++) q[i] = noise();
        for (int32_t i = 0; i < G * keys * D; i++) k[i] = noise(), v[i] = noise();
        for (int32_t i = 0; i < R * G * keys; i++)
            mask[i] = i / keys % 3 ? (uint8_t)below(2) : 0; /* every third row sees nothing */
        kvb_tensor tq = kvb_view3(q, KVB_F32, R, H, D), tk = kvb_view3(k, KVB_F32, G, keys, D),
                   tv = kvb_view3(v, KVB_F32, G, keys, D);
        kvb_tensor tm = kvb_view3(mask, KVB_U8, R, G, keys), ty = kvb_view3(y, KVB_F32, R, H, D),
                   tz = kvb_view3(z, KVB_F32, R, H, D);
        for (int32_t bf16 = 0; bf16 <= 1; bf16++) {
            assert_int_equal(kvb_op_attention(KVB_DEVICE_CPU, &tq, &tk, &tv, &tm, &ty, 0.3, bf16), KVB_OK);
            assert_int_equal(kvb_op_attention(KVB_DEVICE_REF, &tq, &tk, &tv, &tm, &tz, 0.3, bf16), KVB_OK);
            for (int32_t i = 0; i < R * H * D; i++) {
                if (!(fabsf(y[i] - z[i]) <= (bf16 ? 3e-2f : 5e-6f)))
                    fail_msg("%d keys, bf16 %d: %g, expected %g", keys, bf16, y[i], z[i]);
                if (i / D / 2 % 3 == 0) assert_true(y[i] == 0);
            }
        }
        free(q);
        free(k);
        free(v);
        free(mask);
    }
}

/* Scores far apart: the exponential must go to 0 and not wrap, whichever tile holds the largest. */
static void extreme_scores(void **unused) {
    (void)unused;
    enum { D = 16, N = 130 };
    for (int32_t peak = 0; peak < N; peak += 43) {
        float q[D] = {0}, *k = calloc(N * D, 4), *v = calloc(N * D, 4), y[D];
        uint8_t mask[N];
        memset(mask, 1, sizeof mask);
        q[0] = 1e4f;
        for (int32_t t = 0; t < N; t++) k[t * D] = t == peak ? 1e4f : -1e4f, v[t * D + 1] = (float)t;
        kvb_tensor tq = kvb_view3(q, KVB_F32, 1, 1, D), tk = kvb_view3(k, KVB_F32, 1, N, D),
                   tv = kvb_view3(v, KVB_F32, 1, N, D);
        kvb_tensor tm = kvb_view3(mask, KVB_U8, 1, 1, N), ty = kvb_view3(y, KVB_F32, 1, 1, D);
        assert_int_equal(kvb_op_attention(KVB_DEVICE_CPU, &tq, &tk, &tv, &tm, &ty, 1, 0), KVB_OK);
        assert_true(y[1] == (float)peak);
        assert_true(y[0] == 0);
        free(k);
        free(v);
    }
}

/* ---- row kernels ---- */

static void norms(void **unused) {
    (void)unused;
    static const int64_t dims[] = {1, 3, 8, 16, 17, 63, 64, 65, 576};
    for (size_t i = 0; i < sizeof dims / sizeof *dims; i++) {
        int64_t rows = 35, dim = dims[i];
        float *x = malloc((size_t)(rows * dim) * 4), *w = malloc((size_t)dim * 4),
              *y = malloc((size_t)(rows * dim) * 4);
        uint16_t *narrow = malloc((size_t)(rows * dim) * 2);
        for (int64_t j = 0; j < rows * dim; j++) x[j] = noise();
        for (int64_t j = 0; j < dim; j++) w[j] = noise();
        kvb_tensor tx = kvb_view2(x, KVB_F32, rows, dim), tw = kvb_view1(w, KVB_F32, dim),
                   ty = kvb_view2(y, KVB_F32, rows, dim);
        kvb_tensor tn = kvb_view2(narrow, KVB_BF16, rows, dim);
        assert_int_equal(kvb_op_rmsnorm(KVB_DEVICE_CPU, &tx, &tw, &ty, 1e-5), KVB_OK);
        assert_int_equal(kvb_op_rmsnorm(KVB_DEVICE_CPU, &tx, &tw, &tn, 1e-5), KVB_OK);
        for (int64_t r = 0; r < rows; r++) {
            double sum = 0;
            for (int64_t d = 0; d < dim; d++) sum += (double)x[r * dim + d] * x[r * dim + d];
            double scale = 1 / sqrt(sum / (double)dim + 1e-5);
            for (int64_t d = 0; d < dim; d++) {
                double expected = x[r * dim + d] * scale * w[d];
                assert_true(fabs(y[r * dim + d] - expected) <= 2e-6 * fabs(expected) + 1e-7);
                assert_true(kvb_f32_to_bf16(y[r * dim + d]) == narrow[r * dim + d]);
            }
        }
        free(x);
        free(w);
        free(y);
        free(narrow);
    }
}

static void gates(void **unused) {
    (void)unused;
    enum { ROWS_ = 20, DIM = 131 };
    static float x[ROWS_ * 2 * DIM], y[ROWS_ * DIM];
    static uint16_t half[ROWS_ * 2 * DIM], narrow[ROWS_ * DIM];
    for (int32_t i = 0; i < ROWS_ * 2 * DIM; i++) x[i] = rounded(noise() * 4);
    x[0] = 200, x[1] = -200, x[2] = 0, x[3] = -87.5f, x[4] = rounded(1e30f), x[5] = rounded(-1e30f);
    for (int32_t i = 0; i < 6; i++) x[DIM + i] = 1;
    for (int32_t i = 0; i < ROWS_ * 2 * DIM; i++) half[i] = kvb_f32_to_bf16(x[i]);
    kvb_tensor tx = kvb_view2(x, KVB_F32, ROWS_, 2 * DIM), ty = kvb_view2(y, KVB_F32, ROWS_, DIM),
               tn = kvb_view2(narrow, KVB_BF16, ROWS_, DIM);
    kvb_tensor th = kvb_view2(half, KVB_BF16, ROWS_, 2 * DIM);
    assert_int_equal(kvb_op_silu_mul(KVB_DEVICE_CPU, &tx, &ty), KVB_OK);
    for (int32_t from16 = 0; from16 <= 1; from16++) { /* to bf16 from either type */
        assert_int_equal(kvb_op_silu_mul(KVB_DEVICE_CPU, from16 ? &th : &tx, &tn), KVB_OK);
        for (int32_t r = 0; r < ROWS_; r++)
            for (int32_t d = 0; d < DIM; d++) {
                double g = x[r * 2 * DIM + d], u = x[r * 2 * DIM + DIM + d], expected = g / (1 + exp(-g)) * u;
                if (!(fabs(y[r * DIM + d] - expected) <= 3e-6 * fabs(expected) + 1e-30))
                    fail_msg("silu(%g) * %g = %g, expected %g", g, u, y[r * DIM + d], expected);
                if (!(fabs(kvb_bf16_to_f32(narrow[r * DIM + d]) - expected) <= 0.0040 * fabs(expected) + 1e-30))
                    fail_msg("bf16: silu(%g) * %g = %g, expected %g", g, u, kvb_bf16_to_f32(narrow[r * DIM + d]),
                             expected);
            }
    }
}

static void rotations(void **unused) {
    (void)unused;
    static const int64_t dims[] = {2, 16, 30, 64, 80, 128};
    for (size_t i = 0; i < sizeof dims / sizeof *dims; i++) {
        int64_t dim = dims[i], half = dim / 2, heads = 3;
        float x[3 * 128], y[3 * 128], cosine[64], sine[64];
        for (int64_t j = 0; j < heads * dim; j++) x[j] = y[j] = noise();
        for (int64_t j = 0; j < half; j++) cosine[j] = cosf((float)j), sine[j] = sinf((float)j);
        kvb_cpu_rotate(y, heads, dim, cosine, sine);
        for (int64_t h = 0; h < heads; h++)
            for (int64_t j = 0; j < half; j++) {
                double a = x[h * dim + j], b = x[h * dim + half + j];
                assert_true(fabs(y[h * dim + j] - (a * cosine[j] - b * sine[j])) <= 1e-6);
                assert_true(fabs(y[h * dim + half + j] - (b * cosine[j] + a * sine[j])) <= 1e-6);
            }
    }
}

static void best_and_second(void **unused) {
    (void)unused;
    for (int32_t n = 1; n <= 300; n += n < 40 ? 1 : 37)
        for (int32_t round = 0; round < 20; round++) {
            float x[300];
            for (int32_t i = 0; i < n; i++) x[i] = (float)(below(9) - 4); /* many ties */
            int32_t expected = 0, index;
            for (int32_t i = 1; i < n; i++)
                if (x[i] > x[expected]) expected = i;
            float second = -INFINITY, margin;
            for (int32_t i = 0; i < n; i++)
                if (i != expected && x[i] > second) second = x[i];
            kvb_tensor tx = kvb_view2(x, KVB_F32, 1, n), ti = kvb_view1(&index, KVB_I32, 1),
                       tm = kvb_view1(&margin, KVB_F32, 1);
            assert_int_equal(kvb_op_argmax_margin(KVB_DEVICE_CPU, &tx, &ti, &tm), KVB_OK);
            assert_int_equal(index, expected);
            assert_true(margin == x[expected] - second);
        }
}

static void products(void **unused) {
    (void)unused;
    static const int32_t shape[][3] = {{1, 1, 1}, {3, 5, 7}, {16, 33, 65}, {70, 129, 16}, {290, 800, 40}};
    for (size_t i = 0; i < sizeof shape / sizeof *shape; i++)
        for (int32_t bf16 = 0; bf16 <= (is_amx() ? 1 : 0); bf16++) {
            int32_t rows = shape[i][0], in = shape[i][1], out = shape[i][2];
            float *w = malloc((size_t)(out * in) * 4), *x = malloc((size_t)(rows * in) * 4),
                  *y = malloc((size_t)(rows * out) * 4), *bias = malloc((size_t)out * 4);
            uint16_t *narrow = malloc((size_t)(rows * in) * 2);
            for (int32_t j = 0; j < out * in; j++) w[j] = bf16 ? rounded(noise()) : noise();
            for (int32_t j = 0; j < rows * in; j++) {
                x[j] = bf16 ? rounded(noise()) : noise();
                narrow[j] = kvb_f32_to_bf16(x[j]);
            }
            for (int32_t j = 0; j < out; j++) bias[j] = noise();
            for (int32_t j = 0; j < rows * out; j++) y[j] = 1;
            kvb_packed *packed;
            assert_int_equal(kvb_cpu_pack(w, out, in, bf16 ? KVB_BF16 : KVB_F32, &packed), KVB_OK);
            for (int32_t accumulate = 0; accumulate <= 1; accumulate++) {
                /* first y = x w^T + bias, then y += x w^T */
                assert_int_equal(kvb_cpu_multiply(packed, bf16 ? (void *)narrow : x, rows, accumulate ? NULL : bias,
                                                  accumulate, y, KVB_F32),
                                 KVB_OK);
                for (int32_t r = 0; r < rows; r++)
                    for (int32_t o = 0; o < out; o++) {
                        double sum = 0;
                        for (int32_t d = 0; d < in; d++) sum += (double)x[r * in + d] * w[o * in + d];
                        double expected = (accumulate ? 2 : 1) * sum + bias[o];
                        if (!(fabs(y[r * out + o] - expected) <= 2e-4 + 2e-6 * in)) /* a rounding per term */
                            fail_msg("[%d, %d, %d]: %g, expected %g", rows, in, out, y[r * out + o], expected);
                    }
            }
            kvb_cpu_pack_free(packed);
            free(w);
            free(x);
            free(y);
            free(bias);
            free(narrow);
        }
}

/* What is fused around the products of bf16 models: against the plain ops, and rows alone against rows in company. */

enum { FUSED_ROWS = 300, FUSED_IN = 72, FUSED_OUT = 100, FUSED_WIDE = 96 };

static kvb_packed *pack_noise(float *w, int32_t out, int32_t in) {
    for (int32_t i = 0; i < out * in; i++) w[i] = rounded(noise() / 4);
    kvb_packed *packed;
    assert_int_equal(kvb_cpu_pack(w, out, in, KVB_BF16, &packed), KVB_OK);
    return packed;
}

static void norm_before_a_product(void **unused) {
    (void)unused;
    if (!is_amx()) skip();
    static float w[FUSED_OUT * FUSED_IN], x[FUSED_ROWS * FUSED_IN], norm[FUSED_IN], bias[FUSED_OUT];
    static float y[FUSED_ROWS * FUSED_OUT], plain[FUSED_ROWS * FUSED_OUT], alone[FUSED_OUT];
    static uint16_t normed[FUSED_ROWS * FUSED_IN];
    kvb_packed *packed = pack_noise(w, FUSED_OUT, FUSED_IN);
    for (int32_t i = 0; i < FUSED_ROWS * FUSED_IN; i++) x[i] = noise();
    for (int32_t i = 0; i < FUSED_IN; i++) norm[i] = noise();
    for (int32_t i = 0; i < FUSED_OUT; i++) bias[i] = noise();
    kvb_tensor tx = kvb_view2(x, KVB_F32, FUSED_ROWS, FUSED_IN), tw = kvb_view1(norm, KVB_F32, FUSED_IN),
               ty = kvb_view2(normed, KVB_BF16, FUSED_ROWS, FUSED_IN);
    assert_int_equal(cpu_rmsnorm(&tx, &tw, &ty, 1e-5), KVB_OK);
    assert_int_equal(kvb_cpu_multiply(packed, normed, FUSED_ROWS, bias, 0, plain, KVB_F32), KVB_OK);
    assert_int_equal(kvb_amx_normed_multiply(packed, x, FUSED_ROWS, norm, 1e-5, bias, y), KVB_OK);
    assert_memory_equal(y, plain, sizeof y);
    for (int32_t r = 0; r < FUSED_ROWS; r += 43) {
        assert_int_equal(kvb_amx_normed_multiply(packed, x + r * FUSED_IN, 1, norm, 1e-5, bias, alone), KVB_OK);
        assert_memory_equal(alone, y + r * FUSED_OUT, sizeof alone);
    }
    kvb_cpu_pack_free(packed);
}

/* beside: what is added goes to a buffer of its own, and x stays. */
static void feed_forward(int32_t activation, bool beside) {
    static float gate_up[2 * FUSED_WIDE * FUSED_IN], down[FUSED_IN * FUSED_WIDE], norm[FUSED_IN], alone[FUSED_IN];
    static float x[FUSED_ROWS * FUSED_IN], y[FUSED_ROWS * FUSED_IN];
    static float added[FUSED_ROWS * FUSED_IN];
    static uint16_t narrow[FUSED_ROWS * FUSED_IN];
    kvb_packed *first = pack_noise(gate_up, 2 * FUSED_WIDE, FUSED_IN), *then = pack_noise(down, FUSED_IN, FUSED_WIDE);
    for (int32_t i = 0; i < FUSED_ROWS * FUSED_IN; i++) x[i] = y[i] = noise();
    for (int32_t i = 0; i < FUSED_IN; i++) norm[i] = noise();
    kvb_tensor tx = kvb_view2(x, KVB_F32, FUSED_ROWS, FUSED_IN), tw = kvb_view1(norm, KVB_F32, FUSED_IN),
               tn = kvb_view2(narrow, KVB_BF16, FUSED_ROWS, FUSED_IN);
    assert_int_equal(cpu_rmsnorm(&tx, &tw, &tn, 1e-5), KVB_OK);
    assert_int_equal(kvb_amx_feed_forward(first, then, y, FUSED_ROWS, norm, 1e-5, activation, beside ? added : NULL),
                     KVB_OK);
    if (beside) assert_memory_equal(x, y, sizeof x);
    const float *out = beside ? added : y;
    for (int32_t r = 0; r < FUSED_ROWS; r++) {
        double act[FUSED_WIDE], normed[FUSED_IN];
        for (int32_t i = 0; i < FUSED_IN; i++) normed[i] = kvb_bf16_to_f32(narrow[r * FUSED_IN + i]);
        for (int32_t j = 0; j < FUSED_WIDE; j++) {
            double gate = 0, up = 0;
            for (int32_t i = 0; i < FUSED_IN; i++) {
                gate += normed[i] * gate_up[j * FUSED_IN + i];
                up += normed[i] * gate_up[(FUSED_WIDE + j) * FUSED_IN + i];
            }
            double silu = gate / (1 + exp(-gate)),
                   gelu = gate / 2 * (1 + tanh(sqrt(2 / M_PI) * (gate + 0.044715 * gate * gate * gate)));
            act[j] = rounded((float)((activation == KVB_GELU ? gelu : silu) * up));
        }
        for (int32_t i = 0; i < FUSED_IN; i++) {
            double sum = beside ? 0 : x[r * FUSED_IN + i], most = 0;
            for (int32_t j = 0; j < FUSED_WIDE; j++) {
                sum += act[j] * down[i * FUSED_WIDE + j];
                most += fabs(act[j] * down[i * FUSED_WIDE + j]);
            }
            if (!(fabs(out[r * FUSED_IN + i] - sum) <= 1e-3 * most + 1e-4)) /* now and then act rounds the other way */
                fail_msg("row %d, %d: %g, expected %g", r, i, out[r * FUSED_IN + i], sum);
        }
        if (r % 37) continue;
        memcpy(alone, x + r * FUSED_IN, sizeof alone);
        float one[FUSED_IN];
        assert_int_equal(kvb_amx_feed_forward(first, then, alone, 1, norm, 1e-5, activation, beside ? one : NULL),
                         KVB_OK);
        assert_memory_equal(beside ? one : alone, out + r * FUSED_IN, sizeof alone);
    }
    kvb_cpu_pack_free(first);
    kvb_cpu_pack_free(then);
}

static void feed_forward_in_one_call(void **unused) {
    (void)unused;
    if (!is_amx()) skip();
    feed_forward(KVB_SILU, false);
    feed_forward(KVB_GELU, false);
    feed_forward(KVB_GELU, true);
}

static void best_of_a_head_in_chunks(void **unused) {
    (void)unused;
    if (!is_amx()) skip();
    static float w[3][FUSED_OUT * FUSED_IN], y[3][FUSED_ROWS * FUSED_OUT], best[FUSED_ROWS], second[FUSED_ROWS];
    static uint16_t x[FUSED_ROWS * FUSED_IN];
    int32_t index[FUSED_ROWS];
    kvb_packed *chunk[3];
    for (int32_t c = 0; c < 3; c++) chunk[c] = pack_noise(w[c], FUSED_OUT, FUSED_IN);
    memcpy(w[1], w[0], sizeof w[1] / 2); /* ties between chunks, and within the last one */
    memcpy(w[2] + 60 * FUSED_IN, w[2], 40 * FUSED_IN * sizeof **w);
    for (int32_t c = 1; c < 3; c++) {
        kvb_cpu_pack_free(chunk[c]);
        assert_int_equal(kvb_cpu_pack(w[c], FUSED_OUT, FUSED_IN, KVB_BF16, chunk + c), KVB_OK);
    }
    for (int32_t i = 0; i < FUSED_ROWS * FUSED_IN; i++) x[i] = kvb_f32_to_bf16(i / FUSED_IN == 7 ? NAN : noise());
    for (int32_t c = 0; c < 3; c++)
        assert_int_equal(kvb_cpu_multiply(chunk[c], x, FUSED_ROWS, NULL, 0, y[c], KVB_F32), KVB_OK);
    assert_int_equal(kvb_amx_best(chunk, 3, x, FUSED_ROWS, best, second, index), KVB_OK);
    for (int32_t r = 0; r < FUSED_ROWS; r++) {
        float top = -INFINITY, next = -INFINITY;
        int32_t at = 0;
        for (int32_t i = 0; i < 3 * FUSED_OUT; i++) {
            float v = y[i / FUSED_OUT][r * FUSED_OUT + i % FUSED_OUT];
            if (v > top) {
                next = top;
                top = v;
                at = i;
            } else if (v > next)
                next = v;
        }
        assert_int_equal(index[r], at);
        assert_memory_equal(best + r, &top, 4);
        assert_memory_equal(second + r, &next, 4);
    }
    for (int32_t c = 0; c < 3; c++) kvb_cpu_pack_free(chunk[c]);
}

static int run_again(const char *self, const char *tier) {
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        setenv("KVB_CPU_TIER", tier, 1);
        execl(self, self, (char *)NULL);
        _exit(127);
    }
    int status = 1;
    if (child < 0 || waitpid(child, &status, 0) != child) return 1;
    return status != 0;
}

int main(int argc, char **argv) {
    (void)argc;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lanes_give_back_what_they_got),
        cmocka_unit_test(attention_agrees_with_the_reference),
        cmocka_unit_test(op_with_empty_rows),
        cmocka_unit_test(extreme_scores),
        cmocka_unit_test(norms),
        cmocka_unit_test(gates),
        cmocka_unit_test(rotations),
        cmocka_unit_test(best_and_second),
        cmocka_unit_test(products),
        cmocka_unit_test(norm_before_a_product),
        cmocka_unit_test(feed_forward_in_one_call),
        cmocka_unit_test(best_of_a_head_in_chunks),
    };
    bool lowered = getenv("KVB_CPU_TIER") != NULL;
    if (lowered) kvb_threads_set(1);
    printf("tier %s\n", kvb_cpu_tier());
    int failed = cmocka_run_group_tests_name(kvb_cpu_tier(), tests, NULL, NULL);
    for (int32_t tag = KVB_MEM_WEIGHTS; tag <= KVB_MEM_SCRATCH;
         tag++) /* the table of products, under "other", stays by design */
        if (kvb_memory_bytes(tag) != 0) {
            printf("%lld bytes under tag %d were never freed\n", (long long)kvb_memory_bytes(tag), tag);
            failed++;
        }
    static const char *const tiers[] = {"scalar", "avx2", "avx512"};
    for (size_t i = 0; !lowered && i < sizeof tiers / sizeof *tiers && strcmp(tiers[i], kvb_cpu_tier()) != 0; i++)
        failed += run_again(argv[0], tiers[i]);
    return failed;
}
