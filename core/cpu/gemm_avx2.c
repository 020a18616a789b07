/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gemm_avx2.c - y = x w^T in f32 on AVX2: six rows against sixteen columns in registers.
 *
 * As fast as oneDNN's product on this instruction set, and its bits do not depend on the number of rows: every bucket
 * of the step is used, where oneDNN's own choice of blocking left only the largest (a step of 40 rows then cost as much
 * as one of 512). On AVX-512 oneDNN keeps its bits and is a little faster.
 */
#include "cpu.h"
#if defined(__AVX2__)
#include <immintrin.h>

enum { WIDE = 16, TALL = 6 };

/* Panels of 16 columns, [k][16] each; columns past the last are zero. */
kvb_status kvb_avx2_pack(const float *w, int32_t out, int32_t in, kvb_packed **packed) {
    int64_t panels = (out + WIDE - 1) / WIDE;
    kvb_packed *p = kvb_alloc(sizeof *p, KVB_MEM_WEIGHTS);
    if (!p) return KVB_E_MEMORY;
    *p = (kvb_packed){out, in, KVB_F32, panels * in * WIDE * (int64_t)sizeof(float), NULL};
    float *data = p->data = kvb_alloc((size_t)p->bytes, KVB_MEM_WEIGHTS);
    if (!data) {
        kvb_free(p);
        return KVB_E_MEMORY;
    }
#pragma omp parallel for schedule(static) num_threads(kvb_threads()) if ((int64_t)out * in > 65536)
    for (int32_t c = 0; c < out; c++) {
        float *column = data + (int64_t)(c / WIDE) * in * WIDE + c % WIDE;
        for (int32_t k = 0; k < in; k++) column[(int64_t)k * WIDE] = w[(int64_t)c * in + k];
    }
    *packed = p;
    return KVB_OK;
}

/* Rows past `rows` repeat the last one and are thrown away. */
static inline __attribute__((always_inline)) void block(const float *x, int32_t in, int32_t rows, const float *panel,
                                                        float *sum) {
    const float *row[TALL];
    __m256 acc[TALL][2];
    for (int r = 0; r < TALL; r++) {
        row[r] = x + (int64_t)(r < rows ? r : rows - 1) * in;
        acc[r][0] = acc[r][1] = _mm256_setzero_ps();
    }
    for (int32_t k = 0; k < in; k++, panel += WIDE) {
        const __m256 left = _mm256_load_ps(panel), right = _mm256_load_ps(panel + 8);
#pragma GCC unroll 6
        for (int r = 0; r < TALL; r++) {
            const __m256 u = _mm256_set1_ps(row[r][k]);
            acc[r][0] = _mm256_fmadd_ps(u, left, acc[r][0]);
            acc[r][1] = _mm256_fmadd_ps(u, right, acc[r][1]);
        }
    }
    for (int r = 0; r < TALL; r++) {
        _mm256_store_ps(sum + r * WIDE, acc[r][0]);
        _mm256_store_ps(sum + r * WIDE + 8, acc[r][1]);
    }
}

static inline void write_row(const float *sum, const float *bias, int32_t columns, bool accumulate, float *y) {
    for (int32_t c = 0; c < columns; c++) {
        float value = bias ? sum[c] + bias[c] : sum[c];
        y[c] = accumulate ? y[c] + value : value;
    }
}

kvb_status kvb_avx2_multiply(const kvb_packed *w, const float *x, int32_t rows, const float *bias, int32_t accumulate,
                             float *y) {
    const int32_t in = w->in, out = w->out, panels = (out + WIDE - 1) / WIDE;
#pragma omp parallel for schedule(dynamic, 2) num_threads(kvb_threads()) if ((int64_t)rows * out * in > 65536)
    for (int32_t p = 0; p < panels; p++) {
        const float *panel = (const float *)w->data + (int64_t)p * in * WIDE;
        const int32_t first = p * WIDE, columns = out - first < WIDE ? out - first : WIDE;
        for (int32_t r = 0; r < rows; r += TALL) {
            const int32_t n = rows - r < TALL ? rows - r : TALL;
            float sum[TALL * WIDE] __attribute__((aligned(32)));
            block(x + (int64_t)r * in, in, n, panel, sum);
            for (int32_t i = 0; i < n; i++) {
                float *to = y + (int64_t)(r + i) * out + first;
                if (columns == WIDE)
                    write_row(sum + i * WIDE, bias ? bias + first : NULL, WIDE, accumulate, to);
                else
                    write_row(sum + i * WIDE, bias ? bias + first : NULL, columns, accumulate, to);
            }
        }
    }
    return KVB_OK;
}
#endif
