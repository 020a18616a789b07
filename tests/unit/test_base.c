/* SPDX-License-Identifier: Apache-2.0 */
/* test_base.c - counted memory, the fail-Nth switch, diagnostics, bf16 rounding, tensors' reference counts. */
#include "internal.h"
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void counters_follow(void **unused) {
    (void)unused;
    int64_t all = kvb_memory_bytes(KVB_MEM_ALL), cache = kvb_memory_bytes(KVB_MEM_CACHE),
            other = kvb_memory_bytes(KVB_MEM_OTHER);
    int64_t calls = kvb_memory_allocations();
    char *a = kvb_alloc(1000, KVB_MEM_CACHE), *b = kvb_alloc_array(3, 7, KVB_MEM_OTHER),
         *c = kvb_alloc(0, KVB_MEM_OTHER);
    assert_non_null(a);
    assert_non_null(b);
    assert_non_null(c);
    assert_int_equal((uintptr_t)a % 64, 0);
    assert_int_equal((uintptr_t)b % 64, 0);
    for (int i = 0; i < 1000; i++) assert_int_equal(a[i], 0);
    assert_int_equal(kvb_memory_bytes(KVB_MEM_CACHE), cache + 1000);
    assert_int_equal(kvb_memory_bytes(KVB_MEM_OTHER), other + 21);
    assert_int_equal(kvb_memory_bytes(KVB_MEM_ALL), all + 1021);
    assert_int_equal(kvb_memory_allocations(), calls + 3);
    assert_true(kvb_memory_peak(KVB_MEM_ALL) >= all + 1021);
    kvb_free(a);
    assert_int_equal(kvb_memory_bytes(KVB_MEM_CACHE), cache);
    assert_true(kvb_memory_peak(KVB_MEM_CACHE) >= cache + 1000);
    kvb_free(b);
    kvb_free(c);
    kvb_free(NULL);
    assert_int_equal(kvb_memory_bytes(KVB_MEM_ALL), all);
    assert_int_equal(kvb_memory_bytes(-1), 0);
    assert_int_equal(kvb_memory_bytes(KVB_MEM_TAGS), 0);
    assert_int_equal(kvb_memory_peak(99), 0);
}

static void growing_and_shrinking(void **unused) {
    (void)unused;
    int64_t all = kvb_memory_bytes(KVB_MEM_ALL);
    char *p = kvb_realloc(NULL, 10, KVB_MEM_OTHER);
    assert_non_null(p);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(p[i], 0);
        p[i] = (char)i;
    }
    p = kvb_realloc(p, 100, KVB_MEM_OTHER);
    for (int i = 0; i < 100; i++) assert_int_equal(p[i], i < 10 ? i : 0);
    assert_int_equal(kvb_memory_bytes(KVB_MEM_ALL), all + 100);
    p = kvb_realloc(p, 4, KVB_MEM_OTHER);
    for (int i = 0; i < 4; i++) assert_int_equal(p[i], i);
    assert_int_equal(kvb_memory_bytes(KVB_MEM_ALL), all + 4);
    kvb_memory_fail_nth(1);
    assert_null(kvb_realloc(p, 1000, KVB_MEM_OTHER));
    for (int i = 0; i < 4; i++) assert_int_equal(p[i], i); /* still ours after the failure */
    assert_int_equal(kvb_memory_bytes(KVB_MEM_ALL), all + 4);
    kvb_free(p);
    assert_int_equal(kvb_memory_bytes(KVB_MEM_ALL), all);
}

static void nth_allocation_fails_once(void **unused) {
    (void)unused;
    for (int64_t n = 1; n <= 5; n++) {
        kvb_memory_fail_nth(n);
        for (int64_t i = 1; i <= 8; i++) {
            kvb_diag_clear();
            void *p = kvb_alloc(16, KVB_MEM_SCRATCH);
            if (i == n) {
                assert_null(p);
                assert_int_equal(kvb_diag_code(), KVB_E_MEMORY);
                assert_non_null(strstr(kvb_diag_message(), "out of memory: could not allocate 16 bytes"));
            } else
                assert_non_null(p);
            kvb_free(p);
        }
    }
    kvb_memory_fail_nth(1);
    kvb_memory_fail_nth(0);
    void *p = kvb_alloc(16, KVB_MEM_SCRATCH);
    assert_non_null(p);
    kvb_free(p);
}

static void impossible_sizes(void **unused) {
    (void)unused;
    int64_t all = kvb_memory_bytes(KVB_MEM_ALL);
    assert_null(kvb_alloc(SIZE_MAX - 8, KVB_MEM_OTHER));
    assert_null(kvb_alloc_array(SIZE_MAX / 2, 4, KVB_MEM_OTHER));
    assert_null(kvb_alloc_array(1ull << 33, 1ull << 33, KVB_MEM_OTHER)); /* the product wraps to 0 */
    assert_int_equal(kvb_diag_code(), KVB_E_MEMORY);
    assert_int_equal(kvb_memory_bytes(KVB_MEM_ALL), all);
    char *s = kvb_strdup_n("abcdef", 3, KVB_MEM_OTHER);
    assert_string_equal(s, "abc");
    kvb_free(s);
}

