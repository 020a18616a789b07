/* SPDX-License-Identifier: Apache-2.0 */
/*
 * base.c - failing with a reason, and counted memory.
 *
 * Every block carries a header with its size and tag, so frees need no size and the counters cannot drift. The header
 * is 64 bytes to keep the payload aligned for AVX-512. Rejected: malloc_usable_size (counts what libc rounds up to, so
 * a figure of "cache bytes" would depend on the C library).
 */
#include "internal.h"
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

static _Thread_local struct {
    kvb_status code;
    char message[1024];
    char hint[512];
} diag;

/* Names in a message come from files: no line of theirs and nothing that a terminal would obey. */
static void tame(char *text) {
    for (; *text; text++)
        if ((unsigned char)*text < ' ' || *text == 0x7f) *text = '?';
}

kvb_status kvb_fail(kvb_status code, const char *format, ...) {
    char text[sizeof diag.message];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    tame(text);
    memcpy(diag.message, text, sizeof text); /* by a copy: an argument may point into the old message */
    diag.hint[0] = 0;
    diag.code = code;
    return code;
}

void kvb_hint(const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(diag.hint, sizeof diag.hint, format, args);
    va_end(args);
    tame(diag.hint);
}

kvb_status kvb_diag_code(void) { return diag.code; }
const char *kvb_diag_message(void) { return diag.message; }
const char *kvb_diag_hint(void) { return diag.hint; }
void kvb_diag_clear(void) {
    diag.code = KVB_OK;
    diag.message[0] = diag.hint[0] = 0;
}

typedef struct block_header {
    size_t bytes;
    int32_t tag;
} block_header;

enum { HEADER_BYTES = 64 };
_Static_assert(sizeof(block_header) <= HEADER_BYTES, "the header must fit in front of an aligned payload");

static _Atomic int64_t live[KVB_MEM_TAGS], peak[KVB_MEM_TAGS], allocations, fail_in, most;

static void count(int32_t tag, int64_t bytes) {
    int64_t now = atomic_fetch_add(&live[tag], bytes) + bytes;
    int64_t seen = atomic_load(&peak[tag]);
    while (now > seen && !atomic_compare_exchange_weak(&peak[tag], &seen, now)) {}
}

void kvb_count_bytes(int32_t tag, int64_t bytes) {
    count(tag, bytes);
    count(KVB_MEM_ALL, bytes);
}

bool kvb_count_should_fail(size_t bytes) {
    atomic_fetch_add(&allocations, 1);
    int64_t room = atomic_load(&most);
    if (room > 0 && (bytes > INT64_MAX / 2 || atomic_load(&live[KVB_MEM_ALL]) + (int64_t)bytes > room)) return true;
    int64_t left = atomic_load(&fail_in);
    if (left == 0) return false;
    if (left > 0) return atomic_fetch_sub(&fail_in, 1) == 1;
    return left == -1 || atomic_fetch_add(&fail_in, 1) == -1; /* counts up to -1 and stays: this one and all after it */
}

int64_t kvb_memory_room(void) {
    int64_t room = atomic_load(&most);
    return room > 0 ? kvb_max64(0, room - atomic_load(&live[KVB_MEM_ALL])) : INT64_MAX;
}

void *kvb_alloc_raw(size_t bytes, int32_t tag) {
    void *p = NULL;
    if (bytes > SIZE_MAX / 2 || kvb_count_should_fail(bytes) || posix_memalign(&p, 64, HEADER_BYTES + bytes) != 0) {
        kvb_fail(KVB_E_MEMORY, "out of memory: could not allocate %zu bytes (%lld in use)", bytes,
                 (long long)atomic_load(&live[KVB_MEM_ALL]));
        kvb_hint("-> use a smaller model, fewer passages at once, or --dtype bf16");
        return NULL;
    }
    *(block_header *)p = (block_header){bytes, tag};
    kvb_count_bytes(tag, (int64_t)bytes);
    return (char *)p + HEADER_BYTES;
}

void *kvb_alloc(size_t bytes, int32_t tag) {
    void *p = kvb_alloc_raw(bytes, tag);
    if (p) memset(p, 0, bytes);
    return p;
}

void *kvb_alloc_array(size_t n, size_t size, int32_t tag) {
    size_t bytes = kvb_mul_size(n, size);
    if (bytes > SIZE_MAX / 4) {
        kvb_fail(KVB_E_MEMORY, "out of memory: %zu elements of %zu bytes cannot be addressed", n, size);
        return NULL;
    }
    return kvb_alloc(bytes, tag);
}

void kvb_free(void *p) {
    if (!p) return;
    block_header *h = (block_header *)((char *)p - HEADER_BYTES);
    kvb_count_bytes(h->tag, -(int64_t)h->bytes);
    free(h);
}

void *kvb_realloc(void *p, size_t bytes, int32_t tag) {
    if (!p) return kvb_alloc(bytes, tag);
    size_t old = ((block_header *)((char *)p - HEADER_BYTES))->bytes;
    void *q = kvb_alloc_raw(bytes, tag);
    if (!q) return NULL;
    memcpy(q, p, old < bytes ? old : bytes);
    if (bytes > old) memset((char *)q + old, 0, bytes - old);
    kvb_free(p);
    return q;
}

char *kvb_strdup_n(const char *s, size_t n, int32_t tag) {
    char *copy = kvb_alloc_raw(kvb_add_size(n, 1), tag);
    if (!copy) return NULL;
    memcpy(copy, s, n);
    copy[n] = 0;
    return copy;
}

int64_t kvb_memory_bytes(int32_t tag) { return tag >= 0 && tag < KVB_MEM_TAGS ? atomic_load(&live[tag]) : 0; }
int64_t kvb_memory_peak(int32_t tag) { return tag >= 0 && tag < KVB_MEM_TAGS ? atomic_load(&peak[tag]) : 0; }
int64_t kvb_memory_allocations(void) { return atomic_load(&allocations); }
void kvb_memory_fail_nth(int64_t n) { atomic_store(&fail_in, n); }
void kvb_memory_limit(int64_t bytes) { atomic_store(&most, bytes); }
