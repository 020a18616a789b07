/* SPDX-License-Identifier: Apache-2.0 */
/* test_store.c - the store's C layer under the leak finders: open, bind, step, fail, lock. */
#include "kvbench.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

static char folder[] = "/tmp/kvb-store-XXXXXX";
static char path[64];

static kvb_store *open_new(const char *name, int32_t mode) {
    kvb_store *s = NULL;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    assert_int_equal(kvb_store_open(path, mode, &s), KVB_OK);
    return s;
}

static kvb_query *query(kvb_store *s, const char *sql) {
    kvb_query *q = NULL;
    assert_int_equal(kvb_query_new(s, sql, (int64_t)strlen(sql), &q), KVB_OK);
    return q;
}

static void values(void **state) {
    (void)state;
    kvb_store *s = open_new("values", KVB_STORE_WRITE);
    assert_int_equal(kvb_store_run(s, "CREATE TABLE v (a, b, c, d)"), KVB_OK);
    kvb_query *q = query(s, "INSERT INTO v VALUES (?, ?, ?, ?)");
    int32_t row = 1;
    assert_int_equal(kvb_query_bind_number(q, 1, 0.1), KVB_OK);
    assert_int_equal(kvb_query_bind_text(q, 2, "x\0y", 3), KVB_OK);
    assert_int_equal(kvb_query_bind_blob(q, 3, "\1\0\2", 3), KVB_OK);
    assert_int_equal(kvb_query_bind_null(q, 4), KVB_OK);
    assert_int_equal(kvb_query_step(q, &row), KVB_OK);
    assert_int_equal(row, 0);
    assert_int_equal(kvb_query_bind_null(q, 9), KVB_E_ARG);
    kvb_query_free(q);
    q = query(s, "SELECT * FROM v");
    assert_int_equal(kvb_query_step(q, &row), KVB_OK);
    assert_int_equal(row, 1);
    assert_true(kvb_query_number(q, 0) == 0.1);
    int64_t bytes;
    assert_memory_equal(kvb_query_bytes(q, 1, &bytes), "x\0y", 3);
    assert_int_equal(bytes, 3);
    assert_memory_equal(kvb_query_bytes(q, 2, &bytes), "\1\0\2", 3);
    assert_int_equal(kvb_query_kind(q, 2), KVB_VALUE_BLOB);
    assert_int_equal(kvb_query_kind(q, 3), KVB_VALUE_NULL);
    assert_string_equal(kvb_query_name(q, 1), "b");
    assert_int_equal(kvb_query_columns(q), 4);
    assert_int_equal(kvb_query_step(q, &row), KVB_OK);
    assert_int_equal(row, 0);
    kvb_query_free(q);
    kvb_store_close(s);
}

static void failures(void **state) {
    (void)state;
    kvb_store *s = open_new("failures", KVB_STORE_WRITE);
    kvb_query *q = NULL;
    assert_int_equal(kvb_query_new(s, "SELEC", 5, &q), KVB_E_INTERNAL);
    assert_non_null(strstr(kvb_diag_message(), "failures': near \"SELEC\": syntax error"));
    assert_int_equal(kvb_query_new(s, "", 0, &q), KVB_E_ARG);
    assert_int_equal(kvb_store_run(s, "CREATE TABLE v (x UNIQUE); INSERT INTO v VALUES (1)"), KVB_OK);
    assert_int_equal(kvb_store_run(s, "INSERT INTO v VALUES (1)"), KVB_E_ARG);
    kvb_store *reader = open_new("failures", KVB_STORE_READ);
    assert_int_equal(kvb_store_run(reader, "INSERT INTO v VALUES (2)"), KVB_E_IO);
    assert_non_null(strstr(kvb_diag_hint(), "writable"));
    kvb_store_close(reader);
    kvb_store_close(s);
    assert_int_equal(kvb_store_open("/proc/none", KVB_STORE_READ, &s), KVB_E_MISSING);
    assert_int_equal(kvb_store_open(folder, KVB_STORE_READ, &s), KVB_E_MISSING);
    assert_int_equal(kvb_store_open(folder, 7, &s), KVB_E_ARG);
    kvb_store_close(NULL);
    kvb_query_free(NULL);
}

static void full(void **state) {
    (void)state;
    kvb_store *s = open_new("full", KVB_STORE_WRITE);
    assert_int_equal(kvb_store_run(s, "CREATE TABLE v (x); PRAGMA max_page_count = 4"), KVB_OK);
    assert_int_equal(kvb_store_run(s, "INSERT INTO v VALUES (zeroblob(1000000))"), KVB_E_IO);
    assert_non_null(strstr(kvb_diag_message(), "the disk is full"));
    assert_non_null(strstr(kvb_diag_hint(), "free some space"));
    kvb_store_close(s);
}

static void lock(void **state) {
    (void)state;
    kvb_lock *a, *b;
    int64_t holder;
    snprintf(path, sizeof path, "%s/lock", folder);
    assert_int_equal(kvb_lock_take(path, &a, &holder), KVB_OK);
    assert_non_null(a);
    assert_int_equal(kvb_lock_take(path, &b, &holder), KVB_OK);
    assert_null(b);
    assert_int_equal(holder, getpid());
    kvb_lock_release(a);
    assert_int_equal(kvb_path_kind(path), 0);
    kvb_lock_release(NULL);
    assert_int_equal(kvb_lock_take("/proc/none", &a, &holder), KVB_E_IO);
}

/* Every allocation of a pack and an unpack fails once: a status, no crash, no leak. */
static void ledger_out_of_memory(void **state) {
    (void)state;
    kvb_keep *keep, *back = NULL;
    assert_int_equal(kvb_keep_new(2, 2, 70, &keep), KVB_OK);
    const void *data;
    int64_t bytes;
    int failed = 0;
    for (int64_t n = 1;; n++) {
        kvb_memory_fail_nth(n);
        kvb_status status = kvb_ledger_pack((const kvb_keep *const *)&keep, 1, &data, &bytes);
        if (status == KVB_OK) status = kvb_ledger_unpack(data, bytes, 0, &back);
        kvb_memory_fail_nth(0);
        if (status == KVB_OK) break;
        assert_int_equal(status, KVB_E_MEMORY);
        failed++;
    }
    assert_true(failed >= 3);
    assert_true(kvb_keep_hash(back) == kvb_keep_hash(keep));
    kvb_keep_free(back);
    kvb_keep_free(keep);
}

static int make_folder(void **state) {
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state) {
    (void)state;
    char command[80];
    snprintf(command, sizeof command, "rm -r '%s'", folder);
    return system(command);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(values), cmocka_unit_test(failures), cmocka_unit_test(full),
                                       cmocka_unit_test(lock), cmocka_unit_test(ledger_out_of_memory)};
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
