/* SPDX-License-Identifier: Apache-2.0 */
/* cuda_test.h - what the programs of tests/cuda share: counts, random data, 16-bit types on the host, uploads. */
#ifndef KVB_CUDA_TEST_H
#define KVB_CUDA_TEST_H
#include "cuda.h"
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int passed, failed, quiet;
static uint64_t random_state;

static inline uint64_t random_bits(void) {
    uint64_t z = random_state += 0x9e3779b97f4a7c15ull;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return z ^ z >> 31;
}
static inline int below(int n) { return (int)(random_bits() % (uint64_t)n); }
static inline float normal(void) {
    float sum = 0;
    for (int i = 0; i < 6; i++) sum += (float)(random_bits() >> 40) * (1.0f / 16777216);
    return (sum - 3) * 1.41421356f;
}

static inline void check(int ok, const char *format, ...) {
    if (ok)
        passed++;
    else
        failed++;
    if (ok && quiet) return;
    va_list list;
    va_start(list, format);
    printf("%s ", ok ? "ok  " : "FAIL");
    vprintf(format, list);
    printf("\n");
    va_end(list);
}
static inline void need(kvb_status status) {
    if (status == KVB_OK) return;
    printf("error: %s %s\n", kvb_diag_message(), kvb_diag_hint());
    exit(1);
}
static inline void *need_memory(size_t bytes) {
    void *p = kvb_cuda_alloc_raw(bytes, KVB_MEM_SCRATCH);
    if (!p) need(KVB_E_MEMORY);
    return p;
}
static inline void *to_device(const void *host, size_t bytes) {
    void *p = need_memory(bytes);
    need(kvb_cuda_upload(p, host, bytes));
    return p;
}

/* ---- types ---- */

static inline int size_of(int dtype) { return dtype == KVB_F32 ? 4 : 2; }

static inline uint16_t f16_bits(float x) { /* normal range and zero are all that is needed here */
    uint32_t u;
    memcpy(&u, &x, 4);
    uint32_t sign = u >> 16 & 0x8000, rest = u & 0x7fffffff;
    if (rest < 0x38800000) { /* below the smallest normal: to the nearest multiple of 2^-24 */
        float magnitude = fabsf(x);
        return (uint16_t)(sign | (uint32_t)lrintf(magnitude * 16777216.0f));
    }
    rest += 0xfff + (rest >> 13 & 1);
    return (uint16_t)(sign | (rest - 0x38000000) >> 13);
}
static inline float f16_value(uint16_t h) { /* any but infinity and NaN, which come out large */
    uint32_t u = (uint32_t)(h & 0x7fff) << 13;
    float x;
    memcpy(&x, &u, 4);
    x *= 0x1p112f;
    if ((h & 0x7fff) > 0x7c00) x = NAN;
    return h & 0x8000 ? -x : x;
}
static inline void put(void *to, int64_t i, float x, int dtype) {
    if (dtype == KVB_F32)
        ((float *)to)[i] = x;
    else
        ((uint16_t *)to)[i] = dtype == KVB_BF16 ? kvb_f32_to_bf16(x) : f16_bits(x);
}
static inline float get(const void *from, int64_t i, int dtype) {
    if (dtype == KVB_F32) return ((const float *)from)[i];
    uint16_t h = ((const uint16_t *)from)[i];
    return dtype == KVB_BF16 ? kvb_bf16_to_f32(h) : f16_value(h);
}

/* Opens the first GPU; without one, says that the tests are skipped and returns 0. */
static inline int open_gpu(void) {
    if (kvb_cuda_devices() == 0) {
        printf("skipped: no CUDA device\n0 passed, 0 failed, 1 skipped\n");
        return 0;
    }
    need(kvb_cuda_use(KVB_DEVICE_CUDA));
    return 1;
}
static inline int closing_line(void) {
    printf("%d passed, %d failed\n", passed, failed);
    return failed != 0;
}

#endif
