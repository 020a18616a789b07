/* SPDX-License-Identifier: Apache-2.0 */
/* test_lines.c - files line by line and piece by piece: ends, limits, compression, damage, failing allocations. */
#include "internal.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[64];
static char path_text[128];

static const char *in_folder(const char *name) {
    snprintf(path_text, sizeof path_text, "%s/%s", folder, name);
    return path_text;
}

static int set_up(void **state) {
    (void)state;
    strcpy(folder, "/tmp/kvb-lines-XXXXXX");
    return mkdtemp(folder) ? 0 : 1;
}

static int tear_down(void **state) {
    (void)state;
    char command[96];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

static void put(const char *name, const void *data, size_t bytes) {
    FILE *f = fopen(in_folder(name), "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, bytes, f), bytes);
    fclose(f);
}

static int64_t size_of(const char *name) {
    struct stat info;
    return stat(in_folder(name), &info) == 0 ? (int64_t)info.st_size : -1;
}

static void every_kind_of_end(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int bytes, lines, last_bytes;
    } cases[] = {{"", 0, 0, 0},           {"\n", 1, 1, 0},           {"a", 1, 1, 1},
                 {"a\n", 2, 1, 1},        {"a\n\n", 3, 2, 0},        {"a\nbc", 4, 2, 2},
                 {"a\r\nb\r\n", 6, 2, 2}, {"\x28\xb5\x2f", 3, 1, 3}, {"a\0b\nc", 5, 2, 1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        put("x", cases[i].text, (size_t)cases[i].bytes);
        kvb_lines *l;
        assert_int_equal(kvb_lines_open(in_folder("x"), 100, &l), KVB_OK);
        const char *line;
        int64_t bytes, last = 0;
        int n = 0;
        for (;;) {
            assert_int_equal(kvb_lines_next(l, &line, &bytes), KVB_OK);
            if (!line) break;
            assert_int_equal(line[bytes], 0);
            last = bytes;
            n++;
        }
        assert_int_equal(n, cases[i].lines);
        assert_int_equal(last, cases[i].last_bytes);
        assert_int_equal(kvb_lines_number(l), n);
        kvb_lines_close(l);
    }
}

static void a_line_over_the_limit_is_skipped(void **state) {
    (void)state;
    size_t n = 1 << 20;
    char *text = malloc(n);
    memset(text, 'x', n);
    text[n - 3] = '\n';
    text[n - 2] = 'y';
    text[n - 1] = '\n';
    put("x", text, n);
    free(text);
    int64_t before = kvb_memory_bytes(KVB_MEM_ALL);
    kvb_lines *l;
    const char *line;
    int64_t bytes;
    assert_int_equal(kvb_lines_open(in_folder("x"), 50, &l), KVB_OK);
    assert_int_equal(kvb_lines_next(l, &line, &bytes), KVB_OK);
    assert_int_equal(bytes, n - 3);
    assert_int_equal(strlen(line), 50);
    assert_true(kvb_memory_bytes(KVB_MEM_ALL) - before < 200000);
    assert_int_equal(kvb_lines_next(l, &line, &bytes), KVB_OK);
    assert_string_equal(line, "y");
    kvb_lines_close(l);
    assert_int_equal(kvb_memory_bytes(KVB_MEM_ALL), before);
}

/* Lines of growing length through a sink and back; `name` decides about compression. */
static void round_trip(const char *name) {
    kvb_sink *s;
    char *line_out = malloc(300000);
    memset(line_out, 'a', 300000);
    assert_int_equal(kvb_sink_open(in_folder(name), &s), KVB_OK);
    for (int i = 0; i < 300; i++) {
        assert_int_equal(kvb_sink_write(s, line_out, (int64_t)i * 1000), KVB_OK);
        assert_int_equal(kvb_sink_write(s, "\n", 1), KVB_OK);
        assert_int_equal(size_of(name), -1); /* not there before it is whole */
    }
    assert_int_equal(kvb_sink_close(s), KVB_OK);
    kvb_lines *l;
    const char *line;
    int64_t bytes;
    assert_int_equal(kvb_lines_open(in_folder(name), 1 << 20, &l), KVB_OK);
    for (int i = 0; i < 300; i++) {
        assert_int_equal(kvb_lines_next(l, &line, &bytes), KVB_OK);
        assert_int_equal(bytes, i * 1000);
        assert_memory_equal(line, line_out, (size_t)bytes);
    }
    assert_int_equal(kvb_lines_next(l, &line, &bytes), KVB_OK);
    assert_null(line);
    kvb_lines_close(l);
    free(line_out);
}

static void plain_and_compressed(void **state) {
    (void)state;
    round_trip("a.jsonl");
    round_trip("a.jsonl.zst");
    assert_int_equal(size_of("a.jsonl"), 300 * 299 / 2 * 1000 + 300);
    assert_true(size_of("a.jsonl.zst") < 100000);
    rename(in_folder("a.jsonl.zst"), "/tmp/kvb-lines-renamed");
    kvb_lines *l;
    const char *line;
    int64_t bytes;
    assert_int_equal(kvb_lines_open("/tmp/kvb-lines-renamed", 1 << 20, &l), KVB_OK);
    for (int i = 0; i < 3; i++) assert_int_equal(kvb_lines_next(l, &line, &bytes), KVB_OK);
    assert_int_equal(bytes, 2000);
    kvb_lines_close(l);
    unlink("/tmp/kvb-lines-renamed");
}

/* Cut anywhere or with a bit turned, compressed data gives its good lines and then one clear failure. */
static void damaged_compression(void **state) {
    (void)state;
    kvb_sink *s;
    assert_int_equal(kvb_sink_open(in_folder("d.zst"), &s), KVB_OK);
    for (int i = 0; i < 20000; i++) {
        char text[32];
        int n = snprintf(text, sizeof text, "%d %d\n", i, i * 7919 % 10007);
        assert_int_equal(kvb_sink_write(s, text, n), KVB_OK);
    }
    assert_int_equal(kvb_sink_close(s), KVB_OK);
    int64_t n = size_of("d.zst");
    assert_true(n > 1000 && n < 1000000);
    static char whole[1000000];
    FILE *f = fopen(in_folder("d.zst"), "rb");
    assert_int_equal(fread(whole, 1, (size_t)n, f), n);
    fclose(f);
    for (int64_t cut = 5; cut <= n; cut += n / 9) {
        for (int flip = 0; flip < 2; flip++) {
            char *bytes = malloc((size_t)n);
            memcpy(bytes, whole, (size_t)n);
            if (flip) bytes[cut - 1] ^= 0x40;
            put("e", bytes, (size_t)(flip ? n : cut));
            free(bytes);
            kvb_lines *l;
            const char *line = "";
            int64_t length;
            kvb_status status = kvb_lines_open(in_folder("e"), 1000, &l);
            int lines = 0;
            while (status == KVB_OK && line) {
                status = kvb_lines_next(l, &line, &length);
                lines += status == KVB_OK && line;
            }
            if (flip || cut < n) {
                assert_int_equal(status, KVB_E_FORMAT);
                assert_true(lines <= 20000); /* all of them when only the checksum is missing */
                assert_non_null(strstr(kvb_diag_message(), "zstd"));
            }
            kvb_lines_close(l);
        }
    }
}

static void refusals(void **state) {
    (void)state;
    kvb_lines *l;
    kvb_sink *s;
    assert_int_equal(kvb_lines_open(in_folder("nothing"), 10, &l), KVB_E_MISSING);
    assert_null(l);
    assert_int_equal(kvb_lines_open(folder, 10, &l), KVB_E_IO);
    assert_non_null(strstr(kvb_diag_message(), "folder"));
    assert_int_equal(kvb_lines_open(in_folder("nothing"), 0, &l), KVB_E_ARG);
    assert_int_equal(kvb_sink_open(in_folder("no/such/place"), &s), KVB_E_IO);
    assert_null(s);
    assert_int_equal(kvb_sink_open("/dev/null", &s), KVB_E_IO);
    kvb_lines_close(NULL);
    kvb_sink_discard(NULL);
    assert_int_equal(kvb_sink_open(in_folder("given-up"), &s), KVB_OK);
    assert_int_equal(kvb_sink_write(s, "x", -1), KVB_E_ARG);
    kvb_sink_discard(s);
    assert_int_equal(size_of("given-up"), -1);
}

/* Every allocation failing once leaks nothing and leaves nothing behind. */
static void failing_allocations(void **state) {
    (void)state;
    put("x", "one\ntwo\n", 8);
    int64_t before = kvb_memory_bytes(KVB_MEM_ALL);
    for (int64_t nth = 1; nth < 12; nth++) {
        kvb_lines *l;
        kvb_sink *s;
        const char *line;
        int64_t bytes;
        kvb_memory_fail_nth(nth);
        kvb_status status = kvb_lines_open(in_folder("x"), 1000, &l);
        if (status == KVB_OK) status = kvb_lines_next(l, &line, &bytes);
        assert_true(status == KVB_OK || status == KVB_E_MEMORY);
        kvb_lines_close(l);
        status = kvb_sink_open(in_folder("y.zst"), &s);
        assert_true(status == KVB_OK || status == KVB_E_MEMORY);
        kvb_sink_discard(s);
        kvb_memory_fail_nth(0);
        assert_int_equal(kvb_memory_bytes(KVB_MEM_ALL), before);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_of_end),
        cmocka_unit_test(a_line_over_the_limit_is_skipped),
        cmocka_unit_test(plain_and_compressed),
        cmocka_unit_test(damaged_compression),
        cmocka_unit_test(refusals),
        cmocka_unit_test(failing_allocations),
    };
    return cmocka_run_group_tests_name("lines", tests, set_up, tear_down);
}