static void *fail_elsewhere(void *unused) {
    (void)unused;
    kvb_fail(KVB_E_IO, "of another thread");
    return NULL;
}

static void diagnostics(void **unused) {
    (void)unused;
    kvb_diag_clear();
    assert_int_equal(kvb_diag_code(), KVB_OK);
    assert_string_equal(kvb_diag_message(), "");
    assert_int_equal(kvb_fail(KVB_E_SHAPE, "%d and %s", 7, "eight"), KVB_E_SHAPE);
    kvb_hint("-> %d", 9);
    pthread_t thread;
    pthread_create(&thread, NULL, fail_elsewhere, NULL);
    pthread_join(thread, NULL);
    assert_int_equal(kvb_diag_code(), KVB_E_SHAPE); /* one diagnostic per thread */
    assert_string_equal(kvb_diag_message(), "7 and eight");
    assert_string_equal(kvb_diag_hint(), "-> 9");
    kvb_fail(KVB_E_ARG, "after: %s", kvb_diag_message()); /* an argument inside the old message */
    assert_string_equal(kvb_diag_message(), "after: 7 and eight");
    assert_string_equal(kvb_diag_hint(), "");
    char longer[3000];
    memset(longer, 'x', sizeof longer);
    longer[sizeof longer - 1] = 0;
    kvb_fail(KVB_E_ARG, "%s", longer);
    kvb_hint("%s", longer);
    assert_int_equal(strlen(kvb_diag_message()), 1023);
    assert_int_equal(strlen(kvb_diag_hint()), 511);
    kvb_diag_clear();
}

static void bf16_rounds_to_even(void **unused) {
    (void)unused;
    for (uint32_t bits = 0; bits < 65536; bits++) { /* every bf16 value survives */
        float x = kvb_bf16_to_f32((uint16_t)bits);
        if (isnan(x))
            assert_true(isnan(kvb_bf16_to_f32(kvb_f32_to_bf16(x))));
        else
            assert_int_equal(kvb_f32_to_bf16(x), bits);
    }
    assert_int_equal(kvb_f32_to_bf16(1.00390625f), 0x3f80);   /* 1 + 2^-8: halfway, to the even 1 */
    assert_int_equal(kvb_f32_to_bf16(1.01171875f), 0x3f82);   /* 1 + 3 * 2^-8: halfway, to the even 1 + 2^-6 */
    assert_int_equal(kvb_f32_to_bf16(1.00390637f), 0x3f81);   /* just above halfway */
    assert_int_equal(kvb_f32_to_bf16(3.4028234e38f), 0x7f80); /* the largest float rounds to infinity */
    uint32_t small_nan = 0x7f800001u;                         /* its payload would be cut off, leaving infinity */
    float x;
    memcpy(&x, &small_nan, 4);
    assert_true(isnan(kvb_bf16_to_f32(kvb_f32_to_bf16(x))));
}

static void tensors_share_storage(void **unused) {
    (void)unused;
    int64_t before = kvb_memory_bytes(KVB_MEM_ALL), shape[5] = {2, 3, 5, 0, 0};
    kvb_tensor t, v;
    assert_int_equal(kvb_tensor_new(KVB_F32, 3, shape, &t), KVB_OK);
    assert_int_equal(kvb_tensor_count(&t), 30);
    assert_true(kvb_tensor_contiguous(&t));
    assert_true(kvb_memory_bytes(KVB_MEM_TENSOR) >= 120);
    v = t;
    kvb_tensor_retain(&v);
    kvb_tensor_release(&t);
    assert_null(t.data);
    ((float *)v.data)[29] = 1;
    kvb_tensor_release(&v);
    assert_int_equal(kvb_memory_bytes(KVB_MEM_ALL), before);
    kvb_tensor_release(&v); /* an empty view: nothing happens */
    int64_t negative[5] = {2, -1}, huge[5] = {1ll << 40, 1ll << 40};
    assert_int_not_equal(kvb_tensor_new(KVB_F32, 2, negative, &t), KVB_OK);
    assert_int_not_equal(kvb_tensor_new(KVB_F32, 2, huge, &t), KVB_OK);
    assert_int_not_equal(kvb_tensor_new(99, 2, shape, &t), KVB_OK);
    assert_int_not_equal(kvb_tensor_new(KVB_F32, 6, shape, &t), KVB_OK);
    for (int64_t n = 1; n <= 2; n++) {
        kvb_memory_fail_nth(n);
        assert_int_equal(kvb_tensor_new(KVB_F32, 3, shape, &t), KVB_E_MEMORY);
        kvb_memory_fail_nth(0);
        assert_int_equal(kvb_memory_bytes(KVB_MEM_ALL), before);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counters_follow),
        cmocka_unit_test(growing_and_shrinking),
        cmocka_unit_test(nth_allocation_fails_once),
        cmocka_unit_test(impossible_sizes),
        cmocka_unit_test(diagnostics),
        cmocka_unit_test(bf16_rounds_to_even),
        cmocka_unit_test(tensors_share_storage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
