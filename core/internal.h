/* SPDX-License-Identifier: Apache-2.0 */
/*
 * internal.h - what the library's files share and no user sees: failing with a reason, counted memory, small helpers.
 * One allocator and one way to fail, so that "every byte is counted" and "every failure says why" are properties of the
 * code base and not of each author's discipline.
 */
#ifndef KVB_INTERNAL_H
#define KVB_INTERNAL_H

#include "kvbench.h"
#include <stdbool.h>
#ifdef __cplusplus
typedef int32_t kvb_references; /* same layout; only C code counts */
#else
#include <stdatomic.h>
typedef _Atomic int32_t kvb_references;
#endif
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Records the reason and returns `code`. The text says what, where and the actual values. Clears the hint. */
kvb_status kvb_fail(kvb_status code, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* What to do next; belongs to the failure recorded last. */
void kvb_hint(const char *format, ...) __attribute__((format(printf, 1, 2)));

#define KVB_TRY(call)                                                                                                  \
    do {                                                                                                               \
        kvb_status try_status = (call);                                                                                \
        if (try_status != KVB_OK) return try_status;                                                                   \
    } while (0)

/* Zeroed memory, 64-byte aligned, counted under `tag`. NULL on failure, with the diagnostic set. bytes may be 0. */
void *kvb_alloc(size_t bytes, int32_t tag);
/* As kvb_alloc, but not zeroed: for large buffers that are written before they are read. */
void *kvb_alloc_raw(size_t bytes, int32_t tag);
/* n * size with an overflow check. */
void *kvb_alloc_array(size_t n, size_t size, int32_t tag);
/* Sizes in bytes saturate, and a saturated size cannot be allocated: no product or sum wraps around to a small one.
 * Every size that an allocation is given is made with these; tests/lua/sizes_test.lua reads the sources for others. */
static inline size_t kvb_mul_size(size_t a, size_t b) {
    size_t product;
    return __builtin_mul_overflow(a, b, &product) ? SIZE_MAX : product;
}
static inline size_t kvb_add_size(size_t a, size_t b) {
    size_t sum;
    return __builtin_add_overflow(a, b, &sum) ? SIZE_MAX : sum;
}
/* A count or size held as int64_t; negative ones come from no valid computation. */
static inline size_t kvb_size(int64_t n) { return n < 0 ? SIZE_MAX : (size_t)n; }
/* The product of counts, or INT64_MAX where it is larger; a factor below 0 gives that too. */
static inline int64_t kvb_mul64(int64_t a, int64_t b) {
    int64_t product;
    return a < 0 || b < 0 || __builtin_mul_overflow(a, b, &product) ? INT64_MAX : product;
}

/* Grows or shrinks; contents kept, new bytes zeroed. `p` may be NULL. On failure p stays valid and NULL is returned. */
void *kvb_realloc(void *p, size_t bytes, int32_t tag);
void kvb_free(void *p);
/* For memory that is not the host's: counts bytes under a tag; true when kvb_memory_fail_nth lets this one fail. */
void kvb_count_bytes(int32_t tag, int64_t bytes);
bool kvb_count_should_fail(size_t bytes);
int64_t kvb_memory_room(void); /* what kvb_memory_limit leaves, INT64_MAX without one */
char *kvb_strdup_n(const char *s, size_t n, int32_t tag);

static inline int64_t kvb_min64(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t kvb_max64(int64_t a, int64_t b) { return a > b ? a : b; }
/* Up to a multiple; the last one there is for what lies above it. */
static inline int64_t kvb_round_up(int64_t n, int64_t unit) {
    return n > INT64_MAX - unit ? INT64_MAX / unit * unit : (n + unit - 1) / unit * unit;
}

/* Round to nearest even; NaN stays NaN. */
static inline uint16_t kvb_f32_to_bf16(float x) {
    uint32_t u;
    memcpy(&u, &x, 4);
    if ((u & 0x7fffffffu) > 0x7f800000u) return (uint16_t)((u >> 16) | 0x40);
    return (uint16_t)((u + 0x7fff + ((u >> 16) & 1)) >> 16);
}
static inline float kvb_bf16_to_f32(uint16_t b) {
    uint32_t u = (uint32_t)b << 16;
    float x;
    memcpy(&x, &u, 4);
    return x;
}

int64_t kvb_tensor_count(const kvb_tensor *t); /* elements */
bool kvb_tensor_contiguous(const kvb_tensor *t);
/* A borrowed contiguous view over memory the caller keeps. */
kvb_tensor kvb_view1(void *data, int32_t dtype, int64_t a);
kvb_tensor kvb_view2(void *data, int32_t dtype, int64_t a, int64_t b);
kvb_tensor kvb_view3(void *data, int32_t dtype, int64_t a, int64_t b, int64_t c);
/* KVB_E_SHAPE naming the op and the argument unless t has this dtype, ndim and shape (-1 = any). */
kvb_status kvb_tensor_expect(const char *op, const char *argument, const kvb_tensor *t, int32_t dtype, int32_t ndim,
                             const int64_t *shape);

#ifdef __cplusplus
}
#endif
#endif
